//! Reports that an operator has and nobody signed: read as facts for the allowlist.

use jiff::Timestamp;

use super::facts::{Contents, Findings};
use super::sbom::Sbom;
use super::scan::Scan;

/// What a scanner's report says (Trivy or Grype, as JSON); `now` is taken for its time where it names none.
pub fn read_scan(text: &[u8], now: Timestamp) -> Result<Findings, String> {
    Scan::of_file(text, now).map(|scan| scan.findings())
}

/// What a bill of materials says (SPDX 2 or `CycloneDX`, as JSON).
pub fn read_sbom(text: &[u8]) -> Result<Contents, String> {
    Sbom::of_file(text).map(|sbom| sbom.contents())
}
