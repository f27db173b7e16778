//! Bills of materials, of SPDX 2 and `CycloneDX` as JSON: which packages are in an image, in which version, and under which licence.

use jiff::Timestamp;
use serde::Deserialize;

use super::licence;
use super::terms::{Kind, SbomTerms};
use crate::text::{clean, stands_for};
use crate::trust::object::{self, Object};
use crate::trust::stated::{Contents, Facts};

/// Deepest that components are nested. Stops a list of lists from costing more than its bytes.
const DEPTH: usize = 16;
/// What SPDX writes where nobody knows.
const UNKNOWN: [&str; 2] = ["NOASSERTION", "NONE"];

/// What an image is made of.
#[derive(Debug)]
pub(super) struct Sbom {
    format: &'static str,
    packages: Vec<Package>,
    pub(super) at: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Package {
    name: String,
    version: String,
    purl: Option<String>,
    /// Expressions, all of which hold; empty: it does not say.
    licences: Vec<String>,
}

mod spdx {
    use super::{Deserialize, Object};

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Document {
        pub(super) spdx_version: String,
        pub(super) packages: Option<Vec<Object<Package>>>,
        pub(super) creation_info: Option<Object<Creation>>,
    }

    #[derive(Deserialize)]
    pub(super) struct Creation {
        pub(super) created: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Package {
        pub(super) name: String,
        pub(super) version_info: Option<String>,
        pub(super) license_concluded: Option<String>,
        pub(super) license_declared: Option<String>,
        pub(super) external_refs: Option<Vec<Object<Reference>>>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Reference {
        pub(super) reference_type: Option<String>,
        pub(super) reference_locator: Option<String>,
    }
}

mod cyclone_dx {
    use super::{Deserialize, Object};

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Document {
        pub(super) bom_format: String,
        pub(super) components: Option<Vec<Object<Component>>>,
        pub(super) metadata: Option<Object<Metadata>>,
    }

    #[derive(Deserialize)]
    pub(super) struct Metadata {
        pub(super) timestamp: Option<String>,
    }

    #[derive(Deserialize)]
    pub(super) struct Component {
        pub(super) group: Option<String>,
        pub(super) name: String,
        pub(super) version: Option<String>,
        pub(super) purl: Option<String>,
        pub(super) licenses: Option<Vec<Object<Choice>>>,
        pub(super) components: Option<Vec<Object<Self>>>,
    }

    #[derive(Deserialize)]
    pub(super) struct Choice {
        pub(super) license: Option<Object<License>>,
        pub(super) expression: Option<String>,
    }

    #[derive(Deserialize)]
    pub(super) struct License {
        pub(super) id: Option<String>,
        pub(super) name: Option<String>,
    }
}

impl Sbom {
    /// What a statement's predicate lists.
    pub(super) fn of_statement(statement: &[u8], kind: Kind) -> Result<Self, String> {
        if kind == Kind::CycloneDx {
            return Self::of_cyclone_dx(super::statement::predicate(statement)?);
        }
        Self::of_spdx(super::statement::predicate(statement)?)
    }

    /// What a file lists, in either form.
    pub(super) fn of_file(text: &[u8]) -> Result<Self, String> {
        match object::read::<spdx::Document>(text) {
            Ok(document) => Self::of_spdx(document),
            Err(of_spdx) => match object::read::<cyclone_dx::Document>(text) {
                Ok(document) => Self::of_cyclone_dx(document),
                Err(of_cyclone_dx) => {
                    Err(format!("it is neither SPDX ({}) nor CycloneDX ({})", clean(&of_spdx), clean(&of_cyclone_dx)))
                }
            },
        }
    }

    fn of_spdx(document: spdx::Document) -> Result<Self, String> {
        if !document.spdx_version.starts_with("SPDX-2.") {
            return Err(format!("`{}` is not SPDX 2", clean(&document.spdx_version)));
        }
        let package = |Object(package): Object<spdx::Package>| {
            let purl = package.external_refs.into_iter().flatten().find_map(|Object(reference)| {
                reference.reference_locator.filter(|_| reference.reference_type.as_deref() == Some("purl"))
            });
            // What is concluded goes before what is declared, where somebody has concluded anything.
            let known = |written: Option<String>| written.filter(|written| !UNKNOWN.contains(&&**written));
            let licence = known(package.license_concluded).or_else(|| known(package.license_declared));
            Package {
                name: package.name,
                version: package.version_info.unwrap_or_default(),
                purl,
                licences: licence.into_iter().collect(),
            }
        };
        let packages = document.packages.into_iter().flatten().map(package).collect();
        let at = document.creation_info.and_then(|Object(creation)| creation.created?.parse().ok());
        Ok(Self { format: "spdx", packages, at })
    }

    fn of_cyclone_dx(document: cyclone_dx::Document) -> Result<Self, String> {
        if document.bom_format != "CycloneDX" {
            return Err(format!("`{}` is not CycloneDX", clean(&document.bom_format)));
        }
        let mut packages = Vec::new();
        let mut left: Vec<(usize, cyclone_dx::Component)> =
            document.components.into_iter().flatten().map(|Object(component)| (0, component)).collect();
        while let Some((depth, component)) = left.pop() {
            if depth >= DEPTH {
                return Err(format!("its components are nested deeper than {DEPTH}"));
            }
            left.extend(component.components.into_iter().flatten().map(|Object(inner)| (depth + 1, inner)));
            let licences = component.licenses.into_iter().flatten().filter_map(|Object(choice)| {
                let named = choice.license.and_then(|Object(license)| license.id.or(license.name));
                choice.expression.or(named)
            });
            let name = match component.group.filter(|group| !group.is_empty()) {
                Some(group) => format!("{group}/{}", component.name),
                None => component.name,
            };
            packages.push(Package {
                name,
                version: component.version.unwrap_or_default(),
                purl: component.purl,
                licences: licences.collect(),
            });
        }
        let at = document.metadata.and_then(|Object(metadata)| metadata.timestamp?.parse().ok());
        Ok(Self { format: "cyclonedx", packages, at })
    }

    /// What of the terms it does not keep: the first package that is out of place.
    pub(super) fn breaks(&self, terms: &SbomTerms) -> Option<String> {
        if *terms == SbomTerms::default() {
            return None;
        }
        // Of an empty list nothing is known, and nothing is kept.
        if self.packages.is_empty() {
            return Some("it lists no package".to_owned());
        }
        self.packages.iter().find_map(|package| package.breaks(terms))
    }

    pub(super) fn contents(&self) -> Contents {
        Contents { format: self.format.to_owned(), packages: self.packages.len() }
    }

    pub(super) fn facts(&self) -> Facts {
        Facts::Sbom(self.contents())
    }
}

impl Package {
    fn breaks(&self, terms: &SbomTerms) -> Option<String> {
        let shown = || clean(&self.called());
        if terms.forbid_packages.iter().any(|pattern| self.is_meant_by(pattern)) {
            return Some(format!("`{}` is in the image", shown()));
        }
        if terms.allow_packages.as_ref().is_some_and(|allowed| !allowed.iter().any(|pattern| self.is_meant_by(pattern))) {
            return Some(format!("`{}` is in the image, and not among the packages that may be", shown()));
        }
        // Names of licences are the same in any case (SPDX 2.3, annex D).
        let is_forbidden = |licence: &str| {
            let stands = |pattern: &String| stands_for(&pattern.to_ascii_lowercase(), &licence.to_ascii_lowercase());
            terms.forbid_licences.iter().any(stands)
        };
        let may = |licence: &str| {
            let is_among = |patterns: &[String]| patterns.iter().any(|pattern| stands_for(pattern, licence));
            !is_forbidden(licence) && terms.allow_licences.as_ref().is_none_or(|allowed| is_among(allowed))
        };
        let is_bad = |licence: &&String| !licence::is_kept(licence, &may) || licence::parts(licence).any(is_forbidden);
        if let Some(licence) = self.licences.iter().find(is_bad) {
            return Some(format!("`{}` is under `{}`", shown(), clean(licence)));
        }
        if self.licences.is_empty() && terms.allow_licences.is_some() {
            return Some(format!("it does not say under which licence `{}` is", shown()));
        }
        None
    }

    fn called(&self) -> String {
        if self.version.is_empty() { self.name.clone() } else { format!("{}@{}", self.name, self.version) }
    }

    /// A pattern over the purl where it is one; with a version where it says one; else over the name alone.
    fn is_meant_by(&self, pattern: &str) -> bool {
        if pattern.starts_with("pkg:") {
            return self.purl.as_deref().is_some_and(|purl| stands_for(pattern, purl));
        }
        stands_for(pattern, &self.name) || stands_for(pattern, &format!("{}@{}", self.name, self.version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    const SPDX: &str = r#"{"spdxVersion":"SPDX-2.3","creationInfo":{"created":"2026-11-30T10:00:00Z"},"packages":[
        {"name":"openssl","versionInfo":"3.0.11-1","licenseDeclared":"Apache-2.0","licenseConcluded":"NOASSERTION",
         "externalRefs":[{"referenceType":"purl","referenceLocator":"pkg:deb/debian/openssl@3.0.11-1?arch=amd64"}]},
        {"name":"bash","versionInfo":"5.2","licenseConcluded":"GPL-3.0-or-later"}]}"#;
    const CYCLONE_DX: &str = r#"{"bomFormat":"CycloneDX","specVersion":"1.5","metadata":{"timestamp":"2026-11-30T10:00:00Z"},"components":[
        {"type":"library","name":"openssl","version":"3.0.11-1","purl":"pkg:deb/debian/openssl@3.0.11-1?arch=amd64","licenses":[{"license":{"id":"Apache-2.0"}}],
         "components":[{"name":"bash","version":"5.2","licenses":[{"expression":"GPL-3.0-or-later"}]}]}]}"#;

    #[test]
    fn both_forms_say_the_same() {
        for (text, format) in [(SPDX, "spdx"), (CYCLONE_DX, "cyclonedx")] {
            let sbom = Sbom::of_file(text.as_bytes()).unwrap();
            assert_eq!(
                (sbom.contents(), sbom.at),
                (Contents { format: format.to_owned(), packages: 2 }, Some("2026-11-30T10:00:00Z".parse().unwrap()))
            );
            let forbid = |packages: &str, licences: &str| {
                let terms =
                    SbomTerms { forbid_packages: list(packages), forbid_licences: list(licences), ..SbomTerms::default() };
                sbom.breaks(&terms)
            };
            for (packages, licences, is_broken) in [
                ("", "", false),
                ("openssl", "", true),
                ("openssl@3.0.1", "", false),
                ("openssl@3.0.*", "", true),
                ("ssl", "", false),
                ("*ssl", "", true),
                ("pkg:deb/debian/bash*", "", false),
                ("pkg:deb/debian/openssl@3.0.11-1*", "", true),
                ("", "AGPL-* SSPL-1.0", false),
                ("", "GPL-3.0*", true),
            ] {
                assert_eq!(forbid(packages, licences).is_some(), is_broken, "{format} {packages} {licences}");
            }
            let allow = |packages: Option<&str>, licences: Option<&str>| {
                let terms =
                    SbomTerms { allow_packages: packages.map(list), allow_licences: licences.map(list), ..SbomTerms::default() };
                sbom.breaks(&terms)
            };
            assert_eq!(allow(Some("openssl bash@*"), Some("Apache-2.0 GPL-*")), None);
            assert!(allow(Some("openssl"), None).unwrap().contains("bash"));
            assert!(allow(None, Some("Apache-2.0")).unwrap().contains("GPL-3.0-or-later"));
        }
    }

    #[test]
    fn what_is_not_said_is_not_kept_and_what_is_no_list_is_not_read() {
        let bare = r#"{"spdxVersion":"SPDX-2.3","packages":[{"name":"x","licenseConcluded":"NOASSERTION"}]}"#;
        let sbom = Sbom::of_file(bare.as_bytes()).unwrap();
        assert!(sbom.breaks(&SbomTerms { allow_licences: Some(list("*")), ..SbomTerms::default() }).is_some());
        let empty = Sbom::of_file(br#"{"bomFormat":"CycloneDX"}"#).unwrap();
        assert_eq!(empty.breaks(&SbomTerms::default()), None);
        assert!(empty.breaks(&SbomTerms { forbid_packages: list("x"), ..SbomTerms::default() }).is_some());
        let nested = (0..20).fold(r#"{"name":"x"}"#.to_owned(), |inner, _| format!(r#"{{"name":"x","components":[{inner}]}}"#));
        for bad in [
            "{}".to_owned(),
            "[]".to_owned(),
            r#"{"spdxVersion":"SPDX-3.0","packages":[]}"#.to_owned(),
            r#"{"spdxVersion":"SPDX-2.3","packages":[["x"]]}"#.to_owned(),
            r#"{"spdxVersion":"SPDX-2.3","packages":[],"Packages":[]}"#.to_owned(),
            r#"{"bomFormat":"cyclonedx"}"#.to_owned(),
            format!(r#"{{"bomFormat":"CycloneDX","components":[{nested}]}}"#),
        ] {
            assert!(Sbom::of_file(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_of_several_megabytes_is_read_in_little_time() {
        let one = r#"{"name":"package-with-a-name","versionInfo":"1.2.3-4","licenseConcluded":"MIT","files":["a/long/path/of/a/file","another"]}"#;
        let text = format!(r#"{{"spdxVersion":"SPDX-2.3","packages":[{}]}}"#, vec![one; 40_000].join(","));
        assert!(text.len() > 4 << 20);
        let begun = std::time::Instant::now();
        let sbom = Sbom::of_file(text.as_bytes()).unwrap();
        assert_eq!(sbom.breaks(&SbomTerms { forbid_licences: list("GPL-*"), ..SbomTerms::default() }), None);
        assert_eq!(sbom.packages.len(), 40_000);
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}
