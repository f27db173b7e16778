//! CMS SignedData (RFC 5652, 5) with one signer and signed attributes, as timestamps are. DER alone.

use x509_cert::der::Tag;
use x509_cert::der::asn1::ObjectIdentifier;

use super::certificate::Certificate;
use super::der::{Item, Items, context, context_simple};
use super::fault::Fault;
use super::keys::{Algorithm, Hash, hashes_with, verified};

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");
/// RFC 5035, 3; RFC 6211, 2.
const SIGNING_CERTIFICATE_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");
const ALGORITHM_PROTECTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.52");
const SUBJECT_KEY_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
/// Most certificates that come along. Real ones bring one to four.
const CERTIFICATES: usize = 16;
/// Most signed attributes.
const ATTRIBUTES: usize = 64;
const OF: &str = "it is not signed data (CMS)";

/// Content with one signature over attributes that name it. That it holds is not known yet.
#[derive(Debug, Clone)]
pub(super) struct SignedData {
    /// What kind of content it is.
    pub(super) kind: ObjectIdentifier,
    pub(super) content: Vec<u8>,
    /// What came along, in its order. Some may be of no use.
    pub(super) certificates: Vec<Certificate>,
    signer: Signer,
}

/// By what the signer's certificate is named.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    /// Whole name of the issuer, and the serial's bytes.
    Serial { issuer: Vec<u8>, serial: Vec<u8> },
    /// The identifier of its key.
    KeyId(Vec<u8>),
}

#[derive(Debug, Clone)]
struct Signer {
    named: Named,
    hash: Hash,
    algorithm: Algorithm,
    /// The algorithms as they stand, to compare.
    written: [Vec<u8>; 2],
    /// The attributes as a SET, which is what is signed (RFC 5652, 5.4).
    attributes: Vec<u8>,
    signature: Vec<u8>,
}

/// Whether a signer must say by its hash which certificate is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CertificateHash {
    /// It must.
    Required,
    /// It must be right where it is there.
    IfThere,
}

impl SignedData {
    /// What a ContentInfo holds.
    pub(super) fn read(info: &Item<'_>) -> Result<Self, Fault> {
        let mut info = info.sequence(OF)?;
        if info.next()?.oid(OF)? != SIGNED_DATA {
            return Err(Fault::Form(OF));
        }
        let wrapped = info.next()?;
        info.end()?;
        let mut wrapped = wrapped.inside(context(0), OF)?;
        let mut data = wrapped.next()?.sequence(OF)?;
        wrapped.end()?;

        data.next()?.number(OF)?;
        // The hashes that are used are named by the signer once more.
        data.next()?.set(OF)?;
        let mut content = data.next()?.sequence(OF)?;
        let kind = content.next()?.oid(OF)?;
        let octets = content.next()?;
        content.end()?;
        let mut octets = octets.inside(context(0), OF)?;
        let content = octets.next()?.octets(OF)?.to_vec();
        octets.end()?;
        let certificates = match data.next_if(context(0))? {
            Some(set) => certificates(set.inside(context(0), OF)?)?,
            None => Vec::new(),
        };
        // Lists of what was revoked say nothing here.
        data.next_if(context(1))?;
        let signers = data.next()?.set(OF)?.rest(2)?;
        data.end()?;
        let [signer] = signers.as_slice() else { return Err(Fault::Token("it has no signer, or several")) };
        Ok(Self { kind, content, certificates, signer: Signer::read(signer)? })
    }

    /// Whether the signer is said to be this one.
    pub(super) fn names(&self, certificate: &Certificate) -> bool {
        self.signer.is(certificate)
    }

    /// The certificates that came along and may be the signer's.
    pub(super) fn signers(&self) -> impl Iterator<Item = &Certificate> {
        self.certificates.iter().filter(|one| self.signer.is(one))
    }

    /// Whether this certificate's key signed the content.
    pub(super) fn is_signed_by(&self, signer: &Certificate, named: CertificateHash) -> Result<(), Fault> {
        if !self.signer.is(signer) {
            return Err(Fault::Token("it names another signer"));
        }
        self.attributes_fit(signer, named)?;
        let Signer { hash, algorithm, attributes, signature, .. } = &self.signer;
        if algorithm.hash_of_signature().is_some_and(|signed| signed != *hash) {
            return Err(Fault::Token("it names two hashes"));
        }
        verified(algorithm, Some(*hash), signer.key(), attributes, signature)
    }

    /// Whether the signed attributes are there once each, and right.
    fn attributes_fit(&self, signer: &Certificate, named: CertificateHash) -> Result<(), Fault> {
        const OF: &str = "its signed attributes are malformed";
        let (mut has_type, mut has_digest, mut has_certificate) = (false, false, false);
        let mut seen: Vec<ObjectIdentifier> = Vec::new();
        for attribute in Item::whole(&self.signer.attributes, OF)?.set(OF)?.rest(ATTRIBUTES)? {
            let mut parts = attribute.sequence(OF)?;
            let oid = parts.next()?.oid(OF)?;
            let mut values = parts.next()?.set(OF)?;
            parts.end()?;
            if seen.contains(&oid) {
                return Err(Fault::Token("it has an attribute twice"));
            }
            seen.push(oid);
            // Of the others nothing is read, not even how many values they have.
            if ![CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_CERTIFICATE_V2, ALGORITHM_PROTECTION].contains(&oid) {
                continue;
            }
            let value = values.next()?;
            values.end()?;
            let fits = match oid {
                CONTENT_TYPE => {
                    has_type = true;
                    value.oid(OF)? == self.kind
                }
                MESSAGE_DIGEST => {
                    has_digest = true;
                    hashes_with(self.signer.hash, &self.content, value.octets(OF)?)
                }
                SIGNING_CERTIFICATE_V2 => {
                    has_certificate = true;
                    names(&value, signer)?
                }
                _ => self.signer.is_protected_by(&value)?,
            };
            if !fits {
                return Err(Fault::Token("a signed attribute is of something else"));
            }
        }
        match (has_type && has_digest, has_certificate, named) {
            (false, ..) => Err(Fault::Token("its content is not among what is signed")),
            (true, false, CertificateHash::Required) => Err(Fault::Token("it does not say by which certificate")),
            (true, true, _) | (true, false, CertificateHash::IfThere) => Ok(()),
        }
    }
}

impl Signer {
    fn read(info: &Item<'_>) -> Result<Self, Fault> {
        let mut info = info.sequence(OF)?;
        info.next()?.number(OF)?;
        let named = match info.next_if(context_simple(0))? {
            Some(id) => Named::KeyId(id.value().to_vec()),
            None => {
                let mut parts = info.next()?.sequence(OF)?;
                let (issuer, serial) = (parts.next()?, parts.next()?);
                parts.end()?;
                if !serial.is(Tag::Integer) {
                    return Err(Fault::Form(OF));
                }
                Named::Serial { issuer: issuer.bytes.to_vec(), serial: serial.value().to_vec() }
            }
        };
        let hashed = info.next()?;
        let attributes = info.next_if(context(0))?.ok_or(Fault::Token("it has no signed attributes"))?;
        let algorithm = info.next()?;
        let signature = info.next()?.octets(OF)?.to_vec();
        info.next_if(context(1))?;
        info.end()?;
        // Signed is the tag of a SET in place of [0].
        let mut as_set = attributes.bytes.to_vec();
        if let Some(tag) = as_set.first_mut() {
            *tag = 0x31;
        }
        Ok(Self {
            named,
            hash: Algorithm::read(&hashed)?.hash()?,
            algorithm: Algorithm::read(&algorithm)?,
            written: [hashed.bytes.to_vec(), algorithm.bytes.to_vec()],
            attributes: as_set,
            signature,
        })
    }

    /// Whether it names this certificate.
    fn is(&self, certificate: &Certificate) -> bool {
        match &self.named {
            Named::Serial { issuer, serial } => certificate.issuer() == issuer && certificate.serial() == serial,
            Named::KeyId(id) => certificate
                .extension(SUBJECT_KEY_ID)
                .and_then(|value| Item::whole(value, OF).and_then(|item| item.octets(OF)).ok())
                .is_some_and(|own| own == id),
        }
    }

    /// RFC 6211, 2: the same algorithms as it says outside of what is signed.
    fn is_protected_by(&self, value: &Item<'_>) -> Result<bool, Fault> {
        const OF: &str = "its protection of algorithms is malformed";
        let mut parts = value.sequence(OF)?;
        let hash = parts.next()?.bytes;
        let signature = parts.next_if(context(1))?.ok_or(Fault::Form(OF))?;
        parts.end()?;
        let [own_hash, own_signature] = &self.written;
        // IMPLICIT: [1] in place of the tag of a sequence.
        let own_inside = Item::whole(own_signature, OF)?.value();
        Ok(hash == own_hash && signature.value() == own_inside)
    }
}

/// What came along. What is no certificate that could count (weak, of an unknown kind) is left out by itself; other choices than a certificate too.
fn certificates(set: Items<'_>) -> Result<Vec<Certificate>, Fault> {
    let all = set.rest(CERTIFICATES)?;
    Ok(all.iter().filter(|one| one.is(Tag::Sequence)).filter_map(|one| Certificate::read(one.bytes).ok()).collect())
}

/// Whether the first certificate that signing-certificate-v2 names is this (RFC 5035, 3).
fn names(value: &Item<'_>, certificate: &Certificate) -> Result<bool, Fault> {
    const OF: &str = "its signing certificate is malformed";
    let mut outer = value.sequence(OF)?;
    let mut all = outer.next()?.sequence(OF)?;
    let mut first = all.next()?.sequence(OF)?;
    let hash = first.next_if(Tag::Sequence)?.map_or(Ok(Hash::Sha256), |named| Algorithm::read(&named)?.hash())?;
    let value = first.next()?.octets(OF)?;
    // Issuer and serial, where they are named, are of the certificate whose hash is right.
    first.rest(1)?;
    Ok(hashes_with(hash, certificate.der(), value))
}
