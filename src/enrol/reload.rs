//! dockerd reads its file again, and it is seen whether it acts so.

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::dockerd;
use super::file::{Before, shown};
use super::{Change, Outcome, State, Trouble};
use crate::doctor::{Finding, Standing};
use crate::engine::Engine;
use crate::policy::Settings;

/// How long dockerd may take with a reload. It tries a plugin that does not answer for 15 seconds.
const RELOAD: Duration = Duration::from_secs(20);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(200);

/// Who is to act how, and whom to ask whether they do.
pub(super) struct Chain<'a> {
    pub(super) change: Change,
    pub(super) standing: &'a Standing,
    pub(super) engine: &'a Engine,
    pub(super) settings: &'a Settings,
}

/// What is seen of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// They act as was wished.
    So,
    /// They do not.
    NotSo,
    /// Another plugin answers first, or dockerd does not.
    Unknown,
}

impl Chain<'_> {
    async fn look(&self) -> Seen {
        let found = self.standing.asked(self.engine, self.settings).await;
        let is = |ids: &[&str]| found.iter().any(|finding| ids.contains(&finding.id));
        let is_asked = is(&["in-chain", "gate-without-engine", "gate-without-policy", "mode-permissive"]);
        match self.change {
            Change::Enable if is_asked => Seen::So,
            Change::Disable if is_asked || is(&["gate-not-answering"]) => Seen::NotSo,
            Change::Enable if is(&["not-in-chain", "gate-not-answering"]) => Seen::NotSo,
            Change::Disable if is(&["not-in-chain"]) => Seen::So,
            Change::Enable | Change::Disable => Seen::Unknown,
        }
    }
}

/// What else the file names that would end dockerd at a reload.
pub(super) fn would_end(standing: &Standing) -> Option<&Finding> {
    standing.findings.iter().find(|finding| finding.id == "daemon-json-plugin")
}

pub(super) fn not_told(other: &Finding) -> String {
    format!("dockerd was not told to read the file, since that would end it: {}", other.evidence)
}

impl Outcome {
    /// Has dockerd read the file, and looks whether it acts so.
    pub(super) async fn reload(&mut self, chain: &Chain<'_>, put_back: Option<(&Before, &str)>) {
        let standing = chain.standing;
        let Some(process) = &standing.process else {
            match chain.look().await {
                Seen::So => self.state = State::Done,
                Seen::NotSo => {
                    self.state = State::NotInForce;
                    let evidence = "dockerd runs, and was not told to read the file, since its process was not found";
                    self.troubles.push(Trouble::new(evidence.to_owned(), "systemctl reload docker"));
                }
                Seen::Unknown => {
                    self.notes.push("dockerd does not run, or was not found: the file counts from its next start on".to_owned());
                }
            }
            return;
        };
        if !self.changed && chain.look().await == Seen::So {
            self.state = State::Done;
            return;
        }
        self.state = State::NotInForce;
        if let Some(other) = would_end(standing) {
            self.troubles.push(Trouble::new(not_told(other), &other.remedy));
            return;
        }
        if let Err(error) = dockerd::reload(process) {
            self.troubles.push(Trouble::new(format!("dockerd could not be signalled: {error}"), "systemctl reload docker"));
            return;
        }
        self.reloaded = true;
        let end = Instant::now() + RELOAD;
        let mut seen = Seen::Unknown;
        while Instant::now() < end {
            tokio::time::sleep(LOOK).await;
            if !dockerd::runs(process) {
                self.ended(&standing.path, put_back);
                return;
            }
            seen = chain.look().await;
            if seen == Seen::So {
                self.state = State::Done;
                return;
            }
        }
        if seen == Seen::Unknown {
            self.state = State::Written;
            self.notes.push(
                "dockerd was told to read the file; whether it asks the gate cannot be seen, since another answers first"
                    .to_owned(),
            );
            return;
        }
        let asks = if chain.change == Change::Enable { "does not ask the gate" } else { "still asks the gate" };
        self.troubles.push(Trouble::new(
            format!("{} s after its reload dockerd {asks}", RELOAD.as_secs()),
            "journalctl -u docker says why; img-authz doctor looks for more",
        ));
    }

    /// dockerd is gone: with the file as it was it starts again.
    fn ended(&mut self, path: &Path, put_back: Option<(&Before, &str)>) {
        let evidence = match put_back.map(|(before, written)| before.put_back(path, written)) {
            None => "dockerd ended at its reload".to_owned(),
            Some(Ok(())) => {
                self.changed = false;
                format!("dockerd ended at its reload; {} is as it was", shown(path))
            }
            Some(Err(error)) => format!("dockerd ended at its reload, and {} could not be put back: {error}", shown(path)),
        };
        self.troubles.push(Trouble::new(
            evidence,
            "systemctl reset-failed docker; systemctl start docker; journalctl -u docker says why it ended",
        ));
    }
}
