//! Whose signatures count: chains, stores, identities.

use super::*;
use crate::trust::pki::fixture::{CODE_SIGNING, TIME_STAMPING};

fn end(hand: &Hand, chain: Vec<Vec<u8>>) -> Result<Good, Unfit> {
    hand.notation(STRICT).of_both(&Writing { chain, ..hand.writing() })
}

#[test]
fn a_chain_is_whole_in_order_and_has_nothing_besides() {
    let hand = Hand::new();
    let good = hand.chain();
    assert!(end(&hand, good.clone()).is_ok());
    let stranger = Hand::new();
    let theirs = stranger.chain();
    let [leaf, between, root] = [&good[0], &good[1], &good[2]].map(Clone::clone);
    for odd in [
        vec![],
        vec![leaf.clone()],
        vec![leaf.clone(), root.clone()],
        vec![leaf.clone(), between.clone()],
        vec![leaf.clone(), root.clone(), between.clone()],
        vec![between.clone(), leaf.clone(), root.clone()],
        vec![leaf.clone(), between.clone(), root.clone(), root.clone()],
        vec![leaf.clone(), leaf.clone(), between.clone(), root.clone()],
        vec![leaf.clone(), between.clone(), theirs[2].clone()],
        vec![leaf.clone(), theirs[1].clone(), root.clone()],
        vec![leaf.clone(), between, root.clone(), theirs[2].clone()],
        vec![vec![0x30, 0], root],
    ] {
        assert!(end(&hand, odd).is_err());
    }
    // A stranger's, with the same names: alone, and with ours before, behind or within it.
    let by_stranger = |chain: Vec<Vec<u8>>| hand.notation(STRICT).of_both(&Writing { chain, ..stranger.writing() });
    assert!(matches!(by_stranger(theirs.clone()), Err(Unfit::Stranger { .. })));
    for mixed in [
        [good.clone(), theirs.clone()].concat(),
        [theirs.clone(), good.clone()].concat(),
        vec![theirs[0].clone(), good[1].clone(), good[2].clone()],
        vec![theirs[0].clone(), theirs[1].clone(), good[2].clone()],
        vec![good[0].clone(), theirs[1].clone(), theirs[2].clone()],
    ] {
        assert!(by_stranger(mixed).is_err());
    }
}

/// One made for servers issues none.
#[test]
fn an_authority_that_is_made_for_something_else_issues_no_signer() {
    const SERVERS: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 1];
    let by = |purposes: &[&[u64]]| {
        let root = Made::root(authority("root", (2020, 2040), None));
        let mut params = authority("between", (2020, 2035), Some(0));
        if !purposes.is_empty() {
            params.custom_extensions = leaf("x", (2020, 2035), purposes, false).custom_extensions;
        }
        let between = root.issue(params);
        let hand = Hand { leaf: between.issue(signer()), between, root };
        hand.notation(STRICT).of_both(&hand.writing())
    };
    assert!(by(&[]).is_ok() && by(&[CODE_SIGNING]).is_ok() && by(&[SERVERS, CODE_SIGNING]).is_ok());
    assert!(by(&[&[2, 5, 29, 37, 0]]).is_ok(), "any purpose");
    for others in [&[SERVERS][..], &[TIME_STAMPING], &[SERVERS, TIME_STAMPING]] {
        let error = by(others).unwrap_err().to_string();
        assert!(error.contains("made for something else"), "{error}");
    }
}

#[test]
fn leaves_sign_images_and_authorities_issue() {
    let with = |change: &dyn Fn(&mut CertificateParams)| {
        let mut params = signer();
        change(&mut params);
        let hand = Hand::with(params);
        hand.notation(STRICT).of_both(&hand.writing())
    };
    assert!(with(&|_| ()).is_ok());
    assert!(with(&|params| params.key_usages.push(KeyUsagePurpose::ContentCommitment)).is_ok());
    let purposes = |purposes: &[&[u64]]| {
        let mut params = named(leaf("x", (2024, 2030), purposes, false), &acme());
        params.not_after = date_time_ymd(2030, 1, 1);
        let hand = Hand::with(params);
        hand.notation(STRICT).of_both(&hand.writing())
    };
    assert!(purposes(&[CODE_SIGNING]).is_ok());
    for odd in [TIME_STAMPING, &[2, 5, 29, 37, 0], &[1, 3, 6, 1, 5, 5, 7, 3, 1], &[1, 3, 6, 1, 5, 5, 7, 3, 9]] {
        is_form(purposes(&[CODE_SIGNING, odd]), "extended key usage");
    }
    is_form(with(&|params| params.key_usages.clear()), "key usage");
    is_form(with(&|params| params.key_usages.push(KeyUsagePurpose::KeyEncipherment)), "key usage");
    is_form(with(&|params| params.key_usages = vec![KeyUsagePurpose::ContentCommitment]), "key usage");
    is_form(with(&|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)), "begins with a CA");

    // An authority that is none.
    let root = Made::root(authority("root", (2020, 2040), None));
    let mut issues_nothing = authority("between", (2020, 2035), Some(0));
    issues_nothing.key_usages = vec![KeyUsagePurpose::CrlSign];
    for broken in [leaf("between", (2020, 2035), &[], false), issues_nothing] {
        let between = root.issue(broken);
        let leaf = between.issue(signer());
        let hand = Hand { root: Made::root(authority("root", (2020, 2040), None)), between, leaf };
        let chain =
            vec![hand.leaf.certificate.der().to_vec(), hand.between.certificate.der().to_vec(), root.certificate.der().to_vec()];
        let notation = notation(STRICT, r#""ca:acme""#, "*", &[("ca:acme", &root)], Crls::default());
        is_form(notation.of_both(&Writing { chain, ..hand.writing() }), "chain");
    }
}

#[test]
fn one_certificate_alone_signs_for_itself_and_an_intermediate_may_be_the_pin() {
    let alone = Made::root(signer());
    let hand = Hand::new();
    let writing = Writing { key: &alone.key, chain: vec![alone.certificate.der().to_vec()], ..hand.writing() };
    assert!(notation(STRICT, r#""ca:acme""#, "*", &[("ca:acme", &alone)], Crls::default()).of_both(&writing).is_ok());
    assert!(matches!(hand.notation(STRICT).of_both(&writing), Err(Unfit::Stranger { .. })));
    let pinned = notation(STRICT, r#""ca:acme""#, "*", &[("ca:acme", &hand.between)], Crls::default());
    assert!(pinned.of_both(&hand.writing()).is_ok());
}

#[test]
fn stores_count_for_their_own_scheme_and_empty_ones_for_none() {
    let hand = Hand::new();
    let authority = Writing { scheme: "notary.x509.signingAuthority", ..hand.writing() };
    assert!(hand.of(STRICT, r#""signingAuthority:acme""#, "*").of_both(&authority).is_ok());
    assert!(matches!(hand.of(STRICT, r#""signingAuthority:acme""#, "*").of_both(&hand.writing()), Err(Unfit::Stranger { .. })));
    assert!(matches!(hand.notation(STRICT).of_both(&authority), Err(Unfit::Stranger { .. })), "a CA's customer plays authority");
    let absent = hand.of(STRICT, r#""ca:acme","ca:other""#, "*");
    assert_eq!(absent.of_both(&hand.writing()), Err(Unfit::NoStore { store: "ca:other".to_owned() }));
    let elsewhere = "r.example/other".parse().unwrap();
    let judged = hand.notation(STRICT).judge(&elsewhere, &artifact(), Kind::Jws, &hand.writing().jws(), now());
    assert_eq!(judged, Err(Unfit::NoStatement { repository: elsewhere }));
}

#[test]
fn stores_hold_authorities_and_roots() {
    let hand = Hand::new();
    let policy = |stores: &str| {
        let text = format!(
            r#"{{"version":"1.0","trustPolicies":[{{"name":"a","registryScopes":["*"],"signatureVerification":{STRICT},"trustStores":["{stores}"],"trustedIdentities":["*"]}}]}}"#
        );
        TrustPolicy::read(&text).unwrap()
    };
    for (kind, made, is_good) in [
        ("ca:a", &hand.root, true),
        ("ca:a", &hand.between, true),
        ("ca:a", &hand.leaf, false),
        ("signingAuthority:a", &hand.leaf, false),
        ("tsa:a", &hand.root, true),
        ("tsa:a", &hand.between, false),
    ] {
        let policy = policy(kind);
        let store = policy.stores().next().unwrap();
        let text = pem("CERTIFICATE", made.certificate.der());
        let read = TrustStores::read(std::iter::once((store, "a.pem", text.as_str())));
        assert_eq!(read.is_ok(), is_good, "{kind}");
        for bad in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "not PEM"] {
            let both = [("good.pem", text.as_str()), ("bad.pem", bad)];
            assert!(TrustStores::read(both.into_iter().map(|(name, text)| (store, name, text))).is_err(), "one bad file: {bad}");
        }
    }
}

#[test]
fn identities_are_matched_attribute_by_attribute() {
    let name = |subject: &[(DnType, &str)], identity: &str| {
        let hand = Hand::with(named(signer(), subject));
        hand.of(STRICT, r#""ca:acme""#, identity).of_both(&hand.writing())
    };
    let own = acme();
    for good in [
        "x509.subject: C=US, ST=WA, O=acme",
        "x509.subject: CN=release,O=acme,S=WA,C=US",
        "x509.subject:C=US,ST=WA,O=acme,CN=release",
        "*",
    ] {
        assert!(name(&own, good).is_ok(), "{good}");
    }
    for near in [
        "x509.subject: C=US, ST=WA, O=Acme",
        "x509.subject: C=US, ST=WA, O=acm",
        "x509.subject: C=US, ST=WA, O=acme2",
        "x509.subject: C=US, ST=WA, O=ac*",
        "x509.subject: C=US, ST=WA, O=acme, OU=x",
        "x509.subject: C=US, ST=WA, O=acme, CN=release2",
        "x509.subject: C=us, ST=WA, O=acme",
        "arn:aws:signer:us-west-2:111122223333:/signing-profiles/x",
    ] {
        assert!(matches!(name(&own, near), Err(Unfit::Identity { .. })), "{near}");
    }
    let acme = "x509.subject: C=US, ST=WA, O=acme";
    for odd in [
        // A value that looks like more than it is; two organizations; a NUL; without what is due.
        vec![(DnType::CountryName, "US"), (DnType::StateOrProvinceName, "WA"), (DnType::OrganizationName, "acme,CN=release")],
        vec![(DnType::CountryName, "US"), (DnType::StateOrProvinceName, "WA"), (DnType::OrganizationName, "acme\0")],
        vec![(DnType::CountryName, "US"), (DnType::OrganizationName, "acme")],
        vec![(DnType::CommonName, "C=US,ST=WA,O=acme")],
    ] {
        assert!(matches!(name(&odd, acme), Err(Unfit::Identity { .. })), "{odd:?}");
        assert!(name(&odd, "*").is_ok());
    }
    let mail = [own, vec![(DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]), "a@b.example")]].concat();
    assert!(name(&mail, acme).is_ok(), "which Go cannot read");
}
