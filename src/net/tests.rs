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

/// A server that takes connections and never answers.
async fn silent() -> (tokio::net::TcpListener, Url) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    (listener, url)
}

#[tokio::test]
async fn a_time_out_of_a_process_that_did_not_run_says_nothing_about_the_server() {
    let client = Client::new(&Tls { plain: Plain::Allowed, ..Tls::default() }).unwrap();
    let (_listener, url) = silent().await;
    let bounds = Bounds { bytes: 1000, time: Duration::from_secs(1) };
    let hold_up = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        std::thread::sleep(Duration::from_millis(700));
    };
    let (answer, ()) = tokio::join!(client.get(&url, HeaderMap::new(), bounds), hold_up);
    assert!(matches!(answer, Err(NetError::Ours { .. })), "{answer:?}");
    assert!(!is_gone(&answer));
}

#[tokio::test]
async fn a_server_without_an_answer_is_gone() {
    let client = Client::new(&Tls { plain: Plain::Allowed, ..Tls::default() }).unwrap();
    let (listener, url) = silent().await;
    // Long enough for a machine that is busy.
    let bounds = Bounds { bytes: 1000, time: Duration::from_secs(3) };
    let answer = client.get(&url, HeaderMap::new(), bounds).await;
    assert!(matches!(answer, Err(NetError::Timeout { .. })), "{answer:?}");
    assert!(is_gone(&answer));
    drop(listener);
    let answer = client.get(&url, HeaderMap::new(), bounds).await;
    assert!(matches!(answer, Err(NetError::Unreachable { .. })) && is_gone(&answer), "{answer:?}");
}

#[test]
fn busy_servers_are_told_from_those_that_are_gone() {
    let answer = |status, rest: Option<&str>| {
        let mut headers = HeaderMap::new();
        headers.extend(rest.map(|rest| (HeaderName::from_static("retry-after"), HeaderValue::from_str(rest).unwrap())));
        Ok(HttpAnswer { status, headers, body: Vec::new(), reach: Reach::Public })
    };
    for (status, rest, expected) in [
        (200, None, false),
        (401, None, false),
        (404, None, false),
        (429, None, false),
        (429, Some("1"), false),
        (500, None, true),
        (502, Some("1"), true),
        (503, None, true),
        (503, Some("1"), false),
        (503, Some("soon"), false),
    ] {
        assert_eq!(is_gone(&answer(status, rest)), expected, "{status} {rest:?}");
    }
}

#[tokio::test]
async fn a_name_that_waits_for_others_lookups_says_nothing_about_the_server() {
    for (fault, is_ours) in [(std::io::Error::other(Crowded), true), (std::io::Error::other("no such name"), false)] {
        let fault = std::sync::Mutex::new(Some(fault));
        let names = Names::new(move |_| Err(fault.lock().unwrap().take().unwrap()));
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(Tls::default().config(None).unwrap())
            .dns_resolver(resolver::Resolver { names, within: None })
            .build()
            .unwrap();
        let error = classify(&client.get("http://name.test/").send().await.unwrap_err(), "name.test:80");
        assert_eq!(matches!(error, NetError::Ours { .. }), is_ours, "{error:?}");
        assert_eq!(is_gone(&Err(error)), !is_ours);
    }
}

#[tokio::test]
async fn an_answer_that_broke_off_came_from_a_server_that_is_there() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let client = Client::new(&Tls { plain: Plain::Allowed, ..Tls::default() }).unwrap();
    let (listener, url) = silent().await;
    let serve = async {
        let (mut peer, _) = listener.accept().await.unwrap();
        let _ = peer.read(&mut [0; 4096]).await.unwrap();
        peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
    };
    let bounds = Bounds { bytes: 1000, time: Duration::from_secs(10) };
    let (answer, ()) = tokio::join!(client.get(&url, HeaderMap::new(), bounds), serve);
    assert!(matches!(answer, Err(NetError::Cut { .. })) && !is_gone(&answer), "{answer:?}");
}

#[tokio::test]
async fn a_place_that_a_server_names_is_not_nearer_than_that_server() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = tokio::spawn(async move {
        let mut served = 0;
        while let Ok(Ok((mut peer, _))) = tokio::time::timeout(Duration::from_secs(1), listener.accept()).await {
            let _ = peer.read(&mut [0; 4096]).await.unwrap();
            peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await.unwrap();
            served += 1;
        }
        served
    });
    let client = Client::new(&Tls { plain: Plain::Allowed, ..Tls::default() }).unwrap();
    let bounds = Bounds { bytes: 1000, time: Duration::from_secs(5) };
    let (mut good, places) = (0, ["localhost", "127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"]);
    for (reach, is_asked) in [(None, true), (Some(Reach::Own), true), (Some(Reach::Private), false), (Some(Reach::Public), false)]
    {
        let client = reach.map_or_else(|| client.clone(), |reach| client.within(reach));
        for place in places {
            let url = format!("http://{place}:{port}/").parse().unwrap();
            match client.get(&url, HeaderMap::new(), bounds).await {
                Ok(answer) => {
                    assert_eq!((answer.reach, is_asked), (Reach::Own, true), "{reach:?} {place}");
                    good += 1;
                }
                // A machine may have no IPv6.
                Err(NetError::Unreachable { .. }) if place.starts_with('[') && is_asked => {}
                Err(error) => assert!(!is_asked && matches!(error, NetError::Barred { .. }), "{reach:?} {place}: {error}"),
            }
        }
    }
    assert_eq!(serve.await.unwrap(), good, "nobody was connected to besides");
    // A cloud's metadata is for nobody that a server sends.
    for reach in Reach::ALL {
        let url = "http://169.254.169.254/latest/meta-data/".parse().unwrap();
        let refused = client.within(reach).get(&url, HeaderMap::new(), bounds).await;
        assert!(matches!(refused, Err(NetError::Barred { .. })) && !is_gone(&refused), "{refused:?}");
    }
}

/// A proxy stands where this host's own doors are open to it, and connects to whatever it is asked for.
#[tokio::test]
async fn a_proxy_is_not_asked_for_a_name_that_leads_to_this_host() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("http://{}", listener.local_addr().unwrap());
    let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = Arc::clone(&lines);
    let serve = tokio::spawn(async move {
        while let Ok((mut peer, _)) = listener.accept().await {
            let mut head = [0; 4096];
            let size = peer.read(&mut head).await.unwrap();
            let first = String::from_utf8_lossy(&head[..size]).lines().next().unwrap_or_default().to_owned();
            noted.lock().unwrap().push(first);
            peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await.unwrap();
        }
    });
    let mut client = Client::new(&Tls { plain: Plain::Allowed, ..Tls::default() }).unwrap();
    client.proxies = proxy::from_env(|name| (name == "HTTP_PROXY").then(|| at.clone().into()), false).unwrap();
    client.inner = Client::build(client.config.clone(), client.proxies.all.clone(), None).unwrap();
    let names = Names::new(|name| match name {
        "near.example" => Ok(vec![([93, 184, 216, 34], 0).into(), ([127, 0, 0, 1], 0).into()]),
        "metadata.example" => Ok(vec![([169, 254, 169, 254], 0).into()]),
        "far.example" => Ok(vec![([93, 184, 216, 34], 0).into()]),
        "within.example" => Ok(vec![([10, 9, 9, 9], 0).into()]),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    });
    let client = Client { names: Some(names), ..client.within(Reach::Private) };
    for (name, is_asked) in [
        ("far.example", true),
        ("within.example", true),
        ("the-proxy-alone-knows.example", true),
        ("near.example", false),
        ("metadata.example", false),
        ("metadata.google.internal", false),
        ("printer.local", false),
        ("db", false),
        ("169.254.169.254", false),
    ] {
        let url: Url = format!("http://{name}/x.crl").parse().unwrap();
        let answer = client.get(&url, HeaderMap::new(), Bounds { bytes: 1000, time: Duration::from_secs(5) }).await;
        assert_eq!(answer.is_ok(), is_asked, "{name}: {answer:?}");
        let lines = std::mem::take(&mut *lines.lock().unwrap());
        let expected: Vec<String> = is_asked.then(|| format!("GET {url} HTTP/1.1")).into_iter().collect();
        assert_eq!(lines, expected, "{name}");
        if !is_asked {
            assert!(matches!(answer, Err(NetError::Barred { .. })), "{name}: {answer:?}");
        }
    }
    serve.abort();
}
