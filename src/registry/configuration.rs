//! The configuration that a digest commits to: index, the platform's manifest, configuration, each hashed where it is fetched.

use crate::order::Ordered as _;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::manifest::{OneReading, fold};
use super::{Api, Content, Manifest, RegistryError, Wanted, part};
use crate::image::{Digest, ImageConfig, Platform, Repository};
use crate::text::clean;

/// The kinds of configurations that images have. Others (artifacts, plugins) say nothing of a container.
const MEDIA_TYPES: [&str; 2] = ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// Most of an index, to have a message that names what it has.
const NAMED: usize = 6;

/// What the image says of itself that this digest of a manifest or index commits to, for a platform; `None`: for whatever platform, as
/// the hosts of a swarm may be.
pub async fn configuration<R: Api + ?Sized>(
    registry: &R,
    repository: &Repository,
    digest: Digest,
    platform: Option<&Platform>,
    deadline: Instant,
) -> Result<ImageConfig, RegistryError> {
    let first = registry.manifest(repository, &Wanted::Digest(digest), deadline).await?;
    let manifest = match first.content() {
        Content::Image(_) => first,
        Content::Index(_) => {
            let child = for_platform(&first, platform)?;
            registry.manifest(repository, &Wanted::Digest(child), deadline).await?
        }
    };
    let unusable = |cause: &str| RegistryError::Undecodable { what: format!("{repository}@{digest}"), cause: cause.to_owned() };
    let Content::Image(image) = manifest.content() else { return Err(unusable("it is an index inside an index")) };
    if !MEDIA_TYPES.contains(&image.config().media_type().as_ref()) {
        return Err(unusable(&format!("its configuration is `{}`, not an image's", clean(image.config().media_type().as_ref()))));
    }
    let Some(config) = manifest.config() else { return Err(unusable("its configuration has no SHA-256 digest")) };
    let body = part(registry, repository, config, image.config().size(), deadline).await?;
    let sizes = image.layers().iter().map(oci_spec::image::Descriptor::size);
    let size = sizes.fold(image.config().size(), u64::saturating_add);
    let annotations = image.annotations().clone().unwrap_or_default().into_iter().collect();
    let read = read(&body).map_err(|cause| RegistryError::Undecodable { what: format!("{repository}@{config}"), cause })?;
    Ok(ImageConfig { size: Some(size), annotations: Some(annotations), ..read })
}

/// The manifest of an index that engines take for a platform: the one that fits it. Where several may, they differ by engine and by what
/// its processor can, and none is known to be it. What names no platform that can be read may fit any.
fn for_platform(index: &Manifest, platform: Option<&Platform>) -> Result<Digest, RegistryError> {
    let children = index.children();
    let may_fit = |text: Option<&str>| match (text.map(str::parse::<Platform>), platform) {
        (Some(Ok(found)), Some(platform)) => found.is(platform),
        // What is attached to an image runs nowhere (attestations of buildx).
        (Some(Ok(found)), None) => found.os != "unknown",
        (Some(Err(_)) | None, _) => true,
    };
    let mut found: Vec<Digest> =
        children.iter().filter(|child| may_fit(child.platform.as_deref())).map(|child| child.digest).collect();
    found.dedup();
    if let [only] = found.as_slice() {
        return Ok(*only);
    }
    let named: Vec<&str> = children.iter().filter_map(|child| child.platform.as_deref()).take(NAMED).collect();
    let platform = platform.map_or_else(|| "every host of a swarm".to_owned(), ToString::to_string);
    let has = if found.is_empty() { "no image" } else { "several images" };
    let cause = format!("it has {has} for {platform}; it has {}", clean(&named.join(", ")));
    Err(RegistryError::Undecodable { what: index.digest().to_string(), cause })
}

/// Reads a configuration as Go does: members in any case. Two that Go takes for one are refused, because which of them counts differs
/// by reader.
pub fn read(body: &[u8]) -> Result<ImageConfig, String> {
    let json = |error: serde_json::Error| clean(&error.to_string());
    let _: OneReading = serde_json::from_slice(body).map_err(json)?;
    let members: Map<String, Value> = serde_json::from_slice(body).map_err(json)?;
    let empty = Map::new();
    let config = match member(&members, "config") {
        Some(Value::Object(config)) => config,
        Some(Value::Null) | None => &empty,
        Some(_) => return Err("its member `config` is not an object".to_owned()),
    };
    let root = member(&members, "rootfs").and_then(Value::as_object);
    let check = member(config, "healthcheck").and_then(Value::as_object);
    Ok(ImageConfig {
        // An unreadable time is an unknown one, and so is Go's zero time.
        created: text(&members, "created")?
            .and_then(|text| text.parse().ok())
            .filter(|_| !member(&members, "created").and_then(Value::as_str).is_some_and(|text| text.starts_with("0001-"))),
        platform: Platform {
            os: text(&members, "os")?.unwrap_or_default().to_owned(),
            architecture: text(&members, "architecture")?.unwrap_or_default().to_owned(),
            variant: text(&members, "variant")?.unwrap_or_default().to_owned(),
        },
        layers: root
            .map(|root| texts(root, "diff_ids"))
            .transpose()?
            .unwrap_or_default()
            .iter()
            .map_while(|layer| layer.parse().ok())
            .collect(),
        user: text(config, "user")?.unwrap_or_default().to_owned(),
        env: texts(config, "env")?,
        labels: match member(config, "labels") {
            Some(Value::Object(labels)) => {
                let of = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
                if labels.len() > ENTRIES {
                    return Err(format!("it has more than {ENTRIES} labels"));
                }
                labels.iter().map(of).collect::<Option<Vec<_>>>().ok_or("its labels are not texts")?.ordered()
            }
            Some(Value::Null) | None => std::collections::BTreeMap::new(),
            Some(_) => return Err("its labels are not an object".to_owned()),
        },
        ports: match member(config, "exposedports") {
            Some(Value::Object(ports)) => ports.keys().cloned().collect(),
            Some(Value::Null) | None => Vec::new(),
            Some(_) => return Err("its ports are not an object".to_owned()),
        },
        healthcheck: check.map(|check| texts(check, "test")).transpose()?.unwrap_or_default(),
        history: Some(history(&members)?),
        annotations: None,
        size: None,
    })
}

/// Most entries of one list. Images have dozens.
const ENTRIES: usize = 10_000;

fn history(members: &Map<String, Value>) -> Result<Vec<String>, String> {
    let made = match member(members, "history") {
        Some(Value::Array(made)) if made.len() <= ENTRIES => made.as_slice(),
        Some(Value::Null) | None => &[],
        Some(_) => return Err(format!("its history is not a list of at most {ENTRIES} entries")),
    };
    let of = |one: &Value| {
        let one = one.as_object().ok_or("its history is not a list of objects")?;
        Ok(text(one, "created_by")?.unwrap_or_default().to_owned())
    };
    made.iter().map(of).collect()
}

/// The member that Go takes for this one, which is written in lower case.
fn member<'v>(members: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    members.iter().find(|(key, _)| fold(key) == name).map(|(_, value)| value)
}

fn text<'v>(members: &'v Map<String, Value>, name: &str) -> Result<Option<&'v str>, String> {
    match member(members, name) {
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Null) | None => Ok(None),
        Some(_) => Err(format!("its member `{name}` is not a text")),
    }
}

fn texts(members: &Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("its member `{name}` is not a list of at most {ENTRIES} texts");
    match member(members, name) {
        Some(Value::Array(values)) if values.len() <= ENTRIES => {
            values.iter().map(|value| value.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(Value::Null) | None => Ok(Vec::new()),
        Some(_) => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_as_go_does() {
        let body = br#"{"created":"2026-01-02T03:04:05Z","OS":"linux","architecture":"arm64","variant":"v8",
            "Config":{"user":"app","Env":["A=1"],"Labels":{"a":"b"},"ExposedPorts":{"22/tcp":{}},"Healthcheck":{"test":["CMD","x"]}},
            "rootfs":{"type":"layers","diff_ids":["sha256:e4bc2012c97453873ab95d7e086cf2f00ef94f7f46ffd8af486e805fb0489f9c"]},
            "history":[{"created_by":"COPY x"},{"empty_layer":true}]}"#;
        let config = read(body).unwrap();
        assert_eq!((config.user.as_str(), config.platform.to_string().as_str()), ("app", "linux/arm64/v8"));
        assert_eq!((config.env.len(), config.ports.len(), config.layers.len(), config.has_healthcheck()), (1, 1, 1, true));
        assert_eq!(config.history, Some(vec!["COPY x".to_owned(), String::new()]));
        assert!(config.created.is_some() && config.labels["a"] == "b");
        let bare = read(b"{}").unwrap();
        assert_eq!((bare.created, bare.user.as_str(), bare.has_healthcheck()), (None, "", false));
        assert_eq!(read(br#"{"created":"0001-01-01T00:00:00Z"}"#).unwrap().created, None);
    }

    #[test]
    fn what_has_two_readings_or_none_is_no_configuration() {
        for body in [
            "",
            "[]",
            r#"{"config":{"User":"app","user":"root"}}"#,
            r#"{"config":{"User":"app"},"Config":{}}"#,
            r#"{"config":[]}"#,
            r#"{"config":{"User":0}}"#,
            r#"{"config":{"Env":"A=1"}}"#,
            r#"{"config":{"Labels":{"a":1}}}"#,
            r#"{"history":{}}"#,
        ] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
