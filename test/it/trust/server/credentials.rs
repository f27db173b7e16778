//! Credentials, and token services.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use img_authz::net::auth::DockerConfig;
use img_authz::trust::TrustCode;
use serde_json::json;

use crate::support::trust_server::{Reply, Server, basic, code, guarded, gzip, pull};

#[test]
fn a_token_service_that_misbehaves_is_refused_in_time() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (what, reply) in [
        ("stall", (|| Reply::Stall) as fn() -> Reply),
        ("drops", || Reply::Drip("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", " ")),
        ("a body without end", || Reply::Endless(CHUNKED, format!("10000\r\n{}\r\n", " ".repeat(0x10000)))),
        ("a head without end", || Reply::Endless("HTTP/1.1 200 OK\r\n", format!("x: {}\r\n", "y".repeat(1000)))),
        ("a gzip bomb", || Reply::Status(200, vec![("content-encoding", "gzip".to_owned())], gzip(&vec![b' '; 64 << 20]))),
        ("a token that is too long", || Reply::File(json!({ "token": "t".repeat(100_000) }).to_string().into_bytes())),
        ("an error", || Reply::Status(500, Vec::new(), Vec::new())),
        ("another challenge", || Reply::Status(401, vec![("www-authenticate", "Basic realm=x".to_owned())], Vec::new())),
        ("close", || Reply::Close),
    ] {
        let tokens = Server::start(move |_| reply());
        let server = guarded(format!("Bearer realm=\"{}/token\"", tokens.url), "Bearer never".into());
        let started = Instant::now();
        let answer = pull(&server, |config| {
            config.credentials = docker_config();
            config.network_time = Duration::from_millis(1500);
        });
        let expected = [TrustCode::Unreachable, TrustCode::Busy, TrustCode::Unauthorized, TrustCode::Invalid];
        assert!(code(&answer).is_some_and(|code| expected.contains(&code)), "{what}: {answer:?}");
        assert!(started.elapsed() < Duration::from_secs(4), "{what} took {:?}", started.elapsed());
    }
}

fn docker_config() -> DockerConfig {
    let auth = base64::engine::general_purpose::STANDARD.encode("rig:secret");
    DockerConfig::read(&json!({ "auths": { "reg.example:5000": { "auth": auth } } }).to_string()).unwrap()
}

#[test]
fn credentials_go_to_the_token_service_that_is_named_and_nowhere_else() {
    let tokens = Server::start(|seen| {
        let authorized = seen.headers.get("authorization") == Some(&basic());
        let scoped =
            seen.path.contains("scope=repository%3Areg.example%3A5000%2Fteam%2Fapp%3Apull") && seen.path.contains("service=rig");
        if authorized && scoped {
            Reply::File(json!({ "token": "no", "access_token": "tok", "expires_in": 300 }).to_string().into_bytes())
        } else {
            Reply::Status(401, Vec::new(), Vec::new())
        }
    });
    let server = guarded(
        format!("Bearer realm=\"{}/token\",service=\"rig\",scope=\"registry:catalog:*\"", tokens.url),
        "Bearer tok".into(),
    );
    assert!(pull(&server, |config| config.credentials = docker_config()).is_ok());
    assert_eq!(tokens.count(), 1, "one token for all files");
    assert!(server.seen.lock().unwrap().iter().all(|seen| seen.headers.get("authorization") != Some(&basic())));
    // Without credentials: the service is asked anonymously, and says no.
    assert_eq!(code(&pull(&server, |_| ())), Some(TrustCode::Unauthorized));
    // With those of another host.
    let other =
        DockerConfig::read(&json!({ "auths": { "other.example": { "username": "rig", "password": "secret" } } }).to_string())
            .unwrap();
    let before = tokens.count();
    assert_eq!(code(&pull(&server, |config| config.credentials = other)), Some(TrustCode::Unauthorized));
    assert!(tokens.seen.lock().unwrap().iter().skip(before).all(|seen| !seen.headers.contains_key("authorization")));
}

#[test]
fn credentials_never_go_where_they_do_not_belong() {
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let plain_url = format!("http://localhost:{}/token", plain.local_addr().unwrap().port());
    plain.set_nonblocking(true).unwrap();
    let thief = Arc::new(Server::start(|_| Reply::File(json!({ "token": "tok" }).to_string().into_bytes())));
    let thief_url = thief.url.clone();
    let redirecting = Server::start(move |_| Reply::Status(307, vec![("location", format!("{thief_url}/token"))], Vec::new()));
    for (challenge, expected) in [
        (format!("Bearer realm=\"{plain_url}\",service=\"rig\""), TrustCode::Unauthorized),
        ("Bearer realm=\"\"".to_owned(), TrustCode::Unauthorized),
        ("Bearer realm=\"/token\"".to_owned(), TrustCode::Unauthorized),
        ("Bearer service=\"rig\"".to_owned(), TrustCode::Unauthorized),
        ("Bearer realm=\"https://user:pass@localhost:1/\"".to_owned(), TrustCode::Unauthorized),
        ("Bearer realm=\"file:///etc/passwd\"".to_owned(), TrustCode::Unauthorized),
        ("Negotiate".to_owned(), TrustCode::Unauthorized),
        ("Digest realm=\"x\"".to_owned(), TrustCode::Unauthorized),
        ("\"".to_owned(), TrustCode::Unauthorized),
        (String::new(), TrustCode::Unauthorized),
        (format!("Bearer realm=\"{}/token\"", redirecting.url), TrustCode::Unreachable),
    ] {
        let server = guarded(challenge.clone(), "Bearer never".into());
        let answer = pull(&server, |config| config.credentials = docker_config());
        assert_eq!(code(&answer), Some(expected), "{challenge}: {answer:?}");
        assert!(server.seen.lock().unwrap().iter().all(|seen| !seen.headers.contains_key("authorization")), "{challenge}");
    }
    assert!(plain.accept().is_err(), "a connection to the plain HTTP service");
    assert_eq!(thief.count(), 0);
    // A token service that answers nonsense.
    for nonsense in ["", "{}", "[]", "{\"token\":\"\"}", "{\"token\":1}", "{\"token\":\"a\\r\\nx: y\"}"] {
        let tokens = Server::start(move |_| Reply::File(nonsense.as_bytes().to_vec()));
        let server = guarded(format!("Bearer realm=\"{}\"", tokens.url), "Bearer never".into());
        assert_eq!(
            code(&pull(&server, |config| config.credentials = docker_config())),
            Some(TrustCode::Unauthorized),
            "{nonsense}"
        );
    }
}

#[test]
fn basic_challenges_are_answered_by_https() {
    let server = guarded("Basic realm=\"notary\"".into(), basic());
    assert!(pull(&server, |config| config.credentials = docker_config()).is_ok());
    assert_eq!(code(&pull(&server, |_| ())), Some(TrustCode::Unauthorized));
}
