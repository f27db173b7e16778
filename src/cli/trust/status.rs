//! `trust status`: all that is kept, and whether somebody has to do something about it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::table::{second, table};
use super::{Stop, kept, to_json, unread};
use crate::cli::{NO, YES};
use crate::clock;
use crate::policy::{Resolved, Settings};
use crate::setup;
use crate::text::clean;
use crate::trust::VerifierName;
use crate::trust::cosign;
use crate::trust::evidence::{self, Record};
use crate::trust::notary::{OnOutage, RepositoryStatus, Source};

#[derive(Args)]
pub(super) struct Status {
    /// Which Notary verifier of the policy file (default: the first)
    #[arg(long, value_name = "NAME")]
    pub(super) verifier: Option<VerifierName>,
    /// Folder for verified trust data (default: the gate's)
    #[arg(long, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// All that is kept, and whether somebody has to do something about it.
pub(super) async fn status(arguments: &Status, settings: &Settings, out_since: Option<Timestamp>) -> Result<(String, u8), Stop> {
    // Nobody is asked; where bundles are carried here, nobody renews them either.
    let source = if settings.is_import() { Source::Import } else { setup::DEFAULT_SERVER.into() };
    let notary = setup::notary_of_folder(settings, arguments.verifier.as_ref(), arguments.state.as_deref(), source)?;
    let (statuses, now) = (notary.statuses().await, clock::now());
    let limit = settings.stale_limit(Some(&Source::Import)).ok().filter(|_| settings.is_import());
    let is_outdated = |status: &RepositoryStatus| limit.is_some_and(|limit| status.is_outdated(limit, now));
    let is_finding =
        |status: &RepositoryStatus| status.fault.is_some() || is_outdated(status) || status.soon(now).next().is_some();
    let outage = out_since.map(|since| Outage::of(since, settings));
    // A folder that was named is that of one verifier.
    let folder = arguments.state.is_none().then(|| setup::evidence_folder(settings));
    let records = folder.map(|folder| evidence::all(&folder).map_err(|error| unread(&folder, &error))).transpose()?;
    let records = records.unwrap_or_default();
    let code = if statuses.iter().any(is_finding) || outage.is_some() { NO } else { YES };
    if arguments.json {
        let told = statuses.iter().map(|status| {
            let mut told = serde_json::to_value(status).map_err(|error| Stop::Unknown(error.to_string()))?;
            if let (Some(outage), Some(told)) = (&outage, told.as_object_mut()) {
                told.insert("out_of_reach_since".to_owned(), json!(outage.since));
                told.insert("usable_until".to_owned(), json!(outage.until(status)));
            }
            Ok(told)
        });
        let told = told.chain(records.iter().map(|record| Ok(kept(record))));
        return Ok((to_json(&told.collect::<Result<Vec<_>, Stop>>()?)?, code));
    }
    let rows = statuses.iter().map(|status| {
        let state = match (&status.fault, status.soon(now).next()) {
            (Some(fault), _) => format!("refused ({}): {}", status.code.unwrap_or_default(), clean(fault)),
            (None, _) if is_outdated(status) => "expired: checked longer ago than STALE_LIMIT".to_owned(),
            (None, Some(soon)) if soon.expires <= now => format!("expired: {}", soon.role),
            (None, Some(soon)) => format!("expires soon: {}", soon.role),
            (None, None) => match &outage {
                Some(outage) => outage.state(status, now),
                None if status.is_ahead(now) => {
                    format!("good, but this host's clock went back: dates count from {}", second(status.seen))
                }
                None => "good".to_owned(),
            },
        };
        let first = status.first();
        let (role, expires) = first.map_or_else(Default::default, |first| (first.role.clone(), second(first.expires)));
        vec![clean(&status.repository), expires, role, second(status.checked), state]
    });
    let mut text = table(&["REPOSITORY", "EXPIRES", "EXPIRES FIRST", "CHECKED", "STATE"], rows);
    if let Some(outage) = outage.filter(|_| !text.is_empty()) {
        text.push_str(&format!("\nthe gate cannot reach the Notary server since {}: pulls are refused", second(outage.since)));
    }
    if !records.is_empty() {
        let row = |record: &Record| {
            let Record { key, found, asked, .. } = record;
            let names = [key.repository.to_string(), key.digest.to_string(), key.verifier.to_string()];
            let by = cosign::claims(record).unwrap_or_else(|| "a key".to_owned());
            names.into_iter().chain([second(*found), checked(*asked), by]).collect()
        };
        let kept = table(&["REPOSITORY", "SIGNED", "VERIFIER", "KEPT SINCE", "CHECKED", "BY"], records.iter().map(row));
        text = format!("{}\n\n{kept}", text.trim_end());
    }
    Ok((if text.is_empty() { "no repository is known here".to_owned() } else { text.trim().to_owned() }, code))
}

/// When a registry last gave it: what was carried here none did.
fn checked(asked: Timestamp) -> String {
    if asked == Timestamp::UNIX_EPOCH { "never".to_owned() } else { second(asked) }
}

/// A server that the gate of this host cannot reach.
struct Outage {
    since: Timestamp,
    /// For how long what is known counts meanwhile; nothing where it does not.
    limit: Option<Duration>,
}

impl Outage {
    fn of(since: Timestamp, settings: &Settings) -> Self {
        // Faulty settings are not in force; the gate's are not at fault.
        let resolved = settings.resolve(false).ok();
        let written = resolved.iter().flat_map(Resolved::notaries).map(|(_, written)| written).next();
        let limit = written.filter(|written| written.on_outage == OnOutage::UseKnown).map(|written| written.stale_limit);
        Self { since, limit }
    }

    fn until(&self, status: &RepositoryStatus) -> Option<Timestamp> {
        status.usable_until(self.limit?)
    }

    fn state(&self, status: &RepositoryStatus, now: Timestamp) -> String {
        match self.until(status) {
            None => "refused: the Notary server is out of reach, and ON_OUTAGE is deny".to_owned(),
            Some(until) if until <= now => {
                format!("refused: the Notary server is out of reach, and it counted until {}", second(until))
            }
            Some(until) => format!("starts only, until {}: the Notary server is out of reach", second(until)),
        }
    }
}
