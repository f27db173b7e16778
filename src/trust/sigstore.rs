//! Who signed, and when, by the proofs of Sigstore: a certificate that names the signer, entries of transparency logs, timestamps. All of it is
//! judged offline against a trusted root that the operator keeps, and nobody is asked (docs/adr/0020-cosign-keyless.md).
//!
//! What is signed, where it was found and what it says of an image is not known here.

mod checkpoint;
mod entry;
mod fault;
#[cfg(test)]
pub(super) mod fixture;
mod hints;
mod identity;
mod judge;
mod material;
mod root;
mod sct;
mod signature;
#[cfg(test)]
mod tests;

pub use fault::Fault;
pub use identity::{IDENTITIES, Identities, Identity};
pub(super) use judge::{Candidate, Known, Proven};
pub(super) use material::{Annotations, Material, WrittenMaterial};
pub use root::{Authority, Log, ROOT_BYTES, TrustedRoot, Window};
pub(super) use signature::{Message, may_have_made};
