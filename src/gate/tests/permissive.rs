//! Permissive scopes on a call's journey: they forgive what lies in their repositories, and nothing that only bears the name.

use std::sync::Arc;

use super::support::{House, call_without_body, container, create, digest, house_with, image, pull, refused, start};
use crate::audit::Event;
use crate::engine::{Container, Image, Store};
use crate::gate::Rules;
use crate::gate::inventory::Says;
use crate::image::{Digest, ImageConfig};
use crate::policy::{Policy, PolicyFile, Posture};
use crate::registry;
use crate::request::{Intent, PluginCall};
use crate::trust::Fake as Notary;
use crate::trust::registry::RegistryVerifier;
use crate::wire::Call;

const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

fn policy() -> Policy {
    policy_in("mode = \"permissive\"\n")
}

fn policy_in(mode: &str) -> Policy {
    let text = "version = 1\n[verifiers.notary]\ntype = \"notary\"\nserver = \"n.example\"\n[rules]\nuser-root = \"deny\"\n\
                [[scope]]\nmatch = \"r.example/**\"\nrequire = \"notary\"\n\
                [[scope]]\nname = \"lax\"\nmatch = \"lax.example/**\"\nrequire = \"notary\"\n"
        .to_owned()
        + mode;
    PolicyFile(vec![("/etc/x/policy.toml".into(), text)]).read(Policy::closed(Posture::Images)).resolved.unwrap().policy
}

fn manifest(of: &str) -> Vec<u8> {
    let config = digest(of);
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json",
            "digest":"{config}","size":6}},"layers":[]}}"#
    )
    .into_bytes()
}

/// An image of the classic store, as it was pulled.
fn held(name: &str, user: &str, tag: &str, pulled: &str, manifest: Digest) -> Image {
    let config = ImageConfig { user: user.into(), history: Some(Vec::new()), ..ImageConfig::default() };
    Image { config, repo_digests: vec![(pulled.parse().unwrap(), manifest)], ..image(name, &[tag], &[]) }
}

/// `lax.example/x` holds `lax` and `rooted`, which nobody signs; `signed` is signed there and runs as root. `evil` lies elsewhere.
fn house() -> (House, Arc<registry::Fake>, [Digest; 4]) {
    let registry = Arc::new(registry::Fake::new());
    let push = |repository: &str, of: &str| registry.push(&repository.parse().unwrap(), None, &manifest(of)).unwrap();
    let (lax, rooted, signed) = (push("lax.example/x", "lax"), push("lax.example/x", "rooted"), push("lax.example/x", "signed"));
    let evil = push("evil.example/x", "evil");
    let house = house_with(policy(), Notary::default());
    house.engine.remove_images();
    for (name, user, tag, manifest) in [
        ("lax", "app", "lax.example/x:1", lax),
        ("rooted", "", "lax.example/x:2", rooted),
        ("signed", "", "lax.example/x:3", signed),
    ] {
        house.engine.put_image(held(name, user, tag, "lax.example/x", manifest));
    }
    house.engine.put_image(held("evil", "app", "lax.example/x:evil", "evil.example/x", evil));
    for (id, name) in [('a', "lax"), ('b', "rooted"), ('c', "evil")] {
        house.engine.put_container(Container { ..container(id, name, Some(digest(&format!("{name} config")))) });
    }
    let notary = Notary::default().with("lax.example/x:3", signed);
    house.gate.replace(rules(policy(), notary, &registry));
    (house, registry, [lax, rooted, signed, evil])
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_in_the_repository_passes_and_what_bears_its_name_does_not() {
    let (house, _registry, [lax, rooted, signed, evil]) = house();
    let by_id = |name: &str| create(&digest(&format!("{name} config")).to_string());
    let digested = |digest: Digest| format!("lax.example/x@{digest}");
    for intent in [
        create("lax.example/x:1"),
        create("lax.example/x:2"),
        create("lax.example/x:3"),
        by_id("lax"),
        by_id("rooted"),
        by_id("signed"),
        create(&digested(lax)),
        pull("lax.example/x:1"),
        pull(&digested(rooted)),
        pull(&digested(signed)),
        create("lax.example/x:absent"),
        start("lax"),
        start("rooted"),
    ] {
        assert_eq!(house.says(&intent).await, "allow", "{intent:?}");
    }
    // docker tag evil lax.example/x:evil; and over a good name.
    assert_eq!(house.says(&create("lax.example/x:evil")).await, "not-signed");
    assert_ne!(house.says(&by_id("evil")).await, "allow");
    assert_ne!(house.says(&start("evil")).await, "allow");
    assert_eq!(house.says(&pull(&digested(evil))).await, "not-signed");
    assert_eq!(house.says(&create(&digested(evil))).await, "not-signed");
    house.engine.remove_images();
    house.engine.put_image(held("evil", "app", "lax.example/x:1", "evil.example/x", evil));
    assert_eq!(house.says(&create("lax.example/x:1")).await, "not-signed");
    // A digest that lies there, in a body, while the host holds other content under it.
    let both = Image {
        repo_digests: vec![("lax.example/x".parse().unwrap(), evil)],
        ..held("evil", "app", "lax.example/x:1", "lax.example/x", evil)
    };
    house.engine.put_image(both);
    assert_eq!(house.says(&create("lax.example/x:1")).await, "not-signed", "RepoDigests are no evidence");
    // In the containerd store they follow the name.
    let moved =
        Image { id: evil, store: Some(Store::Containerd), ..held("evil", "app", "lax.example/x:1", "lax.example/x", evil) };
    house.engine.remove_images();
    house.engine.put_image(moved);
    assert_eq!(house.says(&create("lax.example/x:1")).await, "not-signed");
    // Other scopes forgive nothing, nor is a plugin forgiven.
    assert_eq!(house.says(&pull("r.example/x:1")).await, "not-signed");
    let plugin = Intent::Plugin(PluginCall::Pull { remote: digested(lax).parse().unwrap(), name: None });
    assert_eq!(house.says(&plugin).await, "not-signed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgiven_is_told_apart_from_what_would_be_refused() {
    let (house, _registry, _) = house();
    let ids = ['a', 'c'].map(|letter| container(letter, "", None).id);
    let said = house.gate.judge_containers(ids.to_vec(), std::time::Duration::from_secs(5)).await;
    let says: Vec<_> = said.iter().map(|(_, says)| says).collect();
    assert!(matches!(says[..], [Says::Forgiven(_), Says::No(_)]), "{says:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forgiven_is_recorded_as_what_it_would_have_been() {
    let (house, _registry, [lax, ..]) = house();
    let call = |name: &str| Call { method: "POST".into(), uri: format!("/containers/{name}/start"), ..call_without_body() };
    assert_eq!(refused(&house.gate.request(Ok((call("lax"), start("lax")))).await), "allow");
    let entry = house.journal.0.lock().unwrap().last().unwrap().clone();
    assert_eq!((entry.event, entry.enforced, entry.code), (Event::Blocked, false, "not-signed"));
    assert!(entry.message.starts_with("not-signed: "), "{}", entry.message);
    assert_eq!(entry.digest, lax.to_string());
    let metrics = house.gate.metrics();
    assert!(metrics.contains(r#"decision="would-deny",code="not-signed"} 1"#), "{metrics}");
    // Its lease was held: the start is over only when the engine has acted.
    assert_eq!(refused(&house.gate.request(Ok((call("evil"), start("evil")))).await), "not-signed");
    let create_of = Call { method: "POST".into(), uri: "/containers/create".into(), ..call_without_body() };
    assert_eq!(refused(&house.gate.request(Ok((create_of, create("lax.example/x:3")))).await), "allow");
    let entry = house.journal.0.lock().unwrap().last().unwrap().clone();
    assert_eq!(
        (entry.event, entry.enforced, entry.code, &entry.rules[..]),
        (Event::Blocked, false, "image-rule", &["user-root"][..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_registry_cannot_be_asked_nothing_is_forgiven() {
    let (house, registry, [lax, ..]) = house();
    let gone = registry::RegistryError::Net(crate::net::NetError::Bad("it is gone".to_owned()));
    registry.fail_with(Some(gone));
    assert_eq!(house.says(&create("lax.example/x:1")).await, "not-signed");
    registry.fail_with(None);
    assert_eq!(house.says(&create(&format!("lax.example/x@{lax}"))).await, "allow");
}

/// The registry and these verifiers.
fn rules(policy: Policy, notary: Notary, registry: &Arc<registry::Fake>) -> Rules {
    let verifiers = vec![
        Arc::new(notary) as Arc<dyn crate::trust::Verifier>,
        Arc::new(RegistryVerifier::new(Arc::<registry::Fake>::clone(registry))),
    ];
    Rules::Good { policy, verifiers, registry: Some(Arc::<registry::Fake>::clone(registry)) }
}

/// Its tag is signed for other content now; whether it was ever more than forgiven is what tells the two apart.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_only_forgiven_is_not_spared_as_approved_before() {
    for was_signed in [true, false] {
        let (house, registry, [lax, ..]) = house();
        let first = if was_signed { Notary::default().with("lax.example/x:1", lax) } else { Notary::default() };
        house.gate.replace(rules(policy(), first, &registry));
        let of_tag = Container { image_ref: "lax.example/x:1".into(), ..container('a', "lax", Some(digest("lax config"))) };
        house.engine.put_container(of_tag);
        let call = Call { method: "POST".into(), uri: "/containers/lax/start".into(), ..call_without_body() };
        assert_eq!(refused(&house.gate.request(Ok((call, start("lax")))).await), "allow");
        assert!(!house.gate.approvals.of(&digest("lax config")).is_empty(), "there is something to ask about");
        let newer = Notary::default().with("lax.example/x:1", digest("newer"));
        house.gate.replace(rules(policy_in(""), newer, &registry));
        let id = container('a', "", None).id;
        let said = house.gate.judge_containers(vec![id], std::time::Duration::from_secs(5)).await;
        match &said[0].1 {
            Says::Superseded(reason) => assert!(was_signed, "{reason:?}"),
            Says::No(reason) => assert!(!was_signed && reason.code() == "not-signed", "{reason:?}"),
            other => panic!("{other:?}"),
        }
    }
}

/// The content bears another name as well, which comes first.
#[tokio::test(flavor = "multi_thread")]
async fn rules_in_rego_are_told_of_the_repository_that_forgives() {
    let (house, registry, [lax, ..]) = house();
    let rule = "package docker.registry\nallow := true\ndeny contains sprintf(\"<%s>\", [input.image.repository])";
    let rego = Some(super::rego::compiled(&[rule], &["data.docker.registry.allow"]));
    house.gate.replace(rules(Policy { rego, ..policy() }, Notary::default(), &registry));
    let pulled = ["r.example/other", "lax.example/x"].map(|from| (from.parse().unwrap(), lax));
    let twice = held("lax", "app", "r.example/other:1", "lax.example/x", lax);
    house.engine.put_image(Image { repo_digests: pulled.to_vec(), ..twice });
    let verdict = house.gate.judge(&start("lax")).await.verdict;
    let told = verdict.refusal().unwrap().message();
    assert!(told.starts_with("rego-denied") && told.contains("<lax.example/x>"), "{told}");
}
