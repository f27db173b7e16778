//! Managed plugins: what they are told by, and whether their settings are those that they came with.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::or_default;
use crate::image::Digest;

/// A managed plugin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plugin {
    /// Its id, 64 hex digits; the name of its folder under `/run/docker/plugins`.
    pub id: String,
    /// Its name with tag.
    pub name: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Its settings, `NAME=value`. They may be anyone's secrets: shown to nobody who could not ask the engine.
    pub settings: Vec<String>,
    /// What it starts: program and arguments.
    pub entrypoint: Vec<String>,
    /// Folders of the host that it is shown: there, and inside.
    pub mounts: Vec<(String, String)>,
    /// What it was pulled by, as the engine notes it. One that was created has its name here, which never holds a digest.
    pub reference: String,
    /// SHA-256 of its whole configuration, root filesystem's digests and settings, as inspect shows them; `None` where there is no
    /// root filesystem's digest, so that nothing would stand for its content.
    pub digest: Option<Digest>,
    /// Whether its settings are what its configuration gives.
    pub has_default_settings: bool,
}

impl<'de> Deserialize<'de> for Plugin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Json {
            id: String,
            name: String,
            enabled: bool,
            #[serde(default, deserialize_with = "or_default")]
            plugin_reference: String,
            #[serde(default)]
            config: Value,
            #[serde(default)]
            settings: Value,
        }
        let Json { id, name, enabled, plugin_reference, config, settings } = Json::deserialize(deserializer)?;
        let env = texts(settings.get("Env"));
        Ok(Self {
            id,
            name,
            enabled,
            digest: plugin_digest(&config, &settings),
            has_default_settings: has_default_settings(&config, &settings),
            reference: plugin_reference,
            entrypoint: texts(config.get("Entrypoint")),
            mounts: mounts(&settings),
            settings: env,
        })
    }
}

fn mounts(settings: &Value) -> Vec<(String, String)> {
    let text = |mount: &Value, name: &str| mount.get(name).and_then(Value::as_str).map(str::to_owned);
    let mounts = settings.get("Mounts").and_then(Value::as_array).into_iter().flatten();
    mounts.filter_map(|mount| text(mount, "Source").zip(text(mount, "Destination"))).collect()
}

fn texts(list: Option<&Value>) -> Vec<String> {
    list.and_then(Value::as_array).into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
}

/// The engine makes `diff_ids` itself when a plugin is created. Members come sorted, so that their order is no difference.
fn plugin_digest(config: &Value, settings: &Value) -> Option<Digest> {
    let layers = texts(config.pointer("/rootfs/diff_ids"));
    if layers.is_empty() || !layers.iter().all(|layer| layer.parse::<Digest>().is_ok()) {
        return None;
    }
    let whole = serde_json::json!({ "Config": config, "Settings": settings });
    Some(Digest::of(whole.to_string().as_bytes()))
}

/// As the engine makes them of the configuration (moby, plugin/v2, `InitEmptySettings`).
fn has_default_settings(config: &Value, settings: &Value) -> bool {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let given = |variable: &Value| {
        let value = variable.get("Value")?.as_str()?;
        Some(Value::from(format!("{}={value}", variable.get("Name")?.as_str()?)))
    };
    let env: Vec<Value> = list(config.get("Env")).iter().filter_map(given).collect();
    list(settings.get("Mounts")) == list(config.get("Mounts"))
        && list(settings.get("Devices")) == list(config.pointer("/Linux/Devices"))
        && list(settings.get("Args")) == list(config.pointer("/Args/Value"))
        && list(settings.get("Env")) == env
}

#[cfg(test)]
mod plugin_tests {
    use super::*;

    fn inspected() -> Value {
        let mount = serde_json::json!({"Name": "m", "Source": "/a", "Destination": "/b", "Settable": ["source"]});
        serde_json::json!({
            "Id": "f".repeat(64), "Name": "p:1", "Enabled": false, "PluginReference": "p:1",
            "Config": {
                "Entrypoint": ["/p"], "Mounts": [mount], "Env": [{"Name": "A", "Value": "1"}, {"Name": "B", "Value": null}],
                "Args": {"Value": null}, "Linux": {"Capabilities": null, "Devices": null},
                "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"layer").to_string()]}
            },
            "Settings": {"Mounts": [mount], "Env": ["A=1"], "Args": [], "Devices": []}
        })
    }

    fn read(value: &Value) -> Plugin {
        serde_json::from_value(value.clone()).unwrap()
    }

    #[test]
    fn a_plugins_digest_covers_content_configuration_and_settings_and_not_its_name() {
        let whole = read(&inspected());
        assert!(whole.digest.is_some() && whole.has_default_settings && whole.settings == ["A=1"]);
        assert_eq!((whole.entrypoint.join(" "), &whole.mounts[..]), ("/p".to_owned(), &[("/a".to_owned(), "/b".to_owned())][..]));
        for (pointer, value) in [
            ("/Config/rootfs/diff_ids/0", Value::from(Digest::of(b"other").to_string())),
            ("/Config/Entrypoint/0", Value::from("/q")),
            ("/Config/Mounts/0/Source", Value::from("/")),
            ("/Config/Linux/Capabilities", serde_json::json!(["CAP_SYS_ADMIN"])),
            ("/Settings/Mounts/0/Source", Value::from("/")),
            ("/Settings/Env/0", Value::from("A=2")),
        ] {
            let mut changed = inspected();
            *changed.pointer_mut(pointer).unwrap() = value;
            assert_ne!(read(&changed).digest, whole.digest, "{pointer}");
            let of_settings = pointer.contains("Mounts") || pointer.contains("Settings");
            assert_eq!(read(&changed).has_default_settings, !of_settings, "{pointer}");
        }
        for (pointer, value) in [("/Name", "q:1"), ("/PluginReference", "q:1")] {
            let mut changed = inspected();
            *changed.pointer_mut(pointer).unwrap() = value.into();
            assert_eq!(read(&changed).digest, whole.digest, "{pointer}");
        }
        let mut empty = inspected();
        *empty.pointer_mut("/Config/rootfs").unwrap() = Value::Null;
        assert_eq!(read(&empty).digest, None);
    }
}
