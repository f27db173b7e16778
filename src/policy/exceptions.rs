//! Exceptions from what posture `lockdown` refuses (`ALLOW_HOST_ACCESS`): ways to the host that the operator has opened, one rule each.
//!
//! A rule is about the evidence of host access, as `request` has it: paths without `.` and `..`. Whether a path leads through a symbolic
//! link is not seen from here; the engine follows links when it mounts. So a path alone opens that path and nothing under it, and
//! opening a whole folder has to be written (`/srv/`).

use std::fmt;
use std::str::FromStr;

use crate::request::HostAccess;
use crate::text::fit;

/// Longest evidence that is compared. What is longer has been cut, and may hold anything behind the cut.
const EVIDENCE_CHARS: usize = 256;
/// Those whose evidence may be a path that was cleaned.
const PATHS: [&str; 3] = ["bind", "device", "cgroup-parent"];

/// A way to the host that is open in posture `lockdown`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAccessRule {
    id: &'static str,
    allows: Allows,
}

/// Which ways to the host of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Allows {
    /// All.
    All,
    /// This one.
    Exactly(String),
    /// This folder (without its closing slash) and what lies under it.
    Under(String),
    /// Those that begin like this.
    Beginning(String),
}

/// Why a rule is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostAccessRuleError {
    /// No way to the host has this id.
    #[error("`{id}` is not a way to the host; there are {}", HostAccess::IDS.join(", "))]
    UnknownId {
        /// What was written, bounded.
        id: String,
    },
    /// `ID=` with nothing behind it, or `*` alone.
    #[error("`{id}=` says not which; write `{id}` alone to open all of them")]
    Empty {
        /// The way to the host.
        id: &'static str,
    },
    /// A path that the engine would read as another.
    #[error("`{id}={path}` is not a clean absolute path")]
    Path {
        /// The way to the host.
        id: &'static str,
        /// What was written, bounded.
        path: String,
    },
    /// More than is ever compared.
    #[error("`{id}=…` is longer than {EVIDENCE_CHARS} characters")]
    TooLong {
        /// The way to the host.
        id: &'static str,
    },
}

impl FromStr for HostAccessRule {
    type Err = HostAccessRuleError;

    fn from_str(written: &str) -> Result<Self, HostAccessRuleError> {
        let (id, what) = match written.split_once('=') {
            Some((id, what)) => (id.trim(), Some(what.trim())),
            None => (written.trim(), None),
        };
        let Some(id) = HostAccess::IDS.iter().copied().find(|known| *known == id) else {
            return Err(HostAccessRuleError::UnknownId { id: fit(id, 40) });
        };
        let Some(what) = what else { return Ok(Self { id, allows: Allows::All }) };
        if what.chars().count() > EVIDENCE_CHARS {
            return Err(HostAccessRuleError::TooLong { id });
        }
        let (begins, named) = what.strip_suffix('*').map_or((false, what), |named| (true, named));
        if named.is_empty() {
            return Err(HostAccessRuleError::Empty { id });
        }
        if PATHS.contains(&id) && !is_good_path(id, named) {
            return Err(HostAccessRuleError::Path { id, path: fit(named, 80) });
        }
        let folder = named.strip_suffix('/').filter(|_| PATHS.contains(&id) && named.starts_with('/'));
        let allows = match (begins, folder) {
            (true, _) => Allows::Beginning(spelled(id, named)),
            (false, Some(folder)) => Allows::Under(folder.to_owned()),
            (false, None) => Allows::Exactly(spelled(id, named)),
        };
        Ok(Self { id, allows })
    }
}

impl fmt::Display for HostAccessRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.allows {
            Allows::All => f.write_str(self.id),
            Allows::Exactly(named) => write!(f, "{}={named}", self.id),
            Allows::Under(folder) => write!(f, "{}={folder}/", self.id),
            Allows::Beginning(named) => write!(f, "{}={named}*", self.id),
        }
    }
}

impl HostAccessRule {
    /// What it opens, as it is written behind `ID=`.
    pub(super) fn opened(&self) -> String {
        let written = self.to_string();
        written.split_once('=').map(|(_, opened)| opened.to_owned()).unwrap_or_default()
    }

    /// Whether this rule allows `access`.
    #[must_use]
    pub fn allows(&self, access: &HostAccess) -> bool {
        if access.id != self.id {
            return false;
        }
        let what = spelled(self.id, &access.what);
        match &self.allows {
            Allows::All => true,
            _ if what.chars().count() > EVIDENCE_CHARS || climbs(&what) || access.is_template() => false,
            Allows::Exactly(named) => what == *named,
            Allows::Under(folder) => {
                what.strip_prefix(folder.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Allows::Beginning(named) => what.starts_with(named.as_str()),
        }
    }
}

/// Evidence in one spelling: the engine takes capabilities in any case, with `CAP_` or without.
fn spelled(id: &str, what: &str) -> String {
    if id != "capability" {
        return what.to_owned();
    }
    let upper = what.to_ascii_uppercase();
    upper.strip_prefix("CAP_").map_or_else(|| upper.clone(), str::to_owned)
}

/// Whether a part of the evidence is `..`: then what it begins with says nothing about where it leads.
fn climbs(what: &str) -> bool {
    what.split(['/', '=', ':', ',']).any(|part| part == "..")
}

/// Binds are absolute; devices and control groups need not be paths at all. Paths have no empty and no dotted parts.
fn is_good_path(id: &str, path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return id != "bind" };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    rest.is_empty() || rest.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opens(rule: &str, id: &'static str, what: &str) -> bool {
        rule.parse::<HostAccessRule>().unwrap().allows(&HostAccess { id, what: what.to_owned() })
    }

    /// Rule, what it opens, what it keeps shut.
    #[test]
    fn a_rule_opens_what_it_says_and_nothing_beside() {
        for (rule, id, open, shut) in [
            ("privileged", "privileged", &["privileged"][..], &[][..]),
            ("bind", "bind", &["/", "/etc", "../x"], &[]),
            ("bind=/srv/", "bind", &["/srv", "/srv/a", "/srv/a/b"], &["/", "/srvx", "/etc", "srv/a", "../srv/a", ""]),
            ("bind=/srv", "bind", &["/srv"], &["/srv/a", "/srvx", "/", "srv"]),
            ("bind=/", "bind", &["/", "/etc"], &["../x", "x"]),
            ("bind=/srv/data-*", "bind", &["/srv/data-1", "/srv/data-1/x"], &["/srv/data", "/srv", "/srv/other"]),
            ("device=/dev/fuse", "device", &["/dev/fuse"], &["/dev/fuse2", "/dev/sda", "a *:* rwm"]),
            ("device=/dev/snd/", "device", &["/dev/snd/seq"], &["/dev/sndx", "/dev/sda"]),
            ("device=nvidia", "device", &["nvidia"], &["/dev/nvidia0", "request"]),
            (
                "capability=NET_BIND_SERVICE",
                "capability",
                &["NET_BIND_SERVICE", "CAP_NET_BIND_SERVICE", "cap_net_bind_service"],
                &["ALL", "NET_ADMIN", "NET_BIND_SERVICE ", "CAP_CAP_NET_BIND_SERVICE"],
            ),
            ("capability=cap_chown", "capability", &["CHOWN"], &["FOWNER"]),
            ("namespace=network:host", "namespace", &["network:host"], &["pid:host", "network:container:web"]),
            ("namespace=network:container:*", "namespace", &["network:container:web"], &["network:host", "pid:container:web"]),
            ("sysctl=net.ipv4.ip_forward=1", "sysctl", &["net.ipv4.ip_forward=1"], &["net.ipv4.ip_forward=0", "kernel.msgmax=1"]),
            (
                "volume-options=device=/srv/*",
                "volume-options",
                &["device=/srv/a"],
                &["device=/etc", "device=/srv/../etc", "device=/srv/a/..", "o=bind"],
            ),
            ("cgroup-parent=/ours/", "cgroup-parent", &["/ours/a"], &["/theirs", "ours/../theirs"]),
            (" bind = /srv ", "bind", &["/srv"], &["/etc"]),
        ] {
            for what in open {
                assert!(opens(rule, id, what), "{rule}: {what}");
                let other = if id == "sysctl" { "annotation" } else { "sysctl" };
                assert!(!opens(rule, other, what), "{rule}: {other} {what}");
            }
            for what in shut {
                assert!(!opens(rule, id, what), "{rule}: {what}");
            }
        }
    }

    #[test]
    fn what_was_cut_is_opened_by_no_beginning() {
        let cut = format!("device=/srv/{}…", "x".repeat(244));
        assert_eq!(cut.chars().count(), EVIDENCE_CHARS + 1);
        assert!(!opens("volume-options=device=/srv/*", "volume-options", &cut));
        assert!(opens("volume-options", "volume-options", &cut));
    }

    #[test]
    fn what_may_become_something_else_is_opened_by_no_path() {
        for (rule, id, what) in [
            ("bind=/srv/", "bind", r#"/srv/{{".."}}/etc"#),
            ("bind=/srv/*", "bind", "/srv/{{1}}"),
            ("volume-options=device=/srv/*", "volume-options", r#"device=/srv/{{".."}}/etc"#),
            ("volume-options=o={{1}}", "volume-options", "o={{1}}"),
        ] {
            assert!(!opens(rule, id, what), "{rule}: {what}");
            assert!(opens(id, id, what), "{id}: {what}");
        }
        assert!(opens("bind=/srv/", "bind", "/srv/{a}/{b}"));
    }

    #[test]
    fn what_is_no_rule_says_why() {
        let long = format!("bind=/{}", "x".repeat(EVIDENCE_CHARS));
        let wrong = ["binds=/srv", "", "Bind", "bind=", "bind=*", "capability= ", "bind=srv", "bind=/srv/../etc", "bind=/a//b"];
        let told = wrong.into_iter().chain(["bind=./x", "device=/dev/./sda", &long]).map(|rule| {
            let error = rule.parse::<HostAccessRule>().unwrap_err();
            error.to_string().replace(&HostAccess::IDS.join(", "), "…")
        });
        insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"), @r"
        `binds` is not a way to the host; there are …
        `` is not a way to the host; there are …
        `Bind` is not a way to the host; there are …
        `bind=` says not which; write `bind` alone to open all of them
        `bind=` says not which; write `bind` alone to open all of them
        `capability=` says not which; write `capability` alone to open all of them
        `bind=srv` is not a clean absolute path
        `bind=/srv/../etc` is not a clean absolute path
        `bind=/a//b` is not a clean absolute path
        `bind=./x` is not a clean absolute path
        `device=/dev/./sda` is not a clean absolute path
        `bind=…` is longer than 256 characters
        ");
    }
}
