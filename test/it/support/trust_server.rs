//! A server of trust data that serves, lies, stalls or asks for credentials, over real TLS on loopback; and a verifier that asks it.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use img_authz::image::{Repository, Tag};
use img_authz::net::Tls;
use img_authz::trust::notary::{Config, Notary, Source};
use img_authz::trust::{Asking, Purpose, Question, TrustCode, TrustError, Vouch};
use jiff::Timestamp;

use crate::support::trust_repo::*;

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

pub type Handler = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

/// A name of the server that only a proxy finds: loopback is never asked by way of one.
pub const ELSEWHERE: &str = "notary.test";

/// A CA, and what it issued for localhost; one for the whole test run.
pub struct Issued {
    pub ca: Authority,
    pub leaf: rustls::pki_types::CertificateDer<'static>,
    pub pair: rcgen::KeyPair,
}

pub static ISSUED: std::sync::LazyLock<Issued> = std::sync::LazyLock::new(|| {
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

pub fn identity(certificates: Certificates) -> (String, Arc<rustls::ServerConfig>) {
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
pub fn self_signed(name: &str, until: i32) -> (String, Arc<rustls::ServerConfig>) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let certificate = params.self_signed(&pair).unwrap();
    (pem(certificate.der()), server_config(certificate.der().clone(), &pair, Certificates::Unasked))
}

pub fn server_config(
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

    pub fn start_as(
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

pub fn serve(
    stream: TcpStream,
    config: Arc<rustls::ServerConfig>,
    handler: &Handler,
    all: &Mutex<Vec<Seen>>,
) -> std::io::Result<()> {
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

    pub fn on(mut config: Config, change: impl FnOnce(&mut Config)) -> Self {
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
pub fn pull(server: &Server, change: impl FnOnce(&mut Config)) -> Result<Vouch, TrustError> {
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

pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
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

/// A server whose files can be changed, or taken away, or that can hang.
pub fn changing() -> (Arc<Mutex<Option<Files>>>, Server) {
    let files = Arc::new(Mutex::new(Some(good())));
    let shared = Arc::clone(&files);
    let server = Server::start(move |seen| match &*shared.lock().unwrap() {
        Some(files) => file(files, seen),
        None => Reply::Status(503, Vec::new(), Vec::new()),
    });
    (files, server)
}

/// A client that knows the repository, and a server that then does what `reply` says of its timestamp, or of everything.
pub fn known_then(
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
