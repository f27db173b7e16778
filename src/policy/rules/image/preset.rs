//! Rules that scopes may begin with.

use super::{AgeOf, Check, ImageRuleId, Level, MaxAge};

/// Rules by one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// What no image should have.
    Baseline,
    /// What the CIS Docker Benchmark asks of images at its first level, as far as a configuration shows it.
    CisL1,
    /// The same at its second level, where more is refused than recorded.
    CisL2,
}

impl Preset {
    /// All, from the least to the most.
    pub const ALL: [(&'static str, Self); 3] = [("baseline", Self::Baseline), ("cis-l1", Self::CisL1), ("cis-l2", Self::CisL2)];

    /// Its rules about images.
    #[must_use]
    pub fn rules(self) -> Vec<(ImageRuleId, Level, Check)> {
        use ImageRuleId::{ExposedPorts, Healthcheck, MaxAge as Age, Secrets, TagLatest, TagMissing, UserRoot};
        let simple = |level: Level| move |id: ImageRuleId| Some((id, level, Check::default_of(id)?));
        let age = |level: Level| (Age, level, Check::MaxAge(MaxAge { days: 90, of: AgeOf::Created }));
        let (denied, warned): (&[_], &[_]) = match self {
            Self::Baseline => (&[Secrets, ExposedPorts], &[TagLatest, UserRoot, Healthcheck]),
            Self::CisL1 => (&[TagLatest, UserRoot, Healthcheck, Secrets, ExposedPorts], &[TagMissing]),
            Self::CisL2 => (&[TagLatest, TagMissing, UserRoot, Healthcheck, Secrets, ExposedPorts], &[]),
        };
        let of_age = match self {
            Self::Baseline => None,
            Self::CisL1 => Some(age(Level::Warn)),
            Self::CisL2 => Some(age(Level::Deny)),
        };
        let denied = denied.iter().copied().filter_map(simple(Level::Deny));
        denied.chain(warned.iter().copied().filter_map(simple(Level::Warn))).chain(of_age).collect()
    }
}
