//! The certificates of an envelope: whether they are a chain as the Notary Project has it, and whether its first key has signed.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, UnparsedPublicKey, VerificationAlgorithm,
};
use x509_cert::der::Decode as _;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};

use super::envelope::{Algorithm, Envelope};
use super::error::Unfit;
use crate::trust::pki::{self, Certificate, Hash, Rules};
use crate::trust::public_key::PublicKey;

/// What a signer of images must not be made for: servers, clients, mail, timestamps, OCSP, anything.
const FOREIGN: [ObjectIdentifier; 6] = [
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.4"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8"),
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.9"),
    ObjectIdentifier::new_unwrap("2.5.29.37.0"),
];

/// The certificates that came along, read.
pub(super) fn chain(ders: &[Vec<u8>]) -> Result<Vec<Certificate>, Unfit> {
    let read = |(at, der): (usize, &Vec<u8>)| {
        Certificate::read(der).map_err(|fault| Unfit::form(format!("its certificate {} {fault}", at + 1)))
    };
    ders.iter().enumerate().map(read).collect()
}

/// Whether the certificates, leaf first, are a whole chain up to a root, and keep the rules. Which root, and at what time, is not said.
pub(super) fn holds(chain: &[Certificate]) -> Result<(), Unfit> {
    let odd = |why: &str| Err(Unfit::form(format!("its certificate chain {why}")));
    let is_root = |certificate: &Certificate| certificate.is_self_issued() && certificate.issued(certificate).is_ok();
    let Some((last, others)) = chain.split_last() else { return odd("is empty") };
    // Whether it has signed itself is seen with the chain.
    if !last.is_self_issued() {
        return odd("does not end in a root");
    }
    let leaf = chain.first().unwrap_or(last);
    if leaf.is_ca() {
        return odd("begins with a CA");
    }
    if !leaf.usage().is_some_and(|usage| usage.is_critical && usage.digital_signature() && usage.only_signs()) {
        return odd("begins with a key that is not for signatures alone (key usage)");
    }
    if leaf.purposes().is_some_and(|purposes| purposes.oids.iter().any(|oid| FOREIGN.contains(oid))) {
        return odd("begins with a key for something else (extended key usage)");
    }
    if let Err(fault) = pki::holds(chain, &[], Rules::NOTATION) {
        return odd(&fault.to_string());
    }
    if others.iter().any(is_root) {
        return odd("goes on after a root");
    }
    Ok(())
}

/// Whether the certificate's key made the signature, with the algorithm that it demands.
pub(super) fn has_signed(leaf: &Certificate, envelope: &Envelope) -> Result<(), Unfit> {
    let due: Option<(Algorithm, &'static dyn VerificationAlgorithm, &[u8])> = match leaf.key() {
        PublicKey::P256(point) => Some((Algorithm::Ecdsa(Hash::Sha256), &ECDSA_P256_SHA256_FIXED, point)),
        PublicKey::P384(point) => Some((Algorithm::Ecdsa(Hash::Sha384), &ECDSA_P384_SHA384_FIXED, point)),
        PublicKey::P521(point) => Some((Algorithm::Ecdsa(Hash::Sha512), &ECDSA_P521_SHA512_FIXED, point)),
        PublicKey::Rsa(key) => match bits(key) {
            2048 => Some((Algorithm::Pss(Hash::Sha256), &RSA_PSS_2048_8192_SHA256, key)),
            3072 => Some((Algorithm::Pss(Hash::Sha384), &RSA_PSS_2048_8192_SHA384, key)),
            4096 => Some((Algorithm::Pss(Hash::Sha512), &RSA_PSS_2048_8192_SHA512, key)),
            _ => None,
        },
        PublicKey::Ed25519(_) => None,
    };
    let Some((algorithm, verifies, key)) = due else {
        return Err(Unfit::form("its key is not one that signs images (RSA of 2048, 3072 or 4096 bits, P-256, P-384, P-521)"));
    };
    if algorithm != envelope.algorithm {
        return Err(Unfit::form("its algorithm is not that of its key"));
    }
    let holds = UnparsedPublicKey::new(verifies, key).verify(&envelope.signed, &envelope.signature);
    holds.map_err(|_| Unfit::form("its signature does not hold"))
}

/// How long the modulus of an RSA key is.
fn bits(key: &[u8]) -> usize {
    let numbers = Vec::<UintRef<'_>>::from_der(key).unwrap_or_default();
    let Some([first, rest @ ..]) = numbers.first().map(UintRef::as_bytes) else { return 0 };
    rest.len() * 8 + (8 - first.leading_zeros() as usize)
}
