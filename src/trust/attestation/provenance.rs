//! SLSA provenance: who built an image, from which repository, and from which branch or tag of that.
//!
//! Version 1 leaves it to each kind of build what its parameters are called: the names of those in use are known here, and where one statement
//! has several of them, all count.

use jiff::Timestamp;
use serde::Deserialize;

use super::statement;
use super::terms::ProvenanceTerms;
use crate::text::{clean, stands_for};
use crate::trust::object::Object;
use crate::trust::stated::Facts;

/// A source, as builders write it: `git+https://…@refs/heads/main`.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    repository: String,
    reference: Option<String>,
}

#[derive(Debug)]
pub(super) struct Provenance {
    builder: String,
    sources: Vec<Source>,
    pub(super) at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Builder {
    id: String,
}

/// A thing with an address.
#[derive(Deserialize)]
struct Named {
    uri: Option<String>,
}

mod v0_2 {
    use super::{Builder, Deserialize, Named, Object};

    #[derive(Deserialize)]
    pub(super) struct Predicate {
        pub(super) builder: Object<Builder>,
        pub(super) invocation: Option<Object<Invocation>>,
        pub(super) metadata: Option<Object<Metadata>>,
    }

    #[derive(Deserialize)]
    pub(super) struct Invocation {
        #[serde(rename = "configSource")]
        pub(super) config_source: Option<Object<Named>>,
    }

    #[derive(Deserialize)]
    pub(super) struct Metadata {
        #[serde(rename = "buildFinishedOn")]
        pub(super) finished: Option<String>,
    }
}

mod v1 {
    use super::{Builder, Deserialize, Named, Object};

    #[derive(Deserialize)]
    pub(super) struct Predicate {
        #[serde(rename = "buildDefinition")]
        pub(super) definition: Object<Definition>,
        #[serde(rename = "runDetails")]
        pub(super) run: Object<Run>,
    }

    #[derive(Deserialize)]
    pub(super) struct Definition {
        #[serde(rename = "externalParameters")]
        pub(super) parameters: Object<Parameters>,
    }

    /// Each member as a kind of build in use has it.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Parameters {
        /// GitHub's workflows.
        pub(super) workflow: Option<Object<Workflow>>,
        /// slsa-github-generator.
        pub(super) source: Option<Spelt>,
        /// `BuildKit`.
        pub(super) config_source: Option<Object<Named>>,
        /// Google Cloud Build.
        pub(super) source_to_build: Option<Object<Workflow>>,
    }

    #[derive(Deserialize)]
    pub(super) struct Workflow {
        pub(super) repository: Option<String>,
        #[serde(rename = "ref")]
        pub(super) reference: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    pub(super) enum Spelt {
        Text(String),
        Named { uri: String },
    }

    #[derive(Deserialize)]
    pub(super) struct Run {
        pub(super) builder: Object<Builder>,
        pub(super) metadata: Option<Object<Metadata>>,
    }

    #[derive(Deserialize)]
    pub(super) struct Metadata {
        #[serde(rename = "finishedOn")]
        pub(super) finished: Option<String>,
    }
}

impl Source {
    /// Whole, with the branch or tag behind it.
    fn of(uri: &str) -> Self {
        let uri = uri.strip_prefix("git+").unwrap_or(uri);
        // `#` as BuildKit has it, `@` as everybody else; a user before a host is followed by no reference. The first of them: whoever names a
        // branch may write more of them behind it.
        let at = [uri.find("@refs/"), uri.find('#')].into_iter().flatten().min();
        let split = at.and_then(|at| Some((uri.get(..at)?, uri.get(at + 1..)?)));
        let (repository, reference) = split.map_or((uri, None), |(repository, reference)| (repository, Some(reference)));
        Self { repository: repository.to_owned(), reference: reference.map(str::to_owned) }
    }

    fn with(repository: &str, reference: Option<String>) -> Self {
        let own = Self::of(repository);
        Self { reference: reference.or(own.reference), ..own }
    }
}

impl Provenance {
    /// What a statement of version 0.2 says.
    pub(super) fn of_0_2(statement: &[u8]) -> Result<Self, String> {
        let read: v0_2::Predicate = statement::predicate(statement)?;
        let source = read.invocation.and_then(|Object(invocation)| invocation.config_source?.0.uri);
        let at = read.metadata.and_then(|Object(metadata)| metadata.finished?.parse().ok());
        Ok(Self { builder: read.builder.0.id, sources: source.iter().map(|uri| Source::of(uri)).collect(), at })
    }

    /// What one of version 1 says.
    pub(super) fn of_1(statement: &[u8]) -> Result<Self, String> {
        let read: v1::Predicate = statement::predicate(statement)?;
        let v1::Parameters { workflow, source, config_source, source_to_build } = read.definition.0.parameters.0;
        let mut sources = Vec::new();
        for Object(workflow) in workflow.into_iter().chain(source_to_build) {
            if let Some(repository) = workflow.repository {
                sources.push(Source::with(&repository, workflow.reference));
            }
        }
        let named = config_source.and_then(|Object(named)| named.uri);
        let spelt = source.map(|spelt| match spelt {
            v1::Spelt::Text(uri) | v1::Spelt::Named { uri } => uri,
        });
        sources.extend(spelt.into_iter().chain(named).map(|uri| Source::of(&uri)));
        let at = read.run.0.metadata.and_then(|Object(metadata)| metadata.finished?.parse().ok());
        Ok(Self { builder: read.run.0.builder.0.id, sources, at })
    }

    /// What of the terms it does not keep.
    pub(super) fn breaks(&self, terms: &ProvenanceTerms) -> Option<String> {
        let fits = |patterns: &[String], text: &str| patterns.iter().any(|pattern| stands_for(pattern, text));
        if !terms.builder.is_empty() && !fits(&terms.builder, &self.builder) {
            return Some(format!("it was built by `{}`", clean(&self.builder)));
        }
        if (!terms.source.is_empty() || !terms.reference.is_empty()) && self.sources.is_empty() {
            return Some("it does not say from which source it was built".to_owned());
        }
        for source in &self.sources {
            if !terms.source.is_empty() && !fits(&terms.source, &source.repository) {
                return Some(format!("it was built from `{}`", clean(&source.repository)));
            }
            match &source.reference {
                _ if terms.reference.is_empty() => {}
                Some(reference) if fits(&terms.reference, reference) => {}
                Some(reference) => return Some(format!("it was built from `{}`", clean(reference))),
                None => return Some("it does not say from which branch or tag it was built".to_owned()),
            }
        }
        None
    }

    /// For rules and people: the first source.
    pub(super) fn facts(&self) -> Facts {
        let first = self.sources.first();
        Facts::Provenance {
            builder: clean(&self.builder),
            source: first.map(|source| clean(&source.repository)).unwrap_or_default(),
            reference: first.and_then(|source| source.reference.as_deref()).map(clean).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(builder: &str, source: &str, reference: &str) -> ProvenanceTerms {
        let list = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        ProvenanceTerms { builder: list(builder), source: list(source), reference: list(reference) }
    }

    fn v1(parameters: &str) -> Provenance {
        let run = r#""runDetails":{"builder":{"id":"https://ci.example/builder@v2"},"metadata":{"finishedOn":"2026-11-30T10:00:00Z","x":1}}"#;
        let text = format!(
            r#"{{"predicate":{{"buildDefinition":{{"buildType":"t","externalParameters":{parameters},"more":[]}},{run}}}}}"#
        );
        Provenance::of_1(text.as_bytes()).unwrap()
    }

    #[test]
    fn builder_source_and_reference_are_those_of_the_policy() {
        let github =
            v1(r#"{"workflow":{"repository":"https://git.example/acme/app","ref":"refs/heads/main","path":".x"},"inputs":{}}"#);
        let generator = v1(r#"{"source":{"uri":"git+https://git.example/acme/app@refs/heads/main","digest":{}}}"#);
        let text = v1(r#"{"source":"git+https://git.example/acme/app@refs/heads/main"}"#);
        let buildkit = v1(r#"{"configSource":{"uri":"https://git.example/acme/app#refs/heads/main"}}"#);
        let old = Provenance::of_0_2(
            br#"{"predicate":{"builder":{"id":"https://ci.example/builder@v2"},"buildType":"t","invocation":{"configSource":{"uri":"git+https://git.example/acme/app@refs/heads/main"}},"metadata":{"buildFinishedOn":"2026-11-30T10:00:00Z"}}}"#,
        )
        .unwrap();
        for of in [&github, &generator, &text, &buildkit, &old] {
            assert_eq!(of.sources.len(), 1, "{of:?}");
            for (good, bad) in [
                (terms("https://ci.example/*", "", ""), terms("https://evil.example/*", "", "")),
                (terms("a https://ci.example/builder@v2", "", ""), terms("https://ci.example/builder", "", "")),
                (terms("", "https://git.example/acme/*", ""), terms("", "https://git.example/acme", "")),
                (terms("", "", "refs/heads/main refs/tags/*"), terms("", "", "refs/tags/*")),
                (terms("", "", ""), terms("https://ci.example/*", "https://git.example/acme/app.git", "*")),
            ] {
                assert_eq!(of.breaks(&good), None, "{of:?} {good:?}");
                assert!(of.breaks(&bad).is_some(), "{of:?} {bad:?}");
            }
        }
        assert_eq!((github.at, old.at), (old.at, Some("2026-11-30T10:00:00Z".parse().unwrap())));
    }

    #[test]
    fn what_it_does_not_say_or_says_twice_is_no_yes() {
        let source = terms("", "https://git.example/acme/app", "");
        let both = v1(r#"{"workflow":{"repository":"https://git.example/acme/app"},"source":"https://git.example/evil/app"}"#);
        assert!(both.breaks(&source).is_some(), "all that are named count");
        assert!(v1("{}").breaks(&source).is_some() && v1("{}").breaks(&terms("https://ci.example/*", "", "")).is_none());
        let none = v1(r#"{"workflow":{"repository":"https://git.example/acme/app"}}"#);
        assert_eq!(none.breaks(&source), None);
        assert!(none.breaks(&terms("", "", "*")).is_some());
        // A user before the host is not a reference.
        assert_eq!(Source::of("git+ssh://git@git.example/acme/app").repository, "ssh://git@git.example/acme/app");
        // A branch that is called like a tag is no tag.
        for branch in ["refs/heads/x@refs/tags/v1", "refs/heads/x#refs/tags/v1"] {
            for uri in [format!("git+https://git.example/acme/app@{branch}"), format!("https://git.example/acme/app#{branch}")] {
                let said = v1(&format!(r#"{{"source":"{uri}"}}"#));
                assert!(said.breaks(&terms("", "https://git.example/acme/*", "refs/tags/v*")).is_some(), "{uri}");
                assert_eq!(said.sources[0].reference.as_deref(), Some(branch));
            }
        }
        for bad in [
            r#"{"predicate":{"builder":{"id":7}}}"#,
            r#"{"predicate":{"builder":["https://ci.example/builder@v2"]}}"#,
            r#"{"predicate":[{"id":"x"}]}"#,
            r#"{"predicate":null}"#,
            "{}",
        ] {
            assert!(Provenance::of_0_2(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
