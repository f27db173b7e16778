//! What the verifier makes of a server's answers, good and otherwise.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use img_authz::net::Tls;
use img_authz::trust::notary::{Config, Notary};
use img_authz::trust::{Purpose, TrustCode};

use crate::support::trust_repo::*;
use crate::support::trust_server::{Client, Reply, Server, code, file, good, gzip, pull, self_signed};

#[test]
fn a_good_server_is_believed_and_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::files(good());
    let client = Client::new(&server, folder.path(), |_| ());
    let vouch = client.ask(Purpose::Pull).unwrap();
    assert_eq!(vouch.digest().to_string(), digest("one"));
    assert_eq!((vouch.role(), vouch.signers()), ("targets/releases", &["alice".to_owned()][..]));
    assert_eq!(server.count(), 6);
    client.ask(Purpose::Pull).unwrap();
    // Nothing is new: the timestamp alone is asked for.
    assert_eq!(server.count(), 7);
    assert_eq!(server.connections.load(Ordering::SeqCst), 1, "the connection is kept");
    // A new process knows what the old one knew.
    Client::new(&server, folder.path(), |_| ()).ask(Purpose::Pull).unwrap();
    assert_eq!(server.count(), 8);
}

#[test]
fn gzip_is_undone_and_bounded() {
    static BOMB: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| gzip(&vec![b' '; 64 << 20]));
    let files = good();
    let packed = |level: fn(&[u8]) -> Vec<u8>| {
        let files = files.clone();
        Server::start(move |seen| match file(&files, seen) {
            Reply::File(body) => Reply::Status(200, vec![("content-encoding", "gzip".into())], level(&body)),
            other => other,
        })
    };
    assert!(pull(&packed(gzip), |_| ()).is_ok());
    std::sync::LazyLock::force(&BOMB);
    let bomb = packed(|_| BOMB.clone());
    assert_eq!(code(&pull(&bomb, |_| ())), Some(TrustCode::Invalid));
    let behind = packed(|body| [gzip(body), vec![0]].concat());
    assert_eq!(code(&pull(&behind, |_| ())), Some(TrustCode::Invalid));
    let plain = packed(<[u8]>::to_vec);
    assert_eq!(code(&pull(&plain, |_| ())), Some(TrustCode::Invalid));
}

#[test]
fn a_server_that_misbehaves_is_refused_in_time() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let body = || Reply::Endless(CHUNKED, format!("10000\r\n{}\r\n", " ".repeat(0x10000)));
    for (what, role, reply, expected) in [
        (
            "a body by drops",
            "timestamp",
            (|| Reply::Drip("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", " ")) as fn() -> Reply,
            TrustCode::Busy,
        ),
        ("a head by drops", "timestamp", || Reply::Drip("HTTP/1.1 200 OK\r\nx: ", "y"), TrustCode::Unreachable),
        ("chunks by drops", "timestamp", || Reply::Drip(CHUNKED, "1\r\n \r\n"), TrustCode::Busy),
        ("stall", "root", || Reply::Stall, TrustCode::Unreachable),
        ("stall", "timestamp", || Reply::Stall, TrustCode::Unreachable),
        (
            "a head without end",
            "timestamp",
            || Reply::Endless("HTTP/1.1 200 OK\r\n", format!("x: {}\r\n", "y".repeat(1000))),
            TrustCode::Unreachable,
        ),
        (
            "one header without end",
            "timestamp",
            || Reply::Endless("HTTP/1.1 200 OK\r\nx: ", "y".repeat(1000)),
            TrustCode::Unreachable,
        ),
        (
            "provisional answers without end",
            "timestamp",
            || Reply::Endless("", "HTTP/1.1 103 Early\r\nlink: x\r\n\r\n".repeat(100)),
            TrustCode::Unreachable,
        ),
        ("a body without end", "timestamp", body, TrustCode::Invalid),
        ("a body without end", "snapshot", body, TrustCode::Invalid),
        ("a body without end", "root", body, TrustCode::Invalid),
        (
            "a chunk's extension without end",
            "timestamp",
            || Reply::Endless(CHUNKED, "1;x=".to_owned() + &"y".repeat(1000)),
            TrustCode::Busy,
        ),
        (
            "trailers without end",
            "timestamp",
            || {
                Reply::Endless(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
                    format!("x: {}\r\n", "y".repeat(1000)),
                )
            },
            TrustCode::Busy,
        ),
        ("close", "timestamp", || Reply::Close, TrustCode::Unreachable),
        ("cut short", "timestamp", || Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{".to_vec()), TrustCode::Busy),
        ("garbage", "timestamp", || Reply::Raw(b"220 smtp ready\r\n\r\n".to_vec()), TrustCode::Unreachable),
        (
            "a length beyond measure",
            "timestamp",
            || Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec()),
            TrustCode::Invalid,
        ),
        ("an error", "timestamp", || Reply::Status(500, Vec::new(), Vec::new()), TrustCode::Unreachable),
        ("busy", "timestamp", || Reply::Status(429, Vec::new(), Vec::new()), TrustCode::Busy),
        ("forbidden", "timestamp", || Reply::Status(403, Vec::new(), Vec::new()), TrustCode::Unauthorized),
        (
            "another protocol",
            "timestamp",
            || Reply::Status(101, vec![("upgrade", "h2c".to_owned())], Vec::new()),
            TrustCode::Unreachable,
        ),
        (
            "two lengths",
            "timestamp",
            || Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}".to_vec()),
            TrustCode::Unreachable,
        ),
        ("no content", "timestamp", || Reply::Status(204, Vec::new(), Vec::new()), TrustCode::Unreachable),
        ("another kind of page", "timestamp", || Reply::Status(200, Vec::new(), b"<html></html>".to_vec()), TrustCode::Invalid),
        ("an empty page", "timestamp", || Reply::Status(200, Vec::new(), Vec::new()), TrustCode::Invalid),
        ("no timestamp", "timestamp", || Reply::Status(404, Vec::new(), Vec::new()), TrustCode::Invalid),
        ("no snapshot", "snapshot", || Reply::Status(404, Vec::new(), Vec::new()), TrustCode::Invalid),
        ("no root", "root", || Reply::Status(404, Vec::new(), Vec::new()), TrustCode::NoTrustData),
    ] {
        let files = good();
        let server =
            Server::start(move |seen| if seen.path.contains(&format!("/tuf/{role}.")) { reply() } else { file(&files, seen) });
        let started = Instant::now();
        let answer = pull(&server, |config| config.network_time = Duration::from_millis(1500));
        // Where the root came, the server is there, and a timestamp that does not come is slow. On a machine that is slow, the
        // question that stalls began too late to tell.
        let is_slow = ["stall", "a head by drops", "provisional answers without end"].contains(&what);
        let expected = if is_slow && code(&answer) == Some(TrustCode::Busy) { TrustCode::Busy } else { expected };
        assert_eq!(code(&answer), Some(expected), "{what}: {role}: {answer:?}");
        assert!(started.elapsed() < Duration::from_secs(4), "{what}: {role} took {:?}", started.elapsed());
    }
}

#[test]
fn a_busy_server_is_asked_again() {
    let files = good();
    let tries = Mutex::new(0);
    let server = Server::start(move |seen| {
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        if *tries < 3 { Reply::Status(503, Vec::new(), Vec::new()) } else { file(&files, seen) }
    });
    assert!(pull(&server, |_| ()).is_ok());
}

#[test]
fn heads_that_no_server_should_send_are_refused() {
    let ask = |head: String, body: Vec<u8>| {
        let files = good();
        let server = Server::start(move |seen| {
            if seen.path.ends_with("/timestamp.json") {
                Reply::Raw([head.as_bytes(), &body].concat())
            } else {
                file(&files, seen)
            }
        });
        pull(&server, |config| config.network_time = Duration::from_millis(1500))
    };
    let body = good()["timestamp.json"].clone();
    let length = body.len();
    // The fakes: one length, chunks, or all until the connection ends.
    let chunked = [format!("{length:x}\r\n").into_bytes(), body.clone(), b"\r\n0\r\n\r\n".to_vec()].concat();
    assert!(ask(format!("HTTP/1.1 200\r\ncontent-length: {length}\r\n\r\n"), body.clone()).is_ok());
    assert!(ask("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(), chunked.clone()).is_ok());
    assert!(ask("HTTP/1.0 200 OK\r\n\r\n".to_owned(), body.clone()).is_ok());
    for head in [
        "content-length: -1",
        "content-length: 1e3",
        "content-length: +5",
        "content-length: 99999999999999999999999",
        "content-length: 0x10",
        "content-length: 1\r\ncontent-length: 2",
        "content-length 5",
        "no colon",
        "a\0b: c",
        "transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        "transfer-encoding: chunked\r\n\r\n-1\r\n",
        "transfer-encoding: chunked\r\n\r\n5;\n",
        "content-encoding: br",
        "content-encoding: gzip, gzip",
        "content-encoding: gzip\r\ncontent-encoding: gzip",
        "content-encoding: gzip",
        "content-range: bytes 0-1/2\r\ncontent-length: 1",
    ] {
        let answer = ask(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n"), body.clone());
        assert!(
            matches!(code(&answer), Some(TrustCode::Unreachable | TrustCode::Invalid | TrustCode::Busy)),
            "{head}: {answer:?}"
        );
    }
    for line in
        ["HTTP/1.1 99 X", "HTTP/1.1 1000 X", "HTTP/1.1 abc X", "HTTP/9.9 200 OK", "HTTP/2 200", "ICY 200 OK", "200 OK", ""]
    {
        let answer = ask(format!("{line}\r\ncontent-length: {length}\r\n\r\n"), body.clone());
        assert_eq!(code(&answer), Some(TrustCode::Unreachable), "{line}: {answer:?}");
    }
    for status in [201, 202, 203, 206, 304, 400, 405, 410, 418, 451, 505, 511, 999] {
        let answer = ask(format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n"), body.clone());
        assert_eq!(code(&answer), Some(TrustCode::Unreachable), "{status}: {answer:?}");
    }
}

#[test]
fn a_server_that_wants_rest_gets_it_or_is_left_alone() {
    let busy = |status: u16, rest: &'static str| {
        let (files, tries) = (good(), Mutex::new(0));
        Server::start(move |seen| {
            let mut tries = tries.lock().unwrap();
            *tries += 1;
            if *tries > 1 {
                file(&files, seen)
            } else {
                Reply::Status(status, vec![("retry-after", rest.to_owned())], Vec::new())
            }
        })
    };
    for status in [429, 503] {
        let (server, started) = (busy(status, "1"), Instant::now());
        assert!(pull(&server, |_| ()).is_ok());
        assert!(started.elapsed() >= Duration::from_secs(1), "{status}: it was asked again after {:?}", started.elapsed());
        // Longer than there is time for: no second try, and it says so.
        let (server, started) = (busy(status, "60"), Instant::now());
        let error = pull(&server, |_| ()).unwrap_err();
        assert_eq!(error.code, TrustCode::Busy);
        assert!(error.to_string().contains(&format!("status {status}")) && error.to_string().contains("60s"), "{error}");
        assert!(server.count() == 1 && started.elapsed() < Duration::from_secs(1));
        // A date, or nonsense, is no number of seconds: the usual wait.
        assert!(pull(&busy(status, "soon"), |_| ()).is_ok());
        assert_eq!(code(&pull(&busy(status, "18446744073709551615"), |_| ())), Some(TrustCode::Busy));
    }
}

#[test]
fn redirects_are_not_followed() {
    let elsewhere = Arc::new(Server::files(good()));
    for status in [301, 302, 303, 307, 308] {
        let target = elsewhere.url.clone();
        let server =
            Server::start(move |seen| Reply::Status(status, vec![("location", format!("{target}{}", seen.path))], Vec::new()));
        assert_eq!(code(&pull(&server, |_| ())), Some(TrustCode::Unreachable), "{status}");
    }
    assert_eq!(elsewhere.count(), 0);
}

#[test]
fn a_server_of_another_ca_and_plain_http_are_told_apart() {
    let server = Server::files(good());
    let other = Authority::new(Authority::params("other CA")).pem;
    assert_eq!(code(&pull(&server, |config| config.tls = Tls::only(&other).unwrap())), Some(TrustCode::CaRefused));
    assert_eq!(code(&pull(&server, |config| config.source = "https://localhost:1".into())), Some(TrustCode::Unreachable));
    let config = Config::new(server.url.replace("https", "http"), "/nowhere");
    assert_eq!(Notary::new(config).unwrap_err().code, TrustCode::Misconfigured);
}

#[test]
fn a_self_signed_certificate_counts_where_it_is_the_one_given() {
    let start = |name: &str, until| Server::start_as(self_signed(name, until), |seen| file(&good(), seen));
    let server = start("localhost", 2099);
    assert!(pull(&server, |_| ()).is_ok());
    let other = self_signed("localhost", 2099).0;
    assert_eq!(code(&pull(&server, |config| config.tls = Tls::only(&other).unwrap())), Some(TrustCode::CaRefused));
    assert_eq!(code(&pull(&start("elsewhere", 2099), |_| ())), Some(TrustCode::Unreachable));
    assert_eq!(code(&pull(&start("localhost", 2021), |_| ())), Some(TrustCode::Unreachable));
}
