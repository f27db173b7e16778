//! The registry client against a registry of a few lines, with TLS and without.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use img_authz::image::{Digest, ImageConfig, Repository};
use img_authz::net::NetError;
use img_authz::net::auth::DockerConfig;
use img_authz::registry::{Api as _, Listing, Manifest, Registry, RegistryError, Settings, Trouble, Wanted, configuration, part};
use tokio::time::Instant;

use crate::support::registry::{Fake, Say, manifest, tls};

/// A `certs.d` that trusts `pem` for `host`.
fn certs(host: &str, pem: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join(host)).unwrap();
    std::fs::write(folder.path().join(host).join("ca.crt"), pem).unwrap();
    folder
}

fn trusting(folder: &Path) -> Settings {
    Settings { certs: vec![folder.to_owned()], ..Settings::default() }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

async fn get(settings: Settings, fake: &Fake, wanted: Wanted) -> Result<Manifest, RegistryError> {
    Registry::new(settings).manifest(&fake.app(), &wanted, soon()).await
}

fn by_digest() -> Wanted {
    Wanted::Digest(Digest::of(manifest().as_bytes()))
}

fn by_tag() -> Wanted {
    Wanted::Tag("1.0".parse().unwrap())
}

#[tokio::test]
async fn a_manifest_is_fetched_over_tls_from_a_registry_with_its_own_ca() {
    let (config, pem) = tls();
    let fake = Fake::new(Some(config), |_| Say::manifest());
    let folder = certs(&fake.host, &pem);
    for wanted in [by_digest(), by_tag()] {
        let manifest_read = get(trusting(folder.path()), &fake, wanted).await.unwrap();
        assert_eq!(manifest_read.digest(), &Digest::of(manifest().as_bytes()));
        assert_eq!(manifest_read.config(), Some(Digest::of(b"config")));
    }
    let heads = fake.heads();
    assert!(heads[0].starts_with(&format!("GET /v2/team/app/manifests/{} HTTP/1.1\r\n", Digest::of(manifest().as_bytes()))));
    assert!(heads[1].starts_with("GET /v2/team/app/manifests/1.0 HTTP/1.1\r\n"));
    for media_type in ["oci.image.manifest.v1", "oci.image.index.v1", "distribution.manifest.v2", "distribution.manifest.list.v2"]
    {
        assert!(heads[0].contains(media_type), "{}", heads[0]);
    }
    // Extra roots do as well as a folder.
    let settings = Settings { extra_roots: pem, ..Settings::default() };
    assert!(get(settings, &fake, by_tag()).await.is_ok());
}

#[tokio::test]
async fn a_registry_with_an_unknown_ca_is_refused_and_not_asked_over_plain_http() {
    let (config, _) = tls();
    let fake = Fake::new(Some(config), |_| Say::manifest());
    let (_, other) = tls();
    let folder = certs(&fake.host, &other);
    for settings in [Settings::default(), trusting(folder.path())] {
        let refused = get(settings, &fake, by_digest()).await;
        assert!(matches!(refused, Err(RegistryError::Net(NetError::CaRefused { .. }))), "{refused:?}");
    }
    assert_eq!(fake.heads(), [""; 0]);
}

#[tokio::test]
async fn a_ca_for_one_registry_is_not_one_for_another() {
    let (config, pem) = tls();
    let fake = Fake::new(Some(config), |_| Say::manifest());
    let folder = certs("localhost:1", &pem);
    let refused = get(trusting(folder.path()), &fake, by_digest()).await;
    assert!(matches!(refused, Err(RegistryError::Net(NetError::CaRefused { .. }))), "{refused:?}");
}

#[tokio::test]
async fn a_registry_on_loopback_may_speak_plain_http() {
    let fake = Fake::new(None, |_| Say::manifest());
    let registry = Registry::new(Settings::default());
    for _ in 0..2 {
        assert!(registry.manifest(&fake.app(), &by_digest(), soon()).await.is_ok());
    }
    // The second time it is not tried with TLS first, so that both requests are HTTP.
    assert_eq!(fake.heads().len(), 2);
}

#[tokio::test]
async fn nothing_answers_for_a_registry_that_is_away() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let app: Repository = format!("localhost:{port}/app").parse().unwrap();
    let refused = Registry::new(Settings::default()).manifest(&app, &by_tag(), soon()).await;
    assert!(matches!(refused, Err(RegistryError::Net(NetError::Unreachable { .. }))), "{refused:?}");
}

#[tokio::test]
async fn other_bytes_than_those_asked_for_are_refused() {
    let mut evil = Say::manifest();
    evil.body.push(b' ');
    let good = Digest::of(manifest().as_bytes());
    // A header that claims the digest asked for changes nothing.
    let claims = evil.clone().with(&format!("Docker-Content-Digest: {good}"));
    for say in [evil, claims.clone()] {
        let fake = Fake::new(None, move |_| say.clone());
        let refused = get(Settings::default(), &fake, by_digest()).await;
        assert!(matches!(refused, Err(RegistryError::WrongDigest { due, .. }) if due == good), "{refused:?}");
    }
    let fake = Fake::new(None, move |_| claims.clone());
    assert!(matches!(get(Settings::default(), &fake, by_tag()).await, Err(RegistryError::WrongDigest { .. })));
    let honest = Say::manifest().with(&format!("Docker-Content-Digest: {good}"));
    let fake = Fake::new(None, move |_| honest.clone());
    assert!(get(Settings::default(), &fake, by_tag()).await.is_ok());
}

type Expected<'a> = &'a dyn Fn(&RegistryError) -> bool;

#[tokio::test]
async fn statuses_are_told_apart_and_only_200_is_a_yes() {
    let (status, not_found, denied, busy) = (
        |error: &RegistryError| matches!(error, RegistryError::Status { .. }),
        |error: &RegistryError| matches!(error, RegistryError::NotFound { .. }),
        |error: &RegistryError| matches!(error, RegistryError::Denied { .. }),
        |error: &RegistryError| matches!(error, RegistryError::Busy { .. }),
    );
    let table: [(&'static str, Expected<'_>); 7] = [
        ("404 Not Found", &not_found),
        ("403 Forbidden", &denied),
        ("201 Created", &status),
        ("206 Partial Content", &status),
        ("307 Temporary Redirect", &status),
        ("429 Too Many", &busy),
        ("503 Down", &status),
    ];
    for (line, expected) in table {
        let mut say = Say::manifest().with("Location: http://127.0.0.1:1/elsewhere");
        say.status = line;
        let fake = Fake::new(None, move |_| say.clone());
        let error = get(Settings::default(), &fake, by_digest()).await.unwrap_err();
        assert!(expected(&error), "{line}: {error:?}");
        // What will pass is asked again, twice.
        let tries = if line.starts_with("429") || line.starts_with("503") { 3 } else { 1 };
        assert_eq!(fake.heads().len(), tries, "{line}");
    }
}

#[tokio::test]
async fn a_registry_that_is_busy_is_asked_again_within_the_time_that_there_is() {
    let turns = std::sync::atomic::AtomicUsize::new(0);
    let fake = Fake::new(None, move |_| match turns.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        0 => Say::status("429 Too Many Requests").with("Retry-After: 0"),
        1 => Say::status("502 Bad Gateway"),
        _ => Say::manifest(),
    });
    assert!(get(Settings::default(), &fake, by_digest()).await.is_ok());
    // Who wants to be left alone for longer than that is not asked again.
    let fake = Fake::new(None, |_| Say::status("429 Too Many Requests").with("Retry-After: 60"));
    let error = get(Settings::default(), &fake, by_digest()).await.unwrap_err();
    assert!(matches!(error, RegistryError::Busy { .. }), "{error:?}");
    assert_eq!(fake.heads().len(), 1);
}

#[tokio::test]
async fn a_manifest_beyond_its_bound_is_refused() {
    let mut large = Say::manifest();
    large.body = vec![b' '; (4 << 20) + 1];
    let fake = Fake::new(None, move |_| large.clone());
    let refused = get(Settings::default(), &fake, by_tag()).await;
    assert!(matches!(refused, Err(RegistryError::Net(NetError::TooLarge { .. }))), "{refused:?}");
}

#[tokio::test]
async fn a_silent_registry_ends_at_the_deadline() {
    let fake = Fake::new(None, |_| {
        std::thread::sleep(Duration::from_secs(5));
        Say::manifest()
    });
    let start = Instant::now();
    let deadline = start + Duration::from_millis(300);
    let refused = Registry::new(Settings::default()).manifest(&fake.app(), &by_tag(), deadline).await;
    assert!(matches!(refused, Err(RegistryError::Net(_))), "{refused:?}");
    assert!(start.elapsed() < Duration::from_secs(3));
}

const CONFIG: &str = r#"{"auths": {"HOST": {"auth": "cmlnOnNlY3JldA=="}}}"#;

/// Wants the token that its token service gives for the password of `rig`.
fn guarded(config: Arc<rustls::ServerConfig>) -> Fake {
    Fake::new(Some(config), |head| {
        let lower = head.to_ascii_lowercase();
        let host = lower.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned();
        if lower.starts_with("get /token") {
            return if lower.contains("authorization: basic cmlnonnly3jlda==") {
                Say { body: br#"{"token": "abc"}"#.to_vec(), ..Say::status("200 OK") }
            } else {
                Say::status("401 Unauthorized")
            };
        }
        if lower.contains("authorization: bearer abc") {
            return Say::manifest();
        }
        Say::status("401 Unauthorized").with(&format!(r#"WWW-Authenticate: Bearer realm="https://{host}/token",service="reg""#))
    })
}

#[tokio::test]
async fn a_registry_that_wants_a_token_gets_one_for_the_repository_with_dockers_credentials() {
    let (config, pem) = tls();
    let fake = guarded(config);
    let folder = certs(&fake.host, &pem);
    let credentials = DockerConfig::read(&CONFIG.replace("HOST", &fake.host)).unwrap();
    let registry = Registry::new(Settings { credentials, ..trusting(folder.path()) });
    for _ in 0..2 {
        registry.manifest(&fake.app(), &by_digest(), soon()).await.unwrap();
    }
    let heads = fake.heads();
    assert!(heads[1].starts_with("GET /token?service=reg&scope=repository%3Ateam%2Fapp%3Apull"), "{}", heads[1]);
    assert_eq!(heads.len(), 4, "the token is used again");
}

#[tokio::test]
async fn without_credentials_it_is_refused_with_what_to_do() {
    let (config, pem) = tls();
    let fake = guarded(config);
    let folder = certs(&fake.host, &pem);
    let elsewhere = DockerConfig::read(&CONFIG.replace("HOST", "localhost:1")).unwrap();
    let helper = DockerConfig::read(r#"{"credsStore": "desktop"}"#).unwrap();
    for (credentials, told) in [(elsewhere, "there are none for"), (helper, "credential helper")] {
        let settings = Settings { credentials, ..trusting(folder.path()) };
        let error = get(settings, &fake, by_digest()).await.unwrap_err();
        assert!(matches!(error, RegistryError::Net(NetError::Unauthorized { .. })), "{error:?}");
        assert!(error.to_string().contains(told), "{error}");
    }
    let wrong = DockerConfig::read(&CONFIG.replace("HOST", &fake.host).replace("cmlnOnNlY3JldA==", "cmlnOndyb25n")).unwrap();
    let refused = get(Settings { credentials: wrong, ..trusting(folder.path()) }, &fake, by_digest()).await;
    assert!(matches!(refused, Err(RegistryError::Net(NetError::Unauthorized { .. }))), "{refused:?}");
}

#[tokio::test]
async fn credentials_are_never_sent_over_plain_http() {
    let fake = Fake::new(None, |_| Say::status("401 Unauthorized").with(r#"WWW-Authenticate: Basic realm="r""#));
    let credentials = DockerConfig::read(&CONFIG.replace("HOST", &fake.host)).unwrap();
    let refused = get(Settings { credentials, ..Settings::default() }, &fake, by_digest()).await;
    assert!(matches!(refused, Err(RegistryError::Net(NetError::Unauthorized { .. }))), "{refused:?}");
    assert!(fake.heads().iter().all(|head| !head.to_ascii_lowercase().contains("authorization")));
}

#[tokio::test]
async fn one_repositorys_trouble_refuses_no_other_and_a_registry_that_is_gone_refuses_all_at_once() {
    use img_authz::trust::registry::RegistryVerifier;
    use img_authz::trust::{Asking, Purpose, Question, TrustCode};
    use std::sync::atomic::{AtomicBool, Ordering};

    let (server, pem) = tls();
    let is_gone = Arc::new(AtomicBool::new(false));
    let shared = Arc::clone(&is_gone);
    let fake = Fake::new(Some(server), move |head| match head.split(' ').nth(1).unwrap_or_default() {
        _ if shared.load(Ordering::SeqCst) => Say::status("503 Unavailable"),
        "/v2/" => Say::status("401 Unauthorized"),
        path if path.contains("/bad/") => Say::status("503 Unavailable"),
        path if path.contains("/slow/") => {
            std::thread::sleep(Duration::from_secs(2));
            Say::status("200 OK")
        }
        path if path.contains("/busy/") => Say::status("503 Unavailable").with("Retry-After: 9"),
        path if path.contains("/large/") => {
            let mut say = Say::manifest();
            say.body.resize(100 << 10, b' ');
            say
        }
        _ => Say::manifest(),
    });
    let settings = Settings { extra_roots: pem, ..Settings::default() };
    let limits = img_authz::trust::registry::EvidenceLimits { network: Duration::from_secs(1), ..Default::default() };
    let verifier = RegistryVerifier::with_limits(Arc::new(Registry::new(settings)), limits);
    let ask = async |name: &str| {
        let repository: Repository = format!("{}/{name}/app", fake.host).parse().unwrap();
        let question = Question::Tag("1.0".parse().unwrap());
        let end = Instant::now() + Duration::from_secs(8);
        verifier
            .vouch(&repository, &question, Asking { purpose: Purpose::Pull, now: img_authz::clock::now(), deadline: end })
            .await
            .map_err(|error| error.code)
    };
    for (name, expected) in [("bad", TrustCode::Unreachable), ("slow", TrustCode::Unreachable), ("busy", TrustCode::Busy)] {
        assert_eq!(ask(name).await.unwrap_err(), expected, "{name}");
        assert!(ask("good").await.is_ok(), "after {name}");
    }
    // One that is larger than most is read as well.
    assert!(ask("large").await.is_ok());
    assert_eq!(fake.heads().iter().filter(|head| head.contains("/large/")).count(), 2);
    assert_eq!(fake.heads().iter().filter(|head| head.starts_with("GET /v2/ ")).count(), 2, "busy is an answer");
    is_gone.store(true, Ordering::SeqCst);
    assert_eq!(ask("good").await.unwrap_err(), TrustCode::Unreachable);
    let asked = fake.heads().len();
    assert_eq!(ask("other").await.unwrap_err(), TrustCode::Unreachable);
    assert_eq!(fake.heads().len(), asked);
}

const BLOB: &[u8] = br#"{"os":"linux","architecture":"amd64","config":{"User":"app"}}"#;

/// A registry that asks who you are, has one image, and keeps its blobs elsewhere: there `place` says where.
fn with_blobs_elsewhere(tls: &Arc<rustls::ServerConfig>, place: impl Fn() -> Say + Send + Sync + 'static) -> Fake {
    let config = Digest::of(BLOB);
    let body = manifest().replace(&Digest::of(b"config").to_string(), &config.to_string());
    let body = body.replace("\"size\":6", &format!("\"size\":{}", BLOB.len()));
    Fake::new(Some(Arc::clone(tls)), move |head| {
        if !head.to_ascii_lowercase().contains("authorization: basic ") {
            return Say::status("401 Unauthorized").with("WWW-Authenticate: Basic realm=\"x\"");
        }
        if head.contains("/manifests/") {
            return Say { body: body.clone().into_bytes(), ..Say::manifest() };
        }
        place()
    })
}

fn with_password(host: &str, folder: &Path) -> Settings {
    let credentials = DockerConfig::read(&format!(r#"{{"auths":{{"{host}":{{"auth":"bWU6cGFzcw=="}}}}}}"#)).unwrap();
    Settings { credentials, ..trusting(folder) }
}

async fn configured(registry: &Registry, fake: &Fake) -> Result<ImageConfig, RegistryError> {
    let found = registry.manifest(&fake.app(), &by_tag(), soon()).await.unwrap();
    configuration(registry, &fake.app(), *found.digest(), Some(&"linux/amd64".parse().unwrap()), soon()).await
}

#[tokio::test]
async fn a_blob_is_followed_to_another_host_over_https_and_nobody_there_is_told_who_asks() {
    let (tls, pem) = tls();
    let store = Fake::new(Some(Arc::clone(&tls)), |_| Say { status: "200 OK", headers: Vec::new(), body: BLOB.to_vec() });
    let place = format!("Location: https://{}/bucket/blob?signature=x", store.host);
    let fake = with_blobs_elsewhere(&tls, move || Say::status("307 Temporary Redirect").with(&place));
    let folder = certs(&fake.host, &pem);
    let config = configured(&Registry::new(with_password(&fake.host, folder.path())), &fake).await.unwrap();
    assert_eq!((config.user.as_str(), config.platform.to_string().as_str()), ("app", "linux/amd64"));
    let heads = store.heads();
    assert_eq!(heads.len(), 1);
    assert!(heads[0].starts_with("GET /bucket/blob?signature=x HTTP/1.1\r\n"), "{}", heads[0]);
    assert!(!heads[0].to_ascii_lowercase().contains("authorization"), "{}", heads[0]);
}

#[tokio::test]
async fn a_blob_is_not_followed_everywhere_and_other_bytes_are_refused() {
    let (tls, pem) = tls();
    let plain = Fake::new(None, |_| Say { status: "200 OK", headers: Vec::new(), body: BLOB.to_vec() });
    let evil = Fake::new(Some(Arc::clone(&tls)), |_| Say { status: "200 OK", headers: Vec::new(), body: b"{}".to_vec() });
    let redirect = |place: String| Say::status("302 Found").with(&format!("Location: {place}"));
    let elsewhere = |found: &Result<ImageConfig, RegistryError>| matches!(found, Err(RegistryError::Elsewhere { .. }));
    for (say, is_elsewhere) in [
        (redirect(format!("http://{}/blob", plain.host)), true),
        (redirect(format!("https://me:pass@{}/blob", evil.host)), true),
        (redirect("ftp://x/".to_owned()), true),
        // Where no registry sends anybody, however near it is.
        (redirect("https://169.254.169.254/latest/meta-data/".to_owned()), true),
        (redirect("https://[fe80::1]/".to_owned()), true),
        (redirect("https://0.0.0.0:2376/".to_owned()), true),
        (Say::status("307 Temporary Redirect"), true),
        (redirect(format!("https://{}/blob", evil.host)), false),
        (Say { status: "200 OK", headers: Vec::new(), body: b"{}".to_vec() }, false),
        (Say { status: "200 OK", headers: Vec::new(), body: vec![b' '; 9 << 20] }, false),
        (Say::status("404 Not Found"), false),
    ] {
        let told = format!("{} {:?}", say.status, say.headers);
        let fake = with_blobs_elsewhere(&tls, move || say.clone());
        let folder = certs(&fake.host, &pem);
        let found = configured(&Registry::new(with_password(&fake.host, folder.path())), &fake).await;
        assert!(found.is_err() && elsewhere(&found) == is_elsewhere, "{told}: {found:?}");
        // Neither password nor what opens a place is repeated.
        assert!(!found.unwrap_err().to_string().contains("pass@"), "{told}");
    }
    assert_eq!(plain.heads(), [""; 0]);
    // One that sends on and on.
    let (own, seen) = (std::sync::OnceLock::new(), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    let own: Arc<std::sync::OnceLock<String>> = Arc::new(own);
    let (named, count) = (Arc::clone(&own), Arc::clone(&seen));
    let loops = Fake::new(Some(Arc::clone(&tls)), move |_| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Say::status("302 Found").with(&format!("Location: https://{}/again", named.get().unwrap()))
    });
    own.set(loops.host.clone()).unwrap();
    let place = format!("Location: https://{}/", loops.host);
    let fake = with_blobs_elsewhere(&tls, move || Say::status("302 Found").with(&place));
    let folder = certs(&fake.host, &pem);
    let found = configured(&Registry::new(with_password(&fake.host, folder.path())), &fake).await;
    assert!(elsewhere(&found), "{found:?}");
    assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), 3);
}

#[tokio::test]
async fn what_the_storage_behind_a_registry_does_is_no_word_about_the_blob() {
    let (tls, pem) = tls();
    let away = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut places = vec![(format!("localhost:{}", away.local_addr().unwrap().port()), Trouble::Unreachable)];
    drop(away);
    let mut stores = Vec::new();
    for (say, trouble) in [
        (Say::status("403 Forbidden"), Trouble::Status(403)),
        (Say::status("404 Not Found"), Trouble::Status(404)),
        (Say::status("500 Internal Server Error"), Trouble::Status(500)),
        (Say::status("503 Slow Down").with("Retry-After: 1"), Trouble::Busy(503)),
        (Say::status("429 Too Many Requests"), Trouble::Busy(429)),
    ] {
        let store = Fake::new(Some(Arc::clone(&tls)), move |_| say.clone());
        places.push((store.host.clone(), trouble));
        stores.push(store);
    }
    let (other, _) = self::tls();
    let stranger = Fake::new(Some(other), |_| Say::status("200 OK"));
    places.push((stranger.host.clone(), Trouble::Tls));
    for (place, expected) in places {
        let at = place.clone();
        let fake = with_blobs_elsewhere(&tls, move || {
            Say::status("307 Temporary Redirect").with(&format!("Location: https://{at}/b?secret=s"))
        });
        let folder = certs(&fake.host, &pem);
        let found = configured(&Registry::new(with_password(&fake.host, folder.path())), &fake).await.unwrap_err();
        assert!(matches!(found, RegistryError::Storage { trouble, .. } if trouble == expected), "{expected:?}: {found:?}");
        assert!(!found.to_string().contains(&place) && !found.to_string().contains("secret"), "{found}");
    }
    // A place that has a folder of its own is asked with its own roots.
    let (own, own_pem) = self::tls();
    let store = Fake::new(Some(own), |_| Say { status: "200 OK", headers: Vec::new(), body: BLOB.to_vec() });
    let place = format!("Location: https://{}/blob", store.host);
    let fake = with_blobs_elsewhere(&tls, move || Say::status("307 Temporary Redirect").with(&place));
    let folder = certs(&fake.host, &pem);
    std::fs::create_dir(folder.path().join(&store.host)).unwrap();
    std::fs::write(folder.path().join(&store.host).join("ca.crt"), own_pem).unwrap();
    assert!(configured(&Registry::new(with_password(&fake.host, folder.path())), &fake).await.is_ok());
}

/// A list of one manifest, and where the rest is.
fn page(number: usize, next: &str) -> Say {
    let (digest, index) = (Digest::of(&number.to_be_bytes()), "application/vnd.oci.image.index.v1+json");
    let body = format!(
        r#"{{"schemaVersion":2,"mediaType":"{index}","manifests":[{{"mediaType":"{}","digest":"{digest}","size":9,"artifactType":"a/b"}}]}}"#,
        crate::support::registry::OCI
    );
    let say = Say { status: "200 OK", headers: vec![format!("Content-Type: {index}")], body: body.into_bytes() };
    if next.is_empty() { say } else { say.with(&format!("Link: {next}")) }
}

async fn referrers(fake: &Fake) -> Result<Option<Listing>, RegistryError> {
    Registry::new(Settings::default()).referrers(&fake.app(), Digest::of(b"image"), soon()).await
}

#[tokio::test]
async fn what_points_at_a_digest_is_listed_page_by_page() {
    let fake = Fake::new(None, |head| if head.contains("?n=1 ") { page(2, "") } else { page(1, "<?n=1>; rel=\"next\"") });
    let listing = referrers(&fake).await.unwrap().unwrap();
    assert_eq!((listing.pointers.len(), listing.is_cut), (2, false));
    assert!(fake.heads()[0].starts_with(&format!("GET /v2/team/app/referrers/{} HTTP/1.1\r\n", Digest::of(b"image"))));
    // The list is asked for whole: a filter would be a hint of whoever pushed.
    assert!(fake.heads().iter().all(|head| !head.contains("artifactType")));
}

#[tokio::test]
async fn pages_that_lead_elsewhere_in_a_circle_or_nowhere_are_not_followed() {
    for next in ["<?n=1>; rel=next", "<http://evil.example/v2/x?n=1>; rel=next", "</v2/team/other/referrers/x?n=1>; rel=next"] {
        let fake = Fake::new(None, move |_| page(1, next));
        let found = referrers(&fake).await.unwrap().unwrap();
        assert_eq!(found.pointers.len(), 1, "what was read before counts");
        assert!(matches!(found.missed, Some(RegistryError::Undecodable { .. })), "{next}: {found:?}");
        assert!(fake.heads().len() <= 2, "{next}");
    }
    // A list without end is cut, and says so.
    let turns = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let fake = Fake::new(None, move |_| {
        let turn = turns.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        page(turn, &format!("<?n={turn}>; rel=next"))
    });
    let listing = referrers(&fake).await.unwrap().unwrap();
    assert_eq!((listing.pointers.len(), listing.is_cut, fake.heads().len()), (8, true, 8));
    // What breaks off in the middle is not a shorter list.
    for status in ["404 Not Found", "500 Internal Server Error", "429 Too Many Requests"] {
        let fake =
            Fake::new(None, move |head| if head.contains("?n=1 ") { Say::status(status) } else { page(1, "<?n=1>; rel=next") });
        let found = referrers(&fake).await.unwrap().unwrap();
        assert!(found.pointers.len() == 1 && found.missed.is_some(), "{status}: {found:?}");
    }
    // Nor does a bad page take away what came before it.
    let html = Say { status: "200 OK", headers: vec!["Content-Type: text/html".into()], body: b"<html></html>".to_vec() };
    let fake = Fake::new(None, move |head| if head.contains("?n=1 ") { html.clone() } else { page(1, "<?n=1>; rel=next") });
    let found = referrers(&fake).await.unwrap().unwrap();
    assert!(found.pointers.len() == 1 && found.missed.is_some(), "{found:?}");
}

#[tokio::test]
async fn whether_a_registry_may_keep_a_list_is_guessed_by_its_answers() {
    let reference = "Docker-Distribution-Api-Version: registry/2.0";
    for (list, is_named, guess) in [
        (None, false, true),
        (None, true, false),
        (Some("404 Not Found"), false, false),
        (Some("404 Not Found"), true, false),
        (Some("200 OK"), false, true),
        // Its own word on lists counts more than its name.
        (Some("200 OK"), true, true),
        (Some("500 Internal Server Error"), false, true),
    ] {
        let fake = Fake::new(None, move |head| {
            let is_list = head.contains("/referrers/");
            let say = if is_list && list == Some("200 OK") { page(1, "") } else { Say::status(list.unwrap_or("404 Not Found")) };
            if is_named { say.with(reference) } else { say }
        });
        let registry = Registry::new(Settings::default());
        assert!(registry.may_list(&fake.app()), "nothing is known yet");
        let _ = registry.manifest(&fake.app(), &Wanted::Digest(Digest::of(b"image")), soon()).await;
        if list.is_some() {
            let _ = registry.referrers(&fake.app(), Digest::of(b"image"), soon()).await;
        }
        assert_eq!(registry.may_list(&fake.app()), guess, "{list:?} {is_named}");
    }
}

#[tokio::test]
async fn no_list_is_told_from_one_that_is_not_known() {
    for status in ["404 Not Found", "405 Method Not Allowed", "501 Not Implemented"] {
        let fake = Fake::new(None, move |_| Say::status(status));
        assert_eq!(referrers(&fake).await, Ok(None), "{status}");
    }
    // Over TLS a bad request is the registry's own word.
    let (config, pem) = tls();
    let fake = Fake::new(Some(config), |_| Say::status("400 Bad Request"));
    let folder = certs(&fake.host, &pem);
    let registry = Registry::new(trusting(folder.path()));
    assert_eq!(registry.referrers(&fake.app(), Digest::of(b"image"), soon()).await, Ok(None));
    for status in ["403 Forbidden", "429 Too Many Requests", "500 Internal Server Error", "503 Service Unavailable", "302 Found"]
    {
        let fake = Fake::new(None, move |_| Say::status(status));
        assert!(referrers(&fake).await.is_err(), "{status}");
    }
    let html = Say { status: "200 OK", headers: vec!["Content-Type: text/html".into()], body: b"<html></html>".to_vec() };
    let fake = Fake::new(None, move |_| html.clone());
    assert!(matches!(referrers(&fake).await, Err(RegistryError::Undecodable { .. })));
}

#[tokio::test]
async fn a_part_has_the_size_and_the_digest_that_it_is_said_to_have() {
    let fake = Fake::new(None, |_| Say { status: "200 OK", headers: Vec::new(), body: b"signature".to_vec() });
    let registry = Registry::new(Settings::default());
    let get = async |digest, size| part(&registry, &fake.app(), digest, size, soon()).await;
    assert_eq!(get(Digest::of(b"signature"), 9).await, Ok(b"signature".to_vec()));
    assert!(matches!(get(Digest::of(b"signature"), 10).await, Err(RegistryError::Undecodable { .. })));
    // No more is read than it is said to have.
    let larger = get(Digest::of(b"signature"), 8).await;
    assert!(matches!(larger, Err(RegistryError::Net(NetError::TooLarge { limit: 8, .. }))), "{larger:?}");
    let asked = fake.heads().len();
    assert!(matches!(get(Digest::of(b"signature"), 9 << 20).await, Err(RegistryError::Undecodable { .. })));
    assert_eq!(fake.heads().len(), asked, "what is too large is not asked for");
    assert!(matches!(get(Digest::of(b"other"), 9).await, Err(RegistryError::WrongDigest { .. })));
}
