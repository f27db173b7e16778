//! Signatures of the Notary Project, as notation makes them (docs/adr/0018-notation.md): a verifier of signatures beside the image
//! (`super::signatures`) by notation's own trust policy and trust stores. Nothing but the image's registry is asked: whether certificates are
//! revoked is read from lists on this host.

mod cbor;
mod cose;
mod envelope;
mod error;
mod hints;
mod identity;
mod jws;
mod payload;
mod policy;
mod refresh;
mod revocation;
mod search;
mod store;
#[cfg(test)]
mod tests;
mod time;
mod x509;

use crate::order::Ordered as _;
use std::sync::Arc;

use jiff::Timestamp;

use self::envelope::{Kind, Scheme};
pub use self::error::{Unfit, remedy};
pub(super) use self::hints::{is_envelope, of_envelope};
use self::payload::Artifact;
use self::policy::{Action, Identities, Revocation, Statement, StoreKind};
pub use self::policy::{StoreName, TrustPolicy};
pub use self::refresh::{LISTS_BYTES, Refresher};
pub use self::revocation::Crls;
use self::revocation::earlier;
pub use self::store::TrustStores;
use super::VerifierName;
use super::evidence::Parts;
use super::signatures::{self, Found, Good, Hunt, Mark, No, SignatureVerifier};
use crate::image::{Digest, Repository};
use crate::registry::Api;
use crate::trust::pki::Certificate;

const ENVELOPE: &str = "envelope";
const TYPE: &str = "type";
const ARTIFACT_SIZE: &str = "artifact-size";
const ARTIFACT_TYPE: &str = "artifact-type";

/// Vouches for what somebody has signed whom a trust policy of notation trusts.
pub type NotationVerifier = SignatureVerifier<Notation>;

/// Whose signatures count, as files of notation say.
#[derive(Debug)]
pub struct Notation {
    policy: TrustPolicy,
    stores: TrustStores,
    crls: Crls,
    /// Who fetches lists of the certificates that are met, where that is wanted.
    refresher: Option<Arc<Refresher>>,
}

impl NotationVerifier {
    /// A verifier of this name that looks for signatures in `registry`.
    #[must_use]
    pub fn new(name: VerifierName, notation: Notation, registry: Arc<dyn Api>) -> Self {
        Self::of(name, notation, registry)
    }
}

impl Notation {
    /// What the files say.
    #[must_use]
    pub const fn of(policy: TrustPolicy, stores: TrustStores, crls: Crls) -> Self {
        Self { policy, stores, crls, refresher: None }
    }

    /// The same, whose lists are fetched as well.
    #[must_use]
    pub fn refreshed(self, refresher: Option<Arc<Refresher>>) -> Self {
        Self { refresher, ..self }
    }

    /// The certificates of the trust stores, by hash.
    pub fn anchors(&self) -> impl Iterator<Item = Digest> {
        self.stores.all().map(|certificate| Digest::of(certificate.der()))
    }

    fn statement(&self, repository: &Repository) -> Result<&Statement, Unfit> {
        self.policy.of(repository).ok_or_else(|| Unfit::NoStatement { repository: repository.clone() })
    }

    /// The good signature that an envelope is, if it is one: what is cheap to see comes first, what strangers can make costly last.
    fn judge(
        &self,
        repository: &Repository,
        artifact: &Artifact<'_>,
        kind: Kind,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<Good, Unfit> {
        let statement = self.statement(repository)?;
        let envelope = match kind {
            Kind::Jws => jws::read(bytes),
            Kind::Cose => cose::read(bytes),
        }?;
        payload::is_of(&envelope.payload, artifact)?;
        let chain = x509::chain(&envelope.chain)?;
        let leaf = chain.first().ok_or_else(|| Unfit::form("it has no certificate"))?;
        let subject = error::shown(&identity::shown(leaf));
        let store = self.store_of(statement, envelope.claims.scheme, &chain, &subject)?;
        x509::has_signed(leaf, &envelope)?;
        x509::holds(&chain)?;
        let is_trusted = match &statement.identities {
            Identities::All => true,
            Identities::Named(names) => names.iter().any(|name| name.is_of(leaf)),
        };
        if !is_trusted {
            return Err(Unfit::Identity { subject });
        }
        let note = |chain: &[Certificate]| {
            if let Some(refresher) = self.refresher.as_ref().filter(|_| statement.revocation != Revocation::Skip) {
                refresher.note(chain, now);
            }
        };
        // Not before it is known that who signed counts: others of the same authority must not choose what is fetched.
        note(&chain);
        let mut until = None;
        if let (Action::Enforce, Some(expiry)) = (statement.expiry, envelope.claims.expiry) {
            if expiry <= now {
                return Err(Unfit::Expired { subject, at: expiry });
            }
            until = Some(expiry);
        }
        let revoked = |(certificate, why): (&Certificate, Option<String>)| {
            let certificate = error::shown(&identity::shown(certificate));
            match why {
                Some(cause) => Unfit::Unchecked { certificate, cause },
                None => Unfit::Revoked { subject: subject.clone(), certificate },
            }
        };
        let time = self.time(statement, &envelope, &chain, now);
        let time = match (time, statement.time) {
            (Ok(time), Action::Enforce) => time,
            // What is not enforced ends nothing either.
            (Ok(time), Action::Log) => time::Known { until: None, ..time },
            (Err(cause), Action::Enforce) => return Err(Unfit::Time { subject, cause }),
            (Err(why), Action::Log) => {
                tracing::debug!(
                    why,
                    subject,
                    "the time of a signature of notation does not hold, and the trust policy does not ask"
                );
                time::Known::default()
            }
        };
        until = earlier(until, time.until);
        // Of an authority whose key was lost no timestamp counts, whatever time it names (RFC 3161, section 4).
        if let Some(stamp) = &time.stamp {
            note(&stamp.chain);
            let ends = self.crls.chain(&stamp.chain, statement.revocation, None, now).map_err(revoked)?;
            until = earlier(until, ends);
        }
        until = earlier(until, self.crls.chain(&chain, statement.revocation, time.signed_at, now).map_err(revoked)?);
        Ok(Good { by: vec![subject.clone()], role: store, signed_at: time.signed_at, until, ..Good::default() })
    }

    /// The store that holds a certificate of the chain, byte for byte, of those that count for its scheme.
    fn store_of(&self, statement: &Statement, scheme: Scheme, chain: &[Certificate], subject: &str) -> Result<String, Unfit> {
        let kind = match scheme {
            Scheme::X509 => StoreKind::Ca,
            // Never a CA's: whoever it has certified could play the authority.
            Scheme::Authority => StoreKind::SigningAuthority,
        };
        let stores = self.stores.named(statement, kind).map_err(|store| Unfit::NoStore { store: store.to_string() })?;
        let holder = stores.iter().find(|(_, trusted)| chain.iter().any(|certificate| trusted.contains(certificate)));
        holder.map(|(store, _)| store.to_string()).ok_or_else(|| {
            let names: Vec<String> = stores.iter().map(|(store, _)| store.to_string()).collect();
            let stores =
                if names.is_empty() { format!("of its kind ({})", kind.as_str()) } else { format!("`{}`", names.join("`, `")) };
            Unfit::Stranger { subject: subject.to_owned(), stores: error::shown(&stores) }
        })
    }
}

impl signatures::Scheme for Notation {
    type Unfit = Unfit;

    fn ready(&self, repository: &Repository) -> Result<(), Unfit> {
        self.statement(repository).map(|_| ())
    }

    async fn find(&self, hunt: Hunt<'_>) -> Result<Found, No<Unfit>> {
        search::Search { notation: self, hunt }.run().await
    }

    fn mark(&self, _: &Repository, _: Digest, parts: Parts) -> Option<Mark> {
        let kind = Kind::of(std::str::from_utf8(parts.get(TYPE)?).ok()?)?;
        parts.get(ENVELOPE).map(|envelope| mark(kind, envelope))
    }

    fn judged(&self, repository: &Repository, digest: Digest, parts: Parts, now: Timestamp) -> Option<Good> {
        let text = |name: &str| std::str::from_utf8(parts.get(name)?).ok();
        let size = text(ARTIFACT_SIZE)?.parse().ok()?;
        let artifact = Artifact { digest, size, media_type: text(ARTIFACT_TYPE)? };
        self.judge(repository, &artifact, Kind::of(text(TYPE)?)?, parts.get(ENVELOPE)?, now).ok()
    }
}

/// As it is kept.
fn parts(artifact: &Artifact<'_>, kind: Kind, envelope: Vec<u8>) -> Parts {
    let texts = [
        (TYPE, kind.media_type().to_owned()),
        (ARTIFACT_SIZE, artifact.size.to_string()),
        (ARTIFACT_TYPE, artifact.media_type.to_owned()),
    ];
    let texts = texts.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes()));
    texts.chain([(ENVELOPE.to_owned(), envelope)]).ordered()
}

/// What tells a signature from others. The same bytes under another type are another: who puts them there must not shadow the good one.
fn mark(kind: Kind, envelope: &[u8]) -> Mark {
    (Digest::of(kind.media_type().as_bytes()), Digest::of(envelope))
}
