//! What both kinds of envelope hold, read and held to the rules that need no trust: the Notary Project's "signature specification".

use jiff::Timestamp;

use super::error::Unfit;
use crate::trust::pki::Hash;

/// The content type of what is signed.
pub(super) const PAYLOAD: &str = "application/vnd.cncf.notary.payload.v1+json";
/// Most headers, critical names and certificates of one envelope.
pub(super) const HEADERS: usize = 64;
pub(super) const CHAIN: usize = 16;
/// Largest timestamp, bytes.
pub(super) const TIMESTAMP_BYTES: usize = 64 << 10;

pub(super) const SCHEME: &str = "io.cncf.notary.signingScheme";
pub(super) const SIGNING_TIME: &str = "io.cncf.notary.signingTime";
pub(super) const AUTHENTIC_TIME: &str = "io.cncf.notary.authenticSigningTime";
pub(super) const EXPIRY: &str = "io.cncf.notary.expiry";
pub(super) const PLUGIN: &str = "io.cncf.notary.verificationPlugin";
pub(super) const PLUGIN_VERSION: &str = "io.cncf.notary.verificationPluginMinVersion";
pub(super) const TIMESTAMP: &str = "io.cncf.notary.timestampSignature";

/// The kinds of envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Jws,
    Cose,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Jws, Self::Cose];

    /// The media type of the layer.
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Jws => "application/jose+json",
            Self::Cose => "application/cose",
        }
    }

    pub(super) fn of(media_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.media_type() == media_type)
    }
}

/// How it says that it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Pss(Hash),
    Ecdsa(Hash),
}

/// Who says when it was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `notary.x509`: the signer, which is no evidence.
    X509,
    /// `notary.x509.signingAuthority`: an authority that signs for others.
    Authority,
}

/// An envelope. That anybody has signed it is not known yet.
#[derive(Debug)]
pub(super) struct Envelope {
    /// The bytes that are signed.
    pub(super) signed: Vec<u8>,
    pub(super) signature: Vec<u8>,
    pub(super) algorithm: Algorithm,
    /// Certificates, the signer's first, DER.
    pub(super) chain: Vec<Vec<u8>>,
    pub(super) payload: Vec<u8>,
    pub(super) claims: Claims,
    /// RFC 3161, over the signature; unsigned.
    pub(super) timestamp: Option<Vec<u8>>,
}

/// What is signed besides the payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claims {
    pub(super) scheme: Scheme,
    /// When it was signed, as the scheme has it.
    pub(super) signed_at: Timestamp,
    pub(super) expiry: Option<Timestamp>,
}

/// The protected header, before its rules are looked at.
#[derive(Default)]
pub(super) struct Protected<'a> {
    pub(super) content_type: Option<&'a str>,
    pub(super) scheme: Option<&'a str>,
    pub(super) signing_time: Option<Timestamp>,
    pub(super) authentic_time: Option<Timestamp>,
    pub(super) expiry: Option<Timestamp>,
    pub(super) critical: Vec<&'a str>,
    pub(super) plugin: Option<&'a str>,
}

impl Protected<'_> {
    /// What it claims, if it keeps the rules.
    pub(super) fn claims(self) -> Result<Claims, Unfit> {
        if let Some(plugin) = self.plugin {
            return Err(Unfit::Plugin { plugin: super::error::shown(plugin) });
        }
        if self.content_type != Some(PAYLOAD) {
            return Err(Unfit::form("its content type is not that of the Notary Project"));
        }
        let (scheme, time) = match (self.scheme, self.signing_time, self.authentic_time) {
            (Some("notary.x509"), Some(time), None) => (Scheme::X509, time),
            (Some("notary.x509.signingAuthority"), None, Some(time)) => (Scheme::Authority, time),
            (Some("notary.x509" | "notary.x509.signingAuthority"), _, _) => {
                return Err(Unfit::form("its signing time is missing, or is not that of its scheme"));
            }
            (Some(_) | None, _, _) => return Err(Unfit::form("its signing scheme is missing or unknown")),
        };
        // What must be understood is named, each once, and nothing else: there is no other that we do.
        let mut due = vec![SCHEME];
        due.extend((scheme == Scheme::Authority).then_some(AUTHENTIC_TIME));
        due.extend(self.expiry.map(|_| EXPIRY));
        let mut critical = self.critical;
        critical.sort_unstable();
        due.sort_unstable();
        if critical != due {
            let odd =
                critical.iter().find(|name| !due.contains(name)).or_else(|| due.iter().find(|name| !critical.contains(name)));
            return Err(Unfit::form(format!("its critical headers are not those due (`{}`)", odd.unwrap_or(&"twice"))));
        }
        if self.expiry.is_some_and(|expiry| expiry <= time) {
            return Err(Unfit::form("it expires before it was signed"));
        }
        Ok(Claims { scheme, signed_at: time, expiry: self.expiry })
    }
}
