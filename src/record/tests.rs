use std::os::unix::fs::PermissionsExt as _;

use jiff::{SignedDuration, Timestamp};

use super::folder::{FILES, Folder, Key};
use super::*;
use crate::policy::{Made, Mode, Reason, Seen, recorded_case};
use crate::request::Transport;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn recording(folder: &std::path::Path) -> Arc<Recording> {
    let verifiers = std::collections::BTreeMap::new();
    Arc::new(Recording { folder: folder.to_owned(), policy: crate::image::Digest::of(b""), verifiers })
}

/// A pull of this image that was refused.
fn decision(image: &str, user: &str, recording: &Arc<Recording>) -> Decision {
    let uri = format!("/images/create?fromImage={image}&tag=1");
    let post = serde_json::json!({"User": user, "UserAuthNMethod": "TLS", "RequestMethod": "POST", "RequestUri": uri});
    let call = Call::decode(post.to_string().as_bytes()).unwrap();
    let intent = Intent::over(&call, Transport::Http1);
    let reason = Reason::RegistryNotAllowed { repository: image.parse().unwrap() };
    let facts = Facts { now: Some(NOW), ..Facts::default() };
    Decision { call, intent, facts, verdict: Verdict::refusing(reason, Mode::Enforce), recording: Arc::clone(recording) }
}

fn written(decision: &Decision) -> (Key, String) {
    let made: Made = call::kept(&decision.call, &decision.intent);
    let Decision { intent, facts, verdict, recording, .. } = decision;
    let text = recorded_case(&made, intent, facts, verdict, recording, &Hider::default());
    (Key::of(&made, intent, verdict, &text), text)
}

fn files(folder: &std::path::Path) -> Vec<String> {
    let mut texts: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    texts.sort();
    texts
}

#[test]
fn what_is_decided_again_is_one_file_with_a_count_also_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("record");
    let (key, text) = written(&decision("a.example/a", "ann", &recording(&path)));
    let at = |seconds| NOW + SignedDuration::from_secs(seconds);
    let mut folder = Folder::open(&path).unwrap();
    for second in 0..3 {
        folder.keep(&key, &text, at(second)).unwrap();
    }
    folder.flush(at(3)).unwrap();
    let mut folder = Folder::open(&path).unwrap();
    folder.keep(&key, &text, at(9)).unwrap();
    folder.flush(at(9)).unwrap();
    let [file] = &files(&path)[..] else { panic!("{:?}", files(&path)) };
    let (_, seen) = Seen::split(file).unwrap();
    assert_eq!(seen, Seen { first: at(0), last: at(9), times: 4 });
    let [case] = &crate::policy::Case::read(&path, file).unwrap()[..] else { panic!("{file}") };
    assert_eq!((case.recorded.as_ref().unwrap().seen, case.user.as_deref()), (seen, Some("ann")));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    assert!(std::fs::read_dir(&path).unwrap().all(|entry| mode(&entry.unwrap().path()) == 0o600));
}

#[test]
fn a_flood_of_one_sort_pushes_out_its_own_and_nobody_elses() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("record");
    let of = recording(&path);
    let mut folder = Folder::open(&path).unwrap();
    let (key, text) = written(&decision("a.example/honest", "ann", &of));
    folder.keep(&key, &text, NOW).unwrap();
    let mut refused = 0;
    for number in 0..FILES + 50 {
        let (key, text) = written(&decision(&format!("evil.example/{number}"), "eve", &of));
        let now = NOW + SignedDuration::from_secs(1 + i64::try_from(number).unwrap());
        // No more than so many new files in a second.
        while !folder.keep(&key, &text, now).unwrap() {
            refused += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    assert!(refused > 0);
    let texts = files(&path);
    assert_eq!(texts.len(), FILES);
    assert!(texts.iter().any(|text| text.contains("a.example/honest")));
    assert!(!texts.iter().any(|text| text.contains("evil.example/0 ") || text.contains("evil.example/0:")));
    assert!(texts.iter().any(|text| text.contains(&format!("evil.example/{}", FILES + 49))));
}

#[test]
fn what_is_old_goes_and_what_is_foreign_stays() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("record");
    let (key, text) = written(&decision("a.example/a", "ann", &recording(&path)));
    let mut folder = Folder::open(&path).unwrap();
    folder.keep(&key, &text, NOW).unwrap();
    std::fs::write(path.join("README"), "mine").unwrap();
    folder.flush(NOW + SignedDuration::from_hours(24 * 29)).unwrap();
    assert_eq!(files(&path).len(), 2);
    folder.flush(NOW + SignedDuration::from_hours(24 * 31)).unwrap();
    assert_eq!(files(&path), ["mine"]);
}

#[test]
fn a_folder_of_others_is_not_used() {
    let state = tempfile::tempdir().unwrap();
    let (open, link, file) = (state.path().join("open"), state.path().join("link"), state.path().join("file"));
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(&file, "").unwrap();
    std::os::unix::fs::symlink(&open, &link).unwrap();
    for (path, due) in [(&open, "chmod 0700"), (&link, "symbolic link"), (&file, "not a folder")] {
        let told = Folder::open(path).map(|_| ()).unwrap_err().to_string();
        assert!(told.contains(due), "{told}");
    }
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o700)).unwrap();
    Folder::open(&open).unwrap();
    // Nor one in which somebody keeps files: what is old would go.
    for name in ["web-ok.cases.toml", "approvals.jsonl", "0123456789abcdef-0123456789ABCDEF01234567.cases.toml"] {
        std::fs::write(open.join(name), "mine").unwrap();
        let told = Folder::open(&open).map(|_| ()).unwrap_err().to_string();
        assert!(told.contains("give the record a folder of its own"), "{told}");
        assert_eq!(files(&open), ["mine"]);
        std::fs::remove_file(open.join(name)).unwrap();
    }
    Folder::open(&open).unwrap();
}

#[test]
fn a_broken_file_is_written_anew() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("record");
    let (key, text) = written(&decision("a.example/a", "ann", &recording(&path)));
    let mut folder = Folder::open(&path).unwrap();
    assert!(folder.keep(&key, &text, NOW).unwrap());
    let file = std::fs::read_dir(&path).unwrap().next().unwrap().unwrap().path();
    for broken in ["", "\n[case.recorded.seen]\n", "\n[case.recorded.seen]\nfirst = x\nlast = y\ntimes = -1\n"] {
        std::fs::write(&file, broken).unwrap();
        folder.keep(&key, &text, NOW).unwrap();
        folder.flush(NOW).unwrap();
        assert!(!file.exists());
        folder.keep(&key, &text, NOW).unwrap();
        assert!(Seen::split(&std::fs::read_to_string(&file).unwrap()).is_some());
    }
}

#[test]
fn a_full_queue_is_counted_and_nobody_waits() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("record");
    let of = recording(&path);
    let recorder = Recorder::new(state.path().join("salt"));
    let many: Vec<Decision> = (0..2_000).map(|number| decision(&format!("evil.example/{number}"), "eve", &of)).collect();
    for decision in many {
        recorder.offer(decision);
    }
    let Lost { busy, large, .. } = recorder.lost();
    assert!(busy > 0 && large == 0, "{busy}");
    let takes = |decision: &Decision| recorder.takes((&decision.call, &decision.intent), &decision.facts, &decision.verdict);
    let small = decision("a.example/a", "ann", &of);
    assert!(takes(&small));
    let call = Call { body: Some(vec![b'x'; BODY_BYTES + 1]), ..small.call.clone() };
    assert!(!takes(&Decision { call, ..decision("a.example/a", "ann", &of) }));
    // What an image says of itself, and what a container runs as.
    let runs_as = crate::image::RunsAs::of([("User", &*format!("\"{}\"", "x".repeat(FACTS_BYTES)))]);
    let facts = Facts { runs_as: Some(runs_as), ..small.facts.clone() };
    assert!(!takes(&Decision { facts, ..decision("a.example/a", "ann", &of) }));
    assert_eq!(recorder.lost().large, 2);
    // What cannot be decided otherwise is no loss.
    let lost = recorder.lost();
    assert!(!takes(&Decision { verdict: Verdict::refusing(Reason::Overloaded, Mode::Enforce), ..small }));
    assert_eq!(recorder.lost(), lost);
}

#[test]
fn the_salt_is_kept_and_is_its_owners_alone() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("salt");
    let (first, second) = (hider(&path).variable("A=x"), hider(&path).variable("A=x"));
    assert_eq!(first, second);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(&path, "cut").unwrap();
    assert_ne!(hider(&path).variable("A=x"), first);
}
