//! A blob, followed to where its registry keeps it: over https, with nobody told who asks, and to no place that is nearer to this host
//! than the registry itself. Nothing of it is verified before it has come, so that where it is fetched from must be harmless.

use tokio::time::Instant;

use super::client::{Peer, SMALL_BYTES, accepted};
use super::{Registry, RegistryError, Trouble};
use crate::image::{Digest, Host, Repository};
use crate::net::auth::Asker;
use crate::net::{Bounds, Client, HeaderMap, HttpAnswer, NetError, Reach, Url, authority};

/// Largest blob read, bytes. Configurations and signatures are far smaller, bills of materials are not. Stops a registry from filling memory.
const BLOB_BYTES: u64 = 8 << 20;
/// How often a blob may be sent on to another place. Registries do so once: to the storage behind them.
const REDIRECTS: usize = 3;

/// Why there is no blob.
enum BlobError {
    Net(NetError),
    /// It lies where it is not fetched from.
    Elsewhere(&'static str),
    /// Where it lies it is not to be had.
    Storage(Trouble),
}

impl Registry {
    /// The bytes of a blob that is said to be this large: no more are read.
    pub(super) async fn fetch_blob(
        &self,
        repository: &Repository,
        digest: Digest,
        size: u64,
        deadline: Instant,
    ) -> Result<Vec<u8>, RegistryError> {
        let host = repository.host_str();
        let what = || format!("{repository}@{digest}");
        if size > BLOB_BYTES {
            let cause = format!("it is said to have {size} bytes, more than are read");
            return Err(RegistryError::Undecodable { what: what(), cause });
        }
        let peer = self.peer(host)?;
        let _large = if size > SMALL_BYTES { Some(peer.turn_of_large(deadline, what).await?) } else { None };
        let path = format!("v2/{}/blobs/{digest}", repository.path());
        let scope = format!("repository:{}:pull", repository.path());
        let asker = Asker { scope: &scope, credentials: self.settings.credentials.for_host(host) };
        let found = match peer.get(&path, asker, size, deadline, &[]).await {
            Ok(answer) if is_redirect(answer.status) => self.followed(&peer, &path, answer, size, deadline).await,
            Ok(answer) => Ok(accepted(answer, host, what)?.body),
            Err(error) => Err(BlobError::Net(error)),
        };
        let body = found.map_err(|error| match error {
            BlobError::Net(error) => self.explain(host, asker, error),
            BlobError::Elsewhere(cause) => RegistryError::Elsewhere { host: host.to_owned(), what: what(), cause },
            BlobError::Storage(trouble) => RegistryError::Storage { host: host.to_owned(), what: what(), trouble },
        })?;
        match Digest::of(&body) {
            sent if sent == digest => Ok(body),
            sent => Err(RegistryError::WrongDigest { host: host.to_owned(), due: digest, sent }),
        }
    }

    /// What lies where `answer` of the registry sends to. What the place is called is for the log: its query may be what opens it, and its
    /// host the client that asks need not know.
    async fn followed(
        &self,
        peer: &Peer,
        path: &str,
        mut answer: HttpAnswer,
        most: u64,
        deadline: Instant,
    ) -> Result<Vec<u8>, BlobError> {
        let registry = peer.session().url(path).map_err(BlobError::Net)?;
        let (mut at, mut reach) = (registry.clone(), answer.reach);
        for _ in 0..REDIRECTS {
            at = place_of(&answer, &at)?;
            let bounds = Bounds { bytes: most, time: deadline.saturating_duration_since(Instant::now()) };
            let client = self.for_place(peer, &registry, &at, reach)?;
            answer = client.get(&at, HeaderMap::new(), bounds).await.map_err(|error| {
                tracing::warn!(%error, registry = authority(&registry), "a registry's blob lies on another host, which does not give it");
                not_given(error)
            })?;
            // Who is farther away must not send on to what is nearer either.
            reach = reach.min(answer.reach);
            match answer.status {
                200 => return Ok(answer.body),
                status if is_redirect(status) => {}
                status => {
                    tracing::warn!(
                        status,
                        place = authority(&at),
                        "a registry's blob lies on another host, which does not give it"
                    );
                    let is_busy = answer.is_busy();
                    return Err(BlobError::Storage(if is_busy { Trouble::Busy(status) } else { Trouble::Status(status) }));
                }
            }
        }
        Err(BlobError::Elsewhere("there are too many redirects"))
    }

    /// What asks there: with the roots of the place where the operator has named it, by a folder of certificates, and else with those of the
    /// registry and within its own reach.
    fn for_place(&self, peer: &Peer, registry: &Url, at: &Url, reach: Reach) -> Result<Client, BlobError> {
        let (name, own) = (authority(at), peer.https.client());
        if name == authority(registry) {
            return Ok(own.without_identity());
        }
        // INVARIANT: a `Host` holds no slash and is not `..`, so that what is named is a folder in those.
        if let Ok(host) = name.parse::<Host>()
            && self.names(host.as_str())
        {
            let named = self.peer(host.as_str()).map_err(|error| {
                tracing::warn!(%error, "a registry's blob lies on a host whose certificates cannot be used");
                BlobError::Storage(Trouble::Tls)
            })?;
            return Ok(named.https.client().without_identity());
        }
        Ok(own.within(reach))
    }

    /// Whether the operator has named this host: there is a folder for its certificates, empty or not.
    fn names(&self, host: &str) -> bool {
        self.settings.given.contains_key(host) || self.settings.certs.iter().any(|folder| folder.join(host).is_dir())
    }
}

const fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Where an answer sends to, from the place that gave it.
fn place_of(answer: &HttpAnswer, from: &Url) -> Result<Url, BlobError> {
    let place = answer.header("location").and_then(|place| from.join(place).ok());
    let at = place.ok_or(BlobError::Elsewhere("the redirect has no address"))?;
    if at.scheme() != "https" || !at.username().is_empty() || at.password().is_some() {
        return Err(BlobError::Elsewhere("the place is not an https URL without a user"));
    }
    Ok(at)
}

/// What a place did that was asked and gave no answer.
fn not_given(error: NetError) -> BlobError {
    let trouble = match error {
        NetError::Barred { .. } => {
            return BlobError::Elsewhere("the place is nearer to this host than the registry is; the gate's log names it");
        }
        error @ NetError::TooLarge { .. } => return BlobError::Net(error),
        NetError::Unreachable { .. } | NetError::Unauthorized { .. } => Trouble::Unreachable,
        NetError::Timeout { .. } => Trouble::Silent,
        NetError::Stalled { .. } | NetError::Cut { .. } | NetError::Bad(_) => Trouble::Cut,
        NetError::Busy { status, .. } => Trouble::Busy(status),
        NetError::Ours { .. } => Trouble::Ours,
        NetError::CaRefused { .. } | NetError::Tls { .. } => Trouble::Tls,
    };
    BlobError::Storage(trouble)
}
