//! Parts of the reference space, and who must vouch for images in each.

mod index;
mod pattern;

use crate::order::Ordered as _;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) use pattern::Part;
pub use pattern::{Pattern, PatternError};

use self::index::Index;
use super::fault::Position;
use super::{CreateRules, ImageRules, Mode};
use crate::image::{Host, Repository};
use crate::trust::{Binding, VerifierName};

/// A part of the reference space and what vouches for images in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// What it is called, where it was given a name.
    pub name: Option<String>,
    /// The repositories in it: those that one of these matches and no more specific pattern of another scope.
    pub patterns: Vec<Pattern>,
    /// Who must vouch.
    pub require: Requirement,
    /// Whether refusals of what is proved to lie in its repositories are carried out.
    pub mode: Mode,
    /// Where its images come from, and under whose names verifiers are asked.
    pub origin: Option<Origin>,
    /// What its images must be, beside being vouched for.
    pub rules: Arc<ImageRules>,
    /// What may be asked for of its images' containers.
    pub create_rules: Arc<CreateRules>,
    /// Where it is written, if that is a file.
    pub position: Option<Position>,
}

/// The scope is a mirror: in front of its repositories stands one folder in place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// What the mirror's names begin with, without the slash.
    mirror: String,
    /// What the origin's begin with, without the slash.
    folder: String,
}

impl Origin {
    /// The origin `folder` of a mirror whose pattern is this; `None` where the pattern is not a written-out folder with `/**` behind it.
    #[must_use]
    pub fn new(pattern: &Pattern, folder: &str) -> Option<Self> {
        let mirror = pattern.as_str().strip_suffix("/**").filter(|mirror| !mirror.contains('*'))?;
        Some(Self { mirror: mirror.to_owned(), folder: folder.to_owned() })
    }

    /// The registry of the origin.
    #[must_use]
    pub fn registry(&self) -> Option<Host> {
        self.folder.split('/').next()?.parse().ok()
    }

    /// What stands in front of the origin's names.
    #[must_use]
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// The name of a repository of the mirror at the origin; `None` where it could have none there.
    fn of(&self, repository: &Repository) -> Option<Repository> {
        let rest = repository.as_str().strip_prefix(self.mirror.as_str())?;
        if !rest.is_empty() && !rest.starts_with('/') {
            return None;
        }
        let name = format!("{}{rest}", self.folder);
        // Docker's normal form is the name itself: nothing is filled in.
        name.parse::<Repository>().ok().filter(|origin| origin.as_str() == name)
    }
}

impl Scope {
    /// The name under which verifiers are asked about a repository of this scope; `None` where there is none.
    #[must_use]
    pub fn asks(&self, repository: &Repository) -> Option<Repository> {
        self.origin.as_ref().map_or_else(|| Some(repository.clone()), |origin| origin.of(repository))
    }

    /// All repositories of a registry.
    #[must_use]
    pub fn of_registry(host: &Host, require: Requirement) -> Self {
        Self::of_patterns(vec![Pattern::all_of(host)], require)
    }

    /// The repositories that these patterns match, with nothing else said of them.
    #[must_use]
    pub fn of_patterns(patterns: Vec<Pattern>, require: Requirement) -> Self {
        Self {
            name: None,
            patterns,
            require,
            mode: Mode::Enforce,
            origin: None,
            rules: Arc::default(),
            create_rules: Arc::default(),
            position: None,
        }
    }

    /// Whether content in it may run with no signature and no list behind it.
    #[must_use]
    pub fn is_weak(&self, bindings: &BTreeMap<VerifierName, Binding>) -> bool {
        self.mode == Mode::Permissive || self.require.is_weak(bindings)
    }

    /// The registries that it is about, and where verifiers are asked.
    pub fn registries(&self) -> impl Iterator<Item = Host> {
        self.patterns.iter().filter_map(Pattern::registry).chain(self.origin.as_ref().and_then(Origin::registry))
    }

    /// What it is called: by its name, or by its first pattern. A whole registry is called as the registry.
    #[must_use]
    pub fn label(&self) -> &str {
        let of_pattern = || self.patterns.first().map(Pattern::as_str).unwrap_or_default();
        self.name.as_deref().unwrap_or_else(|| {
            let text = of_pattern();
            text.strip_suffix("/**").filter(|rest| !rest.contains('/')).unwrap_or(text)
        })
    }
}

/// The scopes of a policy, and which of them a repository belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes {
    all: Vec<Scope>,
    index: Box<Index>,
    /// Those with create rules that no earlier one has.
    with_create_rules: Vec<usize>,
}

impl Scopes {
    /// These scopes. Where two are equally specific, the first counts: who makes them looks for [`Pattern::ties_with`] first.
    #[must_use]
    pub fn new(all: Vec<Scope>) -> Self {
        let mut index = Box::<Index>::default();
        for (number, scope) in all.iter().enumerate() {
            for pattern in &scope.patterns {
                index.add(pattern, number);
            }
        }
        let mut seen = BTreeSet::new();
        let mut is_new = |scope: &Scope| !scope.create_rules.is_empty() && seen.insert(Arc::as_ptr(&scope.create_rules));
        let with_create_rules = (0..).zip(&all).filter(|(_, scope)| is_new(scope)).map(|(number, _)| number).collect();
        Self { all, index, with_create_rules }
    }

    /// Scopes with create rules: of those that share them, the first.
    pub fn with_create_rules(&self) -> impl Iterator<Item = &Scope> {
        self.with_create_rules.iter().filter_map(|number| self.all.get(*number))
    }

    /// Whether scopes say different things about containers.
    #[must_use]
    pub fn differ_about_containers(&self) -> bool {
        let mut all = self.all.iter().map(|scope| &scope.create_rules);
        all.next().is_some_and(|first| all.any(|other| !Arc::ptr_eq(first, other) && first != other))
    }

    /// What scopes say about images, each once, however many say it.
    #[must_use]
    pub fn distinct_rules(&self) -> Vec<&Arc<ImageRules>> {
        let mut seen = BTreeSet::new();
        self.all.iter().map(|scope| &scope.rules).filter(|rules| seen.insert(Arc::as_ptr(rules))).collect()
    }

    /// The scope a repository belongs to: the one with the most specific pattern that matches it. A repository of a mirror that could not
    /// be at the origin belongs to none, and neither does one in a scope that refuses.
    #[must_use]
    pub fn of(&self, repository: &Repository) -> Option<&Scope> {
        self.matching(repository).filter(|scope| !scope.require.is_nobody() && scope.asks(repository).is_some())
    }

    /// The scope that refuses a repository, where one does so by its own words.
    #[must_use]
    pub fn refusing(&self, repository: &Repository) -> Option<&Scope> {
        self.matching(repository).filter(|scope| scope.require.is_nobody())
    }

    fn matching(&self, repository: &Repository) -> Option<&Scope> {
        self.all.get(self.index.find(repository.as_str())?)
    }

    /// All of them, in the order in which they are written.
    pub fn iter(&self) -> std::slice::Iter<'_, Scope> {
        self.all.iter()
    }

    /// The registries that images may come from, each once; of a mirror the origin's too. `**` is about all and names none.
    #[must_use]
    pub fn registries(&self) -> BTreeSet<Host> {
        self.all.iter().filter(|scope| !scope.require.is_nobody()).flat_map(Scope::registries).ordered()
    }
}

impl<'s> IntoIterator for &'s Scopes {
    type Item = &'s Scope;
    type IntoIter = std::slice::Iter<'s, Scope>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
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
    /// What nobody can meet: a scope with it refuses.
    #[must_use]
    pub const fn nobody() -> Self {
        Self::Any(Vec::new())
    }

    /// Whether it is that.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        matches!(self, Self::Any(parts) if parts.is_empty())
    }

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
    fn a_mirrors_repositories_are_asked_about_under_the_names_of_the_origin() {
        let mirror = |pattern: &str, folder: &str| Origin::new(&pattern.parse().unwrap(), folder);
        let asked = |pattern: &str, folder: &str, name: &str| {
            let scope = Scope {
                origin: mirror(pattern, folder),
                patterns: vec![pattern.parse().unwrap()],
                ..Scope::of_registry(&"x.example".parse().unwrap(), one("a"))
            };
            assert!(scope.origin.is_some());
            let scopes = Scopes::new(vec![scope]);
            let name = name.parse().unwrap();
            scopes.of(&name).map(|scope| scope.asks(&name).unwrap().to_string())
        };
        assert_eq!(asked("m.example/hub/**", "docker.io", "m.example/hub/library/x").as_deref(), Some("docker.io/library/x"));
        assert_eq!(asked("m.example/**", "o.example/team", "m.example/a/b").as_deref(), Some("o.example/team/a/b"));
        assert_eq!(asked("m.example/a/**", "o.example/team", "m.example/a").as_deref(), Some("o.example/team"));
        // Docker would fill in a folder; and a registry is not a repository.
        assert_eq!(asked("m.example/hub/**", "docker.io", "m.example/hub/x"), None);
        assert_eq!(asked("m.example/hub/**", "docker.io", "m.example/hub"), None);
        assert_eq!(asked("m.example/hub/**", "docker.io", "m.example/hubs/library/x"), None);
        for pattern in ["m.example/*", "m.example/x", "m.example/*/**", "m.example/**/x", "**"] {
            assert_eq!(mirror(pattern, "o.example"), None, "{pattern}");
        }
    }

    #[test]
    fn a_scope_that_refuses_takes_its_repositories_out_of_a_wider_one() {
        let scope = |pattern: &str, require| Scope::of_patterns(vec![pattern.parse().unwrap()], require);
        let scopes = Scopes::new(vec![scope("r.example/**", one("a")), scope("r.example/bad/**", Requirement::nobody())]);
        let (bad, good) = ("r.example/bad/x".parse().unwrap(), "r.example/good".parse().unwrap());
        assert!(scopes.of(&bad).is_none() && scopes.refusing(&bad).is_some());
        assert!(scopes.of(&good).is_some() && scopes.refusing(&good).is_none());
        let refusing = Scopes::new(vec![scope("r.example/**", Requirement::nobody())]);
        assert!(refusing.registries().is_empty() && !Requirement::nobody().is_weak(&BTreeMap::new()));
    }

    #[test]
    fn a_requirement_is_as_weak_as_its_weakest_way() {
        let bindings = BTreeMap::from([(VerifierName::REGISTRY, Binding::Held), (VerifierName::NOTARY, Binding::TagToDigest)]);
        let weak = |rule: Requirement| rule.is_weak(&bindings);
        assert!(weak(one("registry")) && weak(Requirement::Any(vec![one("notary"), one("registry")])));
        assert!(!weak(one("notary")) && !weak(Requirement::All(vec![one("notary"), one("registry")])));
    }
}
