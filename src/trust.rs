//! Who vouches for an image? A verifier answers one question, *which digest does this repository vouch for, and who says
//! so?*, with a [`Vouch`] that only this room can make.

pub mod notary;
pub mod tuf;
mod vouch;

pub use vouch::{Freshness, Question, TrustCode, TrustError, Urgency, VerifierKind, Vouch};
