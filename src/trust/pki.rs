//! Certificates (RFC 5280), chains of them at a given time, and timestamps (RFC 3161, in CMS of RFC 5652), as signatures of images use them
//! (docs/adr/0017-certificates-and-timestamps.md). Bytes that are signed are cut out of what came, and never written again.
//!
//! Says whether something holds by the given roots at the given time. Which roots, and which times, count is for those who ask.

mod certificate;
mod chain;
mod der;
mod fault;
#[cfg(test)]
pub(in crate::trust) mod fixture;
mod keys;
mod signed;
#[cfg(test)]
mod tests;
mod timestamp;

pub(in crate::trust) use certificate::{Certificate, Usage};
pub(in crate::trust) use chain::{Rules, holds, path};
pub(in crate::trust) use der::{Item, Items};
pub(in crate::trust) use fault::Fault;
#[cfg(test)]
pub(in crate::trust) use keys::CHECKED;
pub(in crate::trust) use keys::{Algorithm, Hash, rsa_spki, verified};
pub(in crate::trust) use timestamp::{Form, Stamp, Token};
