//! Public keys, their ids, and whether a signature is theirs (docs/notary-v1.md, section 4).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA256_ASN1, ECDSA_P521_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use x509_cert::der::Encode as _;
use x509_cert::der::asn1::UintRef;

use super::certificate::{Certificate, bundle};
use super::json::canonical_text;
use super::limits::MetadataLimits;
use crate::trust::public_key::{PublicKey as Public, RSA_BYTES, Signer};

/// So many bytes are hashed in the time of one P-256 check, roughly. A message is hashed for each of its signatures.
const HASHED_BYTES: usize = 64 << 10;

/// How the public bytes of a key are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyType {
    Ecdsa,
    EcdsaX509,
    Rsa,
    RsaX509,
    Ed25519,
    /// A type we do not know: its signatures never count.
    Unknown,
}

impl KeyType {
    fn of(text: &str) -> Self {
        match text {
            "ecdsa" => Self::Ecdsa,
            "ecdsa-x509" => Self::EcdsaX509,
            "rsa" => Self::Rsa,
            "rsa-x509" => Self::RsaX509,
            "ed25519" => Self::Ed25519,
            _ => Self::Unknown,
        }
    }

    /// The key in a `SubjectPublicKeyInfo`, where it is one of this type.
    fn public(self, der: &[u8]) -> Option<Public> {
        let public = Public::of_spki(der).ok()?;
        let is_of_it = match public {
            Public::P256(_) | Public::P384(_) | Public::P521(_) => matches!(self, Self::Ecdsa | Self::EcdsaX509),
            Public::Rsa(_) => matches!(self, Self::Rsa | Self::RsaX509),
            // Those are written as they are, and not in this form.
            Public::Ed25519(_) => false,
        };
        is_of_it.then_some(public)
    }
}

/// A public key as a role file lists it.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// Computed from type and bytes, never taken from the file.
    pub(super) id: String,
    /// Certificates of the x509 types, in order; empty for a bundle that is malformed.
    pub(super) certificates: Vec<Certificate>,
    public: Option<(Public, Signer)>,
}

impl Key {
    /// A key of the type and the base64 text of a role file; `None` if the text is no base64 or too long.
    pub(super) fn read(kind: &str, public: &str, limits: &MetadataLimits) -> Option<Self> {
        if public.len() > limits.key_bytes {
            return None;
        }
        let bytes = STANDARD.decode(public).ok()?;
        let id = key_id(kind, public);
        let kind = KeyType::of(kind);
        let mut certificates = Vec::new();
        let public = match kind {
            KeyType::Ecdsa | KeyType::Rsa => kind.public(&bytes),
            KeyType::EcdsaX509 | KeyType::RsaX509 => {
                certificates = bundle(&bytes, limits.certificates).unwrap_or_default();
                certificates.first().and_then(|first| kind.public(&first.public_key))
            }
            KeyType::Ed25519 => Public::of_ed25519(&bytes).ok(),
            KeyType::Unknown => None,
        };
        let public = public.map(|public| {
            let signer = public.signer();
            (public, signer)
        });
        Some(Self { id, certificates, public })
    }

    /// Who signs with this key; `None` for a key that cannot check anything.
    pub(super) fn signer(&self) -> Option<&Signer> {
        self.public.as_ref().map(|(_, signer)| signer)
    }

    /// The id of the key by itself, as docker shows it: for the x509 types that of the key inside the certificate (section 1).
    pub(super) fn bare_id(&self) -> String {
        let kind = match &self.public {
            Some((Public::Rsa(_), _)) => "rsa",
            Some((Public::P256(_) | Public::P384(_) | Public::P521(_), _)) => "ecdsa",
            Some((Public::Ed25519(_), _)) | None => return self.id.clone(),
        };
        let inside = self.certificates.first().map(|certificate| key_id(kind, &STANDARD.encode(&certificate.public_key)));
        inside.unwrap_or_else(|| self.id.clone())
    }

    /// What one check of a message of so many bytes costs, in units of a P-256 check of a short one.
    pub(super) fn work(&self, message: usize) -> u32 {
        let check = match &self.public {
            Some((Public::P256(_) | Public::Ed25519(_), _)) => 1,
            Some((Public::P384(_), _)) => 4,
            Some((Public::P521(_), _)) => 8,
            // Grows with the square of the modulus: 1 for 2048 bits, 4 for 4096, 16 for 8192.
            Some((Public::Rsa(key), _)) => (key.len() / RSA_BYTES.start()).pow(2),
            None => return 0,
        };
        u32::try_from(check.saturating_add(message / HASHED_BYTES)).unwrap_or(u32::MAX)
    }

    /// Whether `signature` by `method` over `message` is this key's.
    pub(super) fn verifies(&self, method: &str, message: &[u8], signature: &[u8]) -> bool {
        let Some((public, _)) = &self.public else { return false };
        match (public, method) {
            (Public::P256(point), "ecdsa") => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            (Public::P384(point), "ecdsa") => fixed_to_der(signature, 48)
                .is_some_and(|der| UnparsedPublicKey::new(&ECDSA_P384_SHA256_ASN1, point).verify(message, &der).is_ok()),
            (Public::P521(point), "ecdsa") => {
                UnparsedPublicKey::new(&ECDSA_P521_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            (Public::Rsa(key), "rsapss") => {
                UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key).verify(message, signature).is_ok()
            }
            (Public::Rsa(key), "rsapkcs1v15") => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(message, signature).is_ok()
            }
            (Public::Ed25519(key), "eddsa") => UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok(),
            _ => false,
        }
    }
}

/// `r || s`, each `size` bytes, as the DER sequence of two integers.
fn fixed_to_der(signature: &[u8], size: usize) -> Option<Vec<u8>> {
    if signature.len() != 2 * size {
        return None;
    }
    let (r, s) = signature.split_at_checked(size)?;
    vec![UintRef::new(r).ok()?, UintRef::new(s).ok()?].to_der().ok()
}

/// The key id: hex SHA-256 over the canonical form of type and public text. `private` is always null.
fn key_id(kind: &str, public: &str) -> String {
    let mut text = b"{\"keytype\":".to_vec();
    canonical_text(kind, &mut text);
    text.extend_from_slice(b",\"keyval\":{\"private\":null,\"public\":");
    canonical_text(public, &mut text);
    text.extend_from_slice(b"}}");
    super::hex(&Sha256::digest(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
    use proptest::prelude::*;

    /// Made with `openssl dgst -sha256 -sign` on P-384, over `message`.
    const P384_PUBLIC: &str = "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEoDIf9eITnGML86f+kcVEu2pv72iYYZMHsd8Cx4dZ6y4bUb0g6Kg1uawsMklBUKLiDIkubj/MiQiFOZXTTJ05LrRsDt2CGXpd3v4/ZPi7wQgjp5cdq33+FRL/pL7aOApN";
    const P384_SIGNATURE: &str = "smqR76snVB7O4pfTioLu+BIx0aI2y9dftQlu+fX6I1Qj6ZelUmiWgcEO9btx28NtiTgrj5Vgk5o3/PgOczdPHe5fyHxw6LTJCl2nF4DBSy/gtc4RPoV36lEVV+6bpqWe";

    fn key(kind: &str, public: &str) -> Key {
        Key::read(kind, public, &MetadataLimits::default()).unwrap()
    }

    #[test]
    fn p384_signs_with_sha256_and_fixed_length() {
        let key = key("ecdsa", P384_PUBLIC);
        let signature = STANDARD.decode(P384_SIGNATURE).unwrap();
        assert!(key.verifies("ecdsa", b"message", &signature));
        assert!(!key.verifies("ecdsa", b"massage", &signature));
        assert!(!key.verifies("rsapss", b"message", &signature));
        assert!(!key.verifies("ecdsa", b"message", &signature[..95]));
        assert!(!key.verifies("ecdsa", b"message", &fixed_to_der(&signature, 48).unwrap()));
    }

    #[test]
    fn one_private_key_is_one_signer() {
        let spki = STANDARD.decode(P384_PUBLIC).unwrap();
        let mut negative = spki.clone();
        *negative.last_mut().unwrap() ^= 1;
        let (one, other) = (key("ecdsa", P384_PUBLIC), key("ecdsa", &STANDARD.encode(&negative)));
        assert_ne!(one.id, other.id);
        assert_eq!(one.signer(), other.signer());
        // The compressed form of the same point is no key of ours.
        let mut compressed = spki;
        let at = compressed.len() - 97;
        compressed[at] = 2;
        assert!(key("ecdsa", &STANDARD.encode(&compressed)).signer().is_none());
    }

    #[test]
    fn ed25519_keys_of_small_order_or_not_reduced_are_no_keys() {
        let good = Ed25519KeyPair::generate().unwrap();
        assert!(key("ed25519", &STANDARD.encode(good.public_key())).signer().is_some());
        for hex in [
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000000",
            "0100000000000000000000000000000000000000000000000000000000000080",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        ] {
            let bytes: Vec<u8> =
                (0..32).map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2).unwrap(), 16).unwrap()).collect();
            assert!(key("ed25519", &STANDARD.encode(bytes)).signer().is_none(), "{hex}");
        }
    }

    #[test]
    fn what_costs_more_counts_more() {
        let of = |public| Key { id: String::new(), certificates: Vec::new(), public: Some((public, Signer::of(b"", &[]))) };
        // With what stands around a modulus.
        let rsa = |bits: usize| of(Public::Rsa(vec![0; bits / 8 + 14])).work(100);
        assert_eq!([2048, 4096, 8192].map(rsa), [1, 4, 16]);
        let p256 = of(Public::P256(Vec::new()));
        assert_eq!([p256.work(100), p256.work(1 << 20), p256.work(8 << 20)], [1, 17, 129]);
        assert_eq!(Key { public: None, ..p256 }.work(8 << 20), 0);
    }

    #[test]
    fn rsa_keys_with_a_weak_modulus_or_exponent_are_no_keys() {
        let size = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let rsa = |modulus: &[u8], exponent: &[u8]| {
            let numbers = vec![UintRef::new(modulus).unwrap(), UintRef::new(exponent).unwrap()].to_der().unwrap();
            let mut spki = STANDARD.decode("MA0GCSqGSIb3DQEBAQUA").unwrap();
            let mut bits = vec![0];
            bits.extend(numbers);
            let mut string = vec![3, 0x82, size(&bits)[0], size(&bits)[1]];
            string.extend(bits);
            spki.extend(string);
            let mut der = vec![0x30, 0x82, size(&spki)[0], size(&spki)[1]];
            der.extend(spki);
            key("rsa", &STANDARD.encode(der)).signer().is_some()
        };
        let modulus = |bytes: usize| {
            let mut modulus = vec![0xff; bytes];
            modulus[bytes - 1] = 0xfd;
            modulus
        };
        assert!(rsa(&modulus(256), &[1, 0, 1]));
        assert!(rsa(&modulus(1024), &[3]));
        assert!(!rsa(&modulus(255), &[1, 0, 1]));
        assert!(!rsa(&modulus(128), &[1, 0, 1]));
        assert!(!rsa(&modulus(1025), &[1, 0, 1]));
        assert!(!rsa(&modulus(256), &[1]));
        assert!(!rsa(&modulus(256), &[2]));
        for odd in [&[5][..], &[17], &[1, 0, 3], &[0x7f, 0xff, 0xff, 0xff], &[1, 0, 0, 0, 1]] {
            assert!(!rsa(&modulus(1024), odd), "{odd:?}");
        }
    }

    proptest! {
        #[test]
        fn no_key_makes_the_reader_panic(kind in "ecdsa|ecdsa-x509|rsa|rsa-x509|ed25519", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let key = key(&kind, &STANDARD.encode(&bytes));
            prop_assert!(!key.verifies("ecdsa", b"x", &bytes));
        }

        #[test]
        fn no_bundle_makes_the_reader_panic(body in "[A-Za-z0-9+/=\n]{0,200}", around in "[ -~\n]{0,10}") {
            let text = format!("{around}-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
            prop_assert!(bundle(text.as_bytes(), 10).is_none());
        }
    }
}
