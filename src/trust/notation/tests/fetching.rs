//! Lists of revoked certificates that are fetched: what may take the place of what.

use std::sync::Mutex;

use std::time::Duration;

use rcgen::{CertificateRevocationListParams, CrlDistributionPoint, Issuer, KeyIdMethod, SerialNumber, date_time_ymd};

use super::*;
use crate::trust::notation::{Refresher, refresh};
use crate::trust::pki::fixture::TIME_STAMPING;

const ADDRESS: &str = "http://ca.example/between.crl";

fn now() -> Timestamp {
    "2026-12-01T00:00:00Z".parse().unwrap()
}

/// A signer whose certificate says where its issuer's list is.
fn hand_at(address: &str) -> Hand {
    let mut params = signer();
    params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![address.to_owned()] }];
    Hand::with(params)
}

fn list(issuer: &Made, number: u64, november: u8) -> Vec<u8> {
    list_of(issuer, number, (november, 19 * 24 * 60), &[])
}

/// From this day of November on, and for so many minutes of December.
fn list_of(issuer: &Made, number: u64, (november, minutes): (u8, u64), serials: &[&[u8]]) -> Vec<u8> {
    let entry = |serial: &&[u8]| RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: date_time_ymd(2026, 11, 2),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 11, november),
        next_update: date_time_ymd(2026, 12, 1) + Duration::from_secs(60 * minutes),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(&Issuer::from_params(&issuer.params, &issuer.key)).unwrap().der().to_vec()
}

/// What is fetched in a round, and the lists that are there afterwards.
async fn round(refresher: &Refresher, answer: Result<Vec<u8>, String>) -> (Vec<String>, Vec<Vec<u8>>) {
    let asked = Mutex::new(Vec::new());
    refresher.due_now();
    refresher
        .round(
            |url| {
                asked.lock().unwrap().push(url.to_string());
                let answer = answer.clone();
                async move { answer }
            },
            now,
        )
        .await;
    let files = std::fs::read_dir(refresher.folder()).into_iter().flatten().map(|entry| entry.unwrap().path());
    let lists = files.filter(|path| path.extension().is_some_and(|ending| ending == "crl"));
    (asked.into_inner().unwrap(), lists.map(|path| std::fs::read(path).unwrap()).collect())
}

fn chain(hand: &Hand) -> Vec<Certificate> {
    vec![hand.leaf.certificate.clone(), hand.between.certificate.clone(), hand.root.certificate.clone()]
}

#[tokio::test]
async fn a_list_is_fetched_for_a_chain_that_counts_and_stays_until_a_newer_one_of_its_issuer_comes() {
    let (hand, folder) = (hand_at(ADDRESS), tempfile::tempdir().unwrap());
    let at = folder.path().join("crls");
    let refresher = Refresher::kept_in(at.clone());
    assert_eq!(round(&refresher, Ok(list(&hand.between, 7, 10))).await, (vec![], vec![]), "nobody was met");
    refresher.note(&chain(&hand), now());
    let first = list(&hand.between, 7, 10);
    let there = |list: &Vec<u8>| (vec![ADDRESS.to_owned()], vec![list.clone()]);
    assert_eq!(round(&refresher, Ok(first.clone())).await, there(&first));
    // What changes nothing: no answer, no list, another's, a stranger's of the same name, one from before, one that is not due or out of date.
    let stranger = Hand::new();
    for (what, bad) in [
        ("no answer", Err("silent".to_owned())),
        ("no list", Ok(b"<html>".to_vec())),
        ("cut", Ok(first.get(..first.len() / 2).unwrap().to_vec())),
        ("of another issuer", Ok(list(&hand.root, 9, 20))),
        ("a stranger's", Ok(list(&stranger.between, 9, 20))),
        ("a lower number", Ok(list(&hand.between, 6, 20))),
        ("an earlier time", Ok(list(&hand.between, 9, 9))),
    ] {
        assert_eq!(round(&refresher, bad).await, there(&first), "{what}");
    }
    let next = list(&hand.between, 300, 20);
    assert_eq!(round(&refresher, Ok(next.clone())).await, there(&next));
    // After a restart it is there, and where it is from is known.
    drop(refresher);
    let again = Refresher::kept_in(at);
    assert_eq!(round(&again, Ok(first)).await, there(&next));
}

#[tokio::test]
async fn a_signature_that_counts_has_its_lists_fetched_and_a_strangers_has_not() {
    let (hand, stranger, folder) = (hand_at(ADDRESS), hand_at("http://evil.example/x.crl"), tempfile::tempdir().unwrap());
    let refresher = Refresher::kept_in(folder.path().join("crls"));
    let notation = hand.notation(STRICT).refreshed(Some(Arc::clone(&refresher)));
    assert!(notation.of_both(&stranger.writing()).is_err());
    assert_eq!(round(&refresher, Err(String::new())).await.0, [""; 0]);
    // It is refused, for nobody knows whether it is revoked; then the list is fetched.
    assert!(matches!(notation.of_both(&hand.writing()), Err(Unfit::Unchecked { .. })));
    assert_eq!(round(&refresher, Err(String::new())).await.0, [ADDRESS]);
}

#[tokio::test]
async fn nobody_sends_the_gate_to_this_host() {
    let here = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    here.set_nonblocking(true).unwrap();
    let url = format!("http://{}/x.crl", here.local_addr().unwrap()).parse().unwrap();
    assert!(refresh::fetched(&refresh::client().unwrap(), &url).await.is_err());
    assert!(here.accept().is_err(), "it was asked");
}

/// What a gate reads of the folder, as setup does.
fn read(refresher: &Refresher) -> Crls {
    let files = std::fs::read_dir(refresher.folder()).unwrap().map(|entry| entry.unwrap().path());
    let lists = files.filter(|path| path.extension().is_some_and(|ending| ending == "crl"));
    lists.fold(Crls::default(), |crls, path| crls.and(Crls::of_one(&std::fs::read(path).unwrap()).unwrap()))
}

/// Who is on the way has no key, and may write around what the authority signed.
#[tokio::test]
async fn what_is_kept_is_what_was_judged_whatever_stands_around_it() {
    let (hand, folder) = (hand_at(ADDRESS), tempfile::tempdir().unwrap());
    let refresher = Refresher::kept_in(folder.path().join("crls"));
    refresher.note(&chain(&hand), now());
    let list = |number| list_of(&hand.between, number, (10, 60), &[hand.leaf.certificate.serial()]);
    let (same, next) = (list(7), list(8));
    let is_revoked = || {
        let crls = read(&refresher);
        let refused = notation(PERMISSIVE, r#""ca:acme""#, "*", &[("ca:acme", &hand.root)], crls).of_both(&hand.writing());
        matches!(refused, Err(Unfit::Revoked { .. }))
    };
    for (came, due) in [
        (same.clone(), &same),
        ([&b"\xff\n"[..], pem("X509 CRL", &same).as_bytes()].concat(), &same),
        ([pem("X509 CRL", &same).as_bytes(), b"\xff"].concat(), &same),
        ([&b"\xff\n"[..], pem("X509 CRL", &next).as_bytes()].concat(), &next),
    ] {
        assert_eq!(round(&refresher, Ok(came)).await.1, std::slice::from_ref(due));
        assert!(is_revoked());
    }
    // Two are not one, and nothing behind a list is passed over.
    for odd in [pem("X509 CRL", &next).repeat(2).into_bytes(), [&next[..], b"x"].concat()] {
        assert_eq!(round(&refresher, Ok(odd)).await.1, std::slice::from_ref(&next));
    }
}

#[tokio::test]
async fn no_older_list_comes_back_while_the_newer_one_cannot_be_read_or_is_damaged_or_gone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (hand, folder) = (hand_at(ADDRESS), tempfile::tempdir().unwrap());
    let at = folder.path().join("crls");
    let refresher = Refresher::kept_in(at.clone());
    refresher.note(&chain(&hand), now());
    let (newer, older) = (list(&hand.between, 7, 10), list(&hand.between, 6, 9));
    round(&refresher, Ok(newer.clone())).await;
    let files = || std::fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().path());
    let file = files().find(|path| path.extension().is_some_and(|ending| ending == "crl")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o622)).unwrap();
    for list in [&older, &self::list(&hand.between, 8, 12)] {
        assert_eq!(round(&refresher, Ok(list.clone())).await.1, std::slice::from_ref(&newer), "it cannot be read");
    }
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    // Also after a restart: which was the newest is known beside it.
    for again in [Arc::clone(&refresher), Refresher::kept_in(at.clone())] {
        std::fs::write(&file, "damaged").unwrap();
        assert_eq!(round(&again, Ok(older.clone())).await.1, [b"damaged"]);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(round(&again, Ok(older.clone())).await.1, [b""; 0]);
        assert_eq!(round(&again, Ok(newer.clone())).await.1, std::slice::from_ref(&newer));
    }
}

#[tokio::test]
async fn a_list_is_fetched_again_by_what_is_left_of_it() {
    let (hand, folder) = (hand_at(ADDRESS), tempfile::tempdir().unwrap());
    let refresher = Refresher::kept_in(folder.path().join("crls"));
    refresher.note(&chain(&hand), now());
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let mut number = 0;
    for (left, first, again) in [(30, 15, 15), (1, 1, 1), (6 * 60, 3 * 60, 15), (30 * 24 * 60, 4 * 60, 4 * 60)] {
        number += 1;
        let list = list_of(&hand.between, number, (24, left), &[]);
        for expected in [first, again] {
            round(&refresher, Ok(list.clone())).await;
            let next = refresher.next().unwrap();
            assert!(next <= minutes(expected) && next + Duration::from_secs(10) > minutes(expected), "{left}: {next:?}");
        }
    }
}

/// Others whom the same authority has certified do not choose what is fetched, nor do those that answer nothing keep their place.
#[tokio::test]
async fn addresses_of_those_who_do_not_count_are_not_noted_and_a_removed_authority_ends_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (hand, at) = (hand_at(ADDRESS), folder.path().join("crls"));
    let refresher = Refresher::kept_in(at.clone());
    let named = hand.of(STRICT, r#""ca:acme""#, "x509.subject: C=US, ST=WA, O=acme").refreshed(Some(Arc::clone(&refresher)));
    for other in 0..40 {
        let mut params = self::named(signer(), &[(DnType::CountryName, "US"), (DnType::OrganizationName, "b")]);
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![format!("http://b{other}.example/x.crl")] }];
        let leaf = hand.between.issue(params);
        let chain =
            vec![leaf.certificate.der().to_vec(), hand.between.certificate.der().to_vec(), hand.root.certificate.der().to_vec()];
        let refused = named.of_both(&Writing { key: &leaf.key, chain, ..hand.writing() });
        assert!(matches!(refused, Err(Unfit::Identity { .. })));
    }
    assert!(matches!(named.of_both(&hand.writing()), Err(Unfit::Unchecked { .. })));
    let good = list(&hand.between, 7, 10);
    assert_eq!(round(&refresher, Ok(good.clone())).await, (vec![ADDRESS.to_owned()], vec![good.clone()]));
    // Where the policy does not look at revocation nothing is fetched for it.
    let skipping = hand_at("http://other.example/x.crl");
    let skips = r#"{"level":"strict","override":{"revocation":"skip"}}"#;
    assert!(skipping.notation(skips).refreshed(Some(Arc::clone(&refresher))).of_both(&skipping.writing()).is_ok());
    // The authority stays, beside another; then it is taken out of the store, also where the gate begins anew meanwhile.
    let held = |made: &Made| Digest::of(made.certificate.der());
    refresher.trusts([held(&hand.root), held(&skipping.root)].into());
    assert_eq!(round(&refresher, Ok(good.clone())).await, (vec![ADDRESS.to_owned()], vec![good]));
    let again = Refresher::kept_in(at.clone());
    again.trusts([held(&skipping.root)].into());
    assert_eq!(round(&again, Err(String::new())).await, (vec![], vec![]));
    assert_eq!(round(&Refresher::kept_in(at), Err(String::new())).await, (vec![], vec![]), "its address is forgotten");
}

/// Of an authority whose key was lost no timestamp counts: its list is fetched as the signer's is.
#[tokio::test]
async fn the_lists_of_timestamps_authorities_are_fetched() {
    const STAMPS: &str = "http://clock.example/x.crl";
    let (hand, folder) = (Hand::new(), tempfile::tempdir().unwrap());
    let stamps = Made::root(authority("clock", (2020, 2040), None));
    let mut params = leaf("stamper", (2020, 2035), &[TIME_STAMPING], true);
    params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![STAMPS.to_owned()] }];
    let stamper = stamps.issue(params);
    let refresher = Refresher::kept_in(folder.path().join("crls"));
    let of = |crls| {
        let files = [("ca:acme", &hand.root), ("tsa:clock", &stamps)];
        let notation = notation(STRICT, r#""ca:acme","tsa:clock""#, "*", &files, crls);
        notation.refreshed(Some(Arc::clone(&refresher)))
    };
    let plain = hand.writing().jws();
    let message = jws::read(&plain).unwrap().signature;
    let embedded = vec![&stamper.certificate];
    let token = Stamping { signer: &stamper, message: &message, at: "20261101000000Z", embedded, wrong: Wrong::Nothing }.token();
    let mut body: Value = serde_json::from_slice(&plain).unwrap();
    body["header"][envelope::TIMESTAMP] = json!(STANDARD.encode(token));
    let end = |crls| of(crls).judge(&app(), &artifact(), Kind::Jws, body.to_string().as_bytes(), now());
    assert!(matches!(end(Crls::default()), Err(Unfit::Unchecked { .. })));
    assert_eq!(round(&refresher, Ok(list(&stamps, 1, 10))).await.0, [STAMPS]);
    assert!(end(read(&refresher)).is_ok());
    round(&refresher, Ok(list_of(&stamps, 2, (20, 60), &[stamper.certificate.serial()]))).await;
    assert!(matches!(end(read(&refresher)), Err(Unfit::Revoked { .. })));
}

#[tokio::test]
async fn addresses_are_few_and_plain() {
    let folder = tempfile::tempdir().unwrap();
    let refresher = Refresher::kept_in(folder.path().join("crls"));
    for odd in [
        "ldap://ca.example/x",
        "file:///etc/shadow",
        "http://user:word@ca.example/x.crl",
        "https://ca.example/x.crl#y",
        "http://ca.example:2375/containers/json",
        "https://ca.example:80443/x.crl",
        &format!("http://ca.example/{}", "x".repeat(600)),
    ] {
        refresher.note(&chain(&hand_at(odd)), now());
    }
    assert_eq!(round(&refresher, Err(String::new())).await.0, [""; 0]);
    // The first that can be asked, of all that are named.
    let mut params = signer();
    params.crl_distribution_points = vec![
        CrlDistributionPoint { uris: vec!["ldap:///CN=ca".to_owned()] },
        CrlDistributionPoint { uris: vec!["ldap://ca.example/x".to_owned(), "http://first.example/x.crl".to_owned()] },
        CrlDistributionPoint { uris: vec!["http://second.example/x.crl".to_owned()] },
    ];
    refresher.note(&chain(&Hand::with(params)), now());
    assert_eq!(round(&refresher, Err(String::new())).await.0, ["http://first.example/x.crl"]);
}

#[tokio::test]
async fn what_never_gave_a_list_makes_place_and_what_gave_one_stays_for_a_month() {
    let folder = tempfile::tempdir().unwrap();
    let refresher = Refresher::kept_in(folder.path().join("crls"));
    let good = hand_at(ADDRESS);
    refresher.note(&chain(&good), now());
    let list = list(&good.between, 7, 10);
    round(&refresher, Ok(list.clone())).await;
    let other = Hand::new();
    let note = |address: &str, at: Timestamp| {
        let mut params = signer();
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![address.to_owned()] }];
        let leaf = other.between.issue(params).certificate;
        refresher.note(&[leaf, other.between.certificate.clone(), other.root.certificate.clone()], at);
    };
    for server in 0..20 {
        for list in 0..6 {
            note(&format!("http://ca{server}.example/{list}.crl"), now());
        }
    }
    let (asked, lists) = round(&refresher, Err(String::new())).await;
    let servers: std::collections::BTreeSet<_> = asked.iter().filter_map(|url| url.split('/').nth(2)).collect();
    assert!(asked.len() <= 32 && servers.len() <= 8, "{servers:?}");
    assert!(asked.contains(&ADDRESS.to_owned()) && asked.contains(&"http://ca19.example/5.crl".to_owned()), "{asked:?}");
    assert_eq!(lists, [list]);
    // Nobody has named it for long, and place is needed: it goes, with its list.
    let later = now() + jiff::SignedDuration::from_hours(31 * 24);
    for server in 0..20 {
        note(&format!("http://later{server}.example/x.crl"), later);
    }
    let (asked, lists) = round(&refresher, Err(String::new())).await;
    assert!(asked.len() <= 8 && asked.contains(&"http://later19.example/x.crl".to_owned()), "{asked:?}");
    assert!(asked.contains(&ADDRESS.to_owned()) && lists.len() == 1, "those that never gave one go first");
}
