//! `trust pin` of an image: whom its signatures name, as a block for the policy file and the files that belong to it, with what has to be compared
//! with the publisher first. Nothing that is learnt here is proven: whoever may write to the registry can have put it there.
//!
//! Only a name that is plain text is printed as one to trust: in a pattern a `*` would stand for others.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use tokio::time::Instant;

use super::image::{found, registry};
use super::{Stop, to_json, unread};
use crate::clock;
use crate::files::read_text;
use crate::image::{Reference, Repository};
use crate::policy::Settings;
use crate::registry::{Api, Carried, Wanted};
use crate::setup::NETWORK_TIME;
use crate::text::clean;
use crate::trust::beside::{Beside, Kind};
use crate::trust::cosign::{CosignVerifier, Keys};
use crate::trust::sigstore::Identity;
use crate::trust::{Asking, Certified, Keeping, Purpose, Signer, Verifier as _, VerifierName};

/// Largest file of a key.
const KEY_BYTES: u64 = 64 << 10;
/// Most signers that are learnt of one image.
const SIGNERS: usize = 16;

/// What is learnt.
#[derive(Default)]
struct Learnt {
    /// Blocks for the policy file.
    blocks: Vec<String>,
    /// Their names.
    names: Vec<VerifierName>,
    /// Files beside it, by their names.
    files: BTreeMap<String, String>,
    /// What has to be compared, or found out, before.
    compare: Vec<String>,
}

impl Learnt {
    /// Any one of those that were learnt.
    fn add_scope(&mut self, repository: &Repository) {
        let names: Vec<String> = self.names.iter().map(|name| format!("\"{name}\"")).collect();
        let require = match names.as_slice() {
            [] => return,
            [name] => name.clone(),
            names => format!("{{ any = [{}] }}", names.join(", ")),
        };
        self.blocks.push(format!("[[scope]]\nmatch = \"{repository}\"\nrequire = {require}\n"));
    }
}

/// Whom to trust, as an image's signatures say.
pub(super) async fn learn(
    reference: &Reference,
    name: &VerifierName,
    keys: &[PathBuf],
    is_json: bool,
    settings: &Settings,
) -> Result<String, Stop> {
    let registry = registry(settings).map_err(Stop::Unknown)?;
    let beside = found(&registry, &reference.repository, &Wanted::of(reference)).await?;
    let mut learnt = Learnt::default();
    of_keys(&mut learnt, reference, name, keys, &beside).await?;
    let signers: Vec<&Signer> = beside.items.iter().filter_map(|item| item.claims.as_ref().ok()?.signer.as_ref()).collect();
    of_identities(&mut learnt, name, &signers);
    of_certificates(&mut learnt, name, &reference.repository, &signers);
    if beside.items.iter().any(|item| item.kind == Kind::Attestation) {
        learnt.compare.push(
            "there are attestations: a verifier of type `attestation` names one of these as `signed_by` (docs/policy.md)"
                .to_owned(),
        );
    }
    learnt.compare.extend(beside.missed.iter().map(|missed| format!("not looked at: {missed}")));
    learnt.add_scope(&reference.repository);
    if is_json {
        return to_json(&json!({
            "reference": reference.to_string(), "digest": beside.carried.digest(),
            "policy": learnt.blocks.join("\n"), "files": learnt.files, "compare": learnt.compare,
        }));
    }
    Ok(shown(reference, &beside, &learnt))
}

fn shown(reference: &Reference, beside: &Beside, learnt: &Learnt) -> String {
    let mut text = format!("{reference}\ndigest  {}\n", beside.carried.digest());
    text.push_str("\nNOT PROVEN: whoever may write to this registry can have put these signatures there. First:\n");
    for compare in &learnt.compare {
        text.push_str(&format!("- {compare}\n"));
    }
    for (path, content) in &learnt.files {
        text.push_str(&format!("\nBeside policy.toml, as {path}:\n\n{content}"));
    }
    if learnt.blocks.is_empty() {
        text.push_str("\nnothing can be pinned yet");
    } else {
        text.push_str(&format!("\nIn policy.toml:\n\n{}", learnt.blocks.join("\n")));
    }
    text.trim_end().to_owned()
}

/// Keys are not learnt: a signature does not carry its key. What the publisher gave is tried.
async fn of_keys(
    learnt: &mut Learnt,
    reference: &Reference,
    name: &VerifierName,
    keys: &[PathBuf],
    beside: &Beside,
) -> Result<(), Stop> {
    let signed: Vec<_> = beside
        .items
        .iter()
        .filter(|item| item.kind == Kind::Cosign)
        .filter(|item| item.claims.as_ref().is_ok_and(|claims| matches!(claims.signer, Some(Signer::Key { .. }))))
        .collect();
    if keys.is_empty() {
        for item in signed.iter().take(SIGNERS) {
            let by = item.claims.as_ref().ok().and_then(|claims| claims.signer.as_ref()).map(Signer::told).unwrap_or_default();
            learnt.compare.push(format!(
                "{} of {} is made with {}: get the public key from the publisher, not from the registry, and repeat with --key FILE",
                item.kind, item.of, clean(&by)
            ));
        }
        return Ok(());
    }
    let mut texts = Vec::new();
    for (number, path) in keys.iter().enumerate() {
        let text = read_text(path, KEY_BYTES).map_err(|error| unread(path, &error))?;
        let file = if number == 0 { format!("{name}.pub") } else { format!("{name}-{}.pub", number + 1) };
        texts.push((file, text));
    }
    let read = |texts: &[(String, String)]| Keys::read(texts.iter().map(|(file, text)| (file.as_str(), text.as_str())));
    read(&texts).map_err(|why| Stop::Unknown(format!("--key: {why}")))?;
    let (mut files, mut has_signed) = (Vec::new(), false);
    for (path, (file, text)) in keys.iter().zip(texts) {
        let keys = read(&[(file.clone(), text.clone())]).map_err(|why| Stop::Unknown(format!("--key: {why}")))?;
        let by = made(name, keys, &reference.repository, &signed, beside).await;
        has_signed |= by > 0;
        learnt.compare.push(format!(
            "the key in `{}` has made {by} of the {} signatures that are made with keys: did its publisher give it to you?",
            path.display(),
            signed.len()
        ));
        learnt.files.insert(file.clone(), text);
        files.push(format!("\"{file}\""));
    }
    if !has_signed {
        learnt.compare.push(format!("no key that was given has signed `{reference}`: with this block it would be refused"));
    }
    learnt.blocks.push(format!("[verifiers.{name}]\ntype = \"cosign\"\nkeys = [{}]\n", files.join(", ")));
    learnt.names.push(name.clone());
    Ok(())
}

/// How many of these a key has made.
async fn made(
    name: &VerifierName,
    keys: Keys,
    repository: &Repository,
    signed: &[&crate::trust::beside::Item],
    beside: &Beside,
) -> usize {
    let nothing: Arc<dyn Api> = Arc::new(Carried::of(repository.clone(), beside.carried.digest()));
    let verifier = CosignVerifier::new(name.clone(), keys, nothing);
    let mut made = 0;
    for item in signed {
        let asking = Asking { purpose: Purpose::Pull, now: clock::now(), deadline: Instant::now() + NETWORK_TIME };
        let alone = Arc::new(beside.alone(item));
        if let Some(answer) = verifier.by_carried(alone, (repository, item.of), asking, Keeping::Looks) {
            made += usize::from(answer.await.is_ok());
        }
    }
    made
}

/// Names that Sigstore's certificates say.
fn of_identities(learnt: &mut Learnt, name: &VerifierName, signers: &[&Signer]) {
    let mut identities: Vec<Identity> = Vec::new();
    for signer in signers {
        let Signer::Identity { subject, issuer } = signer else { continue };
        let identity = Identity { issuer: issuer.clone(), subject: subject.clone() };
        if identities.contains(&identity) || identities.len() >= SIGNERS {
            continue;
        }
        let told = format!("`{}` by the issuer `{}`", clean(subject), clean(issuer));
        if identity.fault().is_some() || subject.contains('*') || !is_plain(subject) || !is_plain(issuer) {
            learnt.compare.push(format!("the signer {told} cannot be pinned: the name is a pattern, or no plain text"));
            continue;
        }
        learnt.compare.push(format!("ask the publisher whether {told} is who signs, to the letter"));
        identities.push(identity);
    }
    if identities.is_empty() {
        return;
    }
    learnt.compare.push(
        "make trusted_root.json on a machine that reaches Sigstore (cosign trusted-root create --with-default-services --out \
         trusted_root.json), and put it beside policy.toml: without it no certificate is proven"
            .to_owned(),
    );
    let list: Vec<String> = identities
        .iter()
        .map(|identity| format!("{{ issuer = {}, subject = {} }}", quoted(&identity.issuer), quoted(&identity.subject)))
        .collect();
    let own = free(learnt, name, "keyless");
    learnt.blocks.push(format!(
        "[verifiers.{own}]\ntype = \"cosign\"\nidentities = [{}]\ntrusted_root = \"trusted_root.json\"\n",
        list.join(", ")
    ));
    learnt.names.push(own);
}

/// Roots of notation's chains, with a trust policy and stores as notation keeps them.
fn of_certificates(learnt: &mut Learnt, name: &VerifierName, repository: &Repository, signers: &[&Signer]) {
    let mut all: Vec<&Certified> = Vec::new();
    for signer in signers {
        if let Signer::Certificate(certified) = signer
            && !all.contains(&&**certified)
            && all.len() < SIGNERS
        {
            all.push(certified);
        }
    }
    let (mut stores, mut identities) = (Vec::new(), Vec::new());
    let own = free(learnt, name, "notation");
    for certified in all {
        let who = format!(
            "`{}`, under the root `{}` (SHA-256 {})",
            clean(&certified.subject),
            clean(&certified.root),
            certified.fingerprint
        );
        let Some(identity) = certified.identity.as_ref().filter(|identity| is_plain(identity)) else {
            learnt.compare.push(format!(
                "the signer {who} cannot be pinned by name: a trust policy needs C, ST and O in it, each once and in plain text"
            ));
            continue;
        };
        learnt.compare.push(format!(
            "ask the publisher whether {who} is who signs; compare the fingerprint of the root by phone or in person"
        ));
        let kind = if certified.is_authority { "signingAuthority" } else { "ca" };
        let short: String = certified.fingerprint.chars().take(12).collect();
        learnt.files.insert(format!("truststore/x509/{kind}/{own}/{short}.pem"), certified.pem.clone());
        stores.push(format!("{kind}:{own}"));
        identities.push(format!("x509.subject: {identity}"));
    }
    if identities.is_empty() {
        return;
    }
    for list in [&mut stores, &mut identities] {
        list.sort();
        list.dedup();
    }
    let policy = json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": own.to_string(), "registryScopes": [repository.to_string()],
            "signatureVerification": { "level": "strict" },
            "trustStores": stores, "trustedIdentities": identities,
        }]
    });
    learnt.files.insert("trustpolicy.json".to_owned(), format!("{policy:#}\n"));
    learnt.compare.push(
        "level strict asks whether certificates are revoked: put the CA's revocation lists into a folder, and name it (`crls`)"
            .to_owned(),
    );
    learnt.blocks.push(format!(
        "[verifiers.{own}]\ntype = \"notation\"\ntrust_policy = \"trustpolicy.json\"\ntrust_store = \"truststore\"\n"
    ));
    learnt.names.push(own);
}

/// The name, or where that is taken the same with an ending.
fn free(learnt: &Learnt, name: &VerifierName, ending: &str) -> VerifierName {
    if !learnt.names.contains(name) {
        return name.clone();
    }
    format!("{name}-{ending}").parse().unwrap_or_else(|_| name.clone())
}

/// Whether a text is shown as it is: nothing in it hides something else.
fn is_plain(text: &str) -> bool {
    clean(text) == text && !text.contains('`')
}

/// A basic string of TOML, of plain text.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            out.push('\\');
        }
        // Into memory it is always written.
        let _ = write!(out, "{letter}");
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::super::judges::Judges;
    use super::*;

    fn identity(subject: &str) -> Signer {
        Signer::Identity { subject: subject.to_owned(), issuer: "https://issuer.example".to_owned() }
    }

    fn certificate() -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        let made = params.self_signed(&key).unwrap();
        (made.pem(), "ab".repeat(32))
    }

    fn certified(identity: Option<&str>) -> Signer {
        let (pem, fingerprint) = certificate();
        Signer::Certificate(Box::new(Certified {
            subject: identity.unwrap_or("CN=x").to_owned(),
            identity: identity.map(str::to_owned),
            root: "CN=root".to_owned(),
            fingerprint,
            pem,
            is_authority: false,
        }))
    }

    fn learnt(signers: &[Signer]) -> Learnt {
        let (mut learnt, name) = (Learnt::default(), "release".parse().unwrap());
        let (signers, repository): (Vec<&Signer>, Repository) = (signers.iter().collect(), "r.example/team/app".parse().unwrap());
        of_identities(&mut learnt, &name, &signers);
        of_certificates(&mut learnt, &name, &repository, &signers);
        learnt.add_scope(&repository);
        learnt
    }

    #[test]
    fn what_is_printed_for_notation_is_a_policy_with_its_files() {
        let learnt = learnt(&[certified(Some("CN=release,O=acme,ST=WA,C=US"))]);
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        for (path, text) in &learnt.files {
            write(path, text);
        }
        write("policy.toml", &format!("version = 1\n\n{}", learnt.blocks.join("\n")));
        let state = folder.path().join("state");
        let judges = Judges::of_file(&folder.path().join("policy.toml"), Some(&state), &Settings::default());
        let judges = judges.unwrap_or_else(|stop| panic!("{}", stop.message()));
        assert_eq!(judges.kind(&"release".parse().unwrap()), "notation");
        assert!(learnt.compare.iter().any(|compare| compare.contains(&"ab".repeat(32))), "{:?}", learnt.compare);
    }

    #[test]
    fn a_name_that_would_stand_for_others_or_hides_something_is_not_printed_as_one_to_trust() {
        for bad in ["https://ci.example/acme/*", "https://ci.example/\u{202e}emca", "a\"]\nmode = \"permissive\"", "a`b", ""] {
            let learnt = learnt(&[identity(bad)]);
            assert!(learnt.blocks.is_empty(), "{bad}: {:?}", learnt.blocks);
            let [why] = learnt.compare.as_slice() else { panic!("{:?}", learnt.compare) };
            assert!(why.contains("cannot be pinned") && !why.contains('\n'), "{why}");
        }
        for bad in [None, Some("CN=\u{202e}x,O=acme,ST=WA,C=US")] {
            let learnt = learnt(&[certified(bad)]);
            assert!(learnt.blocks.is_empty() && learnt.files.is_empty(), "{bad:?}");
        }
        let good =
            learnt(&[identity("https://ci.example/acme/app/x.yml@refs/heads/\\main"), certified(Some("O=acme,ST=WA,C=US"))]);
        assert_eq!(good.names.len(), 2);
        let blocks = good.blocks.join("\n");
        assert!(blocks.contains(r#"subject = "https://ci.example/acme/app/x.yml@refs/heads/\\main""#), "{blocks}");
        assert!(blocks.contains("require = { any = [\"release\", \"release-notation\"] }"), "{blocks}");
    }
}
