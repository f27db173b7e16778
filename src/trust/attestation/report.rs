//! Reports that an operator has and nobody signed: read as facts for the allowlist.

use jiff::Timestamp;

use super::sbom::Sbom;
use super::scan::Scan;
use crate::image::Digest;
use crate::trust::stated::{Contents, Findings};

/// A scanner's report.
#[derive(Debug)]
pub struct ScanFile {
    findings: Findings,
    images: Vec<Digest>,
}

impl ScanFile {
    /// What it found.
    #[must_use]
    pub const fn findings(&self) -> &Findings {
        &self.findings
    }

    /// The digests and ids of the image that it names as what it is of; none where it does not say.
    #[must_use]
    pub fn images(&self) -> &[Digest] {
        &self.images
    }
}

/// What a scanner's report says (Trivy or Grype, as JSON); `now` is taken for its time where it names none.
pub fn read_scan(text: &[u8], now: Timestamp) -> Result<ScanFile, String> {
    let (scan, images) = Scan::of_file(text, now)?;
    Ok(ScanFile { findings: scan.findings(), images })
}

/// What a bill of materials says (SPDX 2 or `CycloneDX`, as JSON).
pub fn read_sbom(text: &[u8]) -> Result<Contents, String> {
    Sbom::of_file(text).map(|sbom| sbom.contents())
}
