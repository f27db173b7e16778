//! Reports that nobody signed, as the operator's own word: what a scanner found, and what is in an image, go with the approval as facts.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;

use super::find::Found;
use crate::files::read_bytes;
use crate::trust::Contents;
use crate::trust::attestation::{ScanFile, read_sbom, read_scan};

/// Largest report read. Stops a wrong path from filling memory.
const REPORT_BYTES: u64 = 64 << 20;

/// The reports that go with one image.
#[derive(Args)]
pub(super) struct ReportArgs {
    /// What a scanner found in it: Trivy's or Grype's report, as JSON. Nobody checks who made it; rules in Rego see the facts
    #[arg(long, value_name = "FILE", conflicts_with_all = ["running", "compose"])]
    scan: Option<PathBuf>,
    /// What is in it: SPDX 2 or `CycloneDX`, as JSON; likewise
    #[arg(long, value_name = "FILE", conflicts_with_all = ["running", "compose"])]
    sbom: Option<PathBuf>,
}

/// What they say.
#[derive(Default)]
pub(super) struct Reports {
    scan: Option<ScanFile>,
    sbom: Option<Contents>,
}

impl ReportArgs {
    /// Reads them, for this many images.
    pub(super) fn read(&self, images: usize, now: Timestamp) -> Result<Reports, String> {
        if images != 1 && (self.scan.is_some() || self.sbom.is_some()) {
            return Err("a report is of one image: give one reference with --scan and --sbom".to_owned());
        }
        let read =
            |path: &Path| read_bytes(path, REPORT_BYTES).map_err(|error| format!("`{}` cannot be read: {error}", path.display()));
        let told = |path: &Path, why: String| format!("`{}` is no report: {why}", path.display());
        let scan = self.scan.as_deref().map(|path| read_scan(&read(path)?, now).map_err(|why| told(path, why)));
        let sbom = self.sbom.as_deref().map(|path| read_sbom(&read(path)?).map_err(|why| told(path, why)));
        Ok(Reports { scan: scan.transpose()?, sbom: sbom.transpose()? })
    }
}

impl Reports {
    /// Puts them to what was found. A report that names another image is of no use here.
    pub(super) fn go_with(&self, found: &mut Found) -> Result<(), String> {
        if let Some(scan) = &self.scan {
            let is_of_it = |digest| found.entry.digest == Some(digest) || found.entry.image_id == Some(digest);
            let named = scan.images();
            if !named.is_empty() && !named.iter().copied().any(is_of_it) {
                let shown: Vec<String> = named.iter().map(|digest| super::short(Some(*digest))).collect();
                return Err(format!("the report is of another image: {}", shown.join(", ")));
            }
            found.entry.scan = Some(scan.findings().clone());
        }
        if self.sbom.is_some() {
            found.entry.sbom.clone_from(&self.sbom);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::register::change::{Outcome, add};
    use crate::image::Digest;
    use crate::trust::allowlist::file::{Entry, ListFile};

    const NOW: Timestamp = Timestamp::constant(1_795_304_924, 0);

    fn found(content: &[u8]) -> Found {
        let entry = Entry { digest: Some(Digest::of(content)), ..Entry::default() };
        Found { entry, source: "registry", note: None }
    }

    #[test]
    fn a_report_goes_with_the_one_image_that_it_is_of() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
            Some(folder.path().join(name))
        };
        let trivy = |content: &[u8]| {
            format!(
                r#"{{"SchemaVersion":2,"Metadata":{{"RepoDigests":["r.example/app@{}"]}},"Results":[{{"Vulnerabilities":[{{"VulnerabilityID":"CVE-1","Severity":"LOW"}}]}}]}}"#,
                Digest::of(content)
            )
        };
        let reports = ReportArgs {
            scan: write("scan.json", &trivy(b"app")),
            sbom: write("sbom.json", r#"{"spdxVersion":"SPDX-2.3","packages":[{"name":"x"}]}"#),
        };
        assert!(reports.read(0, NOW).is_err() && reports.read(2, NOW).is_err());
        let read = reports.read(1, NOW).unwrap();
        let mut app = found(b"app");
        assert!(read.go_with(&mut found(b"other")).unwrap_err().contains("another image"));
        read.go_with(&mut app).unwrap();
        let mut list = ListFile::default();
        assert_eq!(add(&mut list, &app.entry, &Entry::default(), NOW).0, Outcome::Added);
        let again = ListFile::parse(list.to_text().as_bytes()).unwrap();
        let entry = again.entries.first().unwrap();
        assert_eq!(entry.scan.as_ref().map(|scan| (scan.scanner.as_str(), scan.worst.len(), scan.at)), Some(("trivy", 1, NOW)));
        assert_eq!(entry.sbom.as_ref().map(|sbom| sbom.packages), Some(1));
        // Without reports what is known stays; with another it is that one.
        assert_eq!(add(&mut list, &found(b"app").entry, &Entry::default(), NOW).0, Outcome::Unchanged);
        app.entry.scan.as_mut().unwrap().worst.clear();
        assert_eq!(add(&mut list, &app.entry, &Entry::default(), NOW).0, Outcome::Updated);
        assert!(list.entries.first().unwrap().scan.as_ref().unwrap().worst.is_empty());
        for bad in ["", "{}", "[]"] {
            let scan = ReportArgs { scan: write("bad.json", bad), sbom: None };
            let sbom = ReportArgs { scan: None, sbom: write("bad.json", bad) };
            assert!(scan.read(1, NOW).is_err() && sbom.read(1, NOW).is_err(), "{bad}");
        }
        let none = ReportArgs { scan: None, sbom: None };
        assert!(none.read(5, NOW).is_ok());
    }
}
