//! The engine: known holes of its version, and the one that can be probed for.

use std::io::{BufReader, Read as _};

use super::Finding;
use crate::engine::{EngineError, Http2};
use crate::policy::quoted;
use crate::text::clean;

/// Most read of dpkg's list of packages, bytes. Stops a wrong file from taking for ever.
const DPKG_BYTES: u64 = 64 << 20;

/// A version's three numbers.
type Numbers = (u32, u32, u32);

/// Releases that have the fix of CVE-2024-41110, by branch (GHSA-v23v-6jw2-98fq): from the first on, up to the next branch.
/// 18.09.1 had the fix, 19.03 lost it again.
const FIXED_2024: [(Numbers, Numbers); 10] = [
    ((18, 9, 1), (19, 0, 0)),
    ((19, 3, 16), (20, 0, 0)),
    ((20, 10, 28), (21, 0, 0)),
    ((23, 0, 15), (24, 0, 0)),
    ((24, 0, 10), (25, 0, 0)),
    ((25, 0, 6), (26, 0, 0)),
    ((26, 0, 3), (26, 1, 0)),
    ((26, 1, 5), (27, 0, 0)),
    ((27, 0, 4), (27, 1, 0)),
    ((27, 1, 1), (u32::MAX, 0, 0)),
];
/// The first release with the fix of CVE-2026-34040 (GHSA-x744-4wpc-v9h2).
const FIXED_2026: Numbers = (29, 3, 1);
/// The first release that serves gRPC on cleartext listeners.
const GRPC_SINCE: Numbers = (29, 2, 0);
/// Debian's packages of older releases that have the fix of 2024, from the first on (their changelogs).
const DEBIAN_2024: [&str; 1] = ["20.10.24+dfsg1-1+deb12u1"];
/// Likewise the fix of 2026.
const DEBIAN_2026: [&str; 2] = ["26.1.5+dfsg1-9+deb13u1", "28.5.2+dfsg4-2"];

/// The known holes in how this version asks plugins. `package` is the version of Debian's package, where it is one. None makes
/// this gate weaker, which refuses what it is not shown.
pub(super) fn holes(version: &str, package: Option<&str>) -> Vec<Finding> {
    let Some(numbers) = numbers(version) else {
        let evidence =
            format!("the engine's version {} is not a release's, so its known holes are not known here", quoted(version));
        return vec![Finding::info(
            "engine-version",
            evidence,
            "compare it with the versions that img-authz help cve-2026-34040 names",
        )];
    };
    let mut found = Vec::new();
    let shown = quoted(package.unwrap_or(version));
    let is_debians = |first: &[&str]| package.is_some_and(|package| first.iter().any(|first| is_mended(package, first)));
    let unless = if package.is_none() { ", unless its distribution has fixed it" } else { "" };
    let hidden =
        |what: &str| format!("engine {shown} does not show plugins {what}{unless}; this gate refuses what it is not shown");
    if !FIXED_2024.iter().any(|(from, to)| (*from..*to).contains(&numbers)) && !is_debians(&DEBIAN_2024) {
        let evidence = hidden("the body of a chunked request (CVE-2024-41110)");
        found.push(Finding::info("cve-2024-41110", evidence, "update the engine; on Debian 12, to 20.10.24+dfsg1-1+deb12u1"));
    }
    if numbers < FIXED_2026 && !is_debians(&DEBIAN_2026) {
        let evidence = hidden("a body of 1 MiB or more (CVE-2026-34040)");
        let remedy = "update the engine to 29.3.1 or newer, or to a distribution's package with the fix";
        found.push(Finding::info("cve-2026-34040", evidence, remedy));
    }
    if found.is_empty() {
        found.push(Finding::ok("engine-version", format!("no known hole in how engine {shown} asks plugins")));
    }
    found
}

/// Whether a package of Debian is `first` or a later one of the same release of the engine. A backport has what it was made from.
fn is_mended(package: &str, first: &str) -> bool {
    let of = |package: &str| package.split_once("+dfsg").map(|(release, _)| release.to_owned());
    let backported = package.split_once("~bpo").map_or(package, |(from, _)| from);
    of(package).is_some() && of(package) == of(first) && parts(backported) >= parts(first)
}

/// A version in the order of its numbers and of the text between them.
fn parts(version: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = version;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, behind) = rest.split_at(digits);
        let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        let (number, next) = behind.split_at(end);
        parts.push((text.to_owned(), number.parse().unwrap_or_default()));
        rest = next;
    }
    parts
}

/// gRPC over cleartext HTTP/2, by what the socket did.
pub(super) fn grpc(probed: &Result<Http2, EngineError>, version: &str) -> Finding {
    let may_serve = numbers(version).is_none_or(|numbers| numbers >= GRPC_SINCE);
    match probed {
        Ok(Http2::Grpc) => Finding::critical(
            "grpc-unasked",
            "the engine's socket answers BuildKit calls over cleartext HTTP/2, and asks no plugin about them: whoever may open \
             the socket can pull, build and run anything",
            "a systemd drop-in for docker.service with [Service] and Environment=GODEBUG=http2server=0, then systemctl daemon-reload \
             and restart docker; where that cannot be set, let nobody but root open the socket, or put a proxy before it that \
             refuses the HTTP/2 preface",
        ),
        Ok(Http2::Refused | Http2::HungUp) => Finding::ok("grpc-unasked", "the engine's socket does not speak cleartext HTTP/2"),
        Ok(Http2::Rest(_)) => Finding::ok("grpc-unasked", "the engine's socket does not answer gRPC over cleartext HTTP/2"),
        Ok(Http2::Silent) => unsure("the engine's socket took a gRPC call and did not answer it", may_serve),
        Err(error) => unsure(&clean(&error.to_string()), may_serve),
    }
}

/// Whether the gate believes `HTTP2=closed`.
pub(super) fn http2_setting(probed: &Result<Http2, EngineError>, version: &str) -> Finding {
    let may_serve = numbers(version).is_none_or(|numbers| numbers >= GRPC_SINCE);
    if !may_serve || matches!(probed, Ok(Http2::Refused)) {
        return Finding::ok("http2-setting", "HTTP2=closed is set, and the engine's socket refuses HTTP/2");
    }
    Finding::warning(
        "http2-setting",
        "HTTP2=closed is set, but the engine's socket does not refuse HTTP/2: the gate does not believe the setting",
        "set GODEBUG=http2server=0 in dockerd's environment and restart it, or take HTTP2=closed away",
    )
}

fn unsure(why: &str, may_serve: bool) -> Finding {
    let evidence = format!("whether BuildKit is served unasked could not be found out: {why}");
    if may_serve {
        Finding::warning(
            "grpc-unasked",
            evidence,
            "engines from 29.2 on serve it: repeat this, or close it: img-authz help grpc-unasked",
        )
    } else {
        Finding::info("grpc-unasked", evidence, "engines before 29.2 do not serve it")
    }
}

/// The three numbers of a release, whatever stands behind them.
fn numbers(version: &str) -> Option<Numbers> {
    let version = version.strip_prefix('v').unwrap_or(version);
    let end = version.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(version.len());
    let mut parts = version.get(..end)?.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) if major > 0 => Some((major, minor, patch)),
        _ => None,
    }
}

/// The version of Debian's package `docker.io`: the engine does not tell which security update it is.
pub(super) fn debian_package(version: &str) -> Option<String> {
    if !version.contains("+dfsg") {
        return None;
    }
    let file = std::fs::File::open("/var/lib/dpkg/status").ok()?;
    package_of(BufReader::new(file.take(DPKG_BYTES)), version)
}

fn package_of(status: impl std::io::BufRead, version: &str) -> Option<String> {
    let mut is_docker = false;
    for line in status.split(b'\n') {
        let line = String::from_utf8_lossy(&line.ok()?).into_owned();
        match line.split_once(": ") {
            Some(("Package", name)) => is_docker = name == "docker.io",
            // A package of another version than the engine that runs says nothing about it.
            Some(("Version", found)) if is_docker => return found.starts_with(version).then(|| found.to_owned()),
            Some(_) | None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(version: &str, package: Option<&str>) -> Vec<&'static str> {
        holes(version, package).iter().map(|finding| finding.id).collect()
    }

    #[test]
    fn versions_have_the_holes_that_the_advisories_say() {
        let (both, newer, none) = (&["cve-2024-41110", "cve-2026-34040"][..], &["cve-2026-34040"][..], &["engine-version"][..]);
        for (version, expected) in [
            ("18.9.0", both),
            ("18.09.1", newer),
            ("19.03.15", both),
            ("20.10.24", both),
            ("20.10.28", newer),
            ("22.06.0-beta.0", both),
            ("23.0.14", both),
            ("24.0.9", both),
            ("25.0.5", both),
            ("25.0.6", newer),
            ("26.0.2", both),
            ("26.0.3", newer),
            ("26.1.4", both),
            ("26.1.5+dfsg1", newer),
            ("27.0.3", both),
            ("27.1.0", both),
            ("27.1.1", newer),
            ("28.5.2", newer),
            ("29.2.0", newer),
            ("29.3.0", newer),
            ("29.3.1", none),
            ("v29.7.2", none),
            ("30.0.0", none),
        ] {
            assert_eq!(ids(version, None), expected, "{version}");
        }
        for version in ["dev", "", "29", "29.3", "1.2.3.4", "library-import"] {
            let findings = holes(version, None);
            assert_eq!((findings.len(), findings[0].severity), (1, super::super::Severity::Info), "{version}");
        }
    }

    #[test]
    fn debians_packages_have_the_fixes_that_their_changelogs_say() {
        let (newer, none) = (&["cve-2026-34040"][..], &["engine-version"][..]);
        for (package, expected) in [
            ("26.1.5+dfsg1-9", newer),
            ("26.1.5+dfsg1-9+b12", newer),
            ("26.1.5+dfsg1-9+deb13u1", none),
            ("26.1.5+dfsg1-9+deb13u1+b4", none),
            ("26.1.5+dfsg1-9+deb13u2", none),
            ("26.1.5+dfsg1-10", none),
            ("28.5.2+dfsg4-1", newer),
            ("28.5.2+dfsg3-10", newer),
            ("28.5.2+dfsg4-2", none),
            ("28.5.2+dfsg4-5", none),
            ("28.5.2+dfsg4-2~bpo13+1", none),
            ("28.5.2+dfsg4-1~bpo13+1", newer),
            ("28.5.2-1", newer),
            ("28.6.0+dfsg1-1", newer),
        ] {
            let version = package.split_once('-').map_or(package, |(version, _)| version);
            assert_eq!(ids(version, Some(package)), expected, "{package}");
        }
        // What the package is need not be known: nothing is said for certain then.
        assert!(holes("26.1.5+dfsg1", None)[0].evidence.contains("unless"));
        assert!(!holes("26.1.5+dfsg1", Some("26.1.5+dfsg1-9"))[0].evidence.contains("unless"));
    }

    #[test]
    fn debians_security_update_has_the_fix_of_2024_and_its_first_release_has_not() {
        let version = "20.10.24+dfsg1";
        assert_eq!(ids(version, Some("20.10.24+dfsg1-1+deb12u1+b2")), ["cve-2026-34040"]);
        assert_eq!(ids(version, Some("20.10.24+dfsg1-1+b3")), ["cve-2024-41110", "cve-2026-34040"]);
        let status = |docker: &str| format!("Package: a\nVersion: 1\n\nPackage: docker.io\nStatus: x\nVersion: {docker}\n\n");
        let found = |docker: &str| package_of(status(docker).as_bytes(), version);
        assert_eq!(found("20.10.24+dfsg1-1+deb12u1").as_deref(), Some("20.10.24+dfsg1-1+deb12u1"));
        assert_eq!(found("26.1.5+dfsg1-9"), None);
        assert_eq!(package_of(&b"Package: docker.iox\nVersion: 20.10.24+dfsg1-1\n"[..], version), None);
    }

    #[test]
    fn http2_closed_is_believed_only_where_http2_is_refused() {
        use super::super::Severity::{Ok as Good, Warning};
        for (probed, version, severity) in [
            (Http2::Refused, "29.7.2", Good),
            (Http2::Grpc, "29.7.2", Warning),
            (Http2::Rest(Some(404)), "29.7.2", Warning),
            (Http2::HungUp, "29.7.2", Warning),
            (Http2::Silent, "dev", Warning),
            (Http2::Silent, "28.5.2", Good),
        ] {
            assert_eq!(http2_setting(&Ok(probed), version).severity, severity, "{probed:?} {version}");
        }
    }

    #[test]
    fn only_an_answered_grpc_call_is_critical() {
        use super::super::Severity::{Critical, Info, Ok as Good, Warning};
        for (probed, version, severity) in [
            (Http2::Grpc, "29.2.0", Critical),
            (Http2::Grpc, "20.10.24", Critical),
            (Http2::Refused, "29.7.2", Good),
            (Http2::HungUp, "29.7.2", Good),
            (Http2::Rest(Some(404)), "29.7.2", Good),
            (Http2::Silent, "29.7.2", Warning),
            (Http2::Silent, "28.5.2", Info),
            (Http2::Silent, "dev", Warning),
        ] {
            assert_eq!(grpc(&Ok(probed), version).severity, severity, "{probed:?} {version}");
        }
        let remedy = grpc(&Ok(Http2::Grpc), "29.2.0").remedy;
        assert!(remedy.find("GODEBUG=http2server=0") < remedy.find("proxy"), "{remedy}");
    }
}
