//! Rights of users on a call's journey: asked before anything is found out, recorded, and never in the gate's own way.

use std::sync::Arc;

use super::super::{Approvals, Gate, Identity, Rules};
use crate::audit::{Entry, MemoryJournal};
use crate::engine::{CALL_HEADER, Container, Fake, own_mark};
use crate::image::Digest;
use crate::policy::{Caller, GroupSetting, Mode, Policy, Posture, Request, Users, Verdict};
use crate::request::Intent;
use crate::trust::{Binding, Fake as Notary, VerifierName};
use crate::wire::{Answer, Call};

const GOOD: &str = "r.example/team/good:1";

struct House {
    gate: Gate,
    engine: Arc<Fake>,
    journal: Arc<MemoryJournal>,
}

fn group(name: &str, users: &[&str], actions: &[&str]) -> GroupSetting {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let (users, actions) = (owned(users), owned(actions));
    GroupSetting { name: name.to_owned(), place: "policy.toml:3".to_owned(), users, actions, ..GroupSetting::default() }
}

/// Alice may do all, bob may only stop, and the local socket is not listed.
fn house(mode: Mode) -> House {
    let groups = vec![group("all", &["alice"], &["*"]), group("stoppers", &["bob"], &["container_stop"])];
    let users = Users::of_groups(groups, &[]).unwrap().0;
    let policy = Policy::of(Posture::Images, "r.example", &VerifierName::NOTARY, Binding::TagToDigest);
    let policy = Policy { mode, users: Some(Arc::new(users)), ..policy };
    let engine = Arc::new(Fake::new());
    engine.put_container(Container {
        id: "a".repeat(64).parse().unwrap(),
        name: "web".to_owned(),
        image: None,
        manifest: None,
        platform: None,
        image_ref: String::new(),
        runs_as: crate::image::RunsAs::default(),
        mounts: Vec::new(),
        running: false,
        started_at: None,
    });
    let journal = Arc::new(MemoryJournal::default());
    let notary = Notary::default().with(GOOD, Digest::of(b"good"));
    let rules = Rules::Good { policy, verifiers: vec![Arc::new(notary)], registry: None };
    let workers = tokio::runtime::Handle::current();
    let gate = Gate::new(rules, engine.clone(), journal.clone(), Approvals::in_memory(), Identity::default(), workers);
    House { gate, engine, journal }
}

fn call(user: &str, method: &str, uri: &str) -> Call {
    let tls = if user.is_empty() { "" } else { "TLS" };
    let post = serde_json::json!({ "User": user, "UserAuthNMethod": tls, "RequestMethod": method, "RequestUri": uri });
    Call::decode(post.to_string().as_bytes()).unwrap()
}

impl House {
    async fn says(&self, call: Call) -> String {
        let intent = Intent::of(&call);
        match self.gate.request(Ok((call, intent))).await {
            Answer::Allow => "allow".to_owned(),
            Answer::Deny(message) => message.split(':').next().unwrap().to_owned(),
        }
    }

    fn last(&self) -> Entry {
        self.journal.0.lock().unwrap().last().unwrap().clone()
    }
}

#[tokio::test]
async fn who_has_no_right_is_refused_before_anything_is_found_out() {
    let house = house(Mode::Enforce);
    assert_eq!(house.says(call("bob", "POST", "/v1.41/containers/web/start")).await, "user-forbidden");
    assert_eq!(house.engine.calls(), Vec::<String>::new());
    let entry = house.last();
    assert_eq!(
        (entry.user.as_str(), entry.action, entry.right, entry.code),
        ("bob", "start", "container_start", "user-forbidden")
    );
    // A right is no approval: who has it is judged like everybody before.
    assert_eq!(house.says(call("alice", "POST", "/v1.41/containers/web/start")).await, "no-image");
    assert!(!house.engine.calls().is_empty());
    assert_eq!(house.last().right, "container_start");
    assert_eq!(house.says(call("alice", "POST", &format!("/images/create?fromImage={GOOD}"))).await, "allow");
    assert_eq!((house.last().right, house.last().user.as_str()), ("image_create", "alice"));
    assert_eq!(house.says(call("alice", "POST", "/images/create?fromImage=evil.example/x:1")).await, "registry-not-allowed");
    for (user, method, uri, verdict) in [
        ("bob", "POST", "/containers/web/stop", "allow"),
        ("bob", "GET", "/containers/json", "user-forbidden"),
        ("", "GET", "/containers/json", "user-forbidden"),
        ("", "POST", "/containers/web/rename?name=x1", "user-forbidden"),
        ("alice", "POST", "/what/is/new", "route-unknown"),
        ("bob", "POST", "/what/is/new", "user-forbidden"),
    ] {
        assert_eq!(house.says(call(user, method, uri)).await, verdict, "{user} {method} {uri}");
    }
}

#[tokio::test]
async fn rights_lock_the_gate_out_of_nothing() {
    let house = house(Mode::Enforce);
    let looks = || call("", "GET", "/v1.41/containers/web/json");
    assert_eq!(house.says(looks()).await, "user-forbidden");
    let mut own = looks();
    own.headers.insert(CALL_HEADER.to_owned(), own_mark());
    assert_eq!(house.says(own).await, "allow");
    // What it wants to know for itself hangs on nobody's rights.
    let intent = Intent::of(&call("", "POST", &format!("/images/create?fromImage={GOOD}")));
    assert!(matches!(house.gate.judge(&intent).await.verdict, Verdict::Allow(_)));
    let rights_of = |caller| house.gate.rights_of(&Request { caller, ..Request::by_gate(&intent) });
    assert_eq!(rights_of(Caller::Local).unwrap(), "no group decides, so everything is refused");
    assert_eq!(rights_of(Caller::Named("bob")).unwrap(), "the group stoppers (policy.toml:3) decides");
}

#[tokio::test]
async fn in_mode_permissive_a_missing_right_is_only_recorded() {
    let house = house(Mode::Permissive);
    assert_eq!(house.says(call("bob", "POST", "/containers/web/kill")).await, "allow");
    let entry = house.last();
    assert_eq!((entry.code, entry.right, entry.enforced), ("user-forbidden", "container_kill", false));
}
