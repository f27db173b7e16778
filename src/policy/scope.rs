//! Parts of the reference space, and who must vouch for images in each.

use std::collections::BTreeMap;

use crate::image::Host;
use crate::trust::{Binding, VerifierName};

/// A part of the reference space and what vouches for images in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The registry.
    pub host: Host,
    /// Who must vouch.
    pub require: Requirement,
}

/// Who must vouch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    /// This verifier.
    One(VerifierName),
    /// Each of these. Of none: nobody has vouched, which is a refusal.
    All(Vec<Requirement>),
    /// One of these, in this order.
    Any(Vec<Requirement>),
}

impl Requirement {
    /// The verifiers to ask, each once, in the order in which they are written.
    #[must_use]
    pub fn verifiers(&self) -> Vec<&VerifierName> {
        let mut out = Vec::new();
        self.collect(&mut out);
        out
    }

    fn collect<'r>(&'r self, out: &mut Vec<&'r VerifierName>) {
        match self {
            Self::One(name) if out.contains(&name) => {}
            Self::One(name) => out.push(name),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.collect(out)),
        }
    }

    /// Whether those that said yes are enough.
    pub fn is_met(&self, said_yes: &impl Fn(&VerifierName) -> bool) -> bool {
        match self {
            Self::One(name) => said_yes(name),
            Self::All(parts) => !parts.is_empty() && parts.iter().all(|part| part.is_met(said_yes)),
            Self::Any(parts) => parts.iter().any(|part| part.is_met(said_yes)),
        }
    }

    /// Whether it can be met with no signature and no list behind it: as weak as its weakest way.
    #[must_use]
    pub fn is_weak(&self, bindings: &BTreeMap<VerifierName, Binding>) -> bool {
        match self {
            Self::One(name) => bindings.get(name) == Some(&Binding::Held),
            Self::All(parts) => parts.iter().all(|part| part.is_weak(bindings)),
            Self::Any(parts) => parts.iter().any(|part| part.is_weak(bindings)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str) -> Requirement {
        Requirement::One(name.parse().unwrap())
    }

    #[test]
    fn requirements_are_met_as_they_are_nested() {
        let rule = Requirement::All(vec![one("notary"), Requirement::Any(vec![one("a"), one("b"), one("notary")])]);
        assert_eq!(rule.verifiers().iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["notary", "a", "b"]);
        let met = |yes: &[&str]| rule.is_met(&|name: &VerifierName| yes.contains(&name.as_str()));
        assert!(met(&["notary", "b"]) && met(&["notary"]));
        assert!(!met(&["a", "b"]) && !met(&[]));
        // Nobody who has to vouch is nobody who has vouched.
        assert!(!Requirement::All(vec![]).is_met(&|_| true) && !Requirement::Any(vec![]).is_met(&|_| true));
    }

    #[test]
    fn a_requirement_is_as_weak_as_its_weakest_way() {
        let bindings = BTreeMap::from([(VerifierName::REGISTRY, Binding::Held), (VerifierName::NOTARY, Binding::TagToDigest)]);
        let weak = |rule: Requirement| rule.is_weak(&bindings);
        assert!(weak(one("registry")) && weak(Requirement::Any(vec![one("notary"), one("registry")])));
        assert!(!weak(one("notary")) && !weak(Requirement::All(vec![one("notary"), one("registry")])));
    }
}
