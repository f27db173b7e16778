//! Envelopes in COSE (RFC 9052): `COSE_Sign1` under its tag, in CBOR of definite lengths ([`super::cbor`]).

use jiff::Timestamp;

use super::cbor::{self, Item};
use super::envelope::{
    AUTHENTIC_TIME, Algorithm, CHAIN, EXPIRY, Envelope, HEADERS, PLUGIN, PLUGIN_VERSION, Protected, SCHEME, SIGNING_TIME,
    TIMESTAMP, TIMESTAMP_BYTES,
};
use super::error::Unfit;
use crate::trust::pki::Hash;

/// The tag of `COSE_Sign1`, in its one byte.
const TAG: u8 = 0xd2;
const ALGORITHM: Item<'_> = Item::Unsigned(1);
const CRITICAL: Item<'_> = Item::Unsigned(2);
const CONTENT_TYPE: Item<'_> = Item::Unsigned(3);
/// RFC 9360.
const X5CHAIN: Item<'_> = Item::Unsigned(33);
/// A time as seconds (RFC 8949, 3.4.2).
const EPOCH: u64 = 1;

type Map<'a> = [(Item<'a>, Item<'a>)];

pub(super) fn read(bytes: &[u8]) -> Result<Envelope, Unfit> {
    let body = bytes.strip_prefix(&[TAG]).ok_or_else(|| Unfit::form("it is not a COSE_Sign1"))?;
    let Item::Array(parts) = cbor::read(body).map_err(Unfit::form)? else { return Err(Unfit::form("it is not a COSE_Sign1")) };
    let [Item::Bytes(protected), Item::Map(unprotected), Item::Bytes(payload), Item::Bytes(signature)] = parts.as_slice() else {
        return Err(Unfit::form("it is not a COSE_Sign1 with a payload"));
    };
    let Item::Map(headers) = cbor::read(protected).map_err(Unfit::form)? else {
        return Err(Unfit::form("its protected header is not a map"));
    };
    if headers.len().max(unprotected.len()) > HEADERS {
        return Err(Unfit::form("it has too many headers"));
    }
    // RFC 9052, 3: a label stands in one of both.
    if headers.iter().any(|(label, _)| find(unprotected, label).is_some()) {
        return Err(Unfit::form("it has a header that is protected and unprotected"));
    }
    let algorithm = match find(&headers, &ALGORITHM) {
        Some(Item::Negative(36)) => Algorithm::Pss(Hash::Sha256),
        Some(Item::Negative(37)) => Algorithm::Pss(Hash::Sha384),
        Some(Item::Negative(38)) => Algorithm::Pss(Hash::Sha512),
        Some(Item::Negative(6)) => Algorithm::Ecdsa(Hash::Sha256),
        Some(Item::Negative(34)) => Algorithm::Ecdsa(Hash::Sha384),
        Some(Item::Negative(35)) => Algorithm::Ecdsa(Hash::Sha512),
        Some(_) | None => return Err(Unfit::form("its algorithm is missing, or is not one that counts")),
    };
    let critical = match find(&headers, &CRITICAL) {
        Some(Item::Array(labels)) if labels.len() <= HEADERS => {
            labels.iter().map(|label| if let Item::Text(label) = label { Some(*label) } else { None }).collect()
        }
        Some(_) | None => None,
    };
    let protected_header = Protected {
        content_type: as_text(find(&headers, &CONTENT_TYPE))?,
        scheme: as_text(named(&headers, SCHEME))?,
        signing_time: time(&headers, SIGNING_TIME)?,
        authentic_time: time(&headers, AUTHENTIC_TIME)?,
        expiry: time(&headers, EXPIRY)?,
        critical: critical.ok_or_else(|| Unfit::form("its list of critical headers is missing or malformed"))?,
        plugin: named(&headers, PLUGIN).or_else(|| named(&headers, PLUGIN_VERSION)).map(|plugin| match plugin {
            Item::Text(plugin) => *plugin,
            _ => "?",
        }),
    };
    let claims = protected_header.claims()?;
    let chain = match find(unprotected, &X5CHAIN) {
        Some(Item::Array(chain)) if chain.len() <= CHAIN => chain.iter().map(as_bytes).collect::<Result<_, _>>()?,
        Some(_) | None => return Err(Unfit::form("its certificates are missing, too many, or malformed")),
    };
    let timestamp = named(unprotected, TIMESTAMP).map(as_bytes).transpose()?;
    if timestamp.as_ref().is_some_and(|token| token.len() > TIMESTAMP_BYTES) {
        return Err(Unfit::form("its timestamp is too large"));
    }
    Ok(Envelope {
        signed: cbor::signed_by_one(protected, payload),
        signature: signature.to_vec(),
        algorithm,
        chain,
        payload: payload.to_vec(),
        claims,
        timestamp,
    })
}

fn find<'m, 'a>(map: &'m Map<'a>, label: &Item<'_>) -> Option<&'m Item<'a>> {
    map.iter().find(|(key, _)| key == label).map(|(_, value)| value)
}

fn named<'m, 'a>(map: &'m Map<'a>, label: &str) -> Option<&'m Item<'a>> {
    find(map, &Item::Text(label))
}

fn as_text<'a>(item: Option<&Item<'a>>) -> Result<Option<&'a str>, Unfit> {
    match item {
        None => Ok(None),
        Some(Item::Text(text)) => Ok(Some(text)),
        Some(_) => Err(Unfit::form("a header of it is not a text")),
    }
}

fn as_bytes(item: &Item<'_>) -> Result<Vec<u8>, Unfit> {
    if let Item::Bytes(bytes) = item { Ok(bytes.to_vec()) } else { Err(Unfit::form("a header of it is not bytes")) }
}

/// Whole seconds under their tag: a float may be no number, and notation takes one for "never".
fn time(headers: &Map<'_>, label: &str) -> Result<Option<Timestamp>, Unfit> {
    let Some(item) = named(headers, label) else { return Ok(None) };
    let seconds = match item {
        Item::Tag(EPOCH, seconds) => match **seconds {
            Item::Unsigned(seconds) => i64::try_from(seconds).ok(),
            Item::Negative(seconds) => i64::try_from(seconds).ok().map(|seconds| -1 - seconds),
            _ => None,
        },
        _ => None,
    };
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map(Some).ok_or_else(|| Unfit::form(format!("its header `{label}` is not a time in whole seconds")))
}
