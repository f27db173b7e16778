//! `[rules]` and a scope's `rules`: what is said of each rule, put together from the preset, the host's and the scope's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::table::{Section, Value};
use crate::policy::fault::{Position, nearest};
use crate::policy::rules::image::{
    AgeOf, Base, BaseImage, Check, DAYS_MOST, ExposedPorts, ImageRule, ImageRuleId, ImageRules, Level, MaxAge, MaxSize,
    Platforms, Preset, RequiredLabels, Secrets,
};
use crate::text::fit;

/// Most names, ports, labels, values of one, and layers of one base. Stops a pasted list from becoming the policy.
const LISTED: usize = 256;
/// The most that can be asked for, in millions of bytes.
const MEGABYTES_MOST: u64 = 1_000_000;

/// A level as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Level(Level),
    Off,
}

const LEVELS: [(&str, Written); 3] =
    [("deny", Written::Level(Level::Deny)), ("warn", Written::Level(Level::Warn)), ("off", Written::Off)];

/// What is said of a rule so far.
#[derive(Debug, Clone)]
struct Said {
    level: Written,
    check: Option<Check>,
    position: Option<Position>,
}

/// What is said of rules so far: by the host, and over that by a scope.
#[derive(Debug, Clone, Default)]
pub(super) struct SaidRules(BTreeMap<ImageRuleId, Said>);

/// What is said for the whole host, and the rules that this makes where a scope says nothing.
#[derive(Debug, Default)]
pub(super) struct HostRules {
    pub(super) said: SaidRules,
    pub(super) rules: Arc<ImageRules>,
}

impl HostRules {
    pub(super) fn read(value: &Value<'_>) -> Self {
        let mut said = SaidRules::default();
        said.read(value);
        let rules = Arc::new(said.rules());
        Self { said, rules }
    }
}

impl SaidRules {
    /// Takes what is said here over what was said before.
    pub(super) fn read(&mut self, value: &Value<'_>) {
        let Some(section) = value.section() else { return };
        if let Some(extends) = section.get("extends")
            && let Some(preset) = extends.choice(&Preset::ALL)
        {
            for (id, level, check) in preset.rules() {
                let said = Said { level: Written::Level(level), check: Some(check), position: Some(extends.position()) };
                self.0.insert(id, said);
            }
        }
        let mut seen = BTreeSet::new();
        // `CIS-4.1 = "deny"` without quotes is a key `1` in a table `CIS-4` to TOML.
        let entries = section.entries().filter(|(name, _)| *name != "extends").flat_map(|(name, value)| {
            let dotted = value.section_of(|| name.starts_with("CIS-") && !name.contains('.'));
            match dotted {
                Some(section) => section.entries().map(|(key, value)| (format!("{name}.{key}"), value)).collect(),
                None => vec![(name.to_owned(), value)],
            }
        });
        for (name, value) in entries {
            let Some(id) = ImageRuleId::named(&name) else {
                let known =
                    ImageRuleId::ALL.iter().flat_map(|id| std::iter::once(id.about().id).chain(id.about().refs.iter().copied()));
                let hint = match nearest(&name, known.chain(["extends"])) {
                    Some(meant) => format!("`{meant}` was meant?"),
                    None => format!("there are {}", ImageRuleId::ALL.map(|id| id.about().id).join(", ")),
                };
                value.fault(format!("there is no rule `{}`; {hint}", fit(&name, 80)));
                continue;
            };
            if seen.insert(id) {
                self.one(id, &value);
            } else {
                value.fault(format!("`{id}` is there twice, once by another name"));
            }
        }
    }

    fn one(&mut self, id: ImageRuleId, value: &Value<'_>) {
        let (before, told) = (self.0.get(&id), value.source.told());
        let (level, check) = if value.is_text() {
            (value.choice(&LEVELS), None)
        } else {
            let Some(section) = value.section() else { return };
            let level = match section.get("level") {
                Some(value) => value.choice(&LEVELS),
                None => Some(Written::Level(Level::Deny)),
            };
            let check = check(id, &section);
            section.finish();
            (level, check)
        };
        let Some(level) = level else { return };
        let check = check.or_else(|| before.and_then(|said| said.check.clone())).or_else(|| Check::default_of(id));
        if check.is_none() && level != Written::Off && value.source.told() == told {
            value.fault(format!("needs more than a level: {}", id.about().keys));
        }
        self.0.insert(id, Said { level, check, position: Some(value.position()) });
    }

    /// The rules in force.
    pub(super) fn rules(&self) -> ImageRules {
        let mut rules = ImageRules::default();
        for (id, said) in &self.0 {
            if let (Written::Level(level), Some(check)) = (said.level, &said.check) {
                rules.set(*id, ImageRule { level, check: check.clone(), position: said.position.clone() });
            }
        }
        rules
    }
}

/// What is said of a rule beside its level; `None` where nothing is.
fn check(id: ImageRuleId, section: &Section<'_>) -> Option<Check> {
    let texts = |value: &Value<'_>| -> Vec<String> {
        value.list_or_one(LISTED).unwrap_or_default().iter().filter_map(|value| value.text().map(str::to_owned)).collect()
    };
    match id {
        ImageRuleId::TagLatest | ImageRuleId::TagMissing | ImageRuleId::UserRoot | ImageRuleId::Healthcheck => None,
        ImageRuleId::TagPattern => section.get("pattern")?.parsed().map(Check::TagPattern),
        ImageRuleId::MaxAge => {
            let of =
                section.get("of").and_then(|value| value.choice(&[("created", AgeOf::Created), ("signature", AgeOf::Signature)]));
            let days = section.get("days")?.number("days", 1..=DAYS_MOST)?;
            Some(Check::MaxAge(MaxAge { days, of: of.unwrap_or(AgeOf::Created) }))
        }
        ImageRuleId::Secrets => {
            let allow = texts(&section.get("allow")?).into_iter().collect();
            Some(Check::Secrets(Secrets { allow }))
        }
        ImageRuleId::ExposedPorts => {
            let ports = section.get("forbid")?.list(LISTED)?;
            let port =
                |value: &Value<'_>| value.number("ports", 1..=u64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok());
            Some(Check::ExposedPorts(ExposedPorts { forbid: ports.iter().filter_map(port).collect() }))
        }
        ImageRuleId::RequiredLabels => {
            let value = section.get("labels")?;
            let labels: BTreeMap<_, _> =
                value.section()?.entries().take(LISTED).map(|(name, value)| (name.to_owned(), texts(&value))).collect();
            if labels.is_empty() {
                value.fault("is empty: name at least one label");
            }
            Some(Check::RequiredLabels(RequiredLabels { labels }))
        }
        ImageRuleId::BaseImage => {
            let allow = section.get("allow").and_then(|value| value.list_or_one(LISTED));
            let layers = section.get("layers").and_then(|value| {
                let of = |(name, value): (&str, Value<'_>)| {
                    let layers: Vec<_> = value.list(LISTED).unwrap_or_default().iter().filter_map(Value::parsed).collect();
                    if layers.is_empty() {
                        value.fault("is empty: every image would begin with that");
                    }
                    (name.to_owned(), layers)
                };
                Some(value.section()?.entries().take(LISTED).map(of).collect::<BTreeMap<_, _>>())
            });
            if allow.is_none() && layers.is_none() {
                return None;
            }
            let allow: Vec<Base> = allow.unwrap_or_default().iter().filter_map(Value::parsed).collect();
            Some(Check::BaseImage(BaseImage { allow, layers: layers.unwrap_or_default() }))
        }
        ImageRuleId::MaxSize => {
            let megabytes = section.get("megabytes")?.number("megabytes", 1..=MEGABYTES_MOST)?;
            Some(Check::MaxSize(MaxSize { megabytes }))
        }
        ImageRuleId::Platform => {
            let allow: Vec<_> = section.get("allow")?.list_or_one(LISTED)?.iter().filter_map(Value::parsed).collect();
            Some(Check::Platform(Platforms { allow }))
        }
    }
}
