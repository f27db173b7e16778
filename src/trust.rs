//! Who vouches for an image? A verifier answers one question, *which digest does this repository vouch for, and who says
//! so?*, with a [`Vouch`] that only this room can make.

pub mod allowlist;
mod asking;
pub mod attestation;
pub mod beside;
mod claims;
pub mod cosign;
mod error;
pub mod evidence;
mod hand;
mod name;
pub mod notary;
pub mod notation;
mod object;
mod pki;
mod public_key;
pub mod registry;
mod signatures;
pub mod sigstore;
mod stated;
mod subject;
mod told;
pub mod tuf;
mod verifier;
mod vouch;

pub use claims::{Certified, Claims, Signer};
pub use error::{Cause, TrustCode, TrustError};
pub use name::{Binding, VerifierName, VerifierNameError};
pub use signatures::Keeping;
pub use stated::{Contents, Facts, Findings, Severity, Stated};
pub use told::{Answers, CaseVerifier, Word};
#[cfg(test)]
pub use verifier::Fake;
pub use verifier::{ListStats, Stats, Verifier, Vouching};
pub use vouch::{Asking, Freshness, Hashed, Purpose, Question, Vouch};
