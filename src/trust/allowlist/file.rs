//! The allowlist's file: its format, who may write it, and how it is changed.
//!
//! ```json
//! {"version": 1, "entries": [{"digest": "sha256:…", "references": ["reg.example/app:1.0"], "reason": "…"}]}
//! ```

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::num::NonZeroU64;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};

use super::super::{Hashed, VerifierName};
use super::parts::Parts;
use crate::files::{Outlives, replace};
use crate::image::{Digest, Reference, Repository, Tag};
use crate::text::{clean, fit};
use crate::trust::stated::{Contents, Findings};

/// The one version of the format.
const VERSION: u64 = 1;
/// Largest file, bytes: about what [`ENTRIES`] full entries take. Stops a wrong path from filling memory.
pub(super) const FILE_BYTES: u64 = 8 << 20;
/// Most entries. Keeps a reload within some 50 ms and 20 MB.
const ENTRIES: usize = 10_000;
/// Most references, and most layers, of one entry. Stops one entry from being a file of its own.
const LIST: usize = 512;
/// Most platforms of one entry: more than any image has. Stops the same.
pub const PLATFORMS: usize = 64;
/// Longest free text, bytes: it goes into records and tables.
const TEXT_BYTES: usize = 1024;
/// How long a writer waits for another one. A writer holds the lock for some milliseconds.
const LOCK_TIME: Duration = Duration::from_secs(2);

/// What the file says, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListFile {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Which of several signed lists is the newest; one that is not signed needs none.
    pub serial: Option<u64>,
    /// The verifier whose list it is; one that is not signed need not say.
    pub list: Option<String>,
    /// Whether a signature stands in the file, by whomever.
    pub is_signed: bool,
}

/// An approved image. It has a digest, an image id, or both; the rest may be missing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Digest of the manifest or index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Image id in the classic store: the only evidence there for images that never had a digest. It is compared with image
    /// ids alone, as `digest` is with digests of manifests; in the containerd store an image's id is its `digest`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_id: Option<Digest>,
    /// Where it is approved: the entry vouches in these repositories, and under these tags. Empty: in any repository,
    /// under no tag. One without tag and digest means `latest`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
    /// `linux/amd64`; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Digests of the uncompressed layers, bottom first; for people and for comparing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Digest>,
    /// What an index has for each platform; for people and for comparing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<PlatformEntry>,
    /// What a scan found, by the word of who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan: Option<Findings>,
    /// What is in it, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sbom: Option<Contents>,
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_by: Option<String>,
    /// When, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added_at: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// From this moment on the entry vouches for nothing, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// What an index has for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlatformEntry {
    /// `linux/amd64`.
    pub platform: String,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Digests of its uncompressed layers, bottom first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Digest>,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileFault {
    /// There is none.
    #[error("there is no such file")]
    Missing,
    /// The system refuses.
    #[error("it cannot be read: {0}")]
    Io(String),
    /// A folder, a device, a socket.
    #[error("it is not a regular file")]
    NotAFile,
    /// Someone besides its owner may write the file, or put another one in its place.
    #[error("{what} may be written by others than its owner (mode {mode:04o}): chmod go-w it")]
    OthersMayWrite {
        /// `it`, `its folder` or `its lock file`.
        what: &'static str,
        /// The permission bits.
        mode: u32,
    },
    /// The owner is neither root nor the user that the gate runs as.
    #[error("{what} belongs to user {uid}, not to root: chown it")]
    Owner {
        /// `it` or `its folder`.
        what: &'static str,
        /// The owner's numeric id.
        uid: u32,
    },
    /// Over `FILE_BYTES`.
    #[error("it is larger than {FILE_BYTES} bytes")]
    TooLarge,
    /// Over `ENTRIES`.
    #[error("it has more than {ENTRIES} entries")]
    TooMany,
    /// It was being written while it was read.
    #[error("it changed while it was read")]
    Unstable,
    /// No JSON, unknown or repeated keys, wrong types.
    #[error("line {line}: {cause}")]
    Json {
        /// From 1.
        line: usize,
        /// What is wrong there.
        cause: String,
    },
    /// Another version of the format.
    #[error("its version is {0}, and only {VERSION} is known")]
    Version(u64),
    /// An entry that means nothing, or two things.
    #[error("entry {place}: {what}")]
    Entry {
        /// From 1.
        place: usize,
        /// What is wrong with it.
        what: String,
    },
    /// It must be signed, and is not.
    #[error("it is not signed, and must be by key {key}: its last lines are not those that `allowlist sign` writes")]
    Unsigned {
        /// The key's id.
        key: String,
    },
    /// It is signed by another key, or was changed since.
    #[error("it is not signed by key {key}, or was changed after it was signed")]
    Signature {
        /// The key's id.
        key: String,
    },
    /// It is signed, and nothing says which of several is newer.
    #[error("it is signed and has no serial")]
    NoSerial,
    /// It is signed as another verifier's list, or as nobody's.
    #[error("it is signed as {}, and not as that of verifier `{due}`: sign it again (allowlist sign --list {due})", whose(found.as_deref()))]
    OtherList {
        /// Whose it had to be.
        due: VerifierName,
        /// Whose it says it is.
        found: Option<String>,
    },
    /// A newer list was seen before.
    #[error("its serial is {found}, and a list with serial {seen} was in force before: it is an older one")]
    Older {
        /// Its own.
        found: u64,
        /// The highest before.
        seen: u64,
    },
    /// Two lists have one serial.
    #[error("its serial is {serial}, and another list with this serial was in force before")]
    SameSerial {
        /// Of both.
        serial: u64,
    },
    /// The key was taken away.
    #[error("the file of the key that signs it is gone: no list counts as signed")]
    KeyGone,
}

/// Why a file was not changed. It is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The file as it is cannot be used, and is not overwritten.
    #[error(transparent)]
    Fault(#[from] FileFault),
    /// What it was to become cannot be used either.
    #[error("the changed list would not be good: {0}")]
    Result(FileFault),
    /// A changed list would not be signed any more.
    #[error(
        "it is signed, and a change here would not be: write the next one with --out FILE, and sign that elsewhere (allowlist sign)"
    )]
    Signed,
    /// The list to be signed is not put in the place of another file.
    #[error("there is such a file already; to change it say --file in place of --out")]
    Exists,
    /// Another writer holds the lock.
    #[error("another command is changing the file")]
    Locked,
    /// The system refuses.
    #[error("the file cannot be written: {0}")]
    Io(String),
}

/// By what a changed file is told from the one that was read. A file put in place by renaming has another inode; one
/// written in place has another time or length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp([i128; 7]);

impl Entry {
    /// The digests it is for: its digest and its image id.
    pub fn digests(&self) -> impl Iterator<Item = Digest> {
        let image_id = self.image_id.filter(|id| self.digest.as_ref() != Some(id));
        self.digest.into_iter().chain(image_id)
    }

    /// What stands for it: its digest, or its image id where it has none.
    pub(super) fn foremost(&self) -> Option<(Digest, Hashed)> {
        let digest = self.digest.map(|digest| (digest, Hashed::Manifest));
        digest.or(self.image_id.map(|config| (config, Hashed::Config)))
    }

    /// Whether it is for this digest or image id.
    #[must_use]
    pub fn is_for(&self, digest: &Digest) -> bool {
        self.digest.as_ref() == Some(digest) || self.image_id.as_ref() == Some(digest)
    }

    /// Whether it vouches in this repository.
    #[must_use]
    pub fn covers(&self, repository: &Repository) -> bool {
        self.references.is_empty() || self.references.iter().any(|reference| reference.repository == *repository)
    }

    /// The tags of this repository that it lists.
    pub fn tags_in(&self, repository: &Repository) -> impl Iterator<Item = Tag> {
        self.references.iter().filter(|reference| reference.repository == *repository).filter_map(Self::listed_tag)
    }

    /// The tag that a listed reference stands for: its own, or `latest` where it has neither tag nor digest.
    #[must_use]
    pub fn listed_tag(reference: &Reference) -> Option<Tag> {
        match (&reference.tag, &reference.digest) {
            (Some(tag), _) => Some(tag.clone()),
            (None, None) => Some(Tag::latest()),
            (None, Some(_)) => None,
        }
    }

    /// Whether it has stopped to vouch.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    /// What makes it no entry.
    fn fault(&self) -> Option<String> {
        let Some(first) = self.digest.or(self.image_id) else { return Some("it has neither digest nor image_id".to_owned()) };
        if self.references.len() > LIST || self.layers.len() > LIST {
            return Some(format!("it has more than {LIST} references or layers"));
        }
        if self.platforms.len() > PLATFORMS || self.platforms.iter().any(|one| one.layers.len() > LIST) {
            return Some(format!("it has more than {PLATFORMS} platforms, or one with more than {LIST} layers"));
        }
        if self.scan.as_ref().is_some_and(|scan| scan.worst.len() > LIST) {
            return Some(format!("it names more than {LIST} findings"));
        }
        let of_scan = self.scan.iter().flat_map(|scan| scan.worst.iter().chain([&scan.scanner]));
        let of_reports = of_scan.chain(self.sbom.iter().map(|sbom| &sbom.format));
        let texts = [&self.platform, &self.added_by, &self.reason].into_iter().flatten().chain(of_reports);
        if texts.chain(self.platforms.iter().map(|one| &one.platform)).any(|text| text.len() > TEXT_BYTES) {
            return Some(format!("a text in it is longer than {TEXT_BYTES} bytes"));
        }
        let other = self.references.iter().find(|reference| reference.digest.is_some_and(|digest| !self.is_for(&digest)));
        other.map(|other| format!("its reference `{other}` names another digest than `{first}`"))
    }
}

fn whose(list: Option<&str>) -> String {
    list.map_or_else(|| "nobody's list".to_owned(), |list| format!("the list of verifier `{}`", fit(&clean(list), 40)))
}

impl FileFault {
    /// Whether it is about the signature: then correcting the file here does not help.
    #[must_use]
    pub const fn is_of_signature(&self) -> bool {
        match self {
            Self::Unsigned { .. }
            | Self::Signature { .. }
            | Self::NoSerial
            | Self::OtherList { .. }
            | Self::Older { .. }
            | Self::SameSerial { .. }
            | Self::KeyGone => true,
            Self::Missing
            | Self::Io(_)
            | Self::NotAFile
            | Self::OthersMayWrite { .. }
            | Self::Owner { .. }
            | Self::TooLarge
            | Self::TooMany
            | Self::Unstable
            | Self::Json { .. }
            | Self::Version(_)
            | Self::Entry { .. } => false,
        }
    }
}

impl ListFile {
    /// Reads the text of a file, as far as it is the list's: a signature behind it is left out, and says nothing here.
    pub fn parse(text: &[u8]) -> Result<Self, FileFault> {
        // The version first: a later one may have other keys, and is to be told as what it is.
        #[derive(Deserialize)]
        struct Head {
            version: u64,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Whole {
            #[serde(rename = "version")]
            _version: u64,
            #[serde(default)]
            serial: Option<NonZeroU64>,
            #[serde(default)]
            list: Option<String>,
            entries: Vec<Entry>,
        }
        if text.len() as u64 > FILE_BYTES {
            return Err(FileFault::TooLarge);
        }
        let Parts { body, signature } = Parts::of(text);
        let head: Head = serde_json::from_slice(&body).map_err(|error| json_fault(&error))?;
        if head.version != VERSION {
            return Err(FileFault::Version(head.version));
        }
        let whole: Whole = serde_json::from_slice(&body).map_err(|error| json_fault(&error))?;
        let Whole { serial, list, entries, .. } = whole;
        let list = Self { entries, serial: serial.map(NonZeroU64::get), list, is_signed: signature.is_some() };
        list.check()?;
        Ok(list)
    }

    /// Reads the file at `path`, if only its owner may write it.
    pub fn read(path: &Path) -> Result<Self, FileFault> {
        read_checked(path).and_then(|text| Self::parse(&text))
    }

    /// The text of the file at `path`, if it is a good one.
    pub fn good_text(path: &Path) -> Result<String, FileFault> {
        let text = read_checked(path)?;
        Self::parse(&text)?;
        String::from_utf8(text).map_err(|_| FileFault::Json { line: 1, cause: "it is not text".to_owned() })
    }

    /// The text of the file, without a signature.
    #[must_use]
    pub fn to_text(&self) -> String {
        #[derive(Serialize)]
        struct Whole<'a> {
            version: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            serial: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            list: Option<&'a str>,
            entries: &'a [Entry],
        }
        let whole = Whole { version: VERSION, serial: self.serial, list: self.list.as_deref(), entries: &self.entries };
        // Serialising these types cannot fail: no map has keys that are no text.
        let mut text = serde_json::to_string_pretty(&whole).unwrap_or_default();
        text.push('\n');
        text
    }

    /// The text of a list that is to be written.
    fn good_new_text(&self) -> Result<String, EditError> {
        self.check().map_err(EditError::Result)?;
        let text = self.to_text();
        if text.len() as u64 > FILE_BYTES { Err(EditError::Result(FileFault::TooLarge)) } else { Ok(text) }
    }

    /// Writes it to a file that is not there yet.
    pub fn write_new(&self, path: &Path) -> Result<(), EditError> {
        let text = self.good_new_text()?;
        let io = |error: io::Error| {
            if error.kind() == io::ErrorKind::AlreadyExists { EditError::Exists } else { EditError::Io(error.to_string()) }
        };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).map_err(io)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io)
    }

    fn check(&self) -> Result<(), FileFault> {
        if self.entries.len() > ENTRIES {
            return Err(FileFault::TooMany);
        }
        for (place, entry) in self.entries.iter().enumerate() {
            if let Some(what) = entry.fault() {
                return Err(FileFault::Entry { place: place + 1, what });
            }
        }
        Ok(())
    }
}

/// Changes the file at `path`; an absent one is made. Readers see the old file or the new one, never a part; after a
/// crash it is the old one or the new one. Writers wait for each other. Nothing is written when `change` alters nothing,
/// unless the file is new.
pub fn edit<T>(path: &Path, change: impl FnOnce(&mut ListFile) -> T) -> Result<T, EditError> {
    // What is replaced is the file that a link points to, not the link.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = folder_of(&path);
    std::fs::create_dir_all(&folder).map_err(|error| EditError::Io(error.to_string()))?;
    let _lock = lock(&path, &folder)?;
    let (before, mode) = match ListFile::read(&path) {
        Ok(list) => (Some(list), std::fs::metadata(&path).map_or(0o644, |now| now.mode() & 0o777)),
        Err(FileFault::Missing) => (None, 0o644),
        Err(fault) => return Err(fault.into()),
    };
    if before.as_ref().is_some_and(|list| list.is_signed) {
        return Err(EditError::Signed);
    }
    let mut list = before.clone().unwrap_or_default();
    let value = change(&mut list);
    if before.as_ref() != Some(&list) {
        let text = list.good_new_text()?;
        check_folder(&folder)?;
        // Nobody but the owner ever writes it.
        replace(&path, text.as_bytes(), mode & !0o022, Outlives::Power).map_err(|error| EditError::Io(error.to_string()))?;
    }
    Ok(value)
}

/// Takes the writers' lock, which goes with the process. It is on a file of its own that only its owner may open: whoever may read
/// the list or its folder could hold a lock on them for ever. The file stays, empty: one that is removed could be locked twice.
fn lock(path: &Path, folder: &Path) -> Result<File, EditError> {
    let io = |error: io::Error| EditError::Io(error.to_string());
    let mut name = std::ffi::OsString::from(".");
    name.extend([path.file_name().unwrap_or_default(), ".lock".as_ref()]);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // Neither through a link, nor waiting for the other end of a pipe.
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(folder.join(name))
        .map_err(io)?;
    // Others than the owner may have made it, where the folder lets them, or may open it.
    check_owner("its lock file", &file.metadata().map_err(io)?)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(io)?;
    let start = Instant::now();
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) if start.elapsed() < LOCK_TIME => std::thread::sleep(Duration::from_millis(20)),
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(EditError::Locked),
            Err(error) => return Err(EditError::Io(error.to_string())),
        }
    }
}

/// The file's bytes with the stamp of what was read, good or not.
pub(super) fn read_stamped(path: &Path) -> (Result<Vec<u8>, FileFault>, Option<Stamp>) {
    let before = Stamp::of(path);
    let text = read_checked(path);
    if before == Stamp::of(path) { (text, before) } else { (Err(FileFault::Unstable), None) }
}

/// The file's bytes, if only its owner may write it and its owner may be believed.
pub(super) fn read_checked(path: &Path) -> Result<Vec<u8>, FileFault> {
    // Opened without blocking: a FIFO in its place must not hang the gate.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file: File = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(|error| io_fault(&error.into()))?.into();
    // INVARIANT: what is checked is what is read, so the open file is asked, not the path.
    let metadata = file.metadata().map_err(|error| io_fault(&error))?;
    if !metadata.is_file() {
        return Err(FileFault::NotAFile);
    }
    check_owner("it", &metadata)?;
    check_folder(&folder_of(path))?;
    if let Ok(target) = std::fs::canonicalize(path) {
        check_folder(&folder_of(&target))?;
    }
    let mut text = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut text).map_err(|error| io_fault(&error))?;
    if text.len() as u64 > FILE_BYTES { Err(FileFault::TooLarge) } else { Ok(text) }
}

/// Who may put another file in its place? A sticky folder (`/tmp`) lets only the owners do so, the file's and its own.
fn check_folder(folder: &Path) -> Result<(), FileFault> {
    let metadata = std::fs::metadata(folder).map_err(|error| io_fault(&error))?;
    if metadata.mode() & 0o1000 != 0 {
        return check_user("its folder", &metadata);
    }
    check_owner("its folder", &metadata)
}

fn check_user(what: &'static str, metadata: &Metadata) -> Result<(), FileFault> {
    let uid = metadata.uid();
    if uid == 0 || uid == rustix::process::geteuid().as_raw() { Ok(()) } else { Err(FileFault::Owner { what, uid }) }
}

fn check_owner(what: &'static str, metadata: &Metadata) -> Result<(), FileFault> {
    check_user(what, metadata)?;
    let mode = metadata.mode() & 0o7777;
    if mode & 0o022 == 0 { Ok(()) } else { Err(FileFault::OthersMayWrite { what, mode }) }
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        Some(_) | None => PathBuf::from("."),
    }
}

impl Stamp {
    /// The stamp of the file at `path`; `None` where there is none.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let now = std::fs::metadata(path).ok()?;
        let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Some(Self([
            now.dev().into(),
            now.ino().into(),
            now.size().into(),
            nanos(now.mtime(), now.mtime_nsec()),
            nanos(now.ctime(), now.ctime_nsec()),
            now.mode().into(),
            now.uid().into(),
        ]))
    }
}

fn io_fault(error: &io::Error) -> FileFault {
    if error.kind() == io::ErrorKind::NotFound { FileFault::Missing } else { FileFault::Io(error.to_string()) }
}

/// `serde_json`'s message quotes the file, so it is kept short and on one line.
fn json_fault(error: &serde_json::Error) -> FileFault {
    let cause = error.to_string();
    let cause = clean(cause.split(" at line ").next().unwrap_or_default());
    FileFault::Json { line: error.line(), cause }
}
