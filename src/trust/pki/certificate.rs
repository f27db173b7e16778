//! One certificate (RFC 5280), read whole and strictly. Weak keys and signatures are faults here, so that no chain has one.

use std::sync::Arc;

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_cert::der::Tag;
use x509_cert::der::asn1::{BitStringRef, ObjectIdentifier};

use super::der::{Item, context, context_simple, written};
use super::fault::Fault;
use super::keys::{Algorithm, verified};
use crate::trust::public_key::PublicKey;

/// Largest certificate, bytes. Those that sign images have one or two thousand.
const BYTES: usize = 64 << 10;
/// Most extensions of one.
const EXTENSIONS: usize = 64;
/// Most purposes of one.
const PURPOSES: usize = 32;
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const OF: &str = "it is not a certificate";

/// A certificate; whose it is, and that it is genuine, is not said.
#[derive(Clone)]
pub(in crate::trust) struct Certificate(Arc<Read>);

struct Read {
    der: Vec<u8>,
    tbs: Vec<u8>,
    algorithm: Algorithm,
    signature: Vec<u8>,
    serial: Vec<u8>,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    spki: Vec<u8>,
    key: PublicKey,
    from: Timestamp,
    until: Timestamp,
    extensions: Vec<Extension>,
    basic: Option<Basic>,
    usage: Option<Usage>,
    purposes: Option<Purposes>,
}

/// An extension as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::trust) struct Extension {
    pub(in crate::trust) oid: ObjectIdentifier,
    pub(in crate::trust) is_critical: bool,
    pub(in crate::trust) value: Vec<u8>,
}

/// Whether it may issue others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trust) struct Basic {
    pub(in crate::trust) is_ca: bool,
    /// How many CAs may stand between it and a leaf.
    pub(in crate::trust) path_length: Option<u32>,
    pub(in crate::trust) is_critical: bool,
}

/// What its key may do: the bits of RFC 5280, 4.2.1.3, the first one lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trust) struct Usage {
    bits: u16,
    pub(in crate::trust) is_critical: bool,
}

/// What it is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::trust) struct Purposes {
    pub(in crate::trust) oids: Vec<ObjectIdentifier>,
    pub(in crate::trust) is_critical: bool,
}

impl Usage {
    const DIGITAL_SIGNATURE: u16 = 1;
    const CONTENT_COMMITMENT: u16 = 1 << 1;
    const CERT_SIGN: u16 = 1 << 5;
    const CRL_SIGN: u16 = 1 << 6;

    pub(in crate::trust) const fn digital_signature(self) -> bool {
        self.bits & Self::DIGITAL_SIGNATURE != 0
    }

    pub(in crate::trust) const fn cert_sign(self) -> bool {
        self.bits & Self::CERT_SIGN != 0
    }

    pub(in crate::trust) const fn crl_sign(self) -> bool {
        self.bits & Self::CRL_SIGN != 0
    }

    /// Whether it may do nothing but sign, and commit to what it signs.
    pub(in crate::trust) const fn only_signs(self) -> bool {
        self.bits & !(Self::DIGITAL_SIGNATURE | Self::CONTENT_COMMITMENT) == 0
    }
}

impl Certificate {
    /// The certificate that these bytes are, with nothing behind it.
    pub(in crate::trust) fn read(der: &[u8]) -> Result<Self, Fault> {
        if der.len() > BYTES {
            return Err(Fault::Form("it is too large for a certificate"));
        }
        let mut outer = Item::whole(der, OF)?.sequence(OF)?;
        let tbs = outer.next()?;
        let named = outer.next()?;
        let signature = outer.next()?.bits(OF)?.to_vec();
        outer.end()?;

        let mut body = tbs.sequence(OF)?;
        let version = match body.next_if(context(0))? {
            Some(version) => Item::whole(version.value(), OF)?.number(OF)?,
            None => 0,
        };
        let serial = body.next()?;
        let inner = body.next()?;
        let issuer = body.next()?;
        let mut validity = body.next()?.sequence(OF)?;
        let (from, until) = (validity.next()?.time(OF)?, validity.next()?.time(OF)?);
        validity.end()?;
        let subject = body.next()?;
        let spki = body.next()?;
        // RFC 5280, 4.1.2.8: unique identifiers, which nobody writes.
        for number in [1, 2] {
            body.next_if(context_simple(number))?;
        }
        let extensions = match body.next_if(context(3))? {
            Some(wrapped) => Item::whole(wrapped.value(), OF)?,
            // Version 1 knows no authorities, and so says of none that it is one.
            None => return Err(Fault::Form("it is a certificate without extensions")),
        };
        body.end()?;
        if version != 2
            || !serial.is(Tag::Integer)
            || serial.value().len() > 64
            || !issuer.is(Tag::Sequence)
            || !subject.is(Tag::Sequence)
        {
            return Err(Fault::Form(OF));
        }
        // Both say how it is signed, and only one of them is signed.
        if named.bytes != inner.bytes {
            return Err(Fault::Form("it names two algorithms"));
        }
        let algorithm = Algorithm::read(&named)?;
        if !algorithm.is_strong() {
            return Err(Fault::Algorithm(algorithm.oid));
        }
        let extensions = read_extensions(&extensions)?;
        let find = |oid| extensions.iter().find(|extension: &&Extension| extension.oid == oid);
        let (basic, usage) = (find(BASIC_CONSTRAINTS).map(basic).transpose()?, find(KEY_USAGE).map(usage).transpose()?);
        let purposes = find(EXTENDED_KEY_USAGE).map(purposes).transpose()?;
        Ok(Self(Arc::new(Read {
            der: der.to_vec(),
            tbs: tbs.bytes.to_vec(),
            algorithm,
            signature,
            serial: serial.value().to_vec(),
            issuer: issuer.bytes.to_vec(),
            subject: subject.bytes.to_vec(),
            spki: spki.bytes.to_vec(),
            key: PublicKey::of_spki(spki.bytes)?,
            from,
            until,
            extensions,
            basic,
            usage,
            purposes,
        })))
    }

    /// The certificates of a PEM text, at least one and no more than `most`.
    pub(in crate::trust) fn of_pem(text: &[u8], most: usize) -> Result<Vec<Self>, Fault> {
        let mut found = Vec::new();
        for der in CertificateDer::pem_slice_iter(text) {
            if found.len() >= most {
                return Err(Fault::Long);
            }
            found.push(Self::read(&der.map_err(|_| Fault::Form("it is not PEM"))?)?);
        }
        if found.is_empty() { Err(Fault::Form("it holds no certificate (BEGIN CERTIFICATE)")) } else { Ok(found) }
    }

    /// All of its bytes.
    pub(in crate::trust) fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// What of it is signed.
    pub(in crate::trust) fn tbs(&self) -> &[u8] {
        &self.0.tbs
    }

    /// What is signed where an extension was put in afterwards: all of it but that one (RFC 6962, 3.2). Cut out, with the lengths of what
    /// is around it written anew.
    pub(in crate::trust) fn tbs_without(&self, oid: ObjectIdentifier) -> Result<Vec<u8>, Fault> {
        let mut parts = Item::whole(self.tbs(), OF)?.sequence(OF)?.rest(16)?;
        let extensions = parts.pop().ok_or(Fault::Form(OF))?;
        let mut kept = Vec::new();
        for one in Item::whole(extensions.value(), OF)?.sequence(OF)?.rest(EXTENSIONS)? {
            if one.sequence(OF)?.next()?.oid(OF)? != oid {
                kept.extend_from_slice(one.bytes);
            }
        }
        let mut body: Vec<u8> = parts.iter().flat_map(|part| part.bytes.to_vec()).collect();
        body.extend(written(context(3), &written(Tag::Sequence, &kept)?)?);
        written(Tag::Sequence, &body)
    }

    /// The number's bytes.
    pub(in crate::trust) fn serial(&self) -> &[u8] {
        &self.0.serial
    }

    /// The whole name, DER.
    pub(in crate::trust) fn issuer(&self) -> &[u8] {
        &self.0.issuer
    }

    /// The whole name, DER.
    pub(in crate::trust) fn subject(&self) -> &[u8] {
        &self.0.subject
    }

    /// The whole `SubjectPublicKeyInfo`, DER.
    pub(in crate::trust) fn spki(&self) -> &[u8] {
        &self.0.spki
    }

    pub(in crate::trust) fn key(&self) -> &PublicKey {
        &self.0.key
    }

    /// The first second that it is valid.
    pub(in crate::trust) fn from(&self) -> Timestamp {
        self.0.from
    }

    /// The last one.
    pub(in crate::trust) fn until(&self) -> Timestamp {
        self.0.until
    }

    pub(in crate::trust) fn valid_at(&self, at: Timestamp) -> Result<(), Fault> {
        let (from, until) = (self.from(), self.until());
        // The last second is a whole one.
        let is_over = at.as_second() > until.as_second();
        if from <= at && !is_over { Ok(()) } else { Err(Fault::Dates { from, until, at }) }
    }

    /// All extensions, each kind once.
    pub(in crate::trust) fn extensions(&self) -> &[Extension] {
        &self.0.extensions
    }

    pub(in crate::trust) fn extension(&self, oid: ObjectIdentifier) -> Option<&[u8]> {
        self.0.extensions.iter().find(|extension| extension.oid == oid).map(|extension| extension.value.as_slice())
    }

    pub(in crate::trust) fn basic(&self) -> Option<Basic> {
        self.0.basic
    }

    pub(in crate::trust) fn is_ca(&self) -> bool {
        self.0.basic.is_some_and(|basic| basic.is_ca)
    }

    pub(in crate::trust) fn usage(&self) -> Option<Usage> {
        self.0.usage
    }

    pub(in crate::trust) fn purposes(&self) -> Option<&Purposes> {
        self.0.purposes.as_ref()
    }

    /// Whether it bears the name of its issuer.
    pub(in crate::trust) fn is_self_issued(&self) -> bool {
        self.issuer() == self.subject()
    }

    /// Whether this one's key signed the other, and the names say so too.
    pub(in crate::trust) fn issued(&self, other: &Self) -> Result<(), Fault> {
        if other.issuer() != self.subject() {
            return Err(Fault::Issuer);
        }
        verified(&other.0.algorithm, None, self.key(), other.tbs(), &other.0.signature)
    }
}

/// The same bytes.
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Certificate {}

/// What tells it from others; the rest is long.
impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("serial", &self.0.serial).field("until", &self.0.until).finish_non_exhaustive()
    }
}

fn read_extensions(all: &Item<'_>) -> Result<Vec<Extension>, Fault> {
    let mut read: Vec<Extension> = Vec::new();
    for one in all.sequence(OF)?.rest(EXTENSIONS)? {
        let mut parts = one.sequence(OF)?;
        let oid = parts.next()?.oid(OF)?;
        let is_critical = match parts.next_if(Tag::Boolean)? {
            Some(flag) => flag.read::<bool>(OF)?,
            None => false,
        };
        let value = parts.next()?.octets(OF)?.to_vec();
        parts.end()?;
        if read.iter().any(|earlier| earlier.oid == oid) {
            return Err(Fault::Form("it has an extension twice"));
        }
        read.push(Extension { oid, is_critical, value });
    }
    Ok(read)
}

fn basic(extension: &Extension) -> Result<Basic, Fault> {
    const OF: &str = "its basic constraints are malformed";
    let mut parts = Item::whole(&extension.value, OF)?.sequence(OF)?;
    let is_ca = match parts.next_if(Tag::Boolean)? {
        Some(flag) => flag.read::<bool>(OF)?,
        None => false,
    };
    let path_length = parts.next_if(Tag::Integer)?.map(|number| number.number(OF)).transpose()?;
    parts.end()?;
    Ok(Basic { is_ca, path_length, is_critical: extension.is_critical })
}

fn usage(extension: &Extension) -> Result<Usage, Fault> {
    const OF: &str = "its key usage is malformed";
    let read: BitStringRef<'_> = Item::whole(&extension.value, OF)?.read(OF)?;
    let bits = read.bits().take(16).enumerate().filter(|(_, is_set)| *is_set).fold(0, |bits, (at, _)| bits | 1 << at);
    Ok(Usage { bits, is_critical: extension.is_critical })
}

fn purposes(extension: &Extension) -> Result<Purposes, Fault> {
    const OF: &str = "its extended key usage is malformed";
    let all = Item::whole(&extension.value, OF)?.sequence(OF)?.rest(PURPOSES)?;
    let oids = all.iter().map(|one| one.oid(OF)).collect::<Result<_, _>>()?;
    Ok(Purposes { oids, is_critical: extension.is_critical })
}
