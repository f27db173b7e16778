//! Signatures of the real cosign (test/fixtures/cosign), and attacks, each beside what passes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::cost::Purse;
use super::*;
use crate::image::Tag;
use crate::net::NetError;
use crate::registry::{Fake, RegistryError, Wanted, list_tag, signature_tag};
use crate::trust::evidence::{Evidence, Key as EvidenceKey, Record};
use crate::trust::{Asking, Purpose, Question, TrustCode, TrustError, Verifier as _, Vouch};

mod bounds;
mod carried;
mod keyless;
mod lasting;
mod memory;
mod mirrors;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

fn fixtures(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("test/fixtures/cosign").join(part)
}

pub(in crate::trust) fn app() -> Repository {
    "localhost:5599/team/app".parse().unwrap()
}

pub(in crate::trust) fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn keys(names: &[&str]) -> Keys {
    let texts: Vec<(String, String)> = names
        .iter()
        .map(|name| (format!("{name}.pub"), std::fs::read_to_string(fixtures("keys").join(format!("{name}.pub"))).unwrap()))
        .collect();
    Keys::read(texts.iter().map(|(name, text)| (&**name, &**text))).unwrap()
}

fn asking(purpose: Purpose) -> Asking {
    Asking { purpose, now: Timestamp::UNIX_EPOCH, deadline: Instant::now() + Duration::from_secs(8) }
}

pub(in crate::trust) fn away() -> RegistryError {
    RegistryError::Net(NetError::Unreachable { host: "localhost:5599".into(), cause: "refused".into() })
}

fn status(status: u16) -> RegistryError {
    RegistryError::Status { host: "localhost:5599".into(), what: "x".into(), status }
}

/// A registry in memory, and a verifier that asks it.
struct Rig {
    fake: Arc<Fake>,
    verifier: CosignVerifier,
}

impl Rig {
    fn with(fake: Fake, keys: Keys) -> Self {
        let fake = Arc::new(fake);
        let verifier = CosignVerifier::new("release".parse().unwrap(), keys, Arc::clone(&fake) as Arc<dyn Api>);
        Self { fake, verifier }
    }

    /// What the registry held after cosign had signed.
    fn recorded(names: &[&str]) -> Self {
        let fake = Fake::new();
        for entry in std::fs::read_dir(fixtures("manifests")).unwrap() {
            let path = entry.unwrap().path();
            let (name, body) = (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap());
            match Digest::from_hex(&name) {
                Ok(digest) => assert_eq!(fake.push(&app(), None, &body), Ok(digest)),
                Err(_) => drop(fake.push(&app(), Some(&tag(&name)), &body).unwrap()),
            }
        }
        for entry in std::fs::read_dir(fixtures("blobs")).unwrap() {
            fake.push_blob(&app(), &std::fs::read(entry.unwrap().path()).unwrap());
        }
        Self::with(fake, keys(names))
    }

    async fn ask(&self, question: &Question, purpose: Purpose) -> Result<Vouch, TrustError> {
        self.verifier.vouch(&app(), question, asking(purpose)).await
    }

    async fn by_tag(&self, name: &str) -> Result<Vouch, TrustError> {
        self.ask(&Question::Tag(tag(name)), Purpose::Pull).await
    }

    async fn by_digest(&self, digest: Digest) -> Result<Vouch, TrustError> {
        self.ask(&Question::AnyOf(vec![digest]), Purpose::Run).await
    }

    async fn code(&self, name: &str) -> Result<(), TrustCode> {
        self.by_tag(name).await.map(|_| ()).map_err(|error| error.code)
    }
}

/// The digest of a recorded image.
fn recorded(name: &str) -> Digest {
    Digest::of(&std::fs::read(fixtures("manifests").join(format!("{name}.json"))).unwrap())
}

#[tokio::test]
async fn what_cosign_signed_is_vouched_for_in_both_its_forms() {
    for key in ["p256", "rsa", "p384"] {
        let rig = Rig::recorded(&[key]);
        for form in ["legacy", "bundle"] {
            let name = format!("{form}-{key}");
            let vouch = rig.by_tag(&name).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((vouch.digest(), vouch.signers()), (&recorded(&name), &[format!("{key}.pub")][..]));
            assert_eq!((vouch.tags(), vouch.repository()), (&[tag(&name)][..], &app()));
            assert!(Rig::recorded(&[key]).by_digest(recorded(&name)).await.is_ok(), "{name}");
        }
        for other in ["legacy-both", "unsigned"] {
            assert!(key == "p256" || rig.by_tag(other).await.is_err(), "{key} {other}");
        }
    }
}

#[tokio::test]
async fn one_of_several_keys_is_enough_and_one_of_several_signers() {
    for (names, by) in [(["p256", "rsa"], "p256.pub"), (["rsa", "other"], "other.pub")] {
        let rig = Rig::recorded(&names);
        for name in ["legacy-both", "bundle-both"] {
            assert_eq!(rig.by_tag(name).await.unwrap().signers(), [by], "{name}");
        }
    }
}

#[tokio::test]
async fn what_a_stranger_signed_or_nobody_is_refused_and_told_apart() {
    let rig = Rig::recorded(&["other"]);
    for name in ["legacy-p256", "bundle-p256", "legacy-rsa", "bundle-p384", "index"] {
        assert_eq!(rig.code(name).await, Err(TrustCode::SignerMissing), "{name}");
    }
    assert_eq!(rig.code("unsigned").await, Err(TrustCode::NotSigned));
    assert_eq!(rig.code("missing").await, Err(TrustCode::NotInRegistry));
    let none = rig.ask(&Question::AnyOf(Vec::new()), Purpose::Run).await.unwrap_err();
    assert_eq!(none.code, TrustCode::NotSigned);
}

#[tokio::test]
async fn ed25519_of_cosign_3_is_refused_by_its_name() {
    let rig = Rig::recorded(&["ed25519"]);
    for name in ["legacy-ed25519", "bundle-ed25519"] {
        let error = rig.by_tag(name).await.unwrap_err();
        assert_eq!(error.code, TrustCode::SignerMissing);
        assert!(error.to_string().contains("Ed25519ph"), "{error}");
    }
}

#[tokio::test]
async fn what_is_signed_for_another_repository_or_is_attested_is_not_signed() {
    let rig = Rig::recorded(&["p256"]);
    let error = rig.by_tag("elsewhere").await.unwrap_err();
    assert_eq!(error.code, TrustCode::NotSigned);
    assert!(error.to_string().contains("`localhost:5599/team/canary`"), "{error}");
    let error = rig.by_tag("attested").await.unwrap_err();
    assert_eq!(error.code, TrustCode::NotSigned);
    assert!(error.to_string().contains("https://example.com/scan/v1"), "{error}");
}

#[tokio::test]
async fn the_signature_of_an_index_is_none_of_its_platforms() {
    let rig = Rig::recorded(&["p256"]);
    assert!(rig.by_digest(recorded("index")).await.is_ok());
    assert_eq!(rig.by_digest(recorded("child")).await.unwrap_err().code, TrustCode::NotSigned);
    // A host that knows its content by both is content with one.
    let both = Question::AnyOf(vec![recorded("child"), recorded("index")]);
    assert_eq!(rig.ask(&both, Purpose::Run).await.unwrap().digest(), &recorded("index"));
}

/// Somebody who signs by hand what the real cosign would not.
pub(in crate::trust) struct Hand(EcdsaKeyPair);

impl Hand {
    pub(in crate::trust) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    pub(in crate::trust) fn pem(&self) -> String {
        let der = self.0.public_key().as_der().unwrap();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der.as_ref()))
    }

    pub(in crate::trust) fn keys(&self) -> Keys {
        Keys::read(std::iter::once(("hand.pub", &*self.pem()))).unwrap()
    }

    pub(in crate::trust) fn sign(&self, message: &[u8]) -> String {
        STANDARD.encode(self.0.sign(&SystemRandom::new(), message).unwrap())
    }

    fn layer(&self, payload: &str) -> (String, Value) {
        let annotations = json!({ "dev.cosignproject.cosign/signature": self.sign(payload.as_bytes()) });
        (
            payload.to_owned(),
            json!({
                "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                "digest": Digest::of(payload.as_bytes()).to_string(), "size": payload.len(), "annotations": annotations,
            }),
        )
    }

    pub(in crate::trust) fn bundle(&self, statement: &str) -> Value {
        let kind = "application/vnd.in-toto+json";
        let signed = format!("DSSEv1 {} {kind} {} {statement}", kind.len(), statement.len());
        json!({
            "mediaType": BUNDLE,
            "verificationMaterial": { "publicKey": { "hint": "x" } },
            "dsseEnvelope": {
                "payload": STANDARD.encode(statement), "payloadType": kind,
                "signatures": [{ "sig": self.sign(signed.as_bytes()) }],
            },
        })
    }
}

pub(in crate::trust) fn image() -> Vec<u8> {
    manifest_of(&[], "image").into_bytes()
}

pub(in crate::trust) fn digest() -> Digest {
    Digest::of(&image())
}

fn manifest_of(layers: &[Value], config: &str) -> String {
    let (config, size) = (Digest::of(config.as_bytes()).to_string(), config.len());
    let config = json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": size });
    json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers }).to_string()
}

fn payload(digest: &str, reference: &str) -> String {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"{reference}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
    )
}

fn good_payload() -> String {
    payload(&digest().to_string(), "localhost:5599/team/app")
}

fn statement(digest: &str) -> String {
    format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{digest}"}}}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{{}}}}"#
    )
}

fn good_statement() -> String {
    statement(&digest().hex())
}

/// A registry with the image under the tag `1.0`.
pub(in crate::trust) fn with_image() -> Fake {
    let fake = Fake::new();
    fake.push(&app(), Some(&tag("1.0")), &image()).unwrap();
    fake
}

/// The image, and these layers as its signatures.
fn legacy(layers: &[(String, Value)]) -> Fake {
    let fake = with_image();
    for (payload, _) in layers {
        fake.push_blob(&app(), payload.as_bytes());
    }
    let layers: Vec<Value> = layers.iter().map(|(_, layer)| layer.clone()).collect();
    fake.push(&app(), signature_tag(&digest()).as_ref(), manifest_of(&layers, "signatures").as_bytes()).unwrap();
    fake
}

/// The image, and these bundles in the registry's list.
fn bundles(bundles: &[String]) -> Fake {
    let fake = with_image();
    let listed: Vec<Value> = bundles.iter().map(|bundle| pointing(&fake, BUNDLE, bundle.as_bytes())).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed }).to_string();
    fake.list(&app(), digest(), index.as_bytes()).unwrap();
    fake
}

/// A manifest with one layer, and how a list names it.
pub(in crate::trust) fn pointing(fake: &Fake, media_type: &str, body: &[u8]) -> Value {
    let layer = json!({ "mediaType": media_type, "digest": fake.push_blob(&app(), body).to_string(), "size": body.len() });
    let manifest = manifest_of(&[layer], "{}");
    let digest = fake.push(&app(), None, manifest.as_bytes()).unwrap();
    json!({ "mediaType": IMAGE, "digest": digest.to_string(), "size": manifest.len(), "artifactType": media_type })
}

#[tokio::test]
async fn payloads_that_say_anything_else_are_refused() {
    let (hand, good) = (Hand::new(), good_payload());
    let passes = async |payload: &str| Rig::with(legacy(&[hand.layer(payload)]), hand.keys()).by_tag("1.0").await;
    let hex = digest().hex();
    let mine = "localhost:5599/team/app";
    for fine in [
        good.clone(),
        payload(&digest().to_string(), &format!("{mine}:1.0")),
        payload(&digest().to_string(), &format!("{mine}@{}", digest())),
        good.replace("null", r#"{"creator":"me","timestamp":1700000000,"a":[1.5]}"#),
    ] {
        assert_eq!(passes(&fine).await.unwrap().signers(), ["hand.pub"], "{fine}");
    }
    let other = Digest::of(b"other").to_string();
    for bad in [
        payload(&other, mine),
        payload(&format!("sha256:{}", hex.to_uppercase()), mine),
        payload(&hex, mine),
        payload(&format!("sha512:{hex}{hex}"), mine),
        payload(&digest().to_string(), "localhost:5599/team/canary"),
        payload(&digest().to_string(), "localhost:5599/team/app2"),
        payload(&digest().to_string(), "other.example/team/app"),
        payload(&digest().to_string(), "team/app"),
        payload(&digest().to_string(), ""),
        payload(&digest().to_string(), &format!("{mine}:2.0")),
        payload(&digest().to_string(), &format!("{mine}@{other}")),
        good.replace("cosign container image signature", "atomic container signature"),
        good.replace(r#""critical":{"#, r#""critical":{"image":{"docker-manifest-digest":"x"},"#),
        good.replace(r#""critical":{"#, r#""Critical":{},"critical":{"#),
        good.replace(r#""docker-manifest-digest""#, r#""Docker-Manifest-Digest""#),
        good.replace(r#","optional":null"#, r#","optional":{"a":1,"a":2}"#),
        format!("{good}{good}"),
        good.replace(&format!(r#"{{"docker-reference":"{mine}"}}"#), &format!(r#"["{mine}"]"#)),
        format!(r#"[[["{mine}"],["{}"],"cosign container image signature"],null]"#, digest()),
        format!("[{good}]"),
        good.replace(r#"{"critical""#, &format!(r#"{{"x":{}1{},"critical""#, "[".repeat(500), "]".repeat(500))),
        String::new(),
    ] {
        let error = passes(&bad).await.expect_err(&bad);
        assert_eq!(error.code, TrustCode::NotSigned, "{bad}: {error}");
    }
}

#[tokio::test]
async fn layers_that_are_not_signatures_by_a_key_are_refused() {
    let hand = Hand::new();
    let (payload, layer) = hand.layer(&good_payload());
    let code = async |layer: Value| Rig::with(legacy(&[(payload.clone(), layer)]), hand.keys()).code("1.0").await;
    assert_eq!(code(layer.clone()).await, Ok(()));
    let with = |key: &str, value: &str| {
        let mut layer = layer.clone();
        layer["annotations"][key] = value.into();
        layer
    };
    let signature = layer["annotations"]["dev.cosignproject.cosign/signature"].as_str().unwrap();
    let raw = STANDARD.decode(signature).unwrap();
    let cut = STANDARD.encode(&raw[..raw.len() - 1]);
    let longer = STANDARD.encode([&raw[..], &[0]].concat());
    for other in ["", "no base64", &cut, &longer, &format!("{signature}\n"), &Hand::new().sign(payload.as_bytes())] {
        assert!(code(with("dev.cosignproject.cosign/signature", other)).await.is_err(), "{other}");
    }
    assert_eq!(code(with("dev.sigstore.cosign/certificate", "-----BEGIN")).await, Err(TrustCode::NotSigned));
    let mut odd = layer.clone();
    odd["mediaType"] = "application/octet-stream".into();
    assert_eq!(code(odd).await, Err(TrustCode::NotSigned));
    // The blob has another size than is said.
    let mut odd = layer.clone();
    odd["size"] = (payload.len() + 1).into();
    assert_eq!(code(odd).await, Err(TrustCode::Invalid));
    let mut odd = layer.clone();
    odd["size"] = (1 << 20).into();
    assert_eq!(code(odd).await, Err(TrustCode::NotSigned));
}

#[tokio::test]
async fn bundles_that_say_anything_else_are_refused() {
    let hand = Hand::new();
    let passes = async |bundle: String| Rig::with(bundles(&[bundle]), hand.keys()).by_tag("1.0").await;
    let good = hand.bundle(&good_statement());
    assert_eq!(passes(good.to_string()).await.unwrap().signers(), ["hand.pub"]);
    let mut spelt = good.clone();
    spelt["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.3".into();
    spelt["verificationMaterial"]["tlogEntries"] = json!([]);
    assert!(passes(spelt.to_string()).await.is_ok());
    let more =
        good_statement().replace(r#"[{"digest""#, &format!(r#"[{{"digest":{{"sha256":"{}"}}}},{{"digest""#, "0".repeat(64)));
    assert!(passes(hand.bundle(&more).to_string()).await.is_ok());

    let hex = digest().hex();
    for bad in [
        statement(&Digest::of(b"other").hex()),
        statement(&hex.to_uppercase()),
        statement(&digest().to_string()),
        good_statement().replace("sha256", "sha512"),
        good_statement().replace("Statement/v1", "Statement/v0.1"),
        good_statement().replace("cosign/sign/v1", "cosign/sign/v2"),
        good_statement().replace("https://sigstore.dev/cosign/sign/v1", "https://slsa.dev/provenance/v1"),
        good_statement().replace(r#""predicateType""#, r#""predicateType":"x","predicateType""#),
        good_statement().replace(r#""subject":["#, r#""Subject":[],"subject":["#),
        good_statement().replace(r#"[{"digest""#, r#"[],"x":[{"digest""#),
    ] {
        let error = passes(hand.bundle(&bad).to_string()).await.expect_err(&bad);
        assert_eq!(error.code, TrustCode::NotSigned, "{bad}: {error}");
    }

    let changed = |change: &dyn Fn(&mut Value)| {
        let mut bundle = good.clone();
        change(&mut bundle);
        bundle.to_string()
    };
    let twice = good.to_string().replacen('{', r#"{"mediaType":"x","#, 1);
    let message = json!({ "messageDigest": { "algorithm": "SHA2_256", "digest": "" }, "signature": "" });
    for bad in [
        twice,
        changed(&|bundle| bundle["dsseEnvelope"]["signatures"] = json!([])),
        changed(&|bundle| {
            let one = bundle["dsseEnvelope"]["signatures"][0].clone();
            bundle["dsseEnvelope"]["signatures"] = json!([one, one]);
        }),
        changed(&|bundle| bundle["dsseEnvelope"]["payloadType"] = "application/json".into()),
        changed(&|bundle| bundle["dsseEnvelope"]["payload"] = STANDARD.encode(good_statement() + " ").into()),
        changed(&|bundle| bundle["dsseEnvelope"]["extra"] = 1.into()),
        changed(&|bundle| bundle["messageSignature"] = message.clone()),
        changed(&|bundle| drop(bundle.as_object_mut().unwrap().remove("dsseEnvelope"))),
        changed(&|bundle| drop(bundle.as_object_mut().unwrap().remove("mediaType"))),
        changed(&|bundle| bundle["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1".into()),
        changed(&|bundle| bundle["verificationMaterial"] = json!({})),
        changed(&|bundle| bundle["verificationMaterial"]["certificate"] = json!({ "rawBytes": "" })),
        changed(&|bundle| bundle["verificationMaterial"] = json!({ "certificate": { "rawBytes": "" } })),
        changed(&|bundle| bundle["dsse_envelope"] = json!({})),
        changed(&|bundle| {
            let sig = bundle["dsseEnvelope"]["signatures"][0]["sig"].clone();
            bundle["dsseEnvelope"]["signatures"][0] = json!([sig]);
        }),
        changed(&|bundle| bundle["verificationMaterial"] = json!([null, null, {}, null, null])),
        // Signed without the type in front.
        changed(&|bundle| {
            bundle["dsseEnvelope"]["signatures"][0]["sig"] = hand.sign(good_statement().as_bytes()).into();
        }),
        "{}".to_owned(),
        "\u{0}".to_owned(),
    ] {
        assert!(passes(bad.clone()).await.is_err(), "{bad}");
    }
    // Not by the key.
    let error = passes(Hand::new().bundle(&good_statement()).to_string()).await.unwrap_err();
    assert_eq!(error.code, TrustCode::SignerMissing);
}

#[tokio::test]
async fn a_signature_of_bytes_that_happen_to_be_the_manifest_is_none_of_the_image() {
    let hand = Hand::new();
    let hash = STANDARD.encode(Digest::of(&image()).as_bytes());
    let message = json!({ "messageDigest": { "algorithm": "SHA2_256", "digest": hash }, "signature": hand.sign(&image()) });
    let bundle = json!({ "mediaType": BUNDLE, "verificationMaterial": { "publicKey": {} }, "messageSignature": message });
    let error = Rig::with(bundles(&[bundle.to_string()]), hand.keys()).by_tag("1.0").await.unwrap_err();
    assert_eq!(error.code, TrustCode::NotSigned);
    assert!(error.to_string().contains("cosign sign-blob"), "{error}");
    // The twin: what states that the image is signed.
    assert!(Rig::with(bundles(&[hand.bundle(&good_statement()).to_string()]), hand.keys()).by_tag("1.0").await.is_ok());
}

#[tokio::test]
async fn a_signature_for_another_tag_says_nothing_of_the_digest() {
    let (hand, stranger) = (Hand::new(), Hand::new());
    let other_tag = hand.layer(&payload(&digest().to_string(), "localhost:5599/team/app:2.0"));
    for mut layers in
        [vec![stranger.layer(&good_payload())], vec![stranger.layer(&payload(&digest().to_string(), "x/y"))], vec![]]
    {
        layers.push(other_tag.clone());
        let rig = Rig::with(legacy(&layers), hand.keys());
        let error = rig.by_tag("1.0").await.unwrap_err();
        assert_eq!(error.code, TrustCode::NotSigned);
        assert!(error.to_string().contains("team/app:2.0"), "{error}");
        assert!(rig.by_digest(digest()).await.is_ok());
        rig.fake.push(&app(), Some(&tag("2.0")), &image()).unwrap();
        assert!(rig.by_tag("2.0").await.is_ok());
    }
    // The twin: what a stranger signed for another tag is a no about the digest, and is remembered.
    let layer = stranger.layer(&payload(&digest().to_string(), "localhost:5599/team/app:2.0"));
    let rig = Rig::with(legacy(&[layer]), hand.keys());
    assert_eq!(rig.code("1.0").await, Err(TrustCode::SignerMissing));
    let calls = rig.fake.calls().len();
    assert_eq!(rig.by_digest(digest()).await.unwrap_err().code, TrustCode::SignerMissing);
    assert_eq!(rig.fake.calls().len(), calls);
}

/// The keys of several.
fn keys_of(hands: &[&Hand]) -> Keys {
    let pems: Vec<String> = hands.iter().map(|hand| hand.pem()).collect();
    Keys::read(std::iter::once(("hands.pub", &*pems.concat()))).unwrap()
}

#[tokio::test]
async fn garbage_beside_a_good_signature_takes_none_of_its_trials() {
    let (hand, strangers) = (Hand::new(), [(); 5].map(|()| Hand::new()));
    let keys = keys_of(&[&strangers[0], &strangers[1], &strangers[2], &strangers[3], &strangers[4], &hand]);
    let (good, evil) = (hand.layer(&good_payload()), Hand::new());
    let with = |signature: &[u8]| {
        let (payload, mut layer) = good.clone();
        layer["annotations"]["dev.cosignproject.cosign/signature"] = STANDARD.encode(signature).into();
        (payload, layer)
    };
    let same = evil.layer(&good_payload());
    let one_signature_many_times = vec![same; 200];
    let no_signatures = (0..200_u8).map(|number| with(&[number; 70])).collect();
    let of_other_length = (0..200_u8).map(|number| with(&[&[0x30, 68, number][..], &[number; 70][..]].concat())).collect();
    let fifty_strangers = (0..50).map(|_| evil.layer(&good_payload())).collect();
    for mut layers in [one_signature_many_times, no_signatures, of_other_length, fifty_strangers] {
        let rig = Rig::with(legacy(&layers), keys.clone());
        assert_eq!(rig.code("1.0").await, Err(TrustCode::SignerMissing));
        layers.push(good.clone());
        assert_eq!(Rig::with(legacy(&layers), keys.clone()).code("1.0").await, Ok(()));
    }
}

#[tokio::test]
async fn when_no_trial_is_left_nothing_more_is_fetched() {
    let (hand, evil) = (Hand::new(), Hand::new());
    let strangers = [(); 16].map(|()| Hand::new());
    let layers: Vec<_> = (0..250).map(|_| evil.layer(&good_payload())).collect();
    let fake = legacy(&layers);
    let listed = pointing(&fake, BUNDLE, hand.bundle(&good_statement()).to_string().as_bytes());
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [listed] }).to_string();
    fake.push(&app(), list_tag(&digest()).as_ref(), index.as_bytes()).unwrap();
    let rig = Rig::with(fake, keys_of(&strangers.iter().collect::<Vec<_>>()));
    assert_eq!(rig.code("1.0").await, Err(TrustCode::Invalid));
    // The tag, the list, cosign's tag, the payload; and not the tag in place of a list.
    assert_eq!(rig.fake.calls().len(), 4, "{:?}", rig.fake.calls());
}

/// A registry that does not answer about single manifests.
struct Hangs(Arc<Fake>, std::sync::atomic::AtomicUsize);

impl Api for Hangs {
    fn manifest<'a>(
        &'a self,
        repository: &'a Repository,
        wanted: &'a Wanted,
        deadline: Instant,
    ) -> crate::registry::Reply<'a, crate::registry::Manifest> {
        match wanted {
            Wanted::Digest(_) => Box::pin(async {
                self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                std::future::pending().await
            }),
            Wanted::Tag(_) => self.0.manifest(repository, wanted, deadline),
        }
    }

    fn referrers<'a>(
        &'a self,
        repository: &'a Repository,
        digest: Digest,
        deadline: Instant,
    ) -> crate::registry::Reply<'a, Option<crate::registry::Listing>> {
        self.0.referrers(repository, digest, deadline)
    }

    fn blob<'a>(
        &'a self,
        repository: &'a Repository,
        digest: Digest,
        size: u64,
        deadline: Instant,
    ) -> crate::registry::Reply<'a, Vec<u8>> {
        self.0.blob(repository, digest, size, deadline)
    }

    fn is_gone<'a>(
        &'a self,
        host: &'a crate::image::Host,
        deadline: Instant,
    ) -> std::pin::Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.0.is_gone(host, deadline).await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_search_whose_time_is_over_ends_and_asks_once_whether_the_registry_is_gone() {
    let hand = Hand::new();
    let statement = |number: usize| good_statement().replace(r#""predicate":{}"#, &format!(r#""predicate":{number}"#));
    let fake = bundles(&(0..60).map(|number| hand.bundle(&statement(number)).to_string()).collect::<Vec<_>>());
    let hangs = Arc::new(Hangs(Arc::new(fake), std::sync::atomic::AtomicUsize::new(0)));
    let verifier = CosignVerifier::new("release".parse().unwrap(), hand.keys(), Arc::clone(&hangs) as Arc<dyn Api>);
    let begun = Instant::now();
    let both = Question::AnyOf(vec![digest(), Digest::of(b"other")]);
    assert!(verifier.vouch(&app(), &both, asking(Purpose::Run)).await.is_err());
    assert!(begun.elapsed() < Duration::from_millis(3500), "{:?}", begun.elapsed());
    assert_eq!((hangs.0.greeted(), hangs.1.load(std::sync::atomic::Ordering::Relaxed)), (1, 8));
}

#[tokio::test]
async fn bad_entries_beside_a_good_signature_change_nothing_and_halves_make_no_whole() {
    let (hand, stranger) = (Hand::new(), Hand::new());
    let other = payload(&Digest::of(b"other").to_string(), "localhost:5599/team/app");
    let mut layers: Vec<_> = (0..50).map(|number| stranger.layer(&good_payload().replace("null", &number.to_string()))).collect();
    layers.push(hand.layer(&other));
    // Ours has signed the one, and the stranger what is asked for.
    assert_eq!(Rig::with(legacy(&layers), hand.keys()).code("1.0").await, Err(TrustCode::SignerMissing));
    layers.push(hand.layer(&good_payload()));
    let fake = legacy(&layers);
    // 20 SBOMs and 30 bundles besides.
    let mut listed: Vec<Value> =
        (0..20).map(|number| pointing(&fake, "application/spdx+json", number.to_string().as_bytes())).collect();
    let bundle =
        |number: usize| stranger.bundle(&good_statement().replace(r#""predicate":{}"#, &format!(r#""predicate":{number}"#)));
    listed.extend((0..30).map(|number| pointing(&fake, BUNDLE, bundle(number).to_string().as_bytes())));
    let index = |listed: &[Value]| json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed }).to_string();
    fake.list(&app(), digest(), index(&listed).as_bytes()).unwrap();
    assert_eq!(Rig::with(fake, hand.keys()).code("1.0").await, Ok(()));
    // The same where only a bundle, the last, is good.
    let fake = legacy(&layers[..51]);
    let mut listed: Vec<Value> = listed.clone();
    for number in 0..20 {
        pointing(&fake, "application/spdx+json", number.to_string().as_bytes());
    }
    for number in 0..30 {
        pointing(&fake, BUNDLE, bundle(number).to_string().as_bytes());
    }
    listed.push(pointing(&fake, BUNDLE, hand.bundle(&good_statement()).to_string().as_bytes()));
    fake.list(&app(), digest(), index(&listed).as_bytes()).unwrap();
    assert_eq!(Rig::with(fake, hand.keys()).code("1.0").await, Ok(()));
}

#[tokio::test]
async fn more_than_is_looked_at_is_not_unsigned() {
    let (hand, stranger) = (Hand::new(), Hand::new());
    let one = stranger.layer(&good_payload());
    let layers: Vec<_> = std::iter::repeat_n(one, 300).collect();
    assert_eq!(Rig::with(legacy(&layers), hand.keys()).code("1.0").await, Err(TrustCode::Invalid));
    let fake = with_image();
    let listed: Vec<Value> = (0..100).map(|number| pointing(&fake, "a/b", number.to_string().as_bytes())).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed }).to_string();
    fake.list(&app(), digest(), index.as_bytes()).unwrap();
    let rig = Rig::with(fake, hand.keys());
    assert_eq!(rig.code("1.0").await, Err(TrustCode::Invalid));
    assert!(rig.fake.calls().len() < 80, "{}", rig.fake.calls().len());
}

#[tokio::test]
async fn another_size_beside_a_signature_takes_nothing_away_and_a_large_bundle_is_not_unsigned() {
    let hand = Hand::new();
    let good = hand.layer(&good_payload());
    let mut odd = good.clone();
    odd.1["size"] = (good_payload().len() + 1).into();
    assert_eq!(Rig::with(legacy(&[odd.clone(), good]), hand.keys()).code("1.0").await, Ok(()));
    assert_eq!(Rig::with(legacy(&[odd]), hand.keys()).code("1.0").await, Err(TrustCode::Invalid));
    let large = good_statement().replace(r#""predicate":{}"#, &format!(r#""predicate":"{}""#, "x".repeat(260 << 10)));
    let large = hand.bundle(&large).to_string();
    assert_eq!(Rig::with(bundles(std::slice::from_ref(&large)), hand.keys()).code("1.0").await, Err(TrustCode::Invalid));
    let small = hand.bundle(&good_statement()).to_string();
    assert_eq!(Rig::with(bundles(&[large, small]), hand.keys()).code("1.0").await, Ok(()));
}

#[tokio::test]
async fn of_several_digests_what_is_not_known_says_most_and_hides_no_signature() {
    let hand = Hand::new();
    let (odd, other) = (Digest::of(b"odd"), Digest::of(b"other"));
    let rig = |fake: Fake, error: RegistryError| {
        fake.fail_call(&format!("referrers {}@{odd}", app()), error);
        Rig::with(fake, hand.keys())
    };
    let ask = async |rig: &Rig, digests: &[Digest]| {
        rig.ask(&Question::AnyOf(digests.to_vec()), Purpose::Run).await.map(|vouch| *vouch.digest())
    };
    // An answer that went wrong about the first does not hide the signature of the second.
    let signed = bundles(&[hand.bundle(&good_statement()).to_string()]);
    assert_eq!(ask(&rig(signed, status(500)), &[odd, digest()]).await, Ok(digest()));
    // Not known comes before a stranger's signature, in either order.
    for digests in [[odd, digest(), other], [digest(), other, odd], [other, odd, digest()]] {
        let strange = bundles(&[Hand::new().bundle(&good_statement()).to_string()]);
        let error = ask(&rig(strange, status(500)), &digests).await.unwrap_err();
        assert_eq!(error.code, TrustCode::Unreachable, "{error}");
    }
    let many: Vec<Digest> = (0..9_u8).map(|number| Digest::of(&[number])).collect();
    let error = ask(&Rig::with(with_image(), hand.keys()), &many).await.unwrap_err();
    assert_eq!(error.code, TrustCode::NotSigned);
    assert!(error.to_string().contains("first 8 digests") && error.to_string().contains("known by 9"), "{error}");
}

#[tokio::test]
async fn what_is_named_and_not_there_was_not_looked_at() {
    let hand = Hand::new();
    let (payload, layer) = hand.layer(&good_payload());
    let fake = with_image();
    fake.push(&app(), signature_tag(&digest()).as_ref(), manifest_of(&[layer], "signatures").as_bytes()).unwrap();
    let rig = Rig::with(fake, hand.keys());
    let error = rig.by_tag("1.0").await.unwrap_err();
    assert_eq!(error.code, TrustCode::NotInRegistry);
    assert!(error.to_string().contains("could not be looked at"), "{error}");
    assert_eq!(Rig::with(legacy(&[hand.layer(&payload)]), hand.keys()).code("1.0").await, Ok(()));
    let fake = with_image();
    let gone = json!({ "mediaType": IMAGE, "digest": Digest::of(b"gone").to_string(), "size": 7 });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [gone] }).to_string();
    fake.list(&app(), digest(), index.as_bytes()).unwrap();
    // What is listed still, and was removed, is withdrawn.
    assert_eq!(Rig::with(fake, hand.keys()).code("1.0").await, Err(TrustCode::NotSigned));
}

#[tokio::test]
async fn a_list_of_which_a_page_could_not_be_read_is_not_all_there_is() {
    let hand = Hand::new();
    let good = bundles(&[hand.bundle(&good_statement()).to_string()]);
    good.miss(&app(), digest(), status(500));
    assert_eq!(Rig::with(good, hand.keys()).code("1.0").await, Ok(()));
    let none = bundles(&[]);
    none.miss(&app(), digest(), status(500));
    assert_eq!(Rig::with(none, hand.keys()).code("1.0").await, Err(TrustCode::Unreachable));
}

#[tokio::test]
async fn a_list_that_the_registry_learned_to_keep_later_does_not_hide_the_tag() {
    let hand = Hand::new();
    let fake = bundles(&[]);
    let listed = pointing(&fake, BUNDLE, hand.bundle(&good_statement()).to_string().as_bytes());
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [listed] }).to_string();
    fake.push(&app(), list_tag(&digest()).as_ref(), index.as_bytes()).unwrap();
    assert_eq!(Rig::with(fake, hand.keys()).code("1.0").await, Ok(()));
}

#[tokio::test]
async fn what_could_not_be_looked_at_is_not_unsigned() {
    let hand = Hand::new();
    let (payload, layer) = hand.layer(&good_payload());
    let places = [
        format!("{}:{}", app(), signature_tag(&digest()).unwrap()),
        format!("{}:{}", app(), list_tag(&digest()).unwrap()),
        format!("referrers {}@{}", app(), digest()),
    ];
    let bad = RegistryError::WrongDigest { host: "x".into(), due: digest(), sent: Digest::of(b"evil") };
    let busy = RegistryError::Busy { host: "x".into(), what: "x".into(), status: 429 };
    let denied = RegistryError::Denied { host: "x".into(), what: "x".into() };
    let faults = [
        (status(500), TrustCode::Unreachable),
        (busy, TrustCode::Busy),
        (denied, TrustCode::Unauthorized),
        (away(), TrustCode::Unreachable),
        (bad, TrustCode::Invalid),
    ];
    for (error, code) in &faults {
        for place in &places {
            let rig = Rig::with(with_image(), hand.keys());
            rig.fake.fail_call(place, error.clone());
            assert_eq!(rig.code("1.0").await, Err(*code), "{place}: {error}");
        }
        // In the middle: the payload that a good signature is of.
        let rig = Rig::with(legacy(&[(payload.clone(), layer.clone())]), hand.keys());
        rig.fake.fail_call(&format!("blob {}@{}", app(), Digest::of(payload.as_bytes())), error.clone());
        assert_eq!(rig.code("1.0").await, Err(*code), "{error}");
        // A good signature is one, whatever other places say.
        let rig = Rig::with(legacy(&[(payload.clone(), layer.clone())]), hand.keys());
        for place in &places[1..] {
            rig.fake.fail_call(place, error.clone());
        }
        assert_eq!(rig.code("1.0").await, Ok(()), "{error}");
    }
    // Nor is it remembered as a no.
    let rig = Rig::with(legacy(&[(payload, layer)]), hand.keys());
    rig.fake.fail_with(Some(status(403)));
    assert!(rig.code("1.0").await.is_err());
    rig.fake.fail_with(None);
    assert_eq!(rig.code("1.0").await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn what_verified_serves_starts_while_the_registry_is_away_and_pulls_ask_again() {
    let rig = Rig::recorded(&["p256"]);
    let digests = Question::AnyOf(vec![recorded("legacy-p256")]);
    assert!(rig.verifier.ready(&app(), &digests, Timestamp::UNIX_EPOCH).is_none());
    assert!(rig.by_tag("legacy-p256").await.is_ok());
    rig.fake.fail_with(Some(away()));
    assert!(rig.verifier.ready(&app(), &digests, Timestamp::UNIX_EPOCH).is_some_and(|answer| answer.is_ok()));
    assert!(rig.ask(&digests, Purpose::Run).await.is_ok());
    assert!(rig.verifier.asks_at_pull());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(rig.ask(&digests, Purpose::Pull).await.unwrap_err().code, TrustCode::Unreachable);
    assert_eq!(rig.code("legacy-p256").await, Err(TrustCode::Unreachable));
    // Another repository holds the same digest, and nobody signed it there.
    let other = "localhost:5599/team/other".parse().unwrap();
    assert!(rig.verifier.ready(&other, &digests, Timestamp::UNIX_EPOCH).is_none());
    // A gate that was restarted knows nothing, and says why.
    let again = Rig::recorded(&["p256"]);
    again.fake.fail_with(Some(away()));
    assert_eq!(again.ask(&digests, Purpose::Run).await.unwrap_err().code, TrustCode::Unreachable);
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_moves_is_judged_by_what_it_is_for_now() {
    let rig = Rig::recorded(&["p256"]);
    let body = |name: &str| std::fs::read(fixtures("manifests").join(format!("{name}.json"))).unwrap();
    rig.fake.push(&app(), Some(&tag("1.0")), &body("bundle-p256")).unwrap();
    assert_eq!(rig.by_tag("1.0").await.unwrap().digest(), &recorded("bundle-p256"));
    rig.fake.push(&app(), Some(&tag("1.0")), &body("unsigned")).unwrap();
    assert_eq!(rig.code("1.0").await, Err(TrustCode::NotSigned));
    // What a pull brought is compared with what was last vouched for.
    let said = rig.verifier.ready(&app(), &Question::Tag(tag("1.0")), Timestamp::UNIX_EPOCH).unwrap().unwrap();
    assert_eq!(said.digest(), &recorded("bundle-p256"));
    // Signed a moment later, it is looked for again after some seconds.
    tokio::time::advance(Duration::from_secs(4)).await;
    rig.fake.push(&app(), Some(&tag("1.0")), &body("legacy-p256")).unwrap();
    assert_eq!(rig.code("1.0").await, Ok(()));
}

#[tokio::test]
async fn many_who_ask_about_one_digest_cost_one_search_and_pulls_one_more() {
    let rig = Rig::recorded(&["p256"]);
    let question = Question::AnyOf(vec![recorded("bundle-p256")]);
    let asked: (Vec<_>, _) = {
        let one = rig.ask(&question, Purpose::Run);
        let (a, b, c) = tokio::join!(one, rig.ask(&question, Purpose::Run), rig.ask(&question, Purpose::Pull));
        (vec![a, b, c], rig.fake.calls().len())
    };
    assert!(asked.0.iter().all(Result::is_ok));
    // cosign's tag, the list, the tag in its place, the manifest, the bundle. The pull came when that was under way: what was asked before it
    // came is no answer to it.
    assert_eq!(asked.1, 2 * 5, "{:?}", rig.fake.calls());
    assert!(rig.verifier.is_idle());
}

#[test]
fn files_that_hold_no_key_that_counts_are_faults() {
    let read = |name: &str, text: &str| Keys::read(std::iter::once((name, text)));
    let p256 = std::fs::read_to_string(fixtures("keys/p256.pub")).unwrap();
    assert!(read("p256.pub", &p256).is_ok());
    let two = read("two.pub", &format!("{p256}{p256}")).unwrap();
    assert_eq!(two.iter().map(|key| &*key.name).collect::<Vec<_>>(), ["two.pub#1", "two.pub#2"]);
    for (text, why) in [
        ("", "holds no public key"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds no public key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "is not a public key"),
        ("-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----\n", "is not PEM"),
        (&p256.repeat(17), "more than 16 keys"),
    ] {
        let fault = read("x.pub", text).unwrap_err();
        assert!(fault.contains(why), "{fault}");
    }
    assert!(Keys::read(std::iter::empty()).is_err());
    // Names are those of the files, without their folders: who signed would not be known.
    let rsa = std::fs::read_to_string(fixtures("keys/rsa.pub")).unwrap();
    let both = |first: (&str, &str), second: (&str, &str)| Keys::read([first, second].into_iter());
    assert!(both(("cosign.pub", &p256), ("release.pub", &rsa)).is_ok());
    let two_in_one = format!("{p256}{rsa}");
    for (first, second) in [(("cosign.pub", &p256), ("cosign.pub", &rsa)), (("a#2", &p256), ("a", &two_in_one))] {
        let fault = both((first.0, first.1), (second.0, second.1)).unwrap_err();
        assert!(fault.contains("give their files different names"), "{fault}");
    }
}
