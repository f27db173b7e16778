//! Envelopes in JWS (RFC 7515), in its flattened JSON serialization and no other.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::envelope::{
    AUTHENTIC_TIME, Algorithm, CHAIN, EXPIRY, Envelope, HEADERS, PLUGIN, PLUGIN_VERSION, Protected, SCHEME, SIGNING_TIME,
    TIMESTAMP_BYTES,
};
use super::error::Unfit;
use crate::trust::object::{self, Object};
use crate::trust::pki::Hash;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flattened {
    payload: String,
    protected: String,
    header: Object<Unprotected>,
    signature: String,
}

#[derive(Deserialize)]
struct Unprotected {
    x5c: Vec<String>,
    #[serde(rename = "io.cncf.notary.timestampSignature")]
    timestamp: Option<String>,
}

pub(super) fn read(bytes: &[u8]) -> Result<Envelope, Unfit> {
    let Flattened { payload, protected, header: Object(header), signature } = object::read(bytes).map_err(Unfit::form)?;
    let signed = format!("{protected}.{payload}").into_bytes();
    let headers = url(&protected)?;
    let headers: Map<String, Value> = object::read(&headers).map_err(Unfit::form)?;
    if headers.len() > HEADERS {
        return Err(Unfit::form("it has too many headers"));
    }
    let algorithm = match text(&headers, "alg")? {
        Some("PS256") => Algorithm::Pss(Hash::Sha256),
        Some("PS384") => Algorithm::Pss(Hash::Sha384),
        Some("PS512") => Algorithm::Pss(Hash::Sha512),
        Some("ES256") => Algorithm::Ecdsa(Hash::Sha256),
        Some("ES384") => Algorithm::Ecdsa(Hash::Sha384),
        Some("ES512") => Algorithm::Ecdsa(Hash::Sha512),
        Some(_) | None => return Err(Unfit::form("its algorithm is missing, or is not one that counts")),
    };
    let critical = match headers.get("crit") {
        Some(Value::Array(names)) if names.len() <= HEADERS => names.iter().map(Value::as_str).collect(),
        Some(_) | None => None,
    };
    let protected = Protected {
        content_type: text(&headers, "cty")?,
        scheme: text(&headers, SCHEME)?,
        signing_time: time(&headers, SIGNING_TIME)?,
        authentic_time: time(&headers, AUTHENTIC_TIME)?,
        expiry: time(&headers, EXPIRY)?,
        critical: critical.ok_or_else(|| Unfit::form("its list of critical headers is missing or malformed"))?,
        plugin: plugin(&headers),
    };
    let claims = protected.claims()?;
    if header.x5c.len() > CHAIN {
        return Err(Unfit::form("it has too many certificates"));
    }
    Ok(Envelope {
        signed,
        signature: url(&signature)?,
        algorithm,
        chain: header.x5c.iter().map(|text| standard(text)).collect::<Result<_, _>>()?,
        payload: url(&payload)?,
        claims,
        timestamp: header.timestamp.as_deref().map(timestamp).transpose()?,
    })
}

/// The plugin that is asked for, critical or not.
fn plugin(headers: &Map<String, Value>) -> Option<&str> {
    let asked = headers.get(PLUGIN).or_else(|| headers.get(PLUGIN_VERSION))?;
    Some(asked.as_str().unwrap_or("?"))
}

fn text<'h>(headers: &'h Map<String, Value>, name: &str) -> Result<Option<&'h str>, Unfit> {
    match headers.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Unfit::form(format!("its header `{name}` is not a text"))),
    }
}

fn time(headers: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, Unfit> {
    let odd = || Unfit::form(format!("its header `{name}` is not a time (RFC 3339)"));
    text(headers, name)?.map(|text| rfc3339(text).ok_or_else(odd)).transpose()
}

/// `2026-11-30T12:00:00[.5](Z|+01:00)`, and nothing else that may pass for it.
fn rfc3339(text: &str) -> Option<Timestamp> {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let (whole, rest) = text.split_at_checked(SHAPE.len())?;
    let fits = |text: &str, shape: &[u8]| {
        let is_it = |(byte, due): (u8, &u8)| if *due == b'd' { byte.is_ascii_digit() } else { byte == *due };
        text.len() == shape.len() && text.bytes().zip(shape).all(is_it)
    };
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if zone.len() == fraction.len() || fraction.len() - zone.len() > 9 {
                return None;
            }
            zone
        }
        None => rest,
    };
    // A leap second is none that a clock of ours knows.
    let is_leap = whole.ends_with("60");
    let is_zone = zone == "Z" || fits(zone, b"+dd:dd") || fits(zone, b"-dd:dd");
    if fits(whole, SHAPE) && is_zone && !is_leap { text.parse().ok() } else { None }
}

fn url(text: &str) -> Result<Vec<u8>, Unfit> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Unfit::form("it is not base64url"))
}

fn standard(text: &str) -> Result<Vec<u8>, Unfit> {
    STANDARD.decode(text).map_err(|_| Unfit::form("it is not standard base64"))
}

fn timestamp(text: &str) -> Result<Vec<u8>, Unfit> {
    let token = standard(text)?;
    if token.len() > TIMESTAMP_BYTES { Err(Unfit::form("its timestamp is too large")) } else { Ok(token) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_rfc_3339_alone() {
        for good in ["2026-11-30T12:00:00Z", "2026-11-30T12:00:00.123456789Z", "2026-11-30T12:00:00.5+01:00"] {
            assert!(rfc3339(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "2026-11-30",
            "2026-11-30T12:00:00",
            "2026-11-30t12:00:00z",
            "2026-11-30 12:00:00Z",
            "20261130T120000Z",
            "2026-11-30T12:00:60Z",
            "2026-11-30T24:00:00Z",
            "2026-11-30T12:00:00.Z",
            "2026-11-30T12:00:00,5Z",
            "2026-11-30T12:00:00.1234567890Z",
            "2026-11-30T12:00:00+0100",
            "2026-11-30T12:00:00Z[UTC]",
            "+002026-11-30T12:00:00Z",
            "2026-02-30T12:00:00Z",
            "2026-11-30T12:00:00é",
        ] {
            assert!(rfc3339(bad).is_none(), "{bad}");
        }
    }
}
