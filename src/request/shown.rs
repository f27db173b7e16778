//! A call as an operator's policies see it: path, query and body as dockerd takes them. Members of the body have Go's spelling
//! ([`super::spelling`]), so that `hostconfig` is `HostConfig` to a policy too; `null` changes nothing for Go and is left out; a list that
//! Go also takes as a single word is a list. What dockerd could take in another way than it is shown here is refused.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::json::same_name;
use super::query::Query;
use super::route::{self, Route};
use super::spelling::{self, Spelled};
use super::target::Target;
use super::{Asked, ContainerAccess, Manner, Unreadable};
use crate::wire::Call;

/// Most values of a body. Stops lists of millions of tiny values from filling memory.
const VALUES: usize = 10_000;
/// Most members of one struct, of which dockerd has at most some eighty. Each is compared with the others.
const MEMBERS: usize = 512;

/// A call, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The path, percent-decoded, with the version and without the query.
    pub path: String,
    /// The parameters of the query, each with its values in order.
    pub query: BTreeMap<String, Vec<String>>,
    /// The body; `null` without one.
    pub body: Value,
}

impl Shown {
    /// Reads a call.
    pub fn of(call: &Call, manner: impl Into<Manner>) -> Result<Self, Unreadable> {
        let asked = Asked { call, target: Target::read(&call.uri)?, manner: manner.into() };
        let path = asked.target.path.clone().into_owned();
        let is_form = matches!(call.method.as_str(), "POST" | "PUT" | "PATCH") && !takes_a_stream(&call.method, &path);
        let pairs = if is_form { Query::of_form(&asked)? } else { Query::read(asked.target.query)? };
        let mut query: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in pairs.pairs() {
            query.entry(key.to_owned()).or_default().push(value.to_owned());
        }
        let expected = spelling::body_of(&call.method, route::without_version(&path));
        let body = match call.body.as_deref() {
            Some(body) if !body.iter().all(u8::is_ascii_whitespace) => read(body, expected.shape)?,
            Some(_) | None if expected.is_required => return Err(Unreadable::MissingBody),
            Some(_) | None => Value::Null,
        };
        if expected.is_create {
            inside_host_config(&body)?;
        }
        Ok(Self { path, query, body })
    }
}

/// Whether the call's body is a stream or a hijacked connection. dockerd takes no form there, or one that nobody could read.
fn takes_a_stream(method: &str, path: &str) -> bool {
    match Route::of(method, path) {
        Route::ImagesCreate
        | Route::Load
        | Route::Build(_)
        | Route::PluginCreate
        | Route::ContainerAccess(
            ContainerAccess::PutArchive
            | ContainerAccess::Attach
            | ContainerAccess::Exec { .. }
            | ContainerAccess::PrivilegedExec { .. }
            | ContainerAccess::Checkpoint
            | ContainerAccess::Update(_),
        ) => true,
        Route::Harmless
        | Route::Commit
        | Route::Tag(_)
        | Route::Create
        | Route::Start(..)
        | Route::Rename(_)
        | Route::Update(_)
        | Route::Remove(_)
        | Route::Exec
        | Route::ServiceCreate
        | Route::ServiceUpdate(_)
        | Route::PluginPull
        | Route::PluginUpgrade(_)
        | Route::PluginChange(..)
        | Route::Swarm
        | Route::VolumeCreate
        | Route::VolumeUpdate(_)
        | Route::NetworkCreate
        | Route::Unknown => false,
    }
}

/// 20.10 takes the members of `HostConfig` from the top level as well, newer engines do not: no honest client has sent them there for
/// ten years, and a policy could be right about one kind of engine only. What changes nothing may stand there.
fn inside_host_config(body: &Value) -> Result<(), Unreadable> {
    let Value::Object(members) = body else { return Ok(()) };
    for (name, value) in members {
        let changes = match value {
            Value::Null => false,
            Value::Bool(truth) => *truth,
            Value::Number(number) => number.as_f64() != Some(0.0),
            Value::String(text) => !text.is_empty(),
            Value::Array(list) => !list.is_empty(),
            Value::Object(members) => !members.is_empty(),
        };
        if changes && spelling::is_of_host_config(name) {
            return Err(Unreadable::Outside(name.clone()));
        }
    }
    Ok(())
}

fn read(body: &[u8], shape: &'static Spelled) -> Result<Value, Unreadable> {
    let state = State { left: Cell::new(VALUES), is_full: Cell::new(false), twice: Cell::default() };
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = Seed { state: &state, shape }.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    if state.is_full.get() {
        return Err(Unreadable::TooComplex);
    }
    if let Some(name) = state.twice.take() {
        return Err(Unreadable::Ambiguous(name));
    }
    value.map_err(|error| Unreadable::Json(error.to_string()))
}

/// Counts and faults of one body.
struct State {
    left: Cell<usize>,
    is_full: Cell<bool>,
    twice: Cell<Option<String>>,
}

#[derive(Clone, Copy)]
struct Seed<'c> {
    state: &'c State,
    shape: &'static Spelled,
}

impl Seed<'_> {
    /// A scalar, in a list where Go makes one of it.
    fn scalar(self, value: Value) -> Value {
        match self.shape {
            Spelled::Words => Value::Array(vec![value]),
            Spelled::Any | Spelled::Text | Spelled::List(_) | Spelled::Struct(_) | Spelled::Map(_) => value,
        }
    }

    /// What `null` is to Go as an element of a list or a map of this shape.
    fn zero(self) -> Value {
        match self.shape {
            Spelled::Any => Value::Null,
            Spelled::Text => Value::String(String::new()),
            Spelled::List(_) | Spelled::Words => Value::Array(Vec::new()),
            Spelled::Struct(_) | Spelled::Map(_) => Value::Object(Map::new()),
        }
    }

    fn of(self, shape: &'static Spelled) -> Self {
        Self { shape, ..self }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Some(left) = self.state.left.get().checked_sub(1) else {
            self.state.is_full.set(true);
            return Err(serde::de::Error::custom("refused"));
        };
        self.state.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(self.scalar(Value::Bool(truth)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(self.scalar(Value::Number(number.into())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(self.scalar(Value::Number(number.into())))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        let number = Number::from_f64(number).ok_or_else(|| E::custom("a number is out of range"))?;
        Ok(self.scalar(Value::Number(number)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(self.scalar(Value::String(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Value, A::Error> {
        let element = self.of(match self.shape {
            Spelled::List(shape) => shape,
            Spelled::Words => &Spelled::Text,
            Spelled::Any | Spelled::Text | Spelled::Struct(_) | Spelled::Map(_) => &Spelled::Any,
        });
        let mut list = Vec::new();
        while let Some(value) = values.next_element_seed(element)? {
            list.push(if value.is_null() { element.zero() } else { value });
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        // `null` sets nothing, and still counts as a second one.
        let mut nulls: BTreeSet<String> = BTreeSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            let (name, shape) = match self.shape {
                Spelled::Struct(groups) => match spelling::field_of(groups, &key) {
                    Some((name, shape)) => ((*name).to_owned(), shape),
                    None => (key, &Spelled::Any),
                },
                Spelled::Map(shape) => (key, *shape),
                Spelled::Any | Spelled::Text | Spelled::List(_) | Spelled::Words => (key, &Spelled::Any),
            };
            let is_twice = match self.shape {
                Spelled::Map(_) => false,
                Spelled::Struct(_) => members.keys().chain(&nulls).any(|other| same_name(other, &name)),
                Spelled::Any | Spelled::Text | Spelled::List(_) | Spelled::Words => {
                    members.contains_key(&name) || nulls.contains(&name)
                }
            };
            if matches!(self.shape, Spelled::Struct(_)) && members.len() + nulls.len() > MEMBERS {
                self.state.is_full.set(true);
                return Err(serde::de::Error::custom("refused"));
            }
            // Of a map, Go takes the last; of a struct's members it merges some and takes the last of others.
            if is_twice {
                self.state.twice.set(Some(name));
                return Err(serde::de::Error::custom("refused"));
            }
            let seed = self.of(shape);
            match entries.next_value_seed(seed)? {
                Value::Null => match self.shape {
                    Spelled::Map(_) if !matches!(shape, Spelled::Any) => {
                        members.insert(name, seed.zero());
                    }
                    Spelled::Map(_) => {
                        members.remove(&name);
                    }
                    Spelled::Struct(_) | Spelled::Any | Spelled::Text | Spelled::List(_) | Spelled::Words => {
                        nulls.insert(name);
                    }
                },
                value => {
                    members.insert(name, value);
                }
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::request::Transport;
    use crate::request::tests::{json as posted, post};

    fn body(uri: &str, body: &str) -> Result<Value, Unreadable> {
        Shown::of(&posted(uri, body), Transport::Http1).map(|shown| shown.body)
    }

    fn create(text: &str) -> Result<Value, Unreadable> {
        body("/v1.41/containers/create", text)
    }

    #[test]
    fn members_have_gos_spelling_and_maps_keep_theirs() {
        for (text, expected) in [
            (r#"{"image":"a"}"#, json!({"Image": "a"})),
            (r#"{"Image":"a","hostconfig":{"PRIVILEGED":true}}"#, json!({"Image": "a", "HostConfig": {"Privileged": true}})),
            ("{\"Ho\u{17f}tConfig\":{\"Bind\u{17f}\":[\"/:/h\"]}}", json!({"HostConfig": {"Binds": ["/:/h"]}})),
            (r#"{"\u0068ostConfig":{"networkmode":"host"}}"#, json!({"HostConfig": {"NetworkMode": "host"}})),
            (r#"{"labels":{"image":"x","IMAGE":"y"}}"#, json!({"Labels": {"image": "x", "IMAGE": "y"}})),
            (r#"{"HostConfig":{"sysctls":{"net.x":"1"}}}"#, json!({"HostConfig": {"Sysctls": {"net.x": "1"}}})),
            (
                r#"{"HostConfig":{"mounts":[{"type":"bind","source":"/","bindoptions":{"propagation":"shared"}}]}}"#,
                json!({"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/", "BindOptions": {"Propagation": "shared"}}]}}),
            ),
            (r#"{"exposedports":{"22/tcp":null}}"#, json!({"ExposedPorts": {"22/tcp": {}}})),
            (r#"{"Labels":{"a":null,"b":"1","b":"2"}}"#, json!({"Labels": {"a": "", "b": "2"}})),
            // What dockerd does not know is kept as it is.
            (r#"{"Newer":{"a":1}}"#, json!({"Newer": {"a": 1}})),
            (r#"{"HostConfig":{"Memory":1.5e3,"CpuShares":-1}}"#, json!({"HostConfig": {"Memory": 1500.0, "CpuShares": -1}})),
        ] {
            assert_eq!(create(text), Ok(expected), "{text}");
        }
        let service = r#"{"tasktemplate":{"containerspec":{"image":"a","capabilityadd":["ALL"]}}}"#;
        let spelled = json!({"TaskTemplate": {"ContainerSpec": {"Image": "a", "CapabilityAdd": ["ALL"]}}});
        assert_eq!(body("/services/create", service), Ok(spelled));
        assert_eq!(body("/containers/c/exec", r#"{"privileged":true}"#), Ok(json!({"Privileged": true})));
        assert_eq!(body("/v1.44/volumes/create", r#"{"driveropts":{"Device":"/"}}"#), Ok(json!({"DriverOpts": {"Device": "/"}})));
        assert_eq!(body("/networks/n/connect", r#"{"container":"c"}"#), Ok(json!({"Container": "c"})));
    }

    #[test]
    fn null_changes_nothing_and_a_word_is_a_list_where_go_takes_both() {
        for (text, expected) in [
            (r#"{"Image":"a","Cmd":null,"HostConfig":{"CapAdd":null,"Binds":null}}"#, json!({"Image": "a", "HostConfig": {}})),
            (r#"{"HostConfig":{"CapAdd":"SYS_ADMIN"}}"#, json!({"HostConfig": {"CapAdd": ["SYS_ADMIN"]}})),
            (r#"{"Cmd":"sh","Entrypoint":["a",null]}"#, json!({"Cmd": ["sh"], "Entrypoint": ["a", ""]})),
            (
                r#"{"HostConfig":{"Binds":[null,"/a:/b"],"Mounts":[null]}}"#,
                json!({"HostConfig": {"Binds": ["", "/a:/b"], "Mounts": [{}]}}),
            ),
            ("null", Value::Null),
        ] {
            assert_eq!(create(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_dockerd_might_take_in_another_way_is_refused() {
        for (text, error) in [
            (r#"{"Image":"a","image":"b"}"#, Unreadable::Ambiguous("Image".into())),
            (r#"{"Image":null,"image":"b"}"#, Unreadable::Ambiguous("Image".into())),
            (r#"{"HostConfig":{},"hostconfig":{"Privileged":true}}"#, Unreadable::Ambiguous("HostConfig".into())),
            (r#"{"Newer":1,"newer":2}"#, Unreadable::Ambiguous("newer".into())),
            (r#"{"HostConfig":{"Newer":{"a":1,"a":2}}}"#, Unreadable::Ambiguous("a".into())),
            (r#"{"Image":"a","Privileged":true}"#, Unreadable::Outside("Privileged".into())),
            (r#"{"Image":"a","binds":["/:/h"]}"#, Unreadable::Outside("binds".into())),
        ] {
            assert_eq!(create(text), Err(error), "{text}");
        }
        for text in [r#"{"Image":"a","Memory":0,"Runtime":"","VolumeDriver":null}"#, r#"{"Binds":[]}"#] {
            assert!(create(text).is_ok(), "{text}");
        }
        for text in ["{", "{}{}", "{}x", r#"{"Image":1e999}"#] {
            assert!(matches!(create(text), Err(Unreadable::Json(_))), "{text}");
        }
        let many = format!(r#"{{"Env":[{}""]}}"#, r#""","#.repeat(VALUES));
        assert_eq!(create(&many), Err(Unreadable::TooComplex));
        // What 20.10 decodes under any type, and does not show.
        for uri in ["/swarm/init", "/v1.40/swarm/join", "/nodes/n/update", "/secrets/create", "/configs/c/update"] {
            let hidden = Shown::of(&post(uri, &[("Content-Length", "9")], None), Transport::Http1);
            assert_eq!(hidden, Err(Unreadable::MissingBody), "{uri}");
        }
        let form = &[("Content-Length", "9"), ("Content-Type", "text/plain")];
        let stop = Shown::of(&post("/containers/c/kill?signal=TERM", form, None), Transport::Http1);
        assert_eq!(stop, Err(Unreadable::HiddenBody));
        for uri in ["/build?remote=x", "/images/load", "/containers/c/attach", "/images/create?fromSrc=-"] {
            assert!(Shown::of(&post(uri, form, None), Transport::Http1).is_ok(), "{uri}");
        }
    }

    #[test]
    fn path_and_query_are_decoded() {
        let shown =
            Shown::of(&post("http://d/v1.41/containers/a%2eb/stop?all=0&all=1&size&x=a%26b+c", &[], None), Transport::Http1);
        let shown = shown.unwrap();
        assert_eq!(shown.path, "/v1.41/containers/a.b/stop");
        let query = [("all", vec!["0", "1"]), ("size", vec![""]), ("x", vec!["a&b c"])];
        let query = query.map(|(key, values)| (key.to_owned(), values.into_iter().map(str::to_owned).collect()));
        assert_eq!(shown.query, BTreeMap::from(query));
        assert_eq!(shown.body, Value::Null);
        assert!(Shown::of(&post("/info?a=1;b=2", &[], None), Transport::Http1).is_err());
    }
}
