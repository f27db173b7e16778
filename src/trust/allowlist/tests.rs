use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::file::{EditError, edit};
use super::*;
use crate::trust::TrustCode;

mod signed;

const NOW: Timestamp = Timestamp::constant(1_795_304_924, 0);

fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

fn repository(text: &str) -> Repository {
    text.parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

/// An allowlist file in a folder of its own, `entries` with `D1` … for digests.
struct OnDisk {
    folder: tempfile::TempDir,
}

impl OnDisk {
    fn new(entries: &str) -> Self {
        let disk = Self { folder: tempfile::tempdir().unwrap() };
        disk.write(&whole(entries));
        disk
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("allowlist.json")
    }

    /// Puts a new file in place, as editors do.
    fn write(&self, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    fn load(&self) -> Allowlist {
        Allowlist::load(self.path())
    }
}

fn whole(entries: &str) -> String {
    let mut text = format!(r#"{{"version": 1, "entries": [{entries}]}}"#);
    for byte in 1..=9 {
        text = text.replace(&format!("D{byte}"), &digest(byte).to_string());
    }
    text
}

fn any_of(list: &Allowlist, name: &str, bytes: &[u8]) -> Result<Vouch, TrustCode> {
    let digests = bytes.iter().map(|byte| digest(*byte)).collect();
    list.vouch(&repository(name), &Question::AnyOf(digests), NOW).map_err(|error| error.code)
}

fn by_tag(list: &Allowlist, name: &str, text: &str) -> Result<Digest, TrustCode> {
    list.vouch(&repository(name), &Question::Tag(tag(text)), NOW).map(|vouch| *vouch.digest()).map_err(|error| error.code)
}

#[test]
fn a_listed_digest_is_vouched_for_in_its_repository() {
    let disk = OnDisk::new(r#"{"digest": "D1", "references": ["r.example/app:1.0"], "added_by": "alice"}"#);
    let list = disk.load();
    let vouch = any_of(&list, "r.example/app", &[9, 1]).unwrap();
    assert_eq!((vouch.digest(), vouch.verifier()), (&digest(1), &VerifierName::ALLOWLIST));
    assert_eq!((vouch.tags(), vouch.signers()), (&[tag("1.0")][..], &["alice".to_owned()][..]));
    assert_eq!((vouch.expires(), vouch.repository().as_str()), (None, "r.example/app"));
}

#[test]
fn it_is_vouched_for_nowhere_else_and_nothing_else_is() {
    let disk = OnDisk::new(r#"{"digest": "D1", "references": ["r.example/app:1.0"]}"#);
    let list = disk.load();
    for (name, bytes) in [
        ("r.example/app", &[2_u8][..]),
        ("r.example/app", &[]),
        ("r.example/other", &[1]),
        ("app", &[1]),
        ("r.example:443/app", &[1]),
    ] {
        assert_eq!(any_of(&list, name, bytes), Err(TrustCode::NotListed), "{name} {bytes:?}");
    }
    let error = list.vouch(&repository("r.example/other"), &Question::AnyOf(vec![digest(1)]), NOW).unwrap_err();
    assert!(error.to_string().ends_with("for `r.example/app`, not for `r.example/other`"), "{error}");
}

#[test]
fn an_entry_without_references_vouches_in_any_repository_and_under_no_tag() {
    let disk = OnDisk::new(r#"{"digest": "D1"}"#);
    let list = disk.load();
    assert_eq!(any_of(&list, "any.example/thing", &[1]).unwrap().tags(), []);
    assert_eq!(by_tag(&list, "any.example/thing", "latest"), Err(TrustCode::NotListed));
}

#[test]
fn an_image_id_and_the_digest_of_a_manifest_never_compare() {
    let disk =
        OnDisk::new(r#"{"digest": "D1", "image_id": "D2", "references": ["a:1"]}, {"image_id": "D3", "references": ["b"]}"#);
    let list = disk.load();
    let content = |name, digests: &[u8], config| {
        let question = Question::Content { digests: digests.iter().map(|byte| digest(*byte)).collect(), config: digest(config) };
        list.vouch(&repository(name), &question, NOW).map(|vouch| (*vouch.digest(), vouch.hashed())).map_err(|error| error.code)
    };
    assert_eq!(content("a", &[1], 9), Ok((digest(1), Hashed::Manifest)));
    assert_eq!(content("a", &[], 2), Ok((digest(2), Hashed::Config)));
    assert_eq!(content("b", &[9], 3), Ok((digest(3), Hashed::Config)));
    // One file as the other.
    assert_eq!(content("a", &[], 1), Err(TrustCode::NotListed), "a manifest's digest is no image id");
    assert_eq!(content("a", &[2], 9), Err(TrustCode::NotListed), "an image id is no manifest's digest");
    assert_eq!(any_of(&list, "a", &[2]), Err(TrustCode::NotListed));
    assert_eq!(any_of(&list, "b", &[3]), Err(TrustCode::NotListed));
    let tagged = list.vouch(&repository("b"), &Question::Tag(tag("latest")), NOW).unwrap();
    assert_eq!((tagged.digest(), tagged.hashed()), (&digest(3), Hashed::Config));
}

#[test]
fn a_tag_is_vouched_for_if_a_reference_lists_it() {
    let listed =
        r#"{"digest": "D1", "references": ["r.example/app:1.0", "other", "r.example/pinned@D1", "r.example/both:2@D1"]}"#;
    let disk = OnDisk::new(listed);
    let list = disk.load();
    for (name, text) in [("r.example/app", "1.0"), ("other", "latest"), ("r.example/both", "2")] {
        assert_eq!(by_tag(&list, name, text), Ok(digest(1)), "{name}:{text}");
    }
    let pairs =
        [("r.example/app", "1.1"), ("r.example/app", "latest"), ("other", "1"), ("r.example/pinned", "latest"), ("app", "1.0")];
    for (name, text) in pairs {
        assert_eq!(by_tag(&list, name, text), Err(TrustCode::NotListed), "{name}:{text}");
    }
    // Listed by digest alone, its content is vouched for all the same.
    assert!(any_of(&list, "r.example/pinned", &[1]).is_ok());
}

#[test]
fn of_several_entries_for_a_tag_the_one_added_last_answers_and_each_holds() {
    let disk = OnDisk::new(
        r#"{"digest": "D1", "references": ["a:1"], "added_at": "2026-11-02T00:00:00Z"},
           {"digest": "D2", "references": ["a:1"], "added_at": "2026-11-03T00:00:00Z"},
           {"digest": "D3", "references": ["a:1"]},
           {"digest": "D4", "references": ["a:2"], "added_at": "2026-11-04T00:00:00Z"}"#,
    );
    let list = disk.load();
    assert_eq!(by_tag(&list, "a", "1"), Ok(digest(2)));
    for byte in [1, 2, 3] {
        assert_eq!(any_of(&list, "a", &[byte]).unwrap().digest(), &digest(byte));
    }
}

#[test]
fn an_entry_ends_when_it_expires() {
    let disk = OnDisk::new(
        r#"{"digest": "D1", "references": ["a:1"], "expires": "2026-11-21T23:48:44Z"},
           {"digest": "D2", "references": ["a:2"], "expires": "2026-11-21T23:48:45Z"}"#,
    );
    let list = disk.load();
    assert_eq!(any_of(&list, "a", &[1]), Err(TrustCode::Expired));
    assert_eq!(by_tag(&list, "a", "1"), Err(TrustCode::Expired));
    let refused = list.vouch(&repository("a"), &Question::AnyOf(vec![digest(1)]), NOW).unwrap_err();
    assert!(refused.to_string().ends_with("expired at 2026-11-21T23:48:44Z"), "{refused}");
    let vouch = any_of(&list, "a", &[2]).unwrap();
    assert_eq!(vouch.expires().map(|time| time.to_string()).as_deref(), Some("2026-11-21T23:48:45Z"));
    assert_eq!(by_tag(&list, "a", "2"), Ok(digest(2)));
}

#[test]
fn an_expired_entry_does_not_hide_a_live_one() {
    let disk = OnDisk::new(
        r#"{"digest": "D1", "references": ["a:1"], "expires": "2020-01-01T00:00:00Z"},
           {"digest": "D1", "references": ["a:1"], "expires": "2030-01-01T00:00:00Z"}"#,
    );
    let vouch = any_of(&disk.load(), "a", &[1]).unwrap();
    assert_eq!(vouch.expires().map(|time| time.to_string()).as_deref(), Some("2030-01-01T00:00:00Z"));
}

#[test]
fn a_file_that_cannot_be_read_at_first_refuses_every_question_until_it_can() {
    let disk = OnDisk::new("");
    fs::remove_file(disk.path()).unwrap();
    let list = disk.load();
    assert_eq!(any_of(&list, "a", &[1]), Err(TrustCode::AllowlistUnavailable));
    assert_eq!(by_tag(&list, "a", "1"), Err(TrustCode::AllowlistUnavailable));
    assert_eq!(list.status(), Status { entries: None, fault: Some(FileFault::Missing), serial: None });
    disk.write(&whole(r#"{"digest": "D1"}"#));
    assert!(any_of(&list, "a", &[1]).is_ok());
}

#[test]
fn a_changed_file_counts_at_once() {
    let disk = OnDisk::new(r#"{"digest": "D1"}"#);
    let list = disk.load();
    assert!(any_of(&list, "a", &[1]).is_ok());
    disk.write(&whole(r#"{"digest": "D2"}"#));
    assert_eq!(any_of(&list, "a", &[1]), Err(TrustCode::NotListed));
    assert!(any_of(&list, "a", &[2]).is_ok());
    assert_eq!(list.status(), Status { entries: Some(1), fault: None, serial: None });
}

#[test]
fn of_a_file_that_is_gone_or_broken_the_last_good_one_holds() {
    let disk = OnDisk::new(r#"{"digest": "D1"}"#);
    let list = disk.load();
    assert!(any_of(&list, "a", &[1]).is_ok());
    disk.write(r#"{"version": 1, "entries": [{"#);
    assert!(any_of(&list, "a", &[1]).is_ok());
    assert_eq!(any_of(&list, "a", &[2]), Err(TrustCode::NotListed));
    let status = list.status();
    assert!(matches!(status, Status { entries: Some(1), fault: Some(FileFault::Json { .. }), .. }), "{status:?}");
    disk.write(&whole(r#"{"digest": "D2"}"#));
    fs::set_permissions(disk.path(), fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(any_of(&list, "a", &[2]), Err(TrustCode::NotListed), "what others may write counts for nothing");
    assert!(any_of(&list, "a", &[1]).is_ok());
    fs::remove_file(disk.path()).unwrap();
    assert!(any_of(&list, "a", &[1]).is_ok());
    assert_eq!(list.status(), Status { entries: Some(1), fault: Some(FileFault::Missing), serial: None });
    disk.write(&whole(r#"{"digest": "D2"}"#));
    assert!(any_of(&list, "a", &[2]).is_ok());
    assert_eq!(any_of(&list, "a", &[1]), Err(TrustCode::NotListed));
}

#[test]
fn a_file_that_others_may_write_is_refused() {
    for (mode, good) in [(0o644, true), (0o600, true), (0o640, true), (0o664, false), (0o646, false), (0o602, false)] {
        let disk = OnDisk::new(r#"{"digest": "D1"}"#);
        fs::set_permissions(disk.path(), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(any_of(&disk.load(), "a", &[1]).is_ok(), good, "{mode:o}");
    }
}

#[test]
fn a_file_that_others_may_replace_is_refused() {
    for (mode, good) in [(0o755, true), (0o1777, true), (0o777, false), (0o775, false)] {
        let disk = OnDisk::new(r#"{"digest": "D1"}"#);
        fs::set_permissions(disk.folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(any_of(&disk.load(), "a", &[1]).is_ok(), good, "{mode:o}");
    }
}

#[test]
fn a_file_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let disk = OnDisk::new(r#"{"digest": "D1"}"#);
    std::os::unix::fs::chown(disk.path(), Some(12345), None).unwrap();
    assert_eq!(ListFile::read(&disk.path()), Err(FileFault::Owner { what: "it", uid: 12345 }));
    std::os::unix::fs::chown(disk.path(), Some(0), None).unwrap();
    assert!(ListFile::read(&disk.path()).is_ok());
    // Whose folder it is may put another file there, sticky or not.
    std::os::unix::fs::chown(disk.folder.path(), Some(12345), None).unwrap();
    for mode in [0o755, 0o1755, 0o1777] {
        fs::set_permissions(disk.folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(ListFile::read(&disk.path()), Err(FileFault::Owner { what: "its folder", uid: 12345 }), "{mode:o}");
    }
    std::os::unix::fs::chown(disk.folder.path(), Some(0), None).unwrap();
    assert!(ListFile::read(&disk.path()).is_ok());
}

#[test]
fn what_is_no_regular_file_is_refused_and_does_not_hang() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(ListFile::read(folder.path()), Err(FileFault::NotAFile));
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert_eq!(ListFile::read(&fifo), Err(FileFault::NotAFile));
    let link = folder.path().join("link");
    let disk = OnDisk::new(r#"{"digest": "D1"}"#);
    std::os::unix::fs::symlink(disk.path(), &link).unwrap();
    assert_eq!(ListFile::read(&link).unwrap().entries.len(), 1);
}

#[test]
fn faults_of_the_text_are_told() {
    let long = "x".repeat(1025);
    for (text, told) in [
        ("", "line 1: EOF while parsing a value"),
        ("[]", "line 1: invalid length 0, expected struct Head with 1 element"),
        (r#"{"entries": []}"#, "line 1: missing field `version`"),
        (r#"{"version": 2, "other": 1}"#, "its version is 2, and only 1 is known"),
        (r#"{"version": 1}"#, "line 1: missing field `entries`"),
        (
            r#"{"version": 1, "entries": [], "more": 1}"#,
            "line 1: unknown field `more`, expected one of `version`, `serial`, `list`, `entries`",
        ),
        (r#"{"version": 1, "entries": [], "entries": []}"#, "line 1: duplicate field `entries`"),
        (r#"{"version": 1, "entries": []} x"#, "line 1: trailing characters"),
        (&whole(r#"{"reference": "a"}"#), "line 1: unknown field `reference`, expected one of"),
        (&whole(r#"{"digest": "D1", "digest": "D2"}"#), "line 1: duplicate field `digest`"),
        (&whole(r#"{"digest": "sha256:12"}"#), "line 1: `sha256:12` is not sha256: and 64 lower-case hex digits"),
        (&whole(r#"{"digest": "D1", "references": ["A b"]}"#), "line 1: "),
        (&whole(r#"{"digest": "D1", "expires": "tomorrow"}"#), "line 1: "),
        (&whole(r#"{"references": ["a"]}"#), "entry 1: it has neither digest nor image_id"),
        (
            &whole(r#"{"digest": "D1"}, {"digest": "D1", "references": ["a@D2"]}"#),
            "entry 2: its reference `docker.io/library/a@sha256:0202",
        ),
        (&whole(&format!(r#"{{"digest": "D1", "reason": "{long}"}}"#)), "entry 1: a text in it is longer than 1024 bytes"),
    ] {
        let fault = ListFile::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(fault.starts_with(told), "{text}: {fault}");
        assert!(fault.lines().count() == 1 && fault.len() < 260, "{fault}");
    }
}

#[test]
fn a_file_beyond_its_bounds_is_refused() {
    let many = vec![r#"{"digest": "D1"}"#; 10_001].join(",");
    assert_eq!(ListFile::parse(whole(&many).as_bytes()), Err(FileFault::TooMany));
    let most = vec![r#"{"digest": "D1"}"#; 10_000].join(",");
    assert_eq!(ListFile::parse(whole(&most).as_bytes()).unwrap().entries.len(), 10_000);
    let mut large = whole("").into_bytes();
    large.resize((8 << 20) + 1, b' ');
    assert_eq!(ListFile::parse(&large), Err(FileFault::TooLarge));
    large.pop();
    assert!(ListFile::parse(&large).is_ok());
    let references = vec![r#""a""#; 513].join(",");
    assert!(ListFile::parse(whole(&format!(r#"{{"digest": "D1", "references": [{references}]}}"#)).as_bytes()).is_err());
}

#[test]
fn what_is_written_reads_the_same() {
    let text = whole(
        r#"{"digest": "D1", "image_id": "D2", "references": ["r.example/app:1.0", "busybox"], "platform": "linux/amd64",
            "layers": ["D3", "D4"], "added_by": "alice", "added_at": "2026-11-02T10:00:00Z", "reason": "why",
            "expires": "2027-01-01T00:00:00Z"}, {"image_id": "D5"}"#,
    );
    let list = ListFile::parse(text.as_bytes()).unwrap();
    assert_eq!(ListFile::parse(list.to_text().as_bytes()), Ok(list.clone()));
    assert!(list.to_text().starts_with("{\n  \"version\": 1,\n  \"entries\": [\n    {\n      \"digest\": \"sha256:0101"));
}

#[test]
fn an_edit_makes_changes_and_keeps_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/folder/allowlist.json");
    let entry = |byte| Entry { digest: Some(digest(byte)), ..Entry::default() };
    edit(&path, |list| list.entries.push(entry(1))).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let count = edit(&path, |list| {
        list.entries.push(entry(2));
        list.entries.len()
    });
    assert_eq!(count, Ok(2));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(ListFile::read(&path).unwrap().entries, [entry(1), entry(2)]);
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    edit(&path, |_| ()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before, "nothing to write");
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2, "the list, and its lock");
}

#[test]
fn an_edit_of_what_is_no_good_is_refused_and_changes_nothing() {
    let disk = OnDisk::new("");
    let broken = r#"{"version": 1, "entries": [{"unknown": 1}]}"#;
    disk.write(broken);
    assert!(matches!(edit(&disk.path(), |list| list.entries.clear()), Err(EditError::Fault(FileFault::Json { .. }))));
    assert_eq!(fs::read_to_string(disk.path()).unwrap(), broken);
    disk.write(&whole(""));
    assert!(matches!(edit(&disk.path(), |list| list.entries.push(Entry::default())), Err(EditError::Result(_))));
    assert_eq!(fs::read_to_string(disk.path()).unwrap(), whole(""));
    fs::set_permissions(disk.path(), fs::Permissions::from_mode(0o666)).unwrap();
    assert!(matches!(edit(&disk.path(), |_| ()), Err(EditError::Fault(FileFault::OthersMayWrite { .. }))));
}

#[test]
fn an_edit_through_a_link_changes_the_file_and_keeps_the_link() {
    let disk = OnDisk::new("");
    let link = disk.folder.path().join("link.json");
    std::os::unix::fs::symlink(disk.path(), &link).unwrap();
    edit(&link, |list| list.entries.push(Entry { digest: Some(digest(1)), ..Entry::default() })).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(ListFile::read(&disk.path()).unwrap().entries.len(), 1);
}

#[test]
fn edits_at_the_same_time_lose_nothing() {
    let disk = OnDisk::new("");
    let list = disk.load();
    std::thread::scope(|scope| {
        for byte in 1..=8 {
            let path = disk.path();
            scope.spawn(move || {
                for turn in 0..5 {
                    let digest = Digest::from_bytes([byte * 16 + turn; 32]);
                    edit(&path, |list| list.entries.push(Entry { digest: Some(digest), ..Entry::default() })).unwrap();
                }
            });
            scope.spawn(|| {
                for _ in 0..50 {
                    // Whatever is read meanwhile is whole.
                    assert_ne!(any_of(&list, "a", &[1]), Err(TrustCode::AllowlistUnavailable));
                }
            });
        }
    });
    assert_eq!(ListFile::read(&disk.path()).unwrap().entries.len(), 40);
    assert_eq!(list.status(), Status { entries: Some(40), fault: None, serial: None });
}

#[test]
fn a_writer_that_finds_the_lock_taken_gives_up_in_time() {
    let disk = OnDisk::new("");
    let name = format!(".{}.lock", disk.path().file_name().unwrap().display());
    // Anybody who may read the folder and the list can lock those.
    let others: Vec<_> = [disk.folder.path(), &disk.path()].map(|path| fs::File::open(path).unwrap()).into();
    for other in &others {
        rustix::fs::flock(other, rustix::fs::FlockOperation::LockExclusive).unwrap();
    }
    assert_eq!(edit(&disk.path(), |_| ()), Ok(()));
    let lock = fs::File::open(disk.folder.path().join(name)).unwrap();
    assert_eq!(lock.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert_eq!(edit(&disk.path(), |list| list.entries.clear()), Err(EditError::Locked));
}

#[test]
fn a_list_of_another_name_vouches_by_that() {
    let disk = OnDisk::new(r#"{"digest": "D1", "references": ["a:1"]}"#);
    let list = disk.load().named("releases".parse().unwrap());
    let answer = Verifier::ready(&list, &repository("a"), &Question::Tag(tag("1")), NOW).unwrap().unwrap();
    assert_eq!((answer.verifier().as_str(), list.name().as_str()), ("releases", "releases"));
}
