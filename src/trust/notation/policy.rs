//! `trustpolicy.json`, notation's own file: whose signatures count in which repositories, and what of them is enforced. A fault anywhere
//! makes all of it invalid. What would vouch for nothing proven is a fault here.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;

use super::identity::Name;
use crate::image::Repository;
use crate::registry::fold;
use crate::text::{clean, fit};
use crate::trust::object::{self, Object};

/// Most statements, and most texts of one list.
const STATEMENTS: usize = 1024;
const LISTED: usize = 1024;
const SHOWN: usize = 80;

/// Who is trusted where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustPolicy {
    statements: Vec<Statement>,
}

/// Who is trusted in some repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    name: String,
    /// Whole names of repositories; `*` alone: those of which no other statement speaks.
    scopes: Vec<String>,
    pub(super) time: Action,
    pub(super) expiry: Action,
    pub(super) revocation: Revocation,
    pub(super) stamps: Stamps,
    pub(super) stores: Vec<StoreName>,
    pub(super) identities: Identities,
}

/// What comes of a check that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The signature does not count.
    Enforce,
    /// It does nevertheless.
    Log,
}

/// What comes of a certificate of which it is not known whether it is revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revocation {
    /// The signature does not count.
    Enforce,
    /// It does; one that is known to be revoked does not.
    Log,
    /// Nobody looks.
    Skip,
}

/// When a timestamp is needed, where there is a store for its authorities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamps {
    Always,
    /// Once a certificate has run out.
    AfterCertificate,
}

/// Which signers count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identities {
    /// Whoever the stores lead to.
    All,
    Named(Vec<Name>),
}

/// A trust store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreName {
    pub(super) kind: StoreKind,
    pub(super) name: String,
}

/// What a trust store is for: the folders of notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum StoreKind {
    Ca,
    SigningAuthority,
    Tsa,
}

impl StoreKind {
    const ALL: [Self; 3] = [Self::Ca, Self::SigningAuthority, Self::Tsa];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ca => "ca",
            Self::SigningAuthority => "signingAuthority",
            Self::Tsa => "tsa",
        }
    }
}

impl StoreName {
    /// `ca:acme`.
    fn read(text: &str) -> Result<Self, String> {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        let kind = StoreKind::ALL.into_iter().find(|known| known.as_str() == kind);
        let is_name = !name.is_empty()
            && !matches!(name, "." | "..")
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        match kind {
            Some(kind) if is_name => Ok(Self { kind, name: name.to_owned() }),
            Some(_) | None => Err(format!("`{}` is not ca:NAME, signingAuthority:NAME or tsa:NAME", shown(text))),
        }
    }

    /// Its folder in that of all, by its parts.
    #[must_use]
    pub fn folder(&self) -> [&str; 3] {
        ["x509", self.kind.as_str(), &self.name]
    }
}

impl std::fmt::Display for StoreName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind.as_str(), self.name)
    }
}

/// Its members, as they are to be written.
const KNOWN: [&str; 10] = [
    "version",
    "trustPolicies",
    "name",
    "registryScopes",
    "signatureVerification",
    "trustStores",
    "trustedIdentities",
    "level",
    "override",
    "verifyTimestamp",
];

/// Members that are not known here, nor to notation, which passes over them.
type Unknown = BTreeMap<String, serde_json::Value>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    version: String,
    trust_policies: Vec<Object<Written>>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    name: String,
    registry_scopes: Vec<String>,
    signature_verification: Object<Verification>,
    #[serde(default)]
    trust_stores: Vec<String>,
    #[serde(default)]
    trusted_identities: Vec<String>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verification {
    level: String,
    #[serde(rename = "override")]
    changed: Option<Object<Override>>,
    verify_timestamp: Option<String>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Override {
    authenticity: Option<String>,
    authentic_timestamp: Option<String>,
    expiry: Option<String>,
    revocation: Option<String>,
}

impl TrustPolicy {
    /// The policy that a file holds.
    pub fn read(text: &str) -> Result<Self, String> {
        let file: File = object::read(text.as_bytes())?;
        if file.version != "1.0" {
            return Err(format!("its version is `{}`, not 1.0", shown(&file.version)));
        }
        if file.trust_policies.is_empty() || file.trust_policies.len() > STATEMENTS {
            return Err(format!("it has no statement, or more than {STATEMENTS}"));
        }
        let of_statements = |Object(written): &Object<Written>| {
            written.unknown.keys().chain(written.signature_verification.0.unknown.keys()).cloned().collect::<Vec<_>>()
        };
        for member in file.unknown.keys().cloned().chain(file.trust_policies.iter().flat_map(of_statements)) {
            // Go, and so notation, takes members in any case.
            if let Some(known) = KNOWN.iter().find(|known| fold(known) == fold(&member)) {
                return Err(format!("its member `{}` is to be written `{known}`", shown(&member)));
            }
            tracing::warn!(member = shown(&member), "a member of a trust policy of notation is not known, and says nothing");
        }
        let (mut names, mut scopes) = (HashSet::new(), HashSet::new());
        let mut statements = Vec::new();
        for Object(written) in file.trust_policies {
            let name = written.name.clone();
            let told = |why: String| format!("statement `{}`: {why}", shown(&name));
            let statement = Statement::of(written).map_err(told)?;
            if !names.insert(statement.name.clone()) {
                return Err(told("another statement has this name".to_owned()));
            }
            if let Some(scope) = statement.scopes.iter().find(|scope| !scopes.insert((*scope).clone())) {
                return Err(told(format!("the scope `{}` is there twice", shown(scope))));
            }
            statements.push(statement);
        }
        Ok(Self { statements })
    }

    /// The stores that it names, each once.
    pub fn stores(&self) -> impl Iterator<Item = &StoreName> {
        let mut seen = HashSet::new();
        self.statements.iter().flat_map(|statement| &statement.stores).filter(move |store| seen.insert(*store))
    }

    /// The statement for a repository: one that names it before the one for all.
    pub(super) fn of(&self, repository: &Repository) -> Option<&Statement> {
        let with = |scope: &str| self.statements.iter().find(|statement| statement.scopes.iter().any(|own| own == scope));
        with(repository.as_str()).or_else(|| with("*"))
    }
}

impl Statement {
    fn of(written: Written) -> Result<Self, String> {
        let Written { name, registry_scopes: scopes, signature_verification: Object(verification), .. } = written;
        if name.is_empty() {
            return Err("its name is empty".to_owned());
        }
        if scopes.is_empty() || scopes.len() > LISTED || (scopes.len() > 1 && scopes.iter().any(|scope| scope == "*")) {
            return Err("registryScopes must be whole names of repositories, or `*` alone".to_owned());
        }
        let is_whole = |scope: &String| scope == "*" || scope.parse::<Repository>().is_ok_and(|found| found.as_str() == scope);
        if let Some(odd) = scopes.iter().find(|scope| !is_whole(scope)) {
            return Err(format!("the scope `{}` is not a whole name, `host[:port]/repository`", shown(odd)));
        }
        let (time, expiry, revocation) = enforced(&verification)?;
        let stamps = match verification.verify_timestamp.as_deref() {
            None | Some("always") => Stamps::Always,
            Some("afterCertExpiry") => Stamps::AfterCertificate,
            Some(other) => return Err(format!("verifyTimestamp is `{}`; always or afterCertExpiry is due", shown(other))),
        };
        if written.trust_stores.is_empty() || written.trusted_identities.is_empty() {
            return Err("trustStores and trustedIdentities are needed".to_owned());
        }
        if written.trust_stores.len().max(written.trusted_identities.len()) > LISTED {
            return Err(format!("a list has more than {LISTED} entries"));
        }
        let stores = written.trust_stores.iter().map(|store| StoreName::read(store)).collect::<Result<_, _>>()?;
        Ok(Self { name, scopes, time, expiry, revocation, stamps, stores, identities: identities(&written.trusted_identities)? })
    }

    /// The stores of a kind.
    pub(super) fn stores_of(&self, kind: StoreKind) -> impl Iterator<Item = &StoreName> {
        self.stores.iter().filter(move |store| store.kind == kind)
    }
}

/// What is enforced of time, expiry and revocation; that somebody trusted has signed always is.
fn enforced(verification: &Verification) -> Result<(Action, Action, Revocation), String> {
    const REMEDY: &str = "proves nothing; take the verifier out of the scope, or set mode = \"permissive\"";
    let (authenticity, rest) = match &*verification.level {
        "strict" => (Action::Enforce, Action::Enforce),
        "permissive" => (Action::Enforce, Action::Log),
        "audit" => (Action::Log, Action::Log),
        "skip" => return Err(format!("level skip {REMEDY}")),
        other => return Err(format!("`{}` is not a level; strict, permissive, audit and skip are", shown(other))),
    };
    let none = Override::default();
    let changed = verification.changed.as_ref().map_or(&none, |Object(changed)| changed);
    let action = |key: &str, written: Option<&str>, level: Action| match written {
        None => Ok(level),
        Some("enforce") => Ok(Action::Enforce),
        Some("log") => Ok(Action::Log),
        Some(other) => Err(format!("override: {key} is `{}`; enforce or log is due", shown(other))),
    };
    if action("authenticity", changed.authenticity.as_deref(), authenticity)? == Action::Log {
        return Err(format!("authenticity log {REMEDY}"));
    }
    let revocation = match changed.revocation.as_deref() {
        Some("skip") => Revocation::Skip,
        _ => match action("revocation", changed.revocation.as_deref(), rest)? {
            Action::Enforce => Revocation::Enforce,
            Action::Log => Revocation::Log,
        },
    };
    let time = action("authenticTimestamp", changed.authentic_timestamp.as_deref(), rest)?;
    Ok((time, action("expiry", changed.expiry.as_deref(), rest)?, revocation))
}

fn identities(written: &[String]) -> Result<Identities, String> {
    if written.iter().any(|identity| identity == "*") {
        return if written.len() == 1 {
            Ok(Identities::All)
        } else {
            Err("trustedIdentities is `*` and something else".to_owned())
        };
    }
    let mut names: Vec<Name> = Vec::new();
    for identity in written {
        let (kind, value) = identity.split_once(':').unwrap_or((identity, ""));
        if kind.is_empty() || value.trim().is_empty() {
            return Err(format!("the identity `{}` is not KIND:VALUE", shown(identity)));
        }
        // Other kinds are for plugins, and no signer here is one of them.
        if kind != "x509.subject" {
            continue;
        }
        let name = Name::read(value.trim()).map_err(|why| format!("the identity `{}`: {why}", shown(identity)))?;
        if names.iter().any(|earlier| earlier.is_in(&name) || name.is_in(earlier)) {
            return Err(format!("the identity `{}` and another one overlap", shown(identity)));
        }
        names.push(name);
    }
    Ok(Identities::Named(names))
}

fn shown(text: &str) -> String {
    fit(&clean(text), SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATEMENT: &str = r#"{"name":"a","registryScopes":["r.example/app"],"signatureVerification":{"level":"strict"},"trustStores":["ca:acme"],"trustedIdentities":["x509.subject: C=US, ST=WA, O=acme"]}"#;

    fn policy(statements: &[&str]) -> Result<TrustPolicy, String> {
        TrustPolicy::read(&format!(r#"{{"version":"1.0","trustPolicies":[{}]}}"#, statements.join(",")))
    }

    fn changed(from: &str, to: &str) -> String {
        assert!(STATEMENT.contains(from), "{from}");
        STATEMENT.replace(from, to)
    }

    #[test]
    fn levels_say_what_is_enforced_and_what_proves_nothing_is_a_fault() {
        use Action::{Enforce, Log};
        for (verification, is) in [
            (r#"{"level":"strict"}"#, (Enforce, Enforce, Revocation::Enforce)),
            (r#"{"level":"permissive"}"#, (Log, Log, Revocation::Log)),
            (r#"{"level":"audit","override":{"authenticity":"enforce"}}"#, (Log, Log, Revocation::Log)),
            (r#"{"level":"strict","override":{"revocation":"skip","expiry":"log"}}"#, (Enforce, Log, Revocation::Skip)),
            (r#"{"level":"permissive","override":{"authenticTimestamp":"enforce"}}"#, (Enforce, Log, Revocation::Log)),
        ] {
            let read = policy(&[&changed(r#"{"level":"strict"}"#, verification)]).unwrap();
            let statement = read.of(&"r.example/app".parse().unwrap()).unwrap();
            assert_eq!((statement.time, statement.expiry, statement.revocation), is, "{verification}");
        }
        for (bad, why) in [
            (r#"{"level":"skip"}"#, "level skip proves nothing"),
            (r#"{"level":"audit"}"#, "authenticity log proves nothing"),
            (r#"{"level":"strict","override":{"authenticity":"log"}}"#, "authenticity log proves nothing"),
            (r#"{"level":"strict","override":{"integrity":"log"}}"#, "integrity"),
            (r#"{"level":"strict","override":{"expiry":"skip"}}"#, "enforce or log is due"),
            (r#"{"level":"Strict"}"#, "is not a level"),
            (r#"{"level":"strict","verifyTimestamp":"never"}"#, "afterCertExpiry is due"),
            ("{}", "level"),
        ] {
            let fault = policy(&[&changed(r#"{"level":"strict"}"#, bad)]).unwrap_err();
            assert!(fault.contains(why), "{bad}: {fault}");
        }
    }

    #[test]
    fn a_fault_anywhere_makes_the_file_invalid() {
        assert!(policy(&[STATEMENT]).is_ok());
        let other = changed(r#""a""#, r#""b""#);
        assert!(policy(&[STATEMENT, &other.replace("/app", "/other")]).is_ok());
        assert!(policy(&[&changed(r#""name""#, r#""comment":{},"name""#)]).is_ok(), "as notation, which passes over it");
        for bad in [
            policy(&[]),
            policy(&[STATEMENT, &other]),
            policy(&[STATEMENT, &STATEMENT.replace("/app", "/other")]),
            TrustPolicy::read(&format!(r#"{{"version":"1.1","trustPolicies":[{STATEMENT}]}}"#)),
            TrustPolicy::read(&format!(r#"{{"version":"1.0","Version":"1.0","trustPolicies":[{STATEMENT}]}}"#)),
            TrustPolicy::read(&format!(r#"{{"version":"1.0","trustpolicies":[{STATEMENT}]}}"#)),
            TrustPolicy::read("[]"),
        ] {
            assert!(bad.is_err());
        }
        for (from, to) in [
            (r#""a""#, r#""""#),
            (r#"["r.example/app"]"#, "[]"),
            (r#"["r.example/app"]"#, r#"["*","r.example/app"]"#),
            (r#"["r.example/app"]"#, r#"["r.example/app","r.example/app"]"#),
            ("r.example/app", "https://r.example/app"),
            ("r.example/app", "r.example/*"),
            ("r.example/app", "r.example/app:1.0"),
            ("r.example/app", "app"),
            ("ca:acme", "ca:"),
            ("ca:acme", "ca:.."),
            ("ca:acme", "ca:a/b"),
            ("ca:acme", "CA:acme"),
            ("ca:acme", "acme"),
            (r#"["ca:acme"]"#, "[]"),
            (r#""trustStores":["ca:acme"],"#, ""),
            (r#"["x509.subject: C=US, ST=WA, O=acme"]"#, "[]"),
            (r#"["x509.subject: C=US, ST=WA, O=acme"]"#, r#"["*","*"]"#),
            ("O=acme", "CN=acme"),
            (r#"O=acme""#, r#"O=acme","x509.subject: C=US, ST=WA, O=acme, CN=x""#),
            ("x509.subject: C=US, ST=WA, O=acme", "x509.subject"),
        ] {
            let bad = policy(&[&changed(from, to)]);
            assert!(bad.is_err(), "{to}");
        }
    }

    #[test]
    fn an_exact_scope_wins_over_all_and_none_resembles_another() {
        let all = changed("r.example/app", "*").replace(r#""a""#, r#""all""#);
        let read = policy(&[&all, STATEMENT]).unwrap();
        let name = |repository: &str| read.of(&repository.parse().unwrap()).map(|statement| &*statement.name);
        assert_eq!(name("r.example/app"), Some("a"));
        for other in ["r.example/app/x", "r.example/ap", "r.example:443/app", "s.example/app"] {
            assert_eq!(name(other), Some("all"), "{other}");
        }
        assert_eq!(policy(&[STATEMENT]).unwrap().of(&"r.example/other".parse().unwrap()), None);
        let hub = policy(&[&changed("r.example/app", "docker.io/library/nginx")]).unwrap();
        assert!(hub.of(&"nginx".parse().unwrap()).is_some());
    }
}
