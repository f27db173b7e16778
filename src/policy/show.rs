//! A policy as the text of a policy file: what variables mean, so that a file can begin there.

use std::fmt::Write as _;

use super::file::{list, quoted, verifier_lines};
use super::lifted::{Excepted, Exception};
use super::resolved::Resolved;
use super::rules::image::{AgeOf, Check, ImageRule};
use super::scope::Requirement;
use super::{Allowed, BuildRule, CreateCheck, CreateRule, HostAccessRule, Join, Level, Mode, Most, Posture};
use crate::image::Digest;

impl Resolved {
    /// A policy file that means the same. What variables hold as a text, and the file names as a file, is named in a comment.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let policy = &self.policy;
        let mut out = String::from("version = 1\n");
        if policy.mode == Mode::Permissive {
            out.push_str("mode = \"permissive\"\n");
        }
        if policy.posture == Posture::Lockdown {
            out.push_str("posture = \"lockdown\"\n");
        }
        if policy.build == BuildRule::Allow {
            out.push_str("build = \"allow\"\n");
        }
        if !policy.host_access.is_empty() {
            line(&mut out, "allow_host_access", &list(policy.host_access.iter().map(ToString::to_string)));
        }
        if !policy.plugins.is_empty() {
            line(&mut out, "allow_plugins", &list(policy.plugins.iter().map(ToString::to_string)));
        }
        for (name, settings) in &self.verifiers {
            let _ = write!(out, "\n[verifiers.{name}]\n");
            for (key, value) in verifier_lines(settings) {
                line(&mut out, key, &value);
            }
        }
        for scope in &policy.scopes {
            out.push_str("\n[[scope]]\n");
            if let Some(name) = &scope.name {
                line(&mut out, "name", &quoted(name));
            }
            line(&mut out, "match", &list(scope.patterns.iter().map(ToString::to_string)));
            if scope.require.is_nobody() {
                line(&mut out, "refuse", "true");
            } else {
                line(&mut out, "require", &requirement(&scope.require));
            }
            if scope.mode == Mode::Permissive {
                out.push_str("mode = \"permissive\"\n");
            }
            if let Some(origin) = &scope.origin {
                line(&mut out, "origin", &quoted(origin.folder()));
            }
            if !scope.rules.is_empty() || !scope.create_rules.is_empty() {
                out.push_str("[scope.rules]\n");
            }
            for (id, rule) in scope.rules.iter() {
                line(&mut out, id.about().id, &image_rule(rule));
            }
            for (id, rule) in scope.create_rules.iter() {
                line(&mut out, id.about().id, &create_rule(rule));
            }
        }
        for exception in policy.exceptions.iter() {
            out.push('\n');
            out.push_str(&exception.to_toml());
        }
        out
    }
}

impl Exception {
    /// The same as a part of a policy file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::from("[[exception]]\n");
        let mut line = |key: &str, value: String| line(&mut out, key, &value);
        match &self.of {
            Excepted::Repositories(patterns) => line("match", list(patterns.iter().map(ToString::to_string))),
            Excepted::Digest(digest) => line("digest", quoted(&digest.to_string())),
            Excepted::ImageId(id) => line("image_id", quoted(&id.to_string())),
        }
        if !self.lift.is_empty() {
            line("lift", list(self.lift.iter().map(|rule| (*rule).to_owned())));
        }
        line("owner", quoted(&self.owner));
        line("reason", quoted(&self.reason));
        if let Some(ticket) = &self.ticket {
            line("ticket", quoted(ticket));
        }
        line("expires", self.expires.to_string());
        out
    }
}

fn line(out: &mut String, key: &str, value: &str) {
    let _ = writeln!(out, "{key} = {value}");
}

/// A requirement, as it is written.
pub(super) fn requirement(require: &Requirement) -> String {
    let of = |word: &str, parts: &[Requirement]| match parts {
        [one] => requirement(one),
        parts => format!("{{ {word} = [{}] }}", parts.iter().map(requirement).collect::<Vec<_>>().join(", ")),
    };
    match require {
        Requirement::One(name) => quoted(name.as_str()),
        Requirement::All(parts) => of("all", parts),
        Requirement::Any(parts) => of("any", parts),
    }
}

fn image_rule(rule: &ImageRule) -> String {
    let texts = |texts: &mut dyn Iterator<Item = String>| list(texts);
    let keys = match &rule.check {
        Check::TagLatest | Check::TagMissing | Check::UserRoot | Check::Healthcheck => Vec::new(),
        Check::TagPattern(pattern) => vec![("pattern", quoted(pattern.as_str()))],
        Check::MaxAge(age) => {
            let of = match age.of {
                AgeOf::Created => None,
                AgeOf::Signature => Some(("of", "\"signature\"".to_owned())),
                AgeOf::Provenance => Some(("of", "\"provenance\"".to_owned())),
            };
            std::iter::once(("days", age.days.to_string())).chain(of).collect()
        }
        Check::Secrets(secrets) if secrets.allow.is_empty() => Vec::new(),
        Check::Secrets(secrets) => vec![("allow", texts(&mut secrets.allow.iter().cloned()))],
        Check::ExposedPorts(ports) => {
            let ports: Vec<String> = ports.forbid.iter().map(ToString::to_string).collect();
            vec![("forbid", format!("[{}]", ports.join(", ")))]
        }
        Check::RequiredLabels(required) => {
            vec![("labels", table(required.labels.iter().map(|(name, values)| (name, texts(&mut values.iter().cloned())))))]
        }
        Check::BaseImage(base) => {
            let layers = |layers: &Vec<Digest>| texts(&mut layers.iter().map(ToString::to_string));
            let allow = ("allow", texts(&mut base.allow.iter().map(ToString::to_string)));
            let layers = ("layers", table(base.layers.iter().map(|(name, digests)| (name, layers(digests)))));
            [(!base.allow.is_empty()).then_some(allow), (!base.layers.is_empty()).then_some(layers)]
                .into_iter()
                .flatten()
                .collect()
        }
        Check::MaxSize(size) => vec![("megabytes", size.megabytes.to_string())],
        Check::Platform(platforms) => vec![("allow", texts(&mut platforms.allow.iter().map(ToString::to_string)))],
    };
    leveled(rule.level, &keys)
}

fn create_rule(rule: &CreateRule) -> String {
    let opened = |allowed: &Allowed| list(allowed.iter().map(HostAccessRule::opened));
    let join = |join: &Join| match join {
        Join::Never => Vec::new(),
        Join::Containers => vec![("containers", "true".to_owned())],
    };
    let most = |key: &'static str, most: &Most| most.0.map(|most| (key, most.to_string())).into_iter().collect();
    let keys = match &rule.check {
        CreateCheck::Privileged
        | CreateCheck::HostUts
        | CreateCheck::HostUserns
        | CreateCheck::HostCgroupns
        | CreateCheck::DockerSocket
        | CreateCheck::MountPropagation
        | CreateCheck::Seccomp
        | CreateCheck::SeLinux
        | CreateCheck::SystemPaths
        | CreateCheck::NoNewPrivileges
        | CreateCheck::ReadOnlyRoot
        | CreateCheck::RunAsRoot
        | CreateCheck::HealthcheckOff
        | CreateCheck::ExecPrivileged
        | CreateCheck::ExecRoot => Vec::new(),
        CreateCheck::HostNetwork(may) | CreateCheck::HostPid(may) | CreateCheck::HostIpc(may) => join(may),
        CreateCheck::Capabilities(capabilities) => vec![("allow", list(capabilities.written().iter().cloned()))],
        CreateCheck::Mounts(mounts) => {
            let truth = |key, is_so: bool| is_so.then(|| (key, "true".to_owned()));
            let paths = std::iter::once(("allow", opened(&mounts.allow)));
            let drivers = (!mounts.drivers.is_empty()).then(|| ("drivers", opened(&mounts.drivers)));
            let keys = paths.chain(truth("sensitive", mounts.sensitive)).chain(truth("containers", mounts.containers));
            keys.chain(drivers).collect()
        }
        CreateCheck::Devices(allowed) | CreateCheck::CgroupParent(allowed) if allowed.is_empty() => Vec::new(),
        CreateCheck::Devices(allowed) | CreateCheck::CgroupParent(allowed) => vec![("allow", opened(allowed))],
        CreateCheck::AppArmor(profiles) if profiles.is_empty() => Vec::new(),
        CreateCheck::AppArmor(profiles) => vec![("allow", list(profiles.iter().cloned()))],
        CreateCheck::MemoryLimit(limit) => most("megabytes", limit),
        CreateCheck::CpuLimit(limit) => most("cpus", &Most(limit.cpus)),
        CreateCheck::PidsLimit(limit) | CreateCheck::RestartPolicy(limit) => most("most", limit),
        CreateCheck::PrivilegedPorts(ports) if ports.allow.is_empty() => Vec::new(),
        CreateCheck::PrivilegedPorts(ports) => {
            let ports: Vec<String> = ports.allow.iter().map(ToString::to_string).collect();
            vec![("allow", format!("[{}]", ports.join(", ")))]
        }
        CreateCheck::HostIp(addresses) if addresses.allow.is_empty() => Vec::new(),
        CreateCheck::HostIp(addresses) => vec![("allow", list(addresses.allow.iter().map(ToString::to_string)))],
        CreateCheck::Ulimits(highest) if highest.is_empty() => Vec::new(),
        CreateCheck::Ulimits(highest) => {
            vec![("allow", table(highest.iter().map(|(name, most)| (name, most.to_string()))))]
        }
    };
    leveled(rule.level, &keys)
}

/// A level alone, or with keys.
fn leveled(level: Level, keys: &[(&str, String)]) -> String {
    let level = format!("\"{}\"", level.as_str());
    if keys.is_empty() {
        return level;
    }
    let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ level = {level}, {} }}", keys.join(", "))
}

fn table<'t>(entries: impl Iterator<Item = (&'t String, String)>) -> String {
    let entries: Vec<String> = entries.map(|(name, value)| format!("{} = {value}", quoted(name))).collect();
    format!("{{ {} }}", entries.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::{Policy, PolicyFile, Settings};
    use super::*;

    #[test]
    fn what_variables_mean_reads_back_as_a_file_that_means_the_same() {
        let given = Settings::default()
            .with("REGISTRY", "r.example:5000 docker.io")
            .with("NOTARY", "n.example:4443/team")
            .with("NOTARY_SIGNERS", "docker.io/library/x=qa; r.example:5000/team/*=qa,release")
            .with("FRESHNESS", "5")
            .with("ON_OUTAGE", "deny")
            .with("STALE_LIMIT", "48")
            .with("ALLOWLIST", "/srv/a \"list\".json")
            .with("MODE", "permissive")
            .with("POSTURE", "lockdown")
            .with("ALLOW_HOST_ACCESS", "bind=/srv/app,capability=NET_RAW,bind=/srv/,device");
        let meant = given.resolve(false).unwrap();
        let text = meant.to_toml();
        let read = PolicyFile(vec![("/x/policy.toml".into(), text.clone())]).read(Policy::closed(Posture::Images));
        let mut read = read.resolved.unwrap_or_else(|faults| panic!("{faults:?}\n{text}"));
        assert_eq!(read.to_toml(), text);
        // Where it is written is all that differs.
        let scopes = read.policy.scopes.iter().cloned().map(|scope| super::super::Scope { position: None, ..scope });
        let flat = |require: &Requirement| requirement(require);
        for (one, other) in scopes.zip(&meant.policy.scopes) {
            assert_eq!((one.patterns, flat(&one.require)), (other.patterns.clone(), flat(&other.require)));
        }
        read.policy.scopes = meant.policy.scopes.clone();
        assert_eq!(read, meant);
    }
}
