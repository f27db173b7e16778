//! Why nothing is done about containers that run unapproved, as it is recorded and as people read it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Why nothing is done about containers that run unapproved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
pub enum Hold {
    /// The gate only records: mode `permissive`, its own or its scope's.
    Permissive,
    /// Settings or files are faulty, so that what is in force is not what was written.
    Faulty,
    /// Policy or trust changed: only reports until then.
    Changed {
        /// Until when.
        until: Timestamp,
    },
    /// Too many at once: the operator is waited for.
    Brake {
        /// How many there are.
        count: usize,
        /// How many may be acted on.
        limit: usize,
    },
    /// As many as may be were acted on not long ago.
    Window {
        /// Until when.
        until: Timestamp,
    },
    /// The image was acted on before, and started again.
    BacksOff {
        /// Until when.
        until: Timestamp,
    },
    /// It is a task of a service: the swarm would start another one.
    Task {
        /// The service.
        service: String,
    },
    /// It says that it is one, and this node cannot tell.
    Claims {
        /// The service.
        service: String,
    },
    /// It was approved, and its tag is signed for other content now.
    Superseded,
    /// It cannot be judged, and that does not pass.
    Unjudged {
        /// Since when.
        since: Timestamp,
        /// The code of why.
        code: String,
    },
}

impl Hold {
    /// What it is called, without its figures.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Permissive => "permissive",
            Self::Faulty => "faulty",
            Self::Changed { .. } => "changed",
            Self::Brake { .. } => "brake",
            Self::Window { .. } => "window",
            Self::BacksOff { .. } => "backs-off",
            Self::Task { .. } => "task",
            Self::Claims { .. } => "claims",
            Self::Superseded => "superseded",
            Self::Unjudged { .. } => "unjudged",
        }
    }
}

impl std::fmt::Display for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Permissive => f.write_str("the mode is permissive (MODE, or the scope's): it is only reported"),
            Self::Faulty => f.write_str("settings or files are faulty, so it is only reported (img-authz settings)"),
            Self::Changed { until } => write!(f, "policy or trust changed: it is only reported until {until:.0} (MONITOR_PAUSE)"),
            Self::Brake { count, limit } => {
                write!(
                    f,
                    "{count} run unapproved, and at most {limit} are acted on at once; look at them, then: img-authz monitor approve"
                )
            }
            Self::Window { until } => {
                write!(f, "as many as may be were acted on within ten minutes; this one waits until {until:.0}")
            }
            Self::BacksOff { until } => write!(f, "the image was acted on and started again; next time at {until:.0}"),
            Self::Task { service } => {
                write!(f, "it is a task of service `{service}`, which would start another one: docker service rm or update it")
            }
            Self::Superseded => {
                f.write_str("it was approved before, and its tag is signed for other content now: update it, or stop it by hand")
            }
            Self::Unjudged { since, code } => write!(
                f,
                "it could not be judged since {since:.0} ({code}), so it may be anything; stop it by hand if it should not run"
            ),
            Self::Claims { service } => write!(
                f,
                "its labels say it is a task of service `{service}`, which only a manager of the swarm can tell; stop it by hand if it is not"
            ),
        }
    }
}
