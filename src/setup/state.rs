//! What lies in the gate's state folder, by name.

/// The settings that were last in force without a fault.
pub(crate) const LAST_GOOD: &str = "settings.json";
/// Credentials and certificates as they last were good. Only its owner may read it: they are secrets.
pub(crate) const LAST_GOOD_FILES: &str = "last-good-files.json";
/// The allowlist as it last was good.
pub(crate) const LAST_GOOD_ALLOWLIST: &str = "last-good-allowlist.json";
/// What the gate that serves has in force.
pub(crate) const IN_FORCE: &str = "in-force.json";
/// What the last start had.
pub(crate) const STARTED: &str = "started.json";
/// The audit log.
pub(crate) const AUDIT_LOG: &str = "audit.jsonl";
/// The gate's figures.
pub(crate) const METRICS: &str = "metrics.prom";
/// What the monitor found, did and waits for.
pub(crate) const MONITOR: &str = "monitor.json";
/// Images that arrived, and what is weak about them.
pub(crate) const ARRIVED: &str = "arrived.json";
/// What the operator lets it do beyond its brakes.
pub(crate) const MONITOR_APPROVED: &str = "monitor-approved.json";
/// The socket at which the gate says how it is doing.
pub(crate) const STATUS_SOCKET: &str = "status.sock";
/// The token of the page.
pub(crate) const WEB_TOKEN: &str = "web-token";
/// The records of approvals.
pub(crate) const APPROVALS: &str = "approvals.jsonl";
/// Renames under way.
pub(crate) const RENAMES: &str = "renames.json";
/// What was told of exceptions, and the latest time that was seen.
pub(crate) const EXCEPTIONS: &str = "exceptions.json";
/// The plugins that may be enabled.
pub(crate) const PLUGINS: &str = "plugins.json";
/// The folder in which a candidate for the policy keeps its own trust data.
pub(crate) const SHADOW: &str = "shadow";
/// The folder of signatures that verified.
pub(crate) const EVIDENCE: &str = "evidence";
/// The folder of which report of a scan was the newest.
pub(crate) const NEWEST: &str = "newest";
/// The folder of lists of revoked certificates that were fetched.
pub(crate) const CRLS: &str = "crls";
/// The folder of verified trust data.
pub(crate) const TRUST: &str = "trust";
/// What is hashed before the values that the record hides.
pub(crate) const RECORD_SALT: &str = "record.salt";
