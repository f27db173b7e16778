//! `[rules]` and a scope's `rules`: what is said of each rule, put together from the preset, the host's and the scope's.

use crate::order::Ordered as _;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::table::{Section, Value};
use crate::policy::fault::{Position, nearest};
use crate::policy::rules::image::{
    AgeOf, Base, BaseImage, Check, DAYS_MOST, ExposedPorts, ImageRuleId, ImageRules, Level, MaxAge, MaxSize, Platforms, Preset,
    RequiredLabels, Secrets,
};
use crate::policy::{
    Allowed, Capabilities, CpuLimit, CreateCheck, CreateRuleId, CreateRules, HostAccessRuleError, HostAddresses, Join, Most,
    Mounts, PrivilegedPorts, RuleId, RuleInForce, RuleSet,
};
use crate::text::fit;

/// Most names, ports, labels, values of one, and layers of one base. Stops a pasted list from becoming the policy.
const LISTED: usize = 256;
/// The most that can be asked for, in millions of bytes.
const MEGABYTES_MOST: u64 = 1_000_000;
/// The most processors, processes, attempts and ulimits that a limit may allow: what kernels have room for.
const CPUS_MOST: u64 = 8_192;
const PIDS_MOST: u64 = 4_194_304;
const ATTEMPTS_MOST: u64 = 1_000_000;
const ULIMIT_MOST: u64 = i64::MAX as u64;

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
struct Said<C> {
    level: Written,
    check: Option<C>,
    position: Option<Position>,
}

/// What is said of rules of one kind.
type SaidOf<I, C> = BTreeMap<I, Said<C>>;

/// What is said of rules so far: by the host, and over that by a scope.
#[derive(Debug, Clone, Default)]
pub(super) struct SaidRules {
    of_images: SaidOf<ImageRuleId, Check>,
    of_creates: SaidOf<CreateRuleId, CreateCheck>,
}

/// What is said for the whole host, and the rules that this makes where a scope says nothing.
#[derive(Debug, Default)]
pub(super) struct HostRules {
    pub(super) said: SaidRules,
    pub(super) rules: Arc<ImageRules>,
    pub(super) create_rules: Arc<CreateRules>,
}

impl HostRules {
    pub(super) fn read(value: &Value<'_>) -> Self {
        let mut said = SaidRules::default();
        said.read(value);
        let (rules, create_rules) = (Arc::new(said.rules()), Arc::new(said.create_rules()));
        Self { said, rules, create_rules }
    }
}

impl SaidRules {
    /// Takes what is said here over what was said before.
    pub(super) fn read(&mut self, value: &Value<'_>) {
        let Some(section) = value.section() else { return };
        if let Some(extends) = section.get("extends")
            && let Some(preset) = extends.choice(&Preset::ALL)
        {
            let position = || Some(extends.position());
            for (id, level, check) in preset.rules() {
                self.of_images.insert(id, Said { level: Written::Level(level), check: Some(check), position: position() });
            }
            for (id, level, check) in preset.create_rules() {
                self.of_creates.insert(id, Said { level: Written::Level(level), check: Some(check), position: position() });
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
            let Some(id) = RuleId::named(&name) else {
                let known = RuleId::all().flat_map(|id| std::iter::once(id.about().id).chain(id.about().refs.iter().copied()));
                let hint = match nearest(&name, known.chain(["extends"])) {
                    Some(meant) => format!("`{meant}` was meant?"),
                    None => format!("there are {}", RuleId::all().map(|id| id.about().id).collect::<Vec<_>>().join(", ")),
                };
                value.fault(format!("there is no rule `{}`; {hint}", fit(&name, 80)));
                continue;
            };
            if !seen.insert(id) {
                value.fault(format!("`{id}` is there twice, once by another name"));
                continue;
            }
            let told = value.source.told();
            match id {
                RuleId::Image(id) => {
                    let by_default = || Check::default_of(id);
                    let said = one(&value, id.about().keys, self.of_images.get(&id), |section| check(id, section), by_default);
                    let Some(said) = said else { continue };
                    if said.check.is_none() && said.level != Written::Off && value.source.told() == told {
                        value.fault(format!("needs more than a level: {}", id.about().keys));
                    }
                    self.of_images.insert(id, said);
                }
                RuleId::Create(id) => {
                    let by_default = || Some(CreateCheck::default_of(id));
                    let keys = id.about().keys;
                    let said = one(&value, keys, self.of_creates.get(&id), |section| create_check(id, section), by_default);
                    if let Some(said) = said {
                        self.of_creates.insert(id, said);
                    }
                }
            }
        }
    }

    /// The rules about images that are in force.
    pub(super) fn rules(&self) -> ImageRules {
        in_force(&self.of_images)
    }

    /// The rules about containers that are.
    pub(super) fn create_rules(&self) -> CreateRules {
        in_force(&self.of_creates)
    }
}

/// What is said of one rule: a level, or a table of level and keys. A level alone keeps the keys that were said before.
fn one<C: Clone>(
    value: &Value<'_>,
    keys: &str,
    before: Option<&Said<C>>,
    check: impl FnOnce(&Section<'_>) -> Option<C>,
    by_default: impl FnOnce() -> Option<C>,
) -> Option<Said<C>> {
    let (level, check) = if value.is_text() {
        (value.choice(&LEVELS), None)
    } else {
        if !value.is_table() {
            let keys = if keys.is_empty() { String::new() } else { format!(": {keys}") };
            return value.is_not(&format!("\"deny\", \"warn\" or \"off\", or a table{keys}"));
        }
        let section = value.section()?;
        let level = match section.get("level") {
            Some(value) => value.choice(&LEVELS),
            None => Some(Written::Level(Level::Deny)),
        };
        let check = check(&section);
        section.finish();
        (level, check)
    };
    let check = check.or_else(|| before.and_then(|said| said.check.clone())).or_else(by_default);
    Some(Said { level: level?, check, position: Some(value.position()) })
}

fn in_force<I: Copy + Ord, C: Clone>(said: &SaidOf<I, C>) -> RuleSet<I, C> {
    let mut rules = RuleSet::default();
    for (id, said) in said {
        if let (Written::Level(level), Some(check)) = (said.level, &said.check) {
            rules.set(*id, RuleInForce { level, check: check.clone(), position: said.position.clone() });
        }
    }
    rules
}

/// What is said of a create rule beside its level; `None` where nothing is.
fn create_check(id: CreateRuleId, section: &Section<'_>) -> Option<CreateCheck> {
    let texts = |key: &'static str| -> Option<Vec<String>> {
        let values = section.get(key)?.list_or_one(LISTED)?;
        Some(values.iter().filter_map(|value| value.text().map(str::to_owned)).collect())
    };
    // Opened as `ALLOW_HOST_ACCESS` opens them: `bind=/srv/`.
    let opened = |key: &'static str, access: &str| -> Option<Allowed> {
        let rule = |value: &Value<'_>| {
            let text = value.text()?;
            format!("{access}={text}").parse().map_err(|error: HostAccessRuleError| value.fault(error.to_string())).ok()
        };
        Some(section.get(key)?.list_or_one(LISTED)?.iter().filter_map(rule).collect())
    };
    let join = || {
        let truth = section.get("containers")?.truth()?;
        Some(if truth { Join::Containers } else { Join::Never })
    };
    let most =
        |key: &'static str, unit: &str, most: u64| section.get(key)?.number(unit, 1..=most).map(|number| Most(Some(number)));
    match id {
        CreateRuleId::Privileged
        | CreateRuleId::HostUts
        | CreateRuleId::HostUserns
        | CreateRuleId::HostCgroupns
        | CreateRuleId::DockerSocket
        | CreateRuleId::MountPropagation
        | CreateRuleId::Seccomp
        | CreateRuleId::SeLinux
        | CreateRuleId::SystemPaths
        | CreateRuleId::NoNewPrivileges
        | CreateRuleId::ReadOnlyRoot
        | CreateRuleId::RunAsRoot
        | CreateRuleId::HealthcheckOff
        | CreateRuleId::ExecPrivileged
        | CreateRuleId::ExecRoot => None,
        CreateRuleId::HostNetwork => join().map(CreateCheck::HostNetwork),
        CreateRuleId::HostPid => join().map(CreateCheck::HostPid),
        CreateRuleId::HostIpc => join().map(CreateCheck::HostIpc),
        CreateRuleId::Capabilities => texts("allow").map(|names| CreateCheck::Capabilities(Capabilities::new(names))),
        CreateRuleId::Mounts => {
            let truth = |key: &'static str| section.get(key).map(|value| value.truth().unwrap_or_default());
            let (allow, drivers) = (opened("allow", "bind"), opened("drivers", "volume-driver"));
            let (sensitive, containers) = (truth("sensitive"), truth("containers"));
            if allow.is_none() && drivers.is_none() && sensitive.is_none() && containers.is_none() {
                return None;
            }
            let (allow, drivers) = (allow.unwrap_or_default(), drivers.unwrap_or_default());
            let (sensitive, containers) = (sensitive.unwrap_or_default(), containers.unwrap_or_default());
            Some(CreateCheck::Mounts(Mounts { allow, sensitive, containers, drivers }))
        }
        CreateRuleId::Devices => opened("allow", "device").map(CreateCheck::Devices),
        CreateRuleId::CgroupParent => opened("allow", "cgroup-parent").map(CreateCheck::CgroupParent),
        CreateRuleId::AppArmor => texts("allow").map(CreateCheck::AppArmor),
        CreateRuleId::MemoryLimit => most("megabytes", "megabytes", MEGABYTES_MOST).map(CreateCheck::MemoryLimit),
        CreateRuleId::CpuLimit => {
            let cpus = section.get("cpus")?.number("processors", 1..=CPUS_MOST)?;
            Some(CreateCheck::CpuLimit(CpuLimit { cpus: Some(cpus) }))
        }
        CreateRuleId::PidsLimit => most("most", "processes", PIDS_MOST).map(CreateCheck::PidsLimit),
        CreateRuleId::RestartPolicy => most("most", "attempts", ATTEMPTS_MOST).map(CreateCheck::RestartPolicy),
        CreateRuleId::PrivilegedPorts => {
            let port = |value: &Value<'_>| value.number("ports", 1..=1023).and_then(|port| u16::try_from(port).ok());
            let allow = section.get("allow")?.list(LISTED)?.iter().filter_map(port).ordered();
            Some(CreateCheck::PrivilegedPorts(PrivilegedPorts { allow }))
        }
        CreateRuleId::HostIp => {
            let allow = section.get("allow")?.list_or_one(LISTED)?.iter().filter_map(Value::parsed::<IpAddr>).ordered();
            Some(CreateCheck::HostIp(HostAddresses { allow }))
        }
        CreateRuleId::Ulimits => {
            let highest = |(name, value): (&str, Value<'_>)| Some((name.to_owned(), value.number("a ulimit", 0..=ULIMIT_MOST)?));
            Some(CreateCheck::Ulimits(section.get("allow")?.section()?.entries().take(LISTED).filter_map(highest).ordered()))
        }
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
            let since = [("created", AgeOf::Created), ("signature", AgeOf::Signature), ("provenance", AgeOf::Provenance)];
            let of = section.get("of").and_then(|value| value.choice(&since));
            let days = section.get("days")?.number("days", 1..=DAYS_MOST)?;
            Some(Check::MaxAge(MaxAge { days, of: of.unwrap_or(AgeOf::Created) }))
        }
        ImageRuleId::Secrets => {
            let allow = texts(&section.get("allow")?).into_iter().ordered();
            Some(Check::Secrets(Secrets { allow }))
        }
        ImageRuleId::ExposedPorts => {
            let ports = section.get("forbid")?.list(LISTED)?;
            let port =
                |value: &Value<'_>| value.number("ports", 1..=u64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok());
            Some(Check::ExposedPorts(ExposedPorts { forbid: ports.iter().filter_map(port).ordered() }))
        }
        ImageRuleId::RequiredLabels => {
            let value = section.get("labels")?;
            let labels: BTreeMap<_, _> =
                value.section()?.entries().take(LISTED).map(|(name, value)| (name.to_owned(), texts(&value))).ordered();
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
                Some(value.section()?.entries().take(LISTED).map(of).ordered::<BTreeMap<_, _>>())
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
