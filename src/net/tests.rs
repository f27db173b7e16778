use std::io::Write as _;

use super::*;

fn gz(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn gzip_is_undone_up_to_its_bound() {
    let packed = gz(&[b' '; 1000]);
    assert_eq!(gunzip(&packed, 1000, "h").unwrap().len(), 1000);
    assert!(matches!(gunzip(&packed, 999, "h"), Err(NetError::TooLarge { .. })));
    let mut behind = packed.clone();
    behind.push(0);
    assert!(matches!(gunzip(&behind, 1000, "h"), Err(NetError::Bad(_))));
    assert!(matches!(gunzip(packed.get(..20).unwrap(), 1000, "h"), Err(NetError::Bad(_))));
}

#[test]
fn a_url_is_shown_without_its_password() {
    for (url, shown) in [
        ("https://user:p@ss@host:1/path@x?y", "https://host:1/path@x?y"),
        ("https://host/path", "https://host/path"),
        ("user:pass@host", "host"),
        ("://x", "x"),
        ("", ""),
    ] {
        assert_eq!(without_user(url), shown);
    }
}

#[test]
fn a_pem_may_be_quoted_and_must_hold_a_certificate() {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let pem = key.cert.pem();
    assert!(Tls::only(&format!(" '\n{pem}\n' ")).and_then(|tls| Client::new(&tls)).is_ok());
    assert!(matches!(Tls::only("\"\""), Err(NetError::Bad(_))));
    assert!(matches!(Tls::only("-----BEGIN CERTIFICATE-----\nAA"), Err(NetError::Bad(_))));
}
