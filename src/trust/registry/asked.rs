//! Questions to registries within a decision's time: room for them that made-up names cannot take, and which registries are gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OnceCell, SemaphorePermit};
use tokio::time::Instant;

use super::error::NotVouched;
use crate::image::{Host, Repository};
use crate::net::NetError;
use crate::registry::{Api, RegistryError};
use crate::trust::asking::{Flights, Lanes, PROBE_TIME, Probe};
use crate::trust::{Asking, Purpose};

/// A question that begins after this part of the network's time had not the whole of it.
const LATE_PART: u32 = 12;
/// Most outages remembered at a time. Policies name a few registries; stops made-up ones from filling memory.
const OUTAGES: usize = 256;
/// What asking registries may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvidenceLimits {
    /// Most of a decision's time that the network gets.
    pub network: Duration,
    /// How long a registry that is gone is taken to be so. Stops a hundred containers after a reboot from waiting in line;
    /// short, because nothing else vouches in these scopes.
    pub outage: Duration,
    /// Most answers remembered in one of two generations; at some 150 bytes each, 4096 make 1 MB in all.
    pub remembered: usize,
}

impl Default for EvidenceLimits {
    fn default() -> Self {
        Self { network: Duration::from_secs(3), outage: Duration::from_secs(5), remembered: 4096 }
    }
}

/// Whom a question is for, and what is left for it.
#[derive(Clone, Copy)]
pub(in crate::trust) struct Errand<'a> {
    pub(in crate::trust) repository: &'a Repository,
    purpose: Purpose,
    pub(in crate::trust) begun: Instant,
    /// When the network's time ends.
    pub(in crate::trust) network: Instant,
    /// When the decision must be made.
    last: Instant,
    /// Whether the registry turned out to be gone: asked at most once for one question, however many parts it has.
    probed: &'a OnceCell<bool>,
}

/// Registries, as verifiers ask them.
pub(in crate::trust) struct Registries {
    api: Arc<dyn Api>,
    limits: EvidenceLimits,
    /// Registries that are gone, until when, and what was the matter.
    outages: Mutex<HashMap<Host, (Instant, NotVouched)>>,
    /// Questions whether one is gone.
    probes: Flights<Host, Probe>,
    /// For repositories of which an answer is remembered: made-up names cannot take these.
    known: Lanes,
    strange: Lanes,
}

impl Registries {
    pub(in crate::trust) fn new(api: Arc<dyn Api>, limits: EvidenceLimits) -> Self {
        let (outages, probes) = Default::default();
        Self { api, limits, outages, probes, known: Lanes::default(), strange: Lanes::default() }
    }

    /// What is asked itself.
    pub(in crate::trust) fn api(&self) -> &dyn Api {
        &*self.api
    }

    /// How much of the time of a question that begins now is the network's.
    pub(in crate::trust) fn errand<'a>(
        &self,
        repository: &'a Repository,
        asking: Asking,
        probed: &'a OnceCell<bool>,
    ) -> Errand<'a> {
        let (begun, last) = (Instant::now(), asking.deadline);
        Errand { repository, purpose: asking.purpose, begun, network: last.min(begun + self.limits.network), last, probed }
    }

    /// The outage that is remembered.
    pub(in crate::trust) fn known_outage(&self, repository: &Repository) -> Result<(), NotVouched> {
        match self.outages().get(&repository.host()) {
            Some((until, error)) if Instant::now() < *until => Err(error.clone()),
            Some(_) | None => Ok(()),
        }
    }

    /// Leave to ask.
    pub(in crate::trust) async fn place(&self, errand: Errand<'_>, is_known: bool) -> Result<SemaphorePermit<'_>, NotVouched> {
        let lanes = if is_known { &self.known } else { &self.strange };
        let lane = match errand.purpose {
            Purpose::Pull => &lanes.pulls,
            Purpose::Run => &lanes.starts,
        };
        let place = tokio::time::timeout_at(errand.network, lane.acquire()).await.ok().and_then(Result::ok);
        place.ok_or(NotVouched::Queued)
    }

    /// What became of a question that is put now.
    pub(in crate::trust) async fn ask<T>(
        &self,
        errand: Errand<'_>,
        asked: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, NotVouched> {
        let host = errand.repository.host();
        let named = || errand.repository.host_str().to_owned();
        // Nobody is asked, so that nobody is silent.
        if Instant::now() >= errand.network {
            return Err(NotVouched::Late { host: named() });
        }
        // A question that had not the whole time shows nothing by coming to no end.
        let is_late = errand.begun.elapsed() > self.limits.network / LATE_PART;
        let (error, is_suspect) = match tokio::time::timeout_at(errand.network, asked).await {
            Ok(Ok(answer)) => {
                self.outages().remove(&host);
                return Ok(answer);
            }
            Ok(Err(RegistryError::Net(NetError::Timeout { .. }))) | Err(_) if is_late => {
                (NotVouched::Late { host: named() }, true)
            }
            Ok(Err(error)) => {
                let is_suspect = is_suspect(&error);
                (NotVouched::Answer(error), is_suspect)
            }
            Err(_elapsed) => (NotVouched::Silent { host: named() }, true),
        };
        if is_suspect && *errand.probed.get_or_init(|| self.is_gone(&host, errand.last)).await {
            let error = NotVouched::Gone(Box::new(error));
            self.remember(host, error.clone());
            return Err(error);
        }
        Err(error)
    }

    /// Whether the registry itself is gone. Only that counts for other repositories.
    async fn is_gone(&self, host: &Host, deadline: Instant) -> bool {
        let flight = self.probes.of(host.clone());
        let ask = async {
            let end = Instant::now() + PROBE_TIME;
            let answer = tokio::time::timeout_at(end, self.api.is_gone(host, end)).await;
            answer.unwrap_or(true)
        };
        // Who has no time left for it does not find out.
        tokio::time::timeout_at(deadline, flight.shared.is_gone(ask)).await.unwrap_or(false)
    }

    fn remember(&self, host: Host, error: NotVouched) {
        let (now, mut outages) = (Instant::now(), self.outages());
        outages.retain(|_, (until, _)| now < *until);
        if outages.len() >= OUTAGES
            && let Some(first) = outages.iter().min_by_key(|(_, (until, _))| *until).map(|(host, _)| host.clone())
        {
            outages.remove(&first);
        }
        outages.insert(host, (now + self.limits.outage, error));
    }

    fn outages(&self) -> MutexGuard<'_, HashMap<Host, (Instant, NotVouched)>> {
        self.outages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many registries take memory now.
    #[cfg(test)]
    pub(in crate::trust) fn remembered(&self) -> (usize, bool) {
        (self.outages().len(), self.probes.is_empty())
    }
}

/// Whether the registry may be gone, rather than busy, slow about one repository, or there with an answer.
const fn is_suspect(error: &RegistryError) -> bool {
    match error {
        RegistryError::Status { status, .. } => *status >= 500,
        RegistryError::Net(error) => matches!(
            error,
            NetError::Unreachable { .. }
                | NetError::Timeout { .. }
                | NetError::Stalled { .. }
                | NetError::Cut { .. }
                | NetError::Tls { .. }
                | NetError::CaRefused { .. }
        ),
        RegistryError::NotFound { .. }
        | RegistryError::Denied { .. }
        | RegistryError::Busy { .. }
        | RegistryError::Full { .. }
        | RegistryError::WrongDigest { .. }
        | RegistryError::Elsewhere { .. }
        | RegistryError::Storage { .. }
        | RegistryError::Undecodable { .. }
        | RegistryError::Misconfigured { .. } => false,
    }
}
