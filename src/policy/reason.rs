//! Why a call is refused: a stable kebab-case code, the evidence, and a remedy, in one line (`docs/reasons.md`).

use std::borrow::Cow;
use std::fmt;

use super::lifted::end_told;
use super::{Code, Finding, Forbidden, Level, Posture, RuleId, Standing};
use crate::image::{Digest, ImageName, Reference, Repository};
use crate::rego::Refusal;
use crate::request::Unreadable;
use crate::text::{fit, shortened};
use crate::trust::{TrustCode, TrustError, VerifierName};

/// Longest refusal a client is shown, in characters.
pub const MESSAGE_CHARS: usize = 299;
/// Longest piece of foreign text inside a refusal, in characters.
const QUOTE_CHARS: usize = 80;
/// Most of an id that is shown, as people compare ids: `sha256:` and twelve digits.
const ID_CHARS: usize = 20;
/// The registry of a name without a host.
const DOCKER_HUB: &str = "docker.io";
/// Most of a user's or a group's name that is shown, so that both fit.
const BY_CHARS: usize = 50;
/// Most of a scope's name, and of an image's, that is shown beside what a rule found, so that all fit.
const SCOPE_CHARS: usize = 24;
const IMAGE_CHARS: usize = 50;
/// Longest evidence; shorter where the remedy is long, which always fits.
const EVIDENCE_CHARS: usize = 165;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// No scope of the policy file matches it.
    OutsideScopes {
        /// The repository.
        repository: Repository,
    },
    /// The scope that matches it refuses.
    ScopeRefuses {
        /// The repository.
        repository: Repository,
        /// What the scope is called.
        scope: String,
        /// File and line.
        place: String,
    },
    /// The registry is not among those allowed.
    RegistryNotAllowed {
        /// Whose registry.
        repository: Repository,
    },
    /// A verifier said no, or could not say.
    Trust {
        /// The image asked about.
        image: String,
        /// What the verifier is called.
        verifier: VerifierName,
        /// Its answer.
        error: TrustError,
    },
    /// The same, of a scope of the policy file.
    InScope {
        /// What the scope is called.
        scope: String,
        /// Its file, without folders, and line.
        place: String,
        /// Why.
        reason: Box<Reason>,
    },
    /// What was said of an image that was named by an id, or of a container that was: the reason names a repository alone, which
    /// nobody typed.
    OfId {
        /// The id, as it was typed.
        id: String,
        /// What was said.
        reason: Box<Self>,
    },
    /// What an exception let pass that does not count any more, or not yet.
    ExceptionOver {
        /// Its id.
        exception: String,
        /// Who answers for it.
        owner: String,
        /// When it ends, or ended.
        expires: jiff::Timestamp,
        /// Why it does not count.
        standing: Standing,
        /// What refuses without it.
        reason: Box<Self>,
    },
    /// The host's content under a name is not what the name is vouched to be.
    ContentMismatch {
        /// The name.
        reference: Reference,
        /// What it should be.
        expected: Digest,
        /// What the host holds.
        held: Digest,
    },
    /// What is vouched for, and breaks rules of its scope.
    ImageRule {
        /// The image, as it is named; the repository that vouches, where it is named by an id.
        image: String,
        /// What the scope is called.
        scope: String,
        /// What it does not keep, also of rules that only warn.
        findings: Vec<Finding>,
    },
    /// What is vouched for, and cannot be judged by a rule that refuses.
    ImageConfigUnknown {
        /// The image, likewise.
        image: String,
        /// The rule.
        rule: RuleId,
        /// Why its configuration is not known.
        why: String,
    },
    /// What a call asks for of containers, and rules of the scope do not let it.
    CreateRule {
        /// What is asked for, in words.
        what: &'static str,
        /// The image, as it is named; `None` where none is.
        image: Option<String>,
        /// What the scope is called.
        scope: String,
        /// What it does not keep, also of rules that only warn.
        findings: Vec<Finding>,
    },
    /// Content with no trail to any repository that is allowed.
    ImageUnapproved {
        /// As it was named.
        image: String,
    },
    /// Image given by an id that is not on the host.
    ImageMissing {
        /// The id.
        name: ImageName,
    },
    /// A container without an image.
    NoImage,
    /// A pull of a whole repository.
    PullAllTags {
        /// The repository.
        repository: Repository,
    },
    /// An image mount by a name that may move.
    MountNeedsDigest {
        /// Its source.
        source: String,
    },
    /// A service whose image is not pinned.
    ServiceNeedsDigest {
        /// Its image.
        image: String,
    },
    /// A service that runs a plugin or another runtime.
    ServicePlugin {
        /// The plugin or runtime.
        plugin: String,
    },
    /// A rollback to a specification that is not there.
    ServiceUnknown {
        /// The service.
        service: String,
    },
    /// Start with a body.
    StartWithBody,
    /// Start from a checkpoint.
    StartFromCheckpoint,
    /// Start of a container that is not there.
    ContainerUnknown {
        /// The container.
        container: String,
    },
    /// A build.
    BuildDenied {
        /// The call.
        what: &'static str,
    },
    /// A call that posture `lockdown` refuses.
    PostureForbids {
        /// The call.
        what: String,
    },
    /// A way to the host, in posture `lockdown`.
    HostAccess {
        /// The id of the way to the host.
        access: &'static str,
        /// What opens it.
        what: String,
    },
    /// What the caller has no right to.
    UserForbidden {
        /// The CN of the caller's certificate; `None` without one, or without a name.
        user: Option<String>,
        /// What the call is called where users are given rights.
        action: &'static str,
        /// Why not.
        why: Forbidden,
    },
    /// A plugin by a name that may move.
    PluginNeedsDigest {
        /// The plugin.
        remote: Reference,
    },
    /// A plugin that nothing approves as it is.
    PluginUnapproved {
        /// As it was named.
        plugin: String,
        /// What its content and configuration are; `None` where the engine has none of this name, or no digest of its content.
        digest: Option<Digest>,
    },
    /// A plugin is enabled while one is being changed, or the other way about.
    PluginBusy,
    /// Something that would replace or weaken the gate.
    SelfProtect {
        /// The call.
        what: String,
    },
    /// A route no supported engine has.
    RouteUnknown {
        /// Method and path.
        route: String,
    },
    /// What the daemon would act on cannot be read.
    Unreadable(Unreadable),
    /// The daemon's post itself cannot be read.
    CallUnreadable {
        /// Why.
        why: String,
    },
    /// The engine could not be asked.
    EngineUnreachable {
        /// Why.
        why: String,
    },
    /// A call that gives a name, and a start by that name, at the same time.
    NameBusy {
        /// The name.
        name: String,
    },
    /// A rename to a name that another container has.
    NameTaken {
        /// The name.
        name: String,
    },
    /// A name that is being given cannot be written to the state folder, so a restart of the gate would forget it.
    StateUnwritable,
    /// The engine does not say what a container is: a call that is under way holds its lock.
    ContainerBusy {
        /// The container, as named in the call.
        container: String,
    },
    /// The engine says more of a container than the gate reads.
    ContainerTooLarge {
        /// The container, as named in the call.
        container: String,
        /// How much is read, bytes.
        limit: u64,
    },
    /// The engine says more of an image than the gate reads.
    ImageTooLarge {
        /// The image, as it was asked for.
        image: String,
        /// More than what.
        why: String,
    },
    /// What would be let pass cannot be recorded.
    AuditUnavailable,
    /// The decision took too long.
    Deadline {
        /// Its bound, in seconds.
        seconds: u64,
    },
    /// Too much is being decided at once.
    Overloaded,
    /// The settings are faulty and no earlier good ones are kept.
    SettingFault {
        /// The first fault.
        fault: String,
        /// What is refused besides: in `lockdown` the setting cannot be changed while the gate is asked.
        posture: Posture,
    },
    /// The same of a call that posture `lockdown` refuses, or a posture that is misspelt.
    FaultForbids {
        /// The call.
        what: String,
        /// The first fault.
        fault: String,
    },
    /// What a rule refuses that somebody added ([`super::FurtherRules`]).
    Rule {
        /// Its code.
        code: &'static str,
        /// What was found.
        evidence: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// What the operator's rules in Rego say.
    Rego(Refusal),
    /// A fault of the gate.
    Internal,
}

impl Reason {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Trust { error, .. } => error.code.as_str(),
            Self::OfId { reason, .. } | Self::ExceptionOver { reason, .. } => reason.code(),
            Self::Rule { code, .. } => code,
            Self::OutsideScopes { .. } | Self::ScopeRefuses { .. } | Self::RegistryNotAllowed { .. } => {
                Code::RegistryNotAllowed.as_str()
            }
            Self::InScope { reason, .. } => reason.code(),
            Self::ContentMismatch { .. } => Code::ContentMismatch.as_str(),
            Self::ImageRule { .. } => Code::ImageRule.as_str(),
            Self::ImageConfigUnknown { .. } => Code::ImageConfigUnknown.as_str(),
            Self::CreateRule { .. } => Code::CreateRule.as_str(),
            Self::ImageUnapproved { .. } => Code::ImageUnapproved.as_str(),
            Self::ImageMissing { .. } => Code::ImageUnknown.as_str(),
            Self::NoImage => Code::NoImage.as_str(),
            Self::PullAllTags { .. } => Code::PullAllTags.as_str(),
            Self::MountNeedsDigest { .. } => Code::MountNeedsDigest.as_str(),
            Self::ServiceNeedsDigest { .. } => Code::ServiceNeedsDigest.as_str(),
            Self::ServicePlugin { .. } => Code::ServicePlugin.as_str(),
            Self::ServiceUnknown { .. } => Code::ServiceUnknown.as_str(),
            Self::StartWithBody => Code::StartWithBody.as_str(),
            Self::StartFromCheckpoint => Code::StartFromCheckpoint.as_str(),
            Self::ContainerUnknown { .. } => Code::ContainerUnknown.as_str(),
            Self::BuildDenied { .. } => Code::BuildDenied.as_str(),
            Self::PostureForbids { .. } | Self::FaultForbids { .. } => Code::PostureForbids.as_str(),
            Self::HostAccess { .. } => Code::HostAccess.as_str(),
            Self::UserForbidden { .. } => Code::UserForbidden.as_str(),
            Self::PluginNeedsDigest { .. } => Code::PluginNeedsDigest.as_str(),
            Self::PluginUnapproved { .. } => Code::PluginUnapproved.as_str(),
            Self::PluginBusy => Code::PluginBusy.as_str(),
            Self::SelfProtect { .. } => Code::SelfProtect.as_str(),
            Self::RouteUnknown { .. } => Code::RouteUnknown.as_str(),
            Self::Unreadable(Unreadable::ImportBody) => Code::ImportFile.as_str(),
            Self::Unreadable(_) | Self::CallUnreadable { .. } => Code::RequestUnreadable.as_str(),
            Self::EngineUnreachable { .. } => Code::EngineUnreachable.as_str(),
            Self::NameBusy { .. } => Code::NameBusy.as_str(),
            Self::NameTaken { .. } => Code::NameTaken.as_str(),
            Self::StateUnwritable => Code::StateUnwritable.as_str(),
            Self::ContainerBusy { .. } => Code::ContainerBusy.as_str(),
            Self::ContainerTooLarge { .. } => Code::ContainerTooLarge.as_str(),
            Self::ImageTooLarge { .. } => Code::ImageTooLarge.as_str(),
            Self::AuditUnavailable => Code::AuditUnavailable.as_str(),
            Self::Deadline { .. } => Code::Deadline.as_str(),
            Self::Overloaded => Code::Overloaded.as_str(),
            Self::SettingFault { .. } => Code::SettingFault.as_str(),
            Self::Rego(Refusal::Denied { .. }) => Code::RegoDenied.as_str(),
            Self::Rego(Refusal::Error { .. }) => Code::RegoError.as_str(),
            Self::Rego(Refusal::Overloaded { .. }) => Code::RegoOverloaded.as_str(),
            Self::Rego(Refusal::Unreadable(_)) => Code::RequestUnreadable.as_str(),
            Self::Internal => Code::Internal.as_str(),
        }
    }

    /// What was found.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub fn evidence(&self) -> String {
        match self {
            Self::OutsideScopes { repository } => format!("no scope of the policy matches {}", quoted(repository.as_str())),
            Self::ScopeRefuses { repository, scope, place } => {
                format!("the scope {} ({place}) refuses {}", quoted(scope), quoted(repository.as_str()))
            }
            Self::InScope { scope, place, reason } => {
                format!("scope {} ({}): {}", quoted(&shortened(scope, BY_CHARS)), clean(place), reason.evidence())
            }
            Self::RegistryNotAllowed { repository } => {
                format!(
                    "registry {} of {} is not allowed on this host",
                    quoted(repository.host_str()),
                    quoted(repository.as_str())
                )
            }
            Self::Trust { image, error, .. } => format!("{}: {}", quoted(image), printable(&error.to_string())),
            Self::OfId { id, reason } => format!("{}: {}", quoted(&shortened(id, ID_CHARS)), reason.evidence()),
            Self::ExceptionOver { exception, owner, expires, standing, reason } => {
                format!("{}; {}", over(exception, owner, *expires, *standing), reason.evidence())
            }
            Self::ContentMismatch { reference, expected, held } => {
                format!(
                    "{} is approved as {}…, but this host has {}… under that name",
                    quoted(&reference.to_string()),
                    short(expected),
                    short(held)
                )
            }
            Self::ImageRule { image, scope, findings } => ruled_out(&quoted(&shortened(image, IMAGE_CHARS)), scope, findings),
            Self::CreateRule { what, image: Some(image), scope, findings } => {
                ruled_out(&format!("{what} {}", quoted(&shortened(image, IMAGE_CHARS))), scope, findings)
            }
            Self::CreateRule { what, image: None, scope, findings } => ruled_out(what, scope, findings),
            Self::ImageConfigUnknown { image, rule, why } => unjudged(image, *rule, why),
            Self::ImageUnapproved { image } => format!("no allowed repository vouches for the content of {}", quoted(image)),
            Self::ImageMissing { name } => format!("no image {} on this host", quoted(&name.to_string())),
            Self::Rule { evidence, .. } => printable(evidence),
            Self::NoImage => "the container has no image, so nothing can vouch for what it runs".to_owned(),
            Self::PullAllTags { repository } => {
                format!("a pull without a tag brings every tag of {}", quoted(repository.as_str()))
            }
            Self::MountNeedsDigest { source } => {
                format!("image mount {} is named by a tag or a short id, which can come to mean other content", quoted(source))
            }
            Self::ServiceNeedsDigest { image } => format!("service image {} is not pinned by a digest", quoted(image)),
            Self::ServicePlugin { plugin } => format!("the service runs {}, which is not a container image", quoted(plugin)),
            Self::ServiceUnknown { service } => {
                format!("service {} does not exist, or has no previous version to roll back to", quoted(service))
            }
            Self::StartWithBody => "a start with a body can replace the container's host configuration".to_owned(),
            Self::StartFromCheckpoint => "a start from a checkpoint runs a process image that nothing vouches for".to_owned(),
            Self::ContainerUnknown { container } => format!("no container {} on this host", quoted(container)),
            Self::BuildDenied { what } => format!("{what} runs base images that dockerd does not show to plugins"),
            Self::PostureForbids { what } => format!("posture lockdown refuses {what}, for every client of the Docker API"),
            // Some ways to the host are no more than their name.
            Self::HostAccess { access, what } if access == what => format!("{} gives access to the host", quoted(access)),
            Self::HostAccess { access, what } => format!("{access} {} gives access to the host", quoted(what)),
            Self::UserForbidden { user, action, why } => unentitled(user.as_deref(), action, why),
            Self::PluginNeedsDigest { remote } => {
                format!("plugin {} is named by a tag, which can move", quoted(&remote.to_string()))
            }
            Self::PluginUnapproved { plugin, digest: Some(digest) } => {
                format!("plugin {} is not approved as {digest}", quoted(plugin))
            }
            Self::PluginUnapproved { plugin, digest: None } => {
                format!("the engine shows no plugin {} with a digest of its content", quoted(plugin))
            }
            Self::PluginBusy => "plugins are being enabled and changed at the same time".to_owned(),
            Self::SelfProtect { what } => format!("{} would replace or weaken this gate", quoted(what)),
            Self::RouteUnknown { route } => format!("{} is not an API call that this gate knows", quoted(route)),
            Self::Unreadable(why) => printable(&why.to_string()),
            Self::CallUnreadable { why } => clean(why),
            Self::EngineUnreachable { why } => format!("the gate cannot look it up in dockerd: {}", clean(why)),
            Self::NameBusy { name } => {
                format!("another call is giving the name {} to a container, or starting it", quoted(name))
            }
            Self::NameTaken { name } => format!("another container has the name {}", quoted(name)),
            Self::StateUnwritable => {
                "the gate cannot record in its state folder (STATE_DIR) which name is being given".to_owned()
            }
            Self::AuditUnavailable => {
                "the gate cannot write this call to its audit log, and AUDIT=require lets none pass unrecorded".to_owned()
            }
            Self::ContainerBusy { container } => {
                format!("dockerd does not say which image container {} has, because another call locks it", quoted(container))
            }
            Self::ContainerTooLarge { container, limit } => too_large(container, *limit),
            Self::ImageTooLarge { image, why } => {
                format!("image {} says more of itself than the gate reads: {}", quoted(image), clean(why))
            }
            Self::Deadline { seconds } => format!("the decision took longer than {seconds} s"),
            Self::Overloaded => "too many calls of this kind are being decided at once".to_owned(),
            Self::SettingFault { fault, .. } => format!("the gate's settings are faulty: {}", clean(fault)),
            Self::FaultForbids { what, fault } => {
                format!("posture lockdown refuses {what}, and the gate's settings are faulty: {}", clean(fault))
            }
            Self::Rego(Refusal::Denied { query, says }) => format!("{}: {}", quoted(query), clean(says)),
            Self::Rego(Refusal::Error { query, why }) => format!("{} cannot be evaluated: {}", quoted(query), clean(why)),
            Self::Rego(Refusal::Overloaded { query }) => format!("earlier evaluations of {} do not end", quoted(query)),
            Self::Rego(Refusal::Unreadable(why)) => printable(&why.to_string()),
            Self::Internal => "an error inside the gate".to_owned(),
        }
    }

    /// What to do about it.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "a table")]
    pub fn remedy(&self) -> Cow<'static, str> {
        // Of content that no tag is signed for: there is no tag that its publisher could sign.
        const SIGNED_TAG: &str = "use a signed tag; an image that was built or loaded here must be pushed and signed first";
        let text = match self {
            Self::RegistryNotAllowed { repository } if repository.host_str() == DOCKER_HUB => {
                "is it a local image? name it by its registry (HOST/NAME); else use an image of an allowed registry"
            }
            Self::ScopeRefuses { .. } => {
                "use an image of another repository, or ask this host's administrator to say in that scope who must vouch"
            }
            Self::OutsideScopes { .. } => {
                "use an image of a repository that the policy names, or ask this host's administrator for a scope that matches it"
            }
            Self::InScope { reason, .. } | Self::ExceptionOver { reason, .. } => return reason.remedy(),
            Self::RegistryNotAllowed { .. } => {
                "use an image of an allowed registry, or ask this host's administrator to add this one to REGISTRY"
            }
            Self::Trust { image, error, .. } if error.code == TrustCode::NotSigned && image.contains('@') => SIGNED_TAG,
            Self::Trust { error, verifier, .. } => return error.remedy(verifier).into(),
            Self::OfId { reason, .. } if reason.code() == TrustCode::NotSigned.as_str() => SIGNED_TAG,
            Self::OfId { reason, .. } => return reason.remedy(),
            Self::ContentMismatch { .. } => {
                "pull it again; if the refusal stays, tell the publisher that the registry's tag is not the approved content"
            }
            Self::ImageRule { findings, .. } | Self::CreateRule { findings, .. } => {
                let denied = findings.iter().find(|finding| finding.level == Level::Deny && finding.evidence.is_some());
                return denied.map_or("", |finding| finding.rule.about().remedy).into();
            }
            Self::ImageConfigUnknown { .. } => "pull it again by its name; if the refusal stays, see img-authz check",
            Self::ImageUnapproved { .. } => {
                "pull it by the name it is signed under, or ask this host's administrator (img-authz help image-unapproved)"
            }
            Self::Rule { remedy, .. } => remedy,
            Self::ImageMissing { .. } => "pull it by its name first",
            Self::NoImage => "create the container from an approved image",
            Self::PullAllTags { .. } => "pull one tag or digest at a time",
            Self::MountNeedsDigest { .. } => "name it by its full image id, or by NAME@sha256:DIGEST",
            Self::ServiceNeedsDigest { .. } => "use NAME@sha256:DIGEST, or let the CLI resolve the image",
            Self::ServicePlugin { .. } => "run services from approved images only",
            Self::ServiceUnknown { .. } => "update the service to the image that you want, as NAME@sha256:DIGEST",
            Self::StartWithBody => "start it without a body",
            Self::StartFromCheckpoint => "start it without a checkpoint",
            Self::ContainerUnknown { .. } => "see docker ps -a",
            Self::BuildDenied { .. } => {
                "build on another host and sign the result, or ask this host's administrator to set BUILD=allow"
            }
            Self::PostureForbids { .. } => "ask this host's administrator, who can do it while the gate is switched off",
            Self::HostAccess { .. } => "leave it out, or ask this host's administrator to allow it in ALLOW_HOST_ACCESS",
            Self::UserForbidden { why: Forbidden::Nameless, .. } => "use a client certificate that has a CN",
            Self::UserForbidden { why: Forbidden::Unreadable, .. } => "use a client certificate whose CN and OU are plain text",
            Self::UserForbidden { why: Forbidden::Faulty { .. }, .. } => {
                "this host's administrator corrects that line (img-authz help user-forbidden)"
            }
            Self::UserForbidden { .. } => "ask this host's administrator for this right (img-authz help user-forbidden)",
            Self::PluginNeedsDigest { .. } => "use NAME@sha256:DIGEST of an approved plugin",
            Self::PluginUnapproved { .. } => {
                "install a signed plugin by NAME@sha256:DIGEST, or ask this host's administrator to add this digest to ALLOW_PLUGINS"
            }
            Self::PluginBusy => "repeat the call",
            Self::SelfProtect { .. } => "as root on this host, first take the gate out of daemon.json and reload dockerd",
            Self::RouteUnknown { .. } => "update img-authz if the engine is newer than it",
            Self::Unreadable(Unreadable::ImportBody) => "bring it by docker load, or import it from a URL",
            Self::Unreadable(Unreadable::MaybeForm) => {
                "send no Content-Type without a body, or close HTTP/2 (GODEBUG=http2server=0 for dockerd) and set HTTP2=closed"
            }
            Self::Unreadable(Unreadable::Name(_)) => "use letters, digits, `_`, `.` and `-`, at least two",
            Self::Unreadable(Unreadable::MountType(_)) => {
                "use bind, volume, tmpfs or image; update img-authz if the engine is newer than it"
            }
            Self::Unreadable(Unreadable::Template(_)) => {
                "write paths of the host and options of volumes out; templates are for names of volumes, Env and Hostname"
            }
            Self::Unreadable(_) => "send the call in the form that the docker command line uses",
            Self::CallUnreadable { .. } => "repeat the call",
            Self::EngineUnreachable { .. } => "on this host, see the gate's log and the setting DOCKER_HOST",
            Self::NameBusy { .. } => "repeat the call, or use the container's full id (docker ps -a --no-trunc)",
            Self::NameTaken { .. } => "rename or remove that container first",
            Self::AuditUnavailable => {
                "see the gate's log; free disk space on this host, or fix the permissions of STATE_DIR, then repeat the call"
            }
            Self::StateUnwritable => "free disk space on this host, or fix the folder's permissions, then repeat the call",
            Self::ContainerTooLarge { .. } => "remove it, and create it anew with less",
            Self::ImageTooLarge { .. } => "build the image with less of that",
            Self::ContainerBusy { .. } => "end the calls that use it (docker cp, docker export), then repeat",
            Self::Overloaded => "repeat the call",
            Self::Deadline { .. } => "repeat the call; see the gate's log if it stays",
            Self::SettingFault { posture: Posture::Lockdown, .. } | Self::FaultForbids { .. } => {
                "as root: take the gate out of daemon.json, reload dockerd; disable, set, enable the gate; put it back, reload"
            }
            Self::SettingFault { posture: Posture::Images, .. } => {
                "as root on this host, fix the setting (docker plugin disable, set, enable), then reload dockerd"
            }
            Self::Rego(Refusal::Denied { .. }) => {
                "change the call accordingly, or ask this host's administrator to change the rule"
            }
            Self::Rego(Refusal::Error { .. }) => "ask this host's administrator to correct the rule (docs/policy-rego.md)",
            Self::Rego(Refusal::Overloaded { .. }) => {
                "repeat the call; if it stays, ask this host's administrator to correct the rule"
            }
            Self::Rego(Refusal::Unreadable(_)) => "send the call in the form that the docker command line uses",
            Self::Internal => "see the gate's log, and report it as a bug",
        };
        Cow::Borrowed(text)
    }

    /// Whether this says "could not be found out" rather than "is not approved".
    #[must_use]
    pub fn is_unsure(&self) -> bool {
        match self {
            Self::OfId { reason, .. } | Self::InScope { reason, .. } | Self::ExceptionOver { reason, .. } => reason.is_unsure(),
            Self::Trust { error, .. } => matches!(
                error.code,
                TrustCode::Unreachable
                    | TrustCode::Busy
                    | TrustCode::CaRefused
                    | TrustCode::Unauthorized
                    | TrustCode::Misconfigured
                    | TrustCode::AllowlistUnavailable
            ),
            Self::ImageConfigUnknown { .. }
            | Self::EngineUnreachable { .. }
            | Self::ContainerBusy { .. }
            | Self::ContainerTooLarge { .. }
            | Self::ImageTooLarge { .. }
            | Self::Deadline { .. }
            | Self::Overloaded
            | Self::AuditUnavailable
            | Self::SettingFault { .. }
            | Self::FaultForbids { .. }
            | Self::Rego(Refusal::Error { .. } | Refusal::Overloaded { .. })
            | Self::Internal => true,
            _ => false,
        }
    }

    /// Whether it is refused because of the time it is: a clock that is wrong says it of what is approved.
    #[must_use]
    pub fn hangs_on_clock(&self) -> bool {
        match self {
            Self::OfId { reason, .. } | Self::InScope { reason, .. } => reason.hangs_on_clock(),
            Self::Trust { error, .. } => matches!(error.code, TrustCode::Expired | TrustCode::ImportExpired),
            Self::ExceptionOver { .. } => true,
            _ => false,
        }
    }

    /// What is not kept of the rules with levels, where that is what refuses it.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::ImageRule { findings, .. } | Self::CreateRule { findings, .. } => findings,
            Self::OfId { reason, .. } | Self::ExceptionOver { reason, .. } => reason.findings(),
            _ => &[],
        }
    }

    /// The whole line: `code: evidence; remedy`, at most [`MESSAGE_CHARS`] characters, no control characters.
    #[must_use]
    pub fn message(&self) -> String {
        let (code, remedy) = (self.code(), self.remedy());
        let room = MESSAGE_CHARS.saturating_sub(code.len() + remedy.chars().count() + ": ; ".len());
        // What rules found is a list, and people correct all of it at once.
        let most = if self.findings().is_empty() { room.min(EVIDENCE_CHARS) } else { room };
        let line = format!("{code}: {}; {remedy}", shortened(&self.evidence(), most));
        shortened(&line, MESSAGE_CHARS)
    }
}

/// Which rule cannot be judged, and why.
fn unjudged(image: &str, rule: RuleId, why: &str) -> String {
    format!("rule {rule} cannot be judged, because the configuration of {} is not known: {}", quoted(image), printable(why))
}

/// Which container the engine says too much of.
fn too_large(container: &str, limit: u64) -> String {
    let container = quoted(container);
    format!(
        "what dockerd says of container {container} is larger than {limit} bytes (labels, variables, arguments), so it cannot be judged"
    )
}

/// Which exception does not count, and why.
fn over(exception: &str, owner: &str, expires: jiff::Timestamp, standing: Standing) -> String {
    let over = match standing {
        Standing::Ahead => "is too far ahead, as it ends at",
        Standing::InForce | Standing::Ending | Standing::Ended => "expired at",
    };
    format!("exception {} of {} {over} {}", quoted(exception), quoted(&shortened(owner, SCOPE_CHARS)), end_told(expires))
}

/// Which rule refuses what, where that rule stands, and which others would.
fn ruled_out(what: &str, scope: &str, findings: &[Finding]) -> String {
    let mut denied = findings.iter().filter(|finding| finding.level == Level::Deny && finding.evidence.is_some());
    let Some(first) = denied.next() else { return format!("{what} breaks rules") };
    let at = first.position.as_ref().map(|position| {
        let file = position.file.file_name().unwrap_or_default().to_string_lossy();
        format!(", {}:{}", clean(&file), position.line)
    });
    // Who reads a refusal of a container looks it up in the benchmark; images' have several names.
    let cis = match (first.rule, first.rule.about().refs.first()) {
        (RuleId::Create(_), Some(name)) => format!("{name}, "),
        (RuleId::Create(_) | RuleId::Image(_), _) => String::new(),
    };
    let evidence = printable(first.evidence.as_deref().unwrap_or_default());
    let others: Vec<&str> = denied.map(|finding| finding.rule.about().id).collect();
    let others = if others.is_empty() { String::new() } else { format!("; also {}", others.join(", ")) };
    format!(
        "rule {} ({cis}scope {}{}) refuses {what}: {evidence}{others}",
        first.rule,
        quoted(&shortened(scope, SCOPE_CHARS)),
        at.unwrap_or_default(),
    )
}

/// Who may not do what, and by which group.
fn unentitled(user: Option<&str>, action: &str, why: &Forbidden) -> String {
    let who =
        user.map_or("a client without a certificate".to_owned(), |user| format!("user {}", quoted(&shortened(user, BY_CHARS))));
    let by = |by: &str| quoted(&shortened(by, BY_CHARS));
    match why {
        Forbidden::NotListed => format!("no group of users lists {who}, who asks for {action}"),
        Forbidden::Nameless => format!("the client's certificate has no CN, or one that is not text, and asks for {action}"),
        Forbidden::Unreadable => {
            format!("the certificate of {who}, who asks for {action}, does not show which units (OU) it has")
        }
        Forbidden::Action { by: group } => format!("{who} has no right to {action}, by {}", by(group)),
        Forbidden::ReadOnly { by: group } => format!("{who} may only read, and {action} does more, by {}", by(group)),
        Forbidden::Faulty { by: group, fault } => {
            format!("{who} has no right to {action}, because {} is faulty: {}", by(group), clean(fault))
        }
        Forbidden::Scope { scope: Some(scope), by: group } => {
            format!("{who} has no right to images of scope {}, by {}", by(scope), by(group))
        }
        Forbidden::Scope { scope: None, by: group } => {
            format!("{who} has no right to images of a scope without a name, by {}", by(group))
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

/// Foreign text for a message: escaped, bounded, in backticks.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("`{}`", shortened(&clean(text), QUOTE_CHARS))
}

/// Foreign text without backticks, so that it can stand between them.
fn clean(text: &str) -> String {
    let text = printable(text);
    if text.contains('`') { text.replace('`', "'") } else { text }
}

/// Foreign text escaped, and no longer than what may be quoted of it.
fn printable(text: &str) -> String {
    fit(text, 4 * QUOTE_CHARS)
}

/// The first 19 characters of a digest, as people compare them.
fn short(digest: &Digest) -> String {
    digest.to_string().chars().take(19).collect()
}
