//! Names of roles (docs/notary-v1.md, section 1).

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// Longest delegation name, exclusive.
const NAME_BYTES: usize = 256;

/// A role that holds targets: `targets` itself or a delegation below it. The name is clean: it can go into a URL or a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoleName(Box<str>);

impl RoleName {
    /// The top role.
    #[must_use]
    pub fn targets() -> Self {
        Self("targets".into())
    }

    /// Docker's role for releases.
    #[must_use]
    pub fn releases() -> Self {
        Self("targets/releases".into())
    }

    /// Reads a delegation's name; `None` if it is not clean or no delegation.
    #[must_use]
    pub fn delegation(text: &str) -> Option<Self> {
        let clean = text.len() < NAME_BYTES
            && text.starts_with("targets/")
            && text
                .split('/')
                .all(|part| !part.is_empty() && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')));
        clean.then(|| Self(text.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is a direct child of `parent`.
    #[must_use]
    pub fn is_child_of(&self, parent: &Self) -> bool {
        self.0.rsplit_once('/').is_some_and(|(above, _)| above == &*parent.0)
    }

    /// The role that may delegate to this one; none for `targets`.
    pub(super) fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(above, _)| Self(above.into()))
    }

    /// Whether this is `other` or below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.strip_prefix(&*other.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// What docker shows as the signer: the part behind `targets/`.
    #[must_use]
    pub fn signer(&self) -> &str {
        self.0.strip_prefix("targets/").unwrap_or(&self.0)
    }
}

/// Kinds of roles, by who renews them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleKind {
    /// The root of trust.
    Root,
    /// What the owner signs.
    Targets,
    /// What a signer signs.
    Delegation,
    /// Usually the server's.
    Snapshot,
    /// The server's.
    Timestamp,
}

impl RoleKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Root, Self::Targets, Self::Delegation, Self::Snapshot, Self::Timestamp];

    /// Its name; a delegation's is not its own.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Delegation => "delegation",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        }
    }

    /// Whether servers usually sign it. They renew it on request, but only once it has expired (section 12).
    #[must_use]
    pub const fn is_served(self) -> bool {
        match self {
            Self::Snapshot | Self::Timestamp => true,
            Self::Root | Self::Targets | Self::Delegation => false,
        }
    }

    /// How long ahead its expiry is told: many people and hosts have a part in a new root, one person in a delegation.
    #[must_use]
    pub const fn ahead(self) -> SignedDuration {
        match self {
            Self::Root => SignedDuration::from_hours(24 * 90),
            Self::Targets | Self::Delegation => SignedDuration::from_hours(24 * 30),
            Self::Snapshot | Self::Timestamp => SignedDuration::from_hours(48),
        }
    }
}

/// When a role's file expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expiry {
    /// The role's name.
    pub role: String,
    /// What kind of role.
    #[serde(skip)]
    pub kind: RoleKind,
    /// From when on it counts no more.
    pub expires: Timestamp,
}

impl Expiry {
    /// Whether somebody has to see to it. What a server signs it renews when it is asked, if it is there: `is_renewed`.
    #[must_use]
    pub const fn matters(&self, is_renewed: bool) -> bool {
        !(is_renewed && self.kind.is_served())
    }

    /// Whether it has expired, or will soon.
    #[must_use]
    pub fn is_soon(&self, now: Timestamp) -> bool {
        self.expires.duration_since(now) < self.kind.ahead()
    }
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.role, self.expires)
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_clean_names_below_targets_are_delegations() {
        for good in ["targets/releases", "targets/a/b-c_1"] {
            assert!(RoleName::delegation(good).is_some(), "{good}");
        }
        let long = format!("targets/{}", "a".repeat(248));
        for bad in [
            "targets",
            "targets/",
            "targets//a",
            "targets/../root",
            "targets/./a",
            "targets/A",
            "root",
            "xtargets/a",
            "targets/a/",
            "targets/a b",
            "",
            &long,
        ] {
            assert!(RoleName::delegation(bad).is_none(), "{bad}");
        }
        let releases = RoleName::releases();
        assert!(releases.is_child_of(&RoleName::targets()));
        assert!(!RoleName::delegation("targets/releases2").unwrap().is_within(&releases));
        assert!(RoleName::delegation("targets/releases/x").unwrap().is_within(&releases));
    }
}
