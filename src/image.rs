//! What an image is called: [`Reference`], [`Repository`], [`Tag`], [`Digest`], [`Host`], and [`ImageName`], which is what a
//! person or a client gives where the engine takes "an image"; and [`ImageConfig`], which is what an image says of itself. Text becomes a type here, once; nothing here knows what
//! is allowed.

mod config;
mod digest;
mod name;
mod reference;

pub use config::{ImageConfig, Platform, PlatformError, RunsAs};
pub use digest::{Digest, DigestError};
pub use name::ImageName;
pub use reference::{Host, HostError, Reference, ReferenceError, Repository, Tag};
