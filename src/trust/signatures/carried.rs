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
        let limits =
            EvidenceLimits { network: asking.deadline.duration_since(tokio::time::Instant::now()), ..EvidenceLimits::default() };
        let (registries, probed) = (Registries::new(carried, limits), OnceCell::new());
        let errand = registries.errand(repository, asking, &probed);
        let hunt = Hunt { registries: &registries, errand, digest, tag: None, subject: None, known: None, now: asking.now };
        let Found { good, parts, .. } = self.scheme.find(hunt).await.map_err(|no| TrustError::from(no.why))?;
        if let (Keeping::Keeps { undoes_withdrawal }, Some(evidence)) = (keeping, &self.evidence) {
            let key = self.key(&(repository.clone(), digest));
            let earlier = evidence.of(&key).await;
            let earlier = earlier.and_then(|earlier| Some((self.judged(earlier.clone(), asking.now)?.good.until, earlier)));
            let record = match earlier {
                // What counts for longer stays.
                Some((until, earlier)) if until.is_none_or(|until| good.until.is_some_and(|new| new <= until)) => earlier,
                Some((_, earlier)) => Record { parts, ..earlier },
                // No registry was asked: where one is to be asked again for what is known, it is.
                None => Record {
                    key,
                    scheme: S::Unfit::SCHEME.to_owned(),
                    found: asking.now,
                    asked: Timestamp::UNIX_EPOCH,
                    origin: None,
                    parts,
                },
            };
            let taken = evidence.take_in(&record, undoes_withdrawal);
            if let Some(at) = taken.map_err(|error| NotSigned::<S::Unfit>::NotKept { cause: error.to_string() })? {
                return Err(NotSigned::<S::Unfit>::Withdrawn { digest, at }.into());
            }
        }
        Ok(self.vouch_for(repository, digest, &Signed { good, at: None, asked: asking.now, known: None }))
    }
}
