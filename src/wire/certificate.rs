//! The client's certificate as dockerd shows it, as far as it gives rights: the units (OU) of its subject. That dockerd's CA issued it,
//! dockerd has verified.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_cert::Certificate;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use x509_cert::der::{DecodePem as _, Tag, Tagged as _};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
/// Largest certificate, bytes as posted, and most units of one. Stops a client's certificate from costing time in every call.
const BYTES: usize = 64 << 10;
const UNITS: usize = 32;

/// The units of the certificate of this name; `None` where that cannot be said: it is another's, or cannot be read through and through.
pub(super) fn units(posted: &str, name: &str) -> Option<Vec<String>> {
    if posted.len() > BYTES {
        return None;
    }
    let pem = STANDARD.decode(posted).ok()?;
    let certificate = Certificate::from_pem(&pem).ok()?;
    let subject = certificate.tbs_certificate().subject();
    // Of several names Go takes the last.
    let names = subject.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    if names.last().and_then(text).as_deref() != Some(name) {
        return None;
    }
    let units: Vec<String> = subject.iter().filter(|attribute| attribute.oid == UNIT).map(text).collect::<Option<_>>()?;
    (units.len() <= UNITS).then_some(units)
}

fn text(attribute: &AttributeTypeAndValue) -> Option<String> {
    let value = &attribute.value;
    match value.tag() {
        Tag::Utf8String => value.decode_as::<Utf8StringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
        Tag::PrintableString => value.decode_as::<PrintableStringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
        Tag::Ia5String => value.decode_as::<Ia5StringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    fn posted(parts: &[(DnType, &str)]) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, text) in parts {
            params.distinguished_name.push(kind.clone(), *text);
        }
        STANDARD.encode(params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem())
    }

    #[test]
    fn units_are_those_of_the_certificate_that_has_the_name() {
        let (name, unit) = (DnType::CommonName, DnType::OrganizationalUnitName);
        let alice = posted(&[(name.clone(), "alice"), (unit, "operators"), (DnType::OrganizationName, "auditors")]);
        assert_eq!(units(&alice, "alice"), Some(vec!["operators".to_owned()]));
        assert_eq!(units(&posted(&[(name, "bob")]), "bob"), Some(Vec::new()));
        // Another's, cut short, too large, not one.
        assert_eq!(units(&alice, "bob"), None);
        assert_eq!(units(&alice.chars().take(alice.len() / 2).collect::<String>(), "alice"), None);
        assert_eq!(units(&"A".repeat(BYTES + 4), "alice"), None);
        assert_eq!(units("", ""), None);
    }
}
