//! Keys that sign, as PEM, and what their signatures look like.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA512_ASN1,
    ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::UintRef;

use crate::image::Tag;
use crate::text::fit;
use crate::trust::public_key::PublicKey;
use crate::trust::signatures::Good;

/// Most keys of one verifier. Each is tried on each signature.
const KEYS: usize = 16;
/// Longest name of a key that is shown.
const NAME_CHARS: usize = 64;

/// What DER adds to the two numbers of a signature at most: three heads, and a zero in front of each number.
const DER_BYTES: usize = 12;
/// RFC 8032.
const ED25519_BYTES: usize = 64;

/// Keys, any one of which is enough.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys(Vec<Key>);

/// A key, and what it is called where it has signed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: String,
    public: PublicKey,
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

    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// Which of them has made this signature.
    pub(super) fn who_signed(&self, message: &[u8], signature: &[u8]) -> Option<&Key> {
        self.iter().filter(|key| key.may_have_made(signature)).find(|key| key.signed(message, signature))
    }

    /// Whether one of them signs as cosign 3 signs in a way that is not supported: Ed25519ph.
    pub(super) fn have_ed25519(&self) -> bool {
        self.0.iter().any(|key| matches!(key.public, PublicKey::Ed25519(_)))
    }
}

impl Key {
    /// What its signature says, for this tag or any.
    pub(super) fn good(&self, tag: Option<Tag>) -> Good {
        Good { by: vec![self.name.clone()], role: String::new(), tag, signed_at: None, until: None }
    }

    /// Whether this key's signatures look like this. One that does not need not be tried.
    pub(super) fn may_have_made(&self, signature: &[u8]) -> bool {
        match &self.public {
            PublicKey::P256(_) => is_ecdsa(signature, 32),
            PublicKey::P384(_) => is_ecdsa(signature, 48),
            PublicKey::P521(_) => is_ecdsa(signature, 66),
            // RFC 8017, 8.2.1: as long as the modulus.
            PublicKey::Rsa(key) => {
                let numbers = Vec::<UintRef<'_>>::from_der(key).unwrap_or_default();
                numbers.first().is_some_and(|modulus| modulus.as_bytes().len() == signature.len())
            }
            PublicKey::Ed25519(_) => signature.len() == ED25519_BYTES,
        }
    }

    /// Whether `signature` over the message is this key's. ECDSA: strict DER. P-384 and P-521: cosign 2 hashes with SHA-256, cosign 3 with
    /// the curve's own.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.public {
            PublicKey::P256(point) => holds(&[&ECDSA_P256_SHA256_ASN1], point, message, signature),
            PublicKey::P384(point) => holds(&[&ECDSA_P384_SHA384_ASN1, &ECDSA_P384_SHA256_ASN1], point, message, signature),
            PublicKey::P521(point) => holds(&[&ECDSA_P521_SHA512_ASN1, &ECDSA_P521_SHA256_ASN1], point, message, signature),
            PublicKey::Rsa(key) => holds(&[&RSA_PKCS1_2048_8192_SHA256], key, message, signature),
            PublicKey::Ed25519(key) => holds(&[&ED25519], key, message, signature),
        }
    }
}

/// Strict DER of two numbers (RFC 3279, 2.2.3), each no longer than one of the curve.
fn is_ecdsa(signature: &[u8], most: usize) -> bool {
    let is_number = |number: &UintRef<'_>| (1..=most).contains(&number.as_bytes().len());
    signature.len() <= 2 * most + DER_BYTES
        && Vec::<UintRef<'_>>::from_der(signature).is_ok_and(|numbers| numbers.len() == 2 && numbers.iter().all(is_number))
}

fn holds(algorithms: &[&'static dyn VerificationAlgorithm], key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    algorithms.iter().any(|algorithm| UnparsedPublicKey::new(*algorithm, key).verify(message, signature).is_ok())
}
