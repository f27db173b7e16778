//! `trustpolicy.json` of notation. Its signatures have no verifier here yet: its registry scopes become scopes that refuse.

use std::collections::HashSet;

use super::draft::Draft;
use super::json::Json;
use super::{ImportError, form, shown};
use crate::image::Repository;
use crate::policy::scope::Pattern;

const STATEMENT: [&str; 5] = ["name", "registryScopes", "signatureVerification", "trustStores", "trustedIdentities"];

pub(super) fn read(json: &Json, draft: &mut Draft) -> Result<(), ImportError> {
    json.object("the file", &["version", "trustPolicies"])?;
    let version = json.get("version").map(|version| version.text("version")).transpose()?;
    if version != Some("1.0") {
        return Err(form("version", "is not \"1.0\""));
    }
    let (mut names, mut scopes) = (HashSet::new(), HashSet::new());
    let statements = json.get("trustPolicies").ok_or_else(|| form("trustPolicies", "is missing"))?.list("trustPolicies")?;
    for (number, statement) in statements.iter().enumerate() {
        let place = format!("trustPolicies[{number}]");
        statement.object(&place, &STATEMENT)?;
        let member = |name: &str| statement.get(name).ok_or_else(|| form(&place, format!("`{name}` is missing")));
        let name = member("name")?.text(&place)?;
        if !names.insert(name) {
            return Err(form(&place, format!("{} is the name of another statement", shown(name))));
        }
        let verification = member("signatureVerification")?;
        verification.object(&place, &["level", "override", "verifyTimestamp"])?;
        let level = verification.get("level").ok_or_else(|| form(&place, "`level` is missing"))?.text(&place)?;
        let why = match level {
            "strict" | "permissive" => "asks for a signature of notation, for which this gate has no verifier yet",
            "audit" => "lets pass what is signed by anybody (level audit), which is not carried over",
            "skip" => "lets everything pass (level skip), which is not carried over",
            other => return Err(form(&place, format!("{} is not a level", shown(other)))),
        };
        let listed = member("registryScopes")?.texts(&place)?;
        if listed.is_empty() || (listed.contains(&"*") && listed.len() > 1) {
            return Err(form(&place, "`registryScopes` is a list of repositories, or `*` alone"));
        }
        draft.leave_out(format!("{place} ({name})"), format!("{why}; its repositories are refused"));
        for scope in listed {
            if !scopes.insert(scope) {
                return Err(form(&place, format!("{} is in two statements", shown(scope))));
            }
            // What no scope matches is refused.
            if scope == "*" {
                continue;
            }
            // Exact names: docker fills in nothing.
            let is_exact = scope.parse::<Repository>().is_ok_and(|repository| repository.as_str() == scope);
            match scope.parse::<Pattern>() {
                Ok(pattern) if is_exact => draft.refuse([pattern]),
                Ok(_) | Err(_) => {
                    draft.leave_out(
                        &place,
                        format!("{} is not a whole name of a repository, and no scope matches it", shown(scope)),
                    );
                }
            }
        }
    }
    Ok(())
}
