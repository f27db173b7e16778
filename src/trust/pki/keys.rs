//! Signatures as certificates and CMS spell them: by an `AlgorithmIdentifier`. SHA-256 and longer alone.

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use x509_cert::der::Tag;
use x509_cert::der::asn1::ObjectIdentifier;

use super::der::{Item, context, written};
use super::fault::Fault;
use crate::trust::public_key::PublicKey;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const ID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

/// Hashes that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trust) enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// An `AlgorithmIdentifier`, its bytes as they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::trust) struct Algorithm {
    pub(in crate::trust) oid: ObjectIdentifier,
    /// The parameters, head and value; none where there are none.
    parameters: Option<Vec<u8>>,
}

impl Hash {
    fn of(self, message: &[u8]) -> digest::Digest {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, message)
    }

    const fn bytes(self) -> u32 {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl Algorithm {
    pub(in crate::trust) fn read(item: &Item<'_>) -> Result<Self, Fault> {
        const OF: &str = "the name of an algorithm";
        let mut parts = item.sequence(OF)?;
        let oid = parts.next()?.oid(OF)?;
        let parameters = match parts.rest(1)?.as_slice() {
            [] => None,
            [parameters, ..] => Some(parameters.bytes.to_vec()),
        };
        Ok(Self { oid, parameters })
    }

    fn has_no_parameters(&self) -> bool {
        self.parameters.is_none()
    }

    /// RFC 4055, 2.1 and 5: hashes and RSA have NULL, or nothing.
    fn has_null_or_none(&self) -> bool {
        self.parameters.as_deref().is_none_or(|parameters| parameters == [5, 0])
    }

    /// The hash that it names.
    pub(in crate::trust) fn hash(&self) -> Result<Hash, Fault> {
        match self.oid {
            SHA256 if self.has_null_or_none() => Ok(Hash::Sha256),
            SHA384 if self.has_null_or_none() => Ok(Hash::Sha384),
            SHA512 if self.has_null_or_none() => Ok(Hash::Sha512),
            other => Err(Fault::Algorithm(other)),
        }
    }

    /// The hash in PSS's parameters, if these are hash, MGF1 with the same, and a salt as long (RFC 4055, 3.1).
    fn pss(&self) -> Result<Hash, Fault> {
        const OF: &str = "the parameters of RSA-PSS";
        let bytes = self.parameters.as_deref().ok_or(Fault::Algorithm(RSA_PSS))?;
        let mut parts = Item::whole(bytes, OF)?.sequence(OF)?;
        let mut part = |number| -> Result<Item<'_>, Fault> {
            let outer = parts.next_if(context(number))?.ok_or(Fault::Algorithm(RSA_PSS))?;
            Item::whole(outer.value(), OF)
        };
        let hash = Self::read(&part(0)?)?.hash()?;
        let mask = Self::read(&part(1)?)?;
        let of_mask = mask.parameters.as_deref().ok_or(Fault::Algorithm(RSA_PSS))?;
        let of_mask = Self::read(&Item::whole(of_mask, OF)?)?.hash()?;
        let salt = part(2)?.number(OF)?;
        parts.end()?;
        if mask.oid == MGF1 && of_mask == hash && salt == hash.bytes() { Ok(hash) } else { Err(Fault::Algorithm(RSA_PSS)) }
    }

    /// How it signs with this key. `hashed`: what CMS says beside it of the hash, where the algorithm may leave that open.
    fn with(&self, key: &PublicKey, hashed: Option<Hash>) -> Result<&'static dyn VerificationAlgorithm, Fault> {
        let not = || Fault::Algorithm(self.oid);
        let ecdsa = |hash: Hash| -> Result<&'static dyn VerificationAlgorithm, Fault> {
            if !self.has_no_parameters() {
                return Err(not());
            }
            match (key, hash) {
                (PublicKey::P256(_), Hash::Sha256) => Ok(&ECDSA_P256_SHA256_ASN1),
                (PublicKey::P256(_), Hash::Sha384) => Ok(&ECDSA_P256_SHA384_ASN1),
                (PublicKey::P256(_), Hash::Sha512) => Ok(&ECDSA_P256_SHA512_ASN1),
                (PublicKey::P384(_), Hash::Sha256) => Ok(&ECDSA_P384_SHA256_ASN1),
                (PublicKey::P384(_), Hash::Sha384) => Ok(&ECDSA_P384_SHA384_ASN1),
                (PublicKey::P384(_), Hash::Sha512) => Ok(&ECDSA_P384_SHA512_ASN1),
                (PublicKey::P521(_), Hash::Sha256) => Ok(&ECDSA_P521_SHA256_ASN1),
                (PublicKey::P521(_), Hash::Sha384) => Ok(&ECDSA_P521_SHA384_ASN1),
                (PublicKey::P521(_), Hash::Sha512) => Ok(&ECDSA_P521_SHA512_ASN1),
                (PublicKey::Rsa(_) | PublicKey::Ed25519(_), _) => Err(not()),
            }
        };
        let rsa = |hash: Hash, is_pss: bool| -> Result<&'static dyn VerificationAlgorithm, Fault> {
            match (key, hash, is_pss) {
                (PublicKey::Rsa(_), Hash::Sha256, false) => Ok(&RSA_PKCS1_2048_8192_SHA256),
                (PublicKey::Rsa(_), Hash::Sha384, false) => Ok(&RSA_PKCS1_2048_8192_SHA384),
                (PublicKey::Rsa(_), Hash::Sha512, false) => Ok(&RSA_PKCS1_2048_8192_SHA512),
                (PublicKey::Rsa(_), Hash::Sha256, true) => Ok(&RSA_PSS_2048_8192_SHA256),
                (PublicKey::Rsa(_), Hash::Sha384, true) => Ok(&RSA_PSS_2048_8192_SHA384),
                (PublicKey::Rsa(_), Hash::Sha512, true) => Ok(&RSA_PSS_2048_8192_SHA512),
                (PublicKey::P256(_) | PublicKey::P384(_) | PublicKey::P521(_) | PublicKey::Ed25519(_), ..) => Err(not()),
            }
        };
        match self.oid {
            ECDSA_SHA256 => ecdsa(Hash::Sha256),
            ECDSA_SHA384 => ecdsa(Hash::Sha384),
            ECDSA_SHA512 => ecdsa(Hash::Sha512),
            RSA_SHA256 if self.has_null_or_none() => rsa(Hash::Sha256, false),
            RSA_SHA384 if self.has_null_or_none() => rsa(Hash::Sha384, false),
            RSA_SHA512 if self.has_null_or_none() => rsa(Hash::Sha512, false),
            RSA_ENCRYPTION if self.has_null_or_none() => rsa(hashed.ok_or_else(not)?, false),
            RSA_PSS => rsa(self.pss()?, true),
            ID_ED25519 if self.has_no_parameters() && matches!(key, PublicKey::Ed25519(_)) => Ok(&ED25519),
            _ => Err(not()),
        }
    }

    /// Which hash its signature rests on, where it says so.
    pub(super) fn hash_of_signature(&self) -> Option<Hash> {
        match self.oid {
            ECDSA_SHA256 | RSA_SHA256 => Some(Hash::Sha256),
            ECDSA_SHA384 | RSA_SHA384 => Some(Hash::Sha384),
            ECDSA_SHA512 | RSA_SHA512 => Some(Hash::Sha512),
            RSA_PSS => self.pss().ok(),
            _ => None,
        }
    }

    /// Whether certificates signed with it count, whoever's key it was.
    pub(super) fn is_strong(&self) -> bool {
        self.oid == ID_ED25519 || self.hash_of_signature().is_some()
    }
}

/// An `RSAPublicKey` (RFC 8017, A.1.1) as a `SubjectPublicKeyInfo`.
pub(in crate::trust) fn rsa_spki(key: &[u8]) -> Result<Vec<u8>, Fault> {
    let algorithm = [written(Tag::ObjectIdentifier, RSA_ENCRYPTION.as_bytes())?, written(Tag::Null, &[])?].concat();
    let bits = [&[0][..], key].concat();
    written(Tag::Sequence, &[written(Tag::Sequence, &algorithm)?, written(Tag::BitString, &bits)?].concat())
}

/// Whether these bytes are the message's hash.
pub(in crate::trust) fn hashes_with(hash: Hash, message: &[u8], value: &[u8]) -> bool {
    hash.of(message).as_ref() == value
}

#[cfg(test)]
thread_local! {
    /// How many signatures were checked on this thread.
    pub(in crate::trust) static CHECKED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Whether the key has signed the message in this way.
pub(in crate::trust) fn verified(
    algorithm: &Algorithm,
    hashed: Option<Hash>,
    key: &PublicKey,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Fault> {
    let with = algorithm.with(key, hashed)?;
    #[cfg(test)]
    CHECKED.set(CHECKED.get() + 1);
    UnparsedPublicKey::new(with, key.bytes()).verify(message, signature).map_err(|_| Fault::Signature)
}
