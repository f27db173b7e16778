//! Every line of the corpus, and whatever else crosses the files of this room.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// A POST.
pub(super) fn post(uri: &str, headers: &[(&str, &str)], body: Option<&str>) -> Call {
    Call {
        user: String::new(),
        user_authn_method: String::new(),
        method: "POST".into(),
        uri: uri.into(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: body.map(|body| body.as_bytes().to_vec()),
        outcome: None,
        certificate: None,
    }
}

/// A POST of JSON.
pub(super) fn json(uri: &str, body: &str) -> Call {
    let length = body.len().to_string();
    post(uri, &[("Content-Length", &length), ("Content-Type", "application/json")], Some(body))
}

#[test]
fn reads_are_reads_and_attach_is_not() {
    let get = |method: &str, uri: &str| Intent::of(&Call { method: method.into(), ..post(uri, &[], None) });
    for method in ["GET", "HEAD", "OPTIONS"] {
        assert_eq!(get(method, "/v1.41/images/create?fromImage=evil"), Intent::Read);
        assert_eq!(get(method, "/nothing/here"), Intent::Read);
    }
    assert_eq!(get("GET", "/v1.41/containers/c/%61ttach/ws?stream=1"), Intent::ContainerAccess(ContainerAccess::Attach));
    assert_eq!(get("GET", "http://x/containers/c/attach/ws"), Intent::ContainerAccess(ContainerAccess::Attach));
    assert!(matches!(get("get", "/info"), Intent::Unknown { .. }));
    assert!(matches!(get("GET", "info"), Intent::Unreadable(Unreadable::Uri(_))));
}

#[test]
fn an_unknown_route_is_named_in_bounds() {
    let Intent::Unknown { route } = Intent::of(&post(&format!("/x{}", "é".repeat(999)), &[], None)) else { panic!() };
    assert!(route.starts_with("POST /xé"));
    assert_eq!(route.chars().count(), ROUTE);
    let control = Intent::of(&post("/x%0ay%1b", &[], None));
    assert_eq!(control, Intent::Unknown { route: "POST /x\\ny\\u{1b}".into() });
}

#[test]
fn long_targets_are_read_but_change_nothing() {
    let long = format!("/containers/json?filters={}", "a".repeat(target::CHANGE_BYTES));
    assert_eq!(Intent::of(&Call { method: "GET".into(), ..post(&long, &[], None) }), Intent::Read);
    let long = format!("/containers/prune?filters={}", "a".repeat(target::CHANGE_BYTES));
    assert!(matches!(Intent::of(&post(&long, &[], None)), Intent::Unreadable(Unreadable::Uri(_))));
}

/// The corpus: what real daemons put to a plugin (`test/fixtures/corpus/README.md`).
const CORPUS: &str = include_str!("../../test/fixtures/corpus/public.jsonl");

/// A host and a policy for one line of the corpus: just enough of a gate to see that the intent names what was acted on.
struct Line {
    row: Value,
}

impl Line {
    fn all() -> impl Iterator<Item = Self> {
        CORPUS.lines().map(|line| Self { row: serde_json::from_str(line).unwrap() })
    }

    fn text(&self, name: &str) -> &str {
        self.row[name].as_str().unwrap_or_default()
    }

    /// The intent, or `None` for posts that are no call.
    fn intent(&self) -> Option<Intent> {
        let bytes = match self.row["authz_raw_b64"].as_str() {
            Some(raw) => base64::Engine::decode(&base64::engine::general_purpose::STANDARD, raw).unwrap(),
            None => serde_json::to_vec(&self.row["authz_request"]).unwrap(),
        };
        Call::decode(&bytes).ok().map(|call| Intent::of(&call))
    }

    fn approved(&self, field: &str) -> Digest {
        self.row["policy"]["approved"][0][field].as_str().unwrap().parse().unwrap()
    }

    /// Whether the content behind a name is `good`, as the host of this line would resolve it.
    fn is_good(&self, name: &ImageName) -> bool {
        let id = self.approved("image_id");
        match name {
            ImageName::Id(digest) => *digest == id,
            ImageName::IdPrefix(text) => id.to_string().starts_with(&**text),
            ImageName::Named { reference, written } => {
                if let Some(digest) = reference.digest {
                    return reference.repository == good_repository() && digest == self.approved("manifest_digest");
                }
                let held = |who: &str| {
                    let tags = self.row["engine_state"]["images"][who]["tags"].as_array().cloned().unwrap_or_default();
                    tags.iter().any(|tag| tag.as_str().unwrap().parse::<Reference>() == Ok(reference.clone()))
                };
                match (held("good"), held("evil")) {
                    (good, evil) if good != evil => good,
                    // Not on the host: an id prefix, or decided by name before the engine answers 404.
                    _ if name.may_be_id_prefix() && id.hex().starts_with(&**written) => true,
                    _ => reference.repository == good_repository(),
                }
            }
        }
    }

    fn container_is_good(&self, name: &str) -> bool {
        let containers = self.row["engine_state"]["containers"].as_array().cloned().unwrap_or_default();
        let found = containers.iter().find(|container| container["id"] == name || container["name"] == name);
        found.is_some_and(|container| container["image"] == "good")
    }

    /// Whether the smallest honest policy refuses the intent.
    fn refuses(&self, intent: &Intent, lockdown: bool) -> bool {
        let images = |image: Option<&ImageName>, mounts: &[ImageName]| {
            !image.is_some_and(|image| self.is_good(image)) || mounts.iter().any(|mount| !matches!(mount, ImageName::Id(_)))
        };
        match intent {
            Intent::Unreadable(_)
            | Intent::Unknown { .. }
            | Intent::Build(_)
            | Intent::Service(Service::Rollback { .. })
            | Intent::Plugin(PluginCall::Pull { .. } | PluginCall::Upgrade { .. }) => true,
            Intent::Read
            | Intent::Harmless
            | Intent::Rename { .. }
            | Intent::Remove { .. }
            | Intent::ContainerAccess(ContainerAccess::Exec { .. } | ContainerAccess::Attach | ContainerAccess::Update(_)) => {
                false
            }
            Intent::Pull(pull) => {
                let good = match &pull.what {
                    Pulled::Tag(tag) => matches!(tag.as_str(), "latest" | "v1"),
                    Pulled::Digest(digest) => *digest == self.approved("manifest_digest"),
                    Pulled::AllTags => false,
                };
                pull.repository != good_repository() || !good
            }
            Intent::Create(create) => {
                images(create.image.as_ref(), &create.image_mounts) || (lockdown && !create.host_access.is_empty())
            }
            Intent::Start(start) => start.extra.is_some() || !self.container_is_good(&start.container),
            Intent::Service(Service::Spec { image, image_mounts, plugin, host_access, networks: _, terms: _ }) => {
                images(image.as_ref(), image_mounts) || plugin.is_some() || (lockdown && !host_access.is_empty())
            }
            Intent::Volume { host_access, .. } | Intent::Network { host_access, .. } => lockdown && !host_access.is_empty(),
            Intent::Plugin(PluginCall::Create { .. } | PluginCall::Change { .. })
            | Intent::Ingest(_)
            | Intent::Swarm
            | Intent::ContainerAccess(
                ContainerAccess::PutArchive | ContainerAccess::PrivilegedExec { .. } | ContainerAccess::Checkpoint,
            )
            | Intent::NetworkPlugin { .. } => lockdown,
        }
    }
}

fn good_repository() -> Repository {
    "127.0.0.1:5555/good".parse().unwrap()
}

#[test]
fn every_line_of_the_corpus_is_read_as_the_daemon_acted() {
    let mut lines = 0;
    for line in Line::all() {
        lines += 1;
        let (id, expect, posture) = (line.text("id"), line.text("expect"), line.text("posture"));
        let Some(intent) = line.intent() else {
            assert_eq!(expect, "deny", "{id} is no call");
            continue;
        };
        for lockdown in [false, true] {
            let refused = line.refuses(&intent, lockdown);
            match expect {
                "deny" if lockdown || posture == "images" => assert!(refused, "{id} is let pass as {intent:?}"),
                "deny" => {}
                _ if line.row["benign"] == true || expect == "allow" => assert!(!refused, "{id} is refused as {intent:?}"),
                "recognise" => {}
                other => panic!("{id} expects {other}"),
            }
        }
    }
    assert_eq!(lines, 314);
}

/// Stronger than the above, which a reader that refuses everything would pass: what was pulled or created is named, not just
/// refused, wherever the body was shown.
#[test]
fn what_a_daemon_acted_on_is_named_or_refused_for_a_reason() {
    let mut named = 0;
    for line in Line::all() {
        let id = line.text("id");
        let acted: Vec<&str> = match &line.row["image_acted_on"] {
            Value::String(image) => vec![image],
            Value::Array(images) => images.iter().filter_map(Value::as_str).collect(),
            _ => continue,
        };
        let is_acted = |reference: &Reference| {
            acted.iter().any(|image| image.parse::<Reference>().map(Reference::or_latest).as_ref() == Ok(reference))
        };
        match line.intent() {
            Some(Intent::Pull(Pull { repository, what })) => {
                let (tag, digest) = match what {
                    Pulled::Tag(tag) => (Some(tag), None),
                    Pulled::Digest(digest) => (None, Some(digest)),
                    Pulled::AllTags => continue,
                };
                let pulled = Reference { repository, tag, digest };
                assert!(is_acted(&pulled), "{id} pulled {acted:?}, not {pulled}");
                named += 1;
            }
            Some(Intent::Create(create)) => {
                let image = create.image.expect(id);
                let same = acted.contains(&image.to_string().as_str()) || image.reference().is_some_and(is_acted);
                let same = same || ImageName::parse(acted[0]).as_ref() == Ok(&image);
                assert!(same, "{id} ran {acted:?}, not {image}");
                named += 1;
            }
            Some(Intent::Unreadable(_) | Intent::Unknown { .. }) => {
                let strange = [
                    "form-body",
                    "multipart-body",
                    "query-mime-mask",
                    "body-size",
                    "content-type",
                    "json-tricks",
                    "json-hostconfig",
                    "query-encoding",
                    "swarm-content-type",
                    "import",
                    "new-engine",
                ];
                assert!(strange.contains(&line.text("family")), "{id} is refused");
            }
            _ => {}
        }
    }
    assert!(named > 90, "{named}");
}

proptest! {
    #[test]
    fn no_call_panics(
        method in "(GET|POST|PUT|DELETE|[A-Z]{0,4})",
        uri in "(/v1\\.[0-9]{2})?/(containers|images|services|plugins|volumes|networks|exec)/\\PC{0,20}/?(create|start|tag|update|pull)?(\\?\\PC{0,30})?",
        headers in proptest::collection::btree_map("Content-(Type|Length)", "\\PC{0,20}", 0..3),
        body in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..60)),
    ) {
        let headers: BTreeMap<String, String> = headers;
        let _ = Intent::of(&Call { method, headers, body, ..post(&uri, &[], None) });
    }

    #[test]
    fn no_body_panics(body in "(\\{\"(Image|HostConfig|TaskTemplate|Binds)\":)?\\PC{0,80}") {
        let _ = Intent::of(&json("/containers/create", &body));
        let _ = Intent::of(&json("/services/create", &body));
    }
}
