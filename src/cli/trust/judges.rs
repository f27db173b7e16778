//! The verifiers of a policy, for commands: of a file that is named, or of the gate of this host.

use std::path::Path;

use super::Stop;
use crate::files::read_text;
use crate::gate::Rules;
use crate::image::Repository;
use crate::policy::{Policy, Scope, Settings, VerifierSettings};
use crate::setup::{self, Kept, LastGood, MadeOf};
use crate::trust::{Verifier, VerifierName};

/// A policy and its verifiers.
pub(super) struct Judges {
    policy: Policy,
    verifiers: Vec<std::sync::Arc<dyn Verifier>>,
    made_of: MadeOf,
}

impl Judges {
    /// Those of the file at `path`.
    pub(super) fn of_file(path: &Path, state: Option<&Path>, given: &Settings) -> Result<Self, Stop> {
        let file = setup::read_policy(path, &read_text).map_err(|faults| faulty(&faults))?;
        let state = state.map_or_else(|| given.state_dir(), Path::to_owned);
        let mut settings = Settings::default().with_policy(Some(file)).with("STATE_DIR", state.display().to_string());
        for name in ["CONFIG_DIR", "DOCKER_CONFIG"] {
            if let Some(value) = given.get(name) {
                settings = settings.with(name, value);
            }
        }
        Self::of(&settings, Kept::looking(LastGood::default(), []))
    }

    /// Those of these settings, by what the gate kept.
    pub(super) fn of(settings: &Settings, mut kept: Kept) -> Result<Self, Stop> {
        let (rules, made_of) = setup::build_of(settings, &mut kept).map_err(|faults| faulty(&faults))?;
        let Rules::Good { policy, verifiers, .. } = rules else { return Err(Stop::Unknown("the policy is faulty".to_owned())) };
        Ok(Self { policy, verifiers, made_of })
    }

    /// The scope of a repository, and under which name its verifiers are asked.
    pub(super) fn scope(&self, repository: &Repository) -> Result<(&Scope, Repository), Stop> {
        let scope = self.policy.scope(repository).ok_or_else(|| {
            let reason = self.policy.outside(repository);
            Stop::Refused { code: reason.code(), message: reason.message() }
        })?;
        Ok((scope, scope.asks(repository).unwrap_or_else(|| repository.clone())))
    }

    /// The verifier of this name.
    pub(super) fn named(&self, name: &VerifierName) -> Result<&dyn Verifier, Stop> {
        let found = self.verifiers.iter().find(|verifier| verifier.name() == name);
        found.map(|verifier| &**verifier).ok_or_else(|| Stop::Unknown(format!("the policy has no verifier `{name}`")))
    }

    /// Its type.
    pub(super) fn kind(&self, name: &VerifierName) -> &'static str {
        self.made_of.get(name).map(VerifierSettings::kind).unwrap_or_default()
    }
}

fn faulty(faults: &[crate::policy::PolicyFault]) -> Stop {
    Stop::Unknown(setup::list(faults))
}
