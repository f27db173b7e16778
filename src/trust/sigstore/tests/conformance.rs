//! Sigstore's public cases (`sigstore-conformance`, its folder `bundle-verify`), run from a copy of the suite: `CONFORMANCE=PATH` names it,
//! `CONFORMANCE_ROOT=FILE` the public trusted root, which cases without one of their own need. They sign files, not images, and come in older
//! forms of bundles too: what of that the product does not read is read here.

use std::path::Path;

use super::*;

const IDENTITY: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";
/// What only older bundles have, and nothing that signs images writes.
const NOT_FOR_IMAGES: [&str; 1] = ["intoto-with-custom-trust-root"];

fn text(folder: &Path, name: &str) -> Option<String> {
    std::fs::read_to_string(folder.join(name)).ok()
}

/// A certificate alone in place of the chain that older bundles have; a root must not be among them.
fn leaf_alone(material: &mut Value) -> Result<(), String> {
    let Some(chain) = material.as_object_mut().unwrap().remove("x509CertificateChain") else { return Ok(()) };
    let certificates = chain["certificates"].as_array().ok_or("no chain")?;
    for one in certificates {
        let der = STANDARD.decode(one["rawBytes"].as_str().ok_or("no bytes")?).map_err(|error| error.to_string())?;
        let read = Certificate::read(&der).map_err(|fault| fault.to_string())?;
        if read.is_self_issued() {
            return Err("a root is brought along".to_owned());
        }
    }
    material["certificate"] = certificates.first().ok_or("an empty chain")?.clone();
    Ok(())
}

fn judged(suite: &Path, folder: &Path, public: &str) -> Result<Proven, String> {
    let bytes = std::fs::read(folder.join("bundle.sigstore.json")).map_err(|error| error.to_string())?;
    let mut bundle: Value = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let kind = bundle["mediaType"].as_str().unwrap_or_default().to_owned();
    let known = ["version=0.1", "version=0.2", "version=0.3", "bundle.v0.3+json"];
    if !known.iter().any(|end| kind.ends_with(end)) {
        return Err(format!("{kind} is not a bundle"));
    }
    leaf_alone(&mut bundle["verificationMaterial"])?;
    let written: WrittenMaterial = object::read(bundle["verificationMaterial"].to_string().as_bytes())?;
    let mut material = Material::of_bundle(written).map_err(|fault| fault.to_string())?;
    // The first form of bundles could do without a proof of inclusion.
    for entry in material.entries.iter_mut().filter(|_| kind.ends_with("version=0.1")) {
        entry.is_bare = entry.inclusion.is_none();
    }
    let artifact = std::fs::read(folder.join("artifact"))
        .or_else(|_| std::fs::read(suite.join("a.txt")))
        .map_err(|error| error.to_string())?;
    let decode = |value: &Value| STANDARD.decode(value.as_str().unwrap_or_default()).map_err(|error| error.to_string());
    let (signed, payload, signature) = if bundle.get("dsseEnvelope").is_some() {
        let envelope = &bundle["dsseEnvelope"];
        let payload = decode(&envelope["payload"])?;
        let statement: Value = serde_json::from_slice(&payload).map_err(|error| error.to_string())?;
        let hex = crate::image::Digest::of(&artifact).hex();
        let is_it = |subject: &Value| subject["digest"]["sha256"] == hex.as_str();
        if !statement["subject"].as_array().is_some_and(|subjects| subjects.iter().any(is_it)) {
            return Err("of another file".to_owned());
        }
        let [signature] = envelope["signatures"].as_array().map(Vec::as_slice).unwrap_or_default() else {
            return Err("no signature, or several".to_owned());
        };
        (enveloped(&payload), Some(payload), decode(&signature["sig"])?)
    } else {
        let message = &bundle["messageSignature"];
        if decode(&message["messageDigest"]["digest"])? != Sha256::digest(&artifact).to_vec() {
            return Err("of another file".to_owned());
        }
        (artifact, None, decode(&message["signature"])?)
    };
    let root = text(folder, "trusted_root.json").unwrap_or_else(|| public.to_owned());
    let root = TrustedRoot::read(&root).map_err(|faults| faults.join("; "))?;
    let candidate = Candidate { signed: &signed, payload: payload.as_deref(), signature: &signature, material: &material };
    let now = crate::clock::now();
    if let Some(pem) = text(folder, "key.pub") {
        let spki = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
        let key = PublicKey::of_spki(&spki).map_err(|fault| fault.to_string())?;
        if !super::signature::signed(&key, &signed, &signature) {
            return Err("by another key".to_owned());
        }
        return by_key(&root, &key, &candidate, now).map_err(|fault| fault.to_string());
    }
    let named = |name: &str, usual: &str| text(folder, name).map_or_else(|| usual.to_owned(), |text| text.trim().to_owned());
    let signers = identities(&named("issuer", ISSUER), &named("identity", IDENTITY));
    by_identity(&root, &signers, &candidate, now).map_err(|fault| fault.to_string())
}

#[test]
fn the_public_cases_of_sigstore_are_judged_as_they_should_be() {
    let Some(suite) = std::env::var_os("CONFORMANCE") else { return };
    let suite = Path::new(&suite).join("test/assets/bundle-verify");
    let public = std::env::var_os("CONFORMANCE_ROOT").and_then(|path| std::fs::read_to_string(path).ok());
    let (mut right, mut wrong, mut skipped) = ([0, 0], Vec::new(), Vec::new());
    let mut folders: Vec<_> =
        std::fs::read_dir(&suite).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let needs_public = !folder.join("trusted_root.json").is_file();
        if NOT_FOR_IMAGES.contains(&&*name) || (needs_public && public.is_none()) {
            skipped.push(name);
            continue;
        }
        let found = judged(&suite, &folder, public.as_deref().unwrap_or_default());
        println!("{name}: {found:?}");
        match (name.ends_with("_fail"), &found) {
            (true, Err(_)) => right[1] += 1,
            (false, Ok(_)) => right[0] += 1,
            _ => wrong.push(format!("{name}: {found:?}")),
        }
    }
    println!("{} accepted, {} refused as they should be; skipped: {skipped:?}", right[0], right[1]);
    assert!(wrong.is_empty() && right[0] + right[1] > 0, "{wrong:#?}");
}
