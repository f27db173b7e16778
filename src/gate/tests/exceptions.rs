//! Exceptions on a call's journey: what they let pass, and that nothing else passes with it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::support::{House, call_without_body, container, create, digest, house_with, image, pull, refused, start};
use crate::engine::{Container, Image, Store};
use crate::gate::Rules;
use crate::image::{Digest, ImageConfig};
use crate::policy::{Policy, PolicyFile, Posture, Verdict};
use crate::request::{Intent, PluginCall};
use crate::trust::Fake as Notary;
use crate::wire::Call;

/// An exception that ends in so many minutes.
fn exception(of: &str, lift: &str, minutes: i64) -> String {
    let expires = crate::clock::now() + SignedDuration::from_mins(minutes);
    let expires = Timestamp::from_second(expires.as_second()).unwrap();
    format!(
        "[[exception]]\n{of}\nlift = [{lift}]\nowner = \"alice\"\nreason = \"late\"\nticket = \"OPS-1\"\nexpires = {expires}\n"
    )
}

fn by_digest(digest: Digest, lift: &str, minutes: i64) -> String {
    exception(&format!("digest = \"{digest}\""), lift, minutes)
}

/// `r.example` is signed and has rules, what lies in `lax` has none; and these exceptions.
fn excepting(head: &str, exceptions: &str) -> Policy {
    let text = format!(
        "version = 1\n{head}\n[verifiers.notary]\ntype = \"notary\"\nserver = \"n.example\"\n[rules]\nuser-root = \"deny\"\n\
         [[scope]]\nname = \"strict\"\nmatch = \"r.example/**\"\nrequire = \"notary\"\n\
         [[scope]]\nmatch = \"r.example/lax/**\"\nrequire = \"notary\"\n[scope.rules]\nuser-root = \"off\"\n{exceptions}"
    );
    PolicyFile(vec![("/etc/x/policy.toml".into(), text)]).read(Policy::closed(Posture::Images)).resolved.unwrap().policy
}

fn notary() -> Notary {
    Notary::default().with("r.example/good:1", digest("good manifest")).with("r.example/root:1", digest("root manifest"))
}

fn app(user: &str) -> ImageConfig {
    ImageConfig { user: user.into(), history: Some(Vec::new()), ..ImageConfig::default() }
}

/// `good` and `root` are signed, `evil` and `twin` are not; `root` and `evil-root` run as root.
fn house(policy: Policy) -> House {
    let house = house_with(policy, notary());
    house.engine.remove_images();
    for (name, user, tags, pulled) in [
        ("good", "app", &["r.example/good:1"][..], &["r.example/good"][..]),
        ("root", "", &["r.example/root:1"], &["r.example/root"]),
        ("evil", "app", &["r.example/evil:1"], &["r.example/evil"]),
        ("twin", "app", &["r.example/evil:2"], &["r.example/evil"]),
        ("rooted", "", &["r.example/rooted:1"], &["r.example/rooted"]),
        ("built", "app", &["built:1"], &[]),
    ] {
        house.engine.put_image(Image { config: app(user), ..image(name, tags, pulled) });
    }
    for (id, name) in [('a', "good"), ('b', "root"), ('c', "evil"), ('d', "twin")] {
        house.engine.put_container(Container { ..container(id, name, Some(digest(&format!("{name} config")))) });
    }
    house
}

fn in_force(house: &House, policy: Policy) {
    house.gate.replace(Rules::Good { policy, verifiers: vec![Arc::new(notary())], registry: None });
}

async fn message(house: &House, intent: &Intent) -> String {
    match house.gate.judge(intent).await.verdict {
        Verdict::Allow(_) => "allow".to_owned(),
        Verdict::WouldDeny(reason) | Verdict::Deny(reason) => reason.message(),
    }
}

#[tokio::test]
async fn what_a_digest_names_may_run_by_any_name_and_its_twin_by_none() {
    let evil = digest("evil manifest");
    // At a pull no registry says here what its configuration is.
    let house = house(excepting("", &by_digest(evil, "\"user-root\"", 60)));
    let id = |name: &str| digest(&format!("{name} config")).to_string();
    let named = format!("r.example/evil@{evil}");
    for intent in [create("r.example/evil:1"), create(&id("evil")), create(&named), pull(&named), start("evil")] {
        assert_eq!(message(&house, &intent).await, "allow", "{intent:?}");
    }
    // From a registry that lies in no scope nothing comes, and no name of one is taken.
    let elsewhere = format!("elsewhere.example/x@{evil}");
    for intent in [create(&elsewhere), pull(&elsewhere)] {
        assert_eq!(house.says(&intent).await, "registry-not-allowed", "{intent:?}");
    }
    // A name that means other content goes on to mean that.
    house.engine.put_image(Image { config: app("app"), ..image("evil", &["r.example/good:1"], &["r.example/evil"]) });
    assert_eq!(house.says(&create("r.example/good:1")).await, "content-mismatch");
    house.engine.put_image(Image { config: app("app"), ..image("evil", &["r.example/evil:1"], &["r.example/evil"]) });
    let other = format!("r.example/evil@{}", digest("other"));
    for intent in [create("r.example/evil:2"), create(&other), pull(&other), pull("r.example/evil:1"), create("r.example/no:1")] {
        assert_eq!(house.says(&intent).await, "not-signed", "{intent:?}");
    }
    for intent in [create(&id("twin")), start("twin")] {
        assert_eq!(house.says(&intent).await, "not-signed", "{intent:?}");
    }
    // The name moves on to the twin.
    house.engine.remove_images();
    house.engine.put_image(Image { config: app("app"), ..image("twin", &["r.example/evil:1"], &["r.example/evil"]) });
    assert_eq!(house.says(&create("r.example/evil:1")).await, "not-signed");
    // A digest is no approval of a plugin.
    let plugin = Intent::Plugin(PluginCall::Pull { remote: named.parse().unwrap(), name: None });
    assert_eq!(house.says(&plugin).await, "not-signed");
}

#[tokio::test]
async fn at_its_end_what_an_exception_let_pass_is_refused_and_the_refusal_says_so() {
    let evil = digest("evil manifest");
    let house = house(excepting("", &by_digest(evil, "", 60)));
    let call = Call { method: "POST".into(), uri: "/containers/evil/start".into(), ..call_without_body() };
    assert_eq!(refused(&house.gate.request(Ok((call.clone(), start("evil")))).await), "allow");
    let entry = house.journal.0.lock().unwrap().last().unwrap().clone();
    let [used] = &entry.exceptions[..] else { panic!("{entry:?}") };
    assert_eq!((used.owner.as_str(), used.ticket.as_deref(), used.vouches), ("alice", Some("OPS-1"), true));
    assert_eq!((entry.digest, entry.verifiers.len()), (evil.to_string(), 0));
    let metrics = house.gate.metrics();
    assert!(metrics.contains(&format!("img_authz_exception_uses_total{{exception=\"{}\"}} 1", used.id)), "{metrics}");
    assert!(metrics.contains(r#"img_authz_exceptions{state="ending"} 1"#), "{metrics}");
    // An exception leaves no approval behind: where its digest is gone from the host, nothing ties the image to it.
    house.engine.put_image(Image { config: app("app"), ..image("evil", &[], &[]) });
    assert_eq!(house.says(&start("evil")).await, "image-unapproved");
    house.engine.put_image(Image { config: app("app"), ..image("evil", &["r.example/evil:1"], &["r.example/evil"]) });
    in_force(&house, excepting("", &by_digest(evil, "", -1)));
    let told = message(&house, &start("evil")).await;
    assert!(told.starts_with("not-signed: exception `x") && told.contains("` of `alice` expired at 20"), "{told}");
    assert!(told.chars().count() < 300, "{told}");
    in_force(&house, excepting("", &by_digest(evil, "", 367 * 24 * 60)));
    assert!(message(&house, &start("evil")).await.contains("is too far ahead"));
    in_force(&house, excepting("", ""));
    assert!(!message(&house, &start("evil")).await.contains("exception"));
}

/// A start by name, which is the beginning of another container's id as well.
#[tokio::test]
async fn what_has_ended_by_the_latest_time_seen_lets_no_container_answer_to_anothers_name() {
    let house = house(excepting("", &by_digest(digest("evil manifest"), "", 60)));
    house.engine.put_container(container('9', "aaaa", Some(digest("good config"))));
    house.engine.put_container(container('a', "elsewhere", Some(digest("evil config"))));
    assert_eq!(house.says(&start("aaaa")).await, "allow");
    // The clock was ahead, and is back.
    house.gate.tell_exceptions_at(crate::clock::now() + SignedDuration::from_hours(2));
    assert_eq!(house.says(&start("aaaa")).await, "request-unreadable");
}

/// Who is told of the repository that vouches is told of none where nobody does.
#[tokio::test]
async fn rules_in_rego_are_told_of_no_repository_where_an_exception_names_content() {
    let house = house(excepting("", ""));
    let rule = "package docker.registry\nallow := true\ndeny contains sprintf(\"<%s>\", [input.image.repository])";
    let rego = Some(super::rego::compiled(&[rule], &["data.docker.registry.allow"]));
    for (exceptions, image, says) in [
        ("", "r.example/good:1", "<r.example/good>"),
        (by_digest(digest("evil manifest"), "", 60).as_str(), "r.example/evil:1", "<>"),
        ("", "r.example/evil:1", "not-signed: "),
    ] {
        in_force(&house, Policy { rego: rego.clone(), ..excepting("", exceptions) });
        let told = message(&house, &create(image)).await;
        assert!(told.contains(says), "{image}: {told}");
    }
}

#[tokio::test]
async fn the_hosts_rules_bind_what_a_digest_names_unless_it_lifts_them() {
    let rooted = digest("rooted manifest");
    let house = house(excepting("", &by_digest(rooted, "", 60)));
    let told = message(&house, &create("r.example/rooted:1")).await;
    assert!(told.starts_with("image-rule: rule user-root (scope `every scope`, policy.toml:7) refuses"), "{told}");
    // Called like what lies in a scope without that rule.
    let lax = Image {
        repo_tags: vec!["r.example/lax/x:1".parse().unwrap()],
        config: app(""),
        ..image("rooted", &[], &["r.example/lax/x"])
    };
    house.engine.put_image(lax);
    assert_eq!(house.says(&create("r.example/lax/x:1")).await, "image-rule");
    in_force(&house, excepting("", &by_digest(rooted, "\"CIS-4.1\"", 60)));
    assert_eq!(house.says(&create("r.example/lax/x:1")).await, "allow");
}

#[tokio::test]
async fn an_image_that_never_had_a_digest_is_named_by_its_id_in_the_classic_store_alone() {
    let id = digest("built config");
    let house = house(excepting("", &exception(&format!("image_id = \"{id}\""), "", 60)));
    assert_eq!(house.says(&create(&id.to_string())).await, "allow");
    // There is no digest to ask about again; that it was judged is known when its container has been made.
    assert!(!house.gate.approvals.knows_image(&id));
    let call = Call { method: "POST".into(), uri: "/containers/create".into(), ..call_without_body() };
    assert_eq!(refused(&house.gate.request(Ok((call, create(&id.to_string())))).await), "allow");
    assert!(house.gate.approvals.knows_image(&id));
    in_force(&house, excepting("", &by_digest(id, "", 60)));
    assert_eq!(house.says(&create(&id.to_string())).await, "registry-not-allowed");
    // In the containerd store an id is a manifest's digest.
    let of_manifest = Image { store: Some(Store::Containerd), config: app("app"), ..image("built", &["built:1"], &[]) };
    house.engine.put_image(of_manifest);
    assert_eq!(house.says(&create(&id.to_string())).await, "allow");
    in_force(&house, excepting("", &exception(&format!("image_id = \"{id}\""), "", 60)));
    assert_eq!(house.says(&create(&id.to_string())).await, "registry-not-allowed");
}

#[tokio::test]
async fn a_reference_lifts_rules_of_what_its_repository_vouched_for_and_of_nothing_else() {
    let of_root = |minutes| exception("match = \"r.example/root\"", "\"user-root\"", minutes);
    let house = house(excepting("", &of_root(60)));
    for intent in [create("r.example/root:1"), create(&digest("root config").to_string())] {
        assert_eq!(message(&house, &intent).await, "allow", "{intent:?}");
    }
    let call = Call { method: "POST".into(), uri: "/containers/root/start".into(), ..call_without_body() };
    assert_eq!(refused(&house.gate.request(Ok((call, start("root")))).await), "allow");
    let entry = house.journal.0.lock().unwrap().last().unwrap().clone();
    assert_eq!((entry.exceptions[0].lifts.as_slice(), entry.exceptions[0].vouches), (&["user-root"][..], false));
    assert_eq!(entry.verifiers.len(), 1);
    // Who needs none has none on record.
    let call = Call { method: "POST".into(), uri: "/containers/good/start".into(), ..call_without_body() };
    assert_eq!(refused(&house.gate.request(Ok((call, start("good")))).await), "allow");
    assert!(house.journal.0.lock().unwrap().last().unwrap().exceptions.is_empty());
    // What is not vouched for is not let in by it, whatever it is called.
    let tagged = |name: &str| Image { config: app(""), ..image(name, &["r.example/root:1"], &["r.example/root"]) };
    house.engine.remove_images();
    house.engine.put_image(tagged("rooted"));
    assert_eq!(house.says(&create("r.example/root:1")).await, "content-mismatch");
    // Vouched for by another repository, and called like the one with an exception.
    in_force(&house, excepting("", &exception("match = \"r.example/other\"", "\"user-root\"", 60)));
    house.engine.remove_images();
    house
        .engine
        .put_image(Image { config: app(""), ..image("root", &["r.example/other:1", "r.example/root:1"], &["r.example/root"]) });
    assert_eq!(house.says(&create("r.example/other:1")).await, "not-signed");
    assert_eq!(house.says(&create(&digest("root config").to_string())).await, "image-rule");
    in_force(&house, excepting("", &of_root(-5)));
    let told = message(&house, &create("r.example/root:1")).await;
    assert!(
        told.starts_with("image-rule: exception `x") && told.contains("expired at") && told.contains("rule user-root"),
        "{told}"
    );
    assert!(told.chars().count() < 300 && told.ends_with("a USER other than root"), "{told}");
}

#[tokio::test]
async fn rules_about_containers_are_lifted_for_the_content_that_is_named_alone() {
    let create = |image: &str| {
        let body = format!(r#"{{"Image":"{image}","HostConfig":{{"Privileged":true}}}}"#).into_bytes();
        let headers = [("Content-Type".to_owned(), "application/json".to_owned())].into_iter().collect();
        let uri = "/v1.41/containers/create".into();
        Intent::of(&Call { method: "POST".into(), uri, headers, body: Some(body), ..call_without_body() })
    };
    let lift = |of: &str, minutes| {
        excepting(
            "",
            &exception(of, "\"privileged\"", minutes)
                .replace("[[exception]]", "[rules.privileged]\nlevel = \"deny\"\n[[exception]]"),
        )
    };
    let house = house(lift("match = \"r.example/good\"", 60));
    assert_eq!(message(&house, &create("r.example/good:1")).await, "allow");
    assert_eq!(house.says(&create("r.example/evil:1")).await, "not-signed");
    in_force(&house, lift("match = \"r.example/other\"", 60));
    assert_eq!(house.says(&create("r.example/good:1")).await, "create-rule");
    in_force(&house, lift(&format!("digest = \"{}\"", digest("evil manifest")), 60));
    assert_eq!(house.says(&create("r.example/evil:1")).await, "allow");
    assert_eq!(house.says(&create("r.example/good:1")).await, "create-rule");
    in_force(&house, lift("match = \"r.example/good\"", -60));
    let told = message(&house, &create("r.example/good:1")).await;
    assert!(told.starts_with("create-rule: exception `x") && told.contains("expired at"), "{told}");
}

#[tokio::test]
async fn for_users_with_scopes_what_a_digest_names_lies_in_none() {
    let group = "[[users.group]]\nname = \"lab\"\nusers = [\"local\"]\nactions = [\"*\"]\nscopes = [\"strict\"]\n";
    let house = house(excepting("", &format!("{}{group}", by_digest(digest("evil manifest"), "", 60))));
    let call = |name: &str| Call { method: "POST".into(), uri: format!("/containers/{name}/start"), ..call_without_body() };
    assert_eq!(refused(&house.gate.request(Ok((call("good"), start("good")))).await), "allow");
    assert_eq!(refused(&house.gate.request(Ok((call("evil"), start("evil")))).await), "user-forbidden");
}

/// What the journal has noted that speaks of exceptions.
fn noted(house: &House) -> Vec<String> {
    let entries = house.journal.0.lock().unwrap();
    entries.iter().map(|entry| entry.message.clone()).filter(|message| message.contains("exception")).collect()
}

#[tokio::test]
async fn what_has_ended_stays_ended_when_the_clock_is_set_back_and_each_change_is_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("exceptions.json");
    let policy = || excepting("", &by_digest(digest("evil manifest"), "", 60));
    let kept = |house: House| {
        let House { gate, engine, journal } = house;
        let gate = Arc::into_inner(gate).unwrap().with_exceptions_told(file.clone());
        House { gate: Arc::new(gate), engine, journal }
    };
    let written = async |due: &str| {
        for _ in 0..100 {
            if std::fs::read_to_string(&file).is_ok_and(|text| text.contains(due)) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{due}: {:?}", std::fs::read_to_string(&file));
    };
    let now = crate::clock::now();
    let first = kept(house(policy()));
    first.gate.tell_exceptions_at(now);
    assert_eq!(first.says(&start("evil")).await, "allow");
    assert!(noted(&first).is_empty());
    written("\"ending\"").await;
    // It ends while no gate runs.
    let second = kept(house(policy()));
    second.gate.tell_exceptions_at(now + SignedDuration::from_hours(2));
    let told = noted(&second);
    assert!(told.len() == 1 && told[0].contains("expired at"), "{told:?}");
    assert!(message(&second, &start("evil")).await.contains("expired at"), "this host's clock says that it has not ended");
    // The clock is set back: that is on record, once, and nothing comes back.
    for _ in 0..2 {
        second.gate.tell_exceptions_at(now);
    }
    let told = noted(&second);
    assert!(told.len() == 2 && told[1].contains("exceptions that ended by then stay ended"), "{told:?}");
    for clock in [now + SignedDuration::from_hours(2), now] {
        second.gate.tell_exceptions_at(clock);
    }
    assert_eq!(noted(&second).len(), 3, "set right, and back again: {:?}", noted(&second));
    written("\"ended\"").await;
    // Nor for the next gate.
    let third = kept(house(policy()));
    assert!(message(&third, &start("evil")).await.contains("expired at"));
    third.gate.tell_exceptions_at(now);
    assert!(noted(&third).iter().all(|told| told.contains("stay ended")), "{:?}", noted(&third));
    // Without what was kept it counts again, and so does one that was too far ahead; that is on record.
    let fourth = house(excepting("", &by_digest(digest("evil manifest"), "", 366 * 24 * 60 + 60)));
    fourth.gate.tell_exceptions_at(now);
    assert!(noted(&fourth).is_empty());
    fourth.gate.tell_exceptions_at(now + SignedDuration::from_hours(2));
    let told = noted(&fourth);
    assert!(told.len() == 1 && told[0].contains("counts from now on, until"), "{told:?}");
    // A policy that cannot be read makes nothing forgotten.
    let fifth = house(policy());
    fifth.gate.tell_exceptions_at(now);
    fifth.gate.tell_exceptions_at(now + SignedDuration::from_hours(2));
    assert_eq!(noted(&fifth).len(), 1);
}

#[tokio::test]
async fn an_exception_of_several_images_is_one_use_and_goes_from_the_figures_with_the_policy() {
    let evil = digest("evil manifest");
    let house = house(excepting("", &by_digest(evil, "", 60)));
    let body = format!(
        r#"{{"Image":"r.example/evil:1","HostConfig":{{"Mounts":[{{"Type":"image","Source":"{}","Target":"/x"}}]}}}}"#,
        digest("evil config")
    );
    let both = Intent::of(&Call {
        method: "POST".into(),
        uri: "/v1.48/containers/create".into(),
        headers: [("Content-Type".to_owned(), "application/json".to_owned())].into_iter().collect(),
        body: Some(body.into_bytes()),
        ..call_without_body()
    });
    let call = Call { method: "POST".into(), uri: "/v1.48/containers/create".into(), ..call_without_body() };
    assert_eq!(refused(&house.gate.request(Ok((call, both))).await), "allow");
    let entry = house.journal.0.lock().unwrap().last().unwrap().clone();
    let [used] = &entry.exceptions[..] else { panic!("{entry:?}") };
    let figure = format!("img_authz_exception_uses_total{{exception=\"{}\"}} 1", used.id);
    assert!(house.gate.metrics().contains(&figure), "{}", house.gate.metrics());
    in_force(&house, excepting("", ""));
    assert!(!house.gate.metrics().contains(&used.id), "{}", house.gate.metrics());
}
