//! What keeps a gate that serves in step with its settings and files: the self-check at its start, then reloads.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{audit_arrivals, beat, shadow, stats, watch_containers};
use crate::audit::Recorded;
use crate::doctor;
use crate::gate::Gate;
use crate::monitor::Believed;
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
    let figures = setup::telemetry(&settings, &tokio::runtime::Handle::current());
    tokio::spawn(stats::write(Arc::clone(&gate), settings.state_dir(), figures));
    tokio::spawn(shadow::watch(Arc::downgrade(&gate), settings.clone()));
    audit_arrivals(&gate, &settings);
    let told = watch_containers(&gate, &settings, &mut kept);
    keep_up(&gate, &settings, kept, Some(teller), told).await;
}

/// Reloads, for as long as the process runs. What is in force is told each second where it is another.
pub(super) async fn keep_up(
    gate: &Gate,
    settings: &Settings,
    mut kept: setup::Kept,
    mut teller: Option<Teller>,
    told: Option<watch::Sender<Believed>>,
) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    let mut listed = is_listed(settings);
    let mut look = tokio::time::interval(LOOK);
    loop {
        let why = tokio::select! {
            _ = hangup.recv() => "SIGHUP",
            // One that is gone again changes nothing: its last good content holds.
            _ = look.tick() => {
                kept.look();
                kept.news().iter().for_each(|news| gate.note(news));
                say(gate, &mut kept, teller.as_mut(), told.as_ref());
                gate.tell_exceptions();
                match (!listed && is_listed(settings), kept.is_worth_a_look()) {
                    (true, _) => "an allowlist appeared",
                    (false, true) => "a file has changed",
                    (false, false) => continue,
                }
            }
        };
        listed |= is_listed(settings);
        let (rules, is_good) = setup::rules(settings, &mut kept);
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
        if let Some(teller) = &mut teller {
            teller.read_again();
        }
        say(gate, &mut kept, teller.as_mut(), told.as_ref());
    }
}

/// Tells those who look from outside, and the monitor, what is in force.
fn say(gate: &Gate, kept: &mut setup::Kept, teller: Option<&mut Teller>, told: Option<&watch::Sender<Believed>>) {
    if let Some(teller) = teller {
        teller.tell(gate, kept);
    }
    if let Some(told) = told {
        let now = believed(kept);
        told.send_if_modified(|before| std::mem::replace(before, now) != now);
    }
}

/// What the monitor goes by.
pub(super) fn believed(kept: &mut setup::Kept) -> Believed {
    Believed { fingerprint: kept.fingerprint(), is_sound: kept.is_sound() }
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
