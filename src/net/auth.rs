//! Credentials from docker's `config.json`, the challenges of registries and Notary servers, and their tokens
//! (distribution's token specification; docs/notary-v1.md, section 2).
//!
//! Rules that hold everywhere: credentials go over `https` only, loopback included; never after a redirect (none is
//! followed); to the host whose challenge is answered, or to the token service that host names, which is not nearer to this host than
//! the server itself. A client certificate is shown to the server alone, not to a token service on another host.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Bounds, Client, HeaderMap, HeaderValue, HttpAnswer, NetError, Reach, Url, authority, host_of, without_user};
use crate::text::clean;

/// Largest `config.json`. Stops a wrong path from filling memory.
const CONFIG_BYTES: usize = 1 << 20;
/// Largest answer of a token service; tokens are a few KB.
const TOKEN_BYTES: u64 = 256 << 10;
/// Longest token that is put into a header. Stops a token service from inflating every later request.
const TOKEN_LENGTH: usize = 64 << 10;
/// Shortest lifetime a token is taken to have (distribution's token specification).
const TOKEN_SECONDS_LEAST: u64 = 60;
/// Longest lifetime that is believed.
const TOKEN_SECONDS_MOST: u64 = 3600;
/// Tokens are renewed this long before they end.
const TOKEN_MARGIN: Duration = Duration::from_secs(10);
/// Most tokens kept, and most bytes of them. Stops made-up repository names, and tokens of the largest size, from filling memory.
const TOKENS: usize = 1024;
const TOKENS_BYTES: usize = 4 << 20;
/// Most challenges read in one header.
const CHALLENGES: usize = 8;
/// Docker's key of Docker Hub.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// Name that docker's token client gives.
const CLIENT_ID: &str = "img-authz";

/// A user's secret for one host.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// User name and password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// An `OAuth2` refresh token (`identitytoken`).
    Refresh(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// What docker's `config.json` says about credentials.
#[derive(Clone, Default)]
pub struct DockerConfig {
    hosts: HashMap<String, Credentials>,
    helpers: Vec<String>,
}

impl fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerConfig").field("hosts", &self.hosts).field("helpers", &self.helpers).finish()
    }
}

#[derive(Deserialize, Default)]
struct ConfigFile {
    #[serde(default)]
    auths: HashMap<String, AuthEntry>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
    #[serde(default, rename = "credHelpers")]
    helpers: HashMap<String, String>,
}

#[derive(Deserialize, Default)]
struct AuthEntry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, rename = "identitytoken")]
    identity: String,
}

impl DockerConfig {
    /// Reads the text of a `config.json`. An entry that cannot be read is left out; a text that is no JSON is an error.
    pub fn read(text: &str) -> Result<Self, NetError> {
        if text.len() > CONFIG_BYTES {
            return Err(NetError::Bad(format!("docker's config.json is larger than {CONFIG_BYTES} bytes")));
        }
        // The cause is not quoted: it may hold part of a secret.
        let file: ConfigFile = serde_json::from_slice(text.as_bytes())
            .map_err(|error| NetError::Bad(format!("docker's config.json cannot be read (line {})", error.line())))?;
        let mut hosts = HashMap::new();
        // Of several entries for one host always the same one counts: docker's own key of Docker Hub, the bare host, the shortest.
        let mut auths: Vec<(String, AuthEntry)> = file.auths.into_iter().collect();
        auths.sort_by_cached_key(|(name, _)| (name != HUB_KEY, host_key(name) != *name, name.clone()));
        for (name, entry) in auths {
            if let Some(credentials) = entry.credentials() {
                hosts.entry(host_key(&name)).or_insert(credentials);
            }
        }
        let mut helpers: Vec<String> = file.helpers.into_keys().map(|host| clean(&host)).collect();
        helpers.extend(file.store.filter(|store| !store.is_empty()).map(|_| "*".to_owned()));
        helpers.sort();
        Ok(Self { hosts, helpers })
    }

    /// The credentials for a registry host, spelt as in references (`docker.io`, `localhost:5443`).
    #[must_use]
    pub fn for_host(&self, host: &str) -> Option<&Credentials> {
        self.hosts.get(&host_key(host))
    }

    /// Hosts whose credentials sit in a credential helper (`*`: all of them, `credsStore`). The gate starts no process,
    /// so these are out of reach; `doctor` and refusals say so.
    #[must_use]
    pub fn helpers(&self) -> &[String] {
        &self.helpers
    }

    /// What to tell the operator when a host wants credentials and there are none.
    #[must_use]
    pub fn missing(&self, host: &str) -> String {
        if self.helpers.iter().any(|helper| helper == "*" || *helper == host) {
            format!("those for `{host}` are in a credential helper, which is never started; put them in `auths` of config.json")
        } else {
            format!("there are none for `{host}` in docker's config.json")
        }
    }
}

impl AuthEntry {
    fn credentials(self) -> Option<Credentials> {
        if !self.identity.is_empty() {
            return Some(Credentials::Refresh(self.identity));
        }
        if !self.auth.is_empty() {
            let raw = STANDARD.decode(self.auth.trim()).ok()?;
            let text = String::from_utf8(raw).ok()?;
            let (user, password) = text.split_once(':')?;
            // Docker pads passwords with NUL in some old files and trims them again.
            let password = password.trim_matches('\0');
            return (!user.is_empty()).then(|| Credentials::Basic { user: user.to_owned(), password: password.to_owned() });
        }
        (!self.username.is_empty()).then_some(Credentials::Basic { user: self.username, password: self.password })
    }
}

/// Docker's key of a host: scheme and path are cut off, and Docker Hub has its historic name.
fn host_key(name: &str) -> String {
    let rest = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    let host = rest.split('/').next().unwrap_or_default();
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    }
}

/// What a server asks for in `WWW-Authenticate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// A token from this service.
    Bearer {
        /// URL of the token service.
        realm: String,
        /// The service's name for the server.
        service: Option<String>,
    },
    /// User name and password.
    Basic,
}

impl Challenge {
    /// The challenge of an answer: the first that we know, Bearer before Basic. None: malformed or unknown.
    #[must_use]
    pub fn of(answer: &HttpAnswer) -> Option<Self> {
        let mut basic = None;
        for value in answer.headers.get_all("www-authenticate").iter().take(CHALLENGES) {
            for challenge in value.to_str().ok().into_iter().flat_map(parse) {
                match challenge {
                    Self::Bearer { .. } => return Some(challenge),
                    Self::Basic => basic = Some(challenge),
                }
            }
        }
        basic
    }
}

/// Reads `Bearer realm="…",service="…", Basic realm="…"` (RFC 7235). What is malformed ends the reading.
fn parse(text: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() && found.len() < CHALLENGES {
        let (scheme, after) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        let scheme = scheme.trim_end_matches(',');
        let Some((parameters, next)) = parameters(after.trim_start()) else { break };
        let value = |name: &str| {
            let mut hits = parameters.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            // A parameter given twice is read in two ways by two readers: it counts as missing.
            hits.next().filter(|_| hits.next().is_none()).map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("bearer") {
            if let Some(realm) = value("realm") {
                found.push(Challenge::Bearer { realm, service: value("service") });
            }
        } else if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        }
        rest = next;
    }
    found
}

/// `name=value` pairs up to the next scheme. None where they are malformed.
fn parameters(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut pairs = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some((pairs, rest));
        }
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))).unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(end)?;
        let Some(value) = after.trim_start().strip_prefix('=') else {
            // No `=`: the next challenge's scheme.
            return if name.is_empty() { None } else { Some((pairs, rest)) };
        };
        let value = value.trim_start();
        let (value, after) = if let Some(quoted) = value.strip_prefix('"') {
            unquote(quoted)?
        } else {
            let end = value.find([',', ' ', '\t']).unwrap_or(value.len());
            let (value, after) = value.split_at_checked(end)?;
            (value.to_owned(), after)
        };
        pairs.push((name.to_owned(), value));
        rest = after;
    }
}

/// The text of a quoted string and what follows its closing quote.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at.checked_add(1)?..)?)),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

struct Token {
    text: HeaderValue,
    until: Instant,
}

/// A server that may want tokens: its base URL, a client, and the tokens it gave. One per server; shared by reference.
pub struct Session {
    client: Client,
    base: Url,
    tokens: Mutex<HashMap<String, Token>>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// Who asks for what, in one [`Session::get`].
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// `repository:NAME:pull`; what a token must cover. One scope has one set of credentials.
    pub scope: &'a str,
    /// The secret, if there is one; anonymous otherwise.
    pub credentials: Option<&'a Credentials>,
}

impl Session {
    /// A session with the server at `base`, which may have a path of its own.
    pub fn new(client: Client, base: &str) -> Result<Self, NetError> {
        let mut url = Url::parse(base).map_err(|error| NetError::Bad(format!("URL `{}`: {error}", without_user(base))))?;
        if url.host_str().is_none_or(str::is_empty) || url.query().is_some() || url.fragment().is_some() || has_user(&url) {
            return Err(NetError::Bad(format!("URL `{}` must be scheme, host and path alone", without_user(base))));
        }
        // `Url::join` resolves against the folder, so the base has to look like one.
        if !url.path().ends_with('/') {
            let path = format!("{}/", url.path());
            url.set_path(&path);
        }
        Ok(Self { client, base: url, tokens: Mutex::default() })
    }

    /// The client underneath.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The server's base URL, with a slash at its end.
    #[must_use]
    pub const fn base(&self) -> &Url {
        &self.base
    }

    /// Host and port of the server, for messages.
    #[must_use]
    pub fn host(&self) -> String {
        host_of(&self.base)
    }

    /// The URL of a path below the base.
    pub fn url(&self, path: &str) -> Result<Url, NetError> {
        let mut url = self.base.clone();
        let full = format!("{}{}", self.base.path(), path.trim_start_matches('/'));
        match full.split_once('?') {
            Some((path, query)) => {
                url.set_path(path);
                url.set_query(Some(query));
            }
            None => url.set_path(&full),
        }
        Ok(url)
    }

    /// GET of `path` below the base, answering a challenge once. A status of 401 never comes back: it is
    /// [`NetError::Unauthorized`]. `bounds.time` holds for the whole, the token service included.
    pub async fn get(&self, path: &str, headers: HeaderMap, asker: Asker<'_>, bounds: Bounds) -> Result<HttpAnswer, NetError> {
        // Over plain HTTP anybody on the way may write the challenge, and name a token service of their own: all is anonymous.
        let credentials = asker.credentials.filter(|_| self.base.scheme() == "https");
        let asker = Asker { credentials, ..asker };
        let end = Instant::now() + bounds.time;
        let left = || Bounds { time: end.saturating_duration_since(Instant::now()), ..bounds };
        let url = self.url(path)?;
        let mut first = headers.clone();
        let kept = self.kept(asker.scope);
        let had_token = kept.is_some();
        if let Some(token) = kept {
            first.insert("authorization", token);
        }
        let answer = self.client.get(&url, first, bounds).await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        if had_token {
            self.forget(asker.scope);
        }
        // The server did answer. What then comes too late, for want of time, is a slow answer and not the lack of one.
        let late = |error, had: Bounds| match error {
            NetError::Timeout { host, .. } if had.time < bounds.time / 12 * 11 => NetError::Stalled { host, after: bounds.time },
            error => error,
        };
        let (challenge, reach) = match Challenge::of(&answer) {
            Some(challenge) => (challenge, answer.reach),
            None => {
                let had = left();
                self.ping(had).await.map_err(|error| late(error, had))?
            }
        };
        let authorization = match &challenge {
            Challenge::Basic => self.basic(&url, asker)?,
            Challenge::Bearer { realm, service } => {
                let had = left();
                self.token((realm, reach), service.as_deref(), asker, had).await.map_err(|error| late(error, had))?
            }
        };
        let mut second = headers;
        second.insert("authorization", authorization.clone());
        let had = left();
        let answer = self.client.get(&url, second, had).await.map_err(|error| late(error, had))?;
        if answer.status == 401 {
            self.forget(asker.scope);
            return Err(self.unauthorized(match asker.credentials {
                Some(_) => "those in docker's config.json are not accepted",
                None => "there are none in docker's config.json",
            }));
        }
        if challenge == Challenge::Basic {
            self.keep(asker.scope, authorization, Duration::from_secs(TOKEN_SECONDS_LEAST));
        }
        Ok(answer)
    }

    /// Asks `/v2/` for the challenge, for servers that do not repeat it elsewhere; and how near the server is that says it.
    async fn ping(&self, bounds: Bounds) -> Result<(Challenge, Reach), NetError> {
        let bounds = Bounds { bytes: TOKEN_BYTES, ..bounds };
        let answer = self.client.get(&self.url("v2/")?, HeaderMap::new(), bounds).await?;
        let challenge = if answer.status == 401 { Challenge::of(&answer) } else { None };
        let challenge = challenge.ok_or_else(|| self.unauthorized("its challenge is missing, malformed or unknown"))?;
        Ok((challenge, answer.reach))
    }

    fn basic(&self, url: &Url, asker: Asker<'_>) -> Result<HeaderValue, NetError> {
        match asker.credentials {
            Some(Credentials::Basic { .. }) if url.scheme() != "https" => {
                Err(self.unauthorized("they are never sent over plain HTTP"))
            }
            Some(Credentials::Basic { user, password }) => basic_header(user, password),
            Some(Credentials::Refresh(_)) => {
                Err(self.unauthorized("docker's config.json has an identity token where a password is asked for"))
            }
            None => Err(self.unauthorized("there are none in docker's config.json")),
        }
    }

    /// A token from the service at `realm`, which a server names that is this near.
    async fn token(
        &self,
        (realm, reach): (&str, Reach),
        service: Option<&str>,
        asker: Asker<'_>,
        bounds: Bounds,
    ) -> Result<HeaderValue, NetError> {
        let malformed = || self.unauthorized("it names a token service that is not an https URL");
        let mut url = Url::parse(realm).map_err(|_| malformed())?;
        // A token is worth stealing as well, so that an anonymous one is not fetched over plain HTTP either, unless the
        // server itself was asked that way.
        let plain_too = url.scheme() == "http" && self.base.scheme() == "http" && asker.credentials.is_none();
        if (url.scheme() != "https" && !plain_too) || has_user(&url) || url.fragment().is_some() {
            return Err(malformed());
        }
        let bounds = Bounds { bytes: TOKEN_BYTES, ..bounds };
        let host = host_of(&url);
        // A client certificate is for the server's host and port, not for whomever it names.
        let elsewhere = url.scheme() != self.base.scheme() || authority(&url) != authority(&self.base);
        let client = if elsewhere { self.client.within(reach) } else { self.client.clone() };
        let answer = match asker.credentials {
            Some(Credentials::Refresh(refresh)) => {
                let mut form = vec![
                    ("grant_type", "refresh_token"),
                    ("client_id", CLIENT_ID),
                    ("refresh_token", refresh.as_str()),
                    ("scope", asker.scope),
                ];
                form.extend(service.map(|service| ("service", service)));
                client.post_form(&url, HeaderMap::new(), &form, bounds).await?
            }
            Some(Credentials::Basic { user, password }) => {
                add_query(&mut url, service, asker.scope, Some(user));
                let mut headers = HeaderMap::new();
                headers.insert("authorization", basic_header(user, password)?);
                client.get(&url, headers, bounds).await?
            }
            None => {
                add_query(&mut url, service, asker.scope, None);
                client.get(&url, HeaderMap::new(), bounds).await?
            }
        };
        match answer.status {
            200 => {}
            status @ (401 | 403) => {
                return Err(self.unauthorized(&match asker.credentials {
                    Some(_) => format!("the token service `{host}` does not accept those in docker's config.json ({status})"),
                    None => format!("the token service `{host}` gives no token without ({status})"),
                }));
            }
            status if answer.is_busy() => return Err(NetError::Busy { host, status }),
            status => {
                return Err(NetError::Unreachable { host, cause: format!("the token service answers with status {status}") });
            }
        }
        let unreadable = || self.unauthorized(&format!("the token service `{host}` answers something that is not a token"));
        let granted: Granted = serde_json::from_slice(&answer.body).map_err(|_| unreadable())?;
        let text = granted.access_token.filter(|text| !text.is_empty()).or(granted.token).unwrap_or_default();
        let fit = !text.is_empty() && text.len() <= TOKEN_LENGTH && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !fit {
            return Err(unreadable());
        }
        let mut header = HeaderValue::from_str(&format!("Bearer {text}")).map_err(|_| unreadable())?;
        header.set_sensitive(true);
        let seconds = granted.expires_in.unwrap_or(TOKEN_SECONDS_LEAST).clamp(TOKEN_SECONDS_LEAST, TOKEN_SECONDS_MOST);
        self.keep(asker.scope, header.clone(), Duration::from_secs(seconds).saturating_sub(TOKEN_MARGIN));
        Ok(header)
    }

    fn unauthorized(&self, why: &str) -> NetError {
        NetError::Unauthorized { host: host_of(&self.base), why: why.to_owned() }
    }

    fn kept(&self, scope: &str) -> Option<HeaderValue> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(scope).filter(|token| token.until > Instant::now()).map(|token| token.text.clone())
    }

    fn keep(&self, scope: &str, text: HeaderValue, time: Duration) {
        let now = Instant::now();
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = |tokens: &HashMap<String, Token>| {
            tokens.len() >= TOKENS || tokens.values().map(|token| token.text.len()).sum::<usize>() > TOKENS_BYTES
        };
        if is_full(&tokens) {
            tokens.retain(|_, token| token.until > now);
        }
        if is_full(&tokens) {
            tokens.clear();
        }
        tokens.insert(scope.to_owned(), Token { text, until: now + time });
    }

    fn forget(&self, scope: &str) {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(scope);
    }
}

#[derive(Deserialize)]
struct Granted {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn add_query(url: &mut Url, service: Option<&str>, scope: &str, account: Option<&str>) {
    let mut query = url.query_pairs_mut();
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    query.append_pair("scope", scope);
    if let Some(account) = account {
        query.append_pair("account", account);
    }
}

fn basic_header(user: &str, password: &str) -> Result<HeaderValue, NetError> {
    let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    let mut header =
        HeaderValue::from_str(&text).map_err(|_| NetError::Bad("credentials do not fit into a header".to_owned()))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) }
    }

    #[test]
    fn challenges_are_read_as_the_servers_write_them() {
        for (text, expected) in [
            (r#"Bearer realm="https://a/t",service="s",scope="x:y,z""#, vec![bearer("https://a/t", Some("s"))]),
            (r"bearer REALM=https://a/t", vec![bearer("https://a/t", None)]),
            (r#"Basic realm="x", Bearer realm="https://a""#, vec![Challenge::Basic, bearer("https://a", None)]),
            (r"Basic", vec![Challenge::Basic]),
            (r#"Negotiate, Basic realm="q\"q""#, vec![Challenge::Basic]),
            (r#"Bearer realm="https://a",realm="https://b""#, vec![]),
            (r#"Bearer realm="https://a"#, vec![]),
            ("Bearer", vec![]),
            ("", vec![]),
            ("=,=", vec![]),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn of_several_entries_for_one_host_the_same_counts_always() {
        let basic = |password: &str| json_entry("rig", password);
        let found = |keys: &[(&str, &str)]| {
            let auths: Vec<String> = keys.iter().map(|(key, word)| format!("\"{key}\":{}", basic(word))).collect();
            let config = DockerConfig::read(&format!("{{\"auths\":{{{}}}}}", auths.join(","))).unwrap();
            match config.for_host("reg.example") {
                Some(Credentials::Basic { password, .. }) => password.clone(),
                _ => String::new(),
            }
        };
        for _ in 0..32 {
            // The plain host goes before; a part of the host is not all of it.
            assert_eq!(
                found(&[("reg.example/team", "part"), ("https://reg.example/v1/", "old"), ("reg.example", "host")]),
                "host"
            );
            assert_eq!(found(&[("https://reg.example/v2/", "two"), ("https://reg.example/v1/", "one")]), "one");
        }
        assert_eq!(found(&[("reg.example.evil", "x"), ("evil@reg.example", "x"), ("reg.example:443", "x")]), "");
    }

    fn json_entry(user: &str, password: &str) -> String {
        format!("{{\"auth\":\"{}\"}}", STANDARD.encode(format!("{user}:{password}")))
    }

    #[test]
    fn credentials_are_found_by_host_and_never_print() {
        let text = format!(
            r#"{{"auths":{{"reg.example:5000":{{"auth":"{}"}},"https://index.docker.io/v1/":{{"identitytoken":"tok"}}}},
                "credsStore":"desktop","credHelpers":{{"gcr.io":"gcloud"}}}}"#,
            STANDARD.encode("rig:pa:ss")
        );
        let config = DockerConfig::read(&text).unwrap();
        let expected = Credentials::Basic { user: "rig".into(), password: "pa:ss".into() };
        assert_eq!(config.for_host("reg.example:5000"), Some(&expected));
        assert_eq!(config.for_host("reg.example"), None);
        assert_eq!(config.for_host("docker.io"), Some(&Credentials::Refresh("tok".into())));
        assert_eq!(config.helpers(), ["*", "gcr.io"]);
        assert!(config.missing("x").contains("credential helper"));
        assert!(!format!("{config:?}").contains("pa:ss"));
    }

    #[test]
    fn a_config_that_is_no_json_is_an_error_without_its_text() {
        let error = DockerConfig::read(r#"{"auths": {"a": {"auth": "c2VjcmV0"#).unwrap_err();
        assert!(!error.to_string().contains("c2Vj"));
    }
}
