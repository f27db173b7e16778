//! The air gap: what a bundle carries, what a host makes of it, and every way it can be wrong. The format is written out here
//! once more, so that a bundle can be forged with checksums that fit.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use img_authz::image::Repository;
use img_authz::trust::notary::{Config, Exported, RootHistory, Withdrawal};
use img_authz::trust::tuf::Pins;
use img_authz::trust::{Asking, Freshness, Purpose, Question, TrustCode, TrustError};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::support::trust_repo::*;
use crate::support::trust_server::{Client, Server, code, good, now};

const BUNDLE: &[u8] = b"img-authz trust bundle 1\n";
const STATE: &[u8] = b"img-authz trust state 1\n";

fn gun() -> Repository {
    GUN.parse().unwrap()
}

/// What a host that reaches this server carries away.
fn export(server: &Server, earlier: RootHistory) -> (Vec<u8>, Exported) {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(server, folder.path(), |_| ());
    client.ask(Purpose::Pull).unwrap();
    let (bundle, mut done) = client.runtime.block_on(client.notary.export(&[gun()], earlier)).unwrap();
    (bundle, done.remove(0))
}

fn bundle_of(files: Files) -> Vec<u8> {
    export(&Server::files(files), RootHistory::Fetched).0
}

/// Takes a bundle of one repository in, in a process of its own.
fn import_at(folder: &Path, bundle: &[u8], at: Timestamp, change: impl FnOnce(&mut Config)) -> Result<(), TrustError> {
    let client = Client::importing(folder, change);
    let mut done = client.runtime.block_on(client.notary.import(bundle, Withdrawal::Stays, at))?;
    assert_eq!(done.len(), 1);
    done.remove(0).1
}

fn import(folder: &Path, bundle: &[u8]) -> Result<(), TrustError> {
    import_at(folder, bundle, now(), |_| ())
}

fn refusal(answer: Result<(), TrustError>) -> Option<TrustCode> {
    answer.err().map(|error| error.code)
}

/// A bundle of one repository, taken apart.
#[derive(Clone)]
struct Parts {
    repository: String,
    seen: String,
    files: BTreeMap<String, Vec<u8>>,
    floors: Vec<(String, u64, [u8; 32])>,
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend(bytes);
}

fn take<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = count(rest);
    let (bytes, after) = rest.split_at(length);
    *rest = after;
    bytes
}

fn count(rest: &mut &[u8]) -> usize {
    let (number, after) = rest.split_first_chunk::<4>().unwrap();
    *rest = after;
    u32::from_be_bytes(*number) as usize
}

impl Parts {
    fn of(bundle: &[u8]) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut rest = bundle.strip_prefix(BUNDLE).unwrap();
        let one = take(&mut rest);
        assert!(rest.is_empty());
        let mut rest = &one.strip_prefix(STATE).unwrap()[32..];
        let (repository, seen) = (text(take(&mut rest)), text(take(&mut rest)));
        let files = (0..count(&mut rest)).map(|_| (text(take(&mut rest)), take(&mut rest).to_vec())).collect();
        assert!(!rest.is_empty());
        Self { repository, seen, files, floors: Vec::new() }
    }

    /// With the floors of this bundle left out, and checksums that fit.
    fn bundle(&self) -> Vec<u8> {
        let mut body = Vec::new();
        put(&mut body, self.repository.as_bytes());
        put(&mut body, self.seen.as_bytes());
        body.extend(u32::try_from(self.files.len()).unwrap().to_be_bytes());
        for (name, raw) in &self.files {
            put(&mut body, name.as_bytes());
            put(&mut body, raw);
        }
        body.extend(u32::try_from(self.floors.len()).unwrap().to_be_bytes());
        for (role, version, content) in &self.floors {
            put(&mut body, role.as_bytes());
            body.extend(version.to_be_bytes());
            body.extend(content);
        }
        bundle_around(&body)
    }
}

/// A bundle whose one part has this body, and the checksum that fits.
fn bundle_around(body: &[u8]) -> Vec<u8> {
    let mut one = STATE.to_vec();
    one.extend(Sha256::digest(body));
    one.extend(body);
    let mut bundle = BUNDLE.to_vec();
    put(&mut bundle, &one);
    bundle
}

/// Two publications of one repository.
fn old_and_new() -> (Files, Files) {
    let mut repo = Repo::docker(root_key(GUN));
    let old = repo.publish();
    repo.bump();
    (old, repo.publish())
}

/// A repository whose root was rotated twice since its first publication: the last root says nothing to who knows the first alone.
fn rotated_twice() -> (Files, Files) {
    let mut repo = Repo::docker(root_key(GUN));
    let first = repo.publish();
    for _ in 0..2 {
        repo.rotate_root(&root_key(GUN));
        repo.bump();
    }
    (first, repo.publish())
}

#[test]
fn a_bundle_carries_knowledge_and_cannot_roll_it_back() {
    let (old, new) = old_and_new();
    let (first, second) = (bundle_of(old), bundle_of(new));
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(import(folder.path(), &first), Ok(()));
    // A host that has a server uses it for what is here, and for a pull asks.
    let nowhere = |config: &mut Config| config.source = "https://localhost:1".into();
    let client = Client::new(&Server::files(good()), folder.path(), nowhere);
    assert!(client.ask(Purpose::Run).is_ok());
    assert_eq!(code(&client.ask(Purpose::Pull)), Some(TrustCode::Unreachable));
    assert_eq!(import(folder.path(), &second), Ok(()));
    assert_eq!(refusal(import(folder.path(), &first)), Some(TrustCode::RolledBack));
    // The same once more is no step back.
    assert_eq!(import(folder.path(), &second), Ok(()));
}

#[test]
fn a_host_that_knows_an_old_root_follows_the_roots_in_between() {
    let (first, last) = rotated_twice();
    let server = Server::files(last.clone());
    let (whole, exported) = export(&server, RootHistory::Fetched);
    assert_eq!((exported.root, exported.oldest_root, exported.expires.to_string()), (3, 1, LATER.to_owned()));
    let knows_first = || {
        let folder = tempfile::tempdir().unwrap();
        import(folder.path(), &bundle_of(first.clone())).unwrap();
        folder
    };
    let folder = knows_first();
    assert_eq!(import(folder.path(), &whole), Ok(()));
    assert!(Client::importing(folder.path(), |_| ()).ask(Purpose::Pull).is_ok());
    // Without them it cannot know that the new root is the old one's heir.
    let (bare, exported) = export(&server, RootHistory::Left);
    assert_eq!((exported.root, exported.oldest_root), (3, 3));
    let folder = knows_first();
    assert_eq!(refusal(import(folder.path(), &bare)), Some(TrustCode::RootNotTrusted));
    // What was known before is still what counts.
    assert!(Client::importing(folder.path(), |_| ()).ask(Purpose::Pull).is_ok());
    // A host that knows nothing needs no chain.
    assert_eq!(import(tempfile::tempdir().unwrap().path(), &bare), Ok(()));
    let mut missing = Parts::of(&whole);
    missing.files.remove("2.root").unwrap();
    assert_eq!(refusal(import(knows_first().path(), &missing.bundle())), Some(TrustCode::RootNotTrusted));
    // A link that another made, that is another version, or is none.
    let stranger = {
        let mut repo = Repo::docker(root_key(GUN));
        repo.rotate_root(&root_key(GUN));
        repo.publish()["root.json"].clone()
    };
    for (link, expected) in [
        (stranger, TrustCode::RootNotTrusted),
        (last["root.json"].clone(), TrustCode::RootNotTrusted),
        (first["root.json"].clone(), TrustCode::RootNotTrusted),
        (b"{".to_vec(), TrustCode::Invalid),
        (vec![b'['; 1 << 20], TrustCode::Invalid),
    ] {
        let mut forged = Parts::of(&whole);
        forged.files.insert("2.root".into(), link);
        assert_eq!(refusal(import(knows_first().path(), &forged.bundle())), Some(expected));
    }
}

#[test]
fn a_server_s_bad_earlier_root_is_not_carried_and_the_bundle_is_good_without_it() {
    let (first, last) = rotated_twice();
    let stranger = Repo::docker(root_key(GUN)).publish()["root.json"].clone();
    for (version, bad, oldest) in [("1", stranger, 2), ("2", b"<html>".to_vec(), 3), ("2", first["root.json"].clone(), 3)] {
        let mut files = last.clone();
        files.insert(format!("{version}.root.json"), bad);
        let (bundle, exported) = export(&Server::files(files), RootHistory::Fetched);
        assert_eq!(exported.oldest_root, oldest);
        assert_eq!(import(tempfile::tempdir().unwrap().path(), &bundle), Ok(()));
    }
}

#[test]
fn a_host_without_a_server_pulls_and_runs_on_what_was_imported_and_on_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::importing(folder.path(), |_| ());
    for purpose in [Purpose::Pull, Purpose::Run] {
        assert_eq!(code(&client.ask(purpose)), Some(TrustCode::NotImported));
    }
    assert_eq!(import(folder.path(), &bundle_of(good())), Ok(()));
    // The verifier that was there before notices.
    for purpose in [Purpose::Pull, Purpose::Run] {
        let vouch = client.ask(purpose).unwrap();
        assert_eq!((vouch.digest().to_string(), vouch.freshness()), (digest("one"), Freshness::Imported { since: now() }));
    }
    let ask = |repository: &str, tag: &str| {
        let question = Question::Tag(tag.parse().unwrap());
        let deadline = Duration::from_secs(8);
        client.runtime.block_on(async {
            let end = tokio::time::Instant::now() + deadline;
            client
                .notary
                .vouch(&repository.parse().unwrap(), &question, Asking { purpose: Purpose::Pull, now: now(), deadline: end })
                .await
        })
    };
    assert_eq!(code(&ask(GUN, "2.0")), Some(TrustCode::NotSigned));
    assert_eq!(code(&ask("reg.example:5000/team/app2", "1.0")), Some(TrustCode::NotImported));
    assert_eq!(code(&ask("reg.example:5000/team", "1.0")), Some(TrustCode::NotImported));
    // A pin that is set meanwhile counts at once.
    let pinned = |config: &mut Config| config.pins = Pins::read("{\"disable_tofu\":true}", |_| Err(String::new())).unwrap();
    assert_eq!(code(&Client::importing(folder.path(), pinned).ask(Purpose::Run)), Some(TrustCode::RootNotTrusted));
}

#[test]
fn what_was_imported_is_used_until_it_expires_and_no_longer_than_the_operator_says() {
    let folder = tempfile::tempdir().unwrap();
    import(folder.path(), &bundle_of(good())).unwrap();
    let at = |time: &str, change: fn(&mut Config)| {
        let client = Client::importing(folder.path(), change);
        let (pull, run) =
            (client.ask_at(Purpose::Pull, time.parse().unwrap()), client.ask_at(Purpose::Run, time.parse().unwrap()));
        assert_eq!(code(&pull), code(&run));
        code(&pull)
    };
    let endless = |config: &mut Config| config.stale_limit = Duration::MAX;
    let two_days = |config: &mut Config| config.stale_limit = Duration::from_hours(48);
    assert_eq!(at("2030-12-31T23:59:59Z", endless), None);
    assert_eq!(at(LATER, endless), Some(TrustCode::ImportExpired));
    assert_eq!(at("2030-06-03T00:00:00Z", two_days), None);
    assert_eq!(at("2030-06-03T00:00:01Z", two_days), Some(TrustCode::ImportExpired));
    // A clock that went back makes nothing younger.
    assert_eq!(at("2030-05-31T23:58:00Z", endless), None);
    assert_eq!(at("2030-05-31T23:50:00Z", endless), Some(TrustCode::ImportExpired));
    // What counts is when the server was asked, not when the bundle came; taking it in again makes it no younger.
    let (late_folder, in_ten_days) = (tempfile::tempdir().unwrap(), "2030-06-11T00:00:00Z".parse().unwrap());
    for _ in 0..2 {
        assert_eq!(import_at(late_folder.path(), &bundle_of(good()), in_ten_days, |_| ()), Ok(()));
        let ask = |change: fn(&mut Config)| Client::importing(late_folder.path(), change).ask_at(Purpose::Pull, in_ten_days);
        assert_eq!(ask(endless).unwrap().freshness(), Freshness::Imported { since: now() });
        assert_eq!(code(&ask(two_days)), Some(TrustCode::ImportExpired));
    }
    // An expired bundle is not taken in at all, and leaves nothing.
    let other = tempfile::tempdir().unwrap();
    let late = import_at(other.path(), &bundle_of(good()), LATER.parse().unwrap(), |_| ());
    assert_eq!(refusal(late), Some(TrustCode::Expired));
    assert_eq!(std::fs::read_dir(other.path()).unwrap().count(), 0);
}

#[test]
fn a_newer_bundle_counts_within_the_window_and_takes_back_what_it_no_longer_holds() {
    let mut repo = Repo::docker(root_key(GUN));
    let signed = bundle_of(repo.publish());
    for role in ["targets/releases", "targets/alice"] {
        repo.role(role)["targets"] = serde_json::json!({ "2.0": target("two") });
    }
    repo.bump();
    let server = Server::files(repo.publish());
    let (revoked, _) = {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::new(&server, folder.path(), |_| ());
        assert_eq!(code(&client.ask(Purpose::Pull)), Some(TrustCode::NotSigned));
        client.runtime.block_on(client.notary.export(&[gun()], RootHistory::Left)).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let client = Client::importing(folder.path(), |config| config.freshness = Duration::from_millis(500));
    import(folder.path(), &signed).unwrap();
    assert!(client.ask(Purpose::Pull).is_ok());
    import(folder.path(), &revoked).unwrap();
    // Within the window the disk is not looked at; after it, it is.
    let question = Question::Tag("1.0".parse().unwrap());
    std::thread::sleep(Duration::from_millis(600));
    assert!(client.notary.ready(&gun(), &question, now()).is_none());
    assert_eq!(code(&client.ask(Purpose::Pull)), Some(TrustCode::NotSigned));
    // And the older one does not bring it back.
    assert_eq!(refusal(import(folder.path(), &signed)), Some(TrustCode::RolledBack));
    assert_eq!(code(&Client::importing(folder.path(), |_| ()).ask(Purpose::Run)), Some(TrustCode::NotSigned));
}

#[test]
fn within_the_window_an_imported_answer_is_ready_and_knows_its_limits() {
    let folder = tempfile::tempdir().unwrap();
    import(folder.path(), &bundle_of(good())).unwrap();
    let client = Client::importing(folder.path(), |config| config.freshness = Duration::from_secs(30));
    let ready = |at: Timestamp| client.notary.ready(&gun(), &Question::Tag("1.0".parse().unwrap()), at);
    assert!(ready(now()).is_none());
    client.ask(Purpose::Pull).unwrap();
    assert!(ready(now()).is_some_and(|answer| answer.is_ok()));
    assert!(ready(LATER.parse().unwrap()).is_none());
    // The window is no way around the limit.
    let short = Client::importing(folder.path(), |config| {
        config.freshness = Duration::from_hours(1);
        config.stale_limit = Duration::from_mins(1);
    });
    short.ask(Purpose::Pull).unwrap();
    let two_minutes: Timestamp = "2030-06-01T00:02:00Z".parse().unwrap();
    let answer = short.notary.ready(&gun(), &Question::Tag("1.0".parse().unwrap()), two_minutes);
    assert!(answer.is_none_or(|answer| code(&answer) == Some(TrustCode::ImportExpired)));
}

#[test]
fn what_a_server_took_back_stays_so_when_bundles_follow_it() {
    let (old, new) = old_and_new();
    let folder = tempfile::tempdir().unwrap();
    Client::new(&Server::files(old.clone()), folder.path(), |_| ()).ask(Purpose::Pull).unwrap();
    let gone = Server::files(Files::new());
    assert_eq!(code(&Client::new(&gone, folder.path(), |_| ()).ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    assert_eq!(code(&Client::importing(folder.path(), |_| ()).ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    assert_eq!(refusal(import(folder.path(), &bundle_of(old))), Some(TrustCode::Withdrawn));
    // One that says it was checked with the server later, and holds more: it may have been signed before all the same.
    let mut later = Parts::of(&bundle_of(new.clone()));
    later.seen = "2030-06-01T00:00:01Z".into();
    let at = "2030-06-01T00:00:02Z".parse().unwrap();
    let message = import_at(folder.path(), &later.bundle(), at, |_| ()).unwrap_err();
    assert_eq!(message.code, TrustCode::Withdrawn);
    assert!(message.to_string().contains("took `reg.example:5000/team/app` back at 2030-06-01"), "{message}");
    assert_eq!(code(&Client::importing(folder.path(), |_| ()).ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    // A person may know, for this bundle; what is known otherwise counts on.
    let despite = |bundle: &[u8]| {
        let client = Client::importing(folder.path(), |_| ());
        client.runtime.block_on(client.notary.import(bundle, Withdrawal::Undone, at)).unwrap().remove(0).1
    };
    let stranger = bundle_of(Repo::docker(root_key(GUN)).publish());
    assert!(matches!(refusal(despite(&stranger)), Some(TrustCode::RolledBack | TrustCode::RootNotTrusted)));
    assert_eq!(despite(&later.bundle()), Ok(()));
    assert!(Client::importing(folder.path(), |_| ()).ask(Purpose::Run).is_ok());
}

#[test]
fn what_a_server_took_back_is_good_again_where_it_serves_it_again_and_never_older() {
    let (old, new) = old_and_new();
    let folder = tempfile::tempdir().unwrap();
    let asked = |files: &Files| code(&Client::new(&Server::files(files.clone()), folder.path(), |_| ()).ask(Purpose::Pull));
    assert_eq!(asked(&new), None);
    assert_eq!(asked(&Files::new()), Some(TrustCode::Withdrawn));
    assert_eq!(asked(&old), Some(TrustCode::RolledBack));
    assert_eq!(refusal(import(folder.path(), &bundle_of(new.clone()))), Some(TrustCode::Withdrawn));
    assert_eq!(asked(&new), None);
}

#[test]
fn a_bundle_that_was_changed_is_refused_whole() {
    let whole = bundle_of(good());
    // The same, taken apart and put together again, is good.
    assert_eq!(import(tempfile::tempdir().unwrap().path(), &Parts::of(&whole).bundle()), Ok(()));
    // Cut anywhere, or with any byte changed.
    let step = whole.len() / 97;
    for at in (0..whole.len()).step_by(step) {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::importing(folder.path(), |_| ());
        let taken = |bundle: &[u8]| client.runtime.block_on(client.notary.import(bundle, Withdrawal::Stays, now()));
        let mut edited = whole.clone();
        edited[at] ^= 1;
        for bad in [&whole[..at], &edited] {
            // The bare head is a bundle of nothing.
            if bad != BUNDLE {
                assert_eq!(taken(bad).unwrap_err().code, TrustCode::Invalid, "at {at}");
            }
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert_eq!(refusal(import(tempfile::tempdir().unwrap().path(), &longer)), Some(TrustCode::Invalid));
}

#[test]
fn a_forged_bundle_whose_checksums_fit_is_refused_for_what_it_says() {
    let (old, new) = old_and_new();
    let whole = Parts::of(&bundle_of(new));
    let stale = Parts::of(&bundle_of(old));
    let stranger = Parts::of(&bundle_of(Repo::docker(root_key(GUN)).publish()));
    let mut cases: Vec<(&str, Parts, TrustCode)> = Vec::new();
    let mut case = |what, change: &dyn Fn(&mut Parts), expected| {
        let mut parts = whole.clone();
        change(&mut parts);
        cases.push((what, parts, expected));
    };
    case("another repository's", &|parts| parts.repository = "reg.example:5000/team/other".into(), TrustCode::RootNotTrusted);
    case("a folder's", &|parts| parts.repository = "reg.example:5000/team".into(), TrustCode::RootNotTrusted);
    case("a path's", &|parts| parts.repository = "../../etc/passwd".into(), TrustCode::Invalid);
    case("nobody's", &|parts| parts.repository = String::new(), TrustCode::Invalid);
    case("an older file among newer ones", &swap(&stale, "targets/releases"), TrustCode::Invalid);
    case("an older timestamp", &swap(&stale, "timestamp"), TrustCode::Invalid);
    case("another's root", &swap(&stranger, "root"), TrustCode::Invalid);
    case("another's timestamp", &swap(&stranger, "timestamp"), TrustCode::Invalid);
    for role in ["root", "timestamp", "snapshot", "targets", "targets/releases"] {
        case("a file is missing", &|parts| drop(parts.files.remove(role)), TrustCode::Invalid);
        case("a file is empty", &|parts| drop(parts.files.insert(role.into(), Vec::new())), TrustCode::Invalid);
        let edit = |parts: &mut Parts| {
            let text = String::from_utf8(parts.files[role].clone()).unwrap();
            parts.files.insert(role.into(), text.replace("\"version\":", "\"version\":7").into());
        };
        case("a file is edited", &edit, TrustCode::Invalid);
        case("a file is deep", &|parts| drop(parts.files.insert(role.into(), vec![b'['; 500_000])), TrustCode::Invalid);
        case("a file is huge", &|parts| drop(parts.files.insert(role.into(), vec![b' '; 17 << 20])), TrustCode::Invalid);
    }
    for (what, parts, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        let answer = Client::importing(folder.path(), |_| ());
        let done = answer.runtime.block_on(answer.notary.import(&parts.bundle(), Withdrawal::Stays, now()));
        let found = done.map_or_else(|error| error.code, |mut done| done.remove(0).1.unwrap_err().code);
        // Files of another root fail for that, or for not being listed.
        let also = what.contains("root") || what == "a file is edited";
        assert!(found == expected || (also && found == TrustCode::RootNotTrusted), "{what}: {found:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{what}");
    }
}

fn swap<'a>(from: &'a Parts, role: &'a str) -> impl Fn(&mut Parts) + 'a {
    move |parts| drop(parts.files.insert(role.into(), from.files[role].clone()))
}

#[test]
fn a_foreign_root_is_refused_by_pins_and_by_what_was_known() {
    let key = root_key(GUN);
    let ours = bundle_of(Repo::docker(key.clone()).publish());
    let theirs = bundle_of(Repo::docker(root_key(GUN)).publish());
    let pinned = |config: &mut Config| {
        let pins = format!("{{\"certs\":{{\"{GUN}\":[\"{}\"]}}}}", key.id);
        config.pins = Pins::read(&pins, |_| Err(String::new())).unwrap();
    };
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(refusal(import_at(folder.path(), &theirs, now(), pinned)), Some(TrustCode::RootNotTrusted));
    assert_eq!(import_at(folder.path(), &ours, now(), pinned), Ok(()));
    // Without pins the first root binds.
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(import(folder.path(), &ours), Ok(()));
    assert!(matches!(refusal(import(folder.path(), &theirs)), Some(TrustCode::RootNotTrusted | TrustCode::RolledBack)));
    assert!(Client::importing(folder.path(), |_| ()).ask(Purpose::Pull).is_ok());
}

#[test]
fn counts_that_promise_more_than_there_is_cost_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let client = Client::importing(folder.path(), |_| ());
    let taken = |bundle: &[u8]| client.runtime.block_on(client.notary.import(bundle, Withdrawal::Stays, now()));
    let started = std::time::Instant::now();
    let mut length = BUNDLE.to_vec();
    length.extend([0xff; 4]);
    let mut head = Vec::new();
    put(&mut head, GUN.as_bytes());
    put(&mut head, NOW.as_bytes());
    let with = |tail: &[u8]| bundle_around(&[&head, tail].concat());
    for bad in
        [length, with(&[0xff; 4]), with(&[0, 0, 0x20, 0]), with(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff]), BUNDLE[1..].to_vec()]
    {
        assert_eq!(taken(&bad).unwrap_err().code, TrustCode::Invalid);
    }
    assert!(started.elapsed() < Duration::from_secs(1));
    // A bundle's floors bind nobody: they are not signed.
    let mut parts = Parts::of(&bundle_of(good()));
    parts.floors = vec![("timestamp".into(), u64::from(u32::MAX), [0; 32])];
    assert_eq!(import(folder.path(), &parts.bundle()), Ok(()));
    assert!(Client::importing(folder.path(), |_| ()).ask(Purpose::Pull).is_ok());
    assert_eq!(import(folder.path(), &bundle_of(good())), Ok(()));
    // Nor does its date make anything younger than today.
    let folder = tempfile::tempdir().unwrap();
    let mut parts = Parts::of(&bundle_of(good()));
    parts.seen = "2100-01-01T00:00:00Z".into();
    assert_eq!(import(folder.path(), &parts.bundle()), Ok(()));
    let vouch = Client::importing(folder.path(), |_| ()).ask(Purpose::Pull).unwrap();
    assert_eq!(vouch.freshness(), Freshness::Imported { since: now() });
}

/// A bundle of these files, as a courier can make one who has no verifier.
fn packed(files: &Files, seen: &str) -> Vec<u8> {
    let plain = |name: &str| name.strip_suffix(".json").filter(|role| !role.contains('.')).map(str::to_owned);
    let files = files.iter().filter_map(|(name, raw)| Some((plain(name)?, raw.clone()))).collect();
    Parts { repository: GUN.to_owned(), seen: seen.to_owned(), files, floors: Vec::new() }.bundle()
}

#[test]
fn a_courier_does_not_undo_what_a_server_took_back_by_writing_a_later_time() {
    let (old, new) = old_and_new();
    let folder = tempfile::tempdir().unwrap();
    Client::new(&Server::files(old.clone()), folder.path(), |_| ()).ask(Purpose::Pull).unwrap();
    let gone = Server::files(Files::new());
    assert_eq!(code(&Client::new(&gone, folder.path(), |_| ()).ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    let later: Timestamp = "2030-06-03T00:00:00Z".parse().unwrap();
    for seen in ["2030-06-02T00:00:00Z", "2100-01-01T00:00:00Z"] {
        let taken = import_at(folder.path(), &packed(&old, seen), later, |_| ());
        assert_eq!(refusal(taken), Some(TrustCode::Withdrawn), "{seen}");
    }
    assert_eq!(code(&Client::importing(folder.path(), |_| ()).ask_at(Purpose::Run, later)), Some(TrustCode::Withdrawn));
    // Nor by what the publisher signed after what is known here, and before he took all of it back.
    let between = import_at(folder.path(), &packed(&new, "2030-06-02T00:00:00Z"), later, |_| ());
    assert_eq!(refusal(between), Some(TrustCode::Withdrawn));
}

#[test]
fn nor_any_other_bad_answer_by_anything_but_what_is_newer_than_what_was_known() {
    let (old, new) = old_and_new();
    let later: Timestamp = "2030-06-03T00:00:00Z".parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bad = || {
        let mut files = old.clone();
        files.insert("timestamp.json".to_owned(), b"{}".to_vec());
        let client = Client::new(&Server::files(files), folder.path(), |_| ());
        assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Invalid));
    };
    Client::new(&Server::files(old.clone()), folder.path(), |_| ()).ask(Purpose::Pull).unwrap();
    bad();
    for seen in ["2030-06-02T00:00:00Z", "2100-01-01T00:00:00Z"] {
        assert_eq!(refusal(import_at(folder.path(), &packed(&old, seen), later, |_| ())), Some(TrustCode::Invalid), "{seen}");
    }
    assert_eq!(code(&Client::importing(folder.path(), |_| ()).ask_at(Purpose::Run, later)), Some(TrustCode::Invalid));
    // On a person's word, and what was signed since.
    let undo = Client::importing(folder.path(), |_| ());
    let bundle = packed(&old, "2030-06-02T00:00:00Z");
    let done = undo.runtime.block_on(undo.notary.import(&bundle, Withdrawal::Undone, later)).unwrap().remove(0).1;
    assert_eq!(done, Ok(()));
    assert!(Client::importing(folder.path(), |_| ()).ask_at(Purpose::Run, later).is_ok());
    bad();
    assert_eq!(import_at(folder.path(), &packed(&new, "2030-06-02T00:00:00Z"), later, |_| ()), Ok(()));
    assert!(Client::importing(folder.path(), |_| ()).ask_at(Purpose::Run, later).is_ok());
}

#[test]
fn many_publications_make_no_state_that_cannot_be_read_again() {
    // Whoever holds the key of `targets` would be rid of the root that is trusted here.
    let stranger = bundle_of(Repo::docker(root_key(GUN)).publish());
    let many_names = |repo: &mut Repo, round: usize| {
        let key = Key::ecdsa();
        repo.role("targets")["delegations"] = serde_json::json!({ "keys": {}, "roles": [] });
        repo.signed.retain(|role, _| !role.contains('/'));
        for index in 0..500 {
            repo.delegate(&format!("targets/r{round}-{index}"), std::slice::from_ref(&key), &[""]);
        }
    };
    let many_bytes = |repo: &mut Repo, round: usize| {
        let role = format!("targets/r{round}");
        repo.delegate(&role, &[Key::ecdsa()], &[""]);
        repo.role(&role)["padding"] = "x".repeat(7 << 20).into();
    };
    let cases: [(usize, &dyn Fn(&mut Repo, usize)); 2] = [(18, &many_names), (5, &many_bytes)];
    for (rounds, grow) in cases {
        let folder = tempfile::tempdir().unwrap();
        let mut repo = Repo::docker(root_key(GUN));
        assert_eq!(import(folder.path(), &packed(&repo.publish(), NOW)), Ok(()));
        for round in 0..rounds {
            grow(&mut repo, round);
            repo.bump();
            let taken = import(folder.path(), &packed(&repo.publish(), NOW));
            assert!(matches!(refusal(taken), None | Some(TrustCode::Invalid)));
        }
        let taken = refusal(import(folder.path(), &stranger));
        assert!(matches!(taken, Some(TrustCode::RootNotTrusted | TrustCode::RolledBack)), "{taken:?}");
        let set_aside = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().path().extension().unwrap() == "bad";
        assert!(!std::fs::read_dir(folder.path()).unwrap().any(set_aside));
        let size = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().metadata().unwrap().len();
        assert!(std::fs::read_dir(folder.path()).unwrap().map(size).max().unwrap() < 20 << 20);
    }
}

#[test]
fn earlier_roots_end_at_their_bound_and_do_not_keep_a_bundle_from_being_written() {
    let (first, last) = rotated_twice();
    let second = last["2.root.json"].len() as u64;
    for (bound, oldest) in [(second + 10, 2), (second, 2), (second - 1, 3), (0, 3), (1 << 20, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let client = Client::new(&Server::files(last.clone()), folder.path(), |config| config.limits.chain_bytes = bound);
        client.ask(Purpose::Pull).unwrap();
        let (_, exported) = client.runtime.block_on(client.notary.export(&[gun()], RootHistory::Fetched)).unwrap();
        assert_eq!(exported[0].oldest_root, oldest, "{bound}");
    }
    // Nor does one without end.
    let mut files = last;
    files.insert("1.root.json".into(), vec![b' '; 2 << 20]);
    assert_eq!(export(&Server::files(files), RootHistory::Fetched).1.oldest_root, 2);
    drop(first);
}

#[test]
fn a_bundle_with_one_part_that_is_none_is_refused_before_any_is_taken_in() {
    let good = packed(&good(), NOW);
    let mut bad = Parts::of(&good);
    bad.repository = "../../etc/passwd".into();
    let both = [&good[..], &bad.bundle()[BUNDLE.len()..]].concat();
    let folder = tempfile::tempdir().unwrap();
    let client = Client::importing(folder.path(), |_| ());
    let taken = client.runtime.block_on(client.notary.import(&both, Withdrawal::Stays, now()));
    assert_eq!(taken.unwrap_err().code, TrustCode::Invalid);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_bundle_as_large_as_is_read_costs_little_more_than_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let mut huge = Parts::of(&bundle_of(good()));
    huge.files.insert("root".into(), vec![b' '; 200 << 20]);
    let many = packed(&good(), NOW);
    let many = [BUNDLE, &many[BUNDLE.len()..].repeat(10_001)].concat();
    for (bundle, most) in [(huge.bundle(), 256 << 10), (many, 256 << 10)] {
        let file = folder.path().join("bundle");
        std::fs::write(&file, &bundle).unwrap();
        drop(bundle);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_img-authz"));
        command.env_clear().envs([("NOTARY", "import"), ("CONFIG_DIR", "/nowhere"), ("DOCKER_CONFIG", "/nowhere")]);
        command.args(["trust", "import", "--json", "--state"]).arg(folder.path().join("state")).arg(&file);
        let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut peak = 0;
        let status = loop {
            let text = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let kib = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
            peak = peak.max(kib.unwrap_or(0));
            match child.try_wait().unwrap() {
                Some(status) => break status,
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        let mut out = String::new();
        std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut out).unwrap();
        assert!(status.code() == Some(2) && out.contains("trust-invalid") && peak < most, "{status} {peak} {out}");
        assert!(!folder.path().join("state").exists());
    }
}

#[test]
fn a_bundle_of_any_age_is_read() {
    for seen in ["-009999-01-02T01:59:59Z", "9999-12-30T22:00:00.999999999Z", "1970-01-01T00:00:00Z"] {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(import(folder.path(), &packed(&good(), seen)), Ok(()), "{seen}");
        let endless = |config: &mut Config| config.stale_limit = Duration::MAX;
        assert!(Client::importing(folder.path(), endless).ask(Purpose::Pull).is_ok());
        let short = Client::importing(folder.path(), |_| ());
        assert_eq!(short.ask(Purpose::Pull).is_ok(), seen.starts_with('9'), "{seen}");
        assert_eq!(short.runtime.block_on(short.notary.statuses()).len(), 1);
    }
}

#[test]
fn a_courier_does_not_make_a_root_void_by_writing_an_earlier_time() {
    let ca = Authority::new(Authority::params("owner CA"));
    let short = {
        let mut params = params(GUN);
        params.not_after = rcgen::date_time_ymd(2030, 7, 1);
        ca.issue(&params, "")
    };
    let ours = Repo::docker(short).publish();
    let theirs = Repo::docker(ca.issue(&params(GUN), "")).publish();
    let pinned = |config: &mut Config| {
        let pins = "{\"disable_tofu\":true,\"ca\":{\"reg.example:5000/\":\"ca.pem\"}}";
        config.pins = Pins::read(pins, |_| Ok(ca.pem.clone())).unwrap();
    };
    let august: Timestamp = "2030-08-01T00:00:00Z".parse().unwrap();
    for seen in [NOW, "1970-01-01T00:00:00Z"] {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(import_at(folder.path(), &packed(&ours, seen), now(), pinned), Ok(()));
        // Our certificate has ended since; theirs is from the same CA, and not our root's heir.
        let taken = refusal(import_at(folder.path(), &packed(&theirs, NOW), august, pinned));
        assert!(matches!(taken, Some(TrustCode::RootNotTrusted | TrustCode::RolledBack)), "{seen}: {taken:?}");
    }
}

#[test]
fn trust_verify_counts_the_stale_limit_as_the_gate_does() {
    let folder = tempfile::tempdir().unwrap();
    let trust = |limit: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_img-authz"));
        command.env_clear().envs([("NOTARY", "import"), ("CONFIG_DIR", "/nowhere"), ("DOCKER_CONFIG", "/nowhere")]);
        let ran =
            command.env("STALE_LIMIT", limit).arg("trust").args(arguments).arg("--state").arg(folder.path()).output().unwrap();
        (ran.status.code(), String::from_utf8(ran.stdout).unwrap())
    };
    let now = Timestamp::now();
    let seen = now - jiff::SignedDuration::from_hours(48);
    assert_eq!(import_at(folder.path(), &packed(&good(), &seen.to_string()), now, |_| ()), Ok(()));
    for (limit, expected) in
        [("", ""), ("72", ""), ("47", "trust-import-expired"), ("1", "trust-import-expired"), ("1h", "trust-misconfigured")]
    {
        let (code, out) = trust(limit, &["verify", "--json", &format!("{GUN}:1.0")]);
        assert_eq!(code, Some(if expected.is_empty() { 0 } else { 2 }), "{limit}: {out}");
        assert!(out.contains(expected), "{limit}: {out}");
        let (code, out) = trust(limit, &["status"]);
        assert_eq!(out.contains("STALE_LIMIT"), expected == "trust-import-expired", "{limit}: {out}");
        assert_eq!(code, Some(if out.contains("STALE_LIMIT") { 2 } else { 0 }), "{limit}: {out}");
    }
}

#[test]
fn state_that_cannot_be_opened_just_now_is_not_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let now = Timestamp::now();
    assert_eq!(import_at(folder.path(), &packed(&good(), &now.to_string()), now, |_| ()), Ok(()));
    let kept = || {
        let names = std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.contains(".state")).collect::<Vec<_>>()
    };
    let before = kept();
    assert_eq!(before.len(), 1);
    let mut yes = 0;
    // Somebody keeps nearly all descriptors open; sooner or later the state is what there is none left for.
    for descriptors in 4..24 {
        let script = format!("ulimit -n {descriptors}; exec \"$@\"");
        let mut command = std::process::Command::new("/bin/sh");
        command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_img-authz"), "trust", "verify", "--json", "--state"]);
        command.arg(folder.path()).arg(format!("{GUN}:1.0"));
        command.env_clear().envs([("NOTARY", "import"), ("CONFIG_DIR", "/nowhere"), ("DOCKER_CONFIG", "/nowhere")]);
        let ran = command.output().unwrap();
        assert_eq!(kept(), before, "{descriptors}: {ran:?}");
        yes += i32::from(ran.status.code() == Some(0));
    }
    assert!(yes > 0);
}

/// Reads and changes what is kept, checksum and all.
fn edit_state(folder: &Path, edit: impl FnOnce(&mut Parts)) -> (std::path::PathBuf, Vec<u8>) {
    let is_state = |path: &std::path::PathBuf| path.extension().is_some_and(|ending| ending == "state");
    let path = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).find(is_state).unwrap();
    let mut bundle = BUNDLE.to_vec();
    put(&mut bundle, &std::fs::read(&path).unwrap());
    let mut parts = Parts::of(&bundle);
    edit(&mut parts);
    let state = parts.bundle()[BUNDLE.len() + 4..].to_vec();
    std::fs::write(&path, &state).unwrap();
    (path, state)
}

#[test]
fn state_whose_checksum_fits_and_that_does_not_verify_is_refused_and_left_where_it_is() {
    let server = Server::files(good());
    let edits: [(&str, fn(&mut Parts)); 3] = [
        ("no timestamp", |parts| drop(parts.files.remove("timestamp"))),
        ("a root that is none", |parts| drop(parts.files.insert("root".into(), b"{}".to_vec()))),
        ("a byte", |parts| parts.files.get_mut("targets").unwrap().push(b' ')),
    ];
    for (what, edit) in edits {
        let folder = tempfile::tempdir().unwrap();
        Client::new(&server, folder.path(), |_| ()).ask(Purpose::Pull).unwrap();
        let (path, state) = edit_state(folder.path(), edit);
        // A pin that names the root does not make it go away either: its checksum says that it was accepted once.
        let root = Client::new(&server, tempfile::tempdir().unwrap().path(), |_| ());
        root.ask(Purpose::Pull).unwrap();
        let (_, keys) = root.runtime.block_on(root.notary.root(&gun())).unwrap();
        let block = serde_json::json!({ "certs": { GUN: keys } }).to_string();
        for pins in ["{}", &block] {
            let pins = Pins::read(pins, |_| Err(String::new())).unwrap();
            let client = Client::new(&server, folder.path(), |config| config.pins = pins);
            for purpose in [Purpose::Pull, Purpose::Run] {
                let answer = client.ask(purpose);
                assert_eq!(code(&answer), Some(TrustCode::Misconfigured), "{what}: {answer:?}");
                assert!(answer.unwrap_err().to_string().contains("trust forget"), "{what}");
            }
        }
        assert_eq!(std::fs::read(&path).unwrap(), state, "{what}");
    }
}

#[test]
fn versions_seen_count_though_the_files_beside_them_are_older() {
    let (old, new) = old_and_new();
    let folder = tempfile::tempdir().unwrap();
    Client::new(&Server::files(old.clone()), folder.path(), |_| ()).ask(Purpose::Pull).unwrap();
    edit_state(folder.path(), |parts| parts.floors.push(("targets/releases".into(), 2, [7; 32])));
    let ask = |files: Files| code(&Client::new(&Server::files(files), folder.path(), |_| ()).ask(Purpose::Pull));
    // Version 2 said something else than this, and this is no version 3.
    assert_eq!(ask(new), Some(TrustCode::RolledBack));
}

#[test]
fn a_gate_that_runs_notices_that_a_person_had_a_repository_forgotten_whatever_it_has_in_memory() {
    let (old, new) = old_and_new();
    let stranger = Repo::docker(root_key(GUN)).publish();
    let folder = tempfile::tempdir().unwrap();
    let live = std::sync::Arc::new(std::sync::Mutex::new(Some(old)));
    let handler = std::sync::Arc::clone(&live);
    let server = Server::start(move |seen| match &*handler.lock().unwrap() {
        Some(files) => crate::support::trust_server::file(files, seen),
        None => crate::support::trust_server::Reply::Close,
    });
    let gate = || Client::new(&server, folder.path(), |_| ());
    let (one, other) = (gate(), gate());
    one.ask(Purpose::Pull).unwrap();
    *live.lock().unwrap() = Some(new.clone());
    // Another process is ahead of it; and that state is forgotten.
    other.ask(Purpose::Pull).unwrap();
    assert_eq!(gate().notary.forget(&gun()), Ok(true));
    *live.lock().unwrap() = Some(stranger.clone());
    assert_eq!(code(&one.ask(Purpose::Pull)), None);
    assert_eq!(code(&gate().ask(Purpose::Pull)), None);
    *live.lock().unwrap() = Some(new);
    assert_eq!(code(&gate().ask(Purpose::Pull)), Some(TrustCode::RolledBack));
    // Also while the server is gone.
    *live.lock().unwrap() = Some(stranger);
    one.ask(Purpose::Pull).unwrap();
    *live.lock().unwrap() = None;
    assert_eq!(code(&one.ask(Purpose::Run)), None);
    assert_eq!(gate().notary.forget(&gun()), Ok(true));
    for _ in 0..2 {
        assert_eq!(code(&one.ask(Purpose::Run)), Some(TrustCode::Unreachable));
    }
}
