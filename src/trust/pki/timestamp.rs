//! Timestamps (RFC 3161): that bytes were there at a time, by an authority that is trusted. Whether that time may be, for now or for what
//! it is used for, is not said.

use jiff::{SignedDuration, Timestamp};
use x509_cert::der::Tag;
use x509_cert::der::asn1::ObjectIdentifier;

use super::certificate::Certificate;
use super::chain::{Rules, holds, path};
use super::der::{Item, context, context_simple};
use super::fault::Fault;
use super::keys::{Algorithm, Hash, hashes_with};
use super::signed::{CertificateHash, SignedData};

/// Largest token, bytes. Real ones have 1 to 7 thousand.
const BYTES: usize = 64 << 10;
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
/// ETSI's baseline policy: one second, where no accuracy is stated.
const BASELINE: ObjectIdentifier = ObjectIdentifier::new_unwrap("0.4.0.2023.1.1");
const OF: &str = "it is not a timestamp (RFC 3161)";

/// In what a timestamp may be wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trust) enum Form {
    /// A token alone.
    Token,
    /// A token, or an authority's whole answer.
    TokenOrAnswer,
}

/// A timestamp that was read. That it holds is not known yet.
#[derive(Debug, Clone)]
pub(in crate::trust) struct Token {
    signed: SignedData,
    hash: Hash,
    imprint: Vec<u8>,
    at: Timestamp,
    accuracy: SignedDuration,
}

/// A timestamp that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::trust) struct Stamp {
    /// The time.
    pub(in crate::trust) at: Timestamp,
    /// By how much it may be off, in either direction.
    pub(in crate::trust) accuracy: SignedDuration,
    /// The authority's certificates, the signer's first, the trusted one last.
    pub(in crate::trust) chain: Vec<Certificate>,
}

impl Token {
    /// The timestamp that these bytes are, with nothing behind it.
    pub(in crate::trust) fn read(der: &[u8], form: Form) -> Result<Self, Fault> {
        if der.len() > BYTES {
            return Err(Fault::Form("it is too large for a timestamp"));
        }
        let whole = Item::whole(der, OF)?;
        let mut parts = whole.sequence(OF)?;
        let first = parts.next()?;
        // An answer begins with its status, a token with what it is.
        let signed = match form {
            Form::TokenOrAnswer if first.is(Tag::Sequence) => {
                let status = first.sequence(OF)?.next()?.number(OF)?;
                if status > 1 {
                    return Err(Fault::Token("the authority did not grant it"));
                }
                let token = parts.next()?;
                parts.end()?;
                SignedData::read(&token)?
            }
            Form::TokenOrAnswer | Form::Token => SignedData::read(&whole)?,
        };
        if signed.kind != TST_INFO {
            return Err(Fault::Token("what is signed is not a timestamp"));
        }
        let content = signed.content.clone();
        let mut info = Item::whole(&content, OF)?.sequence(OF)?;
        if info.next()?.number(OF)? != 1 {
            return Err(Fault::Form(OF));
        }
        let policy = info.next()?.oid(OF)?;
        let mut imprint = info.next()?.sequence(OF)?;
        let hash = Algorithm::read(&imprint.next()?)?.hash()?;
        let hashed = imprint.next()?.octets(OF)?.to_vec();
        imprint.end()?;
        if !info.next()?.is(Tag::Integer) {
            return Err(Fault::Form(OF));
        }
        let at = info.next()?;
        if !at.is(Tag::GeneralizedTime) {
            return Err(Fault::Form(OF));
        }
        let at = at.time(OF)?;
        let accuracy = match info.next_if(Tag::Sequence)? {
            Some(stated) => accuracy(&stated)?,
            None if policy == BASELINE => SignedDuration::from_secs(1),
            None => SignedDuration::ZERO,
        };
        // Whether they are ordered, the nonce, and what the authority calls itself.
        info.next_if(Tag::Boolean)?;
        info.next_if(Tag::Integer)?;
        info.next_if(context(0))?;
        // RFC 3161, 2.4.2: an extension that is critical has to be known, and none is.
        if let Some(extensions) = info.next_if(context(1))? {
            for one in extensions.inside(context(1), OF)?.rest(16)? {
                let mut parts = one.sequence(OF)?;
                let oid = parts.next()?.oid(OF)?;
                if parts.next_if(Tag::Boolean)?.is_some() {
                    return Err(Fault::Critical(oid));
                }
            }
        }
        info.end()?;
        Ok(Self { signed, hash, imprint: hashed, at, accuracy })
    }

    /// The time that it states.
    pub(in crate::trust) const fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether this certificate is the one that it names as its signer's.
    pub(in crate::trust) fn names(&self, certificate: &Certificate) -> bool {
        self.signed.names(certificate)
    }

    /// The certificates that came along.
    pub(in crate::trust) fn certificates(&self) -> &[Certificate] {
        &self.signed.certificates
    }

    /// Whether it is of `message`, by the first of `authority`, whose chain this is up to the one that is trusted, at the time it states. What
    /// certificates came along does not matter, but one that claims to be the signer must be it.
    pub(in crate::trust) fn by_authority(&self, message: &[u8], authority: &[Certificate], rules: Rules) -> Result<Stamp, Fault> {
        let signer = authority.first().ok_or(Fault::Stranger)?;
        if self.signed.signers().any(|embedded| embedded != signer) {
            return Err(Fault::Token("it brings a certificate that is not the authority's"));
        }
        self.is_of(message)?;
        self.signed.is_signed_by(signer, CertificateHash::IfThere)?;
        holds(authority, &[self.at], rules)?;
        Ok(self.stamp(authority.to_vec()))
    }

    /// Whether it is of `message`, by a certificate that it brings, from which a path leads to one of `roots` at the time it states.
    pub(in crate::trust) fn by_roots(&self, message: &[u8], roots: &[Certificate], rules: Rules) -> Result<Stamp, Fault> {
        self.is_of(message)?;
        let mut signers = self.signed.signers();
        let (Some(signer), None) = (signers.next(), signers.next()) else {
            return Err(Fault::Token("it does not bring its signer's certificate, or brings two"));
        };
        self.signed.is_signed_by(signer, CertificateHash::Required)?;
        Ok(self.stamp(path(signer, self.certificates(), roots, &[self.at], rules)?))
    }

    fn is_of(&self, message: &[u8]) -> Result<(), Fault> {
        if hashes_with(self.hash, message, &self.imprint) { Ok(()) } else { Err(Fault::Imprint) }
    }

    fn stamp(&self, chain: Vec<Certificate>) -> Stamp {
        Stamp { at: self.at, accuracy: self.accuracy, chain }
    }
}

/// Seconds, and what is left of one in thousandths and millionths.
fn accuracy(stated: &Item<'_>) -> Result<SignedDuration, Fault> {
    const OF: &str = "its accuracy is malformed";
    let mut parts = stated.sequence(OF)?;
    let seconds = parts.next_if(Tag::Integer)?.map_or(Ok(0), |item| item.number(OF))?;
    let mut fraction = |number| {
        let item = parts.next_if(context_simple(number))?;
        item.map_or(Ok(0), |item| match item.value() {
            [high, low] if *high < 0x80 => Ok(i64::from(*high) * 256 + i64::from(*low)),
            [low] if *low < 0x80 => Ok(i64::from(*low)),
            _ => Err(Fault::Form(OF)),
        })
    };
    let (millis, micros) = (fraction(0)?, fraction(1)?);
    parts.end()?;
    if !(0..1000).contains(&millis) || !(0..1000).contains(&micros) {
        return Err(Fault::Form(OF));
    }
    Ok(SignedDuration::from_secs(i64::from(seconds)) + SignedDuration::from_millis(millis) + SignedDuration::from_micros(micros))
}
