//! What was found out about images for rules about what they are: kept by what their digests commit to, so that it never grows old.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::image::{Digest, ImageConfig, Platform, Repository};

/// Most of a decision's time that a registry gets to tell an image's configuration.
pub(super) const REGISTRY_TIME: Duration = Duration::from_secs(3);
/// Most configurations, and most histories, that are kept; of more all are forgotten. Stops pulls of ever more images from filling memory.
const KEPT: usize = 256;
/// Most of one that is kept, bytes, its lists included. An image's has a few KB; larger ones are fetched again.
const KEPT_BYTES: usize = 16 << 10;

/// Which image: where it is known by, and for which platform. A registry may refuse one repository to this host and not another, so what
/// one of them told stands for itself alone.
type Key = (Option<Repository>, Digest, Option<Platform>);

/// What is kept.
#[derive(Default)]
pub(super) struct Descriptions {
    configs: Mutex<HashMap<Key, Arc<ImageConfig>>>,
    histories: Mutex<HashMap<Key, Vec<String>>>,
}

impl Descriptions {
    /// What a registry told of an image.
    pub(super) fn config(
        &self,
        repository: &Repository,
        digest: Digest,
        platform: Option<&Platform>,
    ) -> Option<Arc<ImageConfig>> {
        lock(&self.configs).get(&(Some(repository.clone()), digest, platform.cloned())).cloned()
    }

    pub(super) fn keep_config(
        &self,
        repository: &Repository,
        digest: Digest,
        platform: Option<&Platform>,
        config: &Arc<ImageConfig>,
    ) {
        let labels = config.labels.iter().chain(config.annotations.iter().flatten());
        let lists = config.env.iter().chain(config.history.iter().flatten()).chain(&config.ports).chain(&config.healthcheck);
        let texts = lists.chain([&config.user]).chain(labels.flat_map(|(name, value)| [name, value]));
        let layers = config.layers.len() * size_of::<Digest>();
        if texts.map(|text| text.len() + size_of::<String>()).sum::<usize>() + layers <= KEPT_BYTES {
            keep(&self.configs, (Some(repository.clone()), digest, platform.cloned()), Arc::clone(config));
        }
    }

    /// The history of an image on the host.
    pub(super) fn history(&self, id: Digest, platform: &Platform) -> Option<Vec<String>> {
        lock(&self.histories).get(&(None, id, Some(platform.clone()))).cloned()
    }

    pub(super) fn keep_history(&self, id: Digest, platform: &Platform, history: &[String]) {
        if history.iter().map(|text| text.len() + size_of::<String>()).sum::<usize>() <= KEPT_BYTES {
            keep(&self.histories, (None, id, Some(platform.clone())), history.to_vec());
        }
    }
}

fn keep<V>(kept: &Mutex<HashMap<Key, V>>, key: Key, value: V) {
    let mut kept = lock(kept);
    if kept.len() >= KEPT {
        kept.clear();
    }
    kept.insert(key, value);
}

fn lock<V>(kept: &Mutex<HashMap<Key, V>>) -> MutexGuard<'_, HashMap<Key, V>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
