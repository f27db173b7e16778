//! Rules about containers: which of them bind a call is said by who vouched for its image, and by who calls.

use super::support::{House, container, digest, house_with, image};
use crate::audit::Event;
use crate::gate::Rules;
use crate::policy::{Policy, PolicyFile, Posture, Verdict};
use crate::request::Intent;
use crate::trust::Fake as Notary;
use crate::wire::Call;

/// These rules for `r.example`, none for what lies in `lax`, and these users.
fn ruled(rules: &str, users: &str) -> Policy {
    let text = format!(
        "version = 1\n[verifiers.notary]\ntype = \"notary\"\nserver = \"n.example\"\n[[scope]]\nname = \"strict\"\nmatch = \"r.example/**\"\nrequire = \"notary\"\n\
         [scope.rules]\n{rules}\n[[scope]]\nmatch = \"r.example/lax/**\"\nrequire = \"notary\"\n{users}"
    );
    PolicyFile(vec![("/etc/x/policy.toml".into(), text)]).read(Policy::closed(Posture::Images)).resolved.unwrap().policy
}

fn house(rules: &str, users: &str) -> House {
    let notary = || {
        Notary::default()
            .with("r.example/good:1", digest("good manifest"))
            .with("r.example/lax/other:1", digest("other manifest"))
    };
    let house = house_with(ruled(rules, users), notary());
    house.gate.replace(Rules::Good {
        policy: ruled(rules, users),
        verifiers: vec![std::sync::Arc::new(notary())],
        registry: None,
    });
    for (id, name, reference) in [('a', "good", "r.example/good"), ('b', "other", "r.example/lax/other")] {
        house.engine.put_image(image(name, &[&format!("{reference}:1")], &[reference]));
        house.engine.put_container(container(id, name, Some(digest(&format!("{name} config")))));
    }
    house
}

fn call(uri: &str, body: &str, user: &str) -> Call {
    let headers =
        [("Content-Length".to_owned(), body.len().to_string()), ("Content-Type".to_owned(), "application/json".to_owned())];
    Call {
        user: user.into(),
        user_authn_method: if user.is_empty() { String::new() } else { "TLS".into() },
        method: "POST".into(),
        uri: uri.into(),
        headers: headers.into_iter().collect(),
        body: Some(body.as_bytes().to_vec()),
        outcome: None,
        certificate: None,
    }
}

fn made(image: &str, config: &str) -> String {
    format!(r#"{{"Image":"{image}","HostConfig":{config}}}"#)
}

async fn verdict(house: &House, uri: &str, body: &str) -> Verdict {
    house.gate.judge(&Intent::of(&call(uri, body, ""))).await.verdict
}

async fn message(house: &House, uri: &str, body: &str) -> String {
    match verdict(house, uri, body).await {
        Verdict::Allow(_) => "allow".to_owned(),
        Verdict::WouldDeny(reason) | Verdict::Deny(reason) => reason.message(),
    }
}

const CREATE: &str = "/v1.41/containers/create";

#[tokio::test]
async fn the_scope_of_the_repository_that_vouched_decides_and_the_refusal_says_where() {
    let house = house("privileged = \"deny\"\nmemory-limit = \"deny\"", "");
    let privileged = r#"{"Privileged":true}"#;
    assert_eq!(
        message(&house, CREATE, &made("r.example/good:1", privileged)).await,
        "create-rule: rule privileged (CIS-5.5, scope `strict`, policy.toml:10) refuses a container of `r.example/good:1`: it is privileged; also memory-limit; leave out --privileged"
    );
    assert_eq!(message(&house, CREATE, &made("r.example/good:1", r#"{"Memory":1048576}"#)).await, "allow");
    assert_eq!(message(&house, CREATE, &made("r.example/lax/other:1", privileged)).await, "allow");
    // By its id, and under a name of the lax scope, it is what it was vouched for as.
    let by_id = message(&house, CREATE, &made(&digest("good config").to_string(), privileged)).await;
    assert!(by_id.starts_with("create-rule: rule privileged (CIS-5.5, scope `strict`"), "{by_id}");
    house.engine.put_image(crate::engine::Image {
        repo_tags: vec!["r.example/lax/other:1".parse().unwrap()],
        ..image("good", &[], &["r.example/good"])
    });
    let renamed = message(&house, CREATE, &made("r.example/lax/other:1", privileged)).await;
    assert!(renamed.starts_with("content-mismatch"), "{renamed}");
    // What nobody vouches for is refused for that.
    let unsigned = message(&house, CREATE, &made("r.example/bad:1", privileged)).await;
    assert!(unsigned.starts_with("not-signed"), "{unsigned}");
}

/// What is not on the host is judged by the scope that it is named in: what comes under the name later is judged again.
#[tokio::test]
async fn what_is_not_here_is_judged_by_the_scope_that_is_named() {
    let house = house("privileged = \"deny\"", "");
    house.engine.remove_images();
    let refused = message(&house, CREATE, &made("r.example/good:1", r#"{"Privileged":true}"#)).await;
    assert!(refused.starts_with("create-rule"), "{refused}");
    assert_eq!(message(&house, CREATE, &made("r.example/lax/other:1", r#"{"Privileged":true}"#)).await, "allow");
}

#[tokio::test]
async fn an_update_that_arms_is_judged_by_its_containers_scope_and_another_by_all() {
    let house =
        house("restart-policy = \"deny\"\nmemory-limit = { megabytes = 1 }\nexec-privileged = \"deny\"\nmounts = \"deny\"", "");
    let armed = r#"{"RestartPolicy":{"Name":"always"}}"#;
    let refused = message(&house, "/containers/good/update", armed).await;
    assert!(refused.starts_with("create-rule: rule restart-policy (CIS-5.15, scope `strict`"), "{refused}");
    assert_eq!(message(&house, "/containers/other/update", armed).await, "allow");
    assert_eq!(
        message(&house, "/containers/good/update", r#"{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}}"#).await,
        "allow"
    );
    // Nobody knows whose these are.
    assert_eq!(
        message(&house, "/containers/other/update", r#"{"Memory":2000000}"#).await,
        "create-rule: rule memory-limit (CIS-5.11, scope `strict`, policy.toml:11) refuses this update: its limit of memory is 2000000 bytes; add --memory, as much as is allowed"
    );
    assert_eq!(message(&house, "/containers/other/update", r#"{"Memory":1000000}"#).await, "allow");
    let refused = message(&house, "/containers/other/exec", r#"{"Privileged":true}"#).await;
    assert!(refused.contains("refuses this exec: the exec is privileged"), "{refused}");
    assert_eq!(message(&house, "/containers/other/exec", "{}").await, "allow");
    let refused = message(&house, "/volumes/create", r#"{"DriverOpts":{"o":"bind","device":"/etc"}}"#).await;
    assert!(refused.contains("refuses this volume: it mounts `/etc` of the host"), "{refused}");
    assert_eq!(message(&house, "/volumes/create", r#"{"Name":"v"}"#).await, "allow");
}

/// The gate's own looks at images and containers ask for nothing.
#[tokio::test]
async fn what_nobody_asks_for_lacks_nothing() {
    let house = house("memory-limit = \"deny\"\nno-new-privileges = \"deny\"", "");
    assert_eq!(house.says(&super::support::create("r.example/good:1")).await, "allow");
    assert_eq!(house.says(&super::support::start("good")).await, "allow");
}

#[tokio::test]
async fn what_only_warns_passes_and_is_recorded() {
    let house = house("privileged = \"warn\"\nexec-privileged = \"warn\"", "");
    for (uri, body, told) in [
        (CREATE, made("r.example/good:1", r#"{"Privileged":true}"#), "privileged: it is privileged"),
        ("/containers/good/exec", r#"{"Privileged":true}"#.to_owned(), "exec-privileged: the exec is privileged"),
    ] {
        let found: Vec<String> = verdict(&house, uri, &body).await.findings().iter().map(ToString::to_string).collect();
        assert_eq!(found, [told]);
        let sent = call(uri, &body, "");
        let intent = Intent::of(&sent);
        assert_eq!(super::support::refused(&house.gate.request(Ok((sent, intent))).await), "allow");
    }
    let metrics = house.gate.metrics();
    for id in ["privileged", "exec-privileged"] {
        assert!(
            metrics.contains(&format!("img_authz_rule_violations_total{{rule=\"{id}\",level=\"warn\"}} 1")),
            "{id}\n{metrics}"
        );
    }
}

#[tokio::test]
async fn a_group_may_be_exempt_from_a_rule_and_others_are_not() {
    let users = "[[users.group]]\nname = \"admins\"\nusers = [\"alice\"]\nactions = [\"*\"]\nexempt_from = [\"privileged\"]\n\
                 [[users.group]]\nname = \"others\"\nusers = [\"*\"]\nactions = [\"*\"]\n";
    let house = house("privileged = \"deny\"\nhost-pid = \"deny\"", users);
    let says = async |user: &str, config: &str| {
        let sent = call(CREATE, &made("r.example/good:1", config), user);
        let intent = Intent::of(&sent);
        let answer = house.gate.request(Ok((sent, intent))).await;
        super::support::refused(&answer).to_owned()
    };
    assert_eq!(says("alice", r#"{"Privileged":true}"#).await, "allow");
    assert_eq!(says("bob", r#"{"Privileged":true}"#).await, "create-rule");
    assert_eq!(says("", r#"{"Privileged":true}"#).await, "create-rule");
    assert_eq!(says("alice", r#"{"PidMode":"host"}"#).await, "create-rule");
}

/// Clients send a network's id: what it is, the engine knows.
#[tokio::test]
async fn a_services_network_that_is_the_hosts_is_found_by_its_id() {
    let put = |house: &House| {
        for (letter, name, driver) in [("a", "host", "host"), ("b", "bridge", "bridge")] {
            let text = str::to_owned;
            let (id, scope) = (letter.repeat(64), text("local"));
            house.engine.put_network(crate::engine::Network { id, name: text(name), driver: text(driver), scope });
        }
    };
    let spec = |letter: &str| {
        format!(
            r#"{{"TaskTemplate":{{"ContainerSpec":{{"Image":"r.example/good:1@{}"}},"Networks":[{{"Target":"{}"}}]}}}}"#,
            digest("good manifest"),
            letter.repeat(64)
        )
    };
    for (rules, says) in [("host-network = \"deny\"", "create-rule"), ("host-pid = \"deny\"", "allow")] {
        let house = house(rules, "");
        put(&house);
        let found = message(&house, "/v1.44/services/create", &spec("a")).await;
        assert!(found.starts_with(says), "{rules}: {found}");
        assert_eq!(message(&house, "/v1.44/services/create", &spec("b")).await, "allow");
    }
}

#[tokio::test]
async fn a_service_is_judged_likewise() {
    let house = house("read-only-root = \"deny\"", "");
    let spec = |reference: &str, read_only: bool| {
        format!(
            r#"{{"TaskTemplate":{{"ContainerSpec":{{"Image":"{reference}@{}","ReadOnly":{read_only}}}}}}}"#,
            digest(if reference.contains("lax") { "other manifest" } else { "good manifest" })
        )
    };
    let refused = message(&house, "/v1.44/services/create", &spec("r.example/good:1", false)).await;
    assert!(refused.contains("refuses a service of `r.example/good:1@"), "{refused}");
    assert_eq!(message(&house, "/v1.44/services/create", &spec("r.example/good:1", true)).await, "allow");
    assert_eq!(message(&house, "/v1.44/services/create", &spec("r.example/lax/other:1", false)).await, "allow");
}

/// `docker tag` between the look and the engine's own: the name that was judged means content of another scope.
#[tokio::test]
async fn terms_are_judged_again_by_the_rules_of_what_the_container_is_made_of() {
    let users = "[[users.group]]\nname = \"admins\"\nusers = [\"alice\"]\nactions = [\"*\"]\nexempt_from = [\"privileged\"]\n\
                 [[users.group]]\nname = \"others\"\nusers = [\"*\"]\nactions = [\"*\"]\n";
    let (good, lax) = ("r.example/good:1", "r.example/lax/other:1");
    let privileged = r#"{"Privileged":true}"#;
    for (named, made_of, config, user, is_told) in [
        (lax, "other config", privileged, "bob", false),
        (lax, "good config", privileged, "bob", true),
        (lax, "good config", "{}", "bob", false),
        (lax, "good config", privileged, "alice", false),
        (good, "good config", "{}", "bob", false),
        (good, "other config", "{}", "bob", false),
    ] {
        let house = house("privileged = \"deny\"", users);
        // Both are known to the gate.
        for image in [good, lax] {
            let sent = call(CREATE, &made(image, "{}"), user);
            let intent = Intent::of(&sent);
            assert_eq!(super::support::refused(&house.gate.request(Ok((sent, intent))).await), "allow");
        }
        house.engine.put_container(container('c', "new", Some(digest(made_of))));
        let body = Some(format!(r#"{{"Id":"{}"}}"#, "c".repeat(64)).into_bytes());
        let ended =
            Call { outcome: Some(crate::wire::Outcome { status: 201, body }), ..call(CREATE, &made(named, config), user) };
        house.gate.response(&ended).await;
        let entries = house.journal.0.lock().unwrap();
        let told: Vec<_> = entries.iter().filter(|entry| entry.event == Event::Mismatch).collect();
        assert_eq!(told.len(), usize::from(is_told), "{named} {made_of} {config} {user}: {told:?}");
        assert!(entries.iter().any(|entry| entry.event == Event::Created));
        for entry in told {
            let begins = "the container was made under the rules of scope `r.example/lax/**`, and its content is of another; remove it: \
                          create-rule: rule privileged (CIS-5.5, scope `strict`";
            assert!(entry.message.starts_with(begins), "{}", entry.message);
            assert_eq!((entry.code, entry.container_id.as_str()), ("create-rule", "c".repeat(64).as_str()));
        }
    }
}

/// Where no scope says anything else, a name chooses nothing.
#[tokio::test]
async fn scopes_that_say_the_same_of_containers_do_not_differ() {
    let policy = |of_lax: &str| {
        let text = format!(
            "version = 1\n[rules]\nprivileged = \"deny\"\n[verifiers.r]\ntype = \"registry\"\n[[scope]]\nmatch = \"r.example/**\"\nrequire = \"r\"\n\
             [[scope]]\nmatch = \"r.example/lax/**\"\nrequire = \"r\"\n{of_lax}"
        );
        PolicyFile(vec![("p.toml".into(), text)]).read(Policy::closed(Posture::Images)).resolved.unwrap().policy
    };
    assert!(!policy("").scopes.differ_about_containers());
    assert!(policy("[scope.rules]\nprivileged = \"off\"\n").scopes.differ_about_containers());
}
