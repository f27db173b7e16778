//! What is answered to whom. Behind the gate's own socket, which only root reaches: the snapshot as JSON, and the figures. Behind `WEB`: the
//! page and the same, to who names this very listener and has the token or a session. Nothing here changes anything of the gate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue,
    LOCATION, ORIGIN, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};

use super::keys::{Keys, Tried};
use super::page::{self, Section};
use crate::policy::WebAddress;
use crate::service::status::Look;

/// What the browser may do with what it is given: nothing but show it, with the style that is ours. A breach says more than a comment could.
const CSP: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Largest form. Stops more than a token from being read.
const FORM_BYTES: usize = 1 << 10;
/// The session's cookie.
const SESSION: &str = "img-authz-session";
/// Most cookies of that name that are tried: others on this address can set some too.
const SESSIONS_TRIED: usize = 4;
/// How long the browser keeps it, seconds: as long as it counts.
const SESSION_SECONDS: u64 = 12 * 3600;
/// How often the page of live events is asked for again, seconds.
const LIVE_SECONDS: &str = "5";

type Reply = Response<Full<Bytes>>;

/// What is answered at a listener.
pub(super) struct Site {
    look: Arc<Look>,
    door: Door,
}

/// Who stands before it.
enum Door {
    /// Root, at the gate's own socket.
    Own,
    /// A browser, or whatever else reaches the listener.
    Web { hosts: Hosts, keys: Arc<Keys> },
}

/// As what the listener may be addressed: another name is somebody else's, who has it lead here (DNS rebinding).
enum Hosts {
    /// Exactly these.
    Exactly([String; 2]),
    /// This host's own names with any port: a socket has none, and who forwards a port to it chooses one.
    Local,
}

impl Hosts {
    fn of(address: &WebAddress) -> Self {
        match address {
            WebAddress::Port(port) => Self::Exactly([format!("127.0.0.1:{port}"), format!("localhost:{port}")]),
            WebAddress::Socket(_) => Self::Local,
        }
    }

    fn knows(&self, host: &str) -> bool {
        match self {
            Self::Exactly(names) => names.iter().any(|name| name.eq_ignore_ascii_case(host)),
            Self::Local => {
                let (name, port) = match host.rsplit_once(':') {
                    Some((name, port)) if !name.is_empty() && !host.ends_with(']') => (name, port),
                    Some(_) | None => (host, "1"),
                };
                port.parse::<u16>().is_ok()
                    && ["localhost", "127.0.0.1", "[::1]"].iter().any(|own| own.eq_ignore_ascii_case(name))
            }
        }
    }
}

impl Site {
    /// For the gate's own socket.
    pub(super) fn own(look: Arc<Look>) -> Self {
        Self { look, door: Door::Own }
    }

    /// For the listener of `WEB`.
    pub(super) fn web(look: Arc<Look>, address: &WebAddress, keys: Arc<Keys>) -> Self {
        Self { look, door: Door::Web { hosts: Hosts::of(address), keys } }
    }

    /// Answers. `is_known` is set once the connection has shown a key.
    pub(super) async fn answer(&self, request: Request<Incoming>, is_known: &AtomicBool) -> Reply {
        let (parts, body) = request.into_parts();
        let mut reply = match &self.door {
            Door::Own => self.own_answer(&parts).await,
            Door::Web { hosts, keys } => self.web_answer(hosts, keys, &parts, body, is_known).await,
        };
        guard(reply.headers_mut());
        reply
    }

    async fn own_answer(&self, parts: &Parts) -> Reply {
        match (&parts.method, parts.uri.path()) {
            (&Method::GET, "/status") => self.json().await,
            (&Method::GET, "/metrics") => self.metrics(),
            (_, _) => plain(StatusCode::NOT_FOUND, "not found"),
        }
    }

    async fn web_answer(&self, hosts: &Hosts, keys: &Keys, parts: &Parts, body: Incoming, is_known: &AtomicBool) -> Reply {
        let Some(host) = only(&parts.headers, &HOST).filter(|host| hosts.knows(host)) else {
            return plain(StatusCode::MISDIRECTED_REQUEST, "this is not the address of this page");
        };
        if parts.uri.authority().is_some_and(|authority| !hosts.knows(authority.as_str())) {
            return plain(StatusCode::MISDIRECTED_REQUEST, "this is not the address of this page");
        }
        // What stands in an address ends up in histories and logs: no token is taken from there, nor anything else.
        if parts.uri.query().is_some() {
            return plain(StatusCode::BAD_REQUEST, "no address of this page has a query");
        }
        match (&parts.method, parts.uri.path()) {
            (&Method::GET | &Method::HEAD, "/style.css") => content("text/css; charset=utf-8", page::STYLE),
            (&Method::GET | &Method::HEAD, "/icon.svg") => content("image/svg+xml", page::ICON),
            (&Method::POST, "/login" | "/logout") if !is_same_origin(&parts.headers, host) => {
                plain(StatusCode::FORBIDDEN, "this was sent from another page")
            }
            (&Method::POST, "/login") => login(keys, &parts.headers, body, is_known).await,
            (&Method::POST, "/logout") => {
                sessions(&parts.headers).for_each(|session| keys.end(session));
                let mut reply = see_other();
                set(&mut reply, SET_COOKIE, &format!("{SESSION}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"));
                reply
            }
            (&Method::GET | &Method::HEAD, path) => match entry(keys, &parts.headers) {
                Entry::Known => {
                    is_known.store(true, Ordering::Relaxed);
                    self.to_known(path).await
                }
                Entry::Stranger => login_page(path, StatusCode::UNAUTHORIZED, None),
                Entry::Refused(tried) => refused(path, tried),
            },
            (_, _) => plain(StatusCode::METHOD_NOT_ALLOWED, "nothing can be changed here"),
        }
    }

    async fn to_known(&self, path: &str) -> Reply {
        match path {
            "/metrics" => return self.metrics(),
            "/status.json" => return self.json().await,
            _ => {}
        }
        let Some(section) = Section::at(path) else {
            return html(StatusCode::NOT_FOUND, page::missing());
        };
        let mut reply = html(StatusCode::OK, page::of(section, &self.look.snapshot().await));
        if section == Section::Live {
            set(&mut reply, HeaderName::from_static("refresh"), LIVE_SECONDS);
        }
        reply
    }

    async fn json(&self) -> Reply {
        // Plain data of texts and numbers always serialises.
        content("application/json", serde_json::to_vec(&self.look.snapshot().await).unwrap_or_default())
    }

    fn metrics(&self) -> Reply {
        content("application/openmetrics-text; version=1.0.0; charset=utf-8", self.look.metrics())
    }
}

/// Who comes.
enum Entry {
    Known,
    /// Nobody that says who he is.
    Stranger,
    /// Somebody with a token that is not the one.
    Refused(Tried),
}

fn entry(keys: &Keys, headers: &HeaderMap) -> Entry {
    if headers.contains_key(AUTHORIZATION) {
        let bearer = only(headers, &AUTHORIZATION).and_then(|text| text.split_once(' '));
        let token = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map_or("", |(_, token)| token.trim());
        return match keys.is_token(token) {
            Tried::Right => Entry::Known,
            tried @ (Tried::Wrong | Tried::TooMany) => Entry::Refused(tried),
        };
    }
    if sessions(headers).any(|session| keys.knows(session)) { Entry::Known } else { Entry::Stranger }
}

/// Takes a token for a session.
async fn login(keys: &Keys, headers: &HeaderMap, body: Incoming, is_known: &AtomicBool) -> Reply {
    let is_form = only(headers, &CONTENT_TYPE).is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    if !is_form {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "post the form of this page");
    }
    let Ok(form) = Limited::new(body, FORM_BYTES).collect().await else {
        return plain(StatusCode::PAYLOAD_TOO_LARGE, "a token is shorter");
    };
    let form = String::from_utf8_lossy(&form.to_bytes()).into_owned();
    let field = form.split('&').find_map(|field| field.strip_prefix("token="));
    match keys.is_token(&unescaped(field.unwrap_or_default())) {
        Tried::Right => {}
        tried @ (Tried::Wrong | Tried::TooMany) => return refused("/", tried),
    }
    let Some(session) = keys.begin() else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "this host gives no random numbers");
    };
    is_known.store(true, Ordering::Relaxed);
    let mut reply = see_other();
    let cookie = format!("{SESSION}={session}; Path=/; Max-Age={SESSION_SECONDS}; HttpOnly; SameSite=Strict");
    set(&mut reply, SET_COOKIE, &cookie);
    reply
}

/// A field of a form, as it was typed, without the blanks that came along with a paste; a token has none. Blanks come as `+`, all but letters and
/// digits as `%` and two of their hex digits.
fn unescaped(field: &str) -> String {
    let field = field.replace('+', "");
    let mut parts = field.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let escape = part.split_at_checked(2).and_then(|(hex, rest)| Some((u8::from_str_radix(hex, 16).ok()?, rest)));
        match escape {
            Some((byte, rest)) => text.extend([char::from(byte).to_string().as_str(), rest]),
            None => text.extend(["%", part]),
        }
    }
    text.retain(|c| !c.is_whitespace());
    text
}

fn refused(path: &str, tried: Tried) -> Reply {
    match tried {
        Tried::TooMany => {
            let mut reply = login_page(path, StatusCode::TOO_MANY_REQUESTS, Some("Too many wrong tokens. Wait a minute."));
            set(&mut reply, RETRY_AFTER, "60");
            reply
        }
        Tried::Right | Tried::Wrong => login_page(path, StatusCode::UNAUTHORIZED, Some("This is not the token.")),
    }
}

/// The form, for people; for programs a line.
fn login_page(path: &str, status: StatusCode, why: Option<&'static str>) -> Reply {
    let mut reply = match path {
        "/metrics" | "/status.json" => plain(status, why.unwrap_or("send the token: Authorization: Bearer TOKEN")),
        _ => html(status, page::login(why)),
    };
    set(&mut reply, WWW_AUTHENTICATE, "Bearer realm=\"img-authz\"");
    reply
}

/// The sessions that the request says it has.
fn sessions(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
    let named = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    named.filter(|(name, _)| *name == SESSION).map(|(_, session)| session).take(SESSIONS_TRIED)
}

/// Whether a form was sent by this very page, as far as the browser says; a program says nothing of it.
fn is_same_origin(headers: &HeaderMap, host: &str) -> bool {
    let is_own = match headers.get(ORIGIN) {
        None => true,
        Some(_) => only(headers, &ORIGIN).and_then(|origin| origin.strip_prefix("http://")) == Some(host),
    };
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    is_own && matches!(site, None | Some(b"same-origin" | b"none"))
}

/// A header that is there once, as text.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// What every answer has: nothing is kept, framed, guessed at, or fetched from elsewhere.
fn guard(headers: &mut HeaderMap) {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, CSP),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        // Not `no-referrer`: with that, browsers hide from us that our own form is our own.
        (REFERRER_POLICY, "same-origin"),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

fn set(reply: &mut Reply, name: HeaderName, value: &str) {
    // Ours have no control characters.
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}

fn content(kind: &'static str, content: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(content.into()));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

fn html(status: StatusCode, text: String) -> Reply {
    let mut reply = content("text/html; charset=utf-8", text);
    *reply.status_mut() = status;
    reply
}

fn plain(status: StatusCode, text: &'static str) -> Reply {
    let mut reply = content("text/plain; charset=utf-8", format!("{text}\n"));
    *reply.status_mut() = status;
    reply
}

fn see_other() -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::SEE_OTHER;
    set(&mut reply, LOCATION, "/");
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_listeners_own_names_are_its_address() {
        let port = Hosts::of(&WebAddress::Port(9180));
        for (host, is_own) in [
            ("127.0.0.1:9180", true),
            ("LOCALHOST:9180", true),
            ("127.0.0.1", false),
            ("127.0.0.1:9181", false),
            ("evil.example:9180", false),
            ("localhost.evil.example:9180", false),
            ("", false),
        ] {
            assert_eq!(port.knows(host), is_own, "{host}");
        }
        let socket = Hosts::of(&WebAddress::Socket("/run/x.sock".into()));
        for (host, is_own) in [
            ("localhost", true),
            ("localhost:8080", true),
            ("127.0.0.1:1", true),
            ("[::1]:8080", true),
            ("[::1]", true),
            ("localhost:", false),
            ("localhost:x", false),
            ("evil.example", false),
            ("evil.example:80", false),
            ("localhost.evil.example", false),
        ] {
            assert_eq!(socket.knows(host), is_own, "{host}");
        }
    }

    #[test]
    fn a_field_is_read_as_it_was_typed_without_blanks() {
        for (field, typed) in [
            ("a%2Bb%3D%2f%26%25", "a+b=/&%"),
            ("+abc%0D%0A%20", "abc"),
            ("a%2", "a%2"),
            ("a%zz%", "a%zz%"),
            ("%C3%A9", "\u{c3}\u{a9}"),
            ("", ""),
        ] {
            assert_eq!(unescaped(field), typed, "{field}");
        }
    }

    #[test]
    fn what_another_page_sends_is_known_by_what_the_browser_says() {
        let headers = |all: &[(&'static str, &'static str)]| -> HeaderMap {
            all.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
        };
        let host = "127.0.0.1:9180";
        assert!(is_same_origin(&headers(&[]), host));
        assert!(is_same_origin(&headers(&[("origin", "http://127.0.0.1:9180"), ("sec-fetch-site", "same-origin")]), host));
        for bad in [
            &[("origin", "http://evil.example")][..],
            &[("origin", "null")],
            &[("origin", "http://127.0.0.1:9181")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
        ] {
            assert!(!is_same_origin(&headers(bad), host), "{bad:?}");
        }
    }
}
