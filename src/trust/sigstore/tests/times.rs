//! Timestamps, by an authority that is trusted.

use super::*;

#[test]
fn times_are_stamped_by_an_authority_that_is_trusted_and_on_this_signature() {
    all_are_refused(
        Version::V2,
        &[
            ("of something else", "is of other bytes", |case| {
                let stamp = case.instance.stamp(b"another", STAMPED);
                case.stamped(&[stamp]);
            }),
            ("by a stranger", "no proven time", |case| {
                let (_, _, signer) = stampers();
                let made = Stamping {
                    signer: &signer,
                    message: &case.signature(),
                    at: STAMPED,
                    embedded: vec![&signer.certificate],
                    wrong: Wrong::Nothing,
                };
                let stamp = made.answer();
                case.stamped(&[stamp]);
            }),
            ("one of two is bad", "is of other bytes", |case| {
                let stamps = [case.instance.stamp(&case.signature(), STAMPED), case.instance.stamp(b"another", STAMPED)];
                case.stamped(&stamps);
            }),
            ("garbage", "timestamp", |case| case.stamped(&[b"garbage".to_vec()])),
            ("after the certificate", "is valid from", |case| {
                let stamp = case.instance.stamp(&case.signature(), "20260601121001Z");
                case.stamped(&[stamp]);
            }),
            ("one of two after the certificate", "is valid from", |case| {
                let stamps = ["20260601121001Z", STAMPED].map(|at| case.instance.stamp(&case.signature(), at));
                case.stamped(&stamps);
            }),
            ("ahead of now", "ahead of this host's clock", |case| {
                let stamp = case.instance.stamp(&case.signature(), "20270101000000Z");
                case.stamped(&[stamp]);
            }),
            ("after the authority's window", "its authority did not count", |case| {
                case.root["timestampAuthorities"][0]["validFor"]["end"] = "2026-06-01T12:00:59Z".into();
            }),
            ("too many", "a list has more than 8", |case| {
                let stamp = case.instance.stamp(&case.signature(), STAMPED);
                case.stamped(&vec![stamp; 9]);
            }),
            ("no authority at all", "no proven time", |case| case.root["timestampAuthorities"] = json!([])),
        ],
    );
    // A stranger's beside a good one; and the last second of the window.
    let mut case = Case::of(Version::V2);
    let (_, _, signer) = stampers();
    let signature = case.signature();
    let theirs = Stamping { signer: &signer, message: &signature, at: STAMPED, embedded: vec![], wrong: Wrong::Nothing }.answer();
    let ours = case.instance.stamp(&signature, STAMPED);
    case.stamped(&[theirs, ours]);
    case.root["timestampAuthorities"][0]["validFor"]["end"] = SIGNED_AT.into();
    assert!(case.judged().is_ok());
    // With a promise of the first log, too: chain and windows at every time.
    let mut case = Case::of(Version::V1);
    let stamp = case.instance.stamp(&case.signature(), "20260601121001Z");
    case.stamped(&[stamp]);
    assert!(case.refused("late stamp").to_string().contains("is valid from"));
}
