//! Decisions of a gate are kept, and judged again: by the same policy they come out as they did, by another where that can be told.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::support::*;
use crate::cases::Bench;
use crate::engine::{Container, Image};
use crate::image::ImageConfig;
use crate::policy::{Case, Policy, PolicyFile, Posture, Reason, Recording};
use crate::request::Intent;
use crate::trust::Fake as Notary;
use crate::wire::{Answer, Call};

const POLICY: &str = "version = 1\n[verifiers.notary]\ntype = \"notary\"\nserver = \"https://n.example\"\n\
     [verifiers.other]\ntype = \"notary\"\nserver = \"https://o.example\"\n\
     [[scope]]\nmatch = \"r.example/**\"\nrequire = \"notary\"\n";

fn policy_of(text: &str) -> Policy {
    PolicyFile(vec![("/p/policy.toml".into(), text.to_owned())]).read(Policy::closed(Posture::Images)).resolved.unwrap().policy
}

fn recording(folder: &Path) -> Recording {
    let verifiers = ["notary", "other"].map(|name| (name.parse().unwrap(), digest(name))).into();
    Recording { folder: folder.to_owned(), policy: digest("policy"), verifiers }
}

/// The records in a folder, once there are so many.
async fn records(folder: &Path, count: usize) -> Vec<(Case, String)> {
    for _ in 0..400 {
        let found: Vec<PathBuf> = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
        if found.len() == count && found.iter().all(|path| path.to_string_lossy().ends_with(".cases.toml")) {
            let of = |path: &PathBuf| {
                let text = std::fs::read_to_string(path).unwrap();
                let cases = Case::read(path, &text).unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
                (cases.into_iter().next().unwrap(), text)
            };
            return found.iter().map(of).collect();
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("there are not {count} records: {:?}", std::fs::read_dir(folder).map(Iterator::count));
}

fn posted(method: &str, uri: &str, body: Option<&str>) -> (Call, Intent) {
    let mut call = Call { method: method.into(), uri: uri.into(), ..call_without_body() };
    if let Some(body) = body {
        call.headers = [("Content-Type".to_owned(), "application/json".to_owned())].into();
        call.body = Some(body.as_bytes().to_vec());
    }
    let intent = Intent::of(&call);
    (call, intent)
}

async fn verdict(text: &str, folder: &Path, case: &Case) -> Result<String, String> {
    let bench = Bench::new(policy_of(text), std::collections::BTreeMap::new(), tokio::runtime::Handle::current());
    let outcome = bench.of(recording(folder)).replay(case).await?;
    Ok(outcome.judgement.verdict.refusal().map_or("allow", Reason::code).to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_kept_as_a_case_and_comes_out_again_as_it_did() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("record");
    let policy = Policy { record: Some(Arc::new(recording(&folder))), ..policy_of(POLICY) };
    let House { gate, engine, .. } = house_with(policy, Notary::default().with(GOOD, digest("good manifest")));
    let secret = ImageConfig { env: vec!["A_TOKEN=hunter2".to_owned()], ..ImageConfig::default() };
    engine.put_image(Image { config: secret, ..image("good", &[GOOD], &["r.example/team/good"]) });
    engine.put_container(Container { image_ref: GOOD.into(), ..container('c', "web", Some(digest("good config"))) });
    let gate = Arc::into_inner(gate).unwrap().that_records(state.path().join("salt"));
    let create = |image: &str| {
        format!(r#"{{"Image":"{image}","Env":["P=hunter2"],"Cmd":["hunter2"],"HostConfig":{{"CapAdd":["SYS_ADMIN"]}}}}"#)
    };
    let calls = [
        posted("POST", "/v1.43/containers/create?name=one", Some(&create(GOOD))),
        posted("POST", "/v1.43/containers/create?name=two", Some(&create("evil.example/evil:1"))),
        posted("POST", "/v1.43/images/create?fromImage=r.example%2Fteam%2Fgood&tag=1", None),
        posted("POST", "/v1.43/images/create?fromImage=r.example%2Fteam%2Fother&tag=1", None),
        posted("POST", "/v1.43/containers/web/start", None),
        posted("DELETE", "/v1.43/containers/old", None),
        // What only reads is nobody's decision.
        posted("GET", "/v1.43/containers/json", None),
    ];
    let mut said = Vec::new();
    for (call, intent) in calls {
        said.push(refused(&gate.request(Ok((call, intent))).await).to_owned());
    }
    assert_eq!(said, ["allow", "registry-not-allowed", "allow", "not-signed", "allow", "allow", "allow"]);
    let kept = records(&folder, 6).await;
    for (case, text) in &kept {
        assert!(!text.contains("hunter2"), "{text}");
        let due = case.expected.code.clone().unwrap_or("allow".to_owned());
        assert_eq!(verdict(POLICY, &folder, case).await, Ok(due), "{text}");
    }
    // The same again counts, whatever the container is called.
    let (call, intent) = posted("POST", "/v1.43/containers/create?name=other", Some(&create(GOOD)));
    gate.request(Ok((call, intent))).await;
    assert_eq!(records(&folder, 6).await.len(), 6);

    let of = |name: &str| kept.iter().map(|(case, _)| case).find(|case| case.name.starts_with(name)).unwrap();
    // A stricter rule about what the call says, and one about what was never looked at.
    let no_caps = POLICY.replace("require = \"notary\"\n", "require = \"notary\"\nrules = { capabilities = \"deny\" }\n");
    assert_eq!(verdict(&no_caps, &folder, of(&format!("create {GOOD}"))).await, Ok("create-rule".to_owned()));
    assert_eq!(verdict(&no_caps, &folder, of("pull r.example/team/good")).await, Ok("allow".to_owned()));
    let no_root = POLICY.replace("require = \"notary\"\n", "require = \"notary\"\nrules = { user-root = \"deny\" }\n");
    let unknown = verdict(&no_root, &folder, of(&format!("create {GOOD}"))).await.unwrap_err();
    assert!(unknown.contains("configuration"), "{unknown}");
    // Somebody else is to vouch, who was never asked; or one who was, made of something else.
    let other = POLICY.replace("require = \"notary\"", "require = \"other\"");
    let both = POLICY.replace("require = \"notary\"", "require = { all = [\"notary\", \"other\"] }");
    for text in [&other, &both] {
        let unknown = verdict(text, &folder, of(&format!("create {GOOD}"))).await.unwrap_err();
        assert!(unknown.contains("`other`"), "{unknown}");
    }
    // Of what the first refuses, the second changes nothing.
    assert_eq!(verdict(&both, &folder, of("pull r.example/team/other")).await, Ok("not-signed".to_owned()));
    let moved = Bench::new(policy_of(POLICY), std::collections::BTreeMap::new(), tokio::runtime::Handle::current());
    let moved = moved.of(Recording { verifiers: std::collections::BTreeMap::new(), ..recording(&folder) });
    assert!(moved.replay(of(&format!("create {GOOD}"))).await.is_err());
    // A laxer scope: nobody knows what its registry holds.
    let lax = POLICY.to_owned() + "[[scope]]\nmatch = \"evil.example/**\"\nrequire = \"notary\"\n";
    assert!(verdict(&lax, &folder, of("create evil.example")).await.is_err());
    let closed = "version = 1\n[verifiers.notary]\ntype = \"notary\"\nserver = \"https://n.example\"\n[[scope]]\nmatch = \"x.example/**\"\nrequire = \"notary\"\n";
    assert_eq!(verdict(closed, &folder, of(&format!("create {GOOD}"))).await, Ok("registry-not-allowed".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_changes_no_decision() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("record");
    std::fs::write(&folder, "not a folder").unwrap();
    let policy = Policy { record: Some(Arc::new(recording(&folder))), ..policy_of(POLICY) };
    let House { gate, .. } = house_with(policy, Notary::default().with(GOOD, digest("good manifest")));
    let gate = Arc::into_inner(gate).unwrap().that_records(state.path().join("salt"));
    let (call, intent) = posted("POST", "/containers/create", Some(&format!(r#"{{"Image":"{GOOD}"}}"#)));
    assert_eq!(gate.request(Ok((call, intent))).await, Answer::Allow);
    for _ in 0..400 {
        if gate.metrics().contains("record_lost_total{why=\"disk\"} 1") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("{}", gate.metrics());
}

/// The time of the serving thread, with the record and without; not in the suite: it measures.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo test --lib how_long_a_decision -- --ignored --nocapture"]
async fn how_long_a_decision_takes_with_and_without_a_record() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("record");
    for record in [None, Some(Arc::new(recording(&folder))), None, Some(Arc::new(recording(&folder)))] {
        let is_on = record.is_some();
        let policy = Policy { record, ..policy_of(POLICY) };
        let House { gate, .. } = house_with(policy, Notary::default().with(GOOD, digest("good manifest")));
        let gate = Arc::into_inner(gate).unwrap().that_records(state.path().join("salt"));
        let begun = std::time::Instant::now();
        for _ in 0..5_000 {
            let (call, intent) = posted("POST", "/containers/create", Some(&format!(r#"{{"Image":"{GOOD}"}}"#)));
            assert_eq!(gate.request(Ok((call, intent))).await, Answer::Allow);
        }
        let each = begun.elapsed() / 5_000;
        let lost: Vec<_> = gate.metrics().lines().filter(|line| line.contains("record_lost_total{")).map(str::to_owned).collect();
        println!("record {is_on}: {each:?} a decision; {lost:?}");
    }
}
