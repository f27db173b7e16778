//! Plugins, and the gate as one of them.

use std::sync::Arc;

use super::support::{GOOD, House, call_without_body, digest, house, house_with, managed, policy, refused, sent};
use crate::audit::{Event, MemoryJournal};
use crate::engine::{EngineError, Fake, Plugin};
use crate::gate::{Approvals, Gate, Identity, Rules};
use crate::policy::{Policy, Posture, Request};
use crate::request::{Intent, PluginCall, PluginChange};
use crate::trust::Fake as Notary;
use crate::wire::{Answer, Call};

#[tokio::test]
async fn plugins_come_by_digest_and_never_in_the_gates_place() {
    let house = house();
    let install = |remote: &str, name: Option<&str>| {
        let name = name.map(|name| name.parse().unwrap());
        Intent::Plugin(PluginCall::Pull { remote: remote.parse().unwrap(), name })
    };
    let signed = format!("r.example/team/good@{}", digest("good manifest"));
    assert_eq!(house.says(&install(&signed, None)).await, "allow");
    assert_eq!(house.says(&install(GOOD, None)).await, "plugin-needs-digest");
    assert_eq!(house.says(&install("evil.example/p:1", None)).await, "plugin-needs-digest");
    let identity = Identity::of_process(std::path::Path::new("/run/docker/plugins/img-authz.sock"));
    let engine = Arc::new(Fake::new());
    engine.put_plugin(Plugin { id: "f".repeat(64), name: "other:latest".into(), enabled: true, ..Plugin::default() });
    let rules = |posture| Rules::Good {
        policy: policy(posture),
        verifiers: vec![Arc::new(Notary::default().with(GOOD, digest("good manifest")))],
        registry: None,
    };
    let workers = tokio::runtime::Handle::current();
    let journal = Arc::new(MemoryJournal::default());
    let gate = Gate::new(rules(Posture::Images), engine.clone(), journal.clone(), Approvals::in_memory(), identity, workers);
    let house = House { gate: Arc::new(gate), engine, journal };
    assert_eq!(house.says(&install(&signed, Some("img-authz"))).await, "self-protect");
    let change = |plugin: &str, change| Intent::Plugin(PluginCall::Change { plugin: plugin.to_owned(), change });
    assert_eq!(house.says(&change("img-authz:latest", PluginChange::Disable)).await, "allow");
    // The daemon refuses to remove it while it is enabled; with force it would be gone, and the audit log with it.
    assert_eq!(house.says(&change("img-authz:latest", PluginChange::Remove)).await, "allow");
    assert_eq!(house.says(&change("img-authz:latest", PluginChange::RemoveByForce)).await, "self-protect");
    assert_eq!(house.says(&change("other", PluginChange::RemoveByForce)).await, "allow");
    house.gate.replace(rules(Posture::Lockdown));
    assert_eq!(house.says(&change("img-authz:latest", PluginChange::Disable)).await, "self-protect");
    assert_eq!(house.says(&change("other", PluginChange::Disable)).await, "posture-forbids");
}

#[tokio::test]
async fn in_lockdown_the_gate_is_not_touched_under_any_of_its_names() {
    let house = managed(Posture::Lockdown);
    let whole = format!("5a{}", "0".repeat(62));
    let remote = format!("remote=r.example/team/good@{}", digest("good manifest"));
    let mine = [
        "own/gate:1",
        "docker.io/own/gate:1",
        "index.docker.io/own/gate:1",
        &whole,
        "5a00",
        "5",
        // Decoded once, as the router does.
        "own%2fgate%3a1",
        "%6fwn/g%61te:1",
        "%35a00",
    ];
    for (names, says) in [(&mine[..], "self-protect"), (&["other", "own/gate", "own/gate:2", "bbbb", "5b"], "posture-forbids")] {
        for name in names {
            for (method, uri) in [
                ("POST", format!("/v1.41/plugins/{name}/disable?force=1")),
                ("POST", format!("/plugins/{name}/set")),
                ("POST", format!("/plugins/{name}/enable?timeout=0")),
                ("POST", format!("/v1.41/plugins/{name}/upgrade?{remote}")),
                ("DELETE", format!("/plugins/{name}?force=1")),
                ("DELETE", format!("http://docker/v1.24/plugins/{name}")),
            ] {
                assert_eq!(house.says(&sent(method, &uri)).await, says, "{method} {uri}");
            }
        }
    }
}

#[tokio::test]
async fn no_plugin_takes_the_gates_name_in_any_posture() {
    let signed = format!("r.example/team/good@{}", digest("good manifest"));
    for (posture, otherwise) in [(Posture::Images, "allow"), (Posture::Lockdown, "posture-forbids")] {
        let house = managed(posture);
        for (uri, says) in [
            ("/plugins/create?name=own/gate:1".to_owned(), "self-protect"),
            ("/plugins/create?name=own%2Fgate:1".to_owned(), "self-protect"),
            ("/plugins/create?name=own/gate:2".to_owned(), otherwise),
            (format!("/plugins/pull?remote={signed}&name=own/gate:1"), "self-protect"),
            (format!("/plugins/pull?remote={signed}&name=docker.io%2fown%2fgate:1"), "self-protect"),
            (format!("/plugins/pull?remote={signed}&name=own/gate"), otherwise),
            (format!("/plugins/pull?remote={signed}"), otherwise),
            ("/plugins/pull?remote=own/gate:1".to_owned(), "self-protect"),
            (format!("/plugins/own/gate:1/upgrade?remote={signed}"), "self-protect"),
            (format!("/plugins/5a/upgrade?remote={signed}"), "self-protect"),
            (format!("/plugins/other/upgrade?remote={signed}"), otherwise),
        ] {
            assert_eq!(house.says(&sent("POST", &uri)).await, says, "{uri} in {posture:?}");
        }
    }
}

#[tokio::test]
async fn in_posture_images_the_gate_is_reconfigured_and_that_is_recorded() {
    let house = managed(Posture::Images);
    for (method, uri) in [
        ("POST", "/plugins/own/gate:1/disable"),
        ("POST", "/plugins/5a00/set"),
        ("POST", "/plugins/own/gate:1/enable"),
        ("DELETE", "/plugins/own%2fgate:1"),
    ] {
        assert_eq!(house.lives(method, uri).await, Answer::Allow, "{uri}");
        house.ends(method, uri).await;
    }
    let entries = house.journal.0.lock().unwrap();
    assert!(entries.iter().all(|entry| entry.event == Event::Gate) && entries.len() == 4, "{entries:?}");
}

#[tokio::test]
async fn a_gate_that_cannot_learn_its_name_lets_no_plugin_in() {
    let house = managed(Posture::Images);
    house.engine.fail_with(Some(EngineError::Timeout { call: "GET /plugins".into() }));
    let signed = format!("r.example/team/good@{}", digest("good manifest"));
    for uri in ["/plugins/create?name=x".to_owned(), format!("/plugins/pull?remote={signed}")] {
        assert_eq!(house.says(&sent("POST", &uri)).await, "engine-unreachable", "{uri}");
    }
    // Settings can still be corrected; with force nothing is removed.
    assert_eq!(house.says(&sent("POST", "/plugins/x/disable")).await, "allow");
    assert_eq!(house.says(&sent("DELETE", "/plugins/x")).await, "allow");
    assert_eq!(house.says(&sent("DELETE", "/plugins/x?force=1")).await, "engine-unreachable");
    house.engine.fail_with(None);
    assert_eq!(house.says(&sent("POST", "/plugins/create?name=x")).await, "allow");
}

fn enable(plugin: &str) -> Intent {
    sent("POST", &format!("/plugins/{plugin}/enable?timeout=30"))
}

#[tokio::test]
async fn a_plugin_that_nothing_approves_is_not_enabled() {
    let house = managed(Posture::Images);
    house.is_enabled_later("made:1", "made");
    assert_eq!(house.says(&enable("other")).await, "allow", "it was enabled when the gate started");
    assert_eq!(house.says(&enable("made:1")).await, "plugin-unapproved");
    assert_eq!(house.says(&enable("nothing")).await, "plugin-unapproved");
    // What is equal to nothing that was there then: other settings of the same plugin.
    house.engine.remove_plugins();
    let changed = Plugin { id: "b".repeat(64), name: "other:latest".into(), digest: Some(digest("set")), ..Plugin::default() };
    house.engine.put_plugin(changed);
    assert_eq!(house.says(&enable("other")).await, "plugin-unapproved");
    // The content of one under the id of another.
    house.engine.remove_plugins();
    house.is_enabled_later("other:latest", "other");
    assert_eq!(house.says(&enable("other")).await, "plugin-unapproved");
}

#[tokio::test]
async fn a_plugin_is_enabled_by_its_setting_while_its_digest_is_equal() {
    let named = |text: String| Policy { plugins: vec![text.parse().unwrap()], ..policy(Posture::Images) };
    for (setting, says) in [
        (format!("docker.io/library/made:1@{}", digest("made")), "allow"),
        (format!("docker.io/library/made:2@{}", digest("made")), "plugin-unapproved"),
        (format!("docker.io/library/made:1@{}", digest("other")), "plugin-unapproved"),
    ] {
        let house = house_with(named(setting.clone()), Notary::default());
        house.is_enabled_later("made:1", "made");
        assert_eq!(house.says(&enable("made:1")).await, says, "{setting}");
    }
}

#[tokio::test]
async fn a_plugin_that_came_by_a_verified_digest_is_enabled_and_no_other_is_taken_for_it() {
    let by_digest = format!("r.example/team/good@{}", digest("good manifest"));
    let pull = format!("/plugins/pull?remote={by_digest}&name=came:1");
    let came = |reference: &str, defaults| Plugin {
        id: "c".repeat(64),
        name: "docker.io/library/came:1".into(),
        reference: reference.into(),
        digest: Some(digest("came")),
        has_default_settings: defaults,
        ..Plugin::default()
    };
    for (plugin, is_set, says) in [
        (came(&by_digest, true), false, "allow"),
        // Made by `plugin create` while the pull was on its way.
        (came("came:1", true), false, "plugin-unapproved"),
        (came(&by_digest, false), false, "plugin-unapproved"),
        (came(&by_digest, true), true, "plugin-unapproved"),
    ] {
        let house = managed(Posture::Images);
        assert_eq!(house.lives("POST", &pull).await, Answer::Allow);
        house.engine.put_plugin(plugin.clone());
        if is_set {
            assert_eq!(house.lives("POST", "/plugins/came:1/set").await, Answer::Allow);
        }
        house.ends("POST", &pull).await;
        assert_eq!(house.says(&enable(&"c".repeat(64))).await, says, "{plugin:?}, set: {is_set}");
    }
}

#[tokio::test]
async fn a_plugin_is_not_changed_between_the_look_and_its_enable() {
    let house = managed(Posture::Images);
    let (on, set, rm) = ("/plugins/other/enable?timeout=30", "/plugins/other/set", "/plugins/other");
    let busy = |answer: &Answer| matches!(answer, Answer::Deny(why) if why.starts_with("plugin-busy: "));
    assert_eq!(house.lives("POST", on).await, Answer::Allow);
    assert!(busy(&house.lives("POST", set).await) && busy(&house.lives("DELETE", rm).await));
    house.ends("POST", on).await;
    assert_eq!(house.lives("POST", set).await, Answer::Allow);
    assert!(busy(&house.lives("POST", on).await));
    house.ends("POST", set).await;
    assert_eq!(house.lives("POST", on).await, Answer::Allow);
    // Something else stands there when the engine has acted.
    house.engine.remove_plugins();
    house.is_enabled_later("other:latest", "evil");
    house.ends("POST", on).await;
    let told = house.journal.0.lock().unwrap().iter().any(|entry| entry.event == Event::Mismatch);
    assert!(told);
}

/// Its turn is over, by time or because the gate was restarted, before the engine carries the enable out.
#[tokio::test]
async fn what_was_enabled_without_a_turn_is_looked_at() {
    let told = |house: &House| house.journal.0.lock().unwrap().iter().filter(|entry| entry.event == Event::Mismatch).count();
    for (plugin, content, mismatches) in [("other:latest", "other", 0), ("made:1", "made", 1)] {
        let house = managed(Posture::Images);
        house.is_enabled_later(plugin, content);
        let call = Call { method: "POST".into(), uri: format!("/plugins/{plugin}/enable"), ..call_without_body() };
        let outcome = |status| Some(crate::wire::Outcome { status, body: None });
        house.gate.response(&Call { outcome: outcome(500), ..call.clone() }).await;
        assert_eq!(told(&house), 0, "{plugin}");
        house.gate.response(&Call { outcome: outcome(200), ..call }).await;
        assert_eq!(told(&house), mismatches, "{plugin}");
    }
}

/// One that is refused takes no other's turn, though both are spelled alike.
#[tokio::test]
async fn an_enable_that_is_refused_leaves_an_equal_one_its_turn() {
    let house = managed(Posture::Images);
    let on = "/plugins/other/enable?timeout=30";
    assert_eq!(house.lives("POST", on).await, Answer::Allow);
    house.engine.remove_plugins();
    assert_eq!(refused(&house.lives("POST", on).await), "plugin-unapproved");
    assert_eq!(refused(&house.lives("POST", "/plugins/other/set").await), "plugin-busy");
}

#[test]
fn with_faulty_settings_no_plugin_is_enabled() {
    let says = |intent| crate::policy::decide_without_policy("x", Posture::Images, false, &Request::by_gate(&intent));
    assert!(matches!(says(enable("made:1")), crate::policy::Verdict::Deny(crate::policy::Reason::SettingFault { .. })));
    assert!(matches!(says(sent("POST", "/plugins/img-authz/set")), crate::policy::Verdict::Allow(_)));
}
