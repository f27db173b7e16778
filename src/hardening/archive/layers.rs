//! The layers of an image, one on another: what is noticed in each, and what of it the layers above leave. Of every path only a number is kept.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io::Read;

use super::files::{HEAD_BYTES, Noticed, noticed};
use super::tar::{Kind, Tar, TarError};

/// Most entries of all layers together, of which a number is kept. Stops an archive from filling memory: 40 MB.
const ENTRIES: usize = 1_000_000;
/// Most of one layer that are noticed; of more, the first say enough. Secrets are all kept.
const NOTICED: usize = 5000;
/// Bytes of what is noticed in all layers. Stops long paths from filling memory.
const KEPT_BYTES: usize = 16 << 20;

/// A layer, as far as it was looked at.
#[derive(Debug, Default)]
pub(super) struct Layer {
    found: Vec<(Noticed, String)>,
    /// Paths that it takes away; folders of which it takes all that was in them.
    removed: HashSet<u64>,
    emptied: HashSet<u64>,
    /// Paths that it has: files of any kind, and folders.
    files: HashSet<u64>,
    folders: HashSet<u64>,
}

/// Something noticed in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InImage {
    pub(super) what: Noticed,
    pub(super) path: String,
    /// In which layer, from 1.
    pub(super) layer: usize,
    /// A later layer takes it away or puts something else there.
    pub(super) is_gone: bool,
}

/// Reads layers. Paths become numbers that nobody outside can foresee.
#[derive(Debug, Default)]
pub(super) struct Layers {
    numbers: RandomState,
    entries: usize,
    kept: usize,
}

impl Layers {
    /// A layer's tar.
    pub(super) fn read(&mut self, reader: impl Read) -> Result<Layer, TarError> {
        let mut tar = Tar::new(reader);
        let mut layer = Layer::default();
        let mut head = Vec::new();
        while let Some(entry) = tar.entry()? {
            self.entries += 1;
            if self.entries > ENTRIES {
                return Err(TarError::Malformed("it has too many files"));
            }
            let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
            if name == ".wh..wh..opq" {
                layer.emptied.insert(self.number(folder));
                continue;
            }
            if let Some(name) = name.strip_prefix(".wh.") {
                let path = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
                layer.removed.insert(self.number(&path));
                continue;
            }
            let kind = if entry.kind == Kind::Folder { &mut layer.folders } else { &mut layer.files };
            kind.insert(self.numbers.hash_one(entry.path.as_str()));
            head.clear();
            if entry.kind == Kind::File {
                tar.body().take(HEAD_BYTES).read_to_end(&mut head)?;
            }
            for what in noticed(&entry, &head) {
                if layer.found.len() < NOTICED || matches!(what, Noticed::Secret(_)) {
                    self.kept += entry.path.len() + 64;
                    layer.found.push((what, entry.path.clone()));
                }
                if self.kept > KEPT_BYTES {
                    return Err(TarError::Malformed("too many of its files are of note"));
                }
            }
        }
        Ok(layer)
    }

    fn number(&self, path: &str) -> u64 {
        self.numbers.hash_one(path)
    }

    /// What is noticed in layers that lie on each other, the lowest first.
    pub(super) fn stacked(&self, layers: &[&Layer]) -> Vec<InImage> {
        let mut found = Vec::new();
        for (at, layer) in layers.iter().enumerate() {
            for (what, path) in &layer.found {
                let numbers = self.numbers_of(path);
                let is_gone = layers.iter().skip(at + 1).any(|above| takes_away(above, &numbers));
                found.push(InImage { what: *what, path: path.clone(), layer: at + 1, is_gone });
            }
        }
        found
    }

    /// The numbers of a path and of every folder above it, up to the root.
    fn numbers_of(&self, path: &str) -> Vec<u64> {
        let above = path.rmatch_indices('/').filter_map(|(at, _)| path.get(..at));
        std::iter::once(path).chain(above).chain([""]).map(|path| self.number(path)).collect()
    }
}

/// Whether a layer leaves nothing of what was at a path below it.
fn takes_away(layer: &Layer, numbers: &[u64]) -> bool {
    let Some((own, above)) = numbers.split_first() else { return false };
    let is_replaced = [&layer.removed, &layer.files, &layer.folders].iter().any(|set| set.contains(own));
    let is_above = |number: &u64| [&layer.emptied, &layer.removed, &layer.files].iter().any(|set| set.contains(number));
    is_replaced || above.iter().any(is_above)
}
