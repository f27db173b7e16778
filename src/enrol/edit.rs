//! daemon.json as text: one name into its list of authorization plugins, or out of it. Everything else keeps its order, its spacing and
//! its line ends.
//!
//! INVARIANT: what comes out says the same as what came in, but for that name; what cannot be shown to do so is an error.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstArray, CstInputValue, CstNode, CstObject, CstRootNode};

use crate::gate::{DaemonFile, Listed, PLUGINS_KEY};

/// JSON as dockerd reads it, and nothing beside it.
const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};
/// Windows editors begin a file with it, and dockerd passes over it.
const BOM: char = '\u{feff}';
/// What `authorization-plugins` must be.
const NOT_A_LIST: &str = "its authorization plugins are not a list of names";

/// The text with the gate as the first plugin that is asked.
pub(super) fn put_in(text: &str, gate: &str) -> Result<String, String> {
    let name = || CstInputValue::String(gate.to_owned());
    let edited = edit(text, |object| {
        if let Some(list) = list(object)? {
            list.insert(0, name());
            return Ok(());
        }
        // `null` says as little as no key.
        if let Some(null) = object.get(PLUGINS_KEY) {
            null.remove();
        }
        object.append(PLUGINS_KEY, CstInputValue::Array(vec![name()]));
        Ok(())
    })?;
    let expected: Vec<String> = std::iter::once(gate.to_owned()).chain(names(text)?).collect();
    proven(text, edited, &expected)
}

/// The text without the names that are the gate's; without the key where no other name is left.
pub(super) fn take_out(text: &str, is_gate: impl Fn(&str) -> bool) -> Result<String, String> {
    let edited = edit(text, |object| {
        let list = list(object)?.ok_or(NOT_A_LIST)?;
        for element in list.elements() {
            let name = element.as_string_lit().and_then(|name| name.decoded_value().ok()).ok_or(NOT_A_LIST)?;
            if is_gate(&name) {
                element.remove();
            }
        }
        if let Some(property) = object.get(PLUGINS_KEY).filter(|_| list.elements().is_empty()) {
            property.remove();
        } else {
            close_up(&list);
        }
        Ok(())
    })?;
    let expected: Vec<String> = names(text)?.into_iter().filter(|name| !is_gate(name)).collect();
    proven(text, edited, &expected)
}

fn edit(text: &str, change: impl FnOnce(&CstObject) -> Result<(), String>) -> Result<String, String> {
    let (mark, body) = match text.strip_prefix(BOM) {
        Some(body) => (BOM.to_string(), body),
        None => (String::new(), text),
    };
    // What is nested too deep is found here: the other parser has no bound.
    if DaemonFile::read(body)?.is_given_twice() {
        return Err("it has its authorization plugins twice".to_owned());
    }
    let body = if body.trim().is_empty() { "{\n}\n" } else { body };
    let root = CstRootNode::parse(body, &STRICT).map_err(|error| error.to_string())?;
    change(&root.object_value().ok_or("it is not a JSON object")?)?;
    Ok(format!("{mark}{root}"))
}

/// Takes away the space that stood between the name that went and the next one, where the list has none before its end.
fn close_up(list: &CstArray) {
    let elements = list.elements();
    let ends_without = elements.last().and_then(CstNode::next_sibling).is_some_and(|next| next.token_char() == Some(']'));
    let space = elements.first().and_then(CstNode::previous_sibling).and_then(|before| before.as_whitespace());
    if let Some(space) = space.filter(|_| ends_without)
        && space.previous_sibling().is_some_and(|before| before.token_char() == Some('['))
    {
        space.remove();
    }
}

/// The list of plugins; none where there is no such key, or it says `null`.
fn list(object: &CstObject) -> Result<Option<CstArray>, String> {
    let Some(property) = object.get(PLUGINS_KEY) else { return Ok(None) };
    if property.value().is_some_and(|value| value.as_null_keyword().is_some()) {
        return Ok(None);
    }
    property.array_value().map(Some).ok_or_else(|| NOT_A_LIST.to_owned())
}

fn names(text: &str) -> Result<Vec<String>, String> {
    match DaemonFile::read(text)?.plugins() {
        Listed::Plugins(names) => Ok(names),
        Listed::Nothing => Ok(Vec::new()),
        Listed::NotAList => Err(NOT_A_LIST.to_owned()),
    }
}

/// The edited text, if it says what it is to say, as dockerd will read it.
fn proven(before: &str, after: String, expected: &[String]) -> Result<String, String> {
    let (old, new) = (DaemonFile::read(before)?, DaemonFile::read(&after)?);
    if !new.is_same_beside_plugins(&old) || names(&after)? != expected || new.is_given_twice() {
        return Err("it could not be changed without touching something else".to_owned());
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn without(text: &str) -> String {
        take_out(text, |name| name == "img-authz").unwrap()
    }

    #[test]
    fn the_gate_comes_in_first_and_all_else_stays_as_it_is_written() {
        for (before, after) in [
            ("", "{\n  \"authorization-plugins\": [\"img-authz\"]\n}\n"),
            ("{}\n", "{\n  \"authorization-plugins\": [\"img-authz\"]\n}\n"),
            (
                "{\n    \"debug\" : true,\n\n    \"log-opts\": {\"max-size\": \"10m\"}\n}\n",
                "{\n    \"debug\" : true,\n\n    \"log-opts\": {\"max-size\": \"10m\"},\n    \"authorization-plugins\": [\"img-authz\"]\n}\n",
            ),
            (
                "{\"authorization-plugins\":[\"opa\"],\"debug\":1e2}",
                "{\"authorization-plugins\":[\"img-authz\", \"opa\"],\"debug\":1e2}",
            ),
            ("{\"authorization-plugins\": [], \"hosts\": []}", "{\"authorization-plugins\": [\"img-authz\"], \"hosts\": []}"),
            (
                "{\n\t\"authorization-plugins\": [\n\t\t\"opa\"\n\t]\n}",
                "{\n\t\"authorization-plugins\": [\n\t\t\"img-authz\",\n\t\t\"opa\"\n\t]\n}",
            ),
            (
                "\u{feff}{\r\n\t\"debug\": true\r\n}",
                "\u{feff}{\r\n\t\"debug\": true,\r\n\t\"authorization-plugins\": [\"img-authz\"]\r\n}",
            ),
            ("{\"authorization-plugins\": null}", "{\n  \"authorization-plugins\": [\"img-authz\"]\n}"),
        ] {
            assert_eq!(put_in(before, "img-authz").unwrap(), after, "{before}");
        }
    }

    #[test]
    fn the_gate_goes_and_leaves_the_file_as_it_was() {
        for text in [
            "{\n    \"debug\" : true,\n\n    \"log-opts\": {\"max-size\": \"10m\"}\n}\n",
            "{\n\t\"authorization-plugins\": [\n\t\t\"opa\"\n\t]\n}",
            "{\n  \"hosts\": [],\r\n  \"authorization-plugins\": [\"opa\"]\n}",
        ] {
            assert_eq!(without(&put_in(text, "img-authz").unwrap()), text);
        }
        assert_eq!(
            without("{\"authorization-plugins\": [\"img-authz\", \"opa\", \"img-authz\"], \"debug\": true}"),
            "{\"authorization-plugins\": [\"opa\"], \"debug\": true}"
        );
        // A key that names nobody is no setting.
        assert_eq!(
            DaemonFile::read(&without("{\"authorization-plugins\": [\"img-authz\"], \"debug\": true}")).unwrap().plugins(),
            Listed::Nothing
        );
    }

    #[test]
    fn what_is_no_daemon_json_is_not_edited() {
        for text in [
            "[]",
            "{",
            "{\"debug\": true,}",
            "{\"debug\": true} // so",
            "{'debug': true}",
            "{\"authorization-plugins\": \"img-authz\"}",
            "{\"authorization-plugins\": [\"img-authz\", 1]}",
            "{\"authorization-plugins\": [], \"authorization-plugins\": []}",
            "{\"a\": 1} {\"b\": 2}",
        ] {
            assert!(put_in(text, "img-authz").is_err() && take_out(text, |name| name == "img-authz").is_err(), "{text}");
        }
        assert!(put_in(&"[".repeat(100_000), "img-authz").is_err());
    }

    proptest! {
        #[test]
        fn whatever_the_file_says_it_goes_on_saying(
            members in proptest::collection::vec(("[a-z\\-\u{e9}\"\\\\]{0,8}", "[ -~\u{e9}]{0,12}", 0u8..4), 0..6),
            plugins in proptest::option::of(proptest::collection::vec("[a-z:/\"]{1,9}", 0..4)),
            pretty: bool,
        ) {
            let mut map = serde_json::Map::new();
            for (key, text, kind) in members {
                map.insert(key, match kind {
                    0 => serde_json::json!(text),
                    1 => serde_json::json!([text, null, 1.5e300]),
                    2 => serde_json::json!({ text: [] }),
                    _ => serde_json::json!(true),
                });
            }
            if let Some(plugins) = plugins {
                map.insert(PLUGINS_KEY.to_owned(), serde_json::json!(plugins));
            }
            let text = if pretty { serde_json::to_string_pretty(&map) } else { serde_json::to_string(&map) }.unwrap();
            let with = put_in(&text, "img-authz:latest").unwrap();
            let back = take_out(&with, |name| name == "img-authz:latest").unwrap();
            let mut read: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&back).unwrap();
            // An empty list and no list are one.
            for map in [&mut read, &mut map] {
                if map.get(PLUGINS_KEY).is_some_and(|list| list == &serde_json::json!([])) {
                    map.remove(PLUGINS_KEY);
                }
            }
            prop_assert_eq!(read, map);
        }

        #[test]
        fn no_text_is_a_fault_of_ours(text in ".{0,60}") {
            let _ = put_in(&text, "img-authz");
            let _ = take_out(&text, |name| name == "img-authz");
        }
    }
}
