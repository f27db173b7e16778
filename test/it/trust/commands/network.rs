//! CAs, proxies and TLS.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::support::{Place, ended, password, start, told};
use crate::support::trust_repo::*;
use crate::support::trust_server::{ELSEWHERE, Server, basic, good, guarded};

#[test]
fn a_ca_in_dockers_folder_counts_for_its_server() {
    let (place, server) = (Place::new(), Server::files(good()));
    // The system's CAs are none of this machine's: a file that exists and has another.
    let system = place.write("system.pem", &Authority::new(Authority::params("system CA")).pem);
    let ask = || ended(start(place.asking(&server.url).env("SSL_CERT_FILE", &system).arg(format!("{GUN}:1.0"))));
    assert!(ask().no("trust-ca-refused").contains("give the gate that server's CA"));
    place.write("docker/tls/localhost:1/ca.crt", &server.ca);
    ask().no("trust-ca-refused");
    place.write(&format!("docker/tls/{}/ca.crt", server.host()), &server.ca);
    ask().yes();
    // Beside a CA of that folder the system's count too, and no others.
    let other = Authority::new(Authority::params("other CA")).pem;
    place.write(&format!("docker/tls/{}/ca.crt", server.host()), &other);
    ask().no("trust-ca-refused");
    let system = place.write("its.pem", &server.ca);
    ended(start(place.asking(&server.url).env("SSL_CERT_FILE", &system).arg(format!("{GUN}:1.0")))).yes();
    // Those in a folder count as those of the bundle do, and of no other folder.
    let (bundle, folder) = (place.write("system.pem", &other), place.write("folder/its.pem", &server.ca));
    let by = |folder: &std::path::Path| {
        let mut asking = place.asking(&server.url);
        asking.env("SSL_CERT_FILE", &bundle).env("SSL_CERT_DIR", folder.parent().unwrap());
        ended(start(asking.arg(format!("{GUN}:1.0"))))
    };
    by(&folder).yes();
    by(&place.write("empty/README", "none")).no("trust-ca-refused");
    // One that is given stands alone.
    let other = place.write("other.crt", &other);
    ended(start(place.asking(&server.url).arg("--root-ca").arg(other).arg(format!("{GUN}:1.0")))).no("trust-ca-refused");
}

/// What a proxy does.
#[derive(Clone, Copy)]
enum Proxying {
    Connects,
    /// Asks for a password.
    Asks,
    Stalls,
    EndlessHead,
}

/// A proxy on loopback, and the heads it was sent.
struct Proxy {
    address: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn start(how: Proxying) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let shared = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let heads = Arc::clone(&shared);
                std::thread::spawn(move || drop(Self::serve(stream, how, &heads)));
            }
        });
        Self { address, heads }
    }

    fn serve(mut stream: TcpStream, how: Proxying, heads: &Mutex<Vec<String>>) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        heads.lock().unwrap().push(head.clone());
        let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned();
        match how {
            Proxying::Connects => {
                let origin = TcpStream::connect(target.replace(ELSEWHERE, "localhost"))?;
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
                let (mut from, mut to) = (stream.try_clone()?, origin.try_clone()?);
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
                let (mut from, mut to) = (origin, stream);
                std::io::copy(&mut from, &mut to)?;
            }
            Proxying::Asks => stream.write_all(b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=x\r\n\r\n")?,
            Proxying::Stalls => std::thread::sleep(Duration::from_secs(30)),
            Proxying::EndlessHead => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
                loop {
                    stream.write_all(b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n")?;
                }
            }
        }
        Ok(())
    }

    fn heads(&self) -> String {
        self.heads.lock().unwrap().concat()
    }
}

#[test]
fn a_proxy_is_used_and_its_password_is_for_it_alone() {
    let (place, server) = (Place::new(), guarded("Basic realm=\"notary\"".to_owned(), basic()).elsewhere());
    place.login("reg.example:5000", &password());
    let proxy = Proxy::start(Proxying::Connects);
    let through = format!("http://carrier:pigeon@{}", proxy.address);
    place.verify_with(&server, |command| command.env("HTTPS_PROXY", &through)).yes();
    let heads = proxy.heads();
    assert!(heads.contains(&format!("CONNECT {} ", server.host())));
    assert!(
        heads
            .to_lowercase()
            .contains(&format!("proxy-authorization: basic {}", STANDARD.encode("carrier:pigeon")).to_lowercase())
    );
    // Neither learns what is the other's.
    assert!(!heads.contains(&STANDARD.encode("rig:secret")) && !heads.contains("/v2/"), "{heads}");
    let told = told(&server);
    assert!(told.contains(&basic()) && !told.contains(&STANDARD.encode("carrier:pigeon")) && !told.contains("proxy-"), "{told}");
    // All names of the variable; and exceptions from it.
    for name in ["https_proxy", "ALL_PROXY", "all_proxy"] {
        let before = proxy.heads.lock().unwrap().len();
        place.verify_with(&server, |command| command.env(name, &through)).yes();
        assert!(proxy.heads.lock().unwrap().len() > before, "{name}");
    }
    let before = proxy.heads.lock().unwrap().len();
    // Where the proxy is not to be asked, the name leads nowhere.
    for (name, except) in [("NO_PROXY", ELSEWHERE), ("no_proxy", "other.example, notary.test"), ("NO_PROXY", "*")] {
        place.verify_with(&server, |command| command.env("HTTPS_PROXY", &through).env(name, except)).no("trust-unreachable");
    }
    place.verify_with(&server, |command| command.env("HTTP_PROXY", &through)).no("trust-unreachable");
    // Loopback is never asked by way of a proxy.
    let (place, server) = (Place::new(), Server::files(good()));
    place.verify_with(&server, |command| command.env("HTTPS_PROXY", &through)).yes();
    assert_eq!(proxy.heads.lock().unwrap().len(), before);
}

#[test]
fn a_proxy_that_fails_is_not_gone_around() {
    let (place, server) = (Place::new(), Server::files(good()).elsewhere());
    for (proxy, code, said) in [
        ("http://127.0.0.1:1".to_owned(), "trust-unreachable", "refused"),
        (
            format!("http://{}", Proxy::start(Proxying::Asks).address),
            "trust-unreachable",
            "proxy authorization required (by way of a proxy",
        ),
        (format!("http://{}", Proxy::start(Proxying::EndlessHead).address), "trust-unreachable", "by way of a proxy"),
        (format!("http://{}", Proxy::start(Proxying::Stalls).address), "trust-unreachable", "did not answer"),
        ("socks5://user:secret@127.0.0.1:1".to_owned(), "trust-misconfigured", "HTTPS_PROXY is not http://HOST:PORT"),
        ("http://user:secret@:x".to_owned(), "trust-misconfigured", "HTTPS_PROXY is not http://HOST:PORT"),
        // Its certificate would have to be from the CA given as well.
        ("https://127.0.0.1:1".to_owned(), "trust-unreachable", "refused"),
    ] {
        let message = place.verify_with(&server, |command| command.env("HTTPS_PROXY", &proxy)).no(code);
        assert!(message.contains(said) && !message.contains("secret"), "{proxy}: {message}");
    }
    assert_eq!(server.count(), 0);
    let proxy = format!("http://{}", Proxy::start(Proxying::Connects).address);
    place.verify_with(&server, |command| command.env("HTTPS_PROXY", &proxy)).yes();
}

/// A server that speaks TLS up to this version: it answers the client's hello with one of its own, and that is all.
fn hello(version: [u8; 2]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut some = [0; 512];
            let _ = stream.read(&mut some);
            let [major, minor] = version;
            // RFC 4346, 7.4.1.3: version, random, no session, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, no compression.
            let body = [&[major, minor][..], &[7; 32], &[0, 0xc0, 0x13, 0]].concat();
            let length = u8::try_from(body.len()).unwrap();
            let record = [&[22, major, minor, 0, length + 4, 2, 0, 0, length][..], &body].concat();
            let _ = stream.write_all(&record);
            let _ = stream.read(&mut some);
        }
    });
    format!("https://localhost:{}", address.port())
}

#[test]
fn tls_before_1_2_is_refused() {
    let (place, server) = (Place::new(), Server::files(good()));
    let ca = place.write("ca.crt", &server.ca);
    let ask = |version| {
        let url = hello(version);
        ended(start(place.asking(&url).arg("--root-ca").arg(&ca).arg(format!("{GUN}:1.0")))).no("trust-unreachable")
    };
    for old in [[3, 0], [3, 1], [3, 2]] {
        let message = ask(old);
        assert!(
            message.contains("TLS with `localhost:") && message.contains("ServerDoesNotSupportTls12Or13"),
            "{old:?}: {message}"
        );
    }
    // With the version of TLS 1.2 it is the cipher suite that is refused.
    let message = ask([3, 3]);
    assert!(message.contains("SelectedUnofferedCipherSuite"), "{message}");
}

#[test]
fn a_server_that_does_not_speak_tls_is_refused_in_time() {
    let place = Place::new();
    let ca = place.write("ca.crt", &Server::files(good()).ca);
    let listen = |serve: fn(TcpStream)| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || serve(stream));
            }
        });
        url
    };
    let servers = [
        listen(|stream| {
            std::thread::sleep(Duration::from_secs(30));
            drop(stream);
        }),
        // A handshake by drops: a record of the largest length, a byte at a time.
        listen(|mut stream| {
            for byte in [22, 3, 3, 0x3f, 0xff].into_iter().chain(std::iter::repeat(2)) {
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }),
        listen(|mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        }),
        listen(drop),
        listen(|mut stream| while stream.write_all(&[0x16; 4096]).is_ok() {}),
    ];
    let children = servers.each_ref().map(|url| start(place.asking(url).arg("--root-ca").arg(&ca).arg(format!("{GUN}:1.0"))));
    for child in children {
        assert!(ended(child).no("trust-unreachable").contains("ask this host's administrator to check the way to that server"));
    }
}
