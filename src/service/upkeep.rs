//! What keeps a gate that serves in step with its settings and files: the self-check at its start, then reloads.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{beat, stats};
use crate::audit::Recorded;
use crate::doctor;
use crate::gate::Gate;
use crate::policy::{AllowlistSetting, Settings};
use crate::setup::{self, Started, Teller};

/// How often the gate looks whether an allowlist has appeared.
const LOOK: Duration = Duration::from_secs(1);

/// The self-check, then reloads: on SIGHUP, when the policy file or one that it names changes, and when an allowlist appears where none
/// was.
pub(super) async fn look_after(gate: Arc<Gate>, settings: Settings, mut kept: setup::Kept, mut teller: Teller) {
    teller.tell(&gate, &kept);
    let (start, state) = (Started::of(&settings), settings.state_dir());
    if gate.note_start(start.entry(&state)) == Recorded::Kept {
        start.remember(&state);
    }
    let policy = of_policy(&kept);
    if !policy.is_empty() {
        gate.note(policy.trim_start_matches("; "));
    }
    if let Some(faults) = kept.reading().told() {
        gate.note(&faults);
    }
    let own = settings.clone();
    tokio::spawn(async move { doctor::log_own(&own).await });
    tokio::spawn(beat::beat(Arc::clone(&gate), setup::daemon_file(&settings)));
    tokio::spawn(stats::write(Arc::clone(&gate), settings.state_dir()));
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    let mut listed = is_listed(&settings);
    let mut look = tokio::time::interval(LOOK);
    loop {
        let why = tokio::select! {
            _ = hangup.recv() => "SIGHUP",
            // One that is gone again changes nothing: its last good content holds.
            _ = look.tick() => {
                kept.look();
                teller.tell(&gate, &kept);
                gate.tell_exceptions();
                match (!listed && is_listed(&settings), kept.is_worth_a_look()) {
                    (true, _) => "an allowlist appeared",
                    (false, true) => "a file has changed",
                    (false, false) => continue,
                }
            }
        };
        listed |= is_listed(&settings);
        let (rules, is_good) = setup::rules(&settings, &mut kept);
        gate.settings_hold(is_good);
        if gate.replace(rules) {
            if let Some(in_force) = &kept.reading().in_force {
                gate.talks_to(setup::own(in_force));
            }
            gate.note(&format!("settings and files were read again: {why}{}", of_policy(&kept)));
            if let Some(faults) = kept.reading().told() {
                gate.note(&faults);
            }
            tracing::info!(why, "settings and files were read again");
        } else {
            gate.note(&format!("settings or files are faulty, the rules before stay in force: {why}"));
            tracing::error!(why, "settings or files are faulty: the rules before stay in force");
        }
        teller.read_again();
        teller.tell(&gate, &kept);
    }
}

/// Which policy file is in force, for the record: by its text.
fn of_policy(kept: &setup::Kept) -> String {
    let file = kept.reading().in_force.as_ref().and_then(Settings::policy_file);
    file.map(|file| format!("; the policy is `{}`, {}", file.path().display(), file.digest())).unwrap_or_default()
}

/// Whether the default allowlist is there.
fn is_listed(settings: &Settings) -> bool {
    match settings.allowlist() {
        AllowlistSetting::IfPresent(path) => path.exists(),
        AllowlistSetting::Off | AllowlistSetting::Required(_) => false,
    }
}
