//! What strangers put beside the image takes nothing from a good statement.

use serde_json::{Value, json};

use super::*;

/// What a stranger states, of so many bytes.
fn padded(number: usize, bytes: usize) -> String {
    statement(CUSTOM, &json!({ "number": number, "padding": "x".repeat(bytes) }))
}

/// Puts layers under cosign 2's tag.
fn attach(fake: &Fake, layers: &[Value]) {
    let tag: Tag = format!("sha256-{}.att", digest().hex()).parse().unwrap();
    fake.push(&app(), Some(&tag), manifest(layers).as_bytes()).unwrap();
}

fn layer(fake: &Fake, envelope: &str, beside: &str) -> Value {
    let digest = fake.push_blob(&app(), envelope.as_bytes()).to_string();
    let annotations = json!({ "predicateType": CUSTOM, "dev.sigstore.cosign/chain": beside });
    json!({ "mediaType": ENVELOPE, "digest": digest, "size": envelope.len(), "annotations": annotations })
}

#[tokio::test]
async fn small_statements_of_all_places_come_before_large_ones() {
    let (host, evil) = (Host::new(), Hand::new());
    let large: Vec<String> = (0..10).map(|number| evil.bundle(&padded(number, 100 << 10)).to_string()).collect();
    let blobs: Vec<String> = large.iter().map(|bundle| Digest::of(bundle.as_bytes()).to_string()).collect();
    let fake = listed(&large);
    let good = layer(&fake, &host.envelope(&tested()), "");
    attach(&fake, &[layer(&fake, &evil.bundle(&padded(11, 100 << 10))["dsseEnvelope"].to_string(), ""), good]);
    let rig = host.start(custom(), fake);
    assert_eq!(rig.pull().await, Ok(()));
    let calls = rig.fake.calls();
    assert!(!calls.iter().any(|call| blobs.iter().any(|blob| call.contains(blob))), "{calls:?}");
    // The twin: without it all are looked at.
    let rig = Host::new().start(custom(), listed(&large));
    assert_eq!(rig.pull().await, Err(TrustCode::SignerMissing));
    assert!(rig.fake.calls().iter().filter(|call| call.starts_with("blob ")).count() >= 10);
}

#[tokio::test]
async fn what_many_layers_are_is_fetched_once() {
    let (host, evil) = (Host::new(), Hand::new());
    for bytes in [100, 200 << 10] {
        let envelope = evil.bundle(&padded(1, bytes))["dsseEnvelope"].to_string();
        let fake = with_image();
        let layers: Vec<Value> = (0..64).map(|number| layer(&fake, &envelope, &"x".repeat(number / 32))).collect();
        attach(&fake, &layers);
        let rig = host.start(custom(), fake);
        assert_eq!(rig.pull().await, Err(TrustCode::SignerMissing));
        assert_eq!(rig.fake.calls().iter().filter(|call| call.starts_with("blob ")).count(), 1, "{:?}", rig.fake.calls());
    }
}
