//! Which certificates are revoked, by lists of their issuers (CRLs, RFC 5280, 5) that lie on this host. Nobody is asked.

use crate::order::Ordered as _;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Tag, TagNumber};

use super::policy::Revocation;
use crate::image::Digest;
use crate::trust::pki::{Algorithm, Certificate, Fault, Item, Items, Usage, verified};

/// Most certificates that one list names.
const REVOKED: usize = 1 << 20;
/// Most extensions of one.
const EXTENSIONS: usize = 64;
/// Of most issuers of one name it is remembered whether a list is theirs.
const ISSUERS: usize = 64;
/// Longest number of a list: 20 bytes by RFC 5280, 5.2.3.
const NUMBER_BYTES: usize = 64;
const OF: &str = "it is not a CRL";
const NUMBER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.20");
const REASON: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.21");
const INVALID_SINCE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.24");
const AUTHORITY_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
const FRESHEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.46");
const DISTRIBUTION_POINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.31");
const ACCESS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.1");
const OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
/// `removeFromCRL`: of a list of changes, which no list here is.
const REMOVED: u8 = 8;

/// Lists of revoked certificates.
#[derive(Debug, Default)]
pub struct Crls(Vec<Crl>);

#[derive(Debug)]
pub(super) struct Crl {
    issuer: Vec<u8>,
    tbs: Vec<u8>,
    algorithm: Algorithm,
    signature: Vec<u8>,
    from: Timestamp,
    until: Timestamp,
    /// Its number, without leading zeros, where it has one.
    number: Option<Vec<u8>>,
    /// By serial number: since when what the certificate signed is void, where that is said.
    revoked: BTreeMap<Vec<u8>, Option<Timestamp>>,
    /// Whether it is by an issuer of its name, by the hash of that one's key: a list has megabytes, and envelopes of one signer are many.
    by: Mutex<BTreeMap<Digest, bool>>,
}

/// What is known of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Status {
    /// It is not revoked, until then; `None`: its issuer keeps no list of it.
    Good(Option<Timestamp>),
    Revoked,
    /// No list here says so; with why not.
    Unknown(String),
}

/// Which one of an issuer's lists it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Edition {
    number: Option<Vec<u8>>,
    from: Timestamp,
}

impl Edition {
    /// Whether it is from before another: by number, where that has one, or by time.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        let order = |number: &Option<Vec<u8>>| number.as_ref().map(|number| (number.len(), number.clone()));
        order(&self.number) < order(&other.number) || self.from < other.from
    }
}

impl Crls {
    /// The one list that these bytes are, as it was fetched.
    pub fn of_one(bytes: &[u8]) -> Result<Self, String> {
        Crl::of_bytes(bytes).map(|(list, _)| Self(vec![list]))
    }

    /// The lists of files in PEM, each with what it is called. One that cannot be used is a fault.
    pub fn read<'f>(files: impl Iterator<Item = (String, &'f str)>) -> Result<Self, String> {
        let mut lists = Vec::new();
        for (name, text) in files {
            let mut is_empty = true;
            for der in CertificateRevocationListDer::pem_slice_iter(text.as_bytes()) {
                let der = der.map_err(|_| format!("`{name}` is not PEM"))?;
                lists.push(Crl::read(&der).map_err(|fault| format!("`{name}` {fault}"))?);
                is_empty = false;
            }
            if is_empty {
                return Err(format!("`{name}` holds no CRL (BEGIN X509 CRL)"));
            }
        }
        Ok(Self(lists))
    }

    /// These and others.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0.into_iter().chain(others.0).ordered())
    }

    /// Whether a certificate that `issuer` has issued is revoked. `signed_at`: when it signed, where that is proven.
    pub(super) fn status(
        &self,
        certificate: &Certificate,
        issuer: &Certificate,
        signed_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Status {
        let (mut why, mut until) = (None, None);
        for crl in self.0.iter().filter(|crl| crl.issuer == certificate.issuer()) {
            if let Err(cause) = crl.is_by(issuer) {
                why.get_or_insert(cause);
            } else {
                match crl.revoked.get(certificate.serial()) {
                    // What it signed before it became invalid stays signed.
                    Some(Some(since)) if signed_at.is_some_and(|at| at < *since) => {}
                    // Also by a list that is out of date: what was revoked stays revoked.
                    Some(_) => return Status::Revoked,
                    None => {}
                }
                match crl.is_current(now) {
                    Err(cause) => why = Some(cause),
                    Ok(()) => until = earlier(until, Some(crl.until)),
                }
            }
        }
        if until.is_some() {
            return Status::Good(until);
        }
        match address(certificate) {
            Ok(None) if why.is_none() => Status::Good(None),
            Ok(address) => {
                let address = address.map(|address| format!(" ({address})")).unwrap_or_default();
                Status::Unknown(format!("{}{address}", why.unwrap_or("there is no CRL of its issuer here")))
            }
            Err(_) => Status::Unknown("where its CRL is cannot be read".to_owned()),
        }
    }

    /// Walks down a chain, leaf first. Until when it counts, or the first certificate that does not, with why.
    pub(super) fn chain<'c>(
        &self,
        chain: &'c [Certificate],
        action: Revocation,
        signed_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, (&'c Certificate, Option<String>)> {
        let mut until = None;
        if action == Revocation::Skip {
            return Ok(until);
        }
        for (certificate, issuer) in chain.iter().zip(chain.iter().skip(1)) {
            match self.status(certificate, issuer, signed_at, now) {
                Status::Good(next) => until = earlier(until, next),
                Status::Revoked => return Err((certificate, None)),
                Status::Unknown(why) if action == Revocation::Enforce => return Err((certificate, Some(why))),
                Status::Unknown(why) => {
                    tracing::debug!(
                        why,
                        "whether a certificate of notation is revoked is not known, and the trust policy does not ask"
                    );
                }
            }
        }
        Ok(until)
    }
}

/// The first of two ends.
pub(super) fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

impl Crl {
    /// One list, DER or PEM, and its DER: that alone is kept of one that was fetched, so that all who read it read the same.
    pub(super) fn of_bytes(bytes: &[u8]) -> Result<(Self, Vec<u8>), String> {
        let read = |der: &[u8]| Self::read(der).map(|list| (list, der.to_vec())).map_err(|fault| fault.to_string());
        // DER first: PEM within a list is no list.
        let of_der = read(bytes);
        if of_der.is_ok() {
            return of_der;
        }
        let mut pem = CertificateRevocationListDer::pem_slice_iter(bytes);
        match (pem.next(), pem.next()) {
            (None, _) => of_der,
            (Some(Ok(der)), None) => read(&der),
            _ => Err("it is not one CRL".to_owned()),
        }
    }

    /// Whether it is this issuer's.
    pub(super) fn is_by(&self, issuer: &Certificate) -> Result<(), &'static str> {
        if !issuer.usage().is_some_and(Usage::crl_sign) {
            return Err("its issuer may not sign CRLs");
        }
        let is_its = self.issuer == issuer.subject() && self.is_signed_by(issuer);
        if is_its { Ok(()) } else { Err("the CRL of that name is not by its issuer") }
    }

    pub(super) fn is_current(&self, now: Timestamp) -> Result<(), &'static str> {
        if self.from <= now && now <= self.until { Ok(()) } else { Err("its issuer's CRL is out of date") }
    }

    /// Which of its issuer's it is.
    pub(super) fn edition(&self) -> Edition {
        Edition { number: self.number.clone(), from: self.from }
    }

    /// How long it is still good for, and how long it is in all.
    pub(super) fn lasts(&self, now: Timestamp) -> (Duration, Duration) {
        let since = |start| Duration::try_from(self.until.duration_since(start)).unwrap_or_default();
        (since(now), since(self.from))
    }

    /// Whether this issuer has signed it.
    fn is_signed_by(&self, issuer: &Certificate) -> bool {
        let key = Digest::of(issuer.spki());
        let known = |by: &BTreeMap<Digest, bool>| by.get(&key).copied();
        if let Some(is_by) = known(&self.by.lock().unwrap_or_else(PoisonError::into_inner)) {
            return is_by;
        }
        let is_by = verified(&self.algorithm, None, issuer.key(), &self.tbs, &self.signature).is_ok();
        let mut by = self.by.lock().unwrap_or_else(PoisonError::into_inner);
        if by.len() < ISSUERS {
            by.insert(key, is_by);
        }
        is_by
    }

    fn read(der: &[u8]) -> Result<Self, Fault> {
        let mut outer = Item::whole(der, OF)?.sequence(OF)?;
        let (tbs, algorithm, signature) = (outer.next()?, outer.next()?, outer.next()?);
        outer.end()?;
        let mut body = tbs.sequence(OF)?;
        if body.next_if(Tag::Integer)?.map(|version| version.number(OF)).transpose()? != Some(1) {
            return Err(Fault::Form(OF));
        }
        if body.next()?.bytes != algorithm.bytes {
            return Err(Fault::Form("it names two algorithms"));
        }
        let issuer = body.next()?;
        let from = body.next()?.time(OF)?;
        let next = match body.next_if(Tag::UtcTime)? {
            None => body.next_if(Tag::GeneralizedTime)?,
            some => some,
        };
        let until = next.ok_or(Fault::Form("it does not say when the next one is due"))?.time(OF)?;
        let revoked = match body.next_if(Tag::Sequence)? {
            Some(list) => list
                .sequence(OF)?
                .rest(REVOKED)?
                .iter()
                .filter_map(|entry| entry_of(entry).transpose())
                .collect::<Result<Vec<_>, _>>()?
                .ordered(),
            None => BTreeMap::new(),
        };
        let mut number = None;
        if let Some(wrapped) = body.next_if(Tag::ContextSpecific { constructed: true, number: TagNumber(0) })? {
            for (oid, is_critical, value) in extensions(&Item::whole(wrapped.value(), OF)?)? {
                // A list of some reasons, of some certificates, of another's, or with changes elsewhere, is not the whole.
                let is_known = [NUMBER, AUTHORITY_KEY].contains(&oid);
                if (is_critical && !is_known) || oid == FRESHEST {
                    return Err(Fault::Critical(oid));
                }
                if oid == NUMBER {
                    let value = Item::whole(value, OF)?;
                    if value.value().len() > NUMBER_BYTES {
                        return Err(Fault::Form("its number is too long"));
                    }
                    let zeros = value.value().iter().take_while(|byte| **byte == 0).count();
                    number = value.is(Tag::Integer).then(|| value.value().get(zeros..).unwrap_or_default().to_vec());
                }
            }
        }
        body.end()?;
        let algorithm = Algorithm::read(&algorithm)?;
        let (issuer, tbs, signature) = (issuer.bytes.to_vec(), tbs.bytes.to_vec(), signature.bits(OF)?.to_vec());
        Ok(Self { issuer, tbs, algorithm, signature, from, until, number, revoked, by: Mutex::default() })
    }
}

/// The number of a revoked certificate, and since when what it signed is void.
type Revoked = (Vec<u8>, Option<Timestamp>);
/// An extension: what it is called, whether it has to be known, and what it says.
type Extension<'a> = (ObjectIdentifier, bool, &'a [u8]);

/// `None`: it is not revoked any more.
fn entry_of(entry: &Item<'_>) -> Result<Option<Revoked>, Fault> {
    let mut parts = entry.sequence(OF)?;
    let serial = parts.next()?;
    parts.next()?.time(OF)?;
    let (mut since, mut is_removed) = (None, false);
    if let Some(all) = parts.next_if(Tag::Sequence)? {
        for (oid, is_critical, value) in extensions(&all)? {
            match oid {
                REASON => {
                    let value = Item::whole(value, OF)?;
                    is_removed = value.is(Tag::Enumerated) && value.value() == [REMOVED];
                }
                INVALID_SINCE => since = Some(Item::whole(value, OF)?.time(OF)?),
                // Of another issuer: the list is an indirect one.
                _ if is_critical => return Err(Fault::Critical(oid)),
                _ => {}
            }
        }
    }
    parts.end()?;
    Ok((!is_removed).then(|| (serial.value().to_vec(), since)))
}

fn extensions<'a>(all: &Item<'a>) -> Result<Vec<Extension<'a>>, Fault> {
    let read = |one: Item<'a>| {
        let mut parts = one.sequence(OF)?;
        let oid = parts.next()?.oid(OF)?;
        let is_critical = parts.next_if(Tag::Boolean)?.is_some_and(|flag| flag.value() != [0]);
        let value = parts.next()?.octets(OF)?;
        parts.end()?;
        Ok((oid, is_critical, value))
    };
    all.sequence(OF)?.rest(EXTENSIONS)?.into_iter().map(read).collect()
}

/// Where a certificate says that its issuer's whole list is: all such addresses, as they are written.
pub(super) fn addresses_of(certificate: &Certificate) -> Vec<&str> {
    certificate.extension(DISTRIBUTION_POINTS).and_then(|points| addresses(points).ok()).unwrap_or_default()
}

/// Where a certificate says that its issuer tells of revocation: the first such address; `None`: nowhere.
fn address(certificate: &Certificate) -> Result<Option<String>, Fault> {
    if let Some(points) = certificate.extension(DISTRIBUTION_POINTS) {
        let all = addresses(points)?;
        let address =
            all.iter().find(|address| address.starts_with("http")).or(all.first()).map(|text| super::error::shown(text));
        return Ok(Some(address.unwrap_or_else(|| "at no address that can be read".to_owned())));
    }
    let Some(access) = certificate.extension(ACCESS) else { return Ok(None) };
    for one in Item::whole(access, OF)?.sequence(OF)?.rest(EXTENSIONS)? {
        let mut parts = one.sequence(OF)?;
        if parts.next()?.oid(OF)? == OCSP {
            return Ok(Some("by OCSP alone, which is not asked".to_owned()));
        }
    }
    Ok(None)
}

/// The addresses of distribution points (RFC 5280, 4.2.1.13), but of those with a list of some reasons only, or of another issuer.
fn addresses(points: &[u8]) -> Result<Vec<&str>, Fault> {
    const NAME: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber(0) };
    const ADDRESS: Tag = Tag::ContextSpecific { constructed: false, number: TagNumber(6) };
    let mut found = Vec::new();
    for point in Item::whole(points, OF)?.sequence(OF)?.rest(EXTENSIONS)? {
        let mut parts = point.sequence(OF)?;
        let Some(name) = parts.next_if(NAME)?.filter(|_| parts.end().is_ok()) else { continue };
        if let Some(names) = Items::of(name.value(), OF)?.next_if(NAME)? {
            let names = Items::of(names.value(), OF)?.rest(EXTENSIONS)?;
            let texts = names.iter().filter(|one| one.is(ADDRESS)).map(|one| std::str::from_utf8(one.value()));
            found.extend(texts.filter_map(Result::ok));
        }
    }
    Ok(found)
}
