//! Statements by identity, in both forms of cosign: proven by a trusted root.

use serde_json::{Value, json};

use super::*;
use crate::trust::cosign::{Cosign, Keys};
use crate::trust::sigstore::Annotations;
use crate::trust::sigstore::fixture::{ISSUER, Instance, SUBJECT, Signer, Version, address, base64, holder, identities};

/// The verifier that goes by an identity and a trusted root.
fn rooted(host: &Host, instance: &Instance, terms: Terms, fake: Fake) -> Rig {
    let fake = Arc::new(fake);
    let api = || Arc::clone(&fake) as Arc<dyn Api>;
    let cosign = Cosign { keys: Keys::none(), identities: identities(ISSUER, SUBJECT), root: Some(instance.root()) };
    let ci: VerifierName = "ci".parse().unwrap();
    let newest = Newest::kept_in(host.at("newest"));
    let verifier = AttestationVerifier::new("stated".parse().unwrap(), (&ci, Arc::new(cosign)), terms, newest, api());
    Rig { verifier: verifier.keeping(Evidence::kept_in(host.at("evidence")), None), fake }
}

/// A layer of cosign 2's manifest of attestations: an envelope, and what lies beside it.
fn layer(fake: &Fake, statement: &str, (signature, beside): &(Vec<u8>, Annotations)) -> Value {
    let envelope = json!({
        "payload": base64(statement),
        "payloadType": "application/vnd.in-toto+json",
        "signatures": [{ "sig": base64(signature) }],
    })
    .to_string();
    let digest = fake.push_blob(&app(), envelope.as_bytes()).to_string();
    let mut annotations = json!({ "dev.cosignproject.cosign/signature": "" });
    for (name, text) in [("certificate", &beside.certificate), ("chain", &beside.chain), ("bundle", &beside.entry)] {
        if let Some(text) = text {
            annotations[format!("dev.sigstore.cosign/{name}")] = text.clone().into();
        }
    }
    json!({ "mediaType": ENVELOPE, "digest": digest, "size": envelope.len(), "annotations": annotations })
}

/// A registry with the image, and these under cosign 2's tag.
fn attached(statements: &[(String, (Vec<u8>, Annotations))]) -> Fake {
    let fake = with_image();
    attach(&fake, statements);
    fake
}

fn attach(fake: &Fake, statements: &[(String, (Vec<u8>, Annotations))]) {
    let layers: Vec<Value> = statements.iter().map(|(statement, signed)| layer(fake, statement, signed)).collect();
    let tag: Tag = format!("sha256-{}.att", digest().hex()).parse().unwrap();
    fake.push(&app(), Some(&tag), manifest(&layers).as_bytes()).unwrap();
}

fn signed(instance: &Instance, signer: &Signer, statement: &str) -> (String, (Vec<u8>, Annotations)) {
    (statement.to_owned(), instance.annotations_of_envelope(signer, statement.as_bytes()))
}

#[tokio::test]
async fn a_statement_by_an_identity_counts_under_cosign_2s_tag_and_after_a_restart_with_the_registry_away() {
    let (host, instance) = (Host::new(), Instance::new());
    let rig = rooted(&host, &instance, custom(), attached(&[signed(&instance, &instance.signer(), &tested())]));
    let vouch = rig.ask(Purpose::Pull, NOON).await.unwrap();
    assert_eq!(vouch.signers, [format!("{SUBJECT} (issuer {ISSUER})")]);
    let gone = with_image();
    gone.fail_with(Some(away()));
    assert_eq!(rooted(&host, &instance, custom(), gone).run().await, Ok(()));
    // By another root the same bytes prove nothing.
    let gone = with_image();
    gone.fail_with(Some(away()));
    assert!(rooted(&host, &Instance::new(), custom(), gone).run().await.is_err());
}

#[tokio::test]
async fn a_statement_under_cosign_2s_tag_is_proven_whole_or_counts_for_nothing() {
    let (host, instance) = (Host::new(), Instance::new());
    let good = signed(&instance, &instance.signer(), &tested());
    let stranger = instance.certified(&holder(address("https://ci.example/evil/app"), ISSUER));
    let elsewhere = Instance::new();
    let other = signed(&instance, &instance.signer(), &tested().replace("\"ci\"", "\"cd\""));
    let with = |change: &dyn Fn(&mut Annotations)| {
        let mut bad = good.clone();
        change(&mut bad.1.1);
        bad
    };
    let cases = [
        ("another identity", signed(&instance, &stranger, &tested())),
        ("another instance", signed(&elsewhere, &elsewhere.signer(), &tested())),
        ("no certificate", with(&|beside| beside.certificate = None)),
        ("no entry of a log", with(&|beside| beside.entry = None)),
        ("the entry of another statement", with(&|beside| beside.entry.clone_from(&other.1.1.entry))),
        ("the certificate of another", with(&|beside| beside.certificate.clone_from(&other.1.1.certificate))),
        ("another statement than is signed", (other.0.clone(), good.1.clone())),
        ("too much beside it", with(&|beside| beside.chain = Some("x".repeat(70_000)))),
    ];
    assert_eq!(rooted(&host, &instance, custom(), attached(std::slice::from_ref(&good))).pull().await, Ok(()));
    for (what, bad) in cases {
        let alone = Host::new();
        let refused = rooted(&alone, &instance, custom(), attached(std::slice::from_ref(&bad))).pull().await;
        assert!(refused.is_err(), "{what}");
        // Beside the good one it changes nothing.
        assert_eq!(rooted(&alone, &instance, custom(), attached(&[bad, good.clone()])).pull().await, Ok(()), "{what}");
    }
}

#[tokio::test]
async fn of_scans_by_identity_the_newest_decides_in_whichever_form_it_lies() {
    let (host, instance) = (Host::new(), Instance::new());
    let (old, new) = (report(2, &[]), report(3, &["CVE-2026-1"]));
    let bundle = |statement: &str| instance.bundle(&instance.signer(), Version::V1, statement.as_bytes()).to_string();
    let fake = listed(&[bundle(&old)]);
    assert_eq!(rooted(&host, &instance, nothing_high(), fake).pull().await, Ok(()));
    // The newer one lies under cosign 2's tag alone.
    let fake = listed(&[bundle(&old)]);
    attach(&fake, &[signed(&instance, &instance.signer(), &new)]);
    assert_eq!(rooted(&host, &instance, nothing_high(), fake).pull().await, Err(TrustCode::AttestationRefused));
    // Taken away again, no older one takes its place.
    let fake = listed(&[bundle(&old)]);
    assert_eq!(rooted(&host, &instance, nothing_high(), fake).pull().await, Err(TrustCode::RolledBack));
    // A stranger's newer one says nothing.
    let (host, stranger) = (Host::new(), instance.certified(&holder(address("https://ci.example/evil/app"), ISSUER)));
    let fake = listed(&[bundle(&old)]);
    attach(&fake, &[signed(&instance, &stranger, &new)]);
    assert_eq!(rooted(&host, &instance, nothing_high(), fake).pull().await, Ok(()));
}
