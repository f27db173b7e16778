//! Chains and timestamps that hold, and beside each what is wrong with one that does not.

use jiff::Timestamp;
use proptest::prelude::*;
use rcgen::{BasicConstraints, IsCa, KeyPair, KeyUsagePurpose};

use super::chain::STEPS;
use super::fixture::*;
use super::*;

const AT: &str = "20260601120000Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    time("2026-11-30T12:00:00Z")
}

type Change = fn(&mut Parts);

/// What a chain of root, authority and leaf is made of.
struct Parts {
    root: rcgen::CertificateParams,
    between: rcgen::CertificateParams,
    leaf: rcgen::CertificateParams,
}

impl Parts {
    fn right() -> Self {
        Self {
            root: authority("root", (2020, 2040), None),
            between: authority("ca", (2020, 2035), Some(0)),
            leaf: leaf("signer", (2026, 2027), &[CODE_SIGNING], false),
        }
    }

    fn chain(self) -> [Certificate; 3] {
        let root = Made::root(self.root);
        let between = root.issue(self.between);
        let leaf = between.issue(self.leaf);
        [leaf.certificate, between.certificate, root.certificate]
    }

    fn judged(self, rules: Rules) -> Result<(), Fault> {
        holds(&self.chain(), &[now()], rules)
    }
}

#[test]
fn a_chain_holds_and_with_one_thing_wrong_it_does_not() {
    assert_eq!(Parts::right().judged(Rules::FULCIO), Ok(()));
    assert_eq!(holds(&Parts::right().chain()[..2], &[now()], Rules::FULCIO), Ok(()), "what is trusted need not be a root");
    let cases: [(&str, Change); 14] = [
        ("leaf expired", |parts| parts.leaf.not_after = rcgen::date_time_ymd(2026, 6, 1)),
        ("leaf not yet", |parts| parts.leaf.not_before = rcgen::date_time_ymd(2026, 12, 1)),
        ("ca expired", |parts| parts.between.not_after = rcgen::date_time_ymd(2026, 6, 1)),
        ("root expired", |parts| parts.root.not_after = rcgen::date_time_ymd(2026, 6, 1)),
        ("no ca", |parts| parts.between.is_ca = IsCa::ExplicitNoCa),
        ("no constraints", |parts| parts.between.is_ca = IsCa::NoCa),
        ("ca does not sign certificates", |parts| parts.between.key_usages = vec![KeyUsagePurpose::CrlSign]),
        ("ca without usage", |parts| parts.between.key_usages = vec![]),
        ("path too long", |parts| parts.root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))),
        ("leaf is a ca", |parts| parts.leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
        ("leaf without usage", |parts| parts.leaf.key_usages = vec![]),
        ("leaf for time", |parts| parts.leaf = leaf("signer", (2026, 2027), &[TIME_STAMPING], false)),
        ("ca for time", |parts| {
            parts.between.custom_extensions.push(extension(EKU, tlv(0x30, &[oid(TIME_STAMPING)]), false));
        }),
        ("unknown critical", |parts| parts.between.custom_extensions.push(extension(&[1, 2, 3], vec![5, 0], true))),
    ];
    for (what, change) in cases {
        let mut parts = Parts::right();
        change(&mut parts);
        let found = parts.judged(Rules::FULCIO);
        assert!(found.is_err(), "{what}");
    }
    // Each passes over what it does not have to know.
    let mut parts = Parts::right();
    parts.between.custom_extensions.push(extension(&[1, 2, 3], vec![5, 0], false));
    assert_eq!(parts.judged(Rules::FULCIO), Ok(()));
    let mut parts = Parts::right();
    parts.between.custom_extensions.push(extension(&[1, 2, 3], vec![5, 0], true));
    assert_eq!(parts.judged(Rules::NOTATION), Ok(()));
}

#[test]
fn certificates_of_strangers_with_the_same_names_lead_nowhere() {
    let (ours, theirs) = (Parts::right().chain(), Parts::right().chain());
    let [leaf, between, root] = ours;
    assert_eq!(holds(&[leaf.clone(), theirs[1].clone(), theirs[2].clone()], &[now()], Rules::FULCIO), Err(Fault::Signature));
    assert_eq!(holds(&[leaf.clone(), root.clone()], &[now()], Rules::FULCIO), Err(Fault::Issuer));
    assert_eq!(holds(&[], &[now()], Rules::FULCIO), Err(Fault::Stranger));
    // A path is found past them.
    let others = [theirs[1].clone(), theirs[2].clone(), leaf.clone(), between.clone()];
    let found = path(&leaf, &others, std::slice::from_ref(&root), &[now()], Rules::FULCIO);
    assert_eq!(found, Ok(vec![leaf.clone(), between, root.clone()]));
    assert!(path(&leaf, &others[..2], &[root], &[now()], Rules::FULCIO).is_err());
    assert!(path(&leaf, &others, &[theirs[2].clone()], &[now()], Rules::FULCIO).is_err());
}

#[test]
fn a_path_is_looked_for_in_bounded_time() {
    let root = Made::root(authority("same", (2020, 2040), None));
    // Each may issue each.
    let key = KeyPair::generate().unwrap();
    let many: Vec<Certificate> =
        (0..16).map(|_| Certificate::read(&root.signed(&authority("same", (2020, 2040), None), &key)).unwrap()).collect();
    let stranger = Made::root(authority("other", (2020, 2040), None));
    let checked = CHECKED.get();
    assert!(path(&many[0], &many, &[stranger.certificate], &[now()], Rules::NOTATION).is_err());
    assert!(CHECKED.get() - checked <= STEPS);
    // Eight that one key has issued to itself, as a stranger brings them, cost no more beside a root of their name.
    let known = Made::root(authority("same", (2020, 2040), None));
    let leaf =
        Certificate::read(&Made { key, ..root }.signed(&leaf("signer", (2026, 2027), &[CODE_SIGNING], false), &stranger.key))
            .unwrap();
    let checked = CHECKED.get();
    assert!(path(&leaf, &many[..8], &[known.certificate], &[now()], Rules::FULCIO).is_err());
    assert!(CHECKED.get() - checked <= 8, "{}", CHECKED.get() - checked);
}

#[test]
fn certificates_that_are_weak_or_odd_are_not_read() {
    let right = Parts::right().chain()[0].der().to_vec();
    assert!(Certificate::read(&right).is_ok());
    assert!(Certificate::read(&[&right[..], &[0]].concat()).is_err());
    assert!(Certificate::read(&right[..right.len() - 1]).is_err());
    // ecdsa-with-SHA224 for ecdsa-with-SHA256, in one place and in both.
    let sha256 = oid(&[1, 2, 840, 10045, 4, 3, 2]);
    let places: Vec<usize> = (0..right.len() - sha256.len()).filter(|at| right[*at..].starts_with(&sha256)).collect();
    assert_eq!(places.len(), 2);
    let mut weak = right.clone();
    weak[places[0] + sha256.len() - 1] = 1;
    assert_eq!(Certificate::read(&weak).unwrap_err(), Fault::Form("it names two algorithms"));
    weak[places[1] + sha256.len() - 1] = 1;
    assert!(matches!(Certificate::read(&weak), Err(Fault::Algorithm(_))));
    for curve in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519, &rcgen::PKCS_RSA_SHA256] {
        let key = KeyPair::generate_for(curve).unwrap();
        let der = authority("root", (2020, 2040), None).self_signed(&key).unwrap();
        let root = Certificate::read(der.der()).unwrap();
        assert_eq!(holds(&[root], &[now()], Rules::NOTATION), Ok(()), "{:?}", key.algorithm());
    }
}

#[test]
fn a_timestamp_holds_and_with_one_thing_wrong_it_does_not() {
    let (root, between, signer) = stampers();
    let chain = [signer.certificate.clone(), between.certificate.clone(), root.certificate.clone()];
    let roots = std::slice::from_ref(&root.certificate);
    let right = |wrong| Stamping {
        signer: &signer,
        message: b"a signature",
        at: AT,
        embedded: vec![&between.certificate, &signer.certificate],
        wrong,
    };
    let both = |made: &Stamping<'_>| {
        let by_authority = Token::read(&made.answer(), Form::TokenOrAnswer)
            .and_then(|token| token.by_authority(b"a signature", &chain, Rules::SIGSTORE_TSA));
        let by_roots =
            Token::read(&made.token(), Form::Token).and_then(|token| token.by_roots(b"a signature", roots, Rules::NOTATION_TSA));
        (by_authority, by_roots)
    };
    let (by_authority, by_roots) = both(&right(Wrong::Nothing));
    let stamp = by_authority.unwrap();
    assert_eq!((stamp.at, stamp.accuracy), (time("2026-06-01T12:00:00Z"), jiff::SignedDuration::from_millis(1500)));
    assert_eq!(stamp, by_roots.unwrap());
    // One that brings nothing, for those who know the signer.
    let bare = Stamping { embedded: vec![], ..right(Wrong::Nothing) };
    let (by_authority, by_roots) = both(&bare);
    assert!(by_authority.is_ok() && by_roots.is_err());
    let (by_authority, by_roots) = both(&right(Wrong::NoCertificateHash));
    assert!(by_authority.is_ok() && by_roots.is_err());
    for (number, wrong) in [
        Wrong::Sha1,
        Wrong::Kind,
        Wrong::Type,
        Wrong::Content,
        Wrong::NoAttributes,
        Wrong::NoDigest,
        Wrong::DigestTwice,
        Wrong::OtherCertificateHash,
        Wrong::Signature,
        Wrong::TwoSigners,
        Wrong::NoSigner,
        Wrong::Version,
        Wrong::CriticalExtension,
        Wrong::Behind,
    ]
    .into_iter()
    .enumerate()
    {
        let (by_authority, by_roots) = both(&right(wrong));
        assert!(by_authority.is_err() && by_roots.is_err(), "{number}");
    }
    assert!(both(&right(Wrong::Status)).0.is_err());
    assert!(Token::read(&right(Wrong::Nothing).answer(), Form::Token).is_err(), "an answer is no token");
    assert!(Token::read(&right(Wrong::Nothing).token(), Form::TokenOrAnswer).is_ok());

    let token = Token::read(&right(Wrong::Nothing).token(), Form::Token).unwrap();
    assert_eq!(token.by_authority(b"another", &chain, Rules::SIGSTORE_TSA), Err(Fault::Imprint));
    assert_eq!(token.by_roots(b"another", roots, Rules::NOTATION_TSA), Err(Fault::Imprint));
    let (other_root, other_between, other) = stampers();
    let theirs = [other.certificate.clone(), other_between.certificate.clone(), other_root.certificate.clone()];
    assert!(token.by_authority(b"a signature", &theirs, Rules::SIGSTORE_TSA).is_err());
    assert!(token.by_roots(b"a signature", &theirs[2..], Rules::NOTATION_TSA).is_err());
    // The times of the chain count at the time that is stamped.
    for at in ["20231231235959Z", "20300101000001Z"] {
        let (by_authority, by_roots) = both(&Stamping { at, ..right(Wrong::Nothing) });
        assert!(matches!(by_authority, Err(Fault::Dates { .. })) && matches!(by_roots, Err(Fault::Dates { .. })), "{at}");
    }
    // What else a leaf may do, or what else it is for, takes the right from it.
    for params in [
        leaf("stamps", (2024, 2030), &[TIME_STAMPING], false),
        leaf("stamps", (2024, 2030), &[TIME_STAMPING, CODE_SIGNING], true),
        leaf("stamps", (2024, 2030), &[CODE_SIGNING], true),
    ] {
        let odd = between.issue(params);
        let chain = [odd.certificate.clone(), between.certificate.clone(), root.certificate.clone()];
        let made = Stamping { signer: &odd, embedded: vec![&odd.certificate, &between.certificate], ..right(Wrong::Nothing) };
        let token = Token::read(&made.token(), Form::Token).unwrap();
        assert!(matches!(token.by_authority(b"a signature", &chain, Rules::SIGSTORE_TSA), Err(Fault::Use(_))));
        assert!(matches!(token.by_roots(b"a signature", roots, Rules::NOTATION_TSA), Err(Fault::Use(_))));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever byte is changed, a timestamp does not come to say something else: it is refused, or says the same.
    #[test]
    fn a_changed_timestamp_says_nothing_new(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        static MADE: std::sync::OnceLock<(Vec<u8>, Vec<Certificate>, Stamp)> = std::sync::OnceLock::new();
        let (answer, chain, stamp) = MADE.get_or_init(|| {
            let (root, between, signer) = stampers();
            let made = Stamping { signer: &signer, message: b"m", at: AT, embedded: vec![&signer.certificate], wrong: Wrong::Nothing };
            let chain = vec![signer.certificate.clone(), between.certificate, root.certificate];
            let token = Token::read(&made.answer(), Form::TokenOrAnswer).unwrap();
            let stamp = token.by_authority(b"m", &chain, Rules::SIGSTORE_TSA).unwrap();
            (made.answer(), chain, stamp)
        });
        let mut changed = answer.clone();
        let at = at.index(changed.len());
        changed[at] ^= flip;
        if let Ok(found) = Token::read(&changed, Form::TokenOrAnswer).and_then(|token| token.by_authority(b"m", chain, Rules::SIGSTORE_TSA)) {
            prop_assert_eq!(&found, stamp);
        }
        let _ = Certificate::read(&changed);
    }

    /// Nothing that is thrown at them makes them panic.
    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Certificate::read(&bytes);
        let _ = Token::read(&bytes, Form::TokenOrAnswer);
        let _ = Token::read(&bytes, Form::Token);
    }
}
