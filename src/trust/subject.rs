//! What a statement of in-toto is about, by its digests. Whether that is the image that is asked about says who reads it.

use serde::Deserialize;

use super::object::Object;

/// One subject of a statement.
#[derive(Deserialize)]
pub(super) struct Subject {
    digest: Option<Object<Hashes>>,
}

#[derive(Deserialize)]
struct Hashes {
    sha256: Option<String>,
}

impl Subject {
    /// Its SHA-256, as it is written.
    pub(super) fn sha256(&self) -> Option<&str> {
        self.digest.as_ref()?.0.sha256.as_deref()
    }
}
