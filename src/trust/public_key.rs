//! Public keys as they are written (SPKI, RFC 5280 and 8410), those that are weak or odd left out. What a signature by one looks like
//! differs by scheme, and is not said here.

use sha2::{Digest as _, Sha256};
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::spki::SubjectPublicKeyInfoRef;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// RSA moduli in bytes: 2048 to 8192 bits. Below is weak, above is slow to check on purpose.
pub(super) const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// RSA exponents that count, as bytes: 3 and 65537, which are all there are in use. With larger ones a check takes fifty times as long;
/// with 1 every message would be its own signature.
const RSA_EXPONENTS: [&[u8]; 2] = [&[3], &[1, 0, 1]];
/// What makes two keys one signer: the same private key makes the same identity, whatever form, certificate or key id the
/// public key comes in. For curves that is the x coordinate, because one private key signs for a point and its negative;
/// for RSA the modulus, because the exponent is free.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Signer([u8; 32]);

/// A key that can check signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// ECDSA: an uncompressed point.
    P256(Vec<u8>),
    P384(Vec<u8>),
    P521(Vec<u8>),
    /// `RSAPublicKey`, DER.
    Rsa(Vec<u8>),
    Ed25519([u8; 32]),
}

/// Why bytes are not a key that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyFault {
    #[error("is not a public key (SPKI)")]
    Form,
    #[error("is of a kind that does not count; ECDSA on P-256, P-384 or P-521, RSA and Ed25519 do")]
    Kind,
    #[error("is an RSA key that does not count: its modulus must have 2048 to 8192 bits, its exponent be 3 or 65537")]
    Rsa,
    #[error("is an Ed25519 key for which anybody can sign")]
    SmallOrder,
}

impl PublicKey {
    /// A named curve with an uncompressed point, RSA, or Ed25519. One encoding each, so that a key has one form.
    pub(super) fn of_spki(der: &[u8]) -> Result<Self, KeyFault> {
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| KeyFault::Form)?;
        let bits = info.subject_public_key.as_bytes().ok_or(KeyFault::Form)?;
        match info.algorithm.oid {
            EC_PUBLIC_KEY => {
                let curve = info.algorithm.parameters.and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
                let (size, of): (usize, fn(Vec<u8>) -> Self) = match curve {
                    Some(P256) => (32, Self::P256),
                    Some(P384) => (48, Self::P384),
                    Some(P521) => (66, Self::P521),
                    Some(_) | None => return Err(KeyFault::Kind),
                };
                if bits.first() == Some(&4) && bits.len() == 1 + 2 * size { Ok(of(bits.to_vec())) } else { Err(KeyFault::Form) }
            }
            RSA_ENCRYPTION => {
                // RFC 8017, A.1: the parameters are NULL.
                if !info.algorithm.parameters.is_some_and(x509_cert::der::AnyRef::is_null) {
                    return Err(KeyFault::Form);
                }
                let numbers = Vec::<UintRef<'_>>::from_der(bits).map_err(|_| KeyFault::Form)?;
                let [modulus, exponent] = numbers.as_slice() else { return Err(KeyFault::Form) };
                let (modulus, exponent) = (modulus.as_bytes(), exponent.as_bytes());
                let odd = |bytes: &[u8]| bytes.last().is_some_and(|last| last & 1 == 1);
                let fit = RSA_BYTES.contains(&modulus.len())
                    && (modulus.len() > 256 || modulus.first().is_some_and(|first| *first >= 0x80))
                    && odd(modulus)
                    && RSA_EXPONENTS.contains(&exponent);
                if fit { Ok(Self::Rsa(bits.to_vec())) } else { Err(KeyFault::Rsa) }
            }
            // RFC 8410, 3: there are no parameters.
            ID_ED25519 if info.algorithm.parameters.is_none() => Self::of_ed25519(bits),
            ID_ED25519 => Err(KeyFault::Form),
            _ => Err(KeyFault::Kind),
        }
    }

    /// The 32 bytes of RFC 8032.
    pub(super) fn of_ed25519(bytes: &[u8]) -> Result<Self, KeyFault> {
        let key: [u8; 32] = bytes.try_into().map_err(|_| KeyFault::Form)?;
        if ed25519_is_sound(&without_sign(key)) { Ok(Self::Ed25519(key)) } else { Err(KeyFault::SmallOrder) }
    }

    /// The bytes that verify: the point, `RSAPublicKey`, or the 32 of Ed25519.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::P256(bytes) | Self::P384(bytes) | Self::P521(bytes) | Self::Rsa(bytes) => bytes,
            Self::Ed25519(bytes) => bytes,
        }
    }

    /// Whose it is.
    pub(super) fn signer(&self) -> Signer {
        let of_curve = |curve: ObjectIdentifier, point: &[u8]| {
            let x = point.get(1..=point.len() / 2).unwrap_or_default();
            Signer::of(b"ec", &[curve.as_bytes(), x])
        };
        match self {
            Self::P256(point) => of_curve(P256, point),
            Self::P384(point) => of_curve(P384, point),
            Self::P521(point) => of_curve(P521, point),
            Self::Rsa(key) => {
                let numbers = Vec::<UintRef<'_>>::from_der(key).unwrap_or_default();
                Signer::of(b"rsa", &[numbers.first().map(UintRef::as_bytes).unwrap_or_default()])
            }
            Self::Ed25519(key) => Signer::of(b"ed25519", &[&without_sign(*key)]),
        }
    }
}

/// The y coordinate, without the sign of x.
fn without_sign(key: [u8; 32]) -> [u8; 32] {
    let mut y = key;
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    y
}

impl Signer {
    pub(super) fn of(kind: &[u8], parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        hash.update(kind);
        for part in parts {
            hash.update([0]);
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// Whether y (little endian, sign bit cleared) is reduced and no point of small order: for those anyone can make
/// signatures. The list is that of the y coordinates of the eight points of the small subgroup.
fn ed25519_is_sound(y: &[u8; 32]) -> bool {
    const ORDER_8_A: [u8; 32] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05,
        0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    const ORDER_8_B: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa,
        0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ];
    // p = 2^255 - 19, little endian.
    let (low, rest) = (y.first().copied().unwrap_or(0), y.get(1..31).unwrap_or_default());
    let top = y.last().copied().unwrap_or(0);
    let high = top == 0x7f && rest.iter().all(|byte| *byte == 0xff);
    // At and above p - 1: the order 2 point, and encodings that are not reduced.
    if high && low >= 0xec {
        return false;
    }
    let small = top == 0 && rest.iter().all(|byte| *byte == 0) && low <= 1;
    !small && *y != ORDER_8_A && *y != ORDER_8_B
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    // Made with `openssl`.
    const RSA_1024: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC95Hq+xWz9wFSTZaED3dT7T15FwVotjeqXvLO6WD/TWw5Mt/+SvUfvlREIoqJ6IkU2F4S2mLX1zXNjVpJDiEIOYs5jpy0GNqtY56LYCKNJkypM2MKmCH5kZwkMa8tZ9BvyxeIYYDr3hoY88PiV1mbvYjV3lwEv2HKuGAl9IBaUnQIDAQAB";
    const P224: &str =
        "ME4wEAYHKoZIzj0CAQYFK4EEACEDOgAE1Mpe1t2zaB3eYfmrVHXdaAb0FjKu8PmX7apeMN38dclREstCjt9CAxWj0g7cKFt84TxOOSEyCT4=";
    const ED25519: &str = "MCowBQYDK2VwAyEAEPQ5nfe97hE8e03LMMkYmD2eBTwgjPvhjBn1gSld7yQ=";

    #[test]
    fn keys_of_low_quality_do_not_count_and_say_why() {
        let read = |text: &str| PublicKey::of_spki(&STANDARD.decode(text).unwrap());
        assert_eq!(read(RSA_1024), Err(KeyFault::Rsa));
        assert_eq!(read(P224), Err(KeyFault::Kind));
        assert!(matches!(read(ED25519), Ok(PublicKey::Ed25519(_))));
        let mut zero = STANDARD.decode(ED25519).unwrap();
        zero.truncate(12);
        zero.extend([0; 32]);
        assert_eq!(PublicKey::of_spki(&zero), Err(KeyFault::SmallOrder));
        for odd in [&b""[..], b"key", &[0x30, 0x03, 0x02, 0x01, 0x05]] {
            assert_eq!(PublicKey::of_spki(odd), Err(KeyFault::Form));
        }
    }
}
