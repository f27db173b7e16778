//! Dates, expiry, timestamps, and lists of revoked certificates, under each action.

use super::*;
use crate::trust::pki::CHECKED;

const DAY: i64 = 86_400;

fn at_time(notation: &Notation, writing: &Writing<'_>, now: &str) -> Result<Good, Unfit> {
    let [jws, cose] =
        writing.in_both().map(|(kind, bytes)| notation.judge(&app(), &artifact(), kind, &bytes, now.parse().unwrap()));
    assert_eq!(jws, cose);
    jws
}

#[test]
fn an_expired_signature_counts_where_expiry_is_only_logged() {
    let hand = Hand::new();
    let writing = Writing { expiry: Some(SIGNED_AT + DAY), ..hand.writing() };
    let (just, then) = ("2026-11-01T23:59:59Z", "2026-11-02T00:00:00Z");
    let good = at_time(&hand.notation(STRICT), &writing, just).unwrap();
    assert_eq!(good.until, Some(then.parse().unwrap()));
    assert!(matches!(at_time(&hand.notation(STRICT), &writing, then), Err(Unfit::Expired { .. })));
    assert!(at_time(&hand.notation(PERMISSIVE), &writing, then).is_ok());
}

#[test]
fn a_chain_is_valid_now_whatever_the_signer_says_of_the_time() {
    let hand = Hand::new();
    for (now, is_valid) in [("2029-12-31T23:59:59Z", true), ("2030-01-01T00:00:01Z", false), ("2023-12-31T23:59:59Z", false)] {
        let end = at_time(&hand.notation(STRICT), &hand.writing(), now);
        assert_eq!(end.is_ok(), is_valid, "{now}");
        assert!(is_valid || matches!(end, Err(Unfit::Time { .. })), "{now}");
        let good = at_time(&hand.notation(PERMISSIVE), &hand.writing(), now).unwrap();
        assert_eq!(good.until, None, "what is not enforced ends nothing");
    }
}

#[test]
fn an_authority_says_when_it_signed_and_its_chain_was_valid_then() {
    let hand = Hand::new();
    let notation = hand.of(STRICT, r#""signingAuthority:acme""#, "*");
    let writing = |time| Writing { scheme: "notary.x509.signingAuthority", time, ..hand.writing() };
    let good = at_time(&notation, &writing(SIGNED_AT), "2035-01-01T00:00:00Z").unwrap();
    assert_eq!((good.signed_at, good.until), (Timestamp::from_second(SIGNED_AT).ok(), None));
    // 2023, and minutes ahead of now.
    assert!(matches!(at_time(&notation, &writing(1_700_000_000), NOW), Err(Unfit::Time { .. })));
    let noon = 1_796_040_000;
    assert!(at_time(&notation, &writing(noon + 200), NOW).is_ok());
    assert!(matches!(at_time(&notation, &writing(noon + 400), NOW), Err(Unfit::Time { .. })));
}

#[test]
fn a_timestamp_stands_in_for_now_where_the_policy_names_its_authority() {
    let hand = Hand::new();
    let (stamps, between, stamper) = stampers();
    let of = |verification: &str, stores: &str| {
        notation(verification, stores, "*", &[("ca:acme", &hand.root), ("tsa:clock", &stamps)], Crls::default())
    };
    let (always, after) = (
        of(STRICT, r#""ca:acme","tsa:clock""#),
        of(r#"{"level":"strict","verifyTimestamp":"afterCertExpiry"}"#, r#""ca:acme","tsa:clock""#),
    );
    // One envelope: a timestamp is of its signature's bytes.
    let plain = hand.writing().jws();
    let signature = jws::read(&plain).unwrap().signature;
    let marked = |at: &str, message: &[u8], wrong: Wrong| {
        let embedded = vec![&stamper.certificate, &between.certificate];
        let token = Stamping { signer: &stamper, message, at, embedded, wrong }.token();
        let mut body: Value = serde_json::from_slice(&plain).unwrap();
        body["header"][envelope::TIMESTAMP] = json!(STANDARD.encode(token));
        body.to_string().into_bytes()
    };
    let end = |notation: &Notation, bytes: &[u8], now: &str| {
        notation.judge(&app(), &artifact(), Kind::Jws, bytes, now.parse().unwrap())
    };
    let good = marked("20261101000000Z", &signature, Wrong::Nothing);
    let later = "2031-06-01T00:00:00Z";
    for now in [NOW, later] {
        let good = end(&always, &good, now).unwrap();
        assert_eq!((good.signed_at, good.until), ("2026-11-01T00:00:00Z".parse().ok(), None), "{now}");
    }
    assert!(end(&after, &good, later).is_ok());
    // Stripped.
    assert!(matches!(end(&always, &plain, NOW), Err(Unfit::Time { .. })));
    assert_eq!(end(&after, &plain, NOW).unwrap().until, Some("2030-01-01T00:00:01Z".parse().unwrap()));
    assert!(matches!(end(&after, &plain, later), Err(Unfit::Time { .. })));
    let lax = of(PERMISSIVE, r#""ca:acme","tsa:clock""#);
    assert!(end(&lax, &plain, later).is_ok());
    // Of something else, by somebody else, at a time when the signer's certificate was not valid, or that is to come.
    for (at, message, wrong) in [
        ("20261101000000Z", &b"other"[..], Wrong::Nothing),
        ("20261101000000Z", &signature, Wrong::Signature),
        ("20261101000000Z", &signature, Wrong::NoCertificateHash),
        ("20261101000000Z", &signature, Wrong::Behind),
        ("20231231000000Z", &signature, Wrong::Nothing),
        ("20240101000000Z", &signature, Wrong::Nothing),
        ("20261130121000Z", &signature, Wrong::Nothing),
    ] {
        assert!(matches!(end(&always, &marked(at, message, wrong), NOW), Err(Unfit::Time { .. })), "{at}");
    }
    let answer = Stamping {
        signer: &stamper,
        message: &signature,
        at: "20261101000000Z",
        embedded: vec![&stamper.certificate],
        wrong: Wrong::Nothing,
    }
    .answer();
    let mut body: Value = serde_json::from_slice(&plain).unwrap();
    body["header"][envelope::TIMESTAMP] = json!(STANDARD.encode(answer));
    assert!(end(&always, body.to_string().as_bytes(), NOW).is_err(), "an authority's whole answer is no token");
    // Where nobody is named, it is ignored, whatever it is; an empty store is none.
    assert!(end(&hand.notation(STRICT), &marked("20261101000000Z", b"other", Wrong::Nothing), NOW).is_ok());
    assert!(end(&of(STRICT, r#""ca:acme","tsa:empty""#), &good, NOW).is_err());
}

fn list(issuer: &Made, revoked: &[&[u8]], days: (u8, u8), point: Option<rcgen::CrlIssuingDistributionPoint>) -> String {
    let revoked = revoked.iter().map(|serial| RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: date_time_ymd(2026, 11, 10),
        reason_code: None,
        invalidity_date: Some(date_time_ymd(2026, 11, 5)),
    });
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 11, days.0),
        next_update: date_time_ymd(2026, 12, days.1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: point,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    pem("X509 CRL", params.signed_by(&Issuer::from_params(&issuer.params, &issuer.key)).unwrap().der())
}

#[test]
fn revocation_is_known_from_lists_here_and_the_policy_says_what_follows() {
    let mut params = signer();
    params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec!["http://ca.example/between.crl".to_owned()] }];
    let hand = Hand::with(params);
    let serial = hand.leaf.certificate.serial().to_vec();
    let skip = r#"{"level":"strict","override":{"revocation":"skip"}}"#;
    let end = |verification: &str, lists: &[String]| {
        let crls = Crls::read(lists.iter().map(|text| ("a.crl".to_owned(), text.as_str()))).unwrap();
        let notation = notation(verification, r#""ca:acme""#, "*", &[("ca:acme", &hand.root)], crls);
        notation.of_both(&hand.writing())
    };
    let (good, bad) = (list(&hand.between, &[&[9]], (1, 31), None), list(&hand.between, &[&serial], (1, 31), None));
    let until = end(STRICT, std::slice::from_ref(&good)).unwrap().until;
    assert_eq!(until, Some("2026-12-31T00:00:00Z".parse().unwrap()));
    for verification in [STRICT, PERMISSIVE] {
        assert!(matches!(end(verification, std::slice::from_ref(&bad)), Err(Unfit::Revoked { .. })), "{verification}");
        assert!(matches!(end(verification, &[good.clone(), bad.clone()]), Err(Unfit::Revoked { .. })), "{verification}");
    }
    assert!(end(skip, std::slice::from_ref(&bad)).is_ok());
    // Lists that say nothing of it: none, of another issuer, by a stranger of the same name.
    let stranger = Hand::new();
    let unknown =
        [vec![], vec![list(&hand.root, &[&serial], (1, 31), None)], vec![list(&stranger.between, &[&serial], (1, 31), None)]];
    for (at, lists) in unknown.iter().enumerate() {
        match end(STRICT, lists) {
            Err(Unfit::Unchecked { cause, .. }) => assert!(cause.contains("(http://ca.example/between.crl)"), "{cause}"),
            other => panic!("{at}: {other:?}"),
        }
        assert!(end(PERMISSIVE, lists).is_ok() && end(skip, lists).is_ok(), "{at}");
    }
    let notation_of = |text: &str| {
        let crls = Crls::read(std::iter::once(("a.crl".to_owned(), text))).unwrap();
        notation(STRICT, r#""ca:acme""#, "*", &[("ca:acme", &hand.root)], crls)
    };
    for (now, is_known) in [("2026-11-01T00:00:00Z", true), ("2026-10-31T23:59:59Z", false), ("2026-12-31T00:00:01Z", false)] {
        assert_eq!(at_time(&notation_of(&good), &hand.writing(), now).is_ok(), is_known, "{now}");
    }
    // Once, and for each issuer of its name, it is checked whose it is.
    let notation_of_good = notation_of(&good);
    let checks = || {
        let before = CHECKED.get();
        assert!(at_time(&notation_of_good, &hand.writing(), "2026-11-01T00:00:00Z").is_ok());
        CHECKED.get() - before
    };
    let (first, second) = (checks(), checks());
    assert!(second < first, "{first} {second}");
    // What is revoked stays so when the list is out of date.
    for verification in [STRICT, PERMISSIVE] {
        let crls = Crls::read(std::iter::once(("a.crl".to_owned(), bad.as_str()))).unwrap();
        let notation = notation(verification, r#""ca:acme""#, "*", &[("ca:acme", &hand.root)], crls);
        let said = at_time(&notation, &hand.writing(), "2026-12-31T00:00:01Z");
        assert!(matches!(said, Err(Unfit::Revoked { .. })), "{verification}: {said:?}");
    }
    // An authority's word of when it signed spares what was signed before the key was lost.
    let authority = |time| Writing { scheme: "notary.x509.signingAuthority", time, ..hand.writing() };
    let crls = Crls::read(std::iter::once(("a.crl".to_owned(), bad.as_str()))).unwrap();
    let notation = notation(STRICT, r#""signingAuthority:acme""#, "*", &[("signingAuthority:acme", &hand.root)], crls);
    assert!(notation.of_both(&authority(SIGNED_AT)).is_ok());
    assert!(matches!(notation.of_both(&authority(SIGNED_AT + 10 * DAY)), Err(Unfit::Revoked { .. })));
}

#[test]
fn a_certificate_without_an_address_needs_no_list_and_odd_lists_are_faults() {
    let hand = Hand::new();
    assert!(hand.notation(STRICT).of_both(&hand.writing()).is_ok());
    let read = |text: &str| Crls::read(std::iter::once(("a.crl".to_owned(), text)));
    let good = list(&hand.between, &[&[9]], (1, 31), None);
    assert!(read(&good).is_ok());
    let point = rcgen::CrlIssuingDistributionPoint {
        distribution_point: CrlDistributionPoint { uris: vec!["http://ca.example/x.crl".to_owned()] },
        scope: None,
    };
    let partial = list(&hand.between, &[&[9]], (1, 31), Some(point));
    for bad in [String::new(), "x".to_owned(), partial, pem("X509 CRL", &[0x30, 0]), pem("CERTIFICATE", &[0x30, 0])] {
        assert!(read(&bad).is_err(), "{bad:.60}");
    }
}
