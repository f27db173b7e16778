//! The verifier that is a file: digests that an operator approved.
//!
//! [`Allowlist`] answers questions from the file as it is now: a changed file is read again at the next question. A file
//! that has become unreadable, or is gone, changes nothing: the last good one holds. Where there never was a good one,
//! every question is refused. [`mod@file`] knows the format and changes the file.

mod error;
pub mod file;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;

pub use self::error::{ListRefusal, remedy};
use self::file::{Entry, FileFault, ListFile, Stamp};
use super::{Asking, Binding, Freshness, Hashed, Question, TrustError, Verifier, VerifierName, Vouch, Vouching};
use crate::image::{Digest, Repository, Tag};

const KEPT: &str = "the allowlist cannot be read: the last good one holds";
const REFUSED: &str = "the allowlist cannot be read: everything that needs it is refused";

/// The allowlist of a file. Questions are answered on the calling thread: one `stat`, and a read if the file changed.
#[derive(Debug)]
pub struct Allowlist {
    name: VerifierName,
    path: PathBuf,
    now: ArcSwap<Loaded>,
    /// Held while the file is read, so that one thread reads it; the others answer from what is there.
    reading: Mutex<()>,
}

/// What is known of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Entries in force; `None`: there never was a good file, and everything is refused.
    pub entries: Option<usize>,
    /// What is wrong with the file as it is now; then the entries are those of the last good one.
    pub fault: Option<FileFault>,
}

#[derive(Debug)]
struct Loaded {
    /// The file as last looked at, good or not. `None`: read it again.
    stamp: Option<Stamp>,
    index: Option<Arc<Index>>,
    fault: Option<FileFault>,
}

#[derive(Debug, Default)]
struct Index {
    count: usize,
    /// Entries by the digest of their manifest or index.
    by_digest: HashMap<Digest, Vec<Arc<Entry>>>,
    /// Entries by their image id. Apart from the others: one file can be a manifest and a configuration at once.
    by_config: HashMap<Digest, Vec<Arc<Entry>>>,
    /// Entries by each tag they list.
    by_tag: HashMap<Repository, HashMap<Tag, Vec<Arc<Entry>>>>,
}

impl Allowlist {
    /// The allowlist in the file at `path`, read now. A file that cannot be read is no error here: it answers every
    /// question with [`TrustCode::AllowlistUnavailable`](super::TrustCode::AllowlistUnavailable) until it can be read.
    #[must_use]
    pub fn load(path: impl Into<PathBuf>) -> Self {
        Self::load_or(path, |_| None)
    }

    /// As [`Allowlist::load`]; where the file cannot be used, `earlier` is asked for the text that it last had when it could, if that
    /// is to count.
    #[must_use]
    pub fn load_or(path: impl Into<PathBuf>, earlier: impl FnOnce(&FileFault) -> Option<String>) -> Self {
        let path = path.into();
        let mut loaded = Loaded::read(&path, None);
        match &loaded.fault {
            None => {}
            Some(fault) => {
                let list = earlier(fault).and_then(|text| ListFile::parse(text.as_bytes()).ok());
                loaded.index = list.map(|list| Arc::new(Index::of(list)));
                let told = if loaded.index.is_some() { KEPT } else { REFUSED };
                tracing::error!(path = %path.display(), %fault, "{told}");
            }
        }
        Self { name: VerifierName::ALLOWLIST, path, now: ArcSwap::from_pointee(loaded), reading: Mutex::new(()) }
    }

    /// The same, as a verifier of this name.
    #[must_use]
    pub fn named(self, name: VerifierName) -> Self {
        Self { name, ..self }
    }

    /// By what the file as it is now is told from others; `None` while it is not a good one.
    #[must_use]
    pub fn good_stamp(&self) -> Option<Stamp> {
        let loaded = self.current();
        loaded.stamp.filter(|_| loaded.fault.is_none())
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is known of the file, after a look at it.
    #[must_use]
    pub fn status(&self) -> Status {
        let loaded = self.current();
        Status { entries: loaded.index.as_ref().map(|index| index.count), fault: loaded.fault.clone() }
    }

    /// Whether the file vouches.
    ///
    /// [`Question::Tag`] is answered with the digest (or image id) of the entry that was added last among those that
    /// list the tag. [`Question::AnyOf`] is answered with the first of
    /// the digests that an entry has as its digest, and the tags listed with it; [`Question::Content`] likewise, or with the
    /// image id that an entry has as its image id.
    pub fn vouch(&self, repository: &Repository, question: &Question, now: Timestamp) -> Result<Vouch, TrustError> {
        let index = self.index()?;
        match question {
            Question::Tag(tag) => {
                let listed = index.listed(repository, tag);
                let live = listed.iter().filter(|entry| !entry.is_expired(now));
                let newest = live.enumerate().max_by_key(|(place, entry)| (entry.added_at, *place)).map(|(_, entry)| entry);
                let found = newest.and_then(|entry| Some((entry, entry.foremost()?)));
                match found {
                    Some((entry, known)) => Ok(vouch(repository, known, vec![tag.clone()], &[entry])),
                    None => Err(refusal(listed.first(), format!("`{repository}:{tag}`"))),
                }
            }
            Question::AnyOf(digests) => index.any_of(repository, digests, None, now),
            Question::Content { digests, config } => index.any_of(repository, digests, Some(*config), now),
        }
    }

    fn index(&self) -> Result<Arc<Index>, TrustError> {
        let loaded = self.current();
        match (&loaded.index, &loaded.fault) {
            (Some(index), _) => Ok(Arc::clone(index)),
            (None, Some(fault)) => Err(self.unavailable(&fault.to_string())),
            (None, None) => Err(self.unavailable("it has not been read")),
        }
    }

    fn unavailable(&self, cause: &str) -> TrustError {
        ListRefusal::Unavailable { path: self.path.clone(), cause: cause.to_owned() }.into()
    }

    /// What is in force, after the file was read again if it changed.
    fn current(&self) -> Arc<Loaded> {
        let before = self.now.load_full();
        if before.stamp.is_some() && before.stamp == Stamp::of(&self.path) {
            return before;
        }
        let _reading = match self.reading.try_lock() {
            Ok(reading) => reading,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            // Another thread reads it. A first read is waited for: there is nothing else to answer from.
            Err(std::sync::TryLockError::WouldBlock) if before.index.is_some() => return before,
            Err(std::sync::TryLockError::WouldBlock) => self.reading.lock().unwrap_or_else(PoisonError::into_inner),
        };
        let last = self.now.load_full();
        if last.stamp.is_some() && last.stamp == Stamp::of(&self.path) {
            return last;
        }
        let next = Arc::new(Loaded::read(&self.path, last.index.clone()));
        let path = self.path.display();
        let entries = next.index.as_ref().map(|index| index.count);
        match &next.fault {
            None => tracing::info!(%path, entries, "the allowlist was read"),
            // Told once: a file that is gone is looked for at every question.
            fault if *fault == last.fault => {}
            Some(fault) if entries.is_some() => tracing::warn!(%path, %fault, "{KEPT}"),
            Some(fault) => tracing::warn!(%path, %fault, "{REFUSED}"),
        }
        self.now.store(Arc::clone(&next));
        next
    }
}

impl Verifier for Allowlist {
    fn name(&self) -> &VerifierName {
        &self.name
    }

    fn binding(&self) -> Binding {
        Binding::Listed
    }

    fn ready(&self, repository: &Repository, question: &Question, now: Timestamp) -> Option<Result<Vouch, TrustError>> {
        // The file is in memory; a change of it is noticed by a look at its metadata.
        Some(Self::vouch(self, repository, question, now).map(|vouch| vouch.by(&self.name)))
    }

    fn vouch<'a>(&'a self, repository: &'a Repository, question: &'a Question, asking: Asking) -> Vouching<'a> {
        Box::pin(std::future::ready(Self::vouch(self, repository, question, asking.now).map(|vouch| vouch.by(&self.name))))
    }
}

impl Loaded {
    /// The file as it is now; where it is no good, the index `before` stays in force.
    fn read(path: &Path, before: Option<Arc<Index>>) -> Self {
        let (list, stamp) = ListFile::read_stamped(path);
        match list {
            Ok(list) => Self { stamp, index: Some(Arc::new(Index::of(list))), fault: None },
            Err(fault) => Self { stamp, index: before, fault: Some(fault) },
        }
    }
}

impl Index {
    fn of(list: ListFile) -> Self {
        let mut index = Self { count: list.entries.len(), ..Self::default() };
        for entry in list.entries {
            let entry = Arc::new(entry);
            if let Some(digest) = entry.digest {
                index.by_digest.entry(digest).or_default().push(Arc::clone(&entry));
            }
            if let Some(config) = entry.image_id {
                index.by_config.entry(config).or_default().push(Arc::clone(&entry));
            }
            for reference in &entry.references {
                if let Some(tag) = Entry::listed_tag(reference) {
                    let tags = index.by_tag.entry(reference.repository.clone()).or_default();
                    tags.entry(tag).or_default().push(Arc::clone(&entry));
                }
            }
        }
        index
    }

    /// The entries that list this tag, in the file's order.
    fn listed(&self, repository: &Repository, tag: &Tag) -> &[Arc<Entry>] {
        self.by_tag.get(repository).and_then(|tags| tags.get(tag)).map_or(&[], Vec::as_slice)
    }

    fn any_of(
        &self,
        repository: &Repository,
        digests: &[Digest],
        config: Option<Digest>,
        now: Timestamp,
    ) -> Result<Vouch, TrustError> {
        let (mut expired, mut elsewhere) = (None, None);
        let manifests = digests.iter().map(|digest| (*digest, Hashed::Manifest));
        for known in manifests.chain(config.map(|config| (config, Hashed::Config))) {
            let mut live: Vec<&Entry> = Vec::new();
            let entries = match known {
                (digest, Hashed::Manifest) => self.by_digest.get(&digest),
                (config, Hashed::Config) => self.by_config.get(&config),
            };
            for entry in entries.into_iter().flatten() {
                if !entry.covers(repository) {
                    elsewhere = Some(entry);
                } else if entry.is_expired(now) {
                    expired = Some(entry);
                } else {
                    live.push(entry);
                }
            }
            if !live.is_empty() {
                let mut tags: Vec<Tag> = live.iter().flat_map(|entry| entry.tags_in(repository)).collect();
                tags.sort();
                tags.dedup();
                return Ok(vouch(repository, known, tags, &live));
            }
        }
        let what = digests.first().copied().or(config).map_or_else(|| told(&[]), |digest| told(&[digest]));
        match (expired, elsewhere.and_then(|entry| entry.references.first())) {
            (None, Some(other)) => {
                let (listed, asked) = (other.repository.clone(), repository.clone());
                Err(ListRefusal::Elsewhere { what, listed, asked }.into())
            }
            (expired, _) => Err(refusal(expired, format!("{what} for `{repository}`"))),
        }
    }
}

/// The proof, from entries that hold now. With several, it holds as long as the last of them.
fn vouch(repository: &Repository, (digest, hashed): (Digest, Hashed), tags: Vec<Tag>, entries: &[&Entry]) -> Vouch {
    let forever = entries.iter().any(|entry| entry.expires.is_none());
    let mut signers: Vec<String> = entries.iter().filter_map(|entry| entry.added_by.clone()).collect();
    signers.sort();
    signers.dedup();
    Vouch {
        repository: repository.clone(),
        digest,
        hashed,
        verifier: VerifierName::ALLOWLIST,
        tags,
        role: String::new(),
        signers,
        expires: if forever { None } else { entries.iter().filter_map(|entry| entry.expires).max() },
        signed_at: None,
        freshness: Freshness::Fresh,
        scheme: None,
    }
}

/// Not listed; or listed, and `expired`.
fn refusal(expired: Option<&Arc<Entry>>, what: String) -> TrustError {
    match expired.and_then(|entry| entry.expires) {
        Some(end) => ListRefusal::Expired { what, end }.into(),
        None => ListRefusal::NotListed { what }.into(),
    }
}

/// The digests of one image, for a message: the first stands for all.
fn told(digests: &[Digest]) -> String {
    digests.first().map_or_else(|| "content without a digest".to_owned(), |digest| format!("`{digest}`"))
}

#[cfg(test)]
mod tests;
