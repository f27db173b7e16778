//! `trust pin` of an image: whom its signatures name, as a block for the policy file and the files that belong to it, with what has to be compared
//! with the publisher first. Nothing that is learnt here is proven: whoever may write to the registry can have put it there.
//!
//! Only a name that is plain text is printed as one to trust: in a pattern a `*` would stand for others.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::time::Instant;

use super::image::{found, registry};
use super::{Stop, to_json, unread};
use crate::clock;
use crate::files::read_text;
use crate::image::{Digest, Reference, Repository};
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
    /// Files beside it, by their names.
    files: BTreeMap<String, String>,
    /// What has to be compared, or found out, before.
    compare: Vec<String>,
}

/// A signer whom a verifier may go by.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Who {
    Identity(Identity),
    Certificate(Box<Certified>),
}

/// Whom to trust, as a person says.
pub(super) struct Choice<'a> {
    /// What the verifier is to be called.
    pub(super) name: &'a VerifierName,
    /// Keys that the publisher gave.
    pub(super) keys: &'a [PathBuf],
    /// Which of several signers.
    pub(super) signer: Option<&'a str>,
}

/// Whom to trust, as an image's signatures say.
pub(super) async fn learn(
    reference: &Reference,
    choice: &Choice<'_>,
    is_json: bool,
    settings: &Settings,
) -> Result<String, Stop> {
    let registry = registry(settings).map_err(Stop::Unknown)?;
    let beside = found(&registry, &reference.repository, &Wanted::of(reference)).await?;
    let mut learnt = Learnt::default();
    of_keys(&mut learnt, reference, choice.name, choice.keys, &beside).await?;
    // What names something else is no signature of this.
    let of_this = beside.items.iter().filter_map(|item| {
        let claims = item.claims.as_ref().ok().filter(|claims| claims.digests.contains(&item.of.to_string()))?;
        claims.signer.as_ref()
    });
    let all = signers(&mut learnt, of_this);
    // Whose key the publisher gave is trusted by that, and nobody beside him.
    if choice.keys.is_empty() {
        choose(&mut learnt, choice, &reference.repository, &all)?;
    }
    if beside.items.iter().any(|item| item.kind == Kind::Attestation) {
        learnt.compare.push(
            "there are attestations: a verifier of type `attestation` names one of these as `signed_by` (docs/policy.md)"
                .to_owned(),
        );
    }
    learnt.compare.extend(beside.missed.iter().map(|missed| format!("not looked at: {}", ascii(missed))));
    if !learnt.blocks.is_empty() {
        learnt.blocks.push(format!("[[scope]]\nmatch = \"{}\"\nrequire = \"{}\"\n", reference.repository, choice.name));
    }
    if is_json {
        return to_json(&json!({
            "reference": reference.to_string(), "digest": beside.carried.digest(),
            "signers": all.iter().map(|who| json!({ "id": who.id(), "signer": who.told() })).collect::<Vec<_>>(),
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

impl Who {
    /// By which it is chosen: nobody else has the same.
    fn id(&self) -> String {
        let text = match self {
            Self::Identity(identity) => format!("identity\n{}\n{}", identity.issuer, identity.subject),
            Self::Certificate(certified) => {
                format!("certificate\n{}\n{}\n{}", certified.is_authority, certified.fingerprint, certified.subject)
            }
        };
        Digest::of(text.as_bytes()).hex()
    }

    fn told(&self) -> String {
        match self {
            Self::Identity(identity) => format!("`{}` by the issuer `{}`", ascii(&identity.subject), ascii(&identity.issuer)),
            Self::Certificate(certified) => format!(
                "`{}`, under the root `{}` (SHA-256 {})",
                ascii(&certified.subject),
                ascii(&certified.root),
                ascii(&certified.fingerprint)
            ),
        }
    }
}

/// All signers that can be pinned, each once. Others are told.
fn signers<'s>(learnt: &mut Learnt, signers: impl Iterator<Item = &'s Signer>) -> Vec<Who> {
    let mut all: Vec<Who> = Vec::new();
    for signer in signers {
        let who = match signer {
            Signer::Key { .. } => continue,
            Signer::Identity { subject, issuer } => Who::Identity(Identity { issuer: issuer.clone(), subject: subject.clone() }),
            Signer::Certificate(certified) => Who::Certificate(certified.clone()),
        };
        let why = match &who {
            Who::Identity(Identity { subject, issuer }) => {
                let is_plain = is_plain(subject) && is_plain(issuer) && !subject.contains('*');
                let is_good = matches!(&who, Who::Identity(identity) if identity.fault().is_none());
                (!is_plain || !is_good).then_some("the name is a pattern, or no plain text (ASCII)")
            }
            Who::Certificate(certified) => {
                let is_plain = certified.identity.as_ref().is_some_and(|identity| is_plain(identity));
                let is_hash = certified.fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit());
                (!is_plain || !is_hash).then_some("a trust policy needs C, ST and O in it, each once and in plain text (ASCII)")
            }
        };
        match why {
            Some(why) if learnt.compare.len() < 2 * SIGNERS => {
                learnt.compare.push(format!("the signer {} cannot be pinned: {why}", who.told()));
            }
            Some(_) => {}
            None if all.contains(&who) => {}
            None => all.push(who),
        }
    }
    all
}

/// Prints the one signer, or the one that was chosen: a block with several would trust each stranger among them.
fn choose(learnt: &mut Learnt, choice: &Choice<'_>, repository: &Repository, all: &[Who]) -> Result<(), Stop> {
    let who = match (choice.signer, all) {
        (Some(id), all) => all.iter().find(|who| who.id() == id).ok_or_else(|| {
            Stop::Unknown(format!("no signature of this image is by the signer {}; without --signer all are listed", ascii(id)))
        })?,
        (None, []) => return Ok(()),
        (None, [who]) => who,
        (None, all) if all.len() > SIGNERS => {
            learnt.compare.push(format!(
                "there are {} signers, more than {SIGNERS}: none is printed. Ask the publisher who signs, and whoever runs the registry who pushed these",
                all.len()
            ));
            return Ok(());
        }
        (None, all) => {
            learnt.compare.push(
                "there are several signers: ask the publisher which of them is theirs, and repeat with --signer ID".to_owned(),
            );
            learnt.compare.extend(all.iter().map(|who| format!("--signer {}: {}", who.id(), who.told())));
            return Ok(());
        }
    };
    match who {
        Who::Identity(identity) => of_identity(learnt, choice.name, identity),
        Who::Certificate(certified) => of_certificate(learnt, choice.name, repository, certified),
    }
    Ok(())
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
                item.kind, item.of, ascii(&by)
            ));
        }
        return Ok(());
    }
    let mut texts = Vec::new();
    for (number, path) in keys.iter().enumerate() {
        let text = read_text(path, KEY_BYTES).map_err(|error| unread(path, &error))?;
        let text =
            alone(&text).ok_or_else(|| Stop::Unknown(format!("--key: `{}` is not one public key in PEM", path.display())))?;
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

/// A name that Sigstore's certificates say.
fn of_identity(learnt: &mut Learnt, name: &VerifierName, identity: &Identity) {
    let told = Who::Identity(identity.clone()).told();
    learnt.compare.push(format!("ask the publisher whether {told} is who signs, to the letter"));
    learnt.compare.push(
        "make trusted_root.json on a machine that reaches Sigstore (cosign trusted-root create --with-default-services --out \
         trusted_root.json), and put it beside policy.toml: without it no certificate is proven"
            .to_owned(),
    );
    learnt.blocks.push(format!(
        "[verifiers.{name}]\ntype = \"cosign\"\nidentities = [{{ issuer = {}, subject = {} }}]\ntrusted_root = \"trusted_root.json\"\n",
        quoted(&identity.issuer),
        quoted(&identity.subject)
    ));
}

/// The root of a chain of notation, with a trust policy and a store of its own as notation keeps them.
fn of_certificate(learnt: &mut Learnt, name: &VerifierName, repository: &Repository, certified: &Certified) {
    let Some(identity) = &certified.identity else { return };
    let told = Who::Certificate(Box::new(certified.clone())).told();
    learnt.compare.push(format!(
        "ask the publisher whether {told} is who signs; compare the fingerprint of the root by phone or in person"
    ));
    learnt.compare.push(
        "level strict asks whether certificates are revoked: put the CA's revocation lists into a folder, and name it (`crls`)"
            .to_owned(),
    );
    let kind = if certified.is_authority { "signingAuthority" } else { "ca" };
    let store = format!("truststore-{name}");
    learnt.files.insert(format!("{store}/x509/{kind}/{name}/{}.pem", certified.fingerprint), certified.pem.clone());
    let policy = json!({
        "version": "1.0",
        "trustPolicies": [{
            "name": name.to_string(), "registryScopes": [repository.to_string()],
            "signatureVerification": { "level": "strict" },
            "trustStores": [format!("{kind}:{name}")], "trustedIdentities": [format!("x509.subject: {identity}")],
        }]
    });
    let file = format!("trustpolicy-{name}.json");
    learnt
        .blocks
        .push(format!("[verifiers.{name}]\ntype = \"notation\"\ntrust_policy = \"{file}\"\ntrust_store = \"{store}\"\n"));
    learnt.files.insert(file, format!("{policy:#}\n"));
}

/// Whether a text is shown as it is: nothing in it hides something else, or looks like something else.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !text.contains('`')
}

/// For people: letters that may look like others are written by their numbers.
fn ascii(text: &str) -> String {
    clean(text)
        .chars()
        .map(|letter| if letter.is_ascii() { letter.to_string() } else { letter.escape_unicode().to_string() })
        .collect()
}

/// The one block of a PEM file, written anew: what stands around it is not printed.
fn alone(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, rest) = rest.split_once(&format!("-----END {label}-----"))?;
    if rest.contains("-----BEGIN ") || !label.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b' ') {
        return None;
    }
    let body: String = body.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
    let body = STANDARD.encode(STANDARD.decode(body).ok()?);
    let lines: Vec<&str> = body.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    Some(format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")))
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

    fn chosen(signers: &[Signer], signer: Option<&str>) -> (Learnt, Vec<Who>) {
        let (mut learnt, name) = (Learnt::default(), "release".parse().unwrap());
        let all = super::signers(&mut learnt, signers.iter());
        let choice = Choice { name: &name, keys: &[], signer };
        let done = choose(&mut learnt, &choice, &"r.example/team/app".parse().unwrap(), &all);
        done.unwrap_or_else(|stop| panic!("{}", stop.message()));
        (learnt, all)
    }

    fn learnt(signers: &[Signer]) -> Learnt {
        chosen(signers, None).0
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
        for bad in [
            "https://ci.example/acme/*",
            "https://ci.example/\u{202e}emca",
            "a\"]\nmode = \"permissive\"",
            "a`b",
            "",
            "https://ci.example/\u{430}cme",
        ] {
            let learnt = learnt(&[identity(bad)]);
            assert!(learnt.blocks.is_empty(), "{bad}: {:?}", learnt.blocks);
            let [why] = learnt.compare.as_slice() else { panic!("{:?}", learnt.compare) };
            assert!(why.contains("cannot be pinned") && !why.contains('\n') && why.is_ascii(), "{why}");
        }
        for bad in [None, Some("CN=\u{202e}x,O=acme,ST=WA,C=US"), Some("O=\u{430}cme,ST=WA,C=US")] {
            let learnt = learnt(&[certified(bad)]);
            assert!(learnt.blocks.is_empty() && learnt.files.is_empty(), "{bad:?}");
        }
        let good = learnt(&[identity("https://ci.example/acme/app/x.yml@refs/heads/\\main")]);
        let blocks = good.blocks.join("\n");
        assert!(blocks.contains(r#"subject = "https://ci.example/acme/app/x.yml@refs/heads/\\main""#), "{blocks}");
    }

    #[test]
    fn of_several_signers_none_is_printed_until_one_is_chosen() {
        // Of the same name, under another root; and one with a name of Sigstore.
        let name = Some("CN=release,O=acme,ST=WA,C=US");
        let (own, mut stranger) = (certified(name), certified(name));
        if let Signer::Certificate(stranger) = &mut stranger {
            // The same first letters.
            stranger.fingerprint = format!("{}{}", "ab".repeat(16), "cd".repeat(16));
        }
        let all = [own, stranger, identity("https://ci.example/acme")];
        let (none, ids) = chosen(&all, None);
        assert!(none.blocks.is_empty() && none.files.is_empty() && ids.len() == 3);
        for who in &ids {
            assert!(none.compare.iter().any(|compare| compare.contains(&who.id())), "{:?}", none.compare);
            let (one, _) = chosen(&all, Some(&who.id()));
            let roots: Vec<&String> = one.files.keys().filter(|path| path.split('.').next_back() == Some("pem")).collect();
            match who {
                Who::Identity(_) => assert!(roots.is_empty() && one.blocks[0].contains("https://ci.example/acme")),
                Who::Certificate(certified) => {
                    let [root] = roots.as_slice() else { panic!("{roots:?}") };
                    assert!(root.ends_with(&format!("/{}.pem", certified.fingerprint)), "{root}");
                }
            }
        }
        let many: Vec<Signer> = (0..=SIGNERS).map(|number| identity(&format!("https://ci.example/{number}"))).collect();
        let many = learnt(&many);
        assert!(many.blocks.is_empty() && many.compare.iter().any(|compare| compare.contains("more than 16")));
    }

    #[test]
    fn of_a_key_file_the_key_alone_is_printed() {
        let key = rcgen::KeyPair::generate().unwrap().public_key_pem().replace("\r\n", "\n");
        assert_eq!(alone(&format!("\u{1b}[2J{key}\u{1b}[31mmore")), Some(key.clone()));
        assert_eq!(alone(&key.replace("PUBLIC KEY", "PUBLIC \u{1b} KEY")), None);
        assert_eq!(alone(&format!("{key}{key}")), None);
    }
}
