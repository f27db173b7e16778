//! `type = "attestation"`: what must be stated about an image, and who must have signed it. Which keys there are goes by the type of the predicate:
//! what nobody would look at is a fault.

use crate::order::Ordered as _;
use std::collections::BTreeMap;
use std::time::Duration;

use super::table::{Section, Value};
use super::write::{list, quoted};
use crate::policy::fault::{PolicyFault, Position};
use crate::policy::resolved::{AttestationSettings, VerifierSettings};
use crate::text::fit;
use crate::trust::attestation::{Conditions, Kind, ProvenanceTerms, Required, SbomTerms, ScanTerms, Terms};
use crate::trust::{Severity, VerifierName};

/// Most patterns of one key, and most members that are required.
const PATTERNS: usize = 1024;
const REQUIRED: usize = 32;
/// Most names that lead to one.
const PATH: usize = 16;
/// Longest type of a predicate.
const TYPE_BYTES: usize = 256;
/// Oldest that a scan may be, days.
const AGE_MOST: u64 = 3650;
/// After which time a verifier asks again whose yes may be none a day later.
const DAILY: Duration = Duration::from_hours(24);

/// Reads one.
pub(super) fn read(section: &Section<'_>) -> Option<AttestationSettings> {
    let signed_by = section.required("signed_by").and_then(|value| value.parsed::<VerifierName>());
    let predicate_type = section.required("predicate_type").and_then(|value| {
        let text = value.text()?;
        let is_uri = text.split_once(':').is_some_and(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        if text.len() > TYPE_BYTES || !is_uri || text.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
            value.fault(format!("`{}` is not the type of a predicate, such as https://slsa.dev/provenance/v1", fit(text, 80)));
            return None;
        }
        Some(text.to_owned())
    });
    let require = section.get("require").and_then(|value| value.section()).map(|members| required(&members)).unwrap_or_default();
    let own_recheck = section.get("recheck");
    let conditions = match predicate_type.as_deref().map(Kind::of) {
        Some(Kind::Provenance02 | Kind::Provenance1) => Conditions::Provenance(ProvenanceTerms {
            builder: patterns(section, "builder").unwrap_or_default(),
            source: patterns(section, "source").unwrap_or_default(),
            reference: patterns(section, "ref").unwrap_or_default(),
        }),
        Some(Kind::Spdx | Kind::CycloneDx) => Conditions::Sbom(SbomTerms {
            forbid_packages: patterns(section, "forbid_packages").unwrap_or_default(),
            allow_packages: patterns(section, "allow_packages"),
            forbid_licences: patterns(section, "forbid_licences").unwrap_or_default(),
            allow_licences: patterns(section, "allow_licences"),
        }),
        Some(Kind::Scan) => Conditions::Scan(scan(section)),
        Some(Kind::Other) => Conditions::None,
        // Which keys there are is not known.
        None => {
            for key in KEYS {
                section.get(key);
            }
            return None;
        }
    };
    let terms = Terms { predicate_type: predicate_type?, require, conditions };
    let recheck = match own_recheck {
        Some(value) => value.recheck(),
        None => terms.is_of_the_day().then_some(DAILY),
    };
    Some(AttestationSettings { signed_by: signed_by?, terms, recheck })
}

/// The keys of all kinds.
const KEYS: [&str; 11] = [
    "builder",
    "source",
    "ref",
    "forbid_packages",
    "allow_packages",
    "forbid_licences",
    "allow_licences",
    "scanner",
    "max_age",
    "severity",
    "except",
];

fn scan(section: &Section<'_>) -> ScanTerms {
    let severity = section.get("severity").and_then(|value| value.choice(&Severity::ALL));
    let except = section.get("except");
    if let (Some(except), None) = (&except, severity) {
        except.fault("says what may be found from a severity on: `severity` is missing");
    }
    let ids = except.and_then(|value| value.list_or_one(PATTERNS)).unwrap_or_default();
    ScanTerms {
        scanner: patterns(section, "scanner").unwrap_or_default(),
        max_age: section
            .get("max_age")
            .and_then(|value| value.number("days", 1..=AGE_MOST))
            .map(|days| Duration::from_hours(24 * days)),
        severity,
        except: ids.iter().filter_map(|id| id.text().map(str::to_owned)).ordered(),
    }
}

/// Patterns; `None`: none are given.
fn patterns(section: &Section<'_>, key: &'static str) -> Option<Vec<String>> {
    let value = section.get(key)?;
    let found: Vec<String> = value.list_or_one(PATTERNS)?.iter().filter_map(|value| value.text().map(str::to_owned)).collect();
    if found.is_empty() {
        value.fault("is empty; leave it out where nothing is asked");
    }
    Some(found)
}

/// Members by their paths.
fn required(members: &Section<'_>) -> Vec<Required> {
    let mut out = Vec::new();
    for (written, value) in members.entries() {
        let path: Vec<String> = written.split('.').map(str::to_owned).collect();
        if path.len() > PATH || path.iter().any(String::is_empty) {
            value.fault("is not a path: names with dots between them");
            continue;
        }
        if out.len() >= REQUIRED {
            value.fault(format!("there are more than {REQUIRED} members"));
            break;
        }
        let values = if value.is_list() { value.list(PATTERNS).unwrap_or_default() } else { vec![value.clone()] };
        let values: Vec<String> = values.iter().filter_map(text_of).collect();
        if values.is_empty() {
            value.fault("names no value");
        }
        out.push(Required { path, values });
    }
    out
}

/// A value of JSON, as it is compared.
fn text_of(value: &Value<'_>) -> Option<String> {
    if value.is_text() {
        return value.text().map(str::to_owned);
    }
    value.whole_number().map(|number| number.to_string()).or_else(|| value.truth().map(|truth| truth.to_string()))
}

/// Who must sign has to be a verifier of cosign's signatures.
pub(super) fn check(
    verifiers: &BTreeMap<VerifierName, (VerifierSettings, Position)>,
    is_called: impl Fn(&VerifierName) -> bool,
) -> Vec<PolicyFault> {
    let of = |(name, (settings, position)): (&VerifierName, &(VerifierSettings, Position))| {
        let VerifierSettings::Attestation(attestation) = settings else { return None };
        let signer = &attestation.signed_by;
        let message = match verifiers.get(signer).map(|(settings, _)| settings) {
            Some(VerifierSettings::Cosign(_)) => return None,
            Some(VerifierSettings::Notation(_)) => format!(
                "verifier `{signer}` is of type notation, which signs manifests and no statements: have them signed by `cosign attest`, and \
                 name a verifier of type cosign"
            ),
            Some(other) => format!("verifier `{signer}` is of type {}, and cosign signs attestations", other.kind()),
            None if is_called(signer) => return None,
            None => format!("there is no verifier `{signer}`"),
        };
        Some(PolicyFault::of(format!("verifiers.{name}.signed_by"), message).at(position.clone()))
    };
    verifiers.iter().filter_map(of).collect()
}

/// As [`read`] reads it.
pub(super) fn lines(settings: &AttestationSettings, out: &mut Vec<(&'static str, String)>) {
    let AttestationSettings { signed_by, terms, recheck } = settings;
    out.push(("signed_by", quoted(signed_by.as_str())));
    out.push(("predicate_type", quoted(&terms.predicate_type)));
    if !terms.require.is_empty() {
        let member =
            |required: &Required| format!("{} = {}", quoted(&required.path.join(".")), list(required.values.iter().cloned()));
        out.push(("require", format!("{{ {} }}", terms.require.iter().map(member).collect::<Vec<_>>().join(", "))));
    }
    let mut patterns = |key, patterns: &[String]| {
        if !patterns.is_empty() {
            out.push((key, list(patterns.iter().cloned())));
        }
    };
    match &terms.conditions {
        Conditions::None => {}
        Conditions::Provenance(terms) => {
            patterns("builder", &terms.builder);
            patterns("source", &terms.source);
            patterns("ref", &terms.reference);
        }
        Conditions::Sbom(terms) => {
            patterns("forbid_packages", &terms.forbid_packages);
            patterns("allow_packages", terms.allow_packages.as_deref().unwrap_or_default());
            patterns("forbid_licences", &terms.forbid_licences);
            patterns("allow_licences", terms.allow_licences.as_deref().unwrap_or_default());
        }
        Conditions::Scan(terms) => {
            patterns("scanner", &terms.scanner);
            out.extend(terms.max_age.map(|age| ("max_age", (age.as_secs() / 86_400).to_string())));
            out.extend(terms.severity.map(|severity| ("severity", quoted(&severity.to_string()))));
            if !terms.except.is_empty() {
                out.push(("except", list(terms.except.iter().cloned())));
            }
        }
    }
    match recheck {
        Some(recheck) if !(terms.is_of_the_day() && *recheck == DAILY) => {
            out.push(("recheck", (recheck.as_secs() / 3600).to_string()));
        }
        None if terms.is_of_the_day() => out.push(("recheck", quoted("never"))),
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::policy::{Policy, PolicyFile, Posture, Resolved};

    fn read(verifiers: &str) -> Result<Resolved, Vec<String>> {
        let text = format!(
            "version = 1\n[verifiers.release]\ntype = \"cosign\"\nkeys = \"a.pub\"\n[verifiers.listed]\ntype = \"allowlist\"\nfile = \"l.json\"\n\
             [verifiers.corp]\ntype = \"notation\"\ntrust_policy = \"p.json\"\ntrust_store = \"s\"\n\
             [verifiers.stated]\ntype = \"attestation\"\n{verifiers}\n[[scope]]\nmatch = \"r.example/**\"\nrequire = {{ all = [\"release\", \"stated\"] }}\n"
        );
        let read = PolicyFile(vec![(PathBuf::from("/etc/x/policy.toml"), text)]).read(Policy::closed(Posture::Images));
        read.resolved.map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    fn stated(verifiers: &str) -> AttestationSettings {
        let resolved = read(verifiers).unwrap();
        let shown = resolved.to_toml();
        let VerifierSettings::Attestation(settings) = resolved.verifiers[&"stated".parse().unwrap()].clone() else { panic!() };
        // What is shown reads as the same.
        let part = shown
            .split("[verifiers.stated]\n")
            .nth(1)
            .unwrap()
            .split("\n\n")
            .next()
            .unwrap()
            .replace("type = \"attestation\"", "");
        let VerifierSettings::Attestation(again) = read(&part).unwrap().verifiers[&"stated".parse().unwrap()].clone() else {
            panic!()
        };
        assert_eq!(again, settings, "{shown}");
        settings
    }

    const BY: &str = "signed_by = \"release\"\npredicate_type = ";

    #[test]
    fn each_kind_has_its_keys() {
        let built = stated(&format!(
            "{BY}\"https://slsa.dev/provenance/v1\"\nbuilder = \"https://ci.example/*\"\nref = [\"refs/heads/main\"]\n\
             require = {{ \"buildDefinition.buildType\" = \"https://ci.example/*\", \"a.b\" = [1, true, \"x\"] }}"
        ));
        let Conditions::Provenance(terms) = &built.terms.conditions else { panic!("{built:?}") };
        assert_eq!((terms.builder.len(), terms.source.len(), terms.reference.len()), (1, 0, 1));
        let values: Vec<&[String]> = built.terms.require.iter().map(|required| required.values.as_slice()).collect();
        assert_eq!(values, [&["1", "true", "x"].map(str::to_owned)[..], &["https://ci.example/*".to_owned()]]);
        assert_eq!(built.recheck, None);

        let listed = stated(&format!(
            "{BY}\"https://cyclonedx.org/bom/v1.5\"\nforbid_packages = [\"x@1.*\"]\nallow_licences = \"MIT\"\nrecheck = 48"
        ));
        assert!(matches!(&listed.terms.conditions, Conditions::Sbom(terms) if terms.allow_packages.is_none()));
        assert_eq!(listed.recheck, Some(Duration::from_hours(48)));

        let scan = "\"https://cosign.sigstore.dev/attestation/vuln/v1\"";
        let scanned =
            stated(&format!("{BY}{scan}\nmax_age = 7\nseverity = \"high\"\nexcept = [\"CVE-1\"]\nscanner = \"*trivy*\""));
        let Conditions::Scan(terms) = &scanned.terms.conditions else { panic!("{scanned:?}") };
        assert_eq!((terms.max_age, terms.severity), (Some(Duration::from_hours(168)), Some(Severity::High)));
        assert_eq!(scanned.recheck, Some(DAILY), "what may change from day to day is asked about daily");
        assert_eq!(stated(&format!("{BY}{scan}\nmax_age = 7\nrecheck = \"never\"")).recheck, None);
        assert_eq!(stated(&format!("{BY}{scan}")).recheck, Some(DAILY), "rules in Rego may look at it");
        assert!(matches!(stated(&format!("{BY}\"https://example.com/x\"")).terms.conditions, Conditions::None));
    }

    #[test]
    fn what_nobody_would_look_at_is_a_fault_and_so_is_a_signer_who_does_not_sign() {
        let scan = "https://cosign.sigstore.dev/attestation/vuln/v1";
        for (written, why) in [
            ("predicate_type = \"https://x.example\"".to_owned(), "signed_by: is missing"),
            ("signed_by = \"release\"".to_owned(), "predicate_type: is missing"),
            (format!("{BY}\"vuln\""), "`vuln` is not the type of a predicate"),
            (format!("signed_by = \"listed\"\npredicate_type = \"{scan}\""), "verifier `listed` is of type allowlist"),
            (format!("signed_by = \"corp\"\npredicate_type = \"{scan}\""), "signs manifests and no statements"),
            (format!("signed_by = \"stated\"\npredicate_type = \"{scan}\""), "verifier `stated` is of type attestation"),
            (format!("signed_by = \"nobody\"\npredicate_type = \"{scan}\""), "there is no verifier `nobody`"),
            (format!("{BY}\"{scan}\"\nbuilder = \"x\""), "builder: there is no such key"),
            (format!("{BY}\"https://slsa.dev/provenance/v1\"\nseverity = \"high\""), "severity: there is no such key"),
            (format!("{BY}\"https://slsa.dev/provenance/v2\"\nbuilder = \"x\""), "builder: there is no such key"),
            (format!("{BY}\"{scan}\"\nseverity = \"hihg\""), "`high` was meant?"),
            (format!("{BY}\"{scan}\"\nexcept = \"CVE-1\""), "`severity` is missing"),
            (format!("{BY}\"{scan}\"\nmax_age = 0"), "is not a number of days from 1 to 3650"),
            (format!("{BY}\"{scan}\"\nscanner = []"), "is empty"),
            (format!("{BY}\"{scan}\"\nrequire = {{ \"a..b\" = \"x\" }}"), "is not a path"),
            (format!("{BY}\"{scan}\"\nrequire = {{ a = [] }}"), "names no value"),
            (format!("{BY}\"{scan}\"\nrequire = {{ a = {{ b = 1 }} }}"), "should be"),
        ] {
            let faults = read(&written).expect_err(&written);
            assert!(faults.len() <= 2 && faults.iter().any(|fault| fault.contains(why)), "{written}: {faults:?}");
        }
    }
}
