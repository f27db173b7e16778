//! A registry of a few lines on loopback, with TLS and without.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use img_authz::image::{Digest, Repository};

pub const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

pub(crate) fn manifest() -> String {
    let digest = Digest::of(b"config");
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json",
            "digest":"{digest}","size":6}},"layers":[]}}"#
    )
}

/// What the registry answers: status line, header lines, body.
#[derive(Clone)]
pub(crate) struct Say {
    pub status: &'static str,
    pub headers: Vec<String>,
    pub body: Vec<u8>,
}

impl Say {
    pub(crate) fn manifest() -> Self {
        Self { status: "200 OK", headers: vec![format!("Content-Type: {OCI}")], body: manifest().into_bytes() }
    }

    pub(crate) fn status(status: &'static str) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub fn with(mut self, header: &str) -> Self {
        self.headers.push(header.to_owned());
        self
    }
}

pub type Answers = Arc<dyn Fn(&str) -> Say + Send + Sync>;

/// A registry on loopback. Answers one request per connection.
pub(crate) struct Fake {
    pub(crate) host: String,
    pub heads: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// `tls`: the configuration of a TLS server; plain HTTP without one.
    pub(crate) fn new(tls: Option<Arc<rustls::ServerConfig>>, answers: impl Fn(&str) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, answers): (_, Answers) = (Arc::clone(&heads), Arc::new(answers));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (tls, seen, answers) = (tls.clone(), Arc::clone(&seen), Arc::clone(&answers));
                std::thread::spawn(move || match tls {
                    None => serve(stream, &seen, &*answers),
                    Some(tls) => {
                        let connection = rustls::ServerConnection::new(tls).unwrap();
                        serve(rustls::StreamOwned::new(connection, stream), &seen, &*answers);
                    }
                });
            }
        });
        Self { host: format!("localhost:{port}"), heads }
    }

    pub fn app(&self) -> Repository {
        format!("{}/team/app", self.host).parse().unwrap()
    }

    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// The standard library's streams need no more than these two.
pub trait Stream: Read + Write {}

impl Stream for TcpStream {}

impl Stream for rustls::StreamOwned<rustls::ServerConnection, TcpStream> {}

pub fn serve(stream: impl Stream, seen: &Mutex<Vec<String>>, answers: &(dyn Fn(&str) -> Say + Send + Sync)) {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if !matches!(stream.read_line(&mut head), Ok(count) if count > 0) {
            return;
        }
    }
    let say = answers(&head);
    seen.lock().unwrap().push(head);
    let mut answer = format!("HTTP/1.1 {}\r\nContent-Length: {}\r\nConnection: close\r\n", say.status, say.body.len());
    for header in &say.headers {
        answer.push_str(header);
        answer.push_str("\r\n");
    }
    answer.push_str("\r\n");
    let stream = stream.get_mut();
    let _ = stream.write_all(answer.as_bytes());
    let _ = stream.write_all(&say.body);
    let _ = stream.flush();
}

/// A certificate for `localhost` that signs itself: the server's configuration, and the PEM to trust.
pub fn tls() -> (Arc<rustls::ServerConfig>, String) {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![key.cert.der().clone()], private)
        .unwrap();
    (Arc::new(config), key.cert.pem())
}
