//! Signatures by identity, in both forms that cosign writes, and keys whose signatures must be in a log. What is wrong with a proof itself is tested
//! where it is judged (`trust/sigstore`).

use super::*;
use crate::trust::evidence;
use crate::trust::sigstore::fixture::{self, Instance, NOW, SIGNED_AT, SUBJECT, Version, spki};
use crate::trust::sigstore::{Annotations, Identities};

const STRANGER: &str = "https://ci.example/evil/app/.github/workflows/release.yml@refs/heads/main";

/// A registry, and who counts.
pub(super) struct Lab {
    pub(super) fake: Arc<Fake>,
    pub(super) instance: Instance,
}

impl Lab {
    pub(super) fn new(fake: impl FnOnce(&Instance) -> Fake) -> Self {
        let instance = Instance::new();
        Self { fake: Arc::new(fake(&instance)), instance }
    }

    pub(super) fn cosign(&self, keys: Keys, subject: Option<&str>) -> Cosign {
        let identities = subject.map_or_else(Identities::default, |subject| fixture::identities(fixture::ISSUER, subject));
        Cosign { keys, identities, root: Some(self.instance.root()) }
    }

    pub(super) fn verifier(&self, keys: Keys, subject: Option<&str>) -> CosignVerifier {
        CosignVerifier::by("ci".parse().unwrap(), self.cosign(keys, subject), Arc::clone(&self.fake) as Arc<dyn Api>)
    }

    pub(super) async fn by_tag(&self, verifier: &CosignVerifier) -> Result<Vouch, TrustError> {
        let asking = Asking { now: NOW.parse().unwrap(), ..asking(Purpose::Pull) };
        verifier.vouch(&app(), &Question::Tag(tag("1.0")), asking).await
    }

    /// Whether the usual name has signed it.
    async fn by_name(&self) -> Result<Vouch, TrustError> {
        self.by_tag(&self.verifier(Keys::none(), Some(SUBJECT))).await
    }
}

pub(super) fn layer(payload: &str, (signature, annotations): (Vec<u8>, Annotations)) -> (String, Value) {
    let mut written = json!({ "dev.cosignproject.cosign/signature": STANDARD.encode(signature) });
    for (key, text) in [
        ("certificate", annotations.certificate),
        ("chain", annotations.chain),
        ("bundle", annotations.entry),
        ("rfc3161timestamp", annotations.stamp),
    ] {
        if let Some(text) = text {
            written[format!("dev.sigstore.cosign/{key}")] = text.into();
        }
    }
    (
        payload.to_owned(),
        json!({
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "digest": Digest::of(payload.as_bytes()).to_string(), "size": payload.len(), "annotations": written,
        }),
    )
}

fn stranger(instance: &Instance) -> fixture::Signer {
    instance.certified(&fixture::holder(fixture::address(STRANGER), fixture::ISSUER))
}

fn keys_of(signer: &fixture::Signer) -> Keys {
    Keys::read(std::iter::once(("team.pub", &*signer.key.public_key_pem()))).unwrap()
}

#[tokio::test]
async fn who_is_among_the_identities_signs_in_each_form() {
    let bundle = |version: Version| {
        Lab::new(move |instance| {
            bundles(&[instance.bundle(&instance.signer(), version, good_statement().as_bytes()).to_string()])
        })
    };
    let legacy = Lab::new(|instance| {
        let payload = good_payload();
        legacy(&[layer(&payload, instance.annotations(&instance.signer(), payload.as_bytes()))])
    });
    for lab in [bundle(Version::V1), bundle(Version::V2), legacy] {
        let vouch = lab.by_name().await.unwrap();
        assert_eq!(vouch.signers(), [format!("{SUBJECT} (issuer {})", fixture::ISSUER)]);
        assert_eq!((vouch.digest(), vouch.signed_at()), (&digest(), Some(SIGNED_AT.parse().unwrap())));
        // Another name, and no name at all.
        let other = lab.by_tag(&lab.verifier(Keys::none(), Some("https://ci.example/other/*"))).await.unwrap_err();
        assert_eq!(other.code, TrustCode::SignerMissing);
        assert!(other.to_string().contains(SUBJECT), "{other}");
        assert!(other.remedy(&"ci".parse().unwrap()).contains("identities of verifier `ci`"));
        let keyed = lab.by_tag(&lab.verifier(Hand::new().keys(), None)).await.unwrap_err();
        assert_eq!(keyed.code, TrustCode::NotSigned);
        // Nor without a root.
        let rootless = Rig {
            verifier: CosignVerifier::new("x".parse().unwrap(), Hand::new().keys(), Arc::clone(&lab.fake) as Arc<dyn Api>),
            fake: Arc::clone(&lab.fake),
        };
        assert_eq!(rootless.code("1.0").await, Err(TrustCode::NotSigned));
    }
}

#[tokio::test]
async fn what_a_name_has_stated_or_signed_for_something_else_is_not_signed() {
    let scan = good_statement().replace("https://sigstore.dev/cosign/sign/v1", "https://example.com/scan/v1");
    for statement in [scan, statement(&"0".repeat(64)), good_statement().replace("Statement/v1", "Statement/v0.1")] {
        let lab =
            Lab::new(|instance| bundles(&[instance.bundle(&instance.signer(), Version::V1, statement.as_bytes()).to_string()]));
        assert_eq!(lab.by_name().await.unwrap_err().code, TrustCode::NotSigned, "{statement}");
    }
    for payload in [
        payload(&digest().to_string(), "localhost:5599/team/canary"),
        payload(&format!("sha256:{}", "0".repeat(64)), "localhost:5599/team/app"),
    ] {
        let lab = Lab::new(|instance| legacy(&[layer(&payload, instance.annotations(&instance.signer(), payload.as_bytes()))]));
        assert_eq!(lab.by_name().await.unwrap_err().code, TrustCode::NotSigned, "{payload}");
    }
}

#[tokio::test]
async fn bad_ones_beside_a_good_one_change_nothing_and_the_same_without_its_proof_does_not_shadow_it() {
    let lab = Lab::new(|instance| {
        let good = instance.bundle(&instance.signer(), Version::V1, good_statement().as_bytes());
        let mut bare = good.clone();
        bare["verificationMaterial"]["tlogEntries"] = json!([]);
        let mut forged = good.clone();
        forged["verificationMaterial"]["tlogEntries"][0]["integratedTime"] = "1".into();
        let theirs = instance.bundle(&stranger(instance), Version::V1, good_statement().as_bytes());
        bundles(&[bare, forged, theirs, good].map(|bundle| bundle.to_string()))
    });
    assert!(lab.by_name().await.is_ok());
    let lab = Lab::new(|instance| {
        let payload = good_payload();
        let (signature, annotations) = instance.annotations(&instance.signer(), payload.as_bytes());
        let bare = Annotations { entry: None, ..annotations.clone() };
        legacy(&[layer(&payload, (signature.clone(), bare)), layer(&payload, (signature, annotations))])
    });
    assert!(lab.by_name().await.is_ok());
}

#[tokio::test]
async fn strangers_cost_no_checks_and_do_not_crowd_out_a_good_one() {
    let lab = Lab::new(|instance| {
        let payload = good_payload();
        let theirs = stranger(instance);
        let mut layers: Vec<_> = (0..200).map(|_| layer(&payload, instance.annotations(&theirs, payload.as_bytes()))).collect();
        layers.push(layer(&payload, instance.annotations(&instance.signer(), payload.as_bytes())));
        legacy(&layers)
    });
    assert!(lab.by_name().await.is_ok());
}

/// Who claims our name by certificates of his own, with names as ours has them, brings as much as may be brought.
#[tokio::test]
async fn strangers_who_claim_our_name_do_not_crowd_out_a_good_one() {
    let many = |bundle: &Value, number: usize| {
        let mut bundle = bundle.clone();
        let material = &mut bundle["verificationMaterial"];
        material["tlogEntries"] = vec![material["tlogEntries"][0].clone(); 8].into();
        let stamps = &mut material["timestampVerificationData"]["rfc3161Timestamps"];
        *stamps = vec![stamps[0].clone(); 8].into();
        // Each is another.
        stamps[7] = json!({ "signedTimestamp": STANDARD.encode([number.to_be_bytes()].concat()) });
        bundle.to_string()
    };
    for is_copied in [false, true] {
        let lab = |has_good: bool| {
            Lab::new(|instance| {
                let (other, ours) = (Instance::new(), instance.signer());
                let statement = good_statement();
                let good = instance.bundle(&ours, Version::V2, statement.as_bytes());
                let theirs = other.bundle(&other.signer(), Version::V2, statement.as_bytes());
                // A stranger's own; or the good one, with what proves it made worthless at its end.
                let junk = if is_copied { &good } else { &theirs };
                let mut all: Vec<String> = (0..60).map(|number| many(junk, number)).collect();
                all.extend(has_good.then(|| good.to_string()));
                bundles(&all)
            })
        };
        assert!(lab(true).by_name().await.is_ok(), "{is_copied}");
        assert!(lab(false).by_name().await.is_err(), "{is_copied}");
    }
    // In cosign 2's form they bring an authority too.
    let lab = |has_good: bool| {
        Lab::new(|instance| {
            let (other, payload) = (Instance::new(), good_payload());
            let theirs = other.signer();
            let mut layers: Vec<_> = (0..200).map(|_| layer(&payload, other.annotations(&theirs, payload.as_bytes()))).collect();
            layers.extend(has_good.then(|| layer(&payload, instance.annotations(&instance.signer(), payload.as_bytes()))));
            legacy(&layers)
        })
    };
    assert!(lab(true).by_name().await.is_ok());
    assert_eq!(lab(false).by_name().await.unwrap_err().code, TrustCode::NotSigned, "all were looked at");
}

#[tokio::test]
async fn forged_proofs_beside_good_ones_do_not_crowd_them_out() {
    let lab = |has_good: bool| {
        Lab::new(|instance| {
            let payload = good_payload();
            let ours = instance.signer();
            let forged = |_| {
                let (signature, annotations) = instance.annotations(&ours, payload.as_bytes());
                layer(
                    &payload,
                    (
                        signature,
                        Annotations { entry: annotations.entry.map(|entry| entry.replace("1006", "1007")), ..annotations },
                    ),
                )
            };
            let mut layers: Vec<_> = (0..250).map(forged).collect();
            layers.extend(has_good.then(|| layer(&payload, instance.annotations(&instance.signer(), payload.as_bytes()))));
            legacy(&layers)
        })
    };
    assert!(lab(true).by_name().await.is_ok());
    assert_eq!(lab(false).by_name().await.unwrap_err().code, TrustCode::NotSigned);
}

#[tokio::test]
async fn with_a_root_what_a_key_signs_must_be_in_a_log() {
    let signer = Instance::keyed();
    let statement = good_statement();
    for version in [Version::V1, Version::V2] {
        let lab = Lab::new(|instance| bundles(&[instance.bundle(&signer, version, statement.as_bytes()).to_string()]));
        let vouch = lab.by_tag(&lab.verifier(keys_of(&signer), None)).await.unwrap();
        assert_eq!((vouch.signers(), vouch.signed_at()), (&["team.pub".to_owned()][..], Some(SIGNED_AT.parse().unwrap())));
        // Beside identities it counts too; where only these do it does not.
        assert!(lab.by_tag(&lab.verifier(keys_of(&signer), Some(SUBJECT))).await.is_ok());
        let error = lab.by_name().await.unwrap_err();
        assert_eq!(error.code, TrustCode::SignerMissing);
        assert!(error.to_string().contains("made with a key"), "{error}");
    }
    let lab = Lab::new(|instance| {
        let mut bundle = instance.bundle(&signer, Version::V1, statement.as_bytes());
        bundle["verificationMaterial"]["tlogEntries"] = json!([]);
        bundles(&[bundle.to_string()])
    });
    let error = lab.by_tag(&lab.verifier(keys_of(&signer), None)).await.unwrap_err();
    assert_eq!(error.code, TrustCode::NotSigned);
    assert!(error.to_string().contains("no entry of a transparency log"), "{error}");
    // Without a root the signature alone counts.
    let alone = CosignVerifier::new("x".parse().unwrap(), keys_of(&signer), Arc::clone(&lab.fake) as Arc<dyn Api>);
    assert!(lab.by_tag(&alone).await.is_ok());
    assert!(!spki(&signer.key).is_empty());
}

#[tokio::test]
async fn a_log_that_the_root_does_not_know_has_a_code_of_its_own() {
    let lab = Lab::new(|instance| {
        let other = Instance::new();
        let mut bundle = instance.bundle(&instance.signer(), Version::V1, good_statement().as_bytes());
        bundle["verificationMaterial"]["tlogEntries"][0]["logId"]["keyId"] = STANDARD.encode(other.id(Version::V1)).into();
        bundles(&[bundle.to_string()])
    });
    let error = lab.by_name().await.unwrap_err();
    assert_eq!(error.code, TrustCode::LogUnknown);
    assert!(error.to_string().contains("is the root older?"), "{error}");
    assert!(error.remedy(&"ci".parse().unwrap()).contains("newer trusted root"));
}

#[tokio::test]
async fn what_was_proven_is_kept_and_proven_again_by_the_root_and_the_names_of_then() {
    let folder = tempfile::tempdir().unwrap();
    let payload = good_payload();
    for version in [Some(Version::V1), Some(Version::V2), None] {
        let lab = Lab::new(|instance| match version {
            Some(version) => bundles(&[instance.bundle(&instance.signer(), version, good_statement().as_bytes()).to_string()]),
            None => legacy(&[layer(&payload, instance.annotations(&instance.signer(), payload.as_bytes()))]),
        });
        let keeping =
            |subject: &str| lab.verifier(Keys::none(), Some(subject)).keeping(Evidence::kept_in(folder.path().to_owned()), None);
        assert!(lab.by_tag(&keeping(SUBJECT)).await.is_ok());
        assert_eq!(evidence::all(folder.path()).unwrap().len(), 1);
        lab.fake.fail_with(Some(away()));
        let run = async |verifier: CosignVerifier, now: &str| {
            let asking = Asking { now: now.parse().unwrap(), ..asking(Purpose::Run) };
            verifier.vouch(&app(), &Question::AnyOf(vec![digest()]), asking).await.map(|_| ()).map_err(|error| error.code)
        };
        assert_eq!(run(keeping(SUBJECT), NOW).await, Ok(()));
        assert_eq!(run(keeping("https://ci.example/other/*"), NOW).await, Err(TrustCode::Unreachable));
        // Another root, and a clock before the signature.
        let other = Cosign {
            keys: Keys::none(),
            identities: fixture::identities(fixture::ISSUER, SUBJECT),
            root: Some(Instance::new().root()),
        };
        let other = CosignVerifier::by("ci".parse().unwrap(), other, Arc::clone(&lab.fake) as Arc<dyn Api>);
        let other = other.keeping(Evidence::kept_in(folder.path().to_owned()), None);
        assert_eq!(run(other, NOW).await, Err(TrustCode::Unreachable));
        assert_eq!(run(keeping(SUBJECT), "2026-06-01T12:00:00Z").await, Err(TrustCode::Unreachable));
        std::fs::remove_dir_all(folder.path()).unwrap();
    }
}
