//! Signatures in a registry: found, kept, verified again, withdrawn.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::image::Tag;
use crate::net::NetError;
use crate::registry::{Fake, Listing, Manifest, RegistryError, Reply, Wanted, list_tag};
use crate::trust::evidence::{self, Evidence};
use crate::trust::{Asking, Purpose, Question, TrustCode, TrustError, Verifier as _, Vouch};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const SIGNATURE: &str = "application/vnd.cncf.notary.signature";

fn manifest(layers: &[Value], more: &Value) -> Vec<u8> {
    let config =
        json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::of(b"{}").to_string(), "size": 2 });
    let mut all = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
    for (name, value) in more.as_object().unwrap() {
        all[name] = value.clone();
    }
    all.to_string().into_bytes()
}

fn image() -> Vec<u8> {
    manifest(&[], &json!({}))
}

fn signed() -> Artifact<'static> {
    Artifact { digest: Digest::of(&image()), size: image().len() as u64, media_type: MANIFEST }
}

/// The manifest of a signature, with its envelope, and how a list names it.
fn push(fake: &Fake, kind: Kind, envelope: &[u8], more: &Value) -> Value {
    let layer =
        json!({ "mediaType": kind.media_type(), "digest": fake.push_blob(&app(), envelope).to_string(), "size": envelope.len() });
    let mut all = json!({
        "config": { "mediaType": SIGNATURE, "digest": Digest::of(b"{}").to_string(), "size": 2 },
        "subject": { "mediaType": MANIFEST, "digest": signed().digest.to_string(), "size": signed().size },
    });
    for (name, value) in more.as_object().unwrap() {
        all[name] = value.clone();
    }
    let body = manifest(&[layer], &all);
    let digest = fake.push(&app(), None, &body).unwrap();
    json!({ "mediaType": MANIFEST, "digest": digest.to_string(), "size": body.len(), "artifactType": SIGNATURE })
}

fn list(fake: &Fake, listed: &[Value]) {
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed }).to_string();
    fake.list(&app(), signed().digest, index.as_bytes()).unwrap();
}

fn registry() -> Fake {
    let fake = Fake::new();
    fake.push(&app(), Some(&tag()), &image()).unwrap();
    fake
}

fn tag() -> Tag {
    "1.0".parse().unwrap()
}

fn away() -> RegistryError {
    RegistryError::Net(NetError::Unreachable { host: "r.example".into(), cause: "refused".into() })
}

struct Gate {
    fake: Arc<Fake>,
    verifier: NotationVerifier,
}

impl Gate {
    fn with(fake: Fake, notation: Notation) -> Self {
        let fake = Arc::new(fake);
        let verifier = NotationVerifier::new("corp".parse().unwrap(), notation, Arc::clone(&fake) as Arc<dyn Api>);
        Self { fake, verifier }
    }

    fn keeping(self, folder: &Path) -> Self {
        Self { verifier: self.verifier.keeping(Evidence::kept_in(folder.to_owned()), None), ..self }
    }

    async fn ask(&self, question: Question, purpose: Purpose, now: &str) -> Result<Vouch, TrustError> {
        let asking = Asking { purpose, now: now.parse().unwrap(), deadline: Instant::now() + Duration::from_secs(8) };
        self.verifier.vouch(&app(), &question, asking).await
    }

    async fn pull(&self) -> Result<Vouch, TrustError> {
        self.ask(Question::Tag(tag()), Purpose::Pull, NOW).await
    }

    async fn run(&self, now: &str) -> Result<(), TrustCode> {
        let question = Question::AnyOf(vec![signed().digest]);
        self.ask(question, Purpose::Run, now).await.map(|_| ()).map_err(|error| error.code)
    }

    async fn code(&self) -> Result<(), TrustCode> {
        self.pull().await.map(|_| ()).map_err(|error| error.code)
    }
}

/// A registry that never ends to send one blob.
struct Stuck {
    fake: Fake,
    blob: Digest,
}

impl Api for Stuck {
    fn manifest<'a>(&'a self, repository: &'a Repository, wanted: &'a Wanted, deadline: Instant) -> Reply<'a, Manifest> {
        self.fake.manifest(repository, wanted, deadline)
    }

    fn referrers<'a>(&'a self, repository: &'a Repository, digest: Digest, deadline: Instant) -> Reply<'a, Option<Listing>> {
        self.fake.referrers(repository, digest, deadline)
    }

    fn blob<'a>(&'a self, repository: &'a Repository, digest: Digest, size: u64, deadline: Instant) -> Reply<'a, Vec<u8>> {
        if digest == self.blob { Box::pin(std::future::pending()) } else { self.fake.blob(repository, digest, size, deadline) }
    }

    fn is_gone<'a>(
        &'a self,
        host: &'a crate::image::Host,
        deadline: Instant,
    ) -> std::pin::Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        self.fake.is_gone(host, deadline)
    }
}

#[tokio::test(start_paused = true)]
async fn a_blob_that_never_comes_takes_none_of_the_others_along() {
    let hand = Hand::new();
    let (kind, envelope) = writing(&hand).in_both().into_iter().next().unwrap();
    for has_good in [true, false] {
        let fake = registry();
        let stuck = b"never sent".to_vec();
        let mut listed = vec![push(&fake, kind, &stuck, &json!({}))];
        listed.extend(has_good.then(|| push(&fake, kind, &envelope, &json!({}))));
        list(&fake, &listed);
        let api = Arc::new(Stuck { fake, blob: Digest::of(&stuck) });
        let verifier = NotationVerifier::new("corp".parse().unwrap(), hand.notation(STRICT), api as Arc<dyn Api>);
        let begun = Instant::now();
        let asking = Asking { purpose: Purpose::Pull, now: now(), deadline: begun + Duration::from_secs(8) };
        let said = verifier.vouch(&app(), &Question::Tag(tag()), asking).await;
        assert_eq!(said.is_ok(), has_good, "{said:?}");
        assert!(!has_good || begun.elapsed() < Duration::from_millis(100), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn large_envelopes_come_after_small_ones() {
    let hand = Hand::new();
    let (kind, envelope) = writing(&hand).in_both().into_iter().next().unwrap();
    let fake = registry();
    let large = |number: u8| vec![number; 200 << 10];
    let mut listed: Vec<Value> = (0..40).map(|number| push(&fake, kind, &large(number), &json!({}))).collect();
    listed.push(push(&fake, kind, &envelope, &json!({})));
    list(&fake, &listed);
    let gate = Gate::with(fake, hand.notation(STRICT));
    gate.pull().await.unwrap();
    let calls = gate.fake.calls();
    let blobs: Vec<&String> = calls.iter().filter(|call| call.starts_with("blob ")).collect();
    let at = blobs.iter().position(|call| call.ends_with(&Digest::of(&envelope).to_string())).unwrap();
    assert!(at <= 8, "{at} large ones before it");
    // The same without the good one: each is looked at.
    let fake = registry();
    listed.pop();
    for number in 0..40 {
        push(&fake, kind, &large(number), &json!({}));
    }
    list(&fake, &listed);
    assert_eq!(Gate::with(fake, hand.notation(STRICT)).code().await, Err(TrustCode::NotSigned));
}

/// More than are looked at, put there later, take nothing from what was found before them.
#[tokio::test]
async fn a_flood_does_not_hide_what_was_found_before() {
    let hand = Hand::new();
    let (kind, envelope) = writing(&hand).in_both().into_iter().next().unwrap();
    let fake = registry();
    let good = push(&fake, kind, &envelope, &json!({}));
    list(&fake, std::slice::from_ref(&good));
    let gate = Gate::with(fake, hand.notation(STRICT));
    assert_eq!(gate.code().await, Ok(()));
    let flood: Vec<Value> = (0..300_u16).map(|number| push(&gate.fake, kind, &number.to_be_bytes(), &json!({}))).collect();
    // Behind them in the list, and beyond its end.
    for count in [150, 300] {
        list(&gate.fake, &[&flood[..count], std::slice::from_ref(&good)].concat());
        assert_eq!(gate.code().await, Ok(()), "{count}");
        let fresh = NotationVerifier::new("corp".parse().unwrap(), hand.notation(STRICT), Arc::clone(&gate.fake) as Arc<dyn Api>);
        let asking = Asking { purpose: Purpose::Pull, now: now(), deadline: Instant::now() + Duration::from_secs(8) };
        assert!(fresh.vouch(&app(), &Question::Tag(tag()), asking).await.is_err(), "{count}: who never saw it looks at some");
    }
    // What a whole list does not name is withdrawn, flood or not.
    list(&gate.fake, &flood[..50]);
    assert!(gate.code().await.is_err());
}

fn writing(hand: &Hand) -> Writing<'_> {
    Writing { payload: payload(&signed()), ..hand.writing() }
}

#[tokio::test]
async fn a_signature_is_found_by_list_and_by_tag_in_four_requests() {
    let hand = Hand::new();
    for (kind, envelope) in writing(&hand).in_both() {
        let fake = registry();
        let entry = push(&fake, kind, &envelope, &json!({}));
        list(&fake, std::slice::from_ref(&entry));
        let gate = Gate::with(fake, hand.notation(STRICT));
        let vouch = gate.pull().await.unwrap();
        assert_eq!(
            (vouch.signers(), vouch.role(), vouch.scheme()),
            (&["CN=release,O=acme,ST=WA,C=US".to_owned()][..], "ca:acme", Some("notation"))
        );
        assert_eq!(gate.fake.calls().len(), 4, "{:?}", gate.fake.calls());
        // By the tag that stands in for a list; of the newer form; by digest.
        let fake = registry();
        let newer = json!({ "artifactType": SIGNATURE, "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}").to_string(), "size": 2 } });
        let entry = push(&fake, kind, &envelope, &newer);
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }).to_string();
        fake.push(&app(), list_tag(&signed().digest).as_ref(), index.as_bytes()).unwrap();
        let gate = Gate::with(fake, hand.notation(STRICT));
        assert_eq!(gate.code().await, Ok(()));
        assert_eq!(gate.run(NOW).await, Ok(()));
    }
}

#[tokio::test]
async fn bad_signatures_beside_a_good_one_take_nothing_and_alone_they_say_why() {
    let hand = Hand::new();
    let good = writing(&hand).jws();
    let stranger = Hand::new();
    let entries = |fake: &Fake| {
        let mut gone = push(fake, Kind::Jws, b"gone", &json!({}));
        gone["digest"] = json!(Digest::of(b"nowhere").to_string());
        let other = json!({ "subject": { "mediaType": MANIFEST, "digest": Digest::of(b"other").to_string(), "size": 9 } });
        vec![
            push(fake, Kind::Jws, b"{", &json!({})),
            push(fake, Kind::Cose, &good, &json!({})),
            push(fake, Kind::Jws, &good, &other),
            push(fake, Kind::Jws, &vec![b' '; (1 << 20) + 1], &json!({})),
            push(fake, Kind::Jws, &writing(&stranger).jws(), &json!({})),
            push(fake, Kind::Cose, &hand.writing().cose(), &json!({})),
            gone,
        ]
    };
    let fake = registry();
    let mut all = entries(&fake);
    all.push(push(&fake, Kind::Jws, &good, &json!({})));
    list(&fake, &all);
    assert_eq!(Gate::with(fake, hand.notation(STRICT)).code().await, Ok(()));
    for (some, code) in [
        (0..0, TrustCode::NotSigned),
        (0..1, TrustCode::NotSigned),
        (1..2, TrustCode::NotSigned),
        (2..3, TrustCode::NotSigned),
        (3..4, TrustCode::Invalid),
        (4..5, TrustCode::SignerMissing),
        (5..6, TrustCode::NotSigned),
        // Listed still, and removed.
        (6..7, TrustCode::NotSigned),
    ] {
        let fake = registry();
        let all = entries(&fake);
        list(&fake, &all[some.clone()]);
        assert_eq!(Gate::with(fake, hand.notation(STRICT)).code().await, Err(code), "{some:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_verified_runs_without_the_registry_until_its_end_and_by_the_files_of_then() {
    let hand = Hand::new();
    let folder = tempfile::tempdir().unwrap();
    let expiring = Writing { expiry: Some(1_796_083_200), ..writing(&hand) };
    let fake = registry();
    let entry = push(&fake, Kind::Cose, &expiring.cose(), &json!({}));
    list(&fake, &[entry]);
    let first = Gate::with(fake, hand.notation(STRICT)).keeping(folder.path());
    assert_eq!(first.code().await, Ok(()));
    assert_eq!(evidence::all(folder.path()).unwrap().len(), 1);
    let without = |notation: Notation| {
        let gate = Gate::with(registry(), notation).keeping(folder.path());
        gate.fake.fail_with(Some(away()));
        gate
    };
    let (before, after) = ("2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z");
    assert_eq!(without(hand.notation(STRICT)).run(before).await, Ok(()));
    assert_eq!(without(hand.notation(STRICT)).run(after).await, Err(TrustCode::Unreachable), "it has expired");
    let next = without(hand.notation(STRICT));
    assert_eq!((next.run(before).await, next.run(after).await), (Ok(()), Err(TrustCode::Unreachable)), "in memory too");
    assert!(next.verifier.ready(&app(), &Question::AnyOf(vec![signed().digest]), after.parse().unwrap()).is_none());
    // A pull asks; another root, another identity and another statement end it; they may come back.
    assert_eq!(without(hand.notation(STRICT)).code().await, Err(TrustCode::Unreachable));
    assert_eq!(without(Hand::new().notation(STRICT)).run(before).await, Err(TrustCode::Unreachable));
    let other = hand.of(STRICT, r#""ca:acme""#, "x509.subject: C=US, ST=WA, O=other");
    assert_eq!(without(other).run(before).await, Err(TrustCode::Unreachable));
    assert_eq!(without(hand.notation(STRICT)).run(before).await, Ok(()));
    // The registry says that it has it no more.
    let fake = registry();
    list(&fake, &[]);
    let gate = Gate::with(fake, hand.notation(STRICT)).keeping(folder.path());
    assert_eq!(gate.code().await, Err(TrustCode::NotSigned));
    assert_eq!(evidence::all(folder.path()).unwrap(), []);
}

#[tokio::test]
async fn without_a_statement_nobody_is_asked() {
    let hand = Hand::new();
    let gate = Gate::with(registry(), hand.notation(STRICT));
    let other: Repository = "r.example/other".parse().unwrap();
    let asking = Asking { purpose: Purpose::Pull, now: now(), deadline: Instant::now() + Duration::from_secs(8) };
    let error = gate.verifier.vouch(&other, &Question::Tag(tag()), asking).await.unwrap_err();
    assert_eq!((error.code, gate.fake.calls().len()), (TrustCode::Misconfigured, 0));
    assert!(error.remedy(&"corp".parse().unwrap()).contains("registryScopes"));
}

/// What the real notation made (test/fixtures/notation/make.sh).
#[tokio::test]
async fn what_notation_signed_is_vouched_for_in_each_of_its_forms() {
    let fixture =
        |name: &str| std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("test/fixtures/notation").join(name)).unwrap();
    let text = |identity: &str| {
        format!(
            r#"{{"version":"1.0","trustPolicies":[{{"name":"a","registryScopes":["*"],"signatureVerification":{STRICT},"trustStores":["ca:acme"],"trustedIdentities":["x509.subject: {identity}"]}}]}}"#
        )
    };
    let ca = String::from_utf8(fixture("ca.crt")).unwrap();
    let of = |identity: &str| {
        let policy = TrustPolicy::read(&text(identity)).unwrap();
        let store = policy.stores().next().unwrap().clone();
        let stores = TrustStores::read(std::iter::once((&store, "ca.crt", ca.as_str()))).unwrap();
        Notation::of(policy, stores, Crls::default())
    };
    for (name, key) in [("p256.jws", "p256"), ("p256.cose", "p256"), ("rsa.jws", "rsa"), ("rsa.cose", "rsa")] {
        let registry = || {
            let fake = Fake::new();
            let image = fake.push(&app(), Some(&tag()), &fixture("manifest.json")).unwrap();
            fake.push_blob(&app(), &fixture(name));
            let body = fixture(&format!("{name}.json"));
            let digest = fake.push(&app(), None, &body).unwrap();
            let entry =
                json!({ "mediaType": MANIFEST, "digest": digest.to_string(), "size": body.len(), "artifactType": SIGNATURE });
            let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }).to_string();
            fake.list(&app(), image, index.as_bytes()).unwrap();
            fake
        };
        let gate = Gate::with(registry(), of("C=US, ST=WA, O=acme"));
        let ask = |gate: Gate, now: &'static str| async move { gate.ask(Question::Tag(tag()), Purpose::Pull, now).await };
        let vouch = ask(gate, "2027-01-01T00:00:00Z").await.unwrap();
        assert_eq!(vouch.signers(), [format!("CN={key},O=acme,ST=WA,C=US")]);
        assert_eq!(vouch.expires(), "2027-11-30T22:03:42Z".parse().ok());
        for (identity, now, code) in [
            ("C=US, ST=WA, O=acme", "2028-01-01T00:00:00Z", TrustCode::Expired),
            ("C=US, ST=WA, O=other", "2027-01-01T00:00:00Z", TrustCode::SignerMissing),
        ] {
            let error = ask(Gate::with(registry(), of(identity)), now).await.unwrap_err();
            assert_eq!(error.code, code, "{name}: {error}");
        }
    }
}
