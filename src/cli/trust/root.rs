//! `trust root`: what a trusted root of Sigstore trusts, and whether it is still up to date.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::table::{second, table};
use super::{Stop, to_json, unread};
use crate::cli::{NO, YES};
use crate::files::read_bytes;
use crate::text::clean;
use crate::trust::sigstore::{Authority, Log, ROOT_BYTES, TrustedRoot, Window};

/// Logs come yearly: without one of the last twelve months a root does not know where new signatures are.
const YOUNG: SignedDuration = SignedDuration::from_hours(24 * 365);
/// How long before its end something is told.
const SOON: SignedDuration = SignedDuration::from_hours(24 * 90);

#[derive(Args)]
pub(super) struct Root {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show its logs and authorities, and when they count
    Show(File),
    /// The same, with what has to be done: exit code 2 if there is anything
    Check(File),
}

#[derive(Args)]
struct File {
    /// The trusted root (`trusted_root.json`)
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Root {
    const fn file(&self) -> &File {
        match &self.command {
            Command::Show(file) | Command::Check(file) => file,
        }
    }

    pub(super) const fn is_json(&self) -> bool {
        self.file().json
    }
}

/// What it trusts; the exit code says whether something has to be done.
pub(super) fn root(arguments: &Root, now: Timestamp) -> Result<(String, u8), Stop> {
    let File { file, json } = arguments.file();
    let bytes = read_bytes(file, ROOT_BYTES as u64).map_err(|error| unread(file, &error))?;
    let text = String::from_utf8(bytes).map_err(|_| Stop::Unknown(format!("`{}` is not text", file.display())))?;
    let root = TrustedRoot::read(&text).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(|fault| clean(fault)).collect();
        Stop::Unknown(format!("`{}`: {}", file.display(), faults.join("; ")))
    })?;
    let findings = findings(&root, now);
    let code = match arguments.command {
        Command::Check(_) if !findings.is_empty() => NO,
        Command::Check(_) | Command::Show(_) => YES,
    };
    if *json {
        let logs = |logs: &[Log], is_versioned: bool| logs.iter().map(|log| log_json(log, is_versioned)).collect::<Vec<_>>();
        let authorities = |authorities: &[Authority]| authorities.iter().map(authority_json).collect::<Vec<_>>();
        let told = json!({
            "logs": logs(&root.logs, true),
            "certificate_authorities": authorities(&root.authorities),
            "certificate_logs": logs(&root.ct_logs, false),
            "timestamp_authorities": authorities(&root.stampers),
            "findings": findings,
        });
        return Ok((to_json(&told)?, code));
    }
    let until = |end: Option<Timestamp>| end.map_or_else(|| "-".to_owned(), second);
    let of_log = |kind: String, log: &Log| {
        vec![kind, clean(&log.url), second(log.window.start), until(log.window.end), format!("id {}", log.id_text())]
    };
    let of_authority = |kind: &str, authority: &Authority| {
        let certificates = match (authority.certificates(), authority.until()) {
            (1, Some(until)) => format!("its certificate ends {}", second(until)),
            (count, Some(until)) => format!("{count} certificates, the first ends {}", second(until)),
            (_, None) => String::new(),
        };
        let Window { start, end } = authority.window;
        vec![kind.to_owned(), clean(&authority.url), second(start), until(end), certificates]
    };
    let rows = root.logs.iter().map(|log| of_log(format!("log v{}", log.version()), log));
    let rows = rows.chain(root.authorities.iter().map(|authority| of_authority("certificates", authority)));
    let rows = rows.chain(root.ct_logs.iter().map(|log| of_log("log of certificates".to_owned(), log)));
    let rows = rows.chain(root.stampers.iter().map(|authority| of_authority("timestamps", authority)));
    let mut text = table(&["TRUSTS", "AT", "FROM", "UNTIL", "BY"], rows).trim().to_owned();
    for finding in &findings {
        text.push_str(&format!("\n\n{finding}"));
    }
    Ok((text, code))
}

/// What somebody has to see to.
fn findings(root: &TrustedRoot, now: Timestamp) -> Vec<String> {
    const RENEW: &str = "make a new one: cosign trusted-root create --with-default-services --out FILE";
    let mut findings = Vec::new();
    if let Some(lacks) = root.lacks() {
        findings.push(format!("it has {lacks}: `identities` cannot be proven by it, keys can"));
    }
    let age = |at: Timestamp| now.duration_since(at);
    if let Some(youngest) = root.youngest().filter(|youngest| age(*youngest) > YOUNG) {
        findings.push(format!(
            "its youngest log is from {}, more than a year ago: new signatures may be in logs that it does not know; {RENEW}",
            second(youngest)
        ));
    }
    if !root.logs.iter().any(|log| log.window.covers(now)) {
        findings.push(format!("none of its logs is in use now: what is signed from now on does not count; {RENEW}"));
    }
    let kinds = [("certificates", &root.authorities), ("timestamps", &root.stampers)];
    for (kind, authorities) in kinds.into_iter().filter(|(_, authorities)| !authorities.is_empty()) {
        let ends = |authority: &Authority| authority.until().into_iter().chain(authority.window.end).min();
        let in_use = authorities.iter().filter(|authority| authority.window.start <= now);
        // What is replaced already need not be renewed.
        let last = in_use.map(|authority| ends(authority).unwrap_or(Timestamp::MAX)).max();
        match last {
            Some(last) if last <= now => {
                findings.push(format!("its last authority for {kind} has ended {}; {RENEW}", second(last)));
            }
            Some(last) if last.duration_since(now) <= SOON => {
                findings.push(format!("its last authority for {kind} ends {}; {RENEW}", second(last)));
            }
            Some(_) => {}
            None => findings.push(format!("none of its authorities for {kind} is in use yet")),
        }
    }
    findings
}

fn log_json(log: &Log, is_versioned: bool) -> Value {
    let mut told = json!({ "url": log.url, "id": log.id_text(), "from": log.window.start, "until": log.window.end });
    if is_versioned && let Some(told) = told.as_object_mut() {
        told.insert("version".to_owned(), json!(log.version()));
    }
    told
}

fn authority_json(authority: &Authority) -> Value {
    json!({
        "url": authority.url,
        "from": authority.window.start,
        "until": authority.window.end,
        "certificates": authority.certificates(),
        "certificates_until": authority.until(),
    })
}
