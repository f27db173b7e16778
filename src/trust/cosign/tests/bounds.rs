//! What strangers and copies beside a good signature cost, counted, and that the good one, which comes last, is found.

use super::keyless::{Lab, layer};
use super::*;
use crate::trust::pki::CHECKED;
use crate::trust::pki::fixture::authority;
use crate::trust::sigstore::fixture::{Instance, STAMPED, SUBJECT, base64, pem};
use crate::trust::sigstore::{Annotations, TrustedRoot};

/// Most checks of one search: of keys, of certificates, of proofs, and of those for which nothing was left.
const MOST: usize = 3 * 1024 + 2 * 512;

/// Whether the usual name has signed it, and how many signatures were checked.
async fn judged(lab: &Lab, root: Option<TrustedRoot>) -> (Result<(), TrustCode>, usize) {
    let mut verifier = lab.cosign(Keys::none(), Some(SUBJECT));
    verifier.root = root.or(verifier.root);
    let verifier = CosignVerifier::by("ci".parse().unwrap(), verifier, Arc::clone(&lab.fake) as Arc<dyn Api>);
    let before = CHECKED.get();
    let code = lab.by_tag(&verifier).await.map(|_| ()).map_err(|error| error.code);
    (code, CHECKED.get() - before)
}

/// As cosign 2 writes a timestamp.
fn stamp(stamp: &[u8]) -> String {
    json!({ "SignedRFC3161Timestamp": base64(stamp) }).to_string()
}

/// Copies of a signature, told apart by what is written beside it.
fn copies(payload: &str, of: &(Vec<u8>, Annotations), stamp: Option<&String>, number: usize) -> Vec<(String, Value)> {
    let copy = |number: usize| {
        let entry = of.1.entry.as_ref().map(|entry| format!("{entry}{}", " ".repeat(number)));
        layer(payload, (of.0.clone(), Annotations { entry, stamp: stamp.cloned(), ..of.1.clone() }))
    };
    (1..=number).map(copy).collect()
}

#[tokio::test]
async fn copies_of_a_good_signature_with_late_or_forged_timestamps_do_not_hide_it_and_cost_little() {
    for (is_late, number, most) in [(true, 255, 16), (false, 128, MOST)] {
        let lab = |has_good: bool| {
            Lab::new(|instance| {
                let payload = good_payload();
                let good = instance.annotations(&instance.signer(), payload.as_bytes());
                let mut junk = instance.stamp(&good.0, if is_late { "20260801120100Z" } else { STAMPED });
                // Its signature stands last.
                *junk.last_mut().unwrap() ^= u8::from(!is_late);
                let junk = Some(stamp(&junk));
                let mut layers = copies(&payload, &good, junk.as_ref(), number);
                layers.extend(has_good.then(|| layer(&payload, good)));
                legacy(&layers)
            })
        };
        let (found, checked) = judged(&lab(true), None).await;
        assert_eq!(found, Ok(()), "{is_late}");
        assert!(checked <= most, "{is_late}: {checked}");
        let (found, checked) = judged(&lab(false), None).await;
        assert!(found.is_err() && checked <= most, "{is_late}: {checked}");
    }
}

#[tokio::test]
async fn made_up_certificates_are_charged_and_those_whose_issuer_is_genuine_come_first() {
    let lab = Lab::new(|instance| {
        let payload = good_payload();
        let theirs = |_| {
            let other = Instance::new();
            layer(&payload, other.annotations(&other.signer(), payload.as_bytes()))
        };
        let mut layers: Vec<_> = (0..255).map(theirs).collect();
        layers.push(layer(&payload, instance.annotations(&instance.signer(), payload.as_bytes())));
        legacy(&layers)
    });
    let (found, checked) = judged(&lab, None).await;
    assert_eq!(found, Ok(()));
    assert!(checked <= MOST, "{checked}");
}

#[tokio::test]
async fn strangers_who_bring_authorities_do_not_hide_one_whose_intermediate_is_brought_along() {
    for has_good in [true, false] {
        let lab = Lab::new(|instance| {
            let payload = good_payload();
            let theirs = |_| {
                let other = Instance::new();
                layer(&payload, other.annotations(&other.signer(), payload.as_bytes()))
            };
            let mut layers: Vec<_> = (0..40).map(theirs).collect();
            layers.extend(has_good.then(|| layer(&payload, instance.annotations(&instance.signer(), payload.as_bytes()))));
            legacy(&layers)
        });
        // The root of a private instance, without the intermediate.
        let mut root = lab.instance.root_json();
        root["certificateAuthorities"][0]["certChain"]["certificates"].as_array_mut().unwrap().remove(0);
        let (found, checked) = judged(&lab, Some(TrustedRoot::read(&root.to_string()).unwrap())).await;
        assert_eq!(found.is_ok(), has_good, "{found:?}");
        assert!(checked <= MOST, "{checked}");
    }
}

#[tokio::test]
async fn an_intermediate_that_is_renewed_may_be_brought_where_the_root_has_one_that_has_run_out() {
    for is_brought in [true, false] {
        let lab = Lab::new(|instance| {
            let payload = good_payload();
            let (signature, mut annotations) = instance.annotations(&instance.signer(), payload.as_bytes());
            annotations.chain = annotations.chain.filter(|_| is_brought);
            legacy(&[layer(&payload, (signature, annotations))])
        });
        let Instance { fulcio_root, fulcio, .. } = &lab.instance;
        let old = fulcio_root.signed(&authority("sigstore-intermediate", (2022, 2025), Some(0)), &fulcio.key);
        assert!(pem(&old) != pem(fulcio.certificate.der()));
        let mut root = lab.instance.root_json();
        root["certificateAuthorities"][0]["certChain"]["certificates"][0]["rawBytes"] = base64(&old).into();
        let (found, _) = judged(&lab, Some(TrustedRoot::read(&root.to_string()).unwrap())).await;
        assert_eq!(found.is_ok(), is_brought, "{found:?}");
    }
}

#[tokio::test]
async fn sixty_three_strangers_and_sixteen_keys_leave_the_good_one_its_trials() {
    let (hands, evil) = ([(); 16].map(|()| Hand::new()), Hand::new());
    let keys = keys_of(&hands.iter().collect::<Vec<_>>());
    let mut layers: Vec<_> = (0..63).map(|_| evil.layer(&good_payload())).collect();
    assert_eq!(Rig::with(legacy(&layers), keys.clone()).code("1.0").await, Err(TrustCode::SignerMissing));
    layers.push(hands[15].layer(&good_payload()));
    assert_eq!(Rig::with(legacy(&layers), keys).code("1.0").await, Ok(()));
}

#[tokio::test]
async fn a_key_is_tried_once_on_a_signature_whatever_lies_beside_it() {
    let lab = Lab::new(|instance| {
        let payload = good_payload();
        let theirs = instance.annotations(&Instance::keyed(), payload.as_bytes());
        legacy(&copies(&payload, &theirs, None, 200))
    });
    let keys = keys_of(&[&Hand::new(), &Hand::new()]);
    let before = CHECKED.get();
    assert!(lab.by_tag(&lab.verifier(keys, None)).await.is_err());
    assert_eq!(CHECKED.get() - before, 2);
}

#[test]
fn what_is_refused_costs_nothing() {
    let mut purse = Purse { trials: 1, certified: 10, proofs: 10 };
    assert!(!purse.pays(Cost::Proofs(11)) && purse.pays(Cost::Proofs(10)) && !purse.pays(Cost::Proofs(1)));
    assert!(purse.pays(Cost::Trial) && !purse.pays(Cost::Trial));
    assert!(purse.pays(Cost::Certified(10)), "each has its own");
}
