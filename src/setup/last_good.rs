//! What the operator's files held when they last were good, so that one that is half written, or cannot be read, does not replace
//! rules that worked: in memory, and in the state folder for the next start.
//!
//! A file that is *gone* was taken away by somebody, and has no content any more. One that is there and faulty counts as what it
//! last was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::mounts::host_path;
use super::state::{LAST_GOOD_ALLOWLIST, LAST_GOOD_FILES};
use crate::files::{Outlives, Texts, read_bytes, read_owned, replace};
use crate::text::clean;
use crate::trust::allowlist::file::{FileFault as ListFault, ListFile, Stamp};
use crate::trust::allowlist::kept::{Keeping, Shelf};
use crate::trust::allowlist::signed::ListKey;
use crate::trust::allowlist::{Allowlist, Signing};

/// Largest file of these read back, bytes: what the operator's files may hold, as JSON. Stops a foreign one from filling memory.
const KEPT_BYTES: u64 = 64 << 20;
/// Largest file that a policy names. Stops a wrong path from filling memory.
const NAMED_BYTES: u64 = 4 << 20;
/// The mode of both.
const PRIVATE: u32 = 0o600;

/// Contents by what they are for. Nothing here prints them.
#[derive(Default)]
pub(crate) struct LastGood {
    /// The state folder; `None`: nothing is known of what was before.
    folder: Option<PathBuf>,
    /// Whether what comes is kept there as well.
    access: Access,
    /// Folders that the gate sees elsewhere than this process: here, and there.
    mounts: Vec<(String, String)>,
    /// As they last were good.
    good: BTreeMap<String, Texts>,
    /// What the rules that are being made are made of.
    used: BTreeMap<String, Texts>,
    /// What is faulty, while the rules are being made.
    faults: Vec<FileFault>,
    /// What last was good is not on disk yet.
    is_unwritten: bool,
    /// Which allowlists are kept, by their paths.
    lists: BTreeMap<PathBuf, Stamp>,
    /// Allowlists that are kept count no more, and could not be removed yet.
    are_lists_outlived: bool,
    /// That something could not be kept has been told: a full disk is told once.
    is_told: bool,
}

/// What is done with the state folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Access {
    /// A command only looks.
    #[default]
    Looks,
    /// A gate keeps what comes.
    Keeps,
}

/// What is told of a file of keys that was taken away: nothing counts in its place.
const KEYS_ENDED: &str = ", and its keys count no more";

/// What counts in the place of a file of which this is told, in words behind it.
pub(crate) fn in_its_place(fault: &str) -> &'static str {
    if fault.ends_with(KEYS_ENDED) { "" } else { "; what it held when it last was good counts, also after a restart" }
}

/// A file that is not what it should be, in whose place its last good content counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileFault {
    /// What is wrong, with the file's name.
    pub(crate) why: String,
    /// The files, and what they were when they were read: once one is another, it is worth a look.
    stamps: Vec<(PathBuf, Option<Stamp>)>,
}

/// An allowlist that is kept, with its path: another one was never good.
#[derive(Serialize, Deserialize)]
struct KeptList {
    path: PathBuf,
    text: String,
}

impl LastGood {
    /// For a gate: what an earlier one kept in this state folder, where what comes is kept as well.
    pub(crate) fn of(folder: &Path) -> Self {
        Self { access: Access::Keeps, ..Self::look(folder, &[]) }
    }

    /// For a command: what the gate of this state folder kept. `mounts` are folders of the host that the gate is shown: there, and
    /// inside.
    pub(crate) fn look(folder: &Path, mounts: &[(String, String)]) -> Self {
        let path = folder.join(LAST_GOOD_FILES);
        let (mut good, is_unwritten) = match read_bytes(&path, KEPT_BYTES).map(|bytes| serde_json::from_slice(&bytes)) {
            Ok(Ok(good)) => (good, false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => (BTreeMap::<String, Texts>::new(), false),
            // The cause is not told: it may quote a secret.
            Ok(Err(_)) | Err(_) => {
                tracing::error!(path = %path.display(), "the last good content of files cannot be read, and is made again");
                (BTreeMap::new(), true)
            }
        };
        for (path, _) in good.values_mut().flat_map(|texts| &mut texts.0) {
            *path = seen(path, mounts);
        }
        Self { folder: Some(folder.to_owned()), mounts: mounts.to_vec(), good, is_unwritten, ..Self::default() }
    }

    /// Rules are about to be made.
    pub(crate) fn begin(&mut self) {
        self.used.clear();
        self.faults.clear();
    }

    /// What `make` makes of the files as they are now; where that fails, of what they held when it last worked. Those that are gone
    /// count no more.
    pub(crate) fn make<T>(
        &mut self,
        what: &str,
        now: Result<Texts, String>,
        at: &[PathBuf],
        make: impl Fn(&Texts) -> Result<T, String>,
    ) -> Result<T, String> {
        if now.as_ref().map_or(true, |texts| make(texts).is_err()) {
            self.forget_gone(what);
        }
        self.made(what, now, at, make)
    }

    /// The same of files that the policy names, which only root may change. One that is gone is as faulty as any other, and what all of them
    /// last held counts; what others held under this name does not.
    pub(crate) fn named<T>(
        &mut self,
        what: &str,
        paths: &[PathBuf],
        make: impl Fn(&Texts) -> Result<T, String>,
    ) -> Result<T, String> {
        let read = |path: &PathBuf| match read_owned(path, NAMED_BYTES) {
            Ok(text) => Ok((path.clone(), text)),
            Err(error) => Err(format!("`{}` cannot be used: {error}", path.display())),
        };
        let now = paths.iter().map(read).collect::<Result<_, _>>().map(Texts);
        self.made(what, now, paths, |texts| {
            let is_of_these = texts.0.iter().map(|(path, _)| path).eq(paths);
            if is_of_these { make(texts) } else { Err("these files were never read".to_owned()) }
        })
    }

    /// The same of files of keys: one that was there and is gone was taken away, to end its key, and its text is empty from then on. One that
    /// is there and faulty is not; what it last held counts, and that is told.
    pub(crate) fn named_keys<T>(
        &mut self,
        what: &str,
        paths: &[PathBuf],
        make: impl Fn(&Texts) -> Result<T, String>,
    ) -> Result<T, String> {
        let is_of_these = |texts: &Texts| texts.0.iter().map(|(path, _)| path).eq(paths);
        let is_known = self.good.get(what).is_some_and(is_of_these);
        let shown = |path: &Path| path.file_name().map(|name| clean(&name.to_string_lossy())).unwrap_or_default();
        let (mut now, mut whys) = (Texts::default(), Vec::new());
        for path in paths {
            let text = match read_owned(path, NAMED_BYTES) {
                Ok(text) if text.trim().is_empty() => Err(format!("`{}` is empty", path.display())),
                Ok(text) => Ok(text),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && is_known => {
                    let why = format!("`{}` is gone{KEYS_ENDED}", path.display());
                    self.faults.push(FileFault { why: clean(&why), stamps: vec![(path.clone(), None)] });
                    self.end(what, path);
                    Ok(String::new())
                }
                Err(error) => Err(format!("`{}` cannot be used: {error}", path.display())),
            };
            now.0.push((path.clone(), text.clone().unwrap_or_default()));
            whys.extend(text.err());
        }
        let counting = |good: &Texts| {
            let differs = good.0.iter().zip(&now.0).filter(|((_, good), (_, now))| !good.is_empty() && good != now);
            differs.map(|((path, _), _)| format!("`{}`", shown(path))).collect::<Vec<_>>().join(", ")
        };
        let counting = self.good.get(what).filter(|_| is_known).map(counting).filter(|names| !names.is_empty());
        let read = if whys.is_empty() { make(&now).map(|_| now) } else { Err(whys.join("; ")) };
        let told = |why: String| match &counting {
            Some(names) => format!("what was last held in {names} still counts ({why})"),
            None => why,
        };
        self.made(what, read.map_err(told), paths, |texts| {
            if is_of_these(texts) { make(texts) } else { Err("these files were never read".to_owned()) }
        })
    }

    /// A file that was taken away holds nothing any more.
    fn end(&mut self, what: &str, gone: &Path) {
        let texts = self.good.get_mut(what).into_iter().flat_map(|texts| &mut texts.0);
        for (_, text) in texts.filter(|(path, text)| path == gone && !text.is_empty()) {
            text.clear();
            self.is_unwritten = true;
        }
    }

    fn made<T>(
        &mut self,
        what: &str,
        now: Result<Texts, String>,
        at: &[PathBuf],
        make: impl Fn(&Texts) -> Result<T, String>,
    ) -> Result<T, String> {
        let why = match now.and_then(|texts| Ok((make(&texts)?, texts))) {
            Ok((of_now, texts)) => {
                // Files that are gone leave nothing behind.
                if !texts.0.is_empty() {
                    self.used.insert(what.to_owned(), texts);
                }
                return Ok(of_now);
            }
            Err(why) => why,
        };
        let Some(Ok(of_before)) = self.good.get(what).map(&make) else { return Err(why) };
        if let Some(good) = self.good.get(what) {
            self.used.insert(what.to_owned(), good.clone());
        }
        let stamps = at.iter().map(|path| (path.clone(), Stamp::of(path))).collect();
        self.faults.push(FileFault { why: clean(&why), stamps });
        Ok(of_before)
    }

    /// A file that is gone does not count again because another one is faulty: a key whose certificate is still there, a bundle that a
    /// setting still names.
    fn forget_gone(&mut self, what: &str) {
        let Some(texts) = self.good.get_mut(what) else { return };
        let before = texts.0.len();
        texts.0.retain(|(path, _)| path.try_exists().unwrap_or(true));
        self.is_unwritten |= texts.0.len() < before;
        if texts.0.is_empty() {
            self.good.remove(what);
        }
    }

    /// The rules are made: what they are made of is good.
    pub(crate) fn keep(&mut self) {
        if self.good != self.used {
            self.good = self.used.clone();
            self.is_unwritten = true;
        }
        self.write_out();
    }

    /// Writes what could not be written, or removed, before. Called each second.
    pub(crate) fn write_out(&mut self) {
        let Some(folder) = self.folder.as_ref().filter(|_| self.access == Access::Keeps) else { return };
        if self.is_unwritten {
            let path = folder.join(LAST_GOOD_FILES);
            let written = if self.good.is_empty() { remove(&path) } else { write(&path, &self.good) };
            self.is_unwritten = written.is_err();
            tell(&mut self.is_told, &written, &path);
        }
        if self.are_lists_outlived {
            let path = folder.join(LAST_GOOD_ALLOWLIST);
            let removed = remove(&path);
            self.are_lists_outlived = removed.is_err();
            tell(&mut self.is_told, &removed, &path);
        }
    }

    /// What the files held when they last were good: credentials are among them, so it is for hashing alone.
    pub(crate) const fn good(&self) -> &BTreeMap<String, Texts> {
        &self.good
    }

    /// The files in whose place their last good content counts.
    pub(crate) fn faults(&self) -> &[FileFault] {
        &self.faults
    }

    /// Whether one of them has changed since it was read.
    pub(crate) fn is_worth_a_look(&self) -> bool {
        self.faults.iter().flat_map(|fault| &fault.stamps).any(|(path, stamp)| Stamp::of(path) != *stamp)
    }

    /// The allowlist at this path; one that is there and faulty begins with what an earlier gate kept of it.
    pub(crate) fn allowlist(&self, path: &Path, key: Option<ListKey>) -> Allowlist {
        match key {
            Some(key) => Allowlist::load_signed(path, self.signing(key)),
            // One that is gone was taken away by somebody.
            None => Allowlist::load_or(path, |fault| if *fault == ListFault::Missing { None } else { self.kept_list(path) }),
        }
    }

    /// The allowlist at this path as a gate has it that had a good one: also where it is gone by now, what it last was holds.
    pub(crate) fn allowlist_in_force(&self, path: &Path, key: Option<ListKey>) -> Allowlist {
        match key {
            Some(key) => Allowlist::load_signed(path, self.signing(key)),
            None => Allowlist::load_or(path, |_| self.kept_list(path)),
        }
    }

    /// Lists by this key: the newest lies in the state folder.
    fn signing(&self, key: ListKey) -> Signing {
        let keeping = match self.access {
            Access::Keeps => Keeping::Keeps,
            Access::Looks => Keeping::Looks,
        };
        Signing { key, shelf: Shelf::new(self.folder.clone(), keeping) }
    }

    fn kept_list(&self, path: &Path) -> Option<String> {
        let kept = kept_lists(self.folder.as_ref()?);
        kept.into_iter().find(|kept| seen(&kept.path, &self.mounts) == path).map(|kept| kept.text)
    }

    /// Keeps the good ones of these allowlists where one has changed, and no other; those that must be signed keep themselves. What fails is tried again: an older list must not
    /// count at a start.
    pub(crate) fn keep_allowlists<'l>(&mut self, lists: impl Iterator<Item = &'l Allowlist>) {
        let Some(folder) = self.folder.clone().filter(|_| self.access == Access::Keeps) else { return };
        let path = folder.join(LAST_GOOD_ALLOWLIST);
        let lists: Vec<(&Path, Option<Stamp>)> =
            lists.filter(|list| list.signing().is_none()).map(|list| (list.path(), list.good_stamp())).collect();
        let written = if lists.is_empty() {
            self.lists.clear();
            remove(&path)
        } else {
            let is_kept = |(path, stamp): &(&Path, Option<Stamp>)| {
                // One that is faulty now stays kept as it was.
                stamp.as_ref().is_none_or(|stamp| self.lists.get(*path) == Some(stamp))
            };
            if lists.iter().all(is_kept) && self.lists.keys().all(|kept| lists.iter().any(|(path, _)| path == kept)) {
                return;
            }
            let earlier = kept_lists(&folder);
            let kept = lists.iter().filter_map(|(path, stamp)| {
                // What is faulty by now is not kept; what it is by then, the next look says.
                let now = stamp.as_ref().and_then(|_| ListFile::good_text(path).ok());
                let before = || earlier.iter().find(|kept| kept.path == *path).map(|kept| kept.text.clone());
                Some(KeptList { path: (*path).to_owned(), text: now.or_else(before)? })
            });
            let written = write(&path, &kept.collect::<Vec<_>>());
            self.lists = match &written {
                Ok(()) => lists.iter().filter_map(|(path, stamp)| Some(((*path).to_owned(), (*stamp)?))).collect(),
                Err(_) => BTreeMap::new(),
            };
            written
        };
        self.are_lists_outlived = written.is_err();
        tell(&mut self.is_told, &written, &path);
    }
}

/// The allowlists that a gate keeps in this folder.
fn kept_lists(folder: &Path) -> Vec<KeptList> {
    let bytes = read_bytes(&folder.join(LAST_GOOD_ALLOWLIST), KEPT_BYTES).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// A path of the gate's, as this process sees it.
fn seen(path: &Path, mounts: &[(String, String)]) -> PathBuf {
    path.to_str().map_or_else(|| path.to_owned(), |path| host_path(path, mounts).into())
}

/// After a command has changed the allowlist at `path`: what the gate with this state folder kept of it before does not count
/// again. The path may be another inside the gate, so it is told by its text: what is kept of it as it is now stays.
pub(crate) fn forget_earlier(folder: &Path, path: &Path) -> std::io::Result<()> {
    let is_of_now = || {
        let now = ListFile::good_text(path).ok()?;
        // Of several it is not known which it is.
        Some(matches!(&kept_lists(folder)[..], [kept] if kept.text == now))
    };
    if is_of_now() == Some(true) { Ok(()) } else { remove(&folder.join(LAST_GOOD_ALLOWLIST)) }
}

/// Puts it in the place of what was kept before. Where that fails, nothing is kept: what is older must not count again.
fn write(path: &Path, kept: &impl Serialize) -> std::io::Result<()> {
    let written =
        serde_json::to_vec(kept).map_err(std::io::Error::from).and_then(|bytes| replace(path, &bytes, PRIVATE, Outlives::Power));
    if written.is_err() {
        remove(path)?;
    }
    written
}

fn tell(is_told: &mut bool, done: &std::io::Result<()>, path: &Path) {
    if let Err(error) = done
        && !*is_told
    {
        tracing::warn!(%error, path = %path.display(), "what last was good could not be kept for the next start; tried again");
    }
    *is_told = done.is_err();
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
