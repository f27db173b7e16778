//! Signatures as cosign and the services of Sigstore make them: by a key alone, from whose kind follows how. ECDSA in strict DER; P-384 and P-521
//! with the hash of the curve (cosign 3), or SHA-256 (cosign 2).

use std::cell::OnceCell;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA512_ASN1,
    ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::UintRef;

use crate::trust::public_key::PublicKey;

/// What DER adds to the two numbers of a signature at most: three heads, and a zero in front of each number.
const DER_BYTES: usize = 12;
/// RFC 8032.
const ED25519_BYTES: usize = 64;

/// Whether signatures of this key look like this. One that does not need not be tried.
pub(in crate::trust) fn may_have_made(key: &PublicKey, signature: &[u8]) -> bool {
    match key {
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

/// What is signed: hashed once, however many keys are tried on it.
pub(in crate::trust) struct Message<'m> {
    bytes: &'m [u8],
    hashes: [OnceCell<Digest>; 3],
}

/// By which of a message's hashes one signs.
#[derive(Clone, Copy)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl<'m> Message<'m> {
    pub(in crate::trust) fn of(bytes: &'m [u8]) -> Self {
        Self { bytes, hashes: Default::default() }
    }

    fn hash(&self, hash: Hash) -> Digest {
        let [sha256, sha384, sha512] = &self.hashes;
        let (known, algorithm) = match hash {
            Hash::Sha256 => (sha256, &digest::SHA256),
            Hash::Sha384 => (sha384, &digest::SHA384),
            Hash::Sha512 => (sha512, &digest::SHA512),
        };
        *known.get_or_init(|| digest::digest(algorithm, self.bytes))
    }

    /// Whether this signature of it is the key's.
    pub(in crate::trust) fn is_signed_by(&self, key: &PublicKey, signature: &[u8]) -> bool {
        let algorithms: &[(&'static dyn VerificationAlgorithm, Option<Hash>)] = match key {
            PublicKey::P256(_) => &[(&ECDSA_P256_SHA256_ASN1, Some(Hash::Sha256))],
            PublicKey::P384(_) => &[(&ECDSA_P384_SHA384_ASN1, Some(Hash::Sha384)), (&ECDSA_P384_SHA256_ASN1, Some(Hash::Sha256))],
            PublicKey::P521(_) => &[(&ECDSA_P521_SHA512_ASN1, Some(Hash::Sha512)), (&ECDSA_P521_SHA256_ASN1, Some(Hash::Sha256))],
            PublicKey::Rsa(_) => &[(&RSA_PKCS1_2048_8192_SHA256, Some(Hash::Sha256))],
            // It signs the message itself.
            PublicKey::Ed25519(_) => &[(&ED25519, None)],
        };
        let holds = |(algorithm, hash): &(&'static dyn VerificationAlgorithm, Option<Hash>)| {
            #[cfg(test)]
            crate::trust::pki::CHECKED.set(crate::trust::pki::CHECKED.get() + 1);
            let key = UnparsedPublicKey::new(*algorithm, key.bytes());
            match hash {
                Some(hash) => key.verify_digest(&self.hash(*hash), signature).is_ok(),
                None => key.verify(self.bytes, signature).is_ok(),
            }
        };
        may_have_made(key, signature) && algorithms.iter().any(holds)
    }
}

/// Whether `signature` over the message is this key's.
pub(in crate::trust) fn signed(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    Message::of(message).is_signed_by(key, signature)
}

/// Strict DER of two numbers (RFC 3279, 2.2.3), each no longer than one of the curve.
fn is_ecdsa(signature: &[u8], most: usize) -> bool {
    let is_number = |number: &UintRef<'_>| (1..=most).contains(&number.as_bytes().len());
    signature.len() <= 2 * most + DER_BYTES
        && Vec::<UintRef<'_>>::from_der(signature).is_ok_and(|numbers| numbers.len() == 2 && numbers.iter().all(is_number))
}
