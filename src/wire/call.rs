//! What dockerd posts to `/AuthZPlugin.AuthZReq` and `/AuthZPlugin.AuthZRes` (moby, `pkg/authorization/api.go`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::certificate;

/// Most headers of a call. An entry takes many times the bytes that it is written with, and calls wait in queues that count bytes.
const HEADERS: usize = 256;

/// One API call of a Docker client, as dockerd shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Subject CN of the client's certificate; empty on a unix socket.
    pub user: String,
    /// `TLS` where the client showed a certificate, else empty.
    pub user_authn_method: String,
    /// The HTTP method, exact case.
    pub method: String,
    /// The request target as it stood on the request line: nothing decoded, nothing cut.
    pub uri: String,
    /// The client's headers, canonical names, last value of each. Secrets may be among them: never log this.
    pub headers: BTreeMap<String, String>,
    /// The body, where dockerd shows one (JSON only). `None` is "not shown", not "empty".
    pub body: Option<Vec<u8>>,
    /// What the handler answered; only in `AuthZRes`.
    pub outcome: Option<Outcome>,
    /// The client's certificate, base64 of PEM; none in `AuthZRes`, where nobody asks for it.
    pub certificate: Option<String>,
}

/// The handler's answer, as `AuthZRes` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// HTTP status.
    pub status: u16,
    /// What is left of the answer's body in dockerd's 64 KiB buffer, if it was JSON.
    pub body: Option<Vec<u8>>,
}

/// Why a post is no call. All of these are answered with a refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No bytes: dockerd re-sends a broken call without its body.
    #[error("the daemon posted an empty authorization request")]
    Empty,
    /// No JSON, not an object, or fields of another type.
    #[error("the daemon's authorization request cannot be decoded: {0}")]
    Json(String),
    /// Method or URI absent or empty.
    #[error("the daemon's authorization request names no method or no URI")]
    Partial,
    /// More headers than any client sends: each takes far more memory than its bytes.
    #[error("the request has more than {HEADERS} headers")]
    Headers,
    /// `RequestBody` is not base64.
    #[error("the request body that the daemon forwarded is not base64")]
    Body,
}

/// Why of the end of a call nothing is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoEnd {
    /// Nobody wants to know of it.
    Unwanted,
    /// Which call has ended is not among these bytes.
    Cut,
}

/// The JSON as dockerd writes it. Go leaves empty fields out.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Posted<'a> {
    #[serde(borrow, default)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "UserAuthNMethod")]
    user_authn_method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    request_method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    request_uri: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    request_body: Option<Cow<'a, str>>,
    #[serde(default)]
    request_headers: Option<Headers>,
    #[serde(default)]
    response_status_code: Option<u16>,
    #[serde(borrow, default)]
    response_body: Option<Cow<'a, str>>,
    /// The chain that the client showed, its own certificate first. What is not a list of texts is read as none.
    #[serde(default)]
    request_peer_certificates: Option<serde_json::Value>,
}

impl Call {
    /// Reads the bytes of a post.
    pub fn decode(bytes: &[u8]) -> Result<Self, CallError> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(CallError::Empty);
        }
        // A JSON array would fill the fields by position.
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(CallError::Json("not an object".to_owned()));
        }
        // dockerd writes UTF-8 alone: looked at once, and not again in each string.
        let text = std::str::from_utf8(bytes).map_err(|error| CallError::Json(error.to_string()))?;
        let posted: Posted<'_> = serde_json::from_slice(text.as_bytes()).map_err(|error| CallError::Json(error.to_string()))?;
        let (Some(method), Some(uri)) = (posted.request_method, posted.request_uri) else { return Err(CallError::Partial) };
        if method.is_empty() || uri.is_empty() {
            return Err(CallError::Partial);
        }
        if posted.request_headers.as_ref().is_some_and(|headers| headers.is_cut) {
            return Err(CallError::Headers);
        }
        let outcome = match posted.response_status_code {
            Some(status) => Some(Outcome { status, body: body(posted.response_body)? }),
            None => None,
        };
        Ok(Self {
            user: posted.user.unwrap_or_default().into_owned(),
            user_authn_method: posted.user_authn_method.unwrap_or_default().into_owned(),
            method: method.into_owned(),
            uri: uri.into_owned(),
            headers: posted.request_headers.unwrap_or_default().all,
            body: body(posted.request_body)?,
            outcome,
            certificate: posted.request_peer_certificates.as_ref().and_then(|chain| chain.get(0)?.as_str()).map(str::to_owned),
        })
    }

    /// Reads the end of a call, if `is_wanted` says so of its method; the rest is then not read. Of a post that was cut off, what
    /// came before the cut is there: a body that was cut counts as not shown.
    pub fn decode_end(bytes: &[u8], is_wanted: impl Fn(&str) -> bool) -> Result<Self, NoEnd> {
        let mut posted = Posted::default();
        let mut text = serde_json::Deserializer::from_slice(bytes);
        let end = End { posted: &mut posted, is_wanted: &is_wanted };
        // Where it ends early, `posted` says how much there is.
        let _ = serde::Deserializer::deserialize_map(&mut text, end);
        let method = posted.request_method.ok_or(NoEnd::Cut)?;
        if !is_wanted(&method) {
            return Err(NoEnd::Unwanted);
        }
        let shown = |text| body(text).ok().flatten();
        Ok(Self {
            user: posted.user.unwrap_or_default().into_owned(),
            user_authn_method: posted.user_authn_method.unwrap_or_default().into_owned(),
            method: method.into_owned(),
            uri: posted.request_uri.filter(|uri| !uri.is_empty()).ok_or(NoEnd::Cut)?.into_owned(),
            headers: posted.request_headers.unwrap_or_default().all,
            body: shown(posted.request_body),
            outcome: posted.response_status_code.map(|status| Outcome { status, body: shown(posted.response_body) }),
            certificate: None,
        })
    }

    /// The units (OU) in the subject of the client's certificate; `None` where that cannot be said.
    #[must_use]
    pub fn units(&self) -> Option<Vec<String>> {
        certificate::units(self.certificate.as_ref()?, &self.user)
    }

    /// The last value of a header; `name` in canonical form (`Content-Type`). Clients may write any case on HTTP/2,
    /// dockerd shows the canonical form.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// The first [`HEADERS`] headers; more are not kept, however many a client sends.
#[derive(Default)]
struct Headers {
    all: BTreeMap<String, String>,
    is_cut: bool,
}

impl<'de> Deserialize<'de> for Headers {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> serde::de::Visitor<'de> for All {
            type Value = Headers;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut headers = Headers::default();
                for _ in 0..HEADERS {
                    let Some((name, value)) = map.next_entry()? else { return Ok(headers) };
                    headers.all.insert(name, value);
                }
                while map.next_entry::<serde::de::IgnoredAny, serde::de::IgnoredAny>()?.is_some() {
                    headers.is_cut = true;
                }
                Ok(headers)
            }
        }

        deserializer.deserialize_map(All)
    }
}

/// A text that is borrowed where it can be.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The end of a call, as far as it is read. dockerd writes the members in the order of its struct: method and target come first.
struct End<'p, 'a, W> {
    posted: &'p mut Posted<'a>,
    is_wanted: W,
}

impl<'de, W: Fn(&str) -> bool> serde::de::Visitor<'de> for End<'_, 'de, W> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { posted, is_wanted } = self;
        let text = |map: &mut A| Ok(map.next_value::<Option<Text<'de>>>()?.map(|Text(text)| text));
        while let Some(Text(name)) = map.next_key()? {
            match &*name {
                "User" => posted.user = text(&mut map)?,
                "UserAuthNMethod" => posted.user_authn_method = text(&mut map)?,
                "RequestMethod" => {
                    posted.request_method = text(&mut map)?;
                    if !posted.request_method.as_deref().is_some_and(&is_wanted) {
                        return Err(serde::de::Error::custom("nobody wants it"));
                    }
                }
                "RequestUri" => posted.request_uri = text(&mut map)?,
                "RequestBody" => posted.request_body = text(&mut map)?,
                "RequestHeaders" => posted.request_headers = map.next_value()?,
                "ResponseStatusCode" => posted.response_status_code = map.next_value()?,
                "ResponseBody" => posted.response_body = text(&mut map)?,
                _ => {
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Decodes base64; absent and empty are both "not shown".
fn body(text: Option<Cow<'_, str>>) -> Result<Option<Vec<u8>>, CallError> {
    match text {
        Some(text) if !text.is_empty() => STANDARD.decode(text.as_bytes()).map(Some).map_err(|_| CallError::Body),
        Some(_) | None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_with_what_go_leaves_out() {
        let call = Call::decode(b"{\"RequestMethod\":\"GET\",\"RequestUri\":\"/_ping\"}\n").unwrap();
        assert_eq!((call.method.as_str(), call.uri.as_str()), ("GET", "/_ping"));
        assert_eq!((call.body, call.outcome), (None, None));
    }

    #[test]
    fn a_call_has_so_many_headers_and_no_more() {
        let post = |count: usize| {
            let headers: BTreeMap<String, String> = (0..count).map(|number| (format!("X-{number}"), String::new())).collect();
            let headers = serde_json::json!(headers);
            let post =
                format!(r#"{{"RequestMethod":"POST","RequestUri":"/x","RequestHeaders":{headers},"ResponseStatusCode":204}}"#);
            post.into_bytes()
        };
        let with = |count: usize| Call::decode(&post(count));
        assert_eq!(with(HEADERS).unwrap().headers.len(), HEADERS);
        for count in [HEADERS + 1, 100_000] {
            assert_eq!(with(count), Err(CallError::Headers));
            // Of a call's end the first of them are kept: it has happened.
            let end = Call::decode_end(&post(count), |_| true).unwrap();
            assert_eq!((end.headers.len(), end.outcome.map(|outcome| outcome.status)), (HEADERS, Some(204)));
        }
    }

    #[test]
    fn the_body_is_base64() {
        let call = Call::decode(br#"{"RequestMethod":"POST","RequestUri":"/x","RequestBody":"e30="}"#).unwrap();
        assert_eq!(call.body.as_deref(), Some(&b"{}"[..]));
    }

    #[test]
    fn of_an_end_that_is_cut_off_what_came_before_is_there() {
        let whole =
            br#"{"User":"u","RequestMethod":"POST","RequestUri":"/x?name=a","RequestBody":"e30=","RequestHeaders":{"A":"b"},
            "ResponseBody":"e30=","ResponseHeaders":{},"ResponseStatusCode":201}"#;
        let wanted = |method: &str| method != "GET";
        let end = Call::decode_end(whole, wanted).unwrap();
        assert_eq!(Call::decode(whole).unwrap(), end);
        assert_eq!(end.outcome, Some(Outcome { status: 201, body: Some(b"{}".to_vec()) }));
        for (cut, method, body) in
            [("\"Response", "POST", true), ("\"e30=\",\"RequestH", "POST", false), ("\"RequestUri", "", false)]
        {
            let at = std::str::from_utf8(whole).unwrap().find(cut).unwrap() + 4;
            let read = Call::decode_end(whole.get(..at).unwrap(), wanted);
            assert!(!matches!(read, Err(NoEnd::Unwanted)), "{cut}");
            let read = read.ok();
            let told = read.as_ref().map(|call| (call.method.as_str(), call.body.is_some()));
            assert_eq!(told, (!method.is_empty()).then_some((method, body)), "{cut}");
            assert!(read.is_none_or(|call| call.outcome.is_none() && call.uri == "/x?name=a"));
        }
        for (bytes, why) in [
            (&br#"{"RequestMethod":"GET","RequestUri":"/x"}"#[..], NoEnd::Unwanted),
            (br#"{"RequestMethod":"GET","Requ"#, NoEnd::Unwanted),
            (br#"{"RequestMethod":"POST","RequestUri":"/x"#, NoEnd::Cut),
            (br#"{"RequestUri":"/x"}"#, NoEnd::Cut),
            (b"[]", NoEnd::Cut),
            (b"", NoEnd::Cut),
        ] {
            assert_eq!(Call::decode_end(bytes, wanted), Err(why));
        }
    }

    #[test]
    fn what_is_empty_partial_or_undecodable_is_no_call() {
        for (bytes, error) in [
            (&b""[..], CallError::Empty),
            (b"\n", CallError::Empty),
            (b"{}", CallError::Partial),
            (br#"{"RequestMethod":"POST"}"#, CallError::Partial),
            (br#"{"RequestMethod":"","RequestUri":"/x"}"#, CallError::Partial),
            (br#"{"RequestMethod":"POST","RequestUri":"/x","RequestBody":"%"}"#, CallError::Body),
        ] {
            assert_eq!(Call::decode(bytes), Err(error));
        }
        for bytes in
            [&b"null"[..], b"[]", b"{", b"\"x\"", br#"{"RequestMethod":1,"RequestUri":"/x"}"#, b"{\"RequestMethod\":\"\xff\"}"]
        {
            assert!(matches!(Call::decode(bytes), Err(CallError::Json(_))));
        }
    }
}
