//! Lists of revoked certificates that are fetched: what may take the place of what.

use std::sync::Mutex;

use rcgen::{CertificateRevocationListParams, CrlDistributionPoint, Issuer, KeyIdMethod, SerialNumber, date_time_ymd};

use super::*;
use crate::trust::notation::{Refresher, refresh};

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
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 11, november),
        next_update: date_time_ymd(2026, 12, 20),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: vec![],
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
    refresher.note(&chain(&hand));
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

#[tokio::test]
async fn addresses_are_few_and_plain() {
    let folder = tempfile::tempdir().unwrap();
    let refresher = Refresher::kept_in(folder.path().join("crls"));
    for odd in [
        "ldap://ca.example/x",
        "file:///etc/shadow",
        "http://user:word@ca.example/x.crl",
        "https://ca.example/x.crl#y",
        &format!("http://ca.example/{}", "x".repeat(600)),
    ] {
        refresher.note(&chain(&hand_at(odd)));
    }
    assert_eq!(round(&refresher, Err(String::new())).await.0, [""; 0]);
    let hand = Hand::new();
    for server in 0..20 {
        for list in 0..6 {
            refresher.note_address(&format!("http://ca{server}.example/{list}.crl"), &hand.between.certificate);
        }
    }
    let asked = round(&refresher, Err(String::new())).await.0;
    assert_eq!(asked.len(), 32);
    let servers: std::collections::BTreeSet<_> = asked.iter().filter_map(|url| url.split('/').nth(2)).collect();
    assert!(servers.len() <= 8, "{servers:?}");
}
