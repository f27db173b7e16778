//! Signatures of what Docker Hub has: their bytes may lie at a mirror of the engine, the lists of them count at the origin alone.

use super::*;

const MIRROR: &str = "mirror.example:5000/team/app";

/// Docker Hub with the image and the list of its bundles, whose bytes lie in this repository.
fn hub(bundles: &[String], bytes_in: &str) -> Rig {
    hub_with(bundles, "docker.io/team/app", bytes_in)
}

/// The same, whose manifests lie in this repository.
fn hub_with(bundles: &[String], manifests_in: &str, bytes_in: &str) -> Rig {
    let fake = Fake::new();
    let (hub, there): (Repository, Repository) = ("docker.io/team/app".parse().unwrap(), bytes_in.parse().unwrap());
    let listed_in: Repository = manifests_in.parse().unwrap();
    fake.push(&hub, Some(&tag("1.0")), &image()).unwrap();
    let listed: Vec<Value> = bundles
        .iter()
        .map(|bundle| {
            let digest = fake.push_blob(&there, bundle.as_bytes()).to_string();
            let manifest = manifest_of(&[json!({ "mediaType": BUNDLE, "digest": digest, "size": bundle.len() })], "{}");
            let digest = fake.push(&listed_in, None, manifest.as_bytes()).unwrap().to_string();
            json!({ "mediaType": IMAGE, "digest": digest, "size": manifest.len(), "artifactType": BUNDLE })
        })
        .collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed }).to_string();
    fake.list(&hub, digest(), index.as_bytes()).unwrap();
    fake.mirrors().unwrap().take(vec![format!("https://{}", MIRROR.split('/').next().unwrap())]);
    Rig::with(fake, Keys::none())
}

async fn pulled(rig: &Rig, keys: Keys) -> Result<(), TrustCode> {
    let verifier = CosignVerifier::new("release".parse().unwrap(), keys, Arc::clone(&rig.fake) as Arc<dyn Api>);
    let hub = "docker.io/team/app".parse().unwrap();
    verifier.vouch(&hub, &Question::Tag(tag("1.0")), asking(Purpose::Pull)).await.map(|_| ()).map_err(|error| error.code)
}

#[tokio::test]
async fn bytes_of_signatures_may_come_from_a_mirror_and_are_asked_for_there_by_digest_alone() {
    let hand = Hand::new();
    let good = hand.bundle(&good_statement()).to_string();
    let rig = hub(std::slice::from_ref(&good), MIRROR);
    assert_eq!(pulled(&rig, hand.keys()).await, Ok(()));
    let at_mirror: Vec<String> = rig.fake.calls().into_iter().filter(|call| call.contains("mirror.example")).collect();
    assert!(at_mirror.len() == 1 && at_mirror.iter().all(|call| call.contains("@sha256:")), "{at_mirror:?}");
    // What the mirror has not, or is a stranger's, is no better for lying there.
    let rig = hub(std::slice::from_ref(&good), "docker.io/team/app");
    assert_eq!(pulled(&rig, hand.keys()).await, Ok(()));
    let rig = hub(std::slice::from_ref(&good), MIRROR);
    assert_eq!(pulled(&rig, Hand::new().keys()).await, Err(TrustCode::SignerMissing));
}

/// The publisher removes its manifest; a list names it still, and a mirror keeps what it once had.
#[tokio::test]
async fn a_signature_that_was_withdrawn_at_the_origin_is_not_had_from_a_mirror() {
    let hand = Hand::new();
    let good = hand.bundle(&good_statement()).to_string();
    for bytes_in in [MIRROR, "docker.io/team/app"] {
        let rig = hub_with(std::slice::from_ref(&good), MIRROR, bytes_in);
        assert_eq!(pulled(&rig, hand.keys()).await, Err(TrustCode::NotSigned), "{bytes_in}");
        assert!(!rig.fake.calls().iter().any(|call| call.contains("mirror.example")));
    }
}

#[tokio::test]
async fn what_a_mirror_lists_is_no_list() {
    let hand = Hand::new();
    let rig = hub(&[], MIRROR);
    let mirror: Repository = MIRROR.parse().unwrap();
    let bundle = hand.bundle(&good_statement()).to_string();
    let blob = rig.fake.push_blob(&mirror, bundle.as_bytes()).to_string();
    let manifest = manifest_of(&[json!({ "mediaType": BUNDLE, "digest": blob, "size": bundle.len() })], "{}");
    let found = rig.fake.push(&mirror, None, manifest.as_bytes()).unwrap().to_string();
    let listed = json!([{ "mediaType": IMAGE, "digest": found, "size": manifest.len(), "artifactType": BUNDLE }]);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed }).to_string();
    rig.fake.list(&mirror, digest(), index.as_bytes()).unwrap();
    rig.fake.push(&mirror, list_tag(&digest()).as_ref(), index.as_bytes()).unwrap();
    assert_eq!(pulled(&rig, hand.keys()).await, Err(TrustCode::NotSigned));
    assert!(!rig.fake.calls().iter().any(|call| call.contains("mirror.example")));
}

#[tokio::test]
async fn a_mirror_that_gives_nothing_usable_leaves_the_origin() {
    let hand = Hand::new();
    let good = hand.bundle(&good_statement()).to_string();
    let rig = hub(&[good], "docker.io/team/app");
    rig.fake.fail_one(&MIRROR.parse().unwrap(), super::away());
    assert_eq!(pulled(&rig, hand.keys()).await, Ok(()));
    let asked = rig.fake.calls().iter().filter(|call| call.contains("mirror.example")).count();
    assert_eq!(asked, 1, "one without an answer is left alone");
}
