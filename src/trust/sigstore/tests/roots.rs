//! Trusted roots, and bytes that are none of what they should be.

use super::*;

#[test]
fn roots_that_say_two_things_are_faults_as_a_whole() {
    let instance = Instance::new();
    let good = instance.root_json();
    assert_eq!(TrustedRoot::read(&good.to_string()).unwrap().lacks(), None);
    let cases: [(&str, &str, ChangeRoot); 15] = [
        ("another type", "mediaType", |root| root["mediaType"] = "application/json".into()),
        ("no type", "media", |root| drop(root.as_object_mut().unwrap().remove("mediaType"))),
        ("no begin", "from when on", |root| root["tlogs"][0]["publicKey"]["validFor"] = json!({})),
        ("no window", "from when on", |root| {
            drop(root["certificateAuthorities"][0].as_object_mut().unwrap().remove("validFor"));
        }),
        ("an end before", "ends before", |root| {
            root["ctlogs"][0]["publicKey"]["validFor"] =
                json!({ "start": "2026-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z" });
        }),
        ("an id twice", "the id of another", |root| {
            let one = root["tlogs"][0].clone();
            root["tlogs"].as_array_mut().unwrap().push(one);
        }),
        ("another's id", "not its key's", |root| root["tlogs"][0]["logId"]["keyId"] = base64([7; 32]).into()),
        ("an id that is cut", "not a SHA-256", |root| root["tlogs"][0]["logId"]["keyId"] = base64([7; 4]).into()),
        ("another name for a second log", "not its key's", |root| root["tlogs"][1]["baseUrl"] = "https://evil.example".into()),
        ("no id", "no id", |root| drop(root["ctlogs"][0].as_object_mut().unwrap().remove("logId"))),
        ("no chain", "no certificate", |root| root["timestampAuthorities"][0]["certChain"]["certificates"] = json!([])),
        ("no key", "has a key that", |root| root["tlogs"][0]["publicKey"]["rawBytes"] = "".into()),
        ("odd bytes", "base64", |root| root["tlogs"][0]["publicKey"]["rawBytes"] = "!".into()),
        ("no log", "no transparency log", |root| root["tlogs"] = json!([])),
        ("many", "more than 64", |root| {
            let one = root["certificateAuthorities"][0].clone();
            root["certificateAuthorities"] = vec![one; 65].into();
        }),
    ];
    for (what, why, change) in cases {
        let mut root = good.clone();
        change(&mut root);
        let faults = TrustedRoot::read(&root.to_string()).expect_err(what).join("; ");
        assert!(faults.contains(why), "{what}: {faults}");
    }
    let twice = good.to_string().replacen('{', r#"{"MEDIATYPE":"x","#, 1);
    assert!(TrustedRoot::read(&twice).is_err());
    assert!(TrustedRoot::read(&format!("{good}{}", " ".repeat(1 << 20))).is_err());
    // All faults at once; what is new is passed over.
    let mut root = good.clone();
    root["tlogs"][0]["logId"]["keyId"] = "".into();
    root["ctlogs"][0]["logId"]["keyId"] = "".into();
    assert_eq!(TrustedRoot::read(&root.to_string()).unwrap_err().len(), 2);
    let mut root = good;
    root["tlogs"][0]["operator"] = "example".into();
    root["certificateAuthorities"] = json!([]);
    assert!(TrustedRoot::read(&root.to_string()).unwrap().lacks().is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever character of a bundle's proofs is changed: it is refused, or says the same of the signer and the time.
    #[test]
    fn a_changed_bundle_proves_nothing_new(at in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), second in any::<bool>()) {
        static CASES: std::sync::OnceLock<[(Case, Proven); 2]> = std::sync::OnceLock::new();
        let cases = CASES.get_or_init(|| [Version::V1, Version::V2].map(|version| {
            let case = Case::of(version);
            let proven = case.judged().unwrap();
            (case, proven)
        }));
        let (case, proven) = &cases[usize::from(second)];
        let mut text = case.bundle.to_string().into_bytes();
        let alphabet = b"ABCabc0123+/=\"{}[],:\\- \n";
        let at = at.index(text.len());
        text[at] = alphabet[to.index(alphabet.len())];
        let Ok(bundle) = serde_json::from_slice::<Value>(&text) else { return Ok(()) };
        if !["/dsseEnvelope/payload", "/dsseEnvelope/signatures/0/sig"].iter().all(|pointer| {
            bundle.pointer(pointer).and_then(Value::as_str).is_some_and(|text| STANDARD.decode(text).is_ok())
        }) {
            return Ok(());
        }
        let changed = Case { instance: Instance::new(), root: case.root.clone(), bundle, identities: case.identities.clone(), now: case.now };
        if let Ok(found) = changed.judged() {
            prop_assert_eq!(&found.by, &proven.by);
            prop_assert_eq!(&found.at, &proven.at);
        }
    }

    /// Nothing that is thrown at the readers makes them panic.
    #[test]
    fn nothing_panics(text in ".{0,200}") {
        let _ = TrustedRoot::read(&text);
        let _ = Material::of_annotations(&Annotations { certificate: Some(text.clone()), chain: Some(text.clone()), entry: Some(text.clone()), stamp: Some(text) });
    }
}
