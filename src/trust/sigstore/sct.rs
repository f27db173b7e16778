//! That a certificate was shown to a log of certificates before it was issued (RFC 6962, 3.2): signed timestamps inside of it.

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use x509_cert::der::asn1::ObjectIdentifier;

use super::fault::{Fault, of_certificate};
use super::root::TrustedRoot;
use super::signature::signed;
use crate::trust::pki::{Certificate, Item};

const SCTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");
const WHAT: &str = "its certificate";
/// Most of them that are looked at. Fulcio writes one.
const MOST: usize = 8;
/// TLS' numbers: SHA-256, RSA, ECDSA.
const SHA256: u8 = 4;
const RSA: u8 = 1;
const ECDSA: u8 = 3;

/// Bytes that are read from their begin.
struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    /// What stands behind its own length, of two bytes.
    fn field(&mut self) -> Option<&'b [u8]> {
        let length: [u8; 2] = self.take(2)?.try_into().ok()?;
        self.take(u16::from_be_bytes(length).into())
    }
}

/// One of them.
struct Sct<'s> {
    log: &'s [u8],
    time: [u8; 8],
    extensions: &'s [u8],
    signature: &'s [u8],
}

impl<'s> Sct<'s> {
    fn read(bytes: &'s [u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        if bytes.byte()? != 0 {
            return None;
        }
        let (log, time) = (bytes.take(32)?, bytes.take(8)?.try_into().ok()?);
        let extensions = bytes.field()?;
        let (hash, kind) = (bytes.byte()?, bytes.byte()?);
        let signature = bytes.field()?;
        let is_known = hash == SHA256 && [RSA, ECDSA].contains(&kind);
        (is_known && bytes.0.is_empty()).then_some(Self { log, time, extensions, signature })
    }

    /// What the log has signed: the certificate as it was before these were put in, and who was to issue it.
    fn message(&self, issuer: &[u8; 32], tbs: &[u8]) -> Option<Vec<u8>> {
        let [0, length @ ..] = u32::try_from(tbs.len()).ok()?.to_be_bytes() else { return None };
        let mut message = vec![0, 0];
        message.extend(self.time);
        message.extend([0, 1]);
        message.extend(issuer);
        message.extend(length);
        message.extend(tbs);
        message.extend(u16::try_from(self.extensions.len()).ok()?.to_be_bytes());
        message.extend(self.extensions);
        Some(message)
    }
}

/// Whether a log that counts has seen the certificate, which `issuer` issued. Words of unknown logs are passed over.
pub(super) fn is_logged(certificate: &Certificate, issuer: &Certificate, root: &TrustedRoot) -> Result<(), Fault> {
    let not = |cause: &str| Fault::unproven(WHAT, cause);
    let value = certificate.extension(SCTS).ok_or_else(|| not("was not shown to a log of certificates (no SCT)"))?;
    let list = Item::whole(value, "its SCTs").and_then(|item| item.octets("its SCTs")).map_err(|fault| of_certificate(&fault))?;
    let (mut outer, mut all) = (Bytes(list), Vec::new());
    let mut inner =
        Bytes(outer.field().filter(|_| outer.0.is_empty()).ok_or_else(|| not("has a list of SCTs that is malformed"))?);
    while !inner.0.is_empty() {
        let one = inner.field().filter(|_| all.len() < MOST).ok_or_else(|| not("has a list of SCTs that is malformed"))?;
        all.push(one);
    }
    let tbs = certificate.tbs_without(SCTS).map_err(|fault| of_certificate(&fault))?;
    let issuer = Sha256::digest(issuer.spki()).into();
    let mut fault = not("was shown to no log of certificates that is trusted");
    for one in all {
        let sct = Sct::read(one).ok_or_else(|| not("has an SCT that is malformed"))?;
        let Some(log) = root.ct_logs.iter().find(|log| log.id == sct.log) else { continue };
        let time = i64::try_from(u64::from_be_bytes(sct.time)).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
        if !time.is_some_and(|time| log.window.covers(time)) {
            fault = not("has an SCT from a time when that log did not count");
        } else if sct.message(&issuer, &tbs).is_some_and(|message| signed(&log.key, &message, sct.signature)) {
            return Ok(());
        } else {
            fault = not("has an SCT that its log did not sign");
        }
    }
    Err(fault)
}
