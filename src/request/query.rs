//! Query parameters as Go reads them (`url.ParseQuery`, `Request.ParseForm`): keys are decoded and case-sensitive, the first value of
//! a key wins, and a form body, which no plugin is ever shown, beats them all.

use std::borrow::Cow;

use super::target::{Plus, decode};
use super::{Asked, Transport, Unreadable};

/// Most pairs that are read. Newer Go drops a whole query of more than 10,000 pairs; honest ones have a dozen.
const PAIRS: usize = 256;

/// The parameters of one call.
#[derive(Debug)]
pub(super) struct Query<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    /// Reads the parameters that `Request.ParseForm` would give dockerd, if no form body can stand above them.
    pub(super) fn of_form(asked: &Asked<'a>) -> Result<Self, Unreadable> {
        match form(asked) {
            Form::None => Self::read(asked.target.query),
            Form::Hidden => Err(Unreadable::HiddenBody),
            Form::OverHttp2 => Err(Unreadable::MaybeForm),
        }
    }

    /// Reads the parameters alone, for the calls where dockerd reads no form.
    pub(super) fn read(raw: &'a str) -> Result<Self, Unreadable> {
        let mut pairs = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            // Go drops such a pair, and whether it then refuses the call depends on another header (a malformed
            // Content-Type masks the error); older Go splits at it.
            if pair.contains(';') {
                return Err(Unreadable::Uri("its query holds a semicolon".to_owned()));
            }
            if pairs.len() == PAIRS {
                return Err(Unreadable::Uri("its query has too many parameters".to_owned()));
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(key, Plus::Space)?, decode(value, Plus::Space)?));
        }
        Ok(Self { pairs })
    }

    /// Every pair, in order.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (key.as_ref(), value.as_ref()))
    }

    /// The value of `key`; absent and empty are one thing to dockerd. Given twice, Go takes the first: no honest client
    /// does that, and other programs on the way take the last, so it is refused.
    pub(super) fn one(&self, key: &str) -> Result<Option<&str>, Unreadable> {
        let mut values = self.pairs.iter().filter(|(found, _)| found == key).map(|(_, value)| value.as_ref());
        let value = values.next();
        match values.next() {
            Some(_) => Err(Unreadable::Query(key.to_owned())),
            None => Ok(value.filter(|value| !value.is_empty())),
        }
    }
}

/// Whether a form can stand above the query.
enum Form {
    /// No.
    None,
    /// There is a body, or may be one, that is not shown.
    Hidden,
    /// There is none, unless the call came over HTTP/2.
    OverHttp2,
}

/// Whether dockerd may have a form body that it does not show. Of two Content-Type headers it reads the first and shows
/// the last, so no *value* of that header rules a form out. What does: a body that is shown (the first header was JSON
/// then), no header at all, or no body at all, where the length shown is sure.
fn form(asked: &Asked<'_>) -> Form {
    let call = asked.call;
    if call.body.is_some() || call.header("Content-Type").is_none() {
        return Form::None;
    }
    match (call.header("Content-Length"), asked.manner.transport) {
        (Some("0"), Transport::Http1) => Form::None,
        (Some("0"), Transport::MaybeHttp2) => {
            if OF_HTTP1.iter().any(|name| call.header(name).is_some()) {
                Form::None
            } else {
                Form::OverHttp2
            }
        }
        (Some(_) | None, _) => Form::Hidden,
    }
}

/// Headers that no call has that came over HTTP/2: Go's server answers it with 400 and asks nobody (RFC 9113, 8.2.2). Many
/// clients send the first with every call, docker-java and docker-py among them.
const OF_HTTP1: [&str; 4] = ["Connection", "Keep-Alive", "Proxy-Connection", "Upgrade"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Intent;
    use crate::request::tests::post;

    fn one(raw: &str, key: &str) -> Result<Option<String>, Unreadable> {
        Query::read(raw)?.one(key).map(|value| value.map(str::to_owned))
    }

    #[test]
    fn parameters_are_read_as_go_reads_them() {
        for (raw, value) in [
            ("fromImage=a", Some("a")),
            ("%66romImage=a", Some("a")),
            ("&&fromImage=a&", Some("a")),
            ("fromimage=b&fromImage=a", Some("a")),
            ("?fromImage=b&fromImage=a", Some("a")),
            ("fromImage=a=b", Some("a=b")),
            ("fromImage=a%20b+c", Some("a b c")),
            ("fromImage=a%26fromImage%3Db", Some("a&fromImage=b")),
            ("fromImage=a%2520", Some("a%20")),
            ("x=%26fromImage%3Db&fromImage=a", Some("a")),
            ("fromImage=a#&tag=b", Some("a#")),
            ("fromImage", None),
            ("fromImage=", None),
            ("fromImage[]=a", None),
            ("fromImage+=a", None),
            ("", None),
        ] {
            assert_eq!(one(raw, "fromImage"), Ok(value.map(str::to_owned)), "{raw}");
        }
    }

    #[test]
    fn what_dockerd_might_drop_or_read_otherwise_is_refused() {
        for raw in ["a=1;b=2", "fromImage=a;", "a=%zz", "%=1", "a=%f", "a=%ff", ";"] {
            assert!(matches!(one(raw, "fromImage"), Err(Unreadable::Uri(_))), "{raw}");
        }
        assert_eq!(one("a=1&a=2", "a"), Err(Unreadable::Query("a".into())));
        assert_eq!(one("a=&%61=2", "a"), Err(Unreadable::Query("a".into())));
        assert!(one(&"a&".repeat(PAIRS + 1), "b").is_err());
        assert!(one(&"a&".repeat(PAIRS), "b").is_ok());
    }

    #[test]
    fn a_form_that_dockerd_may_read_and_not_show_is_refused() {
        let form = "application/x-www-form-urlencoded";
        for (headers, body, readable) in [
            (&[("Content-Length", "0")][..], None, true),
            (&[("Content-Length", "0"), ("Content-Type", "text/plain")], None, true),
            (&[("Content-Length", "0"), ("Content-Type", form)], None, true),
            (&[], None, true),
            (&[("Content-Length", "29")], None, true),
            (&[("Content-Length", "2"), ("Content-Type", "application/json")], Some("[]"), true),
            // Two headers: JSON came first and the body is shown, so Go read no form.
            (&[("Content-Length", "2"), ("Content-Type", form)], Some("[]"), true),
            (&[("Content-Length", "29"), ("Content-Type", form)], None, false),
            (&[("Content-Length", "29"), ("Content-Type", "text/plain")], None, false),
            (&[("Content-Length", "29"), ("Content-Type", "application/json")], None, false),
            (&[("Content-Length", "29"), ("Content-Type", "")], None, false),
            (&[("Content-Length", "00"), ("Content-Type", form)], None, false),
            // Chunked: no length is shown.
            (&[("Content-Type", form)], None, false),
            (&[("Content-Type", "application/x-tar")], None, false),
        ] {
            let of = |transport| Intent::over(&post("/containers/c/rename?name=web", headers, body), transport);
            let read = Intent::Rename { container: "c".into(), name: "web".into() };
            let hidden = Intent::Unreadable(Unreadable::HiddenBody);
            assert_eq!(of(Transport::Http1), if readable { read.clone() } else { hidden.clone() }, "{headers:?}");
            let sure = !readable || body.is_some() || !headers.iter().any(|(name, _)| *name == "Content-Type");
            let maybe = Intent::Unreadable(Unreadable::MaybeForm);
            assert_eq!(of(Transport::MaybeHttp2), if sure { of(Transport::Http1) } else { maybe }, "{headers:?}");
        }
    }

    /// As go-dockerclient, docker-java and docker-py send a call without a body.
    #[test]
    fn a_header_of_http1_says_that_no_form_hides() {
        let of =
            |headers: &[(&str, &str)]| Intent::over(&post("/containers/c/rename?name=web", headers, None), Transport::MaybeHttp2);
        let read = Intent::Rename { container: "c".into(), name: "web".into() };
        for header in OF_HTTP1 {
            let headers = [("Content-Type", "application/json"), ("Content-Length", "0"), (header, "keep-alive")];
            assert_eq!(of(&headers), read, "{header}");
            // A length that is not zero hides one over any HTTP.
            for length in ["9", "00", ""] {
                let headers = [("Content-Type", "application/json"), ("Content-Length", length), (header, "keep-alive")];
                assert_eq!(of(&headers), Intent::Unreadable(Unreadable::HiddenBody), "{header} {length}");
            }
            assert_eq!(of(&[("Content-Type", "application/json"), (header, "x")]), Intent::Unreadable(Unreadable::HiddenBody));
        }
        assert_eq!(of(&[("Content-Length", "0"), ("Connection", "keep-alive")]), read);
        let go_dockerclient =
            [("Content-Type", "plain/text"), ("Content-Length", "0"), ("Te", "trailers"), ("Accept-Encoding", "gzip")];
        assert_eq!(of(&go_dockerclient), Intent::Unreadable(Unreadable::MaybeForm));
    }
}
