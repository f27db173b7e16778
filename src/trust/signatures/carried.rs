//! What was carried here in place of a registry: judged as though it came from one, and kept if it is good. Nothing of it is believed, and
//! nothing that is kept already ends by it: who leaves something out of a bundle takes nothing away.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::OnceCell;

use super::{Found, Hunt, NotSigned, Record, Scheme, SignatureVerifier, Signed, Unfit as _};
use crate::image::{Digest, Repository};
use crate::registry::Api;
use crate::trust::registry::{EvidenceLimits, Registries};
use crate::trust::{Asking, TrustError, Vouch};

/// What becomes of what is good in a part of a registry that was carried here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// Nothing: it is looked at.
    Looks,
    /// It is kept.
    Keeps {
        /// When the registry had it, as the bundle says: no later than now.
        exported: Timestamp,
        /// Whether it counts though a registry took it back: a person says that it was signed again since.
        undoes_withdrawal: bool,
    },
}

impl<S: Scheme> SignatureVerifier<S> {
    /// Whether this digest is signed, by what `carried` has alone.
    pub(super) async fn judge_carried(
        &self,
        carried: Arc<dyn Api>,
        repository: &Repository,
        digest: Digest,
        asking: Asking,
        keeping: Keeping,
    ) -> Result<Vouch, TrustError> {
        self.scheme.ready(repository).map_err(NotSigned::Nobody)?;
        let key = self.key(&(repository.clone(), digest));
        let withdrawn = self.evidence.as_ref().and_then(|evidence| evidence.withdrawn_since(&key));
        if let (Keeping::Keeps { undoes_withdrawal: false, .. }, Some(at)) = (keeping, withdrawn) {
            return Err(NotSigned::<S::Unfit>::Withdrawn { digest, at }.into());
        }
        let limits =
            EvidenceLimits { network: asking.deadline.duration_since(tokio::time::Instant::now()), ..EvidenceLimits::default() };
        let (registries, probed) = (Registries::new(carried, limits), OnceCell::new());
        let errand = registries.errand(repository, asking, &probed);
        let hunt = Hunt { registries: &registries, errand, digest, tag: None, subject: None, known: None, now: asking.now };
        let Found { good, parts, .. } = self.scheme.find(hunt).await.map_err(|no| TrustError::from(no.why))?;
        if let (Keeping::Keeps { exported, .. }, Some(evidence)) = (keeping, &self.evidence) {
            let earlier = evidence.of(&key).await.filter(|earlier| self.judged(earlier.clone(), asking.now).is_some());
            let asked = exported.min(asking.now);
            let (found, asked) = earlier.map_or((asking.now, asked), |earlier| (earlier.found, earlier.asked.max(asked)));
            let record = Record { key, scheme: S::Unfit::SCHEME.to_owned(), found, asked, parts };
            evidence.take_in(&record).map_err(|error| NotSigned::<S::Unfit>::NotKept { cause: error.to_string() })?;
        }
        Ok(self.vouch_for(repository, digest, &Signed { good, at: None, asked: asking.now, from: None }))
    }
}
