//! What a signature says of itself: for people, and for whoever wants to learn whom to trust. Nothing of it is proven, and no verifier reads it.

use jiff::Timestamp;

/// What a signature says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// Of which digests it is.
    pub digests: Vec<String>,
    /// For which name, where it says so.
    pub name: Option<String>,
    /// What it states, where that is more than that the image is signed.
    pub predicate_type: Option<String>,
    /// Who made it.
    pub signer: Option<Signer>,
    /// When it was made; by a log, a timestamp or the signer.
    pub signed_at: Option<Timestamp>,
    /// When it expires itself.
    pub expires: Option<Timestamp>,
    /// Its numbers in transparency logs.
    pub log: Vec<u64>,
}

/// Who made a signature, as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signer {
    /// A key, which has to be known from elsewhere.
    Key {
        /// By what the signer knows the key.
        hint: Option<String>,
    },
    /// The holder of one of Sigstore's certificates.
    Identity {
        /// The name.
        subject: String,
        /// Who vouches for it.
        issuer: String,
    },
    /// The holder of a certificate of a CA.
    Certificate(Box<Certified>),
}

/// A chain of certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// The signer's name.
    pub subject: String,
    /// The same as a trust policy of notation takes it; `None`: it has none of that form.
    pub identity: Option<String>,
    /// The name of the last certificate of the chain, its fingerprint (SHA-256, hex), and itself in PEM.
    pub root: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Itself.
    pub pem: String,
    /// Whether it signs for others, as an authority that says when.
    pub is_authority: bool,
}

impl Signer {
    /// In a few words.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Key { hint: None } => "a key".to_owned(),
            Self::Key { hint: Some(hint) } => format!("a key (hint {hint})"),
            Self::Identity { subject, issuer } => format!("{subject} (issuer {issuer})"),
            Self::Certificate(certified) => certified.subject.clone(),
        }
    }
}
