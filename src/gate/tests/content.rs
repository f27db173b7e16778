//! What a pull and a create name, held against what is on the host and what a verifier vouches for.

use std::sync::Arc;

use super::support::{GOOD, container, create, digest, house, house_with, image, policy, pull, start};
use crate::engine::{EngineError, Store};
use crate::gate::Rules;
use crate::gate::approvals::Record;
use crate::image::Repository;
use crate::policy::{Policy, Posture, Verdict};
use crate::trust::{Binding, Fake as Notary, TrustCode, TrustError, VerifierName};

#[tokio::test]
async fn pulls_are_judged_by_registry_tag_and_digest() {
    let house = house();
    let signed = format!("r.example/team/good@{}", digest("good manifest"));
    let unsigned = format!("r.example/team/good@{}", digest("evil manifest"));
    for (reference, says) in [
        (GOOD, "allow"),
        ("r.example/team/good:2", "not-signed"),
        ("r.example/team/other:1", "not-signed"),
        ("evil.example/team/good:1", "registry-not-allowed"),
        ("r.example/team/good", "pull-all-tags"),
        (&signed, "allow"),
        (&unsigned, "not-signed"),
    ] {
        assert_eq!(house.says(&pull(reference)).await, says, "{reference}");
    }
}

#[tokio::test]
async fn creates_are_bound_to_the_content_on_the_host() {
    let house = house();
    let config = digest("good config").to_string();
    let evil = digest("evil config").to_string();
    for (name, says) in [
        (GOOD, "allow"),
        (config.as_str(), "allow"),
        (&config["sha256:".len()..], "allow"),
        (&config[..20], "allow"),
        (&config["sha256:".len()..20], "allow"),
        (evil.as_str(), "registry-not-allowed"),
        ("evil.example/evil:1", "registry-not-allowed"),
        // Not on the host: judged by name, the engine answers 404 and the client pulls.
        ("r.example/team/good:2", "not-signed"),
        ("sha256:ffff", "image-unknown"),
    ] {
        assert_eq!(house.says(&create(name)).await, says, "{name}");
    }
}

#[tokio::test]
async fn an_image_that_says_more_than_is_read_is_refused_as_that_and_no_other_is() {
    let house = house();
    house.engine.put_container(container('a', "web", Some(digest("good config"))));
    house.engine.label(digest("evil config"));
    assert_eq!(house.says(&create(GOOD)).await, "allow");
    assert_eq!(house.says(&create(&digest("evil config").to_string())).await, "image-too-large");
    house.engine.label(digest("good config"));
    assert_eq!(house.says(&create(GOOD)).await, "image-too-large");
    assert_eq!(house.says(&start("web")).await, "image-too-large");
}

#[tokio::test]
async fn a_retagged_image_is_not_what_its_name_says() {
    let house = house();
    house.engine.put_image(image("evil", &[GOOD], &["evil.example/evil"]));
    assert_eq!(house.says(&create(GOOD)).await, "content-mismatch");
    // Nor is a loaded one, which has no digest at all.
    house.engine.put_image(image("loaded", &[GOOD], &[]));
    assert_eq!(house.says(&create(GOOD)).await, "content-mismatch");
}

#[tokio::test]
async fn an_image_not_on_the_host_is_judged_by_name_so_that_it_can_be_pulled() {
    let house = house();
    house.engine.remove_images();
    assert_eq!(house.says(&create(GOOD)).await, "allow");
    assert_eq!(house.says(&create("r.example/team/good:9")).await, "not-signed");
}

#[tokio::test]
async fn in_the_containerd_store_the_id_is_the_digest() {
    let house = house();
    let mut stored = image("good", &[GOOD], &[]);
    stored.id = digest("good manifest");
    stored.store = Some(Store::Containerd);
    house.engine.put_image(stored);
    assert_eq!(house.says(&create(GOOD)).await, "allow");
    let mut stored = image("evil", &[GOOD], &["r.example/team/good"]);
    stored.id = digest("evil manifest");
    stored.store = Some(Store::Containerd);
    house.engine.put_image(stored);
    assert_eq!(house.says(&create(GOOD)).await, "content-mismatch");
    // RepoDigests follow the name there: they are no evidence of origin.
    assert_eq!(house.says(&create(&digest("evil manifest").to_string())).await, "not-signed");
}

/// The attack: the bytes of a signed manifest, loaded as a configuration, give an image whose id is that digest and whose layers
/// are others.
#[tokio::test]
async fn in_the_classic_store_an_id_is_no_digest_that_anybody_signed() {
    for store in [Some(Store::Classic), None] {
        let house = house();
        let mut evil = image("evil", &[GOOD], &[]);
        evil.id = digest("good manifest");
        // Where the image does not show its store, the engine (here: of the classic store) is asked.
        evil.store = store;
        house.engine.put_image(evil);
        let signed = digest("good manifest");
        for name in [GOOD.to_owned(), signed.to_string(), signed.hex()[..12].to_owned()] {
            assert_ne!(house.says(&create(&name)).await, "allow", "{name} {store:?}");
        }
        let mut made = container('a', "web", Some(signed));
        made.image_ref = GOOD.to_owned();
        house.engine.put_container(made);
        // A record that an earlier gate kept of such an approval does not help it, nor that the image is gone.
        house.gate.approvals.keep(&Record {
            image_id: signed,
            repository: "r.example/team/good".parse().unwrap(),
            digest: signed,
            forgiven: false,
        });
        assert_eq!(house.says(&start("web")).await, "not-signed", "{store:?}");
        house.engine.remove_images();
        assert_eq!(house.says(&start("web")).await, "not-signed", "{store:?}");
        // Beside it: the same digest as a manifest, with the configuration that it names.
        house.engine.put_image(image("good", &[GOOD], &["r.example/team/good"]));
        assert_eq!(house.says(&create(GOOD)).await, "allow");
    }
}

#[tokio::test]
async fn an_allowlist_takes_a_digest_and_an_image_id_each_for_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("allowlist.json");
    let (manifest, config) = (digest("good manifest"), digest("local config"));
    let entries = serde_json::json!([
        { "digest": manifest, "references": ["r.example/team/good:1"] },
        { "image_id": config, "references": ["r.example/local:1"] },
    ]);
    std::fs::write(&path, serde_json::json!({ "version": 1, "entries": entries }).to_string()).unwrap();
    let rules = || Rules::Good {
        policy: Policy::of(Posture::Images, "r.example", &VerifierName::ALLOWLIST, Binding::Listed),
        verifiers: vec![Arc::new(crate::trust::allowlist::Allowlist::load(&path))],
        registry: None,
    };
    let house = house();
    house.gate.replace(rules());
    house.engine.put_image(image("local", &["r.example/local:1"], &[]));
    assert_eq!(house.says(&create(GOOD)).await, "allow");
    assert_eq!(house.says(&create("r.example/local:1")).await, "allow");
    assert_eq!(house.says(&create(&config.to_string())).await, "allow");
    // Each as the other: a listed manifest loaded as a configuration; a listed configuration pulled as a manifest.
    let mut as_config = image("evil", &[GOOD], &[]);
    as_config.id = manifest;
    house.engine.put_image(as_config);
    assert_eq!(house.says(&create(GOOD)).await, "not-in-allowlist");
    assert_eq!(house.says(&create(&manifest.to_string())).await, "not-in-allowlist");
    assert_eq!(house.says(&pull(&format!("r.example/local@{config}"))).await, "not-in-allowlist");
    assert_eq!(house.says(&pull(&format!("r.example/team/good@{manifest}"))).await, "allow");
    let mut as_manifest = image("evil", &["r.example/local:1"], &[]);
    as_manifest.repo_digests = vec![("r.example/local".parse().unwrap(), config)];
    house.engine.put_image(as_manifest);
    assert_eq!(house.says(&create("r.example/local:1")).await, "not-in-allowlist");
    let mut in_containerd = image("evil", &["r.example/local:1"], &[]);
    (in_containerd.id, in_containerd.store) = (config, Some(Store::Containerd));
    house.engine.put_image(in_containerd);
    assert_eq!(house.says(&create("r.example/local:1")).await, "not-in-allowlist");
}

/// Nobody typed the repository that an id's content is traced to.
#[tokio::test]
async fn a_refusal_by_id_names_the_id_that_was_typed_beside_the_repository_asked() {
    let house = house_with(policy(Posture::Images), Notary::default());
    let id = digest("good config");
    let held = container('a', "web", Some(id));
    let typed = held.id.to_string();
    house.engine.put_container(held);
    let message = |verdict: Verdict| verdict.refusal().unwrap().message();
    for (intent, named) in
        [(create(&id.to_string()), id.to_string()), (start(&typed), typed.clone()), (start("web"), "web".into())]
    {
        let told = message(house.gate.judge(&intent).await.verdict);
        let shown: String = named.chars().take(19).collect();
        assert!(told.starts_with(&format!("not-signed: `{shown}")), "{told}");
        assert!(told.contains("`r.example/team/good`"), "{told}");
        assert!(told.chars().count() < 300, "{told}");
    }
    // By its own name nothing else is said.
    let told = message(house.gate.judge(&create(GOOD)).await.verdict);
    assert!(told.starts_with(&format!("not-signed: `{GOOD}`: ")), "{told}");
}

#[tokio::test]
async fn what_cannot_be_found_out_is_refused() {
    let house = house();
    house.engine.fail_with(Some(EngineError::Timeout { call: "GET /images".into() }));
    assert_eq!(house.says(&create(GOOD)).await, "engine-unreachable");
    // A container that does not answer may be held by a client; an engine that does not is away.
    assert_eq!(house.says(&start("web")).await, "container-busy");
    house.engine.fail_with(Some(EngineError::Unreachable { socket: String::new(), cause: String::new() }));
    assert_eq!(house.says(&start("web")).await, "engine-unreachable");
    let hanging = house_with(policy(Posture::Images), Notary { hangs: true, ..Notary::default() });
    assert_eq!(hanging.says(&pull(GOOD)).await, "deadline");
    let failure = Some(TrustError::new(TrustCode::Unreachable, "no route"));
    let failing = house_with(policy(Posture::Images), Notary { failure, ..Notary::default() });
    assert_eq!(failing.says(&pull(GOOD)).await, "trust-unreachable");
    house.gate.replace(Rules::Good { policy: policy(Posture::Images), verifiers: Vec::new(), registry: None });
    assert_eq!(house.says(&pull(GOOD)).await, "trust-misconfigured");
}

#[tokio::test]
async fn many_other_names_do_not_push_the_one_that_vouches_out() {
    let house = house();
    let mut stored = image("good", &[], &[]);
    stored.repo_digests = (0..40)
        .map(|number| (format!("evil.example/x{number}").parse::<Repository>().unwrap(), digest("good manifest")))
        .chain([("r.example/team/good".parse().unwrap(), digest("good manifest"))])
        .collect();
    house.engine.put_image(stored);
    assert_eq!(house.says(&create(&digest("good config").to_string())).await, "allow");
}
