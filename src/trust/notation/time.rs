//! At which time the certificates of a signature must be valid: now, at a timestamp, or when an authority says that it signed.

use jiff::{SignedDuration, Timestamp};

use super::Notation;
use super::envelope::{Envelope, Scheme};
use super::policy::{Stamps, Statement, StoreKind};
use crate::trust::pki::{Certificate, Form, Rules, Stamp, Token};

/// How far ahead of this host's clock another one may be.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// What is known of the time of a signature.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// When it was signed, where that is proven.
    pub(super) signed_at: Option<Timestamp>,
    /// When the certificates end that must be valid now.
    pub(super) until: Option<Timestamp>,
    pub(super) stamp: Option<Stamp>,
}

impl Notation {
    /// The time of a signature, if all certificates are valid then; or why not.
    pub(super) fn time(
        &self,
        statement: &Statement,
        envelope: &Envelope,
        chain: &[Certificate],
        now: Timestamp,
    ) -> Result<Known, String> {
        if envelope.claims.scheme == Scheme::Authority {
            let at = envelope.claims.signed_at;
            not_ahead(at, now)?;
            valid_at(chain, at)?;
            return Ok(Known { signed_at: Some(at), ..Known::default() });
        }
        let stores = self
            .stores
            .named(statement, StoreKind::Tsa)
            .map_err(|store| format!("the trust store `{store}` has no certificate"))?;
        let is_valid = valid_at(chain, now);
        if stores.is_empty() || (statement.stamps == Stamps::AfterCertificate && is_valid.is_ok()) {
            is_valid?;
            // The last second is a whole one.
            let end =
                chain.iter().filter_map(|certificate| certificate.until().checked_add(SignedDuration::from_secs(1)).ok()).min();
            return Ok(Known { until: end, ..Known::default() });
        }
        let token = envelope.timestamp.as_deref().ok_or_else(|| match is_valid {
            Ok(()) => "it has no timestamp, and the trust policy asks for one".to_owned(),
            Err(why) => format!("{why}, and it has no timestamp"),
        })?;
        let roots: Vec<Certificate> = stores.iter().flat_map(|(_, roots)| roots.iter().cloned()).collect();
        let of_token = |fault| format!("its timestamp {fault}");
        let token = Token::read(token, Form::Token).map_err(of_token)?;
        let stamp = token.by_roots(&envelope.signature, &roots, &Rules::NOTATION_TSA).map_err(of_token)?;
        not_ahead(stamp.at, now)?;
        let odd = || "its timestamp's accuracy is out of range".to_owned();
        for at in [stamp.at.checked_sub(stamp.accuracy), stamp.at.checked_add(stamp.accuracy)] {
            valid_at(chain, at.map_err(|_| odd())?)?;
        }
        Ok(Known { signed_at: Some(stamp.at), until: None, stamp: Some(stamp) })
    }
}

fn valid_at(chain: &[Certificate], at: Timestamp) -> Result<(), String> {
    chain.iter().try_for_each(|certificate| {
        certificate
            .valid_at(at)
            .map_err(|fault| format!("the certificate `{}` {fault}", super::error::shown(&super::identity::shown(certificate))))
    })
}

fn not_ahead(at: Timestamp, now: Timestamp) -> Result<(), String> {
    let latest = now.checked_add(AHEAD).unwrap_or(now);
    if at <= latest { Ok(()) } else { Err(format!("it says that it was signed at {at}, which is to come")) }
}
