//! Certificates: whose, by whom, good at the time, shown to a log; and that the signature is by their key.

use super::*;

#[test]
fn certificates_are_fulcios_good_at_the_time_and_for_signing() {
    assert!(with(|_| {}).judged().is_ok());
    let refused = |what: &str, why: &str, case: Case| {
        let fault = case.refused(what).to_string();
        assert!(fault.contains(why), "{what}: {fault}");
    };
    refused("ran out before", "is valid from", with(|params| params.not_after = date_time_ymd(2026, 6, 1)));
    refused("not yet", "is valid from", with(|params| params.not_before = date_time_ymd(2026, 6, 2)));
    refused("a ca", "it is a CA", with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)));
    refused("no usage", "digitalSignature", with(|params| params.key_usages = vec![]));
    refused("for keys", "digitalSignature", with(|params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]));
    let purposes = |value: Vec<u8>| {
        with(|params| {
            params.custom_extensions.remove(0);
            params.custom_extensions.push(extension(EKU, value, false));
        })
    };
    refused("for stamps", "codeSigning", purposes(tlv(0x30, &[oid(TIME_STAMPING)])));
    assert!(purposes(tlv(0x30, &[oid(CODE_SIGNING)])).judged().is_ok());
    refused("for nothing", "codeSigning", with(|params| drop(params.custom_extensions.remove(0))));
    refused(
        "critical",
        "critical extension",
        with(|params| params.custom_extensions.push(extension(&[1, 2, 3], vec![5, 0], true))),
    );

    // An authority of the same names; one below ours that must not be; one that is brought along.
    let same_names = |instance: &Instance| {
        let root = Made::root(authority("sigstore", (2021, 2035), None));
        let between = root.issue(authority("sigstore-intermediate", (2022, 2034), Some(0)));
        let params = holder(address(SUBJECT), ISSUER);
        Instance::certified_by(&between, &params, |tbs| Some(instance.scts(&between.certificate, tbs)))
    };
    refused("same names", "no authority that is trusted", by(same_names));
    let below = |instance: &Instance| {
        let below = instance.fulcio.issue(authority("below", (2022, 2034), None));
        let params = holder(address(SUBJECT), ISSUER);
        Instance::certified_by(&below, &params, |tbs| Some(instance.scts(&below.certificate, tbs)))
    };
    refused("an authority that is not known", "no authority that is trusted", by(below));
    let own = |instance: &Instance| {
        let mut own = holder(address(SUBJECT), ISSUER);
        own.key_usages.push(KeyUsagePurpose::KeyCertSign);
        let own = Made::root(own);
        Instance::certified_by(&own, &holder(address(SUBJECT), ISSUER), |tbs| Some(instance.scts(&own.certificate, tbs)))
    };
    refused("self-made", "no authority that is trusted", by(own));

    // What is wrong with the authority itself.
    let root = |make: fn(&mut Instance)| {
        let mut instance = Instance::new();
        make(&mut instance);
        let signer = instance.signer();
        Case::signed_by(instance, &signer, Version::V1)
    };
    refused(
        "an authority that ran out",
        "is valid from",
        root(|instance| {
            instance.fulcio = instance.fulcio_root.issue(authority("sigstore-intermediate", (2022, 2026), Some(0)));
        }),
    );
    refused(
        "an authority that is none",
        "not a CA",
        root(|instance| {
            let mut params = authority("sigstore-intermediate", (2022, 2034), None);
            params.is_ca = IsCa::ExplicitNoCa;
            instance.fulcio = instance.fulcio_root.issue(params);
        }),
    );
    refused(
        "a path that is too long",
        "more CAs are below it",
        root(|instance| {
            instance.fulcio_root = Made::root(authority("sigstore", (2021, 2035), Some(0)));
            instance.fulcio = instance.fulcio_root.issue(authority("sigstore-intermediate", (2022, 2034), Some(0)));
        }),
    );
    let mut case = with(|_| {});
    case.root["certificateAuthorities"][0]["validFor"]["end"] = "2026-06-01T12:00:59Z".into();
    refused("an authority's window", "did not count", case);
    // Another entry's window is no help, whoever stands in it.
    let mut case = with(|_| {});
    let mut other = case.root["certificateAuthorities"][0].clone();
    case.root["certificateAuthorities"][0]["validFor"]["end"] = "2026-06-01T12:00:59Z".into();
    other["certChain"]["certificates"] =
        json!([{ "rawBytes": base64(Made::root(authority("other", (2021, 2035), None)).certificate.der()) }]);
    case.root["certificateAuthorities"].as_array_mut().unwrap().push(other);
    refused("a borrowed window", "did not count", case);
}

#[test]
fn certificates_name_one_signer_and_one_issuer() {
    let refused = |what: &str, why: &str, case: Case| {
        let fault = case.refused(what).to_string();
        assert!(fault.contains(why), "{what}: {fault}");
    };
    refused("no name", "no name", with(|params| params.subject_alt_names = vec![]));
    refused("two names", "no name, or several", with(|params| params.subject_alt_names.push(address("https://other.example"))));
    refused(
        "a host",
        "another kind",
        with(|params| params.subject_alt_names = vec![rcgen::SanType::DnsName("ci.example".try_into().unwrap())]),
    );
    let issuers = |first: Option<&[u8]>, second: Option<Vec<u8>>| {
        with(|params| {
            params.custom_extensions.truncate(1);
            params.custom_extensions.extend(first.map(|text| extension(ISSUER_V1, text.to_vec(), false)));
            params.custom_extensions.extend(second.map(|value| extension(ISSUER_V2, value, false)));
        })
    };
    let text = |text: &str| tlv(0x0c, &[text]);
    assert!(issuers(Some(ISSUER.as_bytes()), None).judged().is_ok());
    assert!(issuers(None, Some(text(ISSUER))).judged().is_ok());
    refused("no issuer", "names no issuer", issuers(None, None));
    refused("two issuers", "two issuers", issuers(Some(b"https://other.example"), Some(text(ISSUER))));
    refused("two issuers the other way", "two issuers", issuers(Some(ISSUER.as_bytes()), Some(text("https://other.example"))));
    refused("bytes behind", "issuer in its certificate is malformed", issuers(None, Some([text(ISSUER), vec![0]].concat())));
    refused("another type", "issuer in its certificate is malformed", issuers(None, Some(tlv(0x16, &[ISSUER]))));
    refused("no text", "not text", issuers(Some(&[0xff]), None));
    // Near misses of the rule.
    for (issuer, subject) in [
        ("https://issuer.example/", SUBJECT),
        ("https://issuer.exampl", SUBJECT),
        ("HTTPS://issuer.example", SUBJECT),
        (ISSUER, "https://ci.example/acme/app/.github/workflows/release.yml@refs/heads/mai"),
        (ISSUER, "https://ci.example/acme/app/*@refs/tags/*"),
        (ISSUER, "release.yml"),
        (ISSUER, "https://ci.example/acme/ap/*"),
        (ISSUER, ".*"),
    ] {
        let case = Case { identities: identities(issuer, subject), ..with(|_| {}) };
        assert!(matches!(case.refused(subject), Fault::Signer { .. }));
    }
    // Issuer of one rule and subject of another are no third.
    let two = vec![
        Identity { issuer: ISSUER.to_owned(), subject: "other".to_owned() },
        Identity { issuer: "https://other.example".to_owned(), subject: SUBJECT.to_owned() },
    ];
    let case = Case { identities: Identities::of(two).unwrap(), ..with(|_| {}) };
    assert!(matches!(case.refused("of two rules"), Fault::Signer { .. }));
}

#[test]
fn certificates_were_shown_to_a_log_that_is_trusted() {
    let scts = |make: fn(&Instance, &[u8]) -> Option<Vec<u8>>| {
        by(|instance| Instance::certified_by(&instance.fulcio, &holder(address(SUBJECT), ISSUER), |tbs| make(instance, tbs)))
    };
    let right = scts(|instance, tbs| Some(instance.scts(&instance.fulcio.certificate, tbs)));
    assert!(right.judged().is_ok());
    let refused = |what: &str, why: &str, case: Case| {
        let fault = case.refused(what).to_string();
        assert!(fault.contains(why), "{what}: {fault}");
    };
    refused("none", "no SCT", scts(|_, _| None));
    refused(
        "of another certificate",
        "did not sign",
        scts(|instance, _| Some(instance.scts(&instance.fulcio.certificate, b"another"))),
    );
    refused(
        "of another issuer",
        "did not sign",
        scts(|instance, tbs| Some(instance.scts(&instance.fulcio_root.certificate, tbs))),
    );
    refused(
        "of a log that is not known",
        "no log of certificates that is trusted",
        scts(|_, tbs| {
            let other = Instance::new();
            Some(other.scts(&other.fulcio.certificate, tbs))
        }),
    );
    refused(
        "forged",
        "did not sign",
        scts(|instance, tbs| {
            let mut all = instance.scts(&instance.fulcio.certificate, tbs);
            *all.last_mut().unwrap() ^= 1;
            Some(all)
        }),
    );
    for (what, value) in
        [("empty", vec![4, 0]), ("cut", vec![4, 3, 0, 9, 1]), ("no octets", vec![5, 0]), ("bytes behind", vec![4, 3, 0, 0, 7])]
    {
        let case = by(|instance| {
            let params = holder(address(SUBJECT), ISSUER);
            Instance::certified_by(&instance.fulcio, &params, |_| Some(value))
        });
        refused(what, "SCT", case);
    }
    let mut case = scts(|instance, tbs| Some(instance.scts(&instance.fulcio.certificate, tbs)));
    case.root["ctlogs"][0]["publicKey"]["validFor"]["end"] = "2026-06-01T12:00:59Z".into();
    refused("outside of its window", "did not count", case);
    let mut case = scts(|instance, tbs| Some(instance.scts(&instance.fulcio.certificate, tbs)));
    case.root["ctlogs"] = json!([]);
    refused("no log", "no log of certificates that is trusted", case);
}

#[test]
fn the_signature_is_by_the_key_of_the_certificate() {
    // Halves of two: the log has the stranger's signature with our certificate.
    let (instance, stranger) = (Instance::new(), Instance::keyed());
    let ours = instance.signer();
    let theirs = Signer { key: stranger.key, certificate: ours.certificate };
    let case = Case::signed_by(instance, &theirs, Version::V1);
    assert_eq!(case.judged(), Err(Fault::Signature));
    // A key, where names count.
    let case = by(|_| Instance::keyed());
    assert_eq!(case.judged(), Err(Fault::Key));
    let mut case = Case::of(Version::V1);
    case.bundle["verificationMaterial"]["publicKey"] = json!({ "hint": "" });
    assert!(case.refused("both").to_string().contains("more than one"));
}
