//! Messages of the `AuthZ` plugin protocol, `docker.authz/1.0`: what dockerd posts, and what it is answered.
//! Knows the shape of the messages, nothing of their meaning.

mod answer;
mod call;
mod certificate;

pub use answer::{ACTIVATION, Answer, CONTENT_TYPE};
pub use call::{Call, CallError, NoEnd, Outcome};
