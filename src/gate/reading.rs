//! What the daemon posts, read: a call and what it would do, as the engine takes it; and which calls are the gate's own.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::process::{Found, Served};
use super::{Gate, Rules, identity};
use crate::engine::{CALL_HEADER, Engine, Http2, STOP};
use crate::policy::Posture;
use crate::request::{Cgroupns, Intent, Manner, Transport, Unreadable};
use crate::wire::{Call, CallError, NoEnd};

impl Gate {
    /// Reads what the daemon posted to `AuthZReq`. Plain and without waiting: large posts are read off the serving thread.
    pub fn read(posted: &[u8], manner: impl Into<Manner>) -> Result<(Call, Intent), CallError> {
        let call = Call::decode(posted)?;
        let intent = Intent::over(&call, manner);
        Ok((call, intent))
    }

    /// Reads what the daemon posted to `AuthZRes`, as far as it is there.
    pub fn read_end(posted: &[u8]) -> Result<Call, NoEnd> {
        // Nothing that reads has an end that means anything, and its answer may be large (`docker ps`).
        Call::decode_end(posted, |method| !matches!(method, "GET" | "HEAD" | "OPTIONS"))
    }

    /// What the engine makes of a call that comes now, as far as the call does not show it; for [`Gate::read`]. What is not known is
    /// taken for the worse.
    #[must_use]
    pub fn manner(&self) -> Manner {
        let unknown = Manner { transport: Transport::MaybeHttp2, cgroupns: Cgroupns::HostBefore141 };
        self.process.known().map_or(unknown, |found| manner_of(&self.rules.load(), found))
    }

    /// Whether the meaning of a call that came before the gate knew the engine hangs on that: of one that could hide a form over HTTP/2,
    /// and over HTTP/1 could not; and, in posture `lockdown`, of a create.
    pub(super) fn hangs_on_engine(&self, intent: &Intent) -> bool {
        let hangs_on_default =
            || matches!(intent, Intent::Create(_)) && self.posture() == Posture::Lockdown && self.process.known().is_none();
        *intent == Intent::Unreadable(Unreadable::MaybeForm) || hangs_on_default()
    }

    /// A call whose meaning hangs on what the gate knows of the engine is read again once it knows that.
    pub(super) async fn read_again(&self, rules: &Rules, call: &Call, intent: Intent, began: Instant) -> Intent {
        let Some(found) = self.process.known_or_look(&*self.engine, began + self.limits.look).await else { return intent };
        Intent::over(call, manner_of(rules, found))
    }

    /// Whether this is the gate's own look at the engine; counted.
    pub(super) fn is_own(&self, call: &Call) -> bool {
        let is_own = Engine::is_own(call.header(CALL_HEADER));
        self.own_calls.fetch_add(u64::from(is_own), Ordering::Relaxed);
        is_own
    }
}

/// What an engine of which this is known makes of a call.
fn manner_of(rules: &Rules, found: Found) -> Manner {
    let transport = match found.served {
        Served::Never => Transport::Http1,
        Served::Asked(Http2::Refused) if rules.says_closed() => Transport::Http1,
        Served::Asked(_) => Transport::MaybeHttp2,
    };
    Manner { transport, cgroupns: found.cgroupns }
}

/// Whether this is a call that the gate makes: it reads; and it kills, stops and removes by full id, in the very words that it uses.
/// The mark passes nothing else, should it ever get into other hands.
pub(super) fn is_ours(call: &Call, intent: &Intent) -> bool {
    let is_ended = |end: &str| is_about_container(&call.uri, end);
    match call.method.as_str() {
        // Not `attach/ws`, which drives a container.
        "GET" | "HEAD" => *intent == Intent::Read,
        "POST" => *intent == Intent::Harmless && (is_ended("/kill") || is_ended(STOP)),
        // Without a query: volumes stay, and what runs is not removed.
        "DELETE" => matches!(intent, Intent::Remove { .. }) && is_ended(""),
        _ => false,
    }
}

/// Whether the whole target, as it was sent, is `/containers/ID` with this end, under an API version or none: nothing before it, nothing
/// escaped, no query but the end's own.
fn is_about_container(target: &str, end: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unversioned = target.strip_prefix("/v").and_then(|rest| {
        let (version, path) = rest.split_once("/containers/")?;
        let (major, minor) = version.split_once('.')?;
        (digits(major) && digits(minor)).then_some(path)
    });
    let path = unversioned.or_else(|| target.strip_prefix("/containers/"));
    path.and_then(|path| path.strip_suffix(end)).is_some_and(identity::is_full_id)
}
