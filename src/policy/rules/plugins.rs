//! Docker plugins: they run as root with what their configuration says.

use super::{Facts, Policy, Reason, Request, Rule};
use crate::image::Reference;
use crate::policy::{PluginFacts, Posture};
use crate::request::{Intent, PluginCall, PluginChange};

#[derive(Debug)]
pub(super) struct Plugins;

impl Rule for Plugins {
    fn id(&self) -> &'static str {
        "plugins"
    }

    /// Whether a call is about this very plugin is a fact.
    fn forbids(&self, _: &Policy, _: &Request<'_>) -> Option<Reason> {
        None
    }

    fn refuses(&self, policy: &Policy, request: &Request<'_>, facts: &Facts) -> Option<Reason> {
        let Intent::Plugin(call) = request.intent else { return None };
        let refuse_self = |what: String| Some(Reason::SelfProtect { what });
        match (call, policy.posture) {
            // A plugin of the gate's own name would shadow it at the daemon's next start: refused in every posture.
            (PluginCall::Create { name }, _) if facts.about_self => refuse_self(format!("plugin create {name}")),
            (PluginCall::Pull { remote, .. }, _) if facts.about_self => refuse_self(format!("plugin install {remote}")),
            (PluginCall::Upgrade { plugin, .. }, _) if facts.about_self => refuse_self(format!("plugin upgrade {plugin}")),
            // It would take the audit log with it, and the daemon refuses every call until it is out of daemon.json.
            (PluginCall::Change { plugin, change: change @ PluginChange::RemoveByForce }, Posture::Images)
                if facts.about_self =>
            {
                refuse_self(format!("plugin {} {plugin}", verb(*change)))
            }
            (PluginCall::Change { plugin, change }, Posture::Lockdown) if facts.about_self => {
                refuse_self(format!("plugin {} {plugin}", verb(*change)))
            }
            (PluginCall::Change { change, .. }, Posture::Lockdown) => {
                Some(Reason::PostureForbids { what: format!("plugin {}", verb(*change)) })
            }
            (PluginCall::Create { .. } | PluginCall::Pull { .. } | PluginCall::Upgrade { .. }, Posture::Lockdown) => {
                Some(Reason::PostureForbids { what: "installing a plugin".to_owned() })
            }
            (PluginCall::Change { plugin, change: PluginChange::Enable }, Posture::Images) => {
                unapproved(policy, plugin, facts.plugin.as_ref())
            }
            (
                PluginCall::Change {
                    change: PluginChange::Disable | PluginChange::Set | PluginChange::Remove | PluginChange::RemoveByForce,
                    ..
                }
                | PluginCall::Create { .. },
                Posture::Images,
            ) => None,
            (PluginCall::Pull { remote, .. } | PluginCall::Upgrade { remote, .. }, Posture::Images) => {
                remote.digest.is_none().then(|| Reason::PluginNeedsDigest { remote: remote.clone() })
            }
        }
    }
}

/// What it is must be what was approved; also under the gate's own name, by which another may stand in its place.
fn unapproved(policy: &Policy, plugin: &str, found: Option<&PluginFacts>) -> Option<Reason> {
    let refuse = |digest| Some(Reason::PluginUnapproved { plugin: plugin.to_owned(), digest });
    let Some(found) = found else { return refuse(None) };
    let Some(digest) = found.digest else { return refuse(None) };
    if found.is_known || is_allowed_by_setting(policy, found) { None } else { refuse(Some(digest)) }
}

/// Whether `ALLOW_PLUGINS` names it, with this content and configuration.
pub(in crate::policy) fn is_allowed_by_setting(policy: &Policy, found: &PluginFacts) -> bool {
    let Some(digest) = found.digest else { return false };
    let name = found.name.parse::<Reference>().ok().map(|name| Reference { digest: Some(digest), ..name.or_latest() });
    name.is_some_and(|name| policy.plugins.contains(&name))
}

pub(super) const fn verb(change: PluginChange) -> &'static str {
    match change {
        PluginChange::Enable => "enable",
        PluginChange::Disable => "disable",
        PluginChange::Set => "set",
        PluginChange::Remove => "rm",
        PluginChange::RemoveByForce => "rm -f",
    }
}
