//! What policies see as `input`: the call with the members of opa-docker-authz, and of an image, where a query is about images, what is
//! known of it. What a rule compares is always there; what is not known has the value that a careful rule refuses.

use crate::order::Ordered as _;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Refusal;
use crate::request::{Manner, RunSpec, Shown};
use crate::wire::Call;

/// Longest path that is looked up on the host, in bytes (Linux' `PATH_MAX`).
const PATH: usize = 4096;
/// Most bind mounts that are listed. Each may cost a look at the host's files.
const BINDS: usize = 256;

/// One image, for queries about images. What is not known is `None`, or empty.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// As it was asked for.
    pub reference: String,
    /// The repository that vouches for it, or whose name it has.
    pub repository: String,
    /// The registry of that.
    pub registry: String,
    /// The tag it was asked for by.
    pub tag: Option<String>,
    /// The digest of its manifest or index.
    pub digest: Option<String>,
    /// Its id on the host.
    pub id: Option<String>,
    /// Who signed the bytes that will run. No allowlists.
    pub signatures: Vec<Signature>,
    /// What is stated of the bytes that will run.
    pub statements: Vec<Statement>,
    /// What a scan came to, of an attestation; else the label `security.scan` says it.
    pub scan_status: Option<String>,
    /// How it runs: the image's configuration; at a start the container's. What a create or a service says is laid over it.
    pub config: Option<Config>,
    /// Where the call says how it is to run. Nowhere for one that is only mounted.
    pub run_spec: RunSpec,
}

/// A signature that held.
#[derive(Debug, Clone)]
pub struct Signature {
    /// The verifier's name.
    pub verifier: String,
    /// Its type: `notary`, `cosign`.
    pub kind: &'static str,
    /// Who signed, as far as known.
    pub signers: Vec<String>,
    /// What they signed.
    pub digest: String,
}

/// What is stated of an image.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The verifier's name.
    pub verifier: String,
    /// Whether who must sign it has signed it; else an operator on this host says so.
    pub is_signed: bool,
    /// Who signed, as far as known.
    pub signers: Vec<String>,
    /// What it is stated of.
    pub digest: String,
    /// Its type.
    pub predicate_type: String,
    /// When that was so, in nanoseconds since 1970.
    pub at: Option<i64>,
    /// What it says.
    pub facts: Map<String, Value>,
}

/// An image's configuration.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// When it was made, in nanoseconds since 1970: the publisher's claim.
    pub created: Option<i64>,
    /// Its labels.
    pub labels: Map<String, Value>,
    /// `Config`, with Docker's names (`User`, `Env`, `Healthcheck`, …).
    pub config: Map<String, Value>,
}

/// Label that a scan's result is read off, of verified content.
const SCAN_LABEL: &str = "security.scan";
/// Label that names the base.
const BASE_LABEL: &str = "org.opencontainers.image.base.name";

/// What policies see, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Input {
    members: BTreeMap<regorus::Value, regorus::Value>,
    /// `Body`.
    body: Option<Value>,
}

/// A call, read, as `input`. `looks` says whether paths of bind mounts are followed on this host.
pub(super) fn of_call(call: &Call, manner: Manner, environment: &str, looks: bool) -> Result<Input, Refusal> {
    let shown = Shown::of(call, manner).map_err(Refusal::Unreadable)?;
    let text = |text: &str| regorus::Value::from(text);
    let texts = |texts: &mut dyn Iterator<Item = &str>| regorus::Value::from(texts.map(text).collect::<Vec<_>>());
    let query = shown.query.iter().map(|(name, values)| (text(name), texts(&mut values.iter().map(String::as_str))));
    let headers = call.headers.iter().map(|(name, value)| (text(name), text(value)));
    let members = [
        ("BindMounts", in_rego(Value::Array(binds(&shown.body, looks)?))),
        ("Method", text(&call.method)),
        ("Path", text(&call.uri)),
        ("PathArr", texts(&mut shown.path.split('/'))),
        ("PathPlain", text(&shown.path)),
        ("Query", query.ordered::<BTreeMap<_, _>>().into()),
        ("Headers", headers.ordered::<BTreeMap<_, _>>().into()),
        ("User", text(&call.user)),
        ("AuthMethod", text(&call.user_authn_method)),
        ("environment", text(environment)),
    ];
    Ok(Input { members: members.map(|(name, value)| (text(name), value)).ordered(), body: Some(shown.body) })
}

impl Input {
    /// The same in regorus' words.
    pub(super) fn in_rego(mut self) -> regorus::Value {
        if let Some(body) = self.body.take() {
            self.members.insert("Body".into(), in_rego(body));
        }
        self.members.into()
    }
}

/// JSON in regorus' words. Not by way of serde, which takes an object with a certain name in it for a number, and is slower.
fn in_rego(json: Value) -> regorus::Value {
    match json {
        Value::Null => regorus::Value::Null,
        Value::Bool(truth) => regorus::Value::Bool(truth),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            // JSON knows no others.
            (None, None) => number.as_f64().unwrap_or_default().into(),
        },
        Value::String(text) => text.into(),
        Value::Array(list) => list.into_iter().map(in_rego).collect::<Vec<_>>().into(),
        Value::Object(members) => {
            members.into_iter().map(|(name, value)| (name.into(), in_rego(value))).ordered::<BTreeMap<_, _>>().into()
        }
    }
}

/// Adds what is known of an image.
pub(super) fn with_image(input: &mut Input, image: &Image, environment: &str) {
    let none = Config::default();
    let config = image.config.as_ref().unwrap_or(&none);
    let scan = || config.labels.get(SCAN_LABEL).and_then(Value::as_str);
    let mut known = Map::new();
    known.insert("reference".into(), json!(image.reference));
    known.insert("repository".into(), json!(image.repository));
    known.insert("registry".into(), json!(image.registry));
    match (&image.tag, &image.digest) {
        (Some(tag), _) => _ = known.insert("tag".into(), json!(tag)),
        // An image that is named by its id has none.
        (None, None) if image.id.is_none() => _ = known.insert("tag".into(), json!("latest")),
        (None, _) => {}
    }
    known.insert("digest".into(), json!(image.digest.as_deref().unwrap_or_default()));
    known.insert("id".into(), json!(image.id.as_deref().unwrap_or_default()));
    known.insert("labels".into(), Value::Object(config.labels.clone()));
    known.insert("scan_status".into(), json!(image.scan_status.as_deref().or_else(scan).unwrap_or("missing")));
    known.insert("created".into(), json!(config.created.unwrap_or(0)));
    let signature = |found: &Signature| json!({"verified": true, "verifier": found.verifier, "type": found.kind, "signers": found.signers, "digest": found.digest});
    known.insert("signatures".into(), image.signatures.iter().map(signature).collect());
    known.insert("attestations".into(), image.statements.iter().map(statement).collect());
    input.members.insert("image".into(), in_rego(Value::Object(known)));
    let mut runs = config.config.clone();
    lay_over(&mut runs, said_of_run(input.body.as_ref(), image.run_spec));
    runs.retain(|_, value| !value.is_null());
    runs.entry("User").or_insert_with(|| json!(""));
    runs.entry("Env").or_insert_with(|| json!([]));
    let base = config.labels.get(BASE_LABEL).and_then(Value::as_str).unwrap_or_default();
    runs.insert("Image".into(), json!(base));
    // Engines run these two kinds, with something behind.
    let is_none = |health: &Value| {
        !matches!(health.get("Test").and_then(|test| test.get(0)).and_then(Value::as_str), Some("CMD" | "CMD-SHELL"))
            || health.pointer("/Test/1").is_none()
    };
    if runs.get("Healthcheck").is_some_and(is_none) {
        runs.remove("Healthcheck");
    }
    input.members.insert("Config".into(), in_rego(Value::Object(runs)));
    input.members.entry("environment".into()).or_insert_with(|| environment.into());
}

/// What is stated, with its facts beside what tells whose word that is: no fact takes the name of one of those.
fn statement(found: &Statement) -> Value {
    let mut all = found.facts.clone();
    all.extend([
        ("verified".to_owned(), json!(found.is_signed)),
        ("verifier".to_owned(), json!(found.verifier)),
        ("signers".to_owned(), json!(found.signers)),
        ("digest".to_owned(), json!(found.digest)),
        ("predicate_type".to_owned(), json!(found.predicate_type)),
        ("at".to_owned(), json!(found.at.unwrap_or(0))),
    ]);
    Value::Object(all)
}

/// What a create or a service says of how a container runs. Of other calls dockerd takes nothing of the kind.
fn said_of_run(body: Option<&Value>, said: RunSpec) -> Option<&Map<String, Value>> {
    let body = body?;
    match said {
        RunSpec::Body => body.as_object(),
        RunSpec::ContainerSpec => body.pointer("/TaskTemplate/ContainerSpec")?.as_object(),
        RunSpec::Unknown | RunSpec::Nothing => None,
    }
}

/// Lays over an image's configuration what a call says, as dockerd does (moby, `daemon/commit.go`, `merge`): what it does not say stays.
fn lay_over(runs: &mut Map<String, Value>, said: Option<&Map<String, Value>>) {
    let Some(said) = said else { return };
    if let Some(user) = said.get("User").filter(|user| user.as_str() != Some("")) {
        runs.insert("User".into(), user.clone());
    }
    if let Some(health) = said.get("Healthcheck").filter(|health| health.pointer("/Test/0").is_some()) {
        runs.insert("Healthcheck".into(), health.clone());
    }
    if let Some(Value::Array(env)) = said.get("Env") {
        let name = |entry: &Value| entry.as_str().map(|entry| entry.split('=').next().unwrap_or_default().to_owned());
        let named: Vec<_> = env.iter().map(name).collect();
        let of_image = runs.get("Env").and_then(Value::as_array).into_iter().flatten();
        let kept: Vec<Value> = of_image.filter(|entry| !named.contains(&name(entry))).cloned().collect();
        runs.insert("Env".into(), env.iter().cloned().chain(kept).collect());
    }
    for key in ["Labels", "ExposedPorts"] {
        if let Some(Value::Object(more)) = said.get(key) {
            let known = runs.entry(key).or_insert_with(|| json!({}));
            if !known.is_object() {
                *known = json!({});
            }
            if let Some(known) = known.as_object_mut() {
                known.extend(more.clone());
            }
        }
    }
}

/// The bind mounts of a create, as opa-docker-authz lists them. An empty list where there are none: regorus fails at `some x in null`.
fn binds(body: &Value, looks: bool) -> Result<Vec<Value>, Refusal> {
    let Some(host) = body.get("HostConfig") else { return Ok(Vec::new()) };
    let list = |name: &str| host.get(name).and_then(Value::as_array).into_iter().flatten();
    let old = list("Binds").filter_map(Value::as_str).filter(|bind| bind.starts_with('/')).map(|bind| {
        let mut fields = bind.split(':');
        (fields.next().unwrap_or_default(), fields.nth(1) == Some("ro"))
    });
    let new = list("Mounts").filter(|mount| mount.get("Type").and_then(Value::as_str) == Some("bind")).map(|mount| {
        let text = mount.get("Source").and_then(Value::as_str).unwrap_or_default();
        (text, mount.get("ReadOnly").and_then(Value::as_bool).unwrap_or_default())
    });
    let found: Vec<(&str, bool)> = old.chain(new).take(BINDS + 1).collect();
    if found.len() > BINDS {
        return Err(Refusal::Unreadable(crate::request::Unreadable::TooComplex));
    }
    let resolved = |source: &str| if looks { resolve(source) } else { String::new() };
    Ok(found
        .into_iter()
        .map(|(source, is_read_only)| json!({"Source": source, "ReadOnly": is_read_only, "Resolved": resolved(source)}))
        .collect())
}

/// The path with its symbolic links followed; "" where that fails.
fn resolve(source: &str) -> String {
    if source.len() > PATH {
        return String::new();
    }
    std::fs::canonicalize(source).ok().and_then(|path| path.into_os_string().into_string().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Transport;

    fn call(uri: &str, body: Option<&str>) -> Call {
        Call {
            user: "alice".into(),
            user_authn_method: "TLS".into(),
            method: "POST".into(),
            uri: uri.into(),
            headers: body.map(|_| ("Content-Type".to_owned(), "application/json".to_owned())).into_iter().collect(),
            body: body.map(|body| body.as_bytes().to_vec()),
            outcome: None,
            certificate: None,
        }
    }

    fn shown(input: Input) -> Value {
        serde_json::to_value(input.in_rego()).unwrap()
    }

    fn input(uri: &str, body: Option<&str>) -> Value {
        shown(of_call(&call(uri, body), Transport::Http1.into(), "production", false).unwrap())
    }

    #[test]
    fn a_call_has_the_members_of_opa_docker_authz() {
        let body = r#"{"image":"a","hostconfig":{"binds":["/a:/b:ro","/c:/d:rw,ro","v:/e","/f"],"mounts":[{"type":"bind","source":"/g","readonly":true},{"type":"volume","source":"/h"}]}}"#;
        let found = input("/v1.41/containers/create?name=x&name=y", Some(body));
        for (name, expected) in [
            ("Method", json!("POST")),
            ("Path", json!("/v1.41/containers/create?name=x&name=y")),
            ("PathPlain", json!("/v1.41/containers/create")),
            ("PathArr", json!(["", "v1.41", "containers", "create"])),
            ("Query", json!({"name": ["x", "y"]})),
            ("Headers", json!({"Content-Type": "application/json"})),
            ("User", json!("alice")),
            ("AuthMethod", json!("TLS")),
            ("environment", json!("production")),
            (
                "BindMounts",
                json!([
                    {"Source": "/a", "ReadOnly": true, "Resolved": ""},
                    {"Source": "/c", "ReadOnly": false, "Resolved": ""},
                    {"Source": "/f", "ReadOnly": false, "Resolved": ""},
                    {"Source": "/g", "ReadOnly": true, "Resolved": ""},
                ]),
            ),
        ] {
            assert_eq!(found.get(name), Some(&expected), "{name}");
        }
        assert_eq!(found.pointer("/Body/HostConfig/Binds/1"), Some(&json!("/c:/d:rw,ro")));
        let bare = input("/_ping", None);
        assert_eq!(
            (bare.get("Body"), bare.get("BindMounts"), bare.get("Query")),
            (Some(&Value::Null), Some(&json!([])), Some(&json!({})))
        );
        let many = format!(r#"{{"HostConfig":{{"Binds":[{}"/:/h"]}}}}"#, r#""/:/h","#.repeat(BINDS));
        assert!(of_call(&call("/containers/create", Some(&many)), Transport::Http1.into(), "", false).is_err());
    }

    #[test]
    fn values_are_the_same_to_a_rule() {
        for json in [
            json!({"a": [null, true, "x", {}, []], "": {"b": -1, "c": u64::MAX, "d": i64::MIN, "e": 1.5, "f": 1e300, "g": 0}}),
            json!({"$serde_json::private::Number": "5"}),
            json!({"$serde_json::private::Number": "5", "Privileged": true}),
        ] {
            let found = in_rego(json.clone());
            assert_eq!(serde_json::to_value(&found).unwrap(), json);
            assert!(matches!(found, regorus::Value::Object(_)), "{found:?}");
        }
        assert_eq!(in_rego(json!(1.0)), regorus::Value::from(1.0));
    }

    #[test]
    fn links_are_followed_where_the_host_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let body = json!({"HostConfig": {"Binds": [format!("{}:/x", link.display()), "/no/such:/x"]}});
        let found = binds(&body, true).unwrap();
        assert_eq!(
            found.first().unwrap().get("Resolved").unwrap().as_str(),
            Some(&*real.canonicalize().unwrap().to_string_lossy())
        );
        assert_eq!(found.get(1).unwrap().get("Resolved"), Some(&json!("")));
    }

    #[test]
    fn what_is_not_known_of_an_image_has_the_value_that_a_rule_refuses() {
        let mut input = Input::default();
        with_image(&mut input, &Image::default(), "production");
        let found = shown(input);
        for (path, expected) in [
            ("/image/created", json!(0)),
            ("/image/scan_status", json!("missing")),
            ("/image/signatures", json!([])),
            ("/image/attestations", json!([])),
            ("/image/tag", json!("latest")),
            ("/image/digest", json!("")),
            ("/image/labels", json!({})),
            ("/Config/User", json!("")),
            ("/Config/Env", json!([])),
            ("/Config/Image", json!("")),
            ("/environment", json!("production")),
        ] {
            assert_eq!(found.pointer(path), Some(&expected), "{path}");
        }
        assert_eq!(found.pointer("/Config/Healthcheck"), None);
    }

    #[test]
    fn what_is_known_of_an_image_is_there() {
        let of = |value: Value| match value {
            Value::Object(members) => members,
            _ => Map::new(),
        };
        let image = Image {
            digest: Some("sha256:a".into()),
            signatures: vec![Signature {
                verifier: "dct".into(),
                kind: "notary",
                signers: vec!["alice".into()],
                digest: "sha256:a".into(),
            }],
            statements: vec![Statement {
                verifier: "scanned".into(),
                is_signed: true,
                signers: vec!["scanner.pub".into()],
                digest: "sha256:a".into(),
                predicate_type: "t".into(),
                at: Some(7),
                facts: of(json!({"kind": "scan", "found": {"low": 2}, "at": "then", "verified": "by nobody"})),
            }],
            config: Some(Config {
                created: Some(5),
                labels: of(json!({"security.scan": "passed", "org.opencontainers.image.base.name": "debian:12"})),
                config: of(json!({"User": "1000", "Env": null, "Healthcheck": {"Test": ["NONE"]}, "Image": "sha256:x"})),
            }),
            ..Image::default()
        };
        let mut input = Input::default();
        with_image(&mut input, &image, "");
        let found = shown(input);
        for (path, expected) in [
            ("/image/created", Some(json!(5))),
            ("/image/scan_status", Some(json!("passed"))),
            ("/image/tag", None),
            (
                "/image/signatures/0",
                Some(json!({"verified": true, "verifier": "dct", "type": "notary", "signers": ["alice"], "digest": "sha256:a"})),
            ),
            (
                "/image/attestations/0",
                Some(json!({"verified": true, "verifier": "scanned", "signers": ["scanner.pub"], "digest": "sha256:a",
                    "predicate_type": "t", "at": 7, "kind": "scan", "found": {"low": 2}})),
            ),
            ("/Config/User", Some(json!("1000"))),
            ("/Config/Env", Some(json!([]))),
            ("/Config/Image", Some(json!("debian:12"))),
            ("/Config/Healthcheck", None),
        ] {
            assert_eq!(found.pointer(path), expected.as_ref(), "{path}");
        }
    }
}
