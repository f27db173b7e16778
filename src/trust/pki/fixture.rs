//! Authorities, certificates and timestamps, made for tests: right ones, and each with one thing wrong.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SigningKey as _,
    date_time_ymd,
};
use sha2::{Digest as _, Sha256, Sha384};

use super::certificate::Certificate;

pub(in crate::trust) const EKU: &[u64] = &[2, 5, 29, 37];
pub(in crate::trust) const TIME_STAMPING: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 8];
pub(in crate::trust) const CODE_SIGNING: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 3];

/// A certificate with its key.
pub(in crate::trust) struct Made {
    pub(in crate::trust) key: KeyPair,
    pub(in crate::trust) params: CertificateParams,
    pub(in crate::trust) certificate: Certificate,
}

impl Made {
    /// One that issues itself.
    pub(in crate::trust) fn root(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = Certificate::read(params.self_signed(&key).unwrap().der()).unwrap();
        Self { key, params, certificate }
    }

    /// One that this one issues.
    pub(in crate::trust) fn issue(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = Certificate::read(&self.signed(&params, &key)).unwrap();
        Self { key, params, certificate }
    }

    /// The bytes of a certificate for a key, by this one.
    pub(in crate::trust) fn signed(&self, params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
        params.signed_by(key, &Issuer::from_params(&self.params, &self.key)).unwrap().der().to_vec()
    }
}

/// A name, valid from the begin of a year to that of another.
pub(in crate::trust) fn params(name: &str, years: (i32, i32)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
    params
}

/// An authority.
pub(in crate::trust) fn authority(name: &str, years: (i32, i32), path_length: Option<u8>) -> CertificateParams {
    let mut params = params(name, years);
    params.is_ca = IsCa::Ca(path_length.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A leaf that signs, for these purposes.
pub(in crate::trust) fn leaf(name: &str, years: (i32, i32), purposes: &[&[u64]], is_critical: bool) -> CertificateParams {
    let mut params = params(name, years);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let oids: Vec<Vec<u8>> = purposes.iter().map(|purpose| oid(purpose)).collect();
    params.custom_extensions.push(extension(EKU, tlv(0x30, &oids), is_critical));
    params
}

pub(in crate::trust) fn extension(oid: &[u64], value: Vec<u8>, is_critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(oid, value);
    extension.set_criticality(is_critical);
    extension
}

/// Root, intermediate and leaf of a timestamp authority.
pub(in crate::trust) fn stampers() -> (Made, Made, Made) {
    let root = Made::root(authority("stamps root", (2020, 2040), None));
    let between = root.issue(authority("stamps ca", (2020, 2035), Some(0)));
    let signer = between.issue(leaf("stamps", (2024, 2030), &[TIME_STAMPING], true));
    (root, between, signer)
}

/// One element of DER.
pub(in crate::trust) fn tlv(tag: u8, parts: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let value: Vec<u8> = parts.iter().flat_map(|part| part.as_ref().to_vec()).collect();
    let mut out = vec![tag];
    match value.len() {
        short @ 0..0x80 => out.push(u8::try_from(short).unwrap()),
        long => {
            let bytes: Vec<u8> = long.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            out.push(0x80 | u8::try_from(bytes.len()).unwrap());
            out.extend(bytes);
        }
    }
    out.extend(value);
    out
}

pub(in crate::trust) fn oid(arcs: &[u64]) -> Vec<u8> {
    let text: Vec<String> = arcs.iter().map(u64::to_string).collect();
    let oid = x509_cert::der::asn1::ObjectIdentifier::new(&text.join(".")).unwrap();
    tlv(6, &[oid.as_bytes()])
}

const SHA256: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 1];
const SHA384: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 2];
const ECDSA_SHA256: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];

/// A timestamp to be made. What is not said is right.
pub(in crate::trust) struct Stamping<'s> {
    pub(in crate::trust) signer: &'s Made,
    pub(in crate::trust) message: &'s [u8],
    /// GeneralizedTime.
    pub(in crate::trust) at: &'s str,
    pub(in crate::trust) embedded: Vec<&'s Certificate>,
    pub(in crate::trust) wrong: Wrong,
}

/// What is wrong with a timestamp.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::trust) enum Wrong {
    Nothing,
    /// The hash of the message is SHA-1's.
    Sha1,
    /// What is signed is said to be something else than a timestamp.
    Kind,
    /// The attribute says another type than the content has.
    Type,
    /// The content was changed after it was signed.
    Content,
    NoAttributes,
    NoDigest,
    DigestTwice,
    /// Signing-certificate-v2 is left out, or is of another certificate.
    NoCertificateHash,
    OtherCertificateHash,
    Signature,
    TwoSigners,
    NoSigner,
    Version,
    Status,
    CriticalExtension,
    Behind,
}

impl Stamping<'_> {
    fn info(&self) -> Vec<u8> {
        let imprint = match self.wrong {
            Wrong::Sha1 => tlv(0x30, &[tlv(0x30, &[oid(&[1, 3, 14, 3, 2, 26])]), tlv(4, &[[7; 20]])]),
            _ => tlv(0x30, &[tlv(0x30, &[oid(SHA384), tlv(5, &[[]; 0])]), tlv(4, &[Sha384::digest(self.message)])]),
        };
        let mut parts = vec![
            tlv(2, &[[if self.wrong == Wrong::Version { 2 } else { 1 }]]),
            oid(&[1, 2, 3, 4]),
            imprint,
            tlv(2, &[[9]]),
            tlv(0x18, &[self.at]),
            tlv(0x30, &[tlv(2, &[[1]]), tlv(0x80, &[[1, 0xf4]])]),
        ];
        if self.wrong == Wrong::CriticalExtension {
            parts.push(tlv(0xa1, &[tlv(0x30, &[oid(&[1, 2, 3]), tlv(1, &[[0xff]]), tlv(4, &[[0]])])]));
        }
        tlv(0x30, &parts)
    }

    fn attributes(&self, content: &[u8]) -> Vec<u8> {
        let attribute = |name: &[u64], value: Vec<u8>| tlv(0x30, &[oid(name), tlv(0x31, &[value])]);
        let kind: &[u64] = if self.wrong == Wrong::Type { &[1, 2, 840, 113_549, 1, 7, 1] } else { self.kind() };
        let mut all = vec![attribute(&[1, 2, 840, 113_549, 1, 9, 3], oid(kind))];
        let digest = attribute(&[1, 2, 840, 113_549, 1, 9, 4], tlv(4, &[Sha256::digest(content)]));
        if self.wrong != Wrong::NoDigest {
            all.push(digest.clone());
        }
        if self.wrong == Wrong::DigestTwice {
            all.push(digest);
        }
        if self.wrong != Wrong::NoCertificateHash {
            let of = if self.wrong == Wrong::OtherCertificateHash { b"other" } else { self.signer.certificate.der() };
            let certificate = tlv(0x30, &[tlv(0x30, &[tlv(0x30, &[tlv(4, &[Sha256::digest(of)])])])]);
            all.push(attribute(&[1, 2, 840, 113_549, 1, 9, 16, 2, 47], certificate));
        }
        all.sort();
        all.concat()
    }

    fn kind(&self) -> &'static [u64] {
        if self.wrong == Wrong::Kind { &[1, 2, 840, 113_549, 1, 7, 1] } else { &[1, 2, 840, 113_549, 1, 9, 16, 1, 4] }
    }

    /// The token.
    pub(in crate::trust) fn token(&self) -> Vec<u8> {
        let content = self.info();
        let attributes = self.attributes(&content);
        let mut signature = self.signer.key.sign(&tlv(0x31, &[&attributes])).unwrap();
        if self.wrong == Wrong::Signature {
            *signature.last_mut().unwrap() ^= 1;
        }
        let certificate = &self.signer.certificate;
        let hash = tlv(0x30, &[oid(SHA256)]);
        let mut parts = vec![
            tlv(2, &[[1]]),
            tlv(0x30, &[certificate.issuer(), &tlv(2, &[certificate.serial()])]),
            hash.clone(),
            tlv(0xa0, &[attributes]),
            tlv(0x30, &[oid(ECDSA_SHA256)]),
            tlv(4, &[signature]),
        ];
        if self.wrong == Wrong::NoAttributes {
            parts.remove(3);
        }
        let signer = tlv(0x30, &parts);
        let signers = match self.wrong {
            Wrong::TwoSigners => vec![signer.clone(), signer],
            Wrong::NoSigner => vec![],
            _ => vec![signer],
        };
        let shown = if self.wrong == Wrong::Content {
            Stamping { at: "20250601000000Z", embedded: vec![], ..*self }.info()
        } else {
            content
        };
        let mut data = vec![tlv(2, &[[3]]), tlv(0x31, &[hash]), tlv(0x30, &[oid(self.kind()), tlv(0xa0, &[tlv(4, &[shown])])])];
        if !self.embedded.is_empty() {
            data.push(tlv(0xa0, &self.embedded.iter().map(|one| one.der()).collect::<Vec<_>>()));
        }
        data.push(tlv(0x31, &signers));
        let mut token = tlv(0x30, &[oid(&[1, 2, 840, 113_549, 1, 7, 2]), tlv(0xa0, &[tlv(0x30, &data)])]);
        if self.wrong == Wrong::Behind {
            token.push(0);
        }
        token
    }

    /// The answer of an authority with it.
    pub(in crate::trust) fn answer(&self) -> Vec<u8> {
        let status = u8::from(self.wrong == Wrong::Status) * 2;
        tlv(0x30, &[tlv(0x30, &[tlv(2, &[[status]])]), self.token()])
    }
}
