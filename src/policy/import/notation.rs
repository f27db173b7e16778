//! `trustpolicy.json` of notation: its statements that prove something go into a trust policy beside the policy, which a verifier names;
//! the repositories of the others are refused.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::draft::Draft;
use super::json::Json;
use super::{ImportError, form, shown};
use crate::image::Repository;
use crate::policy::resolved::{NotationSettings, VerifierSettings};
use crate::policy::scope::{Pattern, Requirement};
use crate::trust::notation::TrustPolicy;

const STATEMENT: [&str; 5] = ["name", "registryScopes", "signatureVerification", "trustStores", "trustedIdentities"];
/// What the verifier names, beside the policy.
const TRUST_POLICY: &str = "trustpolicy.json";
const TRUST_STORE: &str = "truststore";

pub(super) fn read(json: &Json, draft: &mut Draft) -> Result<(), ImportError> {
    json.object("the file", &["version", "trustPolicies"])?;
    let version = json.get("version").map(|version| version.text("version")).transpose()?;
    if version != Some("1.0") {
        return Err(form("version", "is not \"1.0\""));
    }
    let (mut names, mut scopes, mut kept, mut signed) = (HashSet::new(), HashSet::new(), Vec::new(), Vec::new());
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
        if !["strict", "permissive", "audit", "skip"].contains(&level) {
            return Err(form(&place, format!("{} is not a level", shown(level))));
        }
        let listed = member("registryScopes")?.texts(&place)?;
        if listed.is_empty() || (listed.contains(&"*") && listed.len() > 1) {
            return Err(form(&place, "`registryScopes` is a list of repositories, or `*` alone"));
        }
        let why = match level {
            "skip" => Some("lets everything pass (level skip), which is not carried over".to_owned()),
            _ => TrustPolicy::read(&of_statements(&[statement.value()])).err(),
        };
        if let Some(why) = &why {
            draft.leave_out(format!("{place} ({name})"), format!("{why}; its repositories are refused"));
        } else {
            kept.push(statement.value());
        }
        for scope in listed {
            if !scopes.insert(scope) {
                return Err(form(&place, format!("{} is in two statements", shown(scope))));
            }
            if scope == "*" {
                // What no scope matches is refused.
                if why.is_none() {
                    draft.leave_out(&place, "is about all registries, which no scope can be: write a scope for each that is meant, with this verifier");
                }
                continue;
            }
            // Exact names: docker fills in nothing.
            let is_exact = scope.parse::<Repository>().is_ok_and(|repository| repository.as_str() == scope);
            match scope.parse::<Pattern>() {
                Ok(pattern) if is_exact && why.is_none() => signed.push(pattern),
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
    if kept.is_empty() {
        return Ok(());
    }
    let text = of_statements(&kept);
    if let Err(why) = TrustPolicy::read(&text) {
        return Err(form("trustPolicies", why));
    }
    draft.file(TRUST_POLICY, text);
    draft.leave_out(
        "trustStores",
        "are named, and not here: copy notation's folder truststore, which holds x509, beside the policy",
    );
    let settings = NotationSettings {
        trust_policy: TRUST_POLICY.into(),
        trust_store: TRUST_STORE.into(),
        crls: None,
        fetch: false,
        recheck: None,
    };
    let name = draft.verifier("notation", VerifierSettings::Notation(settings));
    draft.scopes(signed, &Requirement::One(name));
    Ok(())
}

/// A trust policy of these.
fn of_statements(statements: &[Value]) -> String {
    format!("{:#}\n", json!({ "version": "1.0", "trustPolicies": statements }))
}
