//! Proxies that the environment names: `HTTPS_PROXY`, `HTTP_PROXY`, for both `ALL_PROXY`, and `NO_PROXY`; in either case of
//! letters. A name that cannot be read is a fault, and no reason to go without the proxy.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::{Arc, OnceLock};

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{NoProxy, Proxy};

use super::{NetError, Url};

/// What is never asked by way of a proxy, whatever `NO_PROXY` says: another machine's loopback is not ours, and registries there
/// are believed over plain HTTP.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// What stands for the environment where a command goes the way of another process: the gate's.
static INSTEAD: OnceLock<BTreeMap<String, String>> = OnceLock::new();

/// From now on these variables name the proxies, and the environment names none. The first call of a process counts.
pub fn use_instead<'a>(variables: impl Iterator<Item = (&'a str, &'a str)>) {
    let _ = INSTEAD.set(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
}

/// What is wrong with the proxies that `read` names, as `NAME: what`.
pub fn fault(read: impl Fn(&str) -> Option<OsString>) -> Option<String> {
    let error = from_env(read, false).err()?.to_string();
    Some(error.split_once(' ').map_or_else(|| error.clone(), |(name, what)| format!("{name}: {what}")))
}

/// A variable of the environment, or of what stands for it.
pub(super) fn variable(name: &str) -> Option<OsString> {
    match INSTEAD.get() {
        Some(variables) => variables.get(name).map(OsString::from),
        None => std::env::var_os(name),
    }
}

/// The proxies, and what is asked by way of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies {
    pub(super) all: Vec<Proxy>,
    /// The same rules once more: reqwest does not tell which way it goes.
    rules: Vec<Arc<Matcher>>,
}

impl Proxies {
    /// Whether this is asked by way of a proxy, which then resolves its name and connects to it.
    pub(super) fn take(&self, url: &Url) -> bool {
        let url = url.as_str().parse();
        url.is_ok_and(|url| self.rules.iter().any(|rule| rule.intercept(&url).is_some()))
    }
}

/// Reads the variables with `read`. `identity`: a client certificate will be shown, which must not go to a proxy.
pub(super) fn from_env(read: impl Fn(&str) -> Option<OsString>, identity: bool) -> Result<Proxies, NetError> {
    // What is no text is not unset.
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"] {
        for name in [name.to_owned(), name.to_ascii_lowercase()] {
            if read(&name).is_some_and(|text| text.to_str().is_none()) {
                return Err(NetError::Bad(format!("{name} is not text")));
            }
        }
    }
    let read = |name: &str| read(name)?.into_string().ok();
    let value = |name: &'static str| {
        let lower = name.to_ascii_lowercase();
        let given = read(name).filter(|text| !text.trim().is_empty()).or_else(|| read(&lower));
        given.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let direct = format!("{LOOPBACK},{}", value("NO_PROXY").unwrap_or_default());
    let except = NoProxy::from_string(&direct);
    let mut proxies = Proxies::default();
    for (asked, make) in [("HTTPS_PROXY", Proxy::https as fn(Url) -> reqwest::Result<Proxy>), ("HTTP_PROXY", Proxy::http)] {
        let Some((name, text)) = [asked, "ALL_PROXY"].into_iter().find_map(|name| Some((name, value(name)?))) else { continue };
        // The text is not quoted: it may hold a password.
        let fault = |why: &str| NetError::Bad(format!("{name} {why}"));
        let text = if text.contains("://") { text } else { format!("http://{text}") };
        let url = Url::parse(&text).map_err(|_| fault("is not http://HOST:PORT"))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(fault("is not http://HOST:PORT"));
        }
        // The same TLS settings hold for a connection to the proxy, which could ask for the certificate.
        if url.scheme() == "https" && identity {
            return Err(fault("is an https proxy, which is not used together with a client certificate; name it by http://"));
        }
        let rule = Matcher::builder().no(direct.clone());
        let rule = if asked == "HTTPS_PROXY" { rule.https(url.as_str()) } else { rule.http(url.as_str()) };
        let proxy = make(url).map_err(|_| fault("cannot be used"))?;
        proxies.all.push(proxy.no_proxy(except.clone()));
        proxies.rules.push(Arc::new(rule.build()));
    }
    Ok(proxies)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)], identity: bool) -> Result<usize, String> {
        let of = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
        from_env(of, identity).map(|proxies| proxies.all.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_proxy_is_read_or_refused_and_never_left_out() {
        for (set, expected) in [
            (&[][..], Ok(0)),
            (&[("HTTPS_PROXY", ""), ("ALL_PROXY", " ")], Ok(0)),
            (&[("HTTPS_PROXY", "http://user:pass@proxy.example:3128")], Ok(1)),
            (&[("https_proxy", " proxy.example:3128\n")], Ok(1)),
            (&[("HTTPS_PROXY", ""), ("https_proxy", "http://p:1")], Ok(1)),
            (&[("ALL_PROXY", "http://[::1]:3128/"), ("NO_PROXY", "localhost,.example")], Ok(2)),
            (&[("HTTPS_PROXY", "socks5://user:secret@p:1080")], Err("HTTPS_PROXY is not http://HOST:PORT")),
            (&[("ALL_PROXY", "http://")], Err("ALL_PROXY is not http://HOST:PORT")),
            (&[("HTTPS_PROXY", "http://p:port")], Err("HTTPS_PROXY is not http://HOST:PORT")),
        ] {
            assert_eq!(read(set, false), expected.map_err(str::to_owned), "{set:?}");
        }
    }

    #[tokio::test]
    async fn loopback_is_asked_without_a_proxy() {
        use std::time::Duration;
        // Nobody listens at port 1; a proxy would be the one that answers.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = format!("http://{}", listener.local_addr().unwrap());
        let of = |name: &str| (name == "ALL_PROXY").then(|| OsString::from(&proxy));
        let proxies = from_env(of, false).unwrap();
        let client = proxies
            .all
            .iter()
            .cloned()
            .fold(reqwest::Client::builder().no_proxy(), reqwest::ClientBuilder::proxy)
            .tls_backend_preconfigured(crate::net::Tls::default().config(None).unwrap())
            .build()
            .unwrap();
        for (url, proxied) in [
            ("http://127.0.0.1:1/", false),
            ("http://127.9.9.9:1/", false),
            ("http://localhost:1/", false),
            ("http://[::1]:1/", false),
            ("http://registry.example:1/", true),
        ] {
            let asked = client.get(url).timeout(Duration::from_millis(300)).send();
            let (_, seen) = tokio::join!(asked, tokio::time::timeout(Duration::from_millis(300), listener.accept()));
            assert_eq!((seen.is_ok(), proxies.take(&url.parse().unwrap())), (proxied, proxied), "{url}");
        }
    }

    #[test]
    fn a_client_certificate_is_not_shown_to_a_proxy() {
        assert_eq!(read(&[("HTTPS_PROXY", "http://p:3128")], true), Ok(1));
        assert_eq!(read(&[("HTTPS_PROXY", "https://p:3128")], false), Ok(1));
        assert!(read(&[("HTTPS_PROXY", "https://p:3128")], true).is_err());
    }
}
