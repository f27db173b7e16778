//! The certificates that carry root keys (docs/notary-v1.md, section 8), and chains to a pinned CA (section 9).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter};
use x509_cert::der::asn1::{Ia5StringRef, ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use x509_cert::der::{Decode as _, Encode as _, Tag, Tagged as _};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// Signature algorithms of certificates that count: SHA-2 with RSA (PKCS#1, PSS) or ECDSA, and Ed25519. Leaves out MD5 and
/// SHA-1 by not naming them.
const SIGNED_WITH: [&str; 8] = [
    "1.2.840.113549.1.1.10",
    "1.2.840.113549.1.1.11",
    "1.2.840.113549.1.1.12",
    "1.2.840.113549.1.1.13",
    "1.2.840.10045.4.3.2",
    "1.2.840.10045.4.3.3",
    "1.2.840.10045.4.3.4",
    "1.3.101.112",
];
/// `codeSigning`, which notary's own certificates carry; `serverAuth`, which the Go client asks of chains; and any.
const PURPOSES: [&[usize]; 3] = [&[1, 3, 6, 1, 5, 5, 7, 3, 3], &[1, 3, 6, 1, 5, 5, 7, 3, 1], &[2, 5, 29, 37, 0]];
/// How far in the future a certificate may begin, for clocks that differ (notary allows a day).
const AHEAD: SignedDuration = SignedDuration::from_hours(24);
/// RSA keys below this many bytes are weak.
const RSA_BYTES: usize = 256;
/// Most certificates of one name in a chain: an old one and a new one. More could stand in any order, and all orders would be tried.
const NAMESAKES: usize = 2;

/// What counts of a certificate.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    pub(super) der: Vec<u8>,
    /// `SubjectPublicKeyInfo`, DER.
    pub(super) public_key: Vec<u8>,
    /// The whole names, DER.
    subject: Vec<u8>,
    issuer: Vec<u8>,
    /// The one common name; `None` if there is none, or more than one.
    pub(super) name: Option<String>,
    pub(super) authority: bool,
    path_length: Option<u8>,
    signs_certificates: bool,
    from: Timestamp,
    to: Timestamp,
    strong: bool,
}

impl Certificate {
    /// Reads DER; `None` if it is not a certificate through and through.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let read = x509_cert::Certificate::from_der(der).ok()?;
        let body = read.tbs_certificate();
        if body.signature() != read.signature_algorithm() {
            return None;
        }
        let basic = body.get_extension::<BasicConstraints>().ok()?.map(|(_, basic)| basic);
        let usage = body.get_extension::<KeyUsage>().ok()?.map(|(_, usage)| usage);
        let time = |time: x509_cert::time::Time| {
            i64::try_from(time.to_unix_duration().as_secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok())
        };
        let mut names = body.subject().iter().filter(|attribute| attribute.oid == COMMON_NAME);
        let name = names.next().filter(|_| names.next().is_none()).and_then(|attribute| {
            let value = &attribute.value;
            match value.tag() {
                Tag::Utf8String => value.decode_as::<Utf8StringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
                Tag::PrintableString => value.decode_as::<PrintableStringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
                Tag::Ia5String => value.decode_as::<Ia5StringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
                _ => None,
            }
        });
        let info = body.subject_public_key_info();
        let weak =
            info.algorithm.oid == RSA_ENCRYPTION && info.subject_public_key.as_bytes().is_none_or(|bits| bits.len() < RSA_BYTES);
        let signed_with = read.signature_algorithm().oid.to_string();
        Some(Self {
            der: der.to_vec(),
            public_key: info.to_der().ok()?,
            subject: body.subject().to_der().ok()?,
            issuer: body.issuer().to_der().ok()?,
            name,
            authority: basic.as_ref().is_some_and(|basic| basic.ca),
            path_length: basic.and_then(|basic| basic.path_len_constraint),
            signs_certificates: usage.is_none_or(|usage| usage.key_cert_sign()),
            from: time(body.validity().not_before)?,
            to: time(body.validity().not_after)?,
            strong: !weak && SIGNED_WITH.contains(&signed_with.as_str()),
        })
    }

    /// Whether dates and algorithms let it count now.
    pub(super) fn counts(&self, now: Timestamp) -> bool {
        let soon = now.saturating_add(AHEAD).unwrap_or(now);
        self.strong && self.from <= self.to && self.from <= soon && now <= self.to
    }

    /// From when on it counts.
    pub(super) const fn from(&self) -> Timestamp {
        self.from
    }

    /// The last moment it counts.
    pub(super) const fn until(&self) -> Timestamp {
        self.to
    }

    /// Whether algorithms let it count, dates aside.
    pub(super) const fn strong(&self) -> bool {
        self.strong
    }

    /// Whether one of these certificates says that this one issued it.
    pub(super) fn is_issuer_in(&self, bundle: &[Self]) -> bool {
        bundle.iter().any(|certificate| certificate.issuer == self.subject)
    }

    /// Whether the name is for this repository: exactly, or a prefix that ends in `*`.
    pub(super) fn is_for(&self, repository: &str) -> bool {
        let Some(name) = &self.name else { return false };
        name == repository || name.strip_suffix('*').is_some_and(|prefix| repository.starts_with(prefix))
    }
}

/// The certificates of a PEM bundle that is written exactly as Go writes one: blocks of 64 columns, nothing else. Any other
/// spelling would have another key id in the Go client and never verify there.
pub(super) fn bundle(pem: &[u8], most: usize) -> Option<Vec<Certificate>> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----\n";
    const END: &str = "-----END CERTIFICATE-----\n";
    let mut rest = std::str::from_utf8(pem).ok()?;
    let mut found = Vec::new();
    while !rest.is_empty() {
        if found.len() >= most {
            return None;
        }
        let (body, after) = rest.strip_prefix(BEGIN)?.split_once(END)?;
        let packed: String = body.split('\n').collect();
        let der = STANDARD.decode(&packed).ok()?;
        // Written again it must be the same: lines of 64 columns, the last one shorter, each ended by one newline.
        let mut again = String::with_capacity(body.len());
        for (at, c) in packed.chars().enumerate() {
            if at > 0 && at % 64 == 0 {
                again.push('\n');
            }
            again.push(c);
        }
        again.push('\n');
        if again != body {
            return None;
        }
        found.push(Certificate::read(&der)?);
        rest = after;
    }
    (!found.is_empty()).then_some(found)
}

/// Reads the CA bundle of a pin: every certificate in a PEM text, however spaced.
pub(super) fn authorities(pem: &str) -> Option<Vec<Certificate>> {
    use rustls_pki_types::pem::PemObject as _;
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .map(|der| der.ok().and_then(|der| Certificate::read(&der)))
        .collect::<Option<Vec<_>>>()
        .filter(|found| !found.is_empty())
}

/// Whether `leaf` chains to one of `authorities`, with help of `intermediates`, at `now`. Certificates made for code signing
/// or for servers count, and those made for nothing in particular; others do not.
pub(super) fn chains(leaf: &Certificate, intermediates: &[Certificate], authorities: &[Certificate], now: Timestamp) -> bool {
    let namesakes = |one: &Certificate| intermediates.iter().filter(|other| other.subject == one.subject).count();
    if intermediates.iter().any(|one| namesakes(one) > NAMESAKES) {
        return false;
    }
    let usable: Vec<(CertificateDer<'_>, Option<u8>)> = authorities
        .iter()
        .filter(|ca| ca.authority && ca.signs_certificates && ca.from <= now && ca.counts(now))
        .filter(|ca| ca.is_issuer_in(intermediates) || ca.is_issuer_in(std::slice::from_ref(leaf)))
        .map(|ca| (CertificateDer::from(ca.der.as_slice()), ca.path_length))
        .collect();
    let Ok(seconds) = u64::try_from(now.as_second()) else { return false };
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let leaf = CertificateDer::from(leaf.der.as_slice());
    let Ok(end) = EndEntityCert::try_from(&leaf) else { return false };
    let between: Vec<CertificateDer<'_>> =
        intermediates.iter().map(|certificate| CertificateDer::from(certificate.der.as_slice())).collect();
    // One CA at a time, because a CA's own path length is not part of a trust anchor.
    usable.iter().any(|(ca, path_length)| {
        let Ok(anchor) = webpki::anchor_from_trusted_cert(ca) else { return false };
        let anchors = [anchor];
        let short_enough = |path: &webpki::VerifiedPath<'_>| {
            let between = path.intermediate_certificates().count();
            if path_length.is_none_or(|most| between <= usize::from(most)) {
                Ok(())
            } else {
                Err(webpki::Error::PathLenConstraintViolated)
            }
        };
        end.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &between, time, Purpose, None, Some(&short_enough)).is_ok()
    })
}

struct Purpose;

impl ExtendedKeyUsageValidator for Purpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let mut none = true;
        for purpose in purposes {
            none = false;
            let purpose = purpose?.to_decoded_oid();
            if PURPOSES.contains(&purpose.as_slice()) {
                return Ok(());
            }
        }
        if none { Ok(()) } else { Err(webpki::Error::EmptyEkuExtension) }
    }
}
