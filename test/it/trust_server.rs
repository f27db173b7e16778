//! The verifier against a server that lies, stalls or asks for credentials; over real TLS on loopback.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use img_authz::image::{Repository, Tag};
use img_authz::net::Tls;
use img_authz::net::auth::DockerConfig;
use img_authz::trust::notary::{Config, Notary, OnOutage, RootHistory, Source};
use img_authz::trust::{Asking, Freshness, Purpose, Question, TrustCode, TrustError, Verifier as _, Vouch};
use jiff::Timestamp;
use serde_json::json;

use crate::trust_repo::*;

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    /// Whether a client certificate was shown.
    pub certified: bool,
}

impl Seen {
    /// Everything that could hold a secret.
    pub fn text(&self) -> String {
        format!("{} {:?} {}", self.path, self.headers, self.body)
    }
}

/// What the server does.
pub enum Reply {
    File(Vec<u8>),
    Status(u16, Vec<(&'static str, String)>, Vec<u8>),
    Raw(Vec<u8>),
    /// This, and then this again and again, as fast as it is taken.
    Endless(&'static str, String),
    /// This, and then this again and again, a little at a time.
    Drip(&'static str, &'static str),
    /// Nothing, for a while.
    Stall,
    Close,
}

pub struct Server {
    pub url: String,
    pub ca: String,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    /// Connections that were made.
    pub connections: Arc<AtomicUsize>,
}

type Handler = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// A name of the server that only a proxy finds: loopback is never asked by way of one.
pub const ELSEWHERE: &str = "notary.test";

/// A CA, and what it issued for localhost; one for the whole test run.
struct Issued {
    ca: Authority,
    leaf: rustls::pki_types::CertificateDer<'static>,
    pair: rcgen::KeyPair,
}

static ISSUED: std::sync::LazyLock<Issued> = std::sync::LazyLock::new(|| {
    let ca = Authority::new(Authority::params("test CA"));
    let pair = rcgen::KeyPair::generate().unwrap();
    let mut params =
        rcgen::CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned(), ELSEWHERE.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    let leaf = params.signed_by(&pair, &rcgen::Issuer::from_params(&ca.params, &ca.pair)).unwrap().der().clone();
    Issued { ca, leaf, pair }
});

/// What a server does about client certificates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Certificates {
    Unasked,
    Welcome,
    Required,
}

fn identity(certificates: Certificates) -> (String, Arc<rustls::ServerConfig>) {
    (ISSUED.ca.pem.clone(), server_config(ISSUED.leaf.clone(), &ISSUED.pair, certificates))
}

/// A client certificate of the CA and its key, in PEM.
pub fn client_certificate() -> (String, String) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let mut params = params("a client");
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = params.signed_by(&pair, &rcgen::Issuer::from_params(&ISSUED.ca.params, &ISSUED.ca.pair)).unwrap();
    (pem(leaf.der()), pair.serialize_pem())
}

/// A self-signed certificate that is a CA as well, as `openssl req -x509` makes it.
fn self_signed(name: &str, until: i32) -> (String, Arc<rustls::ServerConfig>) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let certificate = params.self_signed(&pair).unwrap();
    (pem(certificate.der()), server_config(certificate.der().clone(), &pair, Certificates::Unasked))
}

fn server_config(
    certificate: rustls::pki_types::CertificateDer<'static>,
    pair: &rcgen::KeyPair,
    certificates: Certificates,
) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        rustls::ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().unwrap();
    let builder = if certificates == Certificates::Unasked {
        builder.with_no_client_auth()
    } else {
        use rustls::pki_types::pem::PemObject as _;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(ISSUED.ca.pem.as_bytes()).unwrap()).unwrap();
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let verifier = if certificates == Certificates::Welcome { verifier.allow_unauthenticated() } else { verifier };
        builder.with_client_cert_verifier(verifier.build().unwrap())
    };
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(pair.serialize_der().into());
    Arc::new(builder.with_single_cert(vec![certificate], key).unwrap())
}

impl Server {
    pub fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(Certificates::Unasked, handler)
    }

    pub fn start_with(certificates: Certificates, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_as(identity(certificates), handler)
    }

    fn start_as(
        (ca, config): (String, Arc<rustls::ServerConfig>),
        handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (shared, counter, handler): (_, _, Handler) = (Arc::clone(&seen), Arc::clone(&connections), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counter.fetch_add(1, Ordering::SeqCst);
                let (config, handler, seen) = (Arc::clone(&config), Arc::clone(&handler), Arc::clone(&shared));
                std::thread::spawn(move || {
                    let _ = serve(stream, config, &handler, &seen);
                });
            }
        });
        Self { url, ca, seen, connections }
    }

    /// The same server under the name that only a proxy finds.
    pub fn elsewhere(mut self) -> Self {
        self.url = self.url.replace("localhost", ELSEWHERE);
        self
    }

    /// Serves these files, and nothing else.
    pub fn files(files: Files) -> Self {
        Self::start(move |seen| file(&files, seen))
    }

    pub fn paths(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|seen| seen.path.clone()).collect()
    }

    /// `localhost:PORT`.
    pub fn host(&self) -> &str {
        self.url.strip_prefix("https://").unwrap()
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

pub fn file(files: &Files, seen: &Seen) -> Reply {
    let name = seen.path.strip_prefix(&format!("/v2/{GUN}/_trust/tuf/"));
    match name.and_then(|name| files.get(name)) {
        Some(bytes) => Reply::File(bytes.clone()),
        None => Reply::Status(404, Vec::new(), Vec::new()),
    }
}

fn serve(stream: TcpStream, config: Arc<rustls::ServerConfig>, handler: &Handler, all: &Mutex<Vec<Seen>>) -> std::io::Result<()> {
    let connection = rustls::ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut tls = rustls::StreamOwned::new(connection, stream);
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if tls.read(&mut byte)? == 0 {
                return Ok(());
            }
            head.push(byte[0]);
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
        let headers: BTreeMap<String, String> = text
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let length = headers.get("content-length").and_then(|length| length.parse::<usize>().ok());
        let mut body = vec![0; length.unwrap_or_default()];
        tls.read_exact(&mut body)?;
        let certified = tls.conn.peer_certificates().is_some_and(|chain| !chain.is_empty());
        let seen = Seen { path, headers, body: String::from_utf8(body).unwrap(), certified };
        all.lock().unwrap().push(seen.clone());
        match handler(&seen) {
            Reply::File(body) => {
                write!(tls, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len())?;
                tls.write_all(&body)?;
            }
            Reply::Status(status, headers, body) => {
                write!(tls, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len())?;
                for (name, value) in headers {
                    write!(tls, "{name}: {value}\r\n")?;
                }
                tls.write_all(b"\r\n")?;
                tls.write_all(&body)?;
            }
            Reply::Raw(bytes) => {
                tls.write_all(&bytes)?;
                tls.conn.send_close_notify();
                tls.flush()?;
                return Ok(());
            }
            Reply::Endless(start, again) => {
                tls.write_all(start.as_bytes())?;
                loop {
                    tls.write_all(again.as_bytes())?;
                }
            }
            Reply::Drip(start, again) => {
                tls.write_all(start.as_bytes())?;
                loop {
                    tls.write_all(again.as_bytes())?;
                    tls.flush()?;
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
            Reply::Stall => std::thread::sleep(Duration::from_secs(5)),
            Reply::Close => return Ok(()),
        }
        tls.flush()?;
    }
}

pub fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub struct Client {
    pub notary: Notary,
    pub runtime: tokio::runtime::Runtime,
}

impl Client {
    pub fn new(server: &Server, folder: &std::path::Path, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(server.url.clone(), folder);
        config.tls = Tls::only(&server.ca).unwrap();
        // Patience for a machine that is busy; tests of servers that stall ask for less.
        config.network_time = Duration::from_secs(7);
        Self::on(config, change)
    }

    /// One that has no server.
    pub fn importing(folder: &std::path::Path, change: impl FnOnce(&mut Config)) -> Self {
        Self::on(Config::new(Source::Import, folder), change)
    }

    fn on(mut config: Config, change: impl FnOnce(&mut Config)) -> Self {
        config.freshness = Duration::ZERO;
        change(&mut config);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Self { notary: Notary::new(config).unwrap(), runtime }
    }

    pub fn ask_at(&self, purpose: Purpose, at: Timestamp) -> Result<Vouch, TrustError> {
        let repository: Repository = GUN.parse().unwrap();
        let question = Question::Tag("1.0".parse::<Tag>().unwrap());
        let deadline = Duration::from_secs(8);
        self.runtime.block_on(async {
            self.notary
                .vouch(&repository, &question, Asking { purpose, now: at, deadline: tokio::time::Instant::now() + deadline })
                .await
        })
    }

    pub fn ask(&self, purpose: Purpose) -> Result<Vouch, TrustError> {
        self.ask_at(purpose, now())
    }
}

/// What a folder of `test/fixtures/tuf` asks.
#[derive(Clone)]
pub struct Fixture {
    pub tag: String,
    pub now: Timestamp,
    pub pins: Option<String>,
    /// Where bundles lie that the pins name.
    pub folder: std::path::PathBuf,
}

/// The answer to a pull at that time, on that state.
pub fn verdict(server: &Server, state: &std::path::Path, fixture: &Fixture) -> Result<Vouch, TrustError> {
    let load = |path: &str| std::fs::read_to_string(fixture.folder.join(path)).map_err(|error| error.to_string());
    let client = Client::new(server, state, |config| {
        if let Some(pins) = &fixture.pins {
            config.pins = img_authz::trust::tuf::Pins::read(pins, load).unwrap();
        }
    });
    let (repository, question): (Repository, _) = (GUN.parse().unwrap(), Question::Tag(fixture.tag.parse().unwrap()));
    let deadline = Duration::from_secs(8);
    client.runtime.block_on(async {
        let end = tokio::time::Instant::now() + deadline;
        client.notary.vouch(&repository, &question, Asking { purpose: Purpose::Pull, now: fixture.now, deadline: end }).await
    })
}

/// The answer to one pull, in a new folder.
fn pull(server: &Server, change: impl FnOnce(&mut Config)) -> Result<Vouch, TrustError> {
    let folder = tempfile::tempdir().unwrap();
    Client::new(server, folder.path(), change).ask(Purpose::Pull)
}

pub fn code(answer: &Result<Vouch, TrustError>) -> Option<TrustCode> {
    answer.as_ref().err().map(|error| error.code)
}

pub fn good() -> Files {
    static MADE: std::sync::LazyLock<Files> = std::sync::LazyLock::new(|| Repo::docker(root_key(GUN)).publish());
    MADE.clone()
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

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
fn within_the_window_nobody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::files(good());
    let client = Client::new(&server, folder.path(), |config| config.freshness = Duration::from_secs(30));
    client.ask(Purpose::Pull).unwrap();
    let asked = server.count();
    client.ask(Purpose::Pull).unwrap();
    client.ask(Purpose::Run).unwrap();
    assert_eq!(server.count(), asked);
    let repository: Repository = GUN.parse().unwrap();
    let question = Question::Tag("1.0".parse().unwrap());
    assert!(client.notary.ready(&repository, &question, now()).is_some_and(|answer| answer.is_ok()));
    // The window is one of both clocks.
    let later: Timestamp = "2030-06-01T00:00:31Z".parse().unwrap();
    assert!(client.notary.ready(&repository, &question, later).is_none());
    // Past the date nothing is ready with a yes.
    let end: Timestamp = "2031-06-01T00:00:00Z".parse().unwrap();
    assert!(client.notary.ready(&repository, &question, end).is_none());
}

#[test]
fn what_is_in_use_is_checked_before_its_window_ends_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::files(good());
    let client = Client::new(&server, folder.path(), |config| {
        config.freshness = Duration::from_secs(4);
        config.in_use = Duration::from_secs(2);
    });
    // The verifier is told one time for ever; the steady clock alone makes the window end.
    client.runtime.spawn(client.notary.keep_fresh(now));
    client.ask(Purpose::Pull).unwrap();
    let (repository, question): (Repository, _) = (GUN.parse().unwrap(), Question::Tag("1.0".parse().unwrap()));
    let (asked, started) = (server.count(), Instant::now());
    while started.elapsed() < Duration::from_secs(8) {
        // Never a wait: the answer is ready all the time.
        assert!(client.notary.ready(&repository, &question, now()).is_some_and(|answer| answer.is_ok()));
        std::thread::sleep(Duration::from_millis(50));
    }
    let checks = server.count() - asked;
    assert!((2..=3).contains(&checks), "{checks} checks in two windows");
    assert!(server.paths().iter().skip(asked).all(|path| path.ends_with("/timestamp.json")));
    // Nobody asks any more: the window ends.
    std::thread::sleep(Duration::from_secs(5));
    let before = server.count();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(server.count(), before);
    assert!(client.notary.ready(&repository, &question, now()).is_none());
}

#[test]
fn an_outage_is_not_asked_after_ahead_of_questions() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let client = Client::new(&server, folder.path(), |config| config.freshness = Duration::from_secs(2));
    client.runtime.spawn(client.notary.keep_fresh(now));
    client.ask(Purpose::Pull).unwrap();
    *files.lock().unwrap() = None;
    let asked = server.count();
    std::thread::sleep(Duration::from_secs(4));
    // Each check tries a busy server three times; a failed one is not repeated at every look.
    assert!(server.count() - asked <= 9, "{} requests", server.count() - asked);
    // The bad check changed nothing about what may run.
    assert!(client.ask(Purpose::Run).is_ok());
    assert_eq!(code(&client.ask(Purpose::Pull)), Some(TrustCode::Unreachable));
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

fn docker_config() -> DockerConfig {
    let auth = base64::engine::general_purpose::STANDARD.encode("rig:secret");
    DockerConfig::read(&json!({ "auths": { "reg.example:5000": { "auth": auth } } }).to_string()).unwrap()
}

pub fn basic() -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("rig:secret"))
}

/// A server that wants this `Authorization`, and asks for it with this challenge.
pub fn guarded(challenge: String, wanted: String) -> Server {
    let files = good();
    Server::start(move |seen| {
        if seen.headers.get("authorization") == Some(&wanted) {
            file(&files, seen)
        } else {
            Reply::Status(401, vec![("www-authenticate", challenge.clone())], Vec::new())
        }
    })
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

/// A server whose files can be changed, or taken away, or that can hang.
fn changing() -> (Arc<Mutex<Option<Files>>>, Server) {
    let files = Arc::new(Mutex::new(Some(good())));
    let shared = Arc::clone(&files);
    let server = Server::start(move |seen| match &*shared.lock().unwrap() {
        Some(files) => file(files, seen),
        None => Reply::Status(503, Vec::new(), Vec::new()),
    });
    (files, server)
}

#[test]
fn out_of_reach_pulls_are_refused_and_what_is_here_runs_until_it_expires() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let client = Client::new(&server, folder.path(), |_| ());
    client.ask(Purpose::Pull).unwrap();
    *files.lock().unwrap() = None;
    assert_eq!(code(&client.ask(Purpose::Pull)), Some(TrustCode::Unreachable));
    let since = now();
    let stale = client.ask(Purpose::Run).unwrap();
    assert_eq!(stale.freshness(), Freshness::Stale { since });
    // What it is good for ends with the limit, before its own dates do.
    assert_eq!(stale.expires(), Some(since + jiff::SignedDuration::from_hours(24)));
    // A new process, too; until the limit; and not past the date.
    let fresh = |change: fn(&mut Config)| Client::new(&server, folder.path(), change);
    assert!(fresh(|_| ()).ask(Purpose::Run).is_ok());
    let two_days: Timestamp = "2030-06-03T00:00:00Z".parse().unwrap();
    assert_eq!(code(&fresh(|_| ()).ask_at(Purpose::Run, two_days)), Some(TrustCode::Unreachable));
    let generous = |config: &mut Config| config.stale_limit = Duration::from_hours(24 * 1000);
    assert!(fresh(generous).ask_at(Purpose::Run, two_days).is_ok());
    let expired: Timestamp = "2031-06-03T00:00:00Z".parse().unwrap();
    assert_eq!(code(&fresh(generous).ask_at(Purpose::Run, expired)), Some(TrustCode::Expired));
    let earlier: Timestamp = "2030-05-01T00:00:00Z".parse().unwrap();
    assert_eq!(code(&fresh(generous).ask_at(Purpose::Run, earlier)), Some(TrustCode::Unreachable));
    assert_eq!(code(&fresh(|config| config.on_outage = OnOutage::Deny).ask(Purpose::Run)), Some(TrustCode::Unreachable));
    // A pin that is set meanwhile counts at once.
    let pinned = |config: &mut Config| {
        config.pins = img_authz::trust::tuf::Pins::read("{\"disable_tofu\":true}", |_| Err(String::new())).unwrap();
    };
    assert_eq!(code(&fresh(pinned).ask(Purpose::Run)), Some(TrustCode::RootNotTrusted));
}

/// A client that knows the repository, and a server that then does what `reply` says of its timestamp, or of everything.
fn known_then(
    reply: fn(&Seen) -> Option<Reply>,
) -> (tempfile::TempDir, Arc<Mutex<Option<Files>>>, Arc<Mutex<bool>>, Server, Client) {
    let folder = tempfile::tempdir().unwrap();
    let (files, is_bad) = (Arc::new(Mutex::new(Some(good()))), Arc::new(Mutex::new(false)));
    let (shared, bad) = (Arc::clone(&files), Arc::clone(&is_bad));
    let server = Server::start(move |seen| {
        let bad = if *bad.lock().unwrap() { reply(seen) } else { None };
        bad.unwrap_or_else(|| file(shared.lock().unwrap().as_ref().unwrap(), seen))
    });
    let client = Client::new(&server, folder.path(), |config| config.network_time = Duration::from_millis(1500));
    client.ask(Purpose::Pull).unwrap();
    *is_bad.lock().unwrap() = true;
    (folder, files, is_bad, server, client)
}

fn of_timestamp(seen: &Seen, reply: Reply) -> Option<Reply> {
    seen.path.contains("timestamp").then_some(reply)
}

#[test]
fn a_slow_or_busy_repository_is_refused_and_what_is_known_of_it_is_not_used() {
    for reply in [
        (|seen| of_timestamp(seen, Reply::Drip("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", " ")))
            as fn(&Seen) -> Option<Reply>,
        |seen| of_timestamp(seen, Reply::Status(429, Vec::new(), Vec::new())),
        |seen| of_timestamp(seen, Reply::Status(503, vec![("retry-after", "60".to_owned())], Vec::new())),
        |_| Some(Reply::Status(429, Vec::new(), Vec::new())),
    ] {
        let (_folder, _files, is_bad, _server, client) = known_then(reply);
        assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Busy));
        // And it is no outage: the next question is asked.
        *is_bad.lock().unwrap() = false;
        assert_eq!(client.ask(Purpose::Run).unwrap().freshness(), Freshness::Fresh);
    }
}

/// A front end takes its time to say that the server behind it is away, and the last try runs out of time.
#[test]
fn a_server_that_fails_slowly_is_an_outage() {
    let slowly = |_: &Seen| {
        std::thread::sleep(Duration::from_millis(1200));
        Some(Reply::Status(502, Vec::new(), Vec::new()))
    };
    let (_folder, _files, _, _server, client) = known_then(slowly);
    for _ in 0..2 {
        assert_eq!(client.ask(Purpose::Run).unwrap().freshness(), Freshness::Stale { since: now() });
    }
}

#[test]
fn one_repository_without_an_answer_is_no_outage_and_what_is_withdrawn_then_stays_out() {
    for reply in [
        (|seen| of_timestamp(seen, Reply::Stall)) as fn(&Seen) -> Option<Reply>,
        |seen| of_timestamp(seen, Reply::Close),
        |seen| of_timestamp(seen, Reply::Status(500, Vec::new(), Vec::new())),
    ] {
        let (_folder, files, is_bad, _server, client) = known_then(reply);
        let _ = client.ask(Purpose::Run);
        *files.lock().unwrap() = Some(Files::new());
        *is_bad.lock().unwrap() = false;
        assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    }
}

/// Who may sign a file of a repository may make somebody in between break off where that file passes.
#[test]
fn a_connection_that_breaks_at_one_file_is_no_outage() {
    let mut repo = Repo::docker(root_key(GUN));
    let first = repo.publish();
    repo.bump();
    let second = repo.publish();
    for broken in ["/tuf/snapshot", "/tuf/targets/alice"] {
        let (folder, files) = (tempfile::tempdir().unwrap(), Arc::new(Mutex::new(first.clone())));
        let shared = Arc::clone(&files);
        let is_broken = Arc::new(Mutex::new(false));
        let breaks = Arc::clone(&is_broken);
        let server = Server::start(move |seen| {
            if *breaks.lock().unwrap() && seen.path.contains(broken) {
                return Reply::Close;
            }
            file(&shared.lock().unwrap(), seen)
        });
        let client = Client::new(&server, folder.path(), |_| ());
        client.ask(Purpose::Pull).unwrap();
        *files.lock().unwrap() = second.clone();
        *is_broken.lock().unwrap() = true;
        assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Unreachable), "{broken}");
        *is_broken.lock().unwrap() = false;
        assert_eq!(client.ask(Purpose::Run).unwrap().freshness(), Freshness::Fresh, "{broken}");
    }
}

/// The first answer says that it is gone, the second question comes to nothing: that does not undo the first.
#[test]
fn what_is_withdrawn_is_not_brought_back_by_a_root_that_does_not_come() {
    for reply in [(|| Reply::Close) as fn() -> Reply, || Reply::Status(500, Vec::new(), Vec::new()), || Reply::Stall] {
        let folder = tempfile::tempdir().unwrap();
        let (files, is_gone) = (good(), Arc::new(Mutex::new(false)));
        let gone = Arc::clone(&is_gone);
        let server = Server::start(move |seen| match (*gone.lock().unwrap(), seen.path.ends_with("/root.json")) {
            (true, true) => reply(),
            (true, false) => Reply::Status(404, Vec::new(), Vec::new()),
            (false, _) => file(&files, seen),
        });
        let client = Client::new(&server, folder.path(), |config| config.network_time = Duration::from_millis(1500));
        client.ask(Purpose::Pull).unwrap();
        *is_gone.lock().unwrap() = true;
        let refused = client.ask(Purpose::Run).unwrap_err();
        assert!(matches!(refused.code, TrustCode::Unreachable | TrustCode::Busy), "{refused}");
    }
}

#[test]
fn a_page_of_somebody_in_between_is_an_outage_and_a_timestamp_that_is_none_is_not() {
    let (_folder, _files, _, _server, client) =
        known_then(|_| Some(Reply::Status(200, Vec::new(), b"<html>login</html>".to_vec())));
    assert_eq!(client.ask(Purpose::Run).unwrap().freshness(), Freshness::Stale { since: now() });
    assert_eq!(code(&client.ask(Purpose::Pull)), Some(TrustCode::Unreachable));
    let (_folder, _files, _, _server, client) =
        known_then(|seen| of_timestamp(seen, Reply::Status(200, Vec::new(), b"<html>login</html>".to_vec())));
    assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Invalid));
}

#[test]
fn after_an_outage_begins_the_server_is_asked_again_within_a_second_or_so() {
    let (_folder, files, is_bad, server, client) = known_then(|_| Some(Reply::Status(500, Vec::new(), Vec::new())));
    assert!(client.ask(Purpose::Run).is_ok());
    *files.lock().unwrap() = Some(Files::new());
    *is_bad.lock().unwrap() = false;
    let asked = server.count();
    assert!(client.ask(Purpose::Run).is_ok());
    assert_eq!(server.count(), asked, "it is left alone at first");
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Withdrawn));
}

/// Takes all descriptors that are left.
fn take_descriptors() -> Vec<std::fs::File> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(128), maximum }).unwrap();
    std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect()
}

/// In a process of its own: descriptors are everybody's.
#[test]
#[ignore = "takes all descriptors; run by the test below"]
fn without_descriptors_nobody_knows_whether_the_server_is_there() {
    // Answers on one connection each.
    let (files, folder) = (good(), tempfile::tempdir().unwrap());
    let server = Server::start(move |seen| match file(&files, seen) {
        Reply::File(body) => Reply::Raw(
            [format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len()).as_bytes(), &body]
                .concat(),
        ),
        other => other,
    });
    let client = Client::new(&server, folder.path(), |config| config.network_time = Duration::from_millis(1500));
    client.ask(Purpose::Pull).unwrap();
    let taken = take_descriptors();
    for _ in 0..2 {
        assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Busy));
    }
    // With descriptors again it is there; and when it then is gone, that is seen.
    drop(taken);
    assert_eq!(client.ask(Purpose::Run).unwrap().freshness(), Freshness::Fresh);
}

#[test]
fn a_host_without_descriptors_is_no_outage_of_the_server() {
    let done = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "trust_server::without_descriptors_nobody_knows_whether_the_server_is_there"])
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn a_token_service_that_is_busy_or_slow_is_no_outage() {
    for (reply, expected) in [
        ((|| Reply::Status(429, Vec::new(), Vec::new())) as fn() -> Reply, TrustCode::Busy),
        (|| Reply::Status(503, vec![("retry-after", "9".to_owned())], Vec::new()), TrustCode::Busy),
        (|| Reply::Status(503, Vec::new(), Vec::new()), TrustCode::Unreachable),
    ] {
        let tokens = Server::start(move |_| reply());
        let server = guarded(format!("Bearer realm=\"{}/token\"", tokens.url), "Bearer never".into());
        assert_eq!(code(&pull(&server, |_| ())), Some(expected));
    }
    // The server takes its time to ask who that is, and the token service has none left.
    let tokens = Server::start(|_| Reply::Stall);
    let challenge = format!("Bearer realm=\"{}/token\"", tokens.url);
    let server = Server::start(move |seen| {
        if seen.path != "/v2/" {
            std::thread::sleep(Duration::from_millis(900));
        }
        Reply::Status(401, vec![("www-authenticate", challenge.clone())], Vec::new())
    });
    assert_eq!(code(&pull(&server, |config| config.network_time = Duration::from_millis(1500))), Some(TrustCode::Busy));
}

#[test]
fn a_name_of_which_the_server_knows_nothing_is_asked_for_once_in_some_seconds() {
    let (folder, files) = (tempfile::tempdir().unwrap(), Arc::new(Mutex::new(Files::new())));
    let shared = Arc::clone(&files);
    let server = Server::start(move |seen| file(&shared.lock().unwrap(), seen));
    let client = Client::new(&server, folder.path(), |_| ());
    for purpose in [Purpose::Pull, Purpose::Run, Purpose::Pull] {
        assert_eq!(code(&client.ask(purpose)), Some(TrustCode::NoTrustData));
    }
    assert_eq!(server.count(), 1);
    *files.lock().unwrap() = good();
    std::thread::sleep(Duration::from_millis(3100));
    assert!(client.ask(Purpose::Pull).is_ok());
    // What is known is asked about each time, also when the answer is no.
    *files.lock().unwrap() = Files::new();
    for _ in 0..2 {
        let before = server.count();
        assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Withdrawn));
        assert!(server.count() > before);
    }
}

#[test]
fn a_clock_that_was_ahead_once_does_not_end_what_runs_during_an_outage() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let client = || Client::new(&server, folder.path(), |_| ());
    let gone = |is_gone: bool| *files.lock().unwrap() = (!is_gone).then(good);
    let ahead: Timestamp = "2030-06-02T00:00:00Z".parse().unwrap();
    let first = client();
    first.ask_at(Purpose::Pull, ahead).unwrap();
    // The clock is right again. Nobody has asked since: after a restart the age is not known.
    gone(true);
    let refused = client().ask(Purpose::Run).unwrap_err();
    assert!(refused.code == TrustCode::Unreachable && refused.to_string().contains("went back"), "{refused}");
    // The process that asked knows how long that is ago.
    assert!(first.ask(Purpose::Run).is_ok());
    // One good check, and age counts from there: in this process and after a restart.
    gone(false);
    let status = |client: &Client| client.runtime.block_on(client.notary.statuses()).remove(0);
    client().ask(Purpose::Pull).unwrap();
    gone(true);
    let again = client();
    assert_eq!(again.ask(Purpose::Run).unwrap().freshness(), Freshness::Stale { since: now() });
    let told = status(&again);
    assert_eq!((told.checked, told.seen, told.is_ahead(now()), told.is_ahead(ahead)), (now(), ahead, true, false));
    // The limit counts from there as well.
    let later: Timestamp = "2030-06-02T00:00:01Z".parse().unwrap();
    assert_eq!(code(&client().ask_at(Purpose::Run, later)), Some(TrustCode::Unreachable));
    // A bad answer about it keeps both times.
    *files.lock().unwrap() = Some(Files::new());
    assert_eq!(code(&client().ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    assert_eq!((status(&again).checked, status(&again).seen), (now(), ahead));
}

#[test]
fn dates_count_from_the_latest_check_whatever_the_clock_says_since() {
    let mut repo = Repo::docker(root_key(GUN));
    repo.role("timestamp")["expires"] = json!("2030-06-01T12:00:00Z");
    let old = repo.publish();
    repo.bump();
    repo.role("timestamp")["expires"] = json!(LATER);
    let (folder, files) = (tempfile::tempdir().unwrap(), Arc::new(Mutex::new(Some(repo.publish()))));
    let shared = Arc::clone(&files);
    let server = Server::start(move |seen| match &*shared.lock().unwrap() {
        Some(files) => file(files, seen),
        None => Reply::Status(503, Vec::new(), Vec::new()),
    });
    let client = Client::new(&server, folder.path(), |_| ());
    client.ask_at(Purpose::Pull, "2030-06-02T00:00:00Z".parse().unwrap()).unwrap();
    // The clock goes back to before the end of what had ended then; a server that replays it is refused for more than one reason.
    *files.lock().unwrap() = Some(old);
    assert!(matches!(code(&client.ask(Purpose::Pull)), Some(TrustCode::Expired | TrustCode::RolledBack)));
}

#[test]
fn the_log_says_that_the_clock_went_back() {
    let (server, folder) = (Server::files(good()), tempfile::tempdir().unwrap());
    let (log, _guard) = Log::of_thread();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut config = Config::new(server.url.clone(), folder.path());
    config.tls = Tls::only(&server.ca).unwrap();
    config.freshness = Duration::ZERO;
    let notary = Notary::new(config).unwrap();
    let ask = |at: Timestamp| {
        let question = Question::Tag("1.0".parse().unwrap());
        let end = tokio::time::Instant::now() + Duration::from_secs(8);
        runtime
            .block_on(notary.vouch(&GUN.parse().unwrap(), &question, Asking { purpose: Purpose::Pull, now: at, deadline: end }))
            .unwrap();
        log.count("clock went back")
    };
    let ahead = "2030-06-02T00:00:00Z".parse().unwrap();
    assert_eq!([ask(now()), ask(ahead), ask(now()), ask(now())], [0, 0, 1, 1]);
}

#[test]
fn made_up_names_do_not_take_the_flights_of_what_is_known() {
    let (_folder, _files, _, _server, client) = known_then(|seen| seen.path.contains("/made/").then_some(Reply::Stall));
    client.runtime.block_on(async {
        let question = Question::Tag("1.0".parse().unwrap());
        for index in 0..150 {
            let (notary, question) = (client.notary.clone(), question.clone());
            let purpose = if index % 2 == 0 { Purpose::Run } else { Purpose::Pull };
            tokio::spawn(async move {
                let name: Repository = format!("reg.example:5000/made/up{index}").parse().unwrap();
                let end = tokio::time::Instant::now() + Duration::from_secs(8);
                notary.vouch(&name, &question, Asking { purpose, now: now(), deadline: end }).await
            });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let end = tokio::time::Instant::now() + Duration::from_secs(8);
        let vouch = client
            .notary
            .vouch(&GUN.parse().unwrap(), &question, Asking { purpose: Purpose::Run, now: now(), deadline: end })
            .await
            .unwrap();
        assert_eq!(vouch.freshness(), Freshness::Fresh);
    });
}

#[test]
fn withdrawn_is_no_outage_and_stays_withdrawn() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let client = Client::new(&server, folder.path(), |_| ());
    client.ask(Purpose::Pull).unwrap();
    *files.lock().unwrap() = Some(Files::new());
    assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    *files.lock().unwrap() = None;
    assert_eq!(code(&client.ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    // A restart during the outage does not bring back what was withdrawn, nor does a bundle from before.
    let again = Client::new(&server, folder.path(), |_| ());
    assert_eq!(code(&again.ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    assert_eq!(code(&again.ask(Purpose::Pull)), Some(TrustCode::Unreachable));
    let gun: Repository = GUN.parse().unwrap();
    assert_eq!(
        again.runtime.block_on(again.notary.export(std::slice::from_ref(&gun), RootHistory::Left)).unwrap_err().code,
        TrustCode::Withdrawn
    );
    assert!(again.runtime.block_on(again.notary.statuses())[0].fault.is_some());
    *files.lock().unwrap() = Some(good());
    // Pulls ask at once, where starts leave a server alone that has just been gone.
    assert!(again.ask(Purpose::Pull).is_ok());
    // Nor does one after it is good again find anything of it.
    *files.lock().unwrap() = None;
    assert!(Client::new(&server, folder.path(), |_| ()).ask(Purpose::Run).is_ok());
}

#[test]
fn a_bad_answer_outlives_a_restart_during_an_outage() {
    let mut repo = Repo::docker(root_key(GUN));
    let old = repo.publish();
    repo.bump();
    let new = repo.publish();
    let stranger = Repo::docker(root_key(GUN)).publish();
    let mut broken = new.clone();
    broken.insert("timestamp.json".into(), b"<html>".to_vec());
    for (bad, expected) in [
        (old, TrustCode::RolledBack),
        (stranger, TrustCode::RolledBack),
        (broken, TrustCode::Invalid),
        (Files::new(), TrustCode::Withdrawn),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (files, server) = changing();
        *files.lock().unwrap() = Some(new.clone());
        Client::new(&server, folder.path(), |_| ()).ask(Purpose::Pull).unwrap();
        *files.lock().unwrap() = Some(bad);
        assert_eq!(code(&Client::new(&server, folder.path(), |_| ()).ask(Purpose::Run)), Some(expected));
        *files.lock().unwrap() = None;
        assert_eq!(code(&Client::new(&server, folder.path(), |_| ()).ask(Purpose::Run)), Some(expected));
    }
}

#[test]
fn a_wrong_pin_is_forgotten_with_the_right_one_and_a_bad_answer_is_not() {
    let pins = |text: &str| img_authz::trust::tuf::Pins::read(text, |_| Err(String::new())).unwrap();
    let wrong = pins(&json!({ "certs": { GUN: ["0".repeat(64)] } }).to_string());
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let client = |pins: &img_authz::trust::tuf::Pins| {
        let pins = pins.clone();
        Client::new(&server, folder.path(), |config| config.pins = pins)
    };
    let first = client(&pins("{}"));
    first.ask(Purpose::Pull).unwrap();
    let (_, keys) = first.runtime.block_on(first.notary.root(&GUN.parse().unwrap())).unwrap();
    let right = pins(&json!({ "certs": { GUN: keys } }).to_string());
    let mistaken = client(&wrong);
    for purpose in [Purpose::Pull, Purpose::Run] {
        assert_eq!(code(&mistaken.ask(purpose)), Some(TrustCode::RootNotTrusted));
    }
    *files.lock().unwrap() = None;
    assert_eq!(code(&mistaken.ask(Purpose::Run)), Some(TrustCode::RootNotTrusted));
    assert_eq!(code(&client(&wrong).ask(Purpose::Run)), Some(TrustCode::RootNotTrusted));
    // Who has the right pin, or none, goes on: also while the server is gone.
    assert!(client(&right).ask(Purpose::Run).is_ok());
    assert!(first.ask(Purpose::Run).is_ok());
    // What the server did wrong is remembered, whoever asks with a wrong pin in between.
    for bad in [Files::new(), Repo::docker(root_key(GUN)).publish()] {
        *files.lock().unwrap() = Some(bad);
        let expected = code(&client(&right).ask(Purpose::Pull));
        assert!(matches!(expected, Some(TrustCode::Withdrawn | TrustCode::RolledBack)), "{expected:?}");
        assert!(client(&wrong).ask(Purpose::Pull).is_err());
        *files.lock().unwrap() = None;
        assert_eq!(code(&client(&right).ask(Purpose::Run)), expected);
    }
    *files.lock().unwrap() = Some(good());
    assert!(client(&right).ask(Purpose::Pull).is_ok());
}

#[test]
fn a_bad_answer_that_is_repeated_is_kept_again_where_another_process_forgot_it() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let client = || Client::new(&server, folder.path(), |_| ());
    let first = client();
    first.ask(Purpose::Pull).unwrap();
    *files.lock().unwrap() = Some(Files::new());
    assert_eq!(code(&first.ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    // For another process it was good again in between.
    *files.lock().unwrap() = Some(good());
    client().ask(Purpose::Pull).unwrap();
    *files.lock().unwrap() = Some(Files::new());
    assert_eq!(code(&first.ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    *files.lock().unwrap() = None;
    assert_eq!(code(&client().ask(Purpose::Run)), Some(TrustCode::Withdrawn));
    // Nor does its age stay that of the first one.
    *files.lock().unwrap() = Some(Files::new());
    let later: Timestamp = "2030-06-02T00:00:00Z".parse().unwrap();
    assert_eq!(code(&first.ask_at(Purpose::Run, later)), Some(TrustCode::Withdrawn));
    let again: Timestamp = "2030-06-02T00:00:01Z".parse().unwrap();
    assert_eq!(code(&first.ask_at(Purpose::Run, again)), Some(TrustCode::Withdrawn));
    let state = std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.path());
    let state = state.filter(|path| path.extension().is_some_and(|ending| ending == "state"));
    let text = String::from_utf8_lossy(&std::fs::read(state.last().unwrap()).unwrap()).into_owned();
    assert!(text.contains("2030-06-02T00:00:00Z"));
}

/// What is logged, as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// A log of this thread's own, until the guard is dropped.
    fn of_thread() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn count(&self, words: &str) -> usize {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().matches(words).count()
    }
}

#[test]
fn the_log_warns_of_what_expires_once_a_day() {
    const WARNING: &str = "trust data expires soon; its owner must sign again";
    let mut repo = Repo::docker(root_key(GUN));
    repo.role("targets")["expires"] = json!("2030-06-20T00:00:00Z");
    for (files, is_asked, warnings) in
        [(repo.publish(), true, 1), (repo.publish(), false, 1), (good(), true, 0), (good(), false, 0)]
    {
        let (server, folder) = (Server::files(files), tempfile::tempdir().unwrap());
        let (log, _guard) = Log::of_thread();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = || {
            let mut config = Config::new(server.url.clone(), folder.path());
            config.tls = Tls::only(&server.ca).unwrap();
            config.freshness = Duration::ZERO;
            Notary::new(config).unwrap()
        };
        runtime.block_on(async {
            // Known from questions, or only from the disk, left there by another process.
            let mut notary = client();
            let question = Question::Tag("1.0".parse().unwrap());
            let end = tokio::time::Instant::now() + Duration::from_secs(8);
            notary
                .vouch(&GUN.parse().unwrap(), &question, Asking { purpose: Purpose::Pull, now: now(), deadline: end })
                .await
                .unwrap();
            if !is_asked {
                notary = client();
            }
            tokio::spawn(notary.keep_fresh(now));
            // The disk is read by threads of their own, for which the clock goes on.
            tokio::time::sleep(Duration::from_millis(700)).await;
            tokio::time::pause();
            let pass = async |minutes: u64| {
                for _ in 0..minutes {
                    tokio::time::advance(Duration::from_mins(1)).await;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            };
            pass(3).await;
            assert_eq!(log.count(WARNING), warnings, "at once");
            pass(5 * 60).await;
            assert_eq!(log.count(WARNING), warnings, "the same day");
            tokio::time::advance(Duration::from_hours(19)).await;
            pass(3).await;
            assert_eq!(log.count(WARNING), 2 * warnings, "the next day");
            let stats = notary.stats(now()).unwrap();
            let expected_state = if warnings > 0 { "expiring" } else { "good" };
            assert_eq!(stats.repositories[expected_state], 1, "{stats:?}");
            let expected = if warnings > 0 { "2030-06-20T00:00:00Z" } else { LATER };
            assert_eq!(stats.expires["targets"], expected.parse().unwrap());
            // The server's own files matter only where it does not renew them.
            assert_eq!(stats.expires.get("timestamp"), None);
        });
    }
}

#[test]
fn figures_tell_of_checks_and_of_an_outage() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let client = Client::new(&server, folder.path(), |_| ());
    let stats = || client.notary.stats(now()).unwrap();
    assert_eq!((stats().is_reachable, stats().last_good, stats().checks.len()), (None, None, 0));
    client.ask(Purpose::Pull).unwrap();
    assert_eq!((stats().is_reachable, stats().last_good), (Some(true), Some(now())));
    *files.lock().unwrap() = None;
    let later: Timestamp = "2030-06-01T00:01:00Z".parse().unwrap();
    client.ask_at(Purpose::Pull, later).unwrap_err();
    assert_eq!((stats().is_reachable, stats().last_good), (Some(false), Some(now())));
    // While it is gone nobody renews the timestamp: its end matters.
    assert_eq!(stats().expires["timestamp"], LATER.parse().unwrap());
    *files.lock().unwrap() = Some(Files::new());
    client.ask_at(Purpose::Pull, later).unwrap_err();
    assert_eq!((stats().is_reachable, stats().repositories["refused"]), (Some(true), 1));
    *files.lock().unwrap() = Some(good());
    client.ask_at(Purpose::Pull, later).unwrap();
    let all = stats();
    assert_eq!((all.last_good, all.repositories["good"], all.repositories["refused"]), (Some(later), 1, 0));
    assert_eq!(all.checks, [("good", 2), ("trust-unreachable", 1), ("trust-withdrawn", 1)].into());
}

#[test]
fn a_server_that_hangs_costs_a_hundred_starts_one_wait() {
    let folder = tempfile::tempdir().unwrap();
    {
        let server = Server::files(good());
        Client::new(&server, folder.path(), |_| ()).ask(Purpose::Pull).unwrap();
    }
    let server = Server::start(|_| Reply::Stall);
    let client = Client::new(&server, folder.path(), |config| config.network_time = Duration::from_millis(1500));
    let started = Instant::now();
    client.runtime.block_on(async {
        let mut all = tokio::task::JoinSet::new();
        for index in 0..100 {
            let notary = client.notary.clone();
            all.spawn(async move {
                // A pull of another name is in everybody's way.
                let name = if index % 2 == 0 { GUN.to_owned() } else { format!("reg.example:5000/made/up{index}") };
                let purpose = if index % 2 == 0 { Purpose::Run } else { Purpose::Pull };
                let question = Question::Tag("1.0".parse().unwrap());
                let deadline = tokio::time::Instant::now() + Duration::from_secs(8);
                (purpose, notary.vouch(&name.parse().unwrap(), &question, Asking { purpose, now: now(), deadline }).await)
            });
        }
        while let Some(done) = all.join_next().await {
            let (purpose, answer) = done.unwrap();
            assert_eq!(answer.is_ok(), purpose == Purpose::Run, "{answer:?}");
        }
    });
    assert!(started.elapsed() < Duration::from_secs(3), "took {:?}", started.elapsed());
    // The outage is remembered.
    let started = Instant::now();
    assert!(client.ask(Purpose::Run).is_ok());
    assert!(started.elapsed() < Duration::from_millis(100));
}

#[test]
fn many_at_once_share_one_flight() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::files(good());
    let client = Client::new(&server, folder.path(), |_| ());
    client.runtime.block_on(async {
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let notary = client.notary.clone();
            all.spawn(async move {
                let question = Question::Tag("1.0".parse().unwrap());
                let deadline = tokio::time::Instant::now() + Duration::from_secs(8);
                notary.vouch(&GUN.parse().unwrap(), &question, Asking { purpose: Purpose::Pull, now: now(), deadline }).await
            });
        }
        while let Some(done) = all.join_next().await {
            done.unwrap().unwrap();
        }
    });
    assert!(server.paths().iter().filter(|path| path.ends_with("/root.json")).count() <= 2);
}

#[test]
fn made_up_names_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::files(good());
    let client = Client::new(&server, folder.path(), |_| ());
    for index in 0..20 {
        let repository: Repository = format!("reg.example:5000/made/up{index}").parse().unwrap();
        let question = Question::Tag("1.0".parse().unwrap());
        let answer = client.runtime.block_on(async {
            client
                .notary
                .vouch(
                    &repository,
                    &question,
                    Asking { purpose: Purpose::Pull, now: now(), deadline: tokio::time::Instant::now() + Duration::from_secs(8) },
                )
                .await
        });
        assert_eq!(code(&answer), Some(TrustCode::NoTrustData));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn rollback_is_refused_across_restarts_and_without_a_disk() {
    let mut repo = Repo::docker(root_key(GUN));
    let old = repo.publish();
    repo.bump();
    let new = repo.publish();
    let folder = tempfile::tempdir().unwrap();
    Client::new(&Server::files(new.clone()), folder.path(), |_| ()).ask(Purpose::Pull).unwrap();
    let back = Server::files(old.clone());
    assert_eq!(code(&Client::new(&back, folder.path(), |_| ()).ask(Purpose::Pull)), Some(TrustCode::RolledBack));
    // No disk at all: in memory the protection holds.
    let files = Arc::new(Mutex::new(new));
    let shared = Arc::clone(&files);
    let server = Server::start(move |seen| file(&shared.lock().unwrap(), seen));
    let client = Client::new(&server, std::path::Path::new("/proc/no/such/place"), |_| ());
    assert!(client.ask(Purpose::Pull).is_ok());
    *files.lock().unwrap() = old;
    assert_eq!(code(&client.ask(Purpose::Pull)), Some(TrustCode::RolledBack));
}

#[test]
fn several_processes_share_a_folder_and_the_newest_stays() {
    let mut repo = Repo::docker(root_key(GUN));
    let old = repo.publish();
    repo.bump();
    let new = repo.publish();
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Server::files(old.clone()), Server::files(new));
    // One that knows the old state in memory does not overwrite the newer one on disk.
    let behind = Client::new(&first, folder.path(), |_| ());
    behind.ask(Purpose::Pull).unwrap();
    Client::new(&second, folder.path(), |_| ()).ask(Purpose::Pull).unwrap();
    assert_eq!(code(&behind.ask(Purpose::Pull)), Some(TrustCode::RolledBack));
    assert_eq!(code(&Client::new(&Server::files(old), folder.path(), |_| ()).ask(Purpose::Pull)), Some(TrustCode::RolledBack));
    // Many at once, on first use: none fails for the others' sake.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Client::new(&second, &path, |_| ()).ask(Purpose::Pull))).collect();
        for thread in threads {
            thread.join().unwrap().unwrap();
        }
    });
}

fn minutes(after: i64) -> Timestamp {
    now() + jiff::SignedDuration::from_mins(after)
}

#[test]
fn a_gate_knows_what_a_command_beside_it_has_seen_whatever_the_times_of_their_checks() {
    let mut repo = Repo::docker(root_key(GUN));
    let old = repo.publish();
    repo.bump();
    let new = repo.publish();
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (Server::files(old), Server::files(new));
    let gate = Client::new(&first, folder.path(), |_| ());
    gate.ask(Purpose::Pull).unwrap();
    Client::new(&second, folder.path(), |_| ()).ask_at(Purpose::Pull, minutes(1)).unwrap();
    // The server goes back to what the gate knows to the letter. Some of these checks write, others do not.
    for after in [2, 4, 8, 16] {
        assert_eq!(code(&gate.ask_at(Purpose::Pull, minutes(after))), Some(TrustCode::RolledBack), "{after}");
    }
    let asked = |server: &Server, after| code(&Client::new(server, folder.path(), |_| ()).ask_at(Purpose::Pull, minutes(after)));
    assert_eq!(asked(&first, 17), Some(TrustCode::RolledBack));
    assert_eq!(asked(&second, 18), None);
}

#[test]
fn what_a_command_writes_during_a_check_of_the_gate_is_built_on_even_if_its_clock_is_behind() {
    let mut repo = Repo::docker(root_key(GUN));
    let old = repo.publish();
    repo.bump();
    let second = Server::files(repo.publish());
    let folder = tempfile::tempdir().unwrap();
    let command: Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>> = Arc::default();
    let shared = Arc::clone(&command);
    let first = Server::start(move |seen| {
        let run = shared.lock().unwrap().take();
        if let Some(run) = run {
            run();
        }
        file(&old, seen)
    });
    let gate = Client::new(&first, folder.path(), |_| ());
    gate.ask(Purpose::Pull).unwrap();
    gate.ask_at(Purpose::Pull, minutes(4)).unwrap();
    let path = folder.path().to_owned();
    *command.lock().unwrap() = Some(Box::new(move || {
        Client::new(&second, &path, |_| ()).ask_at(Purpose::Pull, minutes(3)).unwrap();
    }));
    for after in [10, 16] {
        assert_eq!(code(&gate.ask_at(Purpose::Pull, minutes(after))), Some(TrustCode::RolledBack), "{after}");
    }
    let fresh = Client::new(&first, folder.path(), |_| ());
    assert_eq!(code(&fresh.ask_at(Purpose::Pull, minutes(17))), Some(TrustCode::RolledBack));
}

#[test]
fn a_withdrawal_that_a_command_saw_counts_for_the_gate_in_an_outage() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let gate = Client::new(&server, folder.path(), |_| ());
    gate.ask(Purpose::Pull).unwrap();
    *files.lock().unwrap() = None;
    assert!(gate.ask_at(Purpose::Run, minutes(1)).is_ok());
    let gone = Server::files(Files::new());
    let command = Client::new(&gone, folder.path(), |_| ()).ask_at(Purpose::Pull, minutes(2));
    assert_eq!(code(&command), Some(TrustCode::Withdrawn));
    assert_eq!(code(&gate.ask_at(Purpose::Run, minutes(3))), Some(TrustCode::Withdrawn));
    // And a newer good one makes it good again, also without the server.
    let back = Server::files(good());
    Client::new(&back, folder.path(), |_| ()).ask_at(Purpose::Pull, minutes(4)).unwrap();
    assert!(gate.ask_at(Purpose::Run, minutes(5)).is_ok());
}

#[test]
fn a_withdrawal_that_could_not_be_written_is_written_at_the_next_check() {
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let gate = Client::new(&server, folder.path(), |_| ());
    gate.ask(Purpose::Pull).unwrap();
    let lock = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let lock = lock.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "lock")).unwrap();
    let held = std::fs::OpenOptions::new().write(true).open(lock).unwrap();
    held.lock().unwrap();
    *files.lock().unwrap() = Some(Files::new());
    assert_eq!(code(&gate.ask_at(Purpose::Pull, minutes(1))), Some(TrustCode::Withdrawn));
    drop(held);
    assert_eq!(code(&gate.ask_at(Purpose::Pull, minutes(2))), Some(TrustCode::Withdrawn));
    // Another process finds it, while nobody can be asked.
    *files.lock().unwrap() = None;
    let next = Client::new(&server, folder.path(), |_| ());
    assert_eq!(code(&next.ask_at(Purpose::Run, minutes(3))), Some(TrustCode::Withdrawn));
}

#[test]
fn an_answer_that_breaks_off_is_no_outage() {
    let folder = tempfile::tempdir().unwrap();
    Client::new(&Server::files(good()), folder.path(), |_| ()).ask(Purpose::Pull).unwrap();
    let cut = Server::start(|_| Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"signed\":".to_vec()));
    let client = Client::new(&cut, folder.path(), |_| ());
    for purpose in [Purpose::Pull, Purpose::Run] {
        assert_eq!(code(&client.ask(purpose)), Some(TrustCode::Busy), "{purpose:?}");
    }
}

#[test]
fn what_did_not_change_is_read_from_the_disk_and_what_is_gone_from_there_is_asked_for() {
    // Signatures of this kind are the same each time, and so is the file.
    let mut repo = Repo::new(root_key(GUN));
    repo.delegate("targets/releases", &[Key::ed25519()], &[""]);
    repo.role("targets/releases")["targets"]["1.0"] = target("one");
    let mut publish = || {
        for role in ["targets", "snapshot", "timestamp"] {
            let version = repo.role(role)["version"].as_u64().unwrap();
            repo.role(role)["version"] = json!(version + 1);
        }
        Some(repo.publish())
    };
    let folder = tempfile::tempdir().unwrap();
    let (files, server) = changing();
    let asked = || server.paths().iter().filter(|path| path.contains("targets/releases.")).count();
    let state = || {
        let mut paths = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        paths.find(|path| path.extension().is_some_and(|ending| ending == "state")).unwrap()
    };
    *files.lock().unwrap() = publish();
    let gate = Client::new(&server, folder.path(), |_| ());
    gate.ask(Purpose::Pull).unwrap();
    let path = state();
    let first = std::fs::read(&path).unwrap();
    assert_eq!(asked(), 1);
    *files.lock().unwrap() = publish();
    gate.ask_at(Purpose::Pull, minutes(1)).unwrap();
    // And where only the time of the check is written.
    gate.ask_at(Purpose::Pull, minutes(10)).unwrap();
    assert_eq!(asked(), 1);

    let changed = {
        let mut changed = std::fs::read(&path).unwrap();
        let at = changed.windows(8).position(|part| part == b"releases").unwrap();
        changed[at + 40] ^= 1;
        changed
    };
    let damages: [(&str, &dyn Fn()); 3] = [
        ("gone", &|| std::fs::remove_file(&path).unwrap()),
        ("cut", &|| std::fs::write(&path, &first[..first.len() / 2]).unwrap()),
        ("changed", &|| std::fs::write(&path, &changed).unwrap()),
    ];
    let mut after = 20;
    for (what, damage) in damages {
        for is_new in [true, false] {
            let before = asked();
            damage();
            if is_new {
                *files.lock().unwrap() = publish();
            }
            gate.ask_at(Purpose::Pull, minutes(after)).unwrap();
            assert_eq!(asked(), before + 1, "{what}, {is_new}");
            // It is whole again: another process goes on it, without the server.
            let good = files.lock().unwrap().take();
            let again = Client::new(&server, folder.path(), |_| ());
            assert!(again.ask_at(Purpose::Run, minutes(after)).is_ok(), "{what}, {is_new}");
            *files.lock().unwrap() = good;
            gate.ask_at(Purpose::Pull, minutes(after + 1)).unwrap();
            assert_eq!(asked(), before + 1, "{what}, {is_new}");
            after += 20;
        }
    }
    // What the server took back is not asked for in their place.
    std::fs::remove_file(&path).unwrap();
    *files.lock().unwrap() = Some(Files::new());
    assert_eq!(code(&gate.ask_at(Purpose::Run, minutes(after))), Some(TrustCode::Withdrawn));
    assert_eq!(code(&gate.ask_at(Purpose::Run, minutes(after + 1))), Some(TrustCode::Withdrawn));
}

#[test]
fn where_nothing_can_be_written_what_did_not_change_is_still_in_memory() {
    let mut repo = Repo::new(root_key(GUN));
    repo.delegate("targets/releases", &[Key::ed25519()], &[""]);
    repo.role("targets/releases")["targets"]["1.0"] = target("one");
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("state");
    std::fs::write(&place, "no folder").unwrap();
    let (files, server) = changing();
    *files.lock().unwrap() = Some(repo.publish());
    let gate = Client::new(&server, &place, |_| ());
    gate.ask(Purpose::Pull).unwrap();
    for role in ["targets", "snapshot", "timestamp"] {
        repo.role(role)["version"] = json!(2);
    }
    *files.lock().unwrap() = Some(repo.publish());
    gate.ask_at(Purpose::Pull, minutes(1)).unwrap();
    assert_eq!(server.paths().iter().filter(|path| path.contains("targets/releases.")).count(), 1);
    // And is written as soon as that can be.
    std::fs::remove_file(&place).unwrap();
    gate.ask_at(Purpose::Pull, minutes(2)).unwrap();
    *files.lock().unwrap() = None;
    assert!(Client::new(&server, &place, |_| ()).ask_at(Purpose::Run, minutes(3)).is_ok());
}
