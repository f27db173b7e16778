//! Signers that must agree on every image, by repository (setting `NOTARY_SIGNERS`; ADR 9).
//!
//! A table from repositories to roles, whoever wrote it: the setting today, scopes of a policy file once there are any.

use crate::image::{Host, Repository};
use crate::trust::tuf::RoleName;

/// Most rules. Stops a paste accident from becoming the policy.
const RULES: usize = 256;
/// Most signers of one rule. Each is looked at in every decision.
const SIGNERS: usize = 16;
/// Longest piece of a setting that a fault repeats, in characters.
const SHOWN: usize = 80;

/// Which signers must agree on an image, beside what docker itself asks for. The default asks for none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequiredSigners {
    rules: Vec<(Repositories, Vec<RoleName>)>,
}

/// The repositories that a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Repositories {
    /// All of them.
    All,
    /// Those whose whole name begins like this, which ends with a slash.
    Below(String),
    /// This one.
    One(Repository),
}

/// Why a rule is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignersError {
    /// No `=`.
    #[error("`{0}` is not REPOSITORY=SIGNER")]
    Form(String),
    /// What stands before the `=` is no repository.
    #[error("`{0}` is not a repository by its full name (`registry.example/team/app`, `registry.example/team/*`, `*`)")]
    Repository(String),
    /// Nobody stands behind it.
    #[error("`{0}` names no signer")]
    Empty(String),
    /// What stands behind it is no signer.
    #[error("`{0}` is not a signer's name (lower-case letters, digits, - and _)")]
    Signer(String),
    /// Docker's own role, which holds what anyone signed.
    #[error("`{0}` is where docker puts what any signer signed; name the signer")]
    Releases(String),
    /// One signer, twice in one rule.
    #[error("`{0}` is named twice in one rule")]
    SignerTwice(String),
    /// The same repositories in two rules.
    #[error("`{0}` is there twice; write its signers in one rule")]
    RuleTwice(String),
    /// Too many signers.
    #[error("`{0}` names more than {SIGNERS} signers")]
    ManySigners(String),
    /// Too many rules.
    #[error("has more than {RULES} rules")]
    ManyRules,
}

impl RequiredSigners {
    /// The same signers for every repository.
    #[must_use]
    pub fn everywhere(signers: Vec<RoleName>) -> Self {
        Self { rules: vec![(Repositories::All, signers)] }
    }

    /// Reads `REPOSITORY=SIGNER,SIGNER; REPOSITORY=…`, or all that is wrong with it.
    pub fn read(written: &str) -> Result<Self, Vec<SignersError>> {
        let (mut table, mut faults) = (Self::default(), Vec::new());
        for part in written.split([';', '\n', '\r']).map(str::trim).filter(|part| !part.is_empty()) {
            match rule(part) {
                Ok((repositories, _)) if table.rules.iter().any(|(known, _)| *known == repositories) => {
                    faults.push(SignersError::RuleTwice(shown(part.split('=').next().unwrap_or_default())));
                }
                Ok(rule) => table.rules.push(rule),
                Err(fault) => faults.push(fault),
            }
        }
        if table.rules.len() > RULES {
            faults.push(SignersError::ManyRules);
        }
        if faults.is_empty() { Ok(table) } else { Err(faults) }
    }

    /// Who must agree on images of this repository. The most specific rule alone counts: the repository's own, then the one of the
    /// longest folder around it, then the one for all.
    #[must_use]
    pub fn of(&self, repository: &Repository) -> &[RoleName] {
        let covering = self.rules.iter().filter(|(repositories, _)| repositories.cover(repository));
        covering.max_by_key(|(repositories, _)| repositories.weight()).map_or(&[], |(_, signers)| signers)
    }

    /// The rules as they are written: repositories, and the signers that must agree there.
    pub fn rules(&self) -> impl Iterator<Item = (String, Vec<&str>)> {
        self.rules.iter().map(|(repositories, signers)| {
            let written = match repositories {
                Repositories::All => "*".to_owned(),
                Repositories::Below(prefix) => format!("{prefix}*"),
                Repositories::One(repository) => repository.to_string(),
            };
            (written, signers.iter().map(RoleName::signer).collect())
        })
    }

    /// The registries that the rules are about: a rule for one that no image may come from would never be heard of.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().filter_map(|(repositories, _)| match repositories {
            Repositories::All => None,
            Repositories::Below(prefix) => prefix.split('/').next(),
            Repositories::One(repository) => Some(repository.host_str()),
        })
    }
}

impl Repositories {
    fn cover(&self, repository: &Repository) -> bool {
        match self {
            Self::All => true,
            Self::Below(prefix) => repository.as_str().starts_with(prefix.as_str()),
            Self::One(one) => one == repository,
        }
    }

    /// Of two rules that cover a repository, the more specific one weighs more; no two weigh the same.
    fn weight(&self) -> usize {
        match self {
            Self::All => 0,
            Self::Below(prefix) => prefix.len(),
            Self::One(_) => usize::MAX,
        }
    }
}

fn rule(part: &str) -> Result<(Repositories, Vec<RoleName>), SignersError> {
    let (left, right) = part.split_once('=').ok_or_else(|| SignersError::Form(shown(part)))?;
    let left = left.trim();
    let repositories = repositories(left).ok_or_else(|| SignersError::Repository(shown(left)))?;
    let mut signers: Vec<RoleName> = Vec::new();
    for name in right.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let signer = signer(name)?;
        if signers.contains(&signer) {
            return Err(SignersError::SignerTwice(shown(name)));
        }
        signers.push(signer);
    }
    match signers.len() {
        0 => Err(SignersError::Empty(shown(left))),
        count if count > SIGNERS => Err(SignersError::ManySigners(shown(left))),
        _ => Ok((repositories, signers)),
    }
}

/// A signer by the name that docker shows: the delegation without `targets/`.
pub fn signer(name: &str) -> Result<RoleName, SignersError> {
    let role = RoleName::delegation(&format!("targets/{name}")).ok_or_else(|| SignersError::Signer(shown(name)))?;
    if role.is_within(&RoleName::releases()) {
        return Err(SignersError::Releases(shown(name)));
    }
    Ok(role)
}

/// `*`, `HOST/*`, `HOST/FOLDER/*` or `HOST/PATH`. Nothing is filled in but docker's own `library/`, so that a rule is about what it
/// says.
fn repositories(written: &str) -> Option<Repositories> {
    if written == "*" {
        return Some(Repositories::All);
    }
    let host: Host = written.split('/').next()?.parse().ok()?;
    let named = |text: &str| text.parse::<Repository>().ok().filter(|repository| repository.host() == host);
    let Some(folder) = written.strip_suffix("/*") else { return named(written).map(Repositories::One) };
    // A repository inside, so deep that docker adds nothing of its own.
    let inside = named(&format!("{folder}/x/x"))?;
    inside.as_str().strip_suffix("x/x").map(|prefix| Repositories::Below(prefix.to_owned()))
}

fn shown(text: &str) -> String {
    crate::text::fit(text.trim(), SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required(written: &str, repository: &str) -> Vec<String> {
        let table = RequiredSigners::read(written).unwrap();
        table.of(&repository.parse().unwrap()).iter().map(|role| role.signer().to_owned()).collect()
    }

    #[test]
    fn the_most_specific_rule_alone_counts_in_whatever_order_they_stand() {
        let mut rules =
            ["*=any", "r.example/*=host", "r.example/team/*=team,qa", "r.example/team/deep/*=deep", "r.example/team/app=app"];
        for _ in 0..rules.len() {
            rules.rotate_left(1);
            let written = rules.join(" ; ");
            for (repository, expected) in [
                ("other.example/team/app", &["any"][..]),
                ("r.example/app", &["host"]),
                ("r.example/team", &["host"]),
                ("r.example/team/other", &["team", "qa"]),
                ("r.example/team/app/x", &["team", "qa"]),
                ("r.example/team/deep", &["team", "qa"]),
                ("r.example/team/deep/x/y", &["deep"]),
                ("r.example/team/app", &["app"]),
            ] {
                assert_eq!(required(&written, repository), expected, "{repository} by {written}");
            }
        }
        assert!(required("", "r.example/team/app").is_empty());
        assert!(required("r.example/team/app=app", "r.example/team/app2").is_empty());
    }

    #[test]
    fn a_folder_ends_at_its_slash_and_a_host_at_its_port() {
        let rule = "r.example:5000/team/*=qa";
        assert_eq!(required(rule, "r.example:5000/team/app"), ["qa"]);
        for other in [
            "r.example:5000/teamx/app",
            "r.example:5000/team",
            "r.example:5000/a/team/app",
            "r.example/team/app",
            "r.example:50001/team/app",
        ] {
            assert!(required(rule, other).is_empty(), "{other}");
        }
        assert!(required("r.example/*=qa", "r.example:5000/app").is_empty());
        assert!(required("r.example/*=qa", "r.example.evil/app").is_empty());
        assert!(required("r.example/*=qa", "R.example/app").is_empty());
    }

    #[test]
    fn docker_hub_s_names_are_those_that_docker_means() {
        for rule in
            ["docker.io/busybox=qa", "docker.io/library/busybox=qa", "index.docker.io/busybox=qa", "docker.io/library/*=qa"]
        {
            assert_eq!(required(rule, "busybox"), ["qa"], "{rule}");
            assert!(required(rule, "docker.io/team/busybox").is_empty(), "{rule}");
        }
        assert_eq!(required("docker.io/*=qa", "busybox"), ["qa"]);
        assert_eq!(required("docker.io/team/*=qa", "team/app"), ["qa"]);
        assert!(required("docker.io/team/*=qa", "library/team").is_empty());
        // One repository, written in two ways, is there twice.
        let twice = RequiredSigners::read("docker.io/busybox=a\ndocker.io/library/busybox=b");
        assert_eq!(twice, Err(vec![SignersError::RuleTwice("docker.io/library/busybox".into())]));
    }

    #[test]
    fn what_might_be_read_in_two_ways_is_a_fault() {
        for left in [
            "",
            "app",
            "team/app",
            "team/*",
            "r.example",
            "r.example/",
            "r.example//*",
            "r.example/team*",
            "r.example/*/app",
            "**",
            "*/app",
            "r.example/team/**",
            "r.example/Team/*",
            "r.example/../*",
            "r.example/./app",
            "r.example/team/../*",
            "r.example/app:1.0",
            "https://r.example/app",
            "/r.example/*",
            "r.example/app@sha256:00",
            "r.example/te am/*",
            "r.example/%2e%2e/*",
        ] {
            let fault = RequiredSigners::read(&format!("{left}=qa")).unwrap_err();
            assert!(matches!(fault[..], [SignersError::Repository(_)]), "{left}: {fault:?}");
        }
        for (written, count) in [
            ("r.example/app", 1),
            ("r.example/app=", 1),
            ("r.example/app= , ", 1),
            ("r.example/app=QA", 1),
            ("r.example/app=a b", 1),
            ("r.example/app=../root", 1),
            ("r.example/app=targets/", 1),
            ("r.example/app=*", 1),
            ("r.example/app=releases", 1),
            ("r.example/app=releases/x", 1),
            ("r.example/app=qa,qa", 1),
            ("r.example/app=a=b", 1),
            ("*=a;*=b", 1),
            ("x;y=z;*=", 3),
        ] {
            assert_eq!(RequiredSigners::read(written).unwrap_err().len(), count, "{written}");
        }
        let many = |count: usize, text: &dyn Fn(usize) -> String| (0..count).map(text).collect::<String>();
        let rules = |count| many(count, &|index| format!("r.example/a{index}=qa;"));
        assert!(RequiredSigners::read(&rules(RULES)).is_ok());
        assert_eq!(RequiredSigners::read(&rules(RULES + 1)), Err(vec![SignersError::ManyRules]));
        let signers = |count| many(count, &|index| format!("s{index},"));
        assert!(RequiredSigners::read(&format!("*={}", signers(SIGNERS))).is_ok());
        assert!(RequiredSigners::read(&format!("*={}", signers(SIGNERS + 1))).is_err());
    }
}
