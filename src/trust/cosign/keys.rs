//! Keys that sign, as PEM, and what their signatures look like.

use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;

use crate::text::fit;
use crate::trust::public_key::PublicKey;
use crate::trust::sigstore;

/// Most keys of one verifier. Each is tried on each signature.
const KEYS: usize = 16;
/// Longest name of a key that is shown.
const NAME_CHARS: usize = 64;

/// Keys, any one of which is enough.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys(Vec<Key>);

/// A key, and what it is called where it has signed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) public: PublicKey,
}

/// Names alone.
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.name)).finish()
    }
}

impl Keys {
    /// The keys of files: what each is called, and its text. A file with none, or one that does not count, is a fault of all.
    pub fn read<'t>(files: impl Iterator<Item = (&'t str, &'t str)>) -> Result<Self, String> {
        let mut keys: Vec<Key> = Vec::new();
        for (name, text) in files {
            let name = fit(name, NAME_CHARS);
            let found: Result<Vec<_>, _> = SubjectPublicKeyInfoDer::pem_slice_iter(text.as_bytes()).take(KEYS + 1).collect();
            let found = found.map_err(|_| format!("`{name}` is not PEM"))?;
            if found.is_empty() {
                return Err(format!("`{name}` holds no public key (BEGIN PUBLIC KEY)"));
            }
            let several = found.len() > 1;
            for (at, der) in found.iter().enumerate() {
                let called = if several { format!("{name}#{}", at + 1) } else { name.clone() };
                // Who signed must be known by the name alone.
                if keys.iter().any(|key| key.name == called) {
                    return Err(format!("two keys are called `{called}`; give their files different names"));
                }
                let public = PublicKey::of_spki(der).map_err(|fault| format!("`{called}` {fault}"))?;
                keys.push(Key { name: called, public });
            }
        }
        match keys.len() {
            0 => Err("there is no key".to_owned()),
            1..=KEYS => Ok(Self(keys)),
            _ => Err(format!("there are more than {KEYS} keys")),
        }
    }

    /// None, where all that there were have been taken away: nothing is signed by one of these.
    #[must_use]
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    pub(super) const fn are_none(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, at: usize) -> Option<&Key> {
        self.0.get(at)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// Whether one of them signs as cosign 3 signs in a way that is not supported: Ed25519ph.
    pub(super) fn have_ed25519(&self) -> bool {
        self.0.iter().any(|key| matches!(key.public, PublicKey::Ed25519(_)))
    }
}

impl Key {
    /// Whether this key's signatures look like this. One that does not need not be tried.
    pub(super) fn may_have_made(&self, signature: &[u8]) -> bool {
        sigstore::may_have_made(&self.public, signature)
    }

    /// Whether `signature` over the message is this key's.
    pub(super) fn signed(&self, message: &sigstore::Message<'_>, signature: &[u8]) -> bool {
        message.is_signed_by(&self.public, signature)
    }
}
