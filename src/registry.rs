//! What a registry holds: manifests, fetched by digest or tag, and small blobs, by digest; hashed here (OCI distribution-spec,
//! "Pulling manifests", "Pulling blobs"); and what points at a digest.
//!
//! A [`Manifest`] exists only for bytes that were read whole and hashed; a status line or a header is never evidence.
//! [`Api`] is the seam: [`Registry`] asks real registries, [`Carried`] is a part of one that was carried here, [`Fake`] is one in memory for tests.

mod attached;
mod blob;
mod carried;
mod client;
mod configuration;
mod fake;
mod manifest;
mod mirrors;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use tokio::time::Instant;

pub use attached::{Listing, Pointer, list_tag, part, signature_tag};
pub use carried::{Bundle, BundleFault, Carried};
pub use client::{Registry, Settings, host_files};
pub use configuration::{configuration, read as read_configuration};
pub use fake::Fake;
pub(crate) use manifest::fold;
pub use manifest::{Child, Content, Manifest, has_one_reading};
pub use mirrors::Mirrors;

use crate::image::{Digest, Host, ImageConfig, Platform, Reference, Repository, Tag};
use crate::net::NetError;

/// An answer on its way.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, RegistryError>> + Send + 'a>>;

/// What is asked of registries. Every call ends by its `deadline`.
pub trait Api: Send + Sync {
    /// The manifest or index that the repository's registry has under this digest or tag.
    fn manifest<'a>(&'a self, repository: &'a Repository, wanted: &'a Wanted, deadline: Instant) -> Reply<'a, Manifest>;

    /// The same with its bytes, to be carried elsewhere. Who holds none has none to give.
    fn written<'a>(&'a self, repository: &'a Repository, wanted: &'a Wanted, _: Instant) -> Reply<'a, (Manifest, Vec<u8>)> {
        Box::pin(async move { Err(RegistryError::missing(repository, wanted.in_repository(repository))) })
    }

    /// What the registry lists as pointing at this digest; `None`: it keeps no such list.
    fn referrers<'a>(&'a self, repository: &'a Repository, digest: Digest, deadline: Instant) -> Reply<'a, Option<Listing>>;

    /// Whether it is likely to keep such lists, so that asking for one first takes the fewest requests. A guess: before anything is said not to be
    /// there, all places are looked at.
    fn may_list(&self, _: &Repository) -> bool {
        true
    }

    /// The blob with this digest, which is small: a configuration, a signature. No more than `size` bytes are read.
    fn blob<'a>(&'a self, repository: &'a Repository, digest: Digest, size: u64, deadline: Instant) -> Reply<'a, Vec<u8>>;

    /// What the image says of itself that a reference means, for a platform; `None`: for whatever platform. `due` is its digest, where
    /// somebody vouches for one; else the registry's own word says which it is.
    fn image<'a>(
        &'a self,
        reference: &'a Reference,
        due: Option<Digest>,
        platform: Option<&'a Platform>,
        deadline: Instant,
    ) -> Reply<'a, ImageConfig> {
        Box::pin(async move {
            let digest = match due {
                Some(digest) => digest,
                None => *self.manifest(&reference.repository, &Wanted::of(reference), deadline).await?.digest(),
            };
            configuration(self, &reference.repository, digest, platform, deadline).await
        })
    }

    /// Where else bytes may be asked for by their digest; `None`: nowhere.
    fn mirrors(&self) -> Option<&Mirrors> {
        None
    }

    /// Whether the registry itself is gone, by a question about no repository: no connection, no answer, or a 5xx.
    fn is_gone<'a>(&'a self, host: &'a Host, deadline: Instant) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>>;
}

/// Which manifest of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The one with this digest; what comes is held to it.
    Digest(Digest),
    /// The one this tag is for now.
    Tag(Tag),
}

/// Why there is no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// The registry says it has none (404).
    #[error("registry `{host}` has no `{what}`")]
    NotFound {
        /// The registry, as the reference has it.
        host: String,
        /// Repository and tag or digest.
        what: String,
    },
    /// The registry refuses this user the repository (403).
    #[error("registry `{host}` refuses access to `{what}`")]
    Denied {
        /// The registry.
        host: String,
        /// Repository and tag or digest.
        what: String,
    },
    /// A status that says neither.
    #[error("registry `{host}` answered with status {status} when asked for `{what}`")]
    Status {
        /// The registry.
        host: String,
        /// Repository and tag or digest.
        what: String,
        /// The HTTP status.
        status: u16,
    },
    /// It is there, and has too much to do (429, or 503 with `Retry-After`).
    #[error("registry `{host}` is busy (status {status}) when asked for `{what}`")]
    Busy {
        /// The registry.
        host: String,
        /// Repository and tag or digest.
        what: String,
        /// The HTTP status.
        status: u16,
    },
    /// Too many large manifests are on their way already.
    #[error("too many large manifests are read on this host; `{what}` is one")]
    Full {
        /// Repository and tag or digest.
        what: String,
    },
    /// Other bytes than those asked for.
    #[error("registry `{host}` sent content with digest `{sent}` when asked for `{due}`")]
    WrongDigest {
        /// The registry.
        host: String,
        /// What was asked for, or what the registry's own header says it sent.
        due: Digest,
        /// What the bytes hash to.
        sent: Digest,
    },
    /// It sends on to where it may not be followed: no https URL, one too many, or a place that is nearer to this host than itself.
    #[error("registry `{host}` redirects `{what}` to where it is not followed: {cause}")]
    Elsewhere {
        /// The registry.
        host: String,
        /// Repository and digest.
        what: String,
        /// What is wrong with the place.
        cause: &'static str,
    },
    /// It sends on to its storage, which does not give the bytes. That is no word about them.
    #[error("`{what}` could not be fetched from the storage of registry `{host}`: {trouble}")]
    Storage {
        /// The registry.
        host: String,
        /// Repository and digest.
        what: String,
        /// What the storage did.
        trouble: Trouble,
    },
    /// Bytes that are no manifest, or that two readers would read in two ways.
    #[error("`{what}` cannot be used: {cause}")]
    Undecodable {
        /// Repository and tag or digest, or a digest alone.
        what: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Our own settings for this registry: a CA that cannot be read.
    #[error("settings for registry `{host}`: {cause}")]
    Misconfigured {
        /// The registry.
        host: String,
        /// What is wrong with them.
        cause: String,
    },
    /// No answer at all.
    #[error(transparent)]
    Net(#[from] NetError),
}

impl RegistryError {
    fn missing(repository: &Repository, what: String) -> Self {
        Self::NotFound { host: repository.host_str().to_owned(), what }
    }
}

/// What the storage behind a registry did. Its name is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Any status but the one that brings the bytes; many say 403 where a link has run out.
    #[error("it answers with status {0}")]
    Status(u16),
    /// 429, or 503 with `Retry-After`.
    #[error("it is busy (status {0})")]
    Busy(u16),
    /// No connection.
    #[error("it cannot be reached")]
    Unreachable,
    /// No answer.
    #[error("it did not answer in time")]
    Silent,
    /// Part of an answer, or none that can be read.
    #[error("its answer was not whole")]
    Cut,
    /// A limit of this host.
    #[error("it could not be asked, for a limit of this host")]
    Ours,
    /// It does not speak TLS as it must.
    #[error("its TLS certificate, or TLS itself, is not accepted")]
    Tls,
}

impl Wanted {
    /// What a reference asks for. Beside a digest the tag is ignored, as engines do; with neither, it is `latest`.
    #[must_use]
    pub fn of(reference: &Reference) -> Self {
        match (&reference.digest, &reference.tag) {
            (Some(digest), _) => Self::Digest(*digest),
            (None, Some(tag)) => Self::Tag(tag.clone()),
            (None, None) => Self::Tag(Tag::latest()),
        }
    }

    /// Repository and this, as a reference is written.
    #[must_use]
    pub fn in_repository(&self, repository: &Repository) -> String {
        match self {
            Self::Digest(digest) => format!("{repository}@{digest}"),
            Self::Tag(tag) => format!("{repository}:{tag}"),
        }
    }
}

/// As it stands in a manifest's URL.
impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => write!(f, "{digest}"),
            Self::Tag(tag) => write!(f, "{tag}"),
        }
    }
}
