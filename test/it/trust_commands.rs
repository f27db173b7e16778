//! `img-authz trust`, as an operator runs it: a process of its own, by the real clock, against real TLS servers. Credentials,
//! client certificates and proxies; bad state, bad files and bad names; several processes at once.
//!
//! Whatever is wrong: an answer within 20 seconds and 256 MiB, exit code 2 and a code, and no secret to whom it is not for.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use img_authz::trust::TrustCode;
use serde_json::{Value, json};

use crate::trust_repo::*;
use crate::trust_server::{Certificates, ELSEWHERE, Reply, Server, basic, client_certificate, file, good, guarded};

/// A folder with docker's configuration, the gate's, and state.
struct Place {
    folder: tempfile::TempDir,
}

#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
    took: Duration,
    peak_kib: u64,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Not twice: another process may be reading it.
        if std::fs::read(&path).ok().as_deref() != Some(text.as_bytes()) {
            std::fs::write(&path, text).unwrap();
        }
        path
    }

    /// `trust verify`, ready to be changed and run.
    fn command(&self, server: &Server) -> Command {
        let mut command = self.asking(&server.url);
        command.arg("--root-ca").arg(self.write("ca.crt", &server.ca));
        command
    }

    fn asking(&self, server: &str) -> Command {
        let mut command = self.trust("verify");
        command.args(["--json", "--server", server]);
        command
    }

    /// `trust COMMAND` with this place's state.
    fn trust(&self, what: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_img-authz"));
        command.env_clear().env("CONFIG_DIR", self.path("etc/img-authz")).env("DOCKER_CONFIG", self.path("docker"));
        command.args(["trust", what, "--state"]).arg(self.path("state"));
        command
    }

    /// `trust inspect`, or another that asks the server about the repository.
    fn about(&self, what: &str, server: &Server) -> Command {
        let mut command = self.trust(what);
        command.args([GUN, "--server", &server.url, "--root-ca"]).arg(self.write("ca.crt", &server.ca));
        command
    }

    fn verify_with(&self, server: &Server, change: impl FnOnce(&mut Command) -> &mut Command) -> Ran {
        let mut command = self.command(server);
        change(&mut command);
        ended(start(command.arg(format!("{GUN}:1.0"))))
    }

    fn verify(&self, server: &Server) -> Ran {
        self.verify_with(server, |command| command)
    }

    /// Credentials for a host.
    fn login(&self, host: &str, entry: &Value) {
        self.write("docker/config.json", &json!({ "auths": { host: entry } }).to_string());
    }
}

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits, with an eye on time and memory.
fn ended(mut child: Child) -> Ran {
    let (started, mut peak_kib) = (Instant::now(), 0);
    let status = loop {
        // Until it is the command, its memory is that of this process, from which it comes.
        let is_command = std::fs::read_link(format!("/proc/{}/exe", child.id())).is_ok_and(|path| path.ends_with("img-authz"));
        let text =
            std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok().filter(|_| is_command).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak_kib = peak_kib.max(peak.unwrap_or_default());
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if started.elapsed() > Duration::from_secs(30) => {
                child.kill().unwrap();
                panic!("it goes on for ever");
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let (mut out, mut err) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    Ran { code: status.code(), out, err, took: started.elapsed(), peak_kib }
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A yes for the content `one`.
    #[track_caller]
    fn yes(&self) {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert_eq!(self.json()["digest"], digest("one"), "{self:?}");
    }

    /// A no: the message.
    #[track_caller]
    fn no(&self, code: &str) -> String {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert!(self.took < Duration::from_secs(20) && self.peak_kib < 256 << 10, "{self:?}");
        let answer = self.json();
        assert_eq!(answer["code"], code, "{self:?}");
        answer["message"].as_str().filter(|message| message.len() > 10).expect("it says why").to_owned()
    }
}

/// Everything that came to a server, as text.
fn told(server: &Server) -> String {
    server.seen.lock().unwrap().iter().map(crate::trust_server::Seen::text).collect()
}

fn password() -> Value {
    json!({ "auth": STANDARD.encode("rig:secret") })
}

#[test]
fn a_signed_tag_is_a_yes_and_another_is_a_no() {
    let (place, server) = (Place::new(), Server::files(good()));
    place.verify(&server).yes();
    let other = ended(start(place.command(&server).arg(format!("{GUN}:2.0"))));
    assert!(other.no("not-signed").contains("tag `2.0` is not signed; ask its publisher to sign this tag"));
}

#[test]
fn what_is_no_reference_is_refused_without_asking() {
    let (place, server) = (Place::new(), Server::files(good()));
    let long = format!("reg.example/{}:1", "a".repeat(5000));
    for name in [
        "",
        " ",
        ":",
        "@",
        "/",
        "-",
        "--",
        "-x",
        "a b",
        "reg.example/App:1.0",
        "reg.example//app:1.0",
        "reg.example/app:",
        "reg.example/app@",
        "reg.example/app@sha256:00",
        "reg.example/app@md5:d41d8cd98f00b204e9800998ecf8427e",
        "https://reg.example/app:1.0",
        "reg.example/../app:1.0",
        "reg.example:port/app:1.0",
        "reg.example/app:1.0\n",
        "reg.example/app:1.0\u{0}x",
        "réf.example/app:1.0",
        "reg.example/app:a/b",
        "reg.example/app:1.0?x=y",
        "reg.example/app%2fx:1.0",
        "user:pass@reg.example/app:1.0",
        "[::1/app:1.0",
        &long,
    ] {
        // The system takes no NUL in an argument.
        let name = name.replace('\0', "\u{1}");
        ended(start(place.command(&server).args(["--", &name]))).no("reference-invalid");
    }
    let mut command = place.command(&server);
    ended(start(command.arg(std::ffi::OsStr::from_bytes(b"reg.example/\xff:1.0")))).no("reference-invalid");
    ended(start(place.command(&server).arg("-x:1.0"))).no("reference-invalid");
    assert_eq!(server.count(), 0);
}

#[test]
fn a_server_that_is_none_is_refused() {
    let place = Place::new();
    for url in [
        "http://localhost:1",
        "ftp://localhost:1",
        "https://",
        "https://user:secret@localhost:1",
        "https://localhost:1/?a=b",
        "https://localhost:99999",
        "https://local host",
        "https://[::1",
        "://x",
        "",
    ] {
        let message = ended(start(place.asking(url).arg(format!("{GUN}:1.0")))).no("trust-misconfigured");
        assert!(!message.contains("secret"), "{message}");
    }
}

#[test]
fn files_that_are_named_and_no_good_are_refused() {
    let (place, server) = (Place::new(), Server::files(good()));
    let fifo = place.path("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    let huge = place.path("huge");
    std::fs::File::create(&huge).unwrap().set_len(1 << 40).unwrap();
    let (missing, folder) = (place.path("missing"), place.folder.path().to_owned());
    let device = PathBuf::from("/dev/zero");
    let files = [&fifo, &huge, &missing, &folder, &device];
    let mut bad: Vec<PathBuf> = files.into_iter().cloned().collect();
    for (index, text) in
        ["", "\u{0}", "{", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"].into_iter().enumerate()
    {
        bad.push(place.write(&format!("bad{index}"), text));
    }
    let latin = place.path("latin");
    std::fs::write(&latin, b"\xff\xfe").unwrap();
    bad.push(latin);
    for path in &bad {
        let ran = ended(start(place.asking(&server.url).arg("--root-ca").arg(path).arg(format!("{GUN}:1.0"))));
        ran.no("trust-misconfigured");
        // An unreadable docker configuration is none; pins that cannot be read let nothing pass.
        place.verify_with(&server, |command| command.arg("--pins").arg(path)).no("trust-misconfigured");
    }
    assert_eq!(server.count(), 0);
    place.verify(&server).yes();
}

#[test]
fn pins_that_are_malformed_let_nothing_pass() {
    let (place, server) = (Place::new(), Server::files(good()));
    let root = place.verify(&server);
    root.yes();
    let zeros = "0".repeat(64);
    let bundle = place.write("bundle.pem", "no certificate");
    let asked = server.count();
    for text in [
        "[]".to_owned(),
        "null".to_owned(),
        "{\"certs\": []}".to_owned(),
        "{\"certs\": null}".to_owned(),
        format!("{{\"certs\": {{\"{GUN}\": \"{zeros}\"}}}}"),
        format!("{{\"certs\": {{\"{GUN}\": [\"abc\"]}}}}"),
        format!("{{\"certs\": {{\"{GUN}\": [\"{}\"]}}}}", zeros.replace('0', "A")),
        format!("{{\"certs\": {{\"{GUN}\": [], \"{GUN}\": []}}}}"),
        "{\"disable_tofu\": \"true\"}".to_owned(),
        "{\"disable_tofu\": 1}".to_owned(),
        "{\"disable_tofu\": true, \"Disable_TOFU\": false}".to_owned(),
        "{\"disable-tofu\": true}".to_owned(),
        "{\"trust_pinning\": []}".to_owned(),
        format!("{{\"ca\": {{\"{GUN}\": \"{}\"}}}}", bundle.display()),
        format!("{{\"ca\": {{\"{GUN}\": \"/nowhere\"}}}}"),
        format!("{{\"ca\": {{\"{GUN}\": \"/dev/zero\"}}}}"),
        format!("{{}}{}", "x".repeat(10)),
        format!("{{\"certs\": {}1{}}}", "[".repeat(5000), "]".repeat(5000)),
    ] {
        let pins = place.write("pins.json", &text);
        place.verify_with(&server, |command| command.arg("--pins").arg(pins)).no("trust-misconfigured");
    }
    assert_eq!(server.count(), asked);
    for (text, expected) in [
        (format!("{{\"certs\": {{\"{GUN}\": []}}}}"), Some("root-not-trusted")),
        (format!("{{\"certs\": {{\"{GUN}\": [\"{zeros}\"]}}}}"), Some("root-not-trusted")),
        (format!("{{\"certs\": {{\"reg.example:5000/*\": [\"{zeros}\"]}}}}"), Some("root-not-trusted")),
        ("{\"disable_tofu\": true}".to_owned(), Some("root-not-trusted")),
        ("{\"certs\": {}}".to_owned(), None),
        ("{}".to_owned(), None),
    ] {
        let pins = place.write("pins.json", &text);
        let ran = place.verify_with(&server, |command| command.arg("--pins").arg(pins));
        match expected {
            Some(code) => drop(ran.no(code)),
            None => ran.yes(),
        }
    }
}

#[test]
fn bundles_of_pins_in_the_settings_lie_beside_them_and_not_where_one_happens_to_stand() {
    let ca = Authority::new(Authority::params("owner CA"));
    let planted = Authority::new(Authority::params("owner CA"));
    let (place, server) = (Place::new(), Server::files(Repo::docker(ca.issue(&params(GUN), "")).publish()));
    let evil = Server::files(Repo::docker(planted.issue(&params(GUN), "")).publish());
    place.write("etc/img-authz/ca.pem", &ca.pem);
    let folder = place.write("here/ca.pem", &planted.pem).parent().unwrap().to_owned();
    let pins = json!({ "disable_tofu": true, "ca": { "reg.example:5000/": "ca.pem" } }).to_string();
    place.verify_with(&evil, |command| command.env("NOTARY_PINS", &pins).current_dir(&folder)).no("root-not-trusted");
    place.verify_with(&server, |command| command.env("NOTARY_PINS", &pins).current_dir(&folder)).yes();
    place.verify_with(&server, |command| command.env("NOTARY_PINS", &pins).current_dir("/")).yes();
}

#[test]
fn a_setting_that_is_no_text_is_a_fault_and_not_unset() {
    let (place, server) = (Place::new(), Server::files(good()));
    let broken = |text: &str| std::ffi::OsStr::from_bytes(&[text.as_bytes(), b"\xff"].concat()).to_owned();
    for (name, text) in [
        ("NOTARY_PINS", "{\"disable_tofu\": true}"),
        ("NOTARY_SIGNERS", "*=qa"),
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
        ("https_proxy", "http://user:pass@127.0.0.1:1/"),
        ("ALL_PROXY", "http://127.0.0.1:1"),
    ] {
        place.verify_with(&server, |command| command.env(name, broken(text))).no("trust-misconfigured");
    }
    let inside = [b"{\"certs\": {\"reg.example:5000\xff/*\": []}}".as_slice()].concat();
    place
        .verify_with(&server, |command| command.env("NOTARY_PINS", std::ffi::OsStr::from_bytes(&inside)))
        .no("trust-misconfigured");
    let mut unread = place.asking(&server.url);
    unread.env("NOTARY_ROOT_CA", broken(&server.ca)).arg(format!("{GUN}:1.0"));
    ended(start(&mut unread)).no("trust-misconfigured");
    assert_eq!(server.count(), 0);
}

#[test]
fn a_client_certificate_is_shown_to_its_server_and_to_nobody_else() {
    let files = good();
    let tokens = Server::start_with(Certificates::Welcome, |_| Reply::File(json!({ "token": "tok" }).to_string().into_bytes()));
    let realm = format!("Bearer realm=\"{}/token\",service=\"rig\"", tokens.url);
    let server = Server::start_with(Certificates::Required, move |seen| {
        if seen.headers.get("authorization").is_some_and(|text| text == "Bearer tok") {
            file(&files, seen)
        } else {
            Reply::Status(401, vec![("www-authenticate", realm.clone())], Vec::new())
        }
    });
    let (certificate, key) = client_certificate();
    let other_key = client_certificate().1;
    for folder in ["docker/tls", "etc/certs.d", "etc/img-authz/certs.d"] {
        let place = Place::new();
        // For another port, it is not shown.
        place.write(&format!("{folder}/localhost:1/client.cert"), &certificate);
        place.write(&format!("{folder}/localhost:1/client.key"), &key);
        place.write(&format!("{folder}/localhost/client.cert"), &certificate);
        place.write(&format!("{folder}/localhost/client.key"), &key);
        assert!(place.verify(&server).no("trust-unreachable").contains("CertificateRequired"));
        place.write(&format!("{folder}/{}/client.cert", server.host()), &certificate);
        assert!(
            place.verify(&server).no("trust-misconfigured").contains("client.key"),
            "{folder}: a certificate without its key"
        );
        for bad in ["", "no key", &other_key] {
            place.write(&format!("{folder}/{}/client.key", server.host()), bad);
            let message = place.verify(&server).no("trust-misconfigured");
            assert!(message.contains("client certificate"), "{message}");
        }
        place.write(&format!("{folder}/{}/client.key", server.host()), &key);
        place.verify(&server).yes();
    }
    assert!(server.seen.lock().unwrap().iter().all(|seen| seen.certified));
    assert!(tokens.count() >= 3 && tokens.seen.lock().unwrap().iter().all(|seen| !seen.certified));
}

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
    // One that is given stands alone.
    let other = place.write("other.crt", &Authority::new(Authority::params("other CA")).pem);
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

#[test]
fn an_identity_token_is_given_to_the_token_service_as_a_form_and_to_nobody_else() {
    let refresh = "refresh&me=1";
    let tokens = Server::start(move |seen| {
        let form: std::collections::BTreeMap<String, String> =
            img_authz::net::Url::parse(&format!("form:?{}", seen.body)).unwrap().query_pairs().into_owned().collect();
        let fits = form.get("grant_type").is_some_and(|text| text == "refresh_token")
            && form.get("refresh_token").is_some_and(|text| text == refresh)
            && form.get("scope").is_some_and(|text| *text == format!("repository:{GUN}:pull"))
            && form.get("service").is_some_and(|text| text == "rig")
            && form.contains_key("client_id")
            && seen.path == "/token";
        if fits {
            Reply::File(json!({ "access_token": "tok", "expires_in": 300, "refresh_token": "another" }).to_string().into_bytes())
        } else {
            Reply::Status(401, Vec::new(), Vec::new())
        }
    });
    let challenge = format!("Bearer realm=\"{}/token\",service=\"rig\"", tokens.url);
    let (place, server) = (Place::new(), guarded(challenge, "Bearer tok".to_owned()));
    place.login("reg.example:5000", &json!({ "identitytoken": refresh }));
    place.verify(&server).yes();
    assert_eq!(tokens.count(), 1, "one token for all files");
    assert!(!told(&server).contains("refresh"));
    // Another one is not accepted; one for another host is not sent.
    place.login("reg.example:5000", &json!({ "identitytoken": "outdated" }));
    let message = place.verify(&server).no("trust-unauthorized");
    assert!(message.contains("does not accept") && !message.contains("outdated"), "{message}");
    let before = tokens.count();
    place.login("reg.example:5001", &json!({ "identitytoken": refresh }));
    place.verify(&server).no("trust-unauthorized");
    assert!(tokens.seen.lock().unwrap().iter().skip(before).all(|seen| !seen.text().contains("refresh")));
    // Where a password is asked for, it is none.
    let (place, server) = (Place::new(), guarded("Basic realm=\"notary\"".to_owned(), "never".to_owned()));
    place.login("reg.example:5000", &json!({ "identitytoken": refresh }));
    assert!(place.verify(&server).no("trust-unauthorized").contains("identity token"));
    assert!(!told(&server).contains("refresh"));
}

#[test]
fn credentials_of_another_host_are_sent_to_nobody() {
    let thief = Server::start(|_| Reply::File(json!({ "token": "tok" }).to_string().into_bytes()));
    let challenges = ["Basic realm=\"x\"".to_owned(), format!("Bearer realm=\"{}/token\"", thief.url)];
    for challenge in challenges {
        let server = guarded(challenge, "Bearer never".to_owned());
        for host in ["reg.example", "reg.example:5001", "example:5000", "REG.example:5000x", "localhost", server.host(), "*", ""]
        {
            let place = Place::new();
            place.login(host, &password());
            place.verify(&server).no("trust-unauthorized");
        }
        assert!(!told(&server).contains(&STANDARD.encode("rig:secret")));
    }
    assert!(thief.count() > 0 && !told(&thief).contains(&STANDARD.encode("rig:secret")));
}

#[test]
fn credentials_do_not_follow_a_redirect_or_an_error() {
    let thief = Arc::new(Server::files(good()));
    for status in [301, 302, 303, 307, 308] {
        let target = thief.url.clone();
        // It takes the password, and then leads elsewhere.
        let server = Server::start(move |seen| {
            if seen.headers.contains_key("authorization") {
                Reply::Status(status, vec![("location", format!("{target}{}", seen.path))], Vec::new())
            } else {
                Reply::Status(401, vec![("www-authenticate", "Basic realm=\"x\"".to_owned())], Vec::new())
            }
        });
        let place = Place::new();
        place.login("reg.example:5000", &password());
        assert!(place.verify(&server).no("trust-unreachable").contains(&format!("status {status}")));
    }
    assert_eq!(thief.count(), 0);
}

#[test]
fn a_credential_helper_is_named_and_not_started() {
    let server = guarded("Basic realm=\"notary\"".to_owned(), basic());
    for config in [json!({ "credsStore": "touch" }), json!({ "credHelpers": { "reg.example:5000": "touch" } })] {
        let place = Place::new();
        place.write("docker/config.json", &config.to_string());
        // It would be found, and leave a mark.
        let helper = place.write("bin/docker-credential-touch", "#!/bin/sh\ntouch \"$0.ran\"\n");
        std::fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let ran = place.verify_with(&server, |command| command.env("PATH", place.path("bin")));
        assert!(ran.no("trust-unauthorized").contains("credential helper, which is never started; put them in `auths`"));
        assert!(!place.path("bin/docker-credential-touch.ran").exists());
        // What stands in `auths` all the same counts.
        let mut with = config.clone();
        with["auths"] = json!({ "reg.example:5000": password() });
        place.write("docker/config.json", &with.to_string());
        place.verify(&server).yes();
    }
}

#[test]
fn a_docker_configuration_that_is_broken_is_none() {
    let server = Server::files(good());
    let place = Place::new();
    std::fs::create_dir_all(place.path("docker")).unwrap();
    let path = place.path("docker/config.json");
    let make: [&dyn Fn(); 5] = [
        &|| std::fs::write(&path, "{\"auths\": {\"x\": {\"auth\": \"c2VjcmV0").unwrap(),
        &|| std::fs::write(&path, [0xff; 100]).unwrap(),
        &|| std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap(),
        &|| rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap(),
        &|| std::fs::create_dir(&path).unwrap(),
    ];
    for make in make {
        let _ = std::fs::remove_file(&path);
        make();
        let ran = place.verify(&server);
        ran.yes();
        assert!(!ran.err.contains("c2Vj"), "{ran:?}");
    }
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

/// One state file's path, after a verification that was good.
fn state_file(place: &Place) -> PathBuf {
    let found = std::fs::read_dir(place.path("state")).unwrap().map(|entry| entry.unwrap().path());
    found.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "state")).expect("a state file")
}

fn mkfifo(path: &std::path::Path) {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
}

/// Replaces what stands at `path`, whatever it is.
fn clear(path: &std::path::Path) {
    let _ = std::fs::remove_dir_all(path).or_else(|_| std::fs::remove_file(path));
}

#[test]
fn whatever_stands_in_the_place_of_state_refuses_until_a_pin_or_a_person_says_go_on() {
    let server = Server::files(good());
    let place = Place::new();
    place.verify(&server).yes();
    let keys = ended(start(place.about("pin", &server).arg("--json")));
    let pins = place.write("pins.json", &json!({ "certs": keys.json()["certs"] }).to_string());
    let path = state_file(&place);
    let whole = std::fs::read(&path).unwrap();
    let victim = place.write("victim", "untouched");
    let fake = path.with_file_name(format!("{}.state", "0".repeat(64)));
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let another = String::from_utf8_lossy(&whole).replace("team/app", "team/ape").into_bytes();
    let damages: Vec<(&str, Box<dyn Fn()>)> = vec![
        ("empty", Box::new(|| std::fs::write(&path, "").unwrap())),
        ("cut", Box::new(|| std::fs::write(&path, &whole[..whole.len() / 2]).unwrap())),
        ("a bit flipped", Box::new(|| std::fs::write(&path, &flipped).unwrap())),
        ("bytes behind", Box::new(|| std::fs::write(&path, [&whole[..], b"x"].concat()).unwrap())),
        ("changed by hand", Box::new(|| std::fs::write(&path, &another).unwrap())),
        ("of a version to come", Box::new(|| std::fs::write(&path, b"img-authz trust state 9\n").unwrap())),
        ("JSON", Box::new(|| std::fs::write(&path, "{}").unwrap())),
        ("huge", Box::new(|| std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap())),
        ("a folder", Box::new(|| std::fs::create_dir(&path).unwrap())),
        ("a folder with something in it", Box::new(|| std::fs::create_dir_all(path.join("x/y")).unwrap())),
        ("a FIFO", Box::new(|| mkfifo(&path))),
        ("a socket", Box::new(|| drop(std::os::unix::net::UnixListener::bind(&path).unwrap()))),
        ("a symbolic link", Box::new(|| std::os::unix::fs::symlink(&victim, &path).unwrap())),
        ("a link to itself", Box::new(|| std::os::unix::fs::symlink(&path, &path).unwrap())),
        ("a link to a device", Box::new(|| std::os::unix::fs::symlink("/dev/zero", &path).unwrap())),
    ];
    for (what, damage) in &damages {
        clear(&path);
        damage();
        let message = place.verify(&server).no("trust-misconfigured");
        assert!(message.contains(&format!("img-authz trust forget {GUN}")), "{what}: {message}");
        let ran = place.verify_with(&server, |command| command.arg("--pins").arg(&pins));
        ran.yes();
        assert!(ran.err.contains("kept trust data is damaged"), "{what}: it is told: {ran:?}");
        clear(&path);
        damage();
        assert!(forget(&place).out.contains("forgotten"), "{what}");
        place.verify(&server).yes();
        let again = place.verify(&server);
        again.yes();
        assert!(!again.err.contains("damaged"), "{what}: it is mended: {again:?}");
    }
    // The state of another repository, under this one's name.
    std::fs::write(&fake, &whole).unwrap();
    place.verify(&server).yes();
    // The other files of the folder.
    for ending in ["lock", "new", "state.bad"] {
        let path = path.with_extension(ending);
        for damage in [
            mkfifo as fn(&std::path::Path),
            |path: &std::path::Path| std::fs::create_dir_all(path.join("x")).unwrap(),
            |path| {
                std::os::unix::fs::symlink("/dev/zero", path).unwrap();
            },
        ] {
            clear(&path);
            damage(&path);
            std::fs::write(state_file(&place), "damaged").unwrap();
            place.verify_with(&server, |command| command.arg("--pins").arg(&pins)).yes();
            place.verify(&server).yes();
        }
    }
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "untouched");
}

fn forget(place: &Place) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_img-authz"));
    ended(start(command.args(["trust", "forget", GUN, "--state"]).arg(place.path("state"))))
}

#[test]
fn a_person_has_a_repository_forgotten_and_nobody_else() {
    let place = Place::new();
    assert!(forget(&place).out.contains("nothing was known"));
    let (server, rebuilt) = (Server::files(good()), Server::files(Repo::docker(root_key(GUN)).publish()));
    place.verify(&server).yes();
    place.verify(&rebuilt).no("trust-rolled-back");
    assert!(forget(&place).out.contains("forgotten"));
    place.verify(&rebuilt).yes();
    place.verify(&server).no("trust-rolled-back");
}

#[test]
fn a_state_folder_that_is_none_does_not_stop_a_verification_and_is_told() {
    let server = Server::files(good());
    for make in [
        |path: &std::path::Path| std::fs::write(path, "a file").unwrap(),
        mkfifo,
        |path: &std::path::Path| std::os::unix::fs::symlink("/proc/no/such/place", path).unwrap(),
        |path: &std::path::Path| std::os::unix::fs::symlink("/dev/null", path).unwrap(),
    ] {
        let place = Place::new();
        make(&place.path("state"));
        let ran = place.verify(&server);
        ran.yes();
        assert!(ran.err.contains("protection against rollback ends with this process"), "{ran:?}");
        // It is no way around a pin.
        let pins = place.write("pins.json", "{\"disable_tofu\": true}");
        place.verify_with(&server, |command| command.arg("--pins").arg(pins)).no("root-not-trusted");
    }
    // One that is somewhere else is as good as any.
    let place = Place::new();
    std::fs::create_dir(place.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(place.path("elsewhere"), place.path("state")).unwrap();
    let ran = place.verify(&server);
    ran.yes();
    assert!(!ran.err.contains("rollback"), "{ran:?}");
}

#[test]
fn state_that_is_damaged_lets_nothing_pass_that_pins_forbid() {
    let place = Place::new();
    let (server, stranger) = (Server::files(good()), Server::files(Repo::docker(root_key(GUN)).publish()));
    place.verify(&server).yes();
    let keys = ended(start(place.about("pin", &server).arg("--json")));
    let pins = place.write("pins.json", &json!({ "certs": keys.json()["certs"] }).to_string());
    let path = state_file(&place);
    for server_is_honest in [true, false] {
        std::fs::write(&path, "damaged").unwrap();
        let server = if server_is_honest { &server } else { &stranger };
        let ran = place.verify_with(server, |command| command.arg("--pins").arg(&pins));
        if server_is_honest { ran.yes() } else { drop(ran.no("root-not-trusted")) }
    }
    // Whole state and a stranger's root: refused without any pin.
    place.verify(&server).yes();
    place.verify(&stranger).no("trust-rolled-back");
}

#[test]
fn processes_that_share_a_folder_never_fail_for_each_other_nor_go_back() {
    let mut repo = Repo::docker(root_key(GUN));
    let old = Server::files(repo.publish());
    repo.bump();
    let new = Server::files(repo.publish());
    for _ in 0..3 {
        let place = Place::new();
        let children: Vec<Child> = (0..12).map(|_| start(place.command(&new).arg(format!("{GUN}:1.0")))).collect();
        for child in children {
            let ran = ended(child);
            ran.yes();
            assert!(!ran.err.contains("cannot be kept"), "{ran:?}");
        }
        place.verify(&old).no("trust-rolled-back");
    }
    // The old and the new at the same time: whoever is late with the old is refused or was first; the new always stays.
    for _ in 0..5 {
        let place = Place::new();
        let ask =
            |index: usize| start(place.command(if index.is_multiple_of(2) { &old } else { &new }).arg(format!("{GUN}:1.0")));
        let children: Vec<(usize, Child)> = (0..10).map(|index| (index, ask(index))).collect();
        for (index, child) in children {
            let ran = ended(child);
            match (index.is_multiple_of(2), ran.code) {
                (_, Some(0)) => ran.yes(),
                (true, _) => drop(ran.no("trust-rolled-back")),
                (false, _) => panic!("the newest was refused: {ran:?}"),
            }
        }
        place.verify(&old).no("trust-rolled-back");
        place.verify(&new).yes();
    }
}

#[test]
fn a_process_killed_at_any_point_leaves_state_that_the_next_can_use() {
    let mut repo = Repo::docker(root_key(GUN));
    let old = Server::files(repo.publish());
    let place = Place::new();
    let mut took = place.verify(&old).took;
    for round in 0..20u32 {
        repo.bump();
        let server = Server::files(repo.publish());
        let mut child = start(place.command(&server).arg(format!("{GUN}:1.0")));
        std::thread::sleep(took * round / 20);
        child.kill().unwrap();
        child.wait().unwrap();
        let ran = place.verify(&server);
        ran.yes();
        assert!(ran.err.is_empty(), "{ran:?}");
        took = ran.took;
    }
    place.verify(&old).no("trust-rolled-back");
}

#[test]
fn a_disk_that_takes_no_more_is_told_and_keeps_what_it_had() {
    let mut repo = Repo::docker(root_key(GUN));
    let mut publish = || {
        repo.bump();
        Server::files(repo.publish())
    };
    let (oldest, old, new) = (publish(), publish(), publish());
    let place = Place::new();
    place.verify(&old).yes();
    let kept = std::fs::read(state_file(&place)).unwrap();
    // Every file ends at 1 KiB: the write fails in its middle, as on a full disk.
    let full = |server: &Server| {
        let plain = place.command(server);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
        command.env_clear().envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        ended(start(command.arg(format!("{GUN}:1.0"))))
    };
    let ran = full(&new);
    ran.yes();
    assert!(
        ran.err.contains("verified trust data cannot be kept; protection against rollback ends with this process"),
        "{ran:?}"
    );
    assert_eq!(std::fs::read(state_file(&place)).unwrap(), kept);
    full(&oldest).no("trust-rolled-back");
    place.verify(&oldest).no("trust-rolled-back");
    place.verify(&new).yes();
    full(&old).no("trust-rolled-back");
}

#[test]
fn a_lock_that_somebody_keeps_costs_little_time() {
    let (place, server) = (Place::new(), Server::files(good()));
    place.verify(&server).yes();
    let lock = std::fs::File::create(state_file(&place).with_extension("lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    // Nothing is new, so nothing is written.
    place.verify(&server).yes();
    std::fs::remove_file(state_file(&place)).unwrap();
    let ran = place.verify(&server);
    ran.yes();
    assert!(ran.took < Duration::from_secs(8) && ran.err.contains("is locked"), "{ran:?}");
}

#[test]
fn documents_that_grow_in_memory_stay_within_their_bounds() {
    const LARGEST: usize = (8 << 20) - 100_000;
    // What is unknown is signed as well, so all of it is read.
    for (unit, expected) in [
        ("[]", Some("trust-invalid")),
        ("{\"a\":{}}", Some("trust-invalid")),
        ("0", Some("trust-invalid")),
        ("[[[[[[[[\"\"]]]]]]]]", Some("trust-invalid")),
        ("\"a text of some length, as honest ones have it, sixty-four letters\"", None),
    ] {
        let mut repo = Repo::docker(root_key(GUN));
        let filler = format!("{unit},").repeat(LARGEST / (unit.len() + 1));
        repo.role("targets")["x"] = serde_json::from_str(&format!("[{}]", filler.trim_end_matches(','))).unwrap();
        let place = Place::new();
        let ran = place.verify(&Server::files(repo.publish()));
        println!("{unit:12} {} MiB {:?} {:?}", ran.peak_kib >> 10, ran.took, ran.code);
        match expected {
            Some(code) => drop(ran.no(code)),
            None => ran.yes(),
        }
        assert!(ran.peak_kib < 256 << 10, "{ran:?}");
    }
}

#[test]
fn the_largest_repository_that_passes_does_so_beside_what_is_kept_of_it() {
    let mut repo = Repo::docker(root_key(GUN));
    for role in ["targets", "targets/releases"] {
        let notes: Vec<String> = (0..70_000).map(|index| format!("{index:0>95}")).collect();
        repo.role(role)["x"] = json!(notes);
    }
    let place = Place::new();
    let old = Server::files(repo.publish());
    repo.bump();
    let new = Server::files(repo.publish());
    for (turn, server) in [("first use", &old), ("a later publication, all of it new", &new), ("nothing new", &new)] {
        let ran = place.verify(server);
        ran.yes();
        println!("{turn}: {} MiB {:?}", ran.peak_kib >> 10, ran.took);
        assert!(ran.peak_kib < 256 << 10 && ran.took < Duration::from_secs(20), "{turn}: {ran:?}");
    }
    assert!(std::fs::metadata(state_file(&place)).unwrap().len() > 13 << 20);
}

#[test]
fn inspect_shows_tags_signers_keys_and_what_is_wrong() {
    let mut repo = Repo::docker(root_key(GUN));
    repo.role("targets/alice")["expires"] = json!("2020-01-01T00:00:00Z");
    repo.delegate("targets/bob", &[Key::ecdsa()], &[""]);
    repo.role("targets/bob")["targets"]["1.0"] = target("one");
    repo.delegate("targets/eve", &[Key::ecdsa()], &[""]);
    repo.signers.insert("targets/eve".into(), vec![Key::ecdsa()]);
    repo.role("targets/releases")["targets"]["no-digest"] = json!({ "hashes": {}, "length": 1 });
    let root = repo.signers["root"][0].clone();
    let bare = key_id("ecdsa", &repo.signers["targets/bob"][0].public);
    let files = Arc::new(Mutex::new(repo.publish()));
    let shared = Arc::clone(&files);
    let (place, server) = (Place::new(), Server::start(move |seen| file(&shared.lock().unwrap(), seen)));
    let ran = ended(start(&mut place.about("inspect", &server)));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let row = |name: &str| {
        ran.out.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name}: {}", ran.out))
    };
    assert!(row("1.0").contains(&digest("one")) && row("1.0").contains("targets/releases") && row("1.0").ends_with("bob"));
    assert!(row("no-digest").contains("refused: "));
    assert!(row("targets/alice").ends_with("expired") && row("targets/eve").contains("left out: "));
    assert!(row("bob").contains(&bare[..12]) && row("pinned").contains("trust on first use"));
    assert!(ran.out.contains(&root.id), "the id of the root key, to be compared: {}", ran.out);
    let json = ended(start(place.about("inspect", &server).arg("--json"))).json();
    assert_eq!(json["tags"]["1.0"]["signers"], json!(["bob"]));
    assert!(json["refused_tags"]["no-digest"].as_str().is_some_and(|why| why.contains("SHA-256")));
    let roles = json["roles"].as_array().unwrap();
    let role = |name: &str| roles.iter().find(|role| role["name"] == name).unwrap();
    assert_eq!((&role("root")["keys"][0], &role("root")["is_expiring"]), (&json!(root.id), &json!(false)));
    assert_ne!(role("root")["docker_keys"], role("root")["keys"]);
    assert_eq!((&role("targets/bob")["docker_keys"][0], &role("targets/alice")["is_expiring"]), (&json!(bare), &json!(true)));
    // What the server answered last counts, and is told, also while nobody is asked.
    files.lock().unwrap().clear();
    place.verify(&server).no("trust-withdrawn");
    let offline = ended(start(place.about("inspect", &server).arg("--offline")));
    assert!(offline.code == Some(0) && offline.out.contains("refused  the Notary server had trust data"), "{offline:?}");
}

#[test]
fn status_tells_what_must_be_signed_anew_and_ends_with_2_for_it() {
    let place = Place::new();
    let empty = ended(start(&mut place.trust("status")));
    assert!(empty.code == Some(0) && empty.out.contains("no repository"), "{empty:?}");
    let mut repo = Repo::docker(root_key(GUN));
    // Soon for a timestamp, which the server renews, and in time for all else.
    let day = |days: i64| json!((jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days)).to_string());
    repo.role("timestamp")["expires"] = day(1);
    let files = Arc::new(Mutex::new(repo.publish()));
    let shared = Arc::clone(&files);
    let server = Server::start(move |seen| file(&shared.lock().unwrap(), seen));
    let mut publish = |role: &str, days| {
        repo.bump();
        repo.role(role)["expires"] = day(days);
        if role == "root" {
            let version = repo.role("root")["version"].as_u64().unwrap();
            repo.role("root")["version"] = json!(version + 1);
        }
        *files.lock().unwrap() = repo.publish();
    };
    let status = || {
        place.verify(&server).yes();
        let ran = ended(start(&mut place.trust("status")));
        let json = ended(start(place.trust("status").arg("--json"))).json();
        let line = ran.out.lines().find(|line| line.starts_with(GUN)).unwrap().to_owned();
        (ran.code, line, json)
    };
    let (code, line, json) = status();
    assert!(code == Some(0) && line.ends_with("good"), "{line}");
    assert_eq!(json[0]["repository"], GUN);
    assert_eq!(json[0]["roles"][0]["role"], "timestamp");
    assert_eq!(json[0]["roles"].as_array().unwrap().len(), 6);
    for (role, days, expected) in [
        ("root", 80, "expires soon: root"),
        ("targets/releases", 20, "expires soon: targets/releases"),
        ("targets/alice", -1, "expired: targets/alice"),
    ] {
        publish(role, days);
        let (code, line, json) = status();
        assert!(code == Some(2) && line.ends_with(expected), "{role}: {line}");
        assert_eq!(json[0].get("fault"), None);
    }
    files.lock().unwrap().clear();
    place.verify(&server).no("trust-withdrawn");
    let ran = ended(start(place.trust("status").arg("--json")));
    assert!(ran.code == Some(2) && ran.json()[0]["fault"].as_str().is_some_and(|why| why.contains("now has none")), "{ran:?}");
    assert_eq!(ran.json()[0]["code"], "trust-withdrawn");
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

#[test]
fn every_failure_says_which_it_was_and_what_to_do() {
    let expired = || {
        let mut repo = Repo::docker(root_key(GUN));
        repo.role("targets/releases")["expires"] = json!("2020-01-01T00:00:00Z");
        repo.publish()
    };
    let broken = || {
        let mut files = good();
        files.insert("timestamp.json".to_owned(), b"<html>".to_vec());
        files
    };
    let mut repo = Repo::docker(root_key(GUN));
    let old = repo.publish();
    repo.bump();
    let new = repo.publish();
    let unsigned = || {
        let mut repo = Repo::docker(root_key(GUN));
        for role in ["targets/releases", "targets/alice"] {
            repo.role(role)["targets"] = json!({});
        }
        repo.publish()
    };
    for (earlier, served, code, remedy) in [
        (
            None,
            Files::new(),
            "no-trust-data",
            "first check which server `notary` asks (img-authz settings); then ask the publisher to sign it",
        ),
        (None, unsigned(), "not-signed", "ask its publisher to sign this tag"),
        (None, broken(), "trust-invalid", "do not use this image"),
        (None, expired(), "trust-expired", "check this host's clock"),
        (Some(&new), old, "trust-rolled-back", "only if it was reinstalled: img-authz help trust-rolled-back"),
        (Some(&new), Files::new(), "trust-withdrawn", "first check which server `notary` asks (img-authz settings)"),
    ] {
        let place = Place::new();
        if let Some(earlier) = earlier {
            place.verify(&Server::files(earlier.clone())).yes();
        }
        let message = place.verify(&Server::files(served)).no(code);
        assert!(message.contains(remedy), "{code}: {message}");
    }
    let place = Place::new();
    let gone = ended(start(place.asking("https://localhost:1").arg(format!("{GUN}:1.0"))));
    assert!(gone.no("trust-unreachable").contains("ask this host's administrator to check the way to that server"));
    let wanting = place.verify(&guarded("Basic realm=\"x\"".to_owned(), "never".to_owned()));
    assert!(wanting.no("trust-unauthorized").contains("adds that registry's login to the gate's config.json"));
    let pins = place.write("pins.json", "{\"disable_tofu\": true}");
    let pinned = place.verify_with(&Server::files(good()), |command| command.arg("--pins").arg(pins));
    assert!(pinned.no("root-not-trusted").contains("compares the root key with its publisher"));
    // For people the same, on standard error.
    let said = ended(start(place.trust("verify").args([&format!("{GUN}:1.0"), "--server", "https://localhost:1"])));
    assert!(said.code == Some(2) && said.out.is_empty() && said.err.contains("refused (trust-unreachable): "), "{said:?}");
}

#[test]
fn what_another_server_says_is_kept_apart_from_what_the_gate_knows() {
    let place = Place::new();
    let (gates, other) = (Server::files(good()), Server::files(Repo::docker(root_key(GUN)).publish()));
    let run = |what: &[&str], server: Option<&Server>, ca: &Server| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_img-authz"));
        command.env_clear().env("CONFIG_DIR", place.path("etc/img-authz")).env("DOCKER_CONFIG", place.path("docker"));
        command.env("STATE_DIR", place.path("gate")).env("NOTARY", gates.host()).args(["trust"]).args(what);
        if let Some(server) = server {
            command.args(["--server", &server.url]);
        }
        ended(start(command.arg("--json").arg("--root-ca").arg(place.write("ca.crt", &ca.ca))))
    };
    let image = format!("{GUN}:1.0");
    let kept = || {
        let entries = std::fs::read_dir(place.path("gate/trust")).into_iter().flatten();
        let read = |entry: std::io::Result<std::fs::DirEntry>| {
            let path = entry.unwrap().path();
            (path.clone(), std::fs::read(path).unwrap())
        };
        entries.map(read).collect::<std::collections::BTreeMap<_, _>>()
    };
    // Nothing is known yet: what the other one says must not become the root that counts.
    run(&["verify", &image], Some(&other), &other).yes();
    assert!(kept().is_empty());
    run(&["verify", &image], None, &gates).yes();
    let before = kept();
    assert!(!before.is_empty());
    // Not even that it is refused, or what it withdrew.
    run(&["verify", &image], Some(&other), &other).yes();
    let gone = Server::files(Files::new());
    run(&["verify", &image], Some(&gone), &gone).no("no-trust-data");
    assert_eq!(run(&["inspect", GUN], Some(&other), &other).code, Some(0));
    assert_eq!(kept(), before);
    // The gate's own server by its full address is the gate's own server.
    run(&["verify", &image], Some(&gates), &gates).yes();
    run(&["verify", &image], None, &gates).yes();
    // Each server has a memory of its own.
    let again = Server::files(Repo::docker(root_key(GUN)).publish());
    run(&["verify", &image], Some(&again), &again).yes();
}

#[test]
fn what_other_pins_let_pass_is_kept_apart_from_what_the_gate_knows() {
    let place = Place::new();
    let (gates, other) = (Server::files(good()), Server::files(Repo::docker(root_key(GUN)).publish()));
    let image = format!("{GUN}:1.0");
    let run = |what: &[&str], own: Option<&str>, named: Option<&std::path::Path>, server: &Server| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_img-authz"));
        command.env_clear().env("CONFIG_DIR", place.path("etc/img-authz")).env("DOCKER_CONFIG", place.path("docker"));
        command.env("STATE_DIR", place.path("gate")).env("NOTARY", server.host()).args(["trust"]).args(what);
        command.envs(own.map(|own| ("NOTARY_PINS", own)));
        if let Some(named) = named {
            command.arg("--pins").arg(named);
        }
        ended(start(command.arg("--json").arg("--root-ca").arg(place.write("ca.crt", &server.ca))))
    };
    let kept = || std::fs::read_dir(place.path("gate/trust")).into_iter().flatten().count();
    let first = place.write("first.json", r#"{"disable_tofu": false}"#);
    // Nothing is known yet. These pins trust on first use; the gate's do not, and what passed there is nothing to the gate.
    let none = r#"{"disable_tofu": true}"#;
    for own in [Some(none), None] {
        run(&["verify", &image], own, Some(&first), &other).yes();
        assert_eq!(run(&["inspect", GUN], own, Some(&first), &other).code, Some(0));
    }
    assert_eq!(kept(), 0);
    // The gate's own first use is of its own server, and not bound by what was asked by hand.
    run(&["verify", &image], None, None, &gates).yes();
    assert!(kept() > 0);
    // The same pins are the same, however they are laid out: there the root that came first binds, here another memory has another.
    let laid_out = place.write("same.json", "{\n  \"disable_tofu\":   false\n}\n");
    run(&["verify", &image], Some(r#"{"disable_tofu":false}"#), Some(&laid_out), &other).no(TrustCode::RolledBack.as_str());
    run(&["verify", &image], None, None, &other).no(TrustCode::RolledBack.as_str());
    run(&["verify", &image], None, Some(&first), &other).yes();
    // What other pins refuse is not remembered of the gate's either.
    let strict = place.write("strict.json", none);
    run(&["verify", &image], None, Some(&strict), &gates).no(TrustCode::RootNotTrusted.as_str());
    run(&["verify", &image], None, None, &gates).yes();
}

#[test]
fn a_new_file_of_pins_has_those_that_are_set_already() {
    let (place, server) = (Place::new(), Server::files(good()));
    let set =
        json!({ "disable_tofu": true, "certs": { GUN: ["0".repeat(64)], "r.example/other": ["1".repeat(64)] } }).to_string();
    let free = json!({ "certs": { "r.example/other": ["1".repeat(64)] } }).to_string();
    let pins = place.write("new/x", "").with_file_name("pins.json");
    let wrote = ended(start(place.about("pin", &server).arg("--write").arg(&pins).env("NOTARY_PINS", &free)));
    assert_eq!(wrote.code, Some(0), "{wrote:?}");
    assert!(wrote.out.contains("not in force until NOTARY_PINS has it") && wrote.out.contains("were set before"), "{wrote:?}");
    let written = std::fs::read_to_string(&pins).unwrap();
    assert!(written.contains("r.example/other") && written.contains(GUN), "{written}");
    // A root that the pins refuse is not written into any.
    let refused = place.write("refused/x", "").with_file_name("pins.json");
    let ran = ended(start(place.about("pin", &server).arg("--write").arg(&refused).env("NOTARY_PINS", &set)));
    assert!(ran.code == Some(2) && !refused.exists(), "{ran:?}");
}

#[test]
fn the_ids_of_a_root_that_is_refused_are_shown_for_comparing_and_nothing_of_them_is_written() {
    let (place, server) = (Place::new(), Server::files(good()));
    let keys = ended(start(place.about("pin", &server).arg("--json")));
    let keys: Value = serde_json::from_str(&keys.out).unwrap();
    let key = keys["certs"][GUN][0].as_str().unwrap().to_owned();
    let other = Place::new();
    let pins = other.write("pins.json", &json!({ "certs": { GUN: ["0".repeat(64)] } }).to_string());
    let written = other.write("written.json", "{}");
    let refused = ended(start(other.about("pin", &server).arg("--pins").arg(&pins).arg("--write").arg(&written)));
    assert_eq!((refused.code, refused.out.as_str()), (Some(2), ""), "{refused:?}");
    let ids = refused.err.split("NOT TRUSTED").nth(1).unwrap_or_else(|| panic!("{refused:?}"));
    let line = ids.lines().find(|line| line.contains(&key)).unwrap_or_else(|| panic!("{key}: {ids}"));
    assert_eq!(line.split_whitespace().filter(|id| id.len() == 64).count(), 2, "{line}");
    assert_eq!(std::fs::read_to_string(&written).unwrap(), "{}");
}

#[test]
fn a_pin_is_written_in_the_place_of_the_same_one_in_another_case() {
    let (place, server) = (Place::new(), Server::files(good()));
    let zeros = ["0".repeat(64)];
    for block in [
        json!({ "certs": { GUN.to_uppercase(): zeros } }),
        json!({ "certs": { GUN: zeros, "reg.example:5000/*": zeros } }),
        json!({ "Trust_Pinning": { "disable_tofu": true, "CERTS": { "Reg.Example:5000/team/app": zeros } } }),
        json!({ "disable_tofu": true }),
    ] {
        let pins = place.write("pins.json", &block.to_string());
        let wrote = ended(start(place.about("pin", &server).arg("--write").arg(&pins)));
        assert_eq!(wrote.code, Some(0), "{block}: {wrote:?}");
        place.verify_with(&server, |command| command.arg("--pins").arg(&pins)).yes();
        let written: Value = serde_json::from_str(&std::fs::read_to_string(&pins).unwrap()).unwrap();
        assert!(written.to_string().matches("team/app").count() == 1, "{written}");
    }
}
