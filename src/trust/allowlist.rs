//! The verifier that is a file: digests that an operator approved.
//!
//! [`Allowlist`] answers questions from the file as it is now: a changed file is read again at the next question. A file
//! that has become unreadable, or is gone, changes nothing: the last good one holds. Where there never was a good one,
//! every question is refused. [`mod@file`] knows the format and changes the file.
//!
//! Where a key is given, only what it has [`signed`] is a good file, and of that nothing older than what was in force before: [`kept`].

mod error;
pub mod file;
pub mod kept;
mod parts;
pub mod signed;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;

pub use self::error::{ListRefusal, remedy};
use self::file::{Entry, FileFault, ListFile, Stamp, read_stamped};
use self::kept::Shelf;
use self::signed::{ListKey, Opened};
use super::stated::{Facts, Stated};
use super::{Asking, Binding, Freshness, Hashed, ListStats, Question, TrustError, Verifier, VerifierName, Vouch, Vouching};
use crate::image::{Digest, Repository, Tag};

const KEPT: &str = "the allowlist cannot be read: the last good one holds";
const REFUSED: &str = "the allowlist cannot be read: everything that needs it is refused";
/// Most news that wait to be recorded. They are fetched each second.
const NEWS: usize = 16;

/// The allowlist of a file. Questions are answered on the calling thread: one `stat`, and a read if the file changed.
#[derive(Debug)]
pub struct Allowlist {
    name: VerifierName,
    path: PathBuf,
    /// Who must have signed it, and where the newest that was is kept.
    signing: Option<Signing>,
    now: ArcSwap<Loaded>,
    /// What became of signed lists, for the record.
    news: Mutex<Vec<String>>,
    /// Held while the file is read, so that one thread reads it; the others answer from what is there.
    reading: Mutex<()>,
}

/// What a list has to be besides readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signing {
    /// Who must have signed it.
    pub key: ListKey,
    /// Where the newest that was in force is kept.
    pub shelf: Shelf,
}

/// What is known of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Entries in force; `None`: there never was a good file, and everything is refused.
    pub entries: Option<usize>,
    /// What is wrong with the file as it is now; then the entries are those of the last good one.
    pub fault: Option<FileFault>,
    /// The serial of what is in force, where that must be signed.
    pub serial: Option<u64>,
}

#[derive(Debug, Default)]
struct Loaded {
    /// The file as last looked at, good or not. `None`: read it again.
    stamp: Option<Stamp>,
    good: Option<Good>,
    fault: Option<FileFault>,
    /// What is in force is not kept for the next start yet.
    is_unkept: bool,
    /// No list of the key was known before it.
    is_first: bool,
}

/// A list that is in force.
#[derive(Debug, Clone)]
struct Good {
    index: Arc<Index>,
    /// Of its text; of a signed one, of what was signed.
    digest: Digest,
    /// Of a signed one.
    serial: Option<u64>,
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
        if let Some(fault) = &loaded.fault {
            loaded.good = earlier(fault).and_then(|text| Good::of(text.as_bytes()).ok());
        }
        Self::made(path, None, loaded)
    }

    /// The allowlist in the file at `path`, of which only what is signed counts; where the file cannot be used, or is gone, the newest that
    /// is kept.
    #[must_use]
    pub fn load_signed(path: impl Into<PathBuf>, signing: Signing) -> Self {
        let path = path.into();
        let list = Self::made(path, Some(signing), Loaded::default());
        list.current();
        list
    }

    fn made(path: PathBuf, signing: Option<Signing>, loaded: Loaded) -> Self {
        if let Some(fault) = &loaded.fault {
            let told = if loaded.good.is_some() { KEPT } else { REFUSED };
            tracing::error!(path = %path.display(), %fault, "{told}");
        }
        Self {
            name: VerifierName::ALLOWLIST,
            path,
            signing,
            now: ArcSwap::from_pointee(loaded),
            news: Mutex::default(),
            reading: Mutex::new(()),
        }
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

    /// By what that which is in force is told from others; `None`: nothing is.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.current().good.as_ref().map(|good| good.digest)
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who must have signed it, and where the newest is kept; `None`: nobody must.
    #[must_use]
    pub const fn signing(&self) -> Option<&Signing> {
        self.signing.as_ref()
    }

    /// What became of signed lists since the last call, in words for the record. What could not be kept before is kept now, if it can be.
    pub fn news(&self) -> Vec<String> {
        let loaded = self.current();
        if loaded.is_unkept
            && let Some(signing) = &self.signing
        {
            let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
            self.now.store(Arc::new(Loaded::read_signed(&self.path, signing, self.now.load_full().good.as_ref())));
        }
        std::mem::take(&mut *self.told())
    }

    fn told(&self) -> MutexGuard<'_, Vec<String>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known of the file, after a look at it.
    #[must_use]
    pub fn status(&self) -> Status {
        let loaded = self.current();
        let good = loaded.good.as_ref();
        Status {
            entries: good.map(|good| good.index.count),
            fault: loaded.fault.clone(),
            serial: good.and_then(|good| good.serial),
        }
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
        match (&loaded.good, &loaded.fault) {
            (Some(good), _) => Ok(Arc::clone(&good.index)),
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
        if before.is_of(Stamp::of(&self.path)) {
            return before;
        }
        let _reading = match self.reading.try_lock() {
            Ok(reading) => reading,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => PoisonError::into_inner(poisoned),
            // Another thread reads it. A first read is waited for: there is nothing else to answer from.
            Err(std::sync::TryLockError::WouldBlock) if before.good.is_some() => return before,
            Err(std::sync::TryLockError::WouldBlock) => self.reading.lock().unwrap_or_else(PoisonError::into_inner),
        };
        let last = self.now.load_full();
        if last.is_of(Stamp::of(&self.path)) {
            return last;
        }
        let next = Arc::new(match &self.signing {
            None => Loaded::read(&self.path, last.good.clone()),
            Some(signing) => Loaded::read_signed(&self.path, signing, last.good.as_ref()),
        });
        self.tell(&last, &next);
        self.now.store(Arc::clone(&next));
        next
    }

    /// Says what has become of the file; once, since a file that is gone is looked for at every question.
    fn tell(&self, last: &Loaded, next: &Loaded) {
        let path = self.path.display();
        let entries = next.good.as_ref().map(|good| good.index.count);
        match &next.fault {
            None => tracing::info!(%path, entries, "the allowlist was read"),
            fault if *fault == last.fault => {}
            Some(fault) if entries.is_some() => tracing::warn!(%path, %fault, "{KEPT}"),
            Some(fault) => tracing::warn!(%path, %fault, "{REFUSED}"),
        }
        let serial = |loaded: &Loaded| loaded.good.as_ref().and_then(|good| good.serial);
        let Some(signing) = &self.signing else { return };
        let mut news = Vec::new();
        match (serial(last), serial(next)) {
            (before, Some(now)) if before != Some(now) => {
                let earlier = match (before, next.is_first) {
                    (Some(before), _) => format!("; before it was {before}"),
                    (None, true) => {
                        "; no earlier serial of this key is known here, so an older list would have been believed too".to_owned()
                    }
                    (None, false) => String::new(),
                };
                news.push(format!(
                    "allowlist `{}`: serial {now}, signed by key {}, is in force{earlier}",
                    self.name,
                    signing.key.id()
                ));
            }
            _ => {}
        }
        if let Some(fault) = next.fault.as_ref().filter(|_| next.fault != last.fault) {
            let then = serial(next).map_or_else(
                || "no earlier one is kept, so every image that needs it is refused".to_owned(),
                |serial| format!("serial {serial} stays in force"),
            );
            news.push(format!("allowlist `{}`: the file is refused: {fault}; {then}", self.name));
        }
        for news in news {
            tracing::warn!("{news}");
            let mut told = self.told();
            if told.len() < NEWS {
                told.push(news);
            }
        }
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

    fn list(&self) -> Option<ListStats> {
        let Status { entries, fault, serial } = self.status();
        Some(ListStats { is_good: fault.is_none(), entries: entries.unwrap_or(0), serial })
    }

    fn vouch<'a>(&'a self, repository: &'a Repository, question: &'a Question, asking: Asking) -> Vouching<'a> {
        Box::pin(std::future::ready(Self::vouch(self, repository, question, asking.now).map(|vouch| vouch.by(&self.name))))
    }
}

impl Loaded {
    /// Whether it was made of the file with this stamp, or of there being none.
    fn is_of(&self, now: Option<Stamp>) -> bool {
        self.stamp == now && (now.is_some() || self.fault == Some(FileFault::Missing))
    }

    /// The file as it is now; where it is no good, what was good `before` stays in force.
    fn read(path: &Path, before: Option<Good>) -> Self {
        let (text, stamp) = read_stamped(path);
        match text.and_then(|text| Good::of(&text)) {
            Ok(good) => Self { stamp, good: Some(good), ..Self::default() },
            Err(fault) => Self { stamp, good: before, fault: Some(fault), ..Self::default() },
        }
    }

    /// The file as it is now, if it is signed and no older than what was in force: `before` by this process, or by whichever kept it.
    fn read_signed(path: &Path, signing: &Signing, before: Option<&Good>) -> Self {
        let Signing { key, shelf } = signing;
        let kept = shelf.newest(key).unwrap_or_else(|fault| {
            tracing::error!(%fault, key = key.id(), "the signed allowlist that is kept in the state folder cannot be used: how far serials got is lost");
            None
        });
        let kept = kept.map(Good::from);
        let is_kept = |good: &Good| kept.as_ref().is_some_and(|kept| kept.digest == good.digest);
        let known = [before, kept.as_ref()].into_iter().flatten().max_by_key(|good| good.serial);
        let (text, stamp) = read_stamped(path);
        let now = text.and_then(|text| {
            let good = Good::from(key.open(&text)?);
            good.follows(known)?;
            Ok((good, text))
        });
        match now {
            Ok((good, text)) => {
                let is_first = known.is_none();
                // Also where it could not be kept it counts: what it takes back would run on otherwise.
                let written = if is_kept(&good) { Ok(()) } else { shelf.keep(key, &text) };
                if let Err(error) = &written {
                    tracing::error!(%error, "the signed allowlist could not be kept for the next start; tried again each second");
                }
                Self { stamp, good: Some(good), fault: None, is_unkept: written.is_err(), is_first }
            }
            Err(fault) => Self { stamp, good: known.cloned(), fault: Some(fault), ..Self::default() },
        }
    }
}

impl Good {
    fn of(text: &[u8]) -> Result<Self, FileFault> {
        let list = ListFile::parse(text)?;
        Ok(Self { index: Arc::new(Index::of(list)), digest: Digest::of(text), serial: None })
    }

    /// Whether this signed list may take the place of the one that is known.
    fn follows(&self, known: Option<&Self>) -> Result<(), FileFault> {
        let Some(known) = known else { return Ok(()) };
        let (found, seen) = (self.serial.unwrap_or(0), known.serial.unwrap_or(0));
        match found.cmp(&seen) {
            std::cmp::Ordering::Greater => Ok(()),
            std::cmp::Ordering::Equal if self.digest == known.digest => Ok(()),
            std::cmp::Ordering::Equal => Err(FileFault::SameSerial { serial: found }),
            std::cmp::Ordering::Less => Err(FileFault::Older { found, seen }),
        }
    }
}

impl From<Opened> for Good {
    fn from(opened: Opened) -> Self {
        let Opened { list, serial, digest } = opened;
        Self { index: Arc::new(Index::of(list)), digest, serial: Some(serial) }
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
        stated: entries.iter().flat_map(|entry| stated(entry)).collect(),
        scheme: None,
    }
}

/// What an operator's own reports say.
fn stated(entry: &Entry) -> Vec<Arc<Stated>> {
    let of = |at, facts| Arc::new(Stated { predicate_type: String::new(), at, facts, is_judged: false });
    let scan = entry.scan.as_ref().map(|scan| of(Some(scan.at), Facts::Scan(scan.clone())));
    let sbom = entry.sbom.as_ref().map(|sbom| of(None, Facts::Sbom(sbom.clone())));
    scan.into_iter().chain(sbom).collect()
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
