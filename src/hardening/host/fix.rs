//! What would close findings of a host: flags for `docker run`, members for daemon.json. Nothing is written or run.

use crate::order::Ordered as _;
use serde_json::{Map, Value, json};

use super::super::{Finding, OwnRule, RuleName};
use crate::policy::{CreateRuleId, ImageRuleId};

/// Flags to start a container with in place of what it has, and what to leave out.
#[must_use]
pub fn run_fix(findings: &[&Finding]) -> (Vec<&'static str>, Vec<&'static str>) {
    // What every container can be given, whatever was found.
    let mut add = vec!["--read-only --tmpfs /tmp", "--cap-drop ALL", "--security-opt no-new-privileges"];
    let mut leave = Vec::new();
    for finding in findings {
        match finding.rule {
            RuleName::Create(CreateRuleId::MemoryLimit) => add.push("--memory 512m"),
            RuleName::Create(CreateRuleId::CpuLimit) => add.push("--cpus 1"),
            RuleName::Create(CreateRuleId::PidsLimit) => add.push("--pids-limit 200"),
            RuleName::Create(CreateRuleId::RestartPolicy) => add.push("--restart on-failure:5"),
            RuleName::Create(CreateRuleId::HostIp) => add.push("-p 127.0.0.1:PORT:PORT"),
            RuleName::Image(ImageRuleId::UserRoot) => add.push("--user 10001"),
            RuleName::Image(ImageRuleId::Healthcheck) => add.push("--health-cmd COMMAND"),
            RuleName::Own(OwnRule::DefaultBridge) => add.push("--network NETWORK"),
            RuleName::Create(CreateRuleId::ReadOnlyRoot | CreateRuleId::NoNewPrivileges) => {}
            RuleName::Create(_) => leave.push(finding.remedy),
            RuleName::Image(_) | RuleName::Own(_) => {}
        }
    }
    (add, leave)
}

/// Members of daemon.json that would close findings of the engine.
#[must_use]
pub fn daemon_fix(findings: &[Finding]) -> Map<String, Value> {
    let member = |finding: &Finding| {
        let (name, value) = match finding.rule {
            RuleName::Own(OwnRule::InterContainer) => ("icc", json!(false)),
            RuleName::Own(OwnRule::LogLevel) => ("log-level", json!("info")),
            RuleName::Own(OwnRule::IptablesOff) => ("iptables", json!(true)),
            RuleName::Own(OwnRule::InsecureRegistries) => ("insecure-registries", json!([])),
            RuleName::Own(OwnRule::UserNamespaces) => ("userns-remap", json!("default")),
            RuleName::Own(OwnRule::DaemonNewPrivileges) => ("no-new-privileges", json!(true)),
            RuleName::Own(OwnRule::LiveRestore) => ("live-restore", json!(true)),
            RuleName::Own(OwnRule::UserlandProxy) => ("userland-proxy", json!(false)),
            RuleName::Own(OwnRule::Experimental) => ("experimental", json!(false)),
            RuleName::Own(_) | RuleName::Image(_) | RuleName::Create(_) => return None,
        };
        Some((name.to_owned(), value))
    };
    findings.iter().filter_map(member).ordered()
}
