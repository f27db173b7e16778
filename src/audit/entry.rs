//! One line of the audit log.

use jiff::Timestamp;
use serde::Serialize;

/// Longest request target, user or image text kept, in characters.
const TEXT_CHARS: usize = 512;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Event {
    /// A call may pass.
    Allowed,
    /// A call was refused (or, in mode `permissive`, would have been: see `enforced`).
    Blocked,
    /// A container was created by an allowed call.
    Created,
    /// An allowed pull brought other content than the name was vouched for. It cannot start.
    Mismatch,
    /// A container that was not the one judged was started and has been killed.
    Killed,
    /// Somebody changed what is approved or known, by a command: the allowlist, trust data.
    Changed,
    /// `doctor` asked whether dockerd asks the gate: a start of no container, which is refused.
    Probe,
    /// The gate itself is touched: settings, reload, its plugin.
    Gate,
    /// A container runs that the gate would refuse to start now.
    Unapproved,
    /// Such a container was stopped by the monitor.
    Stopped,
    /// And removed.
    Removed,
    /// The monitor would stop some and does not, or could not.
    Held,
    /// An image arrived, and what is weak about it was looked for.
    Audited,
    /// A candidate for the policy would refuse what passed.
    #[serde(rename = "WOULD-DENY")]
    WouldDeny,
    /// A candidate for the policy would let pass what was refused.
    #[serde(rename = "WOULD-ALLOW")]
    WouldAllow,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Allowed,
        Self::Blocked,
        Self::Created,
        Self::Mismatch,
        Self::Killed,
        Self::Changed,
        Self::Probe,
        Self::Gate,
        Self::Unapproved,
        Self::Stopped,
        Self::Removed,
        Self::Held,
        Self::Audited,
        Self::WouldDeny,
        Self::WouldAllow,
    ];

    /// As it is in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "ALLOWED",
            Self::Blocked => "BLOCKED",
            Self::Created => "CREATED",
            Self::Mismatch => "MISMATCH",
            Self::Killed => "KILLED",
            Self::Changed => "CHANGED",
            Self::Probe => "PROBE",
            Self::Gate => "GATE",
            Self::Unapproved => "UNAPPROVED",
            Self::Stopped => "STOPPED",
            Self::Removed => "REMOVED",
            Self::Held => "HELD",
            Self::Audited => "AUDITED",
            Self::WouldDeny => "WOULD-DENY",
            Self::WouldAllow => "WOULD-ALLOW",
        }
    }
}

/// One entry. Empty fields are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// When, UTC.
    pub timestamp: Timestamp,
    /// What happened.
    pub event: Event,
    /// Number of the decision since the gate started, with the gate's start time: unique on this host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub decision_id: String,
    /// Client certificate's CN; empty without one, and of one without a CN.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// HTTP method.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Request target as sent, bounded.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// What the call would do (`pull`, `create`, `start` …).
    #[serde(skip_serializing_if = "str::is_empty")]
    pub action: &'static str,
    /// What the call is called where users are given rights (`container_start` …), where they are.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub right: &'static str,
    /// The container, where one is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container_id: String,
    /// What that container is called.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container_name: String,
    /// The image that container was asked for with. No evidence of anything.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container_image: String,
    /// The image as named.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// The image's id on the host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image_id: String,
    /// The digest vouched for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Who vouched.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verifiers: Vec<crate::trust::VerifierName>,
    /// Who signed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<String>,
    /// Rules that are not kept, by id: those that refuse, those with level `warn`; of an image that was audited, those of the audit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<&'static str>,
    /// What rules with level `warn` found, one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Exceptions without which it would not have passed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<crate::policy::ExceptionUse>,
    /// Notary was out of reach: when the trust data that the yes rests on was last checked with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_since: Option<Timestamp>,
    /// And until when it may be used without that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale_until: Option<Timestamp>,
    /// The refusal's code.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub code: &'static str,
    /// What the candidate's refusal is called, where one was judged beside the policy in force.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub shadow_code: &'static str,
    /// The refusal's line, or what else there is to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Whether a refusal was carried out (`false` in mode `permissive`).
    pub enforced: bool,
    /// How long the decision took, in microseconds.
    pub duration_us: u64,
    /// Who changed something, by the kernel's word: the user that logged in, whoever they have become since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub login_uid: Option<u32>,
    /// The same by the word of `sudo`, which root can make up.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sudo_user: String,
    /// The gate's version, at its start.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub version: &'static str,
    /// The mode in force, at its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<crate::policy::Mode>,
    /// The posture in force, at its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posture: Option<crate::policy::Posture>,
    /// Hash of the settings, at its start.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub settings: String,
    /// What differs from the start before, one setting each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// For how many refusals or calls this line stands. One says nothing of it.
    #[serde(skip_serializing_if = "is_one")]
    pub count: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it skips so")]
const fn is_one(count: &u64) -> bool {
    *count == 1
}

impl Entry {
    /// An entry with a time and an event, all else empty.
    #[must_use]
    pub fn new(timestamp: Timestamp, event: Event) -> Self {
        Self {
            timestamp,
            event,
            decision_id: String::new(),
            user: String::new(),
            method: String::new(),
            path: String::new(),
            action: "",
            right: "",
            container_id: String::new(),
            container_name: String::new(),
            container_image: String::new(),
            image: String::new(),
            image_id: String::new(),
            digest: String::new(),
            verifiers: Vec::new(),
            signers: Vec::new(),
            rules: Vec::new(),
            warnings: Vec::new(),
            exceptions: Vec::new(),
            stale_since: None,
            stale_until: None,
            code: "",
            shadow_code: "",
            message: String::new(),
            enforced: true,
            duration_us: 0,
            login_uid: None,
            sudo_user: String::new(),
            version: "",
            mode: None,
            posture: None,
            settings: String::new(),
            changed: Vec::new(),
            count: 1,
        }
    }

    /// Whether it is a call to a plugin, the gate's own or another, that was let pass. Clients make these at will.
    pub(super) fn is_plugin_call(&self) -> bool {
        match self.event {
            Event::Gate => !self.action.is_empty(),
            Event::Allowed => self.action.starts_with("plugin-"),
            Event::Killed
            | Event::Mismatch
            | Event::Changed
            | Event::Blocked
            | Event::Created
            | Event::Probe
            | Event::Unapproved
            | Event::Stopped
            | Event::Removed
            | Event::Held
            | Event::Audited
            | Event::WouldDeny
            | Event::WouldAllow => false,
        }
    }

    /// Whether this also goes where no flood of calls can push it out.
    pub(super) fn is_notable(&self) -> bool {
        match self.event {
            Event::Killed | Event::Mismatch | Event::Changed => true,
            // The monitor bounds how many of these there are.
            Event::Unapproved | Event::Stopped | Event::Removed | Event::Held => true,
            Event::Gate => !self.is_plugin_call(),
            Event::Allowed | Event::Blocked | Event::Created | Event::Probe => false,
            Event::Audited | Event::WouldDeny | Event::WouldAllow => false,
        }
    }

    /// Foreign text for the log: escaped, and bounded.
    #[must_use]
    pub fn text(text: &str) -> String {
        crate::text::fit(text, TEXT_CHARS)
    }
}
