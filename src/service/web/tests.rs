//! The page and the socket, over real sockets: who gets in, and what becomes of those who should not.

use std::path::Path;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::audit::MemoryJournal;
use crate::engine::Fake;
use crate::gate::{Approvals, Identity, Rules};
use crate::policy::{Policy, Posture};
use crate::service::{Severity, Snapshot};

/// A page on a port of its own, and its token.
struct House {
    folder: tempfile::TempDir,
    port: u16,
    token: String,
    look: Arc<Look>,
}

const PATIENCE: Duration = Duration::from_secs(10);

fn gate() -> Arc<Gate> {
    let rules = Rules::Good { policy: Policy::closed(Posture::Images), verifiers: Vec::new(), registry: None };
    let workers = tokio::runtime::Handle::current();
    let (engine, journal) = (Arc::new(Fake::new()), Arc::new(MemoryJournal::default()));
    Arc::new(Gate::new(rules, engine, journal, Approvals::in_memory(), Identity::default(), workers))
}

fn house() -> House {
    house_of(None)
}

/// With a token of its own, or one that is made.
fn house_of(token: Option<&str>) -> House {
    let folder = tempfile::tempdir().unwrap();
    if let Some(token) = token {
        crate::files::replace(&folder.path().join("web-token"), token.as_bytes(), 0o600, crate::files::Outlives::Process)
            .unwrap();
    }
    let listener = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let look = Look::new(gate(), folder.path().to_owned(), tokio::runtime::Handle::current());
    let keys = Arc::new(Keys::open(&folder.path().join("web-token")).unwrap());
    let site = Arc::new(Site::web(Arc::clone(&look), &WebAddress::Port(port), keys));
    tokio::spawn(serve(Listener::Local(TcpListener::from_std(listener).unwrap()), site));
    let token = std::fs::read_to_string(folder.path().join("web-token")).unwrap().trim().to_owned();
    House { folder, port, token, look }
}

impl House {
    /// What is answered to these very bytes, until the connection ends.
    async fn raw(&self, request: &str) -> String {
        let mut peer = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        // One that is refused early is not read to its end.
        let _ = peer.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, peer.read_to_end(&mut answer)).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn asks(&self, method: &str, path: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        let host = format!("127.0.0.1:{}", self.port);
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        ))
        .await
    }

    async fn gets(&self, path: &str, headers: &str) -> String {
        self.asks("GET", path, headers, "").await
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token)
    }

    async fn logs_in(&self, token: &str, headers: &str) -> String {
        let form = "Content-Type: application/x-www-form-urlencoded\r\n";
        self.asks("POST", "/login", &format!("{form}{headers}"), &format!("token={token}")).await
    }
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or_default()
}

fn cookie(answer: &str) -> Option<String> {
    let line = answer.lines().find_map(|line| line.strip_prefix("set-cookie: "))?;
    Some(line.split(';').next()?.to_owned())
}

#[tokio::test]
async fn the_token_opens_every_section_and_nothing_else_does() {
    let house = house();
    for path in ["/", "/events", "/live", "/images", "/containers", "/trust", "/policy", "/metrics", "/status.json"] {
        let answer = house.gets(path, &house.bearer()).await;
        assert_eq!(status(&answer), "200", "{path} {answer}");
        for header in [
            "content-security-policy: default-src 'none'; style-src 'self'",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
            "referrer-policy: same-origin",
            "x-frame-options: DENY",
        ] {
            assert!(answer.contains(header), "{path} {header}");
        }
        assert!(!answer.contains(&house.token) && !answer.contains("<script"), "{path}");
        for headers in [
            String::new(),
            "Authorization: Bearer wrong\r\n".to_owned(),
            format!("Authorization: Basic {}\r\n", house.token),
            format!("Authorization: {}\r\n", house.token),
            format!("Authorization: Bearer wrong\r\n{}", house.bearer()),
            format!("Cookie: img-authz-session={}\r\n", house.token),
            format!("X-Token: {}\r\n", house.token),
        ] {
            let answer = house.gets(path, &headers).await;
            assert!(matches!(status(&answer), "401" | "429"), "{path} {headers} {answer}");
            assert!(
                !answer.contains("img_authz_build_info") && !answer.contains("\"decided\"") && !answer.contains("Calls allowed")
            );
        }
    }
    assert!(house.gets("/metrics", &house.bearer()).await.contains("img_authz_build_info{version="));
    assert!(house.gets("/live", &house.bearer()).await.contains("refresh: 5"));
    // The style says nothing of this host.
    assert_eq!(status(&house.gets("/style.css", "").await), "200");
    assert_eq!(status(&house.asks("HEAD", "/", &house.bearer(), "").await), "200");
}

#[tokio::test]
async fn a_token_in_an_address_is_refused_however_right_it_is() {
    let house = house();
    for path in ["/?token=", "/metrics?token=", "/status.json?access_token="] {
        assert_eq!(status(&house.gets(&format!("{path}{}", house.token), "").await), "400");
        assert_eq!(status(&house.gets(&format!("{path}{}", house.token), &house.bearer()).await), "400");
    }
}

#[tokio::test]
async fn a_name_that_was_made_to_lead_here_is_not_ours() {
    let house = house();
    let port = house.port;
    for (host, target, expected) in [
        (format!("Host: localhost:{port}\r\n"), "/".to_owned(), "200"),
        (format!("Host: evil.example:{port}\r\n"), "/".to_owned(), "421"),
        (format!("Host: 127.0.0.1:{}\r\n", port ^ 1), "/".to_owned(), "421"),
        ("Host: 127.0.0.1\r\n".to_owned(), "/".to_owned(), "421"),
        (String::new(), "/".to_owned(), "421"),
        (format!("Host: 127.0.0.1:{port}\r\nHost: evil.example\r\n"), "/".to_owned(), "421"),
        (format!("Host: 127.0.0.1:{port}\r\n"), format!("http://evil.example:{port}/"), "421"),
    ] {
        let answer = house.raw(&format!("GET {target} HTTP/1.1\r\n{host}Connection: close\r\n{}\r\n", house.bearer())).await;
        assert_eq!(status(&answer), expected, "{host} {target} {answer}");
    }
}

#[tokio::test]
async fn a_token_of_the_operators_own_opens_the_page_by_the_form_too_whatever_its_characters() {
    let token = "a+b/c=d&e%f".repeat(4);
    let house = house_of(Some(&token));
    let escaped = |text: &str| text.bytes().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"));
    assert_eq!(status(&house.gets("/", &house.bearer()).await), "200");
    assert_eq!(status(&house.logs_in(&format!("+{}%0D%0A", escaped(&token)), "").await), "303");
    for wrong in [escaped(&token.replace('+', "")), escaped(&escaped(&token)), token.replace('&', "%26").replace('%', "%25")] {
        assert_eq!(status(&house.logs_in(&wrong, "").await), "401", "{wrong}");
    }
}

#[tokio::test]
async fn a_session_is_made_by_the_token_alone_is_not_it_and_ends() {
    let house = house();
    let answer = house.logs_in("wrong", "").await;
    assert!(status(&answer) == "401" && cookie(&answer).is_none() && answer.contains("This is not the token."));
    // One that a stranger has put into the browser is none, also after the login (fixation).
    let mine = "Cookie: img-authz-session=00112233\r\n";
    assert_eq!(status(&house.gets("/", mine).await), "401");
    let answer = house.logs_in(&house.token, mine).await;
    assert_eq!(status(&answer), "303", "{answer}");
    assert!(answer.contains("HttpOnly; SameSite=Strict") && answer.contains("location: /\r\n") && !answer.contains(&house.token));
    assert_eq!(status(&house.gets("/", mine).await), "401");
    let session = cookie(&answer).unwrap();
    let with = |cookie: &str| format!("Cookie: other=1; {cookie}\r\n");
    assert_eq!(status(&house.gets("/", &with(&session)).await), "200");
    // Another on this address sets one of the same name in front.
    assert_eq!(status(&house.gets("/", &with(&format!("img-authz-session=x; {session}"))).await), "200");
    let value = session.split('=').nth(1).unwrap();
    assert_eq!(status(&house.gets("/", &format!("Authorization: Bearer {value}\r\n")).await), "401");
    // Another page can neither log in nor out.
    for foreign in ["Origin: http://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        assert_eq!(status(&house.logs_in(&house.token, foreign).await), "403");
        assert_eq!(status(&house.asks("POST", "/logout", &format!("{foreign}{}", with(&session)), "").await), "403");
    }
    assert_eq!(status(&house.gets("/", &with(&session)).await), "200");
    assert_eq!(status(&house.asks("POST", "/logout", &with(&session), "").await), "303");
    assert_eq!(status(&house.gets("/", &with(&session)).await), "401");
}

#[tokio::test]
async fn nothing_can_be_changed_found_or_filled_here() {
    let house = house();
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        assert_eq!(status(&house.asks(method, "/policy", &house.bearer(), "").await), "405", "{method}");
    }
    for path in ["/../web-token", "/..%2fweb-token", "/%2e%2e/web-token", "//etc/passwd", "/images/../web-token", "/web-token"] {
        let answer = house.gets(path, &house.bearer()).await;
        assert!(status(&answer) == "404" && !answer.contains(&house.token), "{path} {answer}");
    }
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let large = format!("token={}", "x".repeat(4096));
    assert_eq!(status(&house.asks("POST", "/login", form, &large).await), "413");
    assert_eq!(status(&house.asks("POST", "/login", "Content-Type: application/json\r\n", "{}").await), "415");
    let answer = house.gets("/", &format!("X: {}\r\n", "x".repeat(64 << 10))).await;
    assert!(matches!(status(&answer), "431" | ""), "{answer}");
    assert!(matches!(status(&house.raw("\u{0}\u{1} nonsense\r\n\r\n").await), "400" | ""));
    assert_eq!(status(&house.gets("/", &house.bearer()).await), "200");
}

#[tokio::test]
async fn wrong_tokens_are_told_to_wait_and_the_right_one_is_not() {
    let house = house();
    let mut last = String::new();
    for _ in 0..12 {
        last = house.gets("/metrics", "Authorization: Bearer x\r\n").await;
    }
    assert!(status(&last) == "429" && last.contains("retry-after: 60"), "{last}");
    assert_eq!(status(&house.gets("/metrics", &house.bearer()).await), "200");
}

/// A thousand silent connections, and one who asks.
#[tokio::test]
async fn a_thousand_silent_peers_keep_nobody_out() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(maximum.map_or(8192, |most| most.min(8192))), maximum }).unwrap();
    let house = house();
    let mut peers = Vec::new();
    for _ in 0..1000 {
        // Those that found no room are closed, which is the point.
        if let Ok(mut peer) = TcpStream::connect((Ipv4Addr::LOCALHOST, house.port)).await {
            let _ = peer.write_all(b"GET / HTTP/1.1\r\nHost: ").await;
            peers.push(peer);
        }
    }
    let answer = house.gets("/metrics", &house.bearer()).await;
    assert_eq!(status(&answer), "200");
    let mut first = peers.swap_remove(0);
    let ended = tokio::time::timeout(PATIENCE, first.read(&mut [0u8; 1])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "the oldest gave way");
}

#[tokio::test]
async fn who_sends_a_byte_now_and_then_is_not_waited_for() {
    let house = house();
    let mut peer = TcpStream::connect((Ipv4Addr::LOCALHOST, house.port)).await.unwrap();
    peer.write_all(b"GET /").await.unwrap();
    let began = std::time::Instant::now();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, peer.read_to_end(&mut rest)).await.unwrap();
    assert!(began.elapsed() < PATIENCE, "closed after the head's time");
}

#[tokio::test]
async fn the_gate_says_at_its_own_socket_how_it_is_doing_behind_the_longest_path() {
    let house = house();
    let deep = house.folder.path().join("x".repeat(150));
    std::fs::create_dir(&deep).unwrap();
    assert!(matches!(ask(&deep).await, Err(Unanswered::Nobody(_))));
    let listener = sockets::bind(&deep.join("status.sock")).unwrap();
    assert!(deep.as_os_str().len() > 108);
    let site = Arc::new(Site::own(Arc::clone(&house.look)));
    tokio::spawn(serve(Listener::Unix(UnixListener::from_std(listener).unwrap()), site));
    let snapshot = ask(&deep).await.unwrap();
    assert_eq!((snapshot.mode.as_str(), snapshot.posture.as_str(), snapshot.host.is_some()), ("enforce", "images", true));
    assert!(matches!(ask(Path::new("/nowhere")).await, Err(Unanswered::Nobody(_))));
}

#[tokio::test]
async fn the_pages_socket_lies_where_only_root_puts_another_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let (open, link) = (folder.path().join("open"), folder.path().join("link"));
    std::fs::create_dir(&open).unwrap();
    std::os::unix::fs::symlink(&open, &link).unwrap();
    let set = |mode| std::fs::set_permissions(&open, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    for (mode, is_served) in [(0o777, false), (0o1777, false), (0o775, false), (0o755, true), (0o700, true)] {
        set(mode);
        for way in [&open, &link] {
            match listener(&WebAddress::Socket(way.join("web.sock"))) {
                Ok(_) => assert!(is_served, "{mode:o}"),
                Err(why) => assert!(!is_served && why.contains("chown root, chmod go-w"), "{mode:o} {why}"),
            }
        }
    }
    assert!(listener(&WebAddress::Socket("/nowhere/web.sock".into())).is_err());
}

#[tokio::test]
async fn who_answers_and_is_no_gate_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::from_std(sockets::bind(&folder.path().join("status.sock")).unwrap()).unwrap();
    tokio::spawn(async move {
        loop {
            let (mut peer, _) = listener.accept().await.unwrap();
            peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
        }
    });
    assert!(matches!(ask(folder.path()).await, Err(Unanswered::Silent(_))));
}

#[tokio::test]
async fn a_port_that_another_holds_is_no_page_of_ours_and_becomes_one_when_it_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let held = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = held.local_addr().unwrap().port();
    let state = folder.path().display().to_string();
    let settings = Settings::default().with("STATE_DIR", state).with("WEB", format!("127.0.0.1:{port}"));
    tokio::spawn(listen(gate(), settings, tokio::runtime::Handle::current()));
    let snapshot = async |is: fn(&Snapshot) -> bool| {
        let asked = async {
            loop {
                match ask(folder.path()).await {
                    Ok(snapshot) if is(&snapshot) => return snapshot,
                    Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        tokio::time::timeout(2 * PATIENCE, asked).await.unwrap()
    };
    let told = |snapshot: &Snapshot| snapshot.troubles.iter().any(|trouble| trouble.evidence.contains("does not serve its page"));
    let found = snapshot(|snapshot| !snapshot.troubles.is_empty()).await;
    assert!(found.page.is_none() && told(&found) && found.worst() == Some(Severity::Critical), "{:?}", found.troubles);
    drop(held);
    let found = snapshot(|snapshot| snapshot.page.is_some()).await;
    assert!(found.page.as_ref().is_some_and(|page| page.contains(&port.to_string())) && !told(&found), "{:?}", found.troubles);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok());
}
