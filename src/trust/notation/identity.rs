//! Whose signatures count: names of signers (RFC 4514 as the Notary Project reads it), held against the subject of a certificate, whose
//! attributes are taken from its bytes.

use std::collections::BTreeMap;

use x509_cert::der::Tag;
use x509_cert::der::asn1::ObjectIdentifier;

use crate::trust::pki::{Certificate, Fault, Item};

/// Most parts of one name.
const PARTS: usize = 64;
/// Attributes by the names that notation prints.
const KNOWN: [(&str, ObjectIdentifier); 9] = [
    ("C", COUNTRY),
    ("ST", STATE),
    ("L", ObjectIdentifier::new_unwrap("2.5.4.7")),
    ("O", ORGANIZATION),
    ("OU", ObjectIdentifier::new_unwrap("2.5.4.11")),
    ("CN", ObjectIdentifier::new_unwrap("2.5.4.3")),
    ("STREET", ObjectIdentifier::new_unwrap("2.5.4.9")),
    ("POSTALCODE", ObjectIdentifier::new_unwrap("2.5.4.17")),
    ("SERIALNUMBER", ObjectIdentifier::new_unwrap("2.5.4.5")),
];
const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");
const STATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.8");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
/// What every name must have.
const DUE: [ObjectIdentifier; 3] = [COUNTRY, STATE, ORGANIZATION];

/// A name: attributes, each once, among them country, state and organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name(BTreeMap<ObjectIdentifier, String>);

impl Name {
    /// A name as a trust policy has it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut attributes = BTreeMap::new();
        for part in parts(text)? {
            let (kind, value) = part.split_once('=').ok_or("it has a part without `=`")?;
            let kind = match kind.trim() {
                "S" => "ST",
                kind => kind,
            };
            let known = KNOWN.into_iter().find(|(name, _)| *name == kind).map(|(_, oid)| oid);
            let oid =
                known.or_else(|| ObjectIdentifier::new(kind).ok()).ok_or_else(|| format!("`{kind}` is not an attribute"))?;
            if attributes.insert(oid, value_of(value)?).is_some() {
                return Err(format!("`{kind}` is there twice"));
            }
            if attributes.len() > PARTS {
                return Err(format!("it has more than {PARTS} parts"));
            }
        }
        Self::due(attributes).ok_or_else(|| "C, ST and O must be in it".to_owned())
    }

    /// The subject of a certificate, if it keeps the same rules.
    fn of(certificate: &Certificate) -> Option<Self> {
        let mut attributes = BTreeMap::new();
        for (oid, value) in subject(certificate)? {
            if attributes.insert(oid, value?).is_some() {
                return None;
            }
        }
        Self::due(attributes)
    }

    fn due(attributes: BTreeMap<ObjectIdentifier, String>) -> Option<Self> {
        DUE.iter().all(|due| attributes.contains_key(due)).then_some(Self(attributes))
    }

    /// Whether the certificate's subject has each of these attributes, with exactly that value.
    pub(super) fn is_of(&self, certificate: &Certificate) -> bool {
        Self::of(certificate).is_some_and(|subject| self.is_in(&subject))
    }

    /// Whether the other has everything that this has.
    pub(super) fn is_in(&self, other: &Self) -> bool {
        self.0.iter().all(|(oid, value)| other.0.get(oid) == Some(value))
    }
}

/// The subject of a certificate as people read it: the most particular first, as RFC 4514 has it.
pub(super) fn shown(certificate: &Certificate) -> String {
    let Some(parts) = subject(certificate) else { return "a name that cannot be read".to_owned() };
    let shown = parts.into_iter().rev().map(|(oid, value)| {
        let kind =
            KNOWN.into_iter().find(|(_, known)| *known == oid).map_or_else(|| oid.to_string(), |(name, _)| name.to_owned());
        let value = value.unwrap_or_else(|| "?".to_owned()).replace('\\', "\\\\").replace(',', "\\,").replace('+', "\\+");
        format!("{kind}={value}")
    });
    shown.collect::<Vec<_>>().join(",")
}

/// The attributes of a subject, in their order, with their text where it is one. `None`: joined ones, or more than are looked at.
fn subject(certificate: &Certificate) -> Option<Vec<(ObjectIdentifier, Option<String>)>> {
    const OF: &str = "a name";
    let read = || -> Result<Vec<_>, Fault> {
        let mut found = Vec::new();
        for part in Item::whole(certificate.subject(), OF)?.sequence(OF)?.rest(PARTS)? {
            let mut joined = part.set(OF)?;
            let mut attribute = joined.next()?.sequence(OF)?;
            joined.end()?;
            let (oid, value) = (attribute.next()?.oid(OF)?, attribute.next()?);
            attribute.end()?;
            found.push((oid, text(&value)));
        }
        Ok(found)
    };
    read().ok()
}

/// The text of a value, of the kinds that have one.
fn text(value: &Item<'_>) -> Option<String> {
    let bytes = value.value();
    if [Tag::Utf8String, Tag::PrintableString, Tag::Ia5String].into_iter().any(|tag| value.is(tag)) {
        return std::str::from_utf8(bytes).ok().map(str::to_owned);
    }
    if value.is(Tag::BmpString) && bytes.len() % 2 == 0 {
        let units: Vec<u16> =
            bytes.chunks_exact(2).map(|two| two.iter().fold(0, |unit, byte| (unit << 8) | u16::from(*byte))).collect();
        return String::from_utf16(&units).ok();
    }
    None
}

/// The parts between commas that are not escaped.
fn parts(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut begin, mut is_escaped) = (Vec::new(), 0, false);
    for (at, char) in text.char_indices() {
        match char {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            ',' => {
                parts.extend(text.get(begin..at));
                begin = at + 1;
            }
            '+' => return Err("its parts are joined with `+`".to_owned()),
            ';' | '"' | '<' | '>' => return Err(format!("`{char}` stands in it without `\\`")),
            _ => {}
        }
    }
    parts.extend(text.get(begin..));
    Ok(parts)
}

/// A value without what escapes it; blanks around it count only where they are escaped.
fn value_of(written: &str) -> Result<String, String> {
    let mut rest = written.trim_start_matches(' ');
    if rest.starts_with('#') {
        return Err("it has a value in hex (`=#`)".to_owned());
    }
    let (mut value, mut kept) = (Vec::new(), 0);
    while let Some(char) = rest.chars().next() {
        rest = rest.get(char.len_utf8()..).unwrap_or_default();
        if char != '\\' {
            value.extend(char.to_string().bytes());
            if char != ' ' {
                kept = value.len();
            }
            continue;
        }
        let next = rest.chars().next().ok_or("it ends in `\\`")?;
        if matches!(next, ',' | ';' | '\\' | '"' | '+' | '<' | '>' | ' ' | '#' | '=') {
            value.extend(next.to_string().bytes());
            rest = rest.get(next.len_utf8()..).unwrap_or_default();
        } else {
            let byte = rest.get(..2).filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let byte = byte.and_then(|hex| u8::from_str_radix(hex, 16).ok()).ok_or("`\\` stands before what needs none")?;
            value.push(byte);
            rest = rest.get(2..).unwrap_or_default();
        }
        kept = value.len();
    }
    value.truncate(kept);
    if value.is_empty() {
        return Err("it has a part without a value".to_owned());
    }
    String::from_utf8(value).map_err(|_| "it is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_policy_have_each_attribute_once_and_three_of_them_always() {
        let name = Name::read(r"C=US, S=WA,O=acme\, inc. , CN=\ a\20b\C3\A9 c").unwrap();
        let value = |oid: &str| name.0.get(&ObjectIdentifier::new(oid).unwrap()).map(String::as_str);
        assert_eq!(value("2.5.4.10"), Some("acme, inc."));
        assert_eq!(value("2.5.4.3"), Some(" a bé c"));
        assert_eq!(name, Name::read(r"CN=\ a bé c,ST=WA,C=US,O=acme\, inc.").unwrap());
        assert!(Name::read("C=US,ST=WA,O=a,1.2.840.113549.1.9.1=me@a.example").is_ok());
        for bad in [
            "",
            "C=US",
            "C=US,ST=WA",
            "C=US,ST=WA,O=a,O=b",
            "C=US,ST=WA,S=WB,O=a",
            "c=US,st=WA,o=a",
            "C=US+ST=WA,O=a",
            "C=US;ST=WA;O=a",
            "C=US,ST=WA,O=#0c0161",
            "C=US,ST=WA,O=",
            "C=US,ST=WA,O=\"a\"",
            "C=US,ST=WA,O=a,",
            r"C=US,ST=WA,O=a\",
            r"C=US,ST=WA,O=\x",
            r"C=US,ST=WA,O=\ff",
            "C=US,ST=WA,O=a,X=b",
            "C=US,ST=WA,O",
        ] {
            assert!(Name::read(bad).is_err(), "{bad}");
        }
    }
}
