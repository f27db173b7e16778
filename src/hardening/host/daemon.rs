//! How the engine is set up: section 2 of the benchmark. A flag of dockerd beats its file; what the engine says of itself beats both.

use std::fmt;

use serde_json::Value;

use super::super::{Finding, OwnRule};
use crate::text::clean;

/// What is known of an engine's settings.
pub struct Daemon<'a> {
    /// What it says of itself (`GET /info`).
    pub info: &'a Value,
    /// A key of daemon.json.
    pub file: &'a dyn Fn(&str) -> Option<Value>,
    /// dockerd's command line; `None`: its process was not found.
    pub words: Option<&'a [String]>,
    /// It listens on TCP without asking for certificates, and where.
    pub open: Option<&'a str>,
}

impl fmt::Debug for Daemon<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon").field("words", &self.words).field("open", &self.open).finish_non_exhaustive()
    }
}

impl Daemon<'_> {
    /// The values of a flag: `--name value`, `--name=value`, `--name`.
    fn flags(&self, name: &str) -> Vec<&str> {
        let words = self.words.unwrap_or_default();
        let of = |(at, word): (usize, &'_ String)| {
            let rest = words.get(at)?.strip_prefix("--").filter(|_| word.starts_with("--"))?.strip_prefix(name)?;
            match rest.strip_prefix('=') {
                Some(value) => Some(value),
                None if rest.is_empty() => {
                    Some(words.get(at + 1).map(String::as_str).filter(|next| !next.starts_with('-')).unwrap_or("true"))
                }
                None => None,
            }
        };
        words.iter().enumerate().skip(1).filter_map(of).collect()
    }

    fn truth(&self, name: &str) -> Option<bool> {
        let flag = self.flags(name).last().map(|value| !matches!(*value, "false" | "0" | "f" | "F" | "False" | "FALSE"));
        flag.or_else(|| (self.file)(name)?.as_bool())
    }

    fn text(&self, name: &str) -> Option<String> {
        let flag = self.flags(name).last().map(|value| (*value).to_owned());
        flag.or_else(|| Some((self.file)(name)?.as_str()?.to_owned())).filter(|text| !text.is_empty())
    }

    /// The entries of a list, which has another name as a flag.
    fn list(&self, key: &str, flag: &str) -> Vec<String> {
        let of_file = (self.file)(key);
        let of_file = of_file.iter().filter_map(Value::as_array).flatten().filter_map(Value::as_str);
        of_file.chain(self.flags(flag)).map(str::to_owned).collect()
    }

    fn has_option(&self, is: impl Fn(&str) -> bool) -> bool {
        self.info["SecurityOptions"].as_array().into_iter().flatten().filter_map(Value::as_str).any(is)
    }
}

/// What is weak about an engine's settings.
#[must_use]
pub fn of_daemon(daemon: &Daemon<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut note = |is_weak: bool, rule: OwnRule, evidence: &str| {
        if is_weak {
            findings.push(Finding::new(rule, "engine", None, evidence));
        }
    };
    let info = daemon.info;
    let text = |name: &str| info[name].as_str().unwrap_or_default();
    let is_rootless = daemon.has_option(|option| option.starts_with("name=rootless"));
    let is_swarm = info.pointer("/Swarm/LocalNodeState").and_then(Value::as_str) == Some("active");
    note(!is_rootless, OwnRule::RootDaemon, "dockerd runs as root");
    note(daemon.truth("icc") != Some(false), OwnRule::InterContainer, "`icc` is on, its default");
    let level = daemon.text("log-level").unwrap_or_else(|| "info".to_owned());
    note(level != "info", OwnRule::LogLevel, &format!("`log-level` is `{}`", clean(&level)));
    note(daemon.truth("iptables") == Some(false), OwnRule::IptablesOff, "`iptables` is off");
    let insecure = daemon.list("insecure-registries", "insecure-registry");
    note(!insecure.is_empty(), OwnRule::InsecureRegistries, &format!("`insecure-registries`: {}", clean(&insecure.join(", "))));
    let driver = text("Driver");
    let is_old = matches!(driver, "aufs" | "devicemapper" | "overlay");
    note(is_old, OwnRule::StorageDriver, &format!("the storage driver is `{}`", clean(driver)));
    note(daemon.open.is_some(), OwnRule::TcpOpen, daemon.open.unwrap_or_default());
    let has_ulimits = (daemon.file)("default-ulimits").is_some() || !daemon.flags("default-ulimit").is_empty();
    note(!has_ulimits, OwnRule::DefaultUlimits, "`default-ulimits` is not set");
    let has_users = is_rootless || daemon.has_option(|option| option.starts_with("name=userns"));
    note(!has_users, OwnRule::UserNamespaces, "root in containers is the host's root: `userns-remap` is not set");
    let parent = daemon.text("cgroup-parent");
    note(
        parent.is_some(),
        OwnRule::DaemonCgroupParent,
        &format!("`cgroup-parent` is `{}`", clean(&parent.clone().unwrap_or_default())),
    );
    let is_sized = daemon.list("storage-opts", "storage-opt").iter().any(|option| option.starts_with("dm.basesize"));
    note(is_sized, OwnRule::BaseDeviceSize, "`storage-opts` has dm.basesize");
    let started_with = info.pointer("/Plugins/Authorization").and_then(Value::as_array);
    let is_asked = started_with.is_some_and(|list| !list.is_empty())
        || !daemon.list("authorization-plugins", "authorization-plugin").is_empty();
    note(!is_asked, OwnRule::NoAuthorization, "no authorization plugin is named");
    let logging = text("LoggingDriver");
    let is_local = matches!(logging, "json-file" | "local" | "none");
    note(is_local, OwnRule::LocalLogs, &format!("the logging driver is `{logging}`"));
    note(
        daemon.truth("no-new-privileges") != Some(true),
        OwnRule::DaemonNewPrivileges,
        "`no-new-privileges` is off, its default",
    );
    let is_restored = is_swarm || info["LiveRestoreEnabled"].as_bool() != Some(false);
    note(!is_restored, OwnRule::LiveRestore, "`live-restore` is off, its default");
    note(daemon.truth("userland-proxy") != Some(false), OwnRule::UserlandProxy, "`userland-proxy` is on, its default");
    let has_seccomp = daemon.has_option(|option| option.starts_with("name=seccomp") && !option.contains("profile=unconfined"));
    note(!has_seccomp, OwnRule::DaemonSeccomp, "no seccomp profile is in force");
    note(info["ExperimentalBuild"].as_bool() == Some(true), OwnRule::Experimental, "`experimental` is on");
    note(is_swarm, OwnRule::Swarm, "swarm mode is on");
    findings
}
