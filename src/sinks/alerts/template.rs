//! The words of an alert: a text with `{field}`s of the entry. What an entry does not have is empty.

/// Longest template, and longest text made of one, characters. Stops a paste accident, and long names.
const TEMPLATE_CHARS: usize = 1000;
const TEXT_CHARS: usize = 2000;
/// What may stand in braces: fields of an entry, and `host`.
const FIELDS: [&str; 15] = [
    "host",
    "timestamp",
    "event",
    "decision_id",
    "user",
    "action",
    "path",
    "container_id",
    "container_name",
    "container_image",
    "image",
    "image_id",
    "digest",
    "code",
    "message",
];
/// What is said where nothing else is asked for.
const USUAL: &str = "{event} on {host}: {message} {image} {container_name}";

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Words(String),
    Field(&'static str),
}

/// A text with fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

impl Default for Template {
    fn default() -> Self {
        Self::read(USUAL).unwrap_or(Self(Vec::new()))
    }
}

impl Template {
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.chars().count() > TEMPLATE_CHARS {
            return Err(format!("`template` is longer than {TEMPLATE_CHARS} characters"));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((words, behind)) = rest.split_once('{') {
            let (name, behind) = behind.split_once('}').ok_or("`template` has a `{` without `}`")?;
            let field = FIELDS.iter().find(|field| **field == name);
            let field = field.ok_or_else(|| format!("`template` has a field that is none of {}", FIELDS.join(", ")))?;
            parts.push(Part::Words(words.to_owned()));
            parts.push(Part::Field(field));
            rest = behind;
        }
        parts.push(Part::Words(rest.to_owned()));
        Ok(Self(parts))
    }

    /// The text, with what each field holds.
    pub(super) fn fill(&self, of: impl Fn(&str) -> String) -> String {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Words(words) => text.push_str(words),
                Part::Field(name) => text.push_str(&of(name)),
            }
        }
        text.trim().chars().take(TEXT_CHARS).collect()
    }
}
