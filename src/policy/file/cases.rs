//! Case files: what is known of an image, what somebody wants to do with it, and what the gate must answer (docs/policy-test.md). Read as
//! strictly as the policy file, with the same reader.

mod recorded;
mod write;

use crate::order::Ordered as _;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value as Json};
use toml::de::DeTable;

use super::VERSION;
use super::table::{Section, Source, TEXT_BYTES, Value};
use crate::image::{Digest, ImageConfig, ImageName, Platform, Reference, Repository, Tag};
use crate::policy::RuleId;
use crate::policy::fault::{PolicyFault, Position};
use crate::policy::users::LOCAL;
use crate::trust::{TrustCode, VerifierName};

pub use recorded::{Answered, Made, Recorded, Seen, recorded};
pub use write::written;

/// Most bytes of a case file. Stops a foreign file from filling memory.
pub const CASE_BYTES: u64 = 1 << 20;
/// Most cases of a file. Each is a decision of some hundred microseconds.
const CASES: usize = 1_000;
/// Most entries of each list and table of a case.
const ENTRIES: usize = 256;
/// Oldest age, in days: as old as containers are, many times over.
const DAYS_MOST: u64 = 36_500;
/// Largest size, in millions of bytes.
const MEGABYTES_MOST: u64 = 1_000_000;

/// A case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Where it is written.
    pub position: Position,
    /// What is done.
    pub asks: Asks,
    /// Who does it: the CN of a certificate; `None`: a client without one.
    pub user: Option<String>,
    /// The time; `None`: now.
    pub now: Option<Timestamp>,
    /// The body of the call, or what a create says beside the image.
    pub body: Option<Json>,
    /// What is known of the image, where there is one.
    pub image: Option<CaseImage>,
    /// What the gate must answer.
    pub expected: Expected,
    /// What it says besides where a gate that served has written it.
    pub recorded: Option<Recorded>,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asks {
    /// The image is pulled.
    Pull,
    /// A container is created from it.
    Create,
    /// A container of it is started.
    Start,
    /// Any call.
    Call {
        /// `DELETE`
        method: String,
        /// `/containers/web`
        target: String,
    },
    /// What dockerd posts, as it was recorded.
    Posted(String),
    /// The same in a file.
    PostedIn(PathBuf),
}

/// What is known of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseImage {
    /// As it is written.
    pub name: ImageName,
    /// What it is called on the host besides.
    pub names: Vec<Reference>,
    /// Whether it is on the host.
    pub on_host: bool,
    /// The digest of its manifest.
    pub digest: Digest,
    /// Others that its content is known by.
    pub digests: Vec<Digest>,
    /// Its id, where that is its configuration's digest: the classic store.
    pub image_id: Option<Digest>,
    /// Who vouches.
    pub vouched_by: Vec<CaseVouch>,
    /// Who answers something else.
    pub refused_by: BTreeMap<VerifierName, TrustCode>,
    /// What it says of itself.
    pub config: CaseConfig,
}

/// What is known of an image's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaseConfig {
    /// The case does not say.
    Unstated,
    /// It cannot be had.
    Unknown,
    /// It is this; its age, where that is said in days.
    Known {
        /// The configuration.
        config: Box<ImageConfig>,
        /// How many days before the case's time it was created.
        age_days: Option<u64>,
    },
}

/// A verifier's yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseVouch {
    /// Whose.
    pub verifier: VerifierName,
    /// For which repository, as the verifier calls it; `None`: the image's.
    pub repository: Option<Repository>,
    /// For which manifest; `None`: the image's.
    pub digest: Option<Digest>,
    /// Under which tag; `None`: the image's.
    pub tag: Option<Tag>,
    /// Who signed; `None`: all that are required.
    pub signers: Option<Vec<String>>,
    /// When it was signed.
    pub signed: Option<When>,
}

/// A time, or how long before the case's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Then.
    At(Timestamp),
    /// So many days before.
    DaysAgo(u64),
}

/// What the gate must answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Whether it lets pass.
    pub allow: bool,
    /// The code of the refusal.
    pub code: Option<String>,
    /// A part of its text.
    pub message: Option<String>,
    /// The scope that decides.
    pub scope: Option<String>,
    /// Exactly the image rules that are not kept.
    pub findings: Option<Vec<RuleId>>,
}

impl When {
    /// The time that it is, for a case at `now`.
    #[must_use]
    pub fn seen_from(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::At(at) => Some(at),
            Self::DaysAgo(days) => now.checked_sub(SignedDuration::from_hours(24 * i64::try_from(days).ok()?)).ok(),
        }
    }
}

impl Case {
    /// Reads a case file, or everything that is wrong with it.
    pub fn read(path: &Path, text: &str) -> Result<Vec<Self>, Vec<PolicyFault>> {
        if text.len() as u64 > CASE_BYTES {
            return Err(vec![PolicyFault::of("", format!("`{}` has more than {CASE_BYTES} bytes", path.display()))]);
        }
        let source = Source::new(path, text);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            source.fault("", error.span().map_or(0, |span| span.start), format!("is not TOML: {}", error.message()));
        }
        let cases = if errors.is_empty() {
            file(Section::new(&source, String::new(), table.get_ref(), &table.span()))
        } else {
            Vec::new()
        };
        let faults = source.into_faults();
        if faults.is_empty() { Ok(cases) } else { Err(faults) }
    }
}

fn file(top: Section<'_>) -> Vec<Case> {
    if let Some(version) = top.required("version")
        && version.whole_number() != Some(VERSION)
    {
        version.fault(format!("is not {VERSION}: the version that this gate reads"));
    }
    let now = top.get("now").and_then(|value| value.time());
    let cases = top.required("case").and_then(|value| value.list(CASES)).unwrap_or_default();
    if cases.is_empty() && top.get("case").is_some_and(|value| value.is_list()) {
        top.fault("has no cases (`[[case]]`)");
    }
    let cases = cases.iter().filter_map(|value| case(value.section()?, now)).collect();
    top.finish();
    cases
}

fn case(section: Section<'_>, now: Option<Timestamp>) -> Option<Case> {
    let name = section.required("name").and_then(|value| value.text());
    let asks = asks(&section);
    let user = section.get("user").and_then(|value| value.text()).filter(|user| *user != LOCAL).map(str::to_owned);
    let now = section.get("now").map_or(now, |value| value.time());
    let body = section.get("body").and_then(|value| {
        let read = serde_json::from_slice(value.text()?.as_bytes());
        read.map_err(|error| value.fault(format!("is not JSON: {error}"))).ok()
    });
    if let (Some(Asks::Create), Some(Json::Array(_) | Json::String(_) | Json::Number(_) | Json::Bool(_)), Some(value)) =
        (&asks, &body, section.get("body"))
    {
        value.fault("is not a JSON object, as a create has it");
    }
    if let (Some(Asks::Pull | Asks::Start | Asks::Posted(_) | Asks::PostedIn(_)), Some(value)) = (&asks, section.get("body")) {
        value.fault("is for creates and for `call`");
    }
    if let (Some(Asks::Posted(_) | Asks::PostedIn(_)), Some(value)) = (&asks, section.get("user")) {
        value.fault("stands beside `request`, which says itself who calls");
    }
    let image = image(&section);
    if image.is_none()
        && let Some(Asks::Pull | Asks::Create | Asks::Start) = &asks
    {
        section.required("image");
    }
    let expected = expected(&section);
    let recorded = recorded::read(&section);
    let position = section.position();
    section.finish();
    Some(Case { name: name?.to_owned(), position, asks: asks?, user, now, body, image, expected: expected?, recorded })
}

fn asks(section: &Section<'_>) -> Option<Asks> {
    let given = [section.get("action"), section.get("call"), section.get("request")];
    if let [_, _, Some(other)] | [_, Some(other), _] = &given
        && given.iter().flatten().count() > 1
    {
        other.fault("only one of `action`, `call` and `request` can be said");
        return None;
    }
    match given {
        [Some(action), _, _] => action.choice(&[("pull", 0), ("create", 1), ("start", 2)]).map(|action| match action {
            0 => Asks::Pull,
            1 => Asks::Create,
            _ => Asks::Start,
        }),
        [_, Some(call), _] => {
            let Some((method, target)) = call.text()?.split_once(' ').filter(|(_, target)| target.starts_with('/')) else {
                call.fault("is not a method and a path, such as `DELETE /containers/web`");
                return None;
            };
            Some(Asks::Call { method: method.to_owned(), target: target.trim().to_owned() })
        }
        [_, _, Some(request)] => match request.text()?.trim_start() {
            text if text.starts_with('{') => Some(Asks::Posted(text.to_owned())),
            _ => request.path().map(Asks::PostedIn),
        },
        [None, None, None] => Some(Asks::Create),
    }
}

/// What is known of the image; `None` where there is none. Keys about one that is not named are faults.
fn image(section: &Section<'_>) -> Option<CaseImage> {
    let listed = |key| section.get(key).and_then(|value| value.list(ENTRIES));
    let names = listed("names").map(|values| values.iter().filter_map(Value::parsed).collect());
    let on_host = section.get("on_host").and_then(|value| value.truth());
    let digest = section.get("digest").and_then(|value| value.parsed());
    let digests = listed("digests").map(|values| values.iter().filter_map(Value::parsed).collect());
    let image_id = section.get("image_id").and_then(|value| value.parsed());
    let vouched_by = section
        .get("vouched_by")
        .and_then(|value| value.list_or_one(ENTRIES))
        .map(|values| values.iter().filter_map(vouch).collect());
    let refused_by = section.get("refused_by").and_then(|value| value.section()).map(|section| refusals(&section));
    let config = section.get("config").and_then(|value| config(&value));
    let Some(written) = section.get("image") else {
        for key in ["names", "on_host", "digest", "digests", "image_id", "vouched_by", "refused_by", "config"] {
            if let Some(value) = section.get(key) {
                value.fault("is about an image, and the case has none (`image`)");
            }
        }
        return None;
    };
    let name = ImageName::parse(written.text()?).map_err(|error| written.fault(error.to_string())).ok()?;
    let own = match &name {
        ImageName::Named { reference, .. } => reference.digest,
        ImageName::Id(id) => Some(*id),
        ImageName::IdPrefix(_) => {
            written.fault("is the beginning of an id; write it out");
            None
        }
    };
    // Another image has another digest, the same image the same under all its tags.
    let made_up =
        || name.reference().map_or_else(|| Digest::of(b""), |reference| Digest::of(reference.repository.as_str().as_bytes()));
    Some(CaseImage {
        digest: digest.or(own).unwrap_or_else(made_up),
        digests: digests.unwrap_or_default(),
        name,
        names: names.unwrap_or_default(),
        on_host: on_host.unwrap_or(true),
        image_id,
        vouched_by: vouched_by.unwrap_or_default(),
        refused_by: refused_by.unwrap_or_default(),
        config: config.unwrap_or(CaseConfig::Unstated),
    })
}

/// A verifier's yes: its name, or a table that says more.
fn vouch(value: &Value<'_>) -> Option<CaseVouch> {
    if value.is_text() {
        let verifier = value.parsed()?;
        return Some(CaseVouch { verifier, repository: None, digest: None, tag: None, signers: None, signed: None });
    }
    let section = value.section()?;
    let verifier = section.required("verifier").and_then(|value| value.parsed());
    let repository = section.get("repository").and_then(|value| value.parsed());
    let digest = section.get("digest").and_then(|value| value.parsed());
    let tag = section.get("tag").and_then(|value| value.parsed());
    let signers = section.get("signers").map(|value| list_of_texts(&value));
    let at = section.get("signed_at").and_then(|value| value.time()).map(When::At);
    let ago = section.get("signed_days_ago").and_then(|value| value.number("days", 0..=DAYS_MOST)).map(When::DaysAgo);
    if at.is_some() && ago.is_some() {
        section.fault("says twice when it was signed");
    }
    section.finish();
    Some(CaseVouch { verifier: verifier?, repository, digest, tag, signers, signed: at.or(ago) })
}

fn refusals(section: &Section<'_>) -> BTreeMap<VerifierName, TrustCode> {
    let of = |(name, value): (&str, Value<'_>)| {
        let verifier = name.parse().map_err(|error: crate::trust::VerifierNameError| value.fault(error.to_string())).ok()?;
        let codes: Vec<(&str, TrustCode)> = TrustCode::ALL.iter().map(|code| (code.as_str(), *code)).collect();
        Some((verifier, value.choice(&codes)?))
    };
    section.entries().take(ENTRIES).filter_map(of).ordered()
}

fn list_of_texts(value: &Value<'_>) -> Vec<String> {
    value.list(ENTRIES).unwrap_or_default().iter().filter_map(Value::text).map(str::to_owned).collect()
}

fn table_of_texts(value: &Value<'_>) -> BTreeMap<String, String> {
    let Some(section) = value.section() else { return BTreeMap::new() };
    section.entries().take(ENTRIES).filter_map(|(name, value)| Some((name.to_owned(), value.text()?.to_owned()))).ordered()
}

fn config(value: &Value<'_>) -> Option<CaseConfig> {
    if value.is_text() {
        return value.choice(&[("unknown", ())]).map(|()| CaseConfig::Unknown);
    }
    let section = value.section()?;
    let texts = |key| section.get(key).map(|value| list_of_texts(&value));
    let table = |key| section.get(key).map(|value| table_of_texts(&value));
    // Where nobody has looked; what is not there is none.
    let is_unknown = |key| section.get(key).is_some_and(|value| value.is_text() && value.choice(&[("unknown", ())]).is_some());
    let created = section.get("created").and_then(|value| value.time());
    let age_days = section.get("age_days").and_then(|value| value.number("days", 0..=DAYS_MOST));
    if created.is_some() && age_days.is_some() {
        section.fault("says twice how old it is: `created` and `age_days`");
    }
    let platform = section.get("platform").map_or_else(|| Some(linux()), |value| value.parsed());
    let healthcheck = section.get("healthcheck").map(|value| {
        if value.is_text() {
            ["CMD-SHELL"].into_iter().chain(value.text()).map(str::to_owned).collect()
        } else {
            list_of_texts(&value)
        }
    });
    let layers = section.get("layers").and_then(|value| value.list(ENTRIES)).unwrap_or_default();
    let megabytes = section.get("megabytes").and_then(|value| value.number("millions of bytes", 0..=MEGABYTES_MOST));
    let config = ImageConfig {
        created,
        platform: platform.unwrap_or_else(linux),
        layers: layers.iter().filter_map(Value::parsed).collect(),
        user: section.get("user").and_then(|value| value.text()).unwrap_or_default().to_owned(),
        env: texts("env").unwrap_or_default(),
        labels: table("labels").unwrap_or_default(),
        ports: texts("ports").unwrap_or_default(),
        healthcheck: healthcheck.unwrap_or_default(),
        history: if is_unknown("history") { None } else { Some(texts("history").unwrap_or_default()) },
        annotations: if is_unknown("annotations") { None } else { Some(table("annotations").unwrap_or_default()) },
        size: megabytes.map(|megabytes| megabytes * 1_000_000),
    };
    section.finish();
    Some(CaseConfig::Known { config: Box::new(config), age_days })
}

fn linux() -> Platform {
    Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), variant: String::new() }
}

fn expected(section: &Section<'_>) -> Option<Expected> {
    let allow = section.required("expect").and_then(|value| value.choice(&[("allow", true), ("deny", false)]));
    let text = |key| section.get(key).and_then(|value| value.text()).map(str::to_owned);
    let (code, message, scope) = (text("code"), text("message"), text("scope"));
    if allow == Some(true) {
        for key in ["code", "message"] {
            if let Some(value) = section.get(key) {
                value.fault("is of a refusal, and the case expects none");
            }
        }
    }
    let rules: Vec<(&str, RuleId)> = RuleId::all().map(|id| (id.about().id, id)).collect();
    let findings = section
        .get("findings")
        .map(|value| value.list(ENTRIES).unwrap_or_default().iter().filter_map(|value| value.choice(&rules)).collect());
    Some(Expected { allow: allow?, code, message, scope, findings })
}

impl CaseImage {
    /// What it is called on the host: all names with their repositories.
    pub fn references(&self) -> impl Iterator<Item = &Reference> {
        self.name.reference().into_iter().chain(&self.names)
    }
}

/// The members of a create's body, where it has some.
#[must_use]
pub fn members(body: Option<&Json>) -> Map<String, Json> {
    match body {
        Some(Json::Object(members)) => members.clone(),
        Some(_) | None => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Case>, Vec<String>> {
        Case::read(Path::new("/c/cases.toml"), text).map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_case_says_little_and_means_a_lot() {
        let cases = read(
            "version = 1\nnow = 2026-11-30\n[[case]]\nname = \"a\"\nimage = \"r.example/a\"\nvouched_by = \"release\"\n\
             config = { age_days = 3, ports = [\"22/tcp\"] }\nexpect = \"allow\"\n",
        )
        .unwrap();
        let [case] = &cases[..] else { panic!("{cases:?}") };
        let image = case.image.as_ref().unwrap();
        assert_eq!((&case.asks, case.user.as_deref(), image.on_host, case.expected.allow), (&Asks::Create, None, true, true));
        assert_eq!(image.vouched_by[0].verifier.as_str(), "release");
        assert_eq!(case.now.unwrap().to_string(), "2026-11-30T00:00:00Z");
        let CaseConfig::Known { config, age_days: Some(3) } = &image.config else { panic!("{image:?}") };
        assert_eq!((config.ports.as_slice(), config.platform.to_string().as_str()), (&["22/tcp".to_owned()][..], "linux/amd64"));
        assert_eq!(When::DaysAgo(3).seen_from(case.now.unwrap()).unwrap().to_string(), "2026-11-27T00:00:00Z");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_the_word_that_was_meant() {
        let begin = "version = 1\n[[case]]\nname = \"a\"\nexpect = \"deny\"\n";
        for (text, due) in [
            (
                format!("{begin}image = \"r.example/a\"\nvouchd_by = []\n"),
                "cases.toml:6: case[0].vouchd_by: there is no such key; `vouched_by`",
            ),
            (begin.to_owned(), "cases.toml:2: case[0].image: is missing"),
            (format!("{begin}call = \"DELETE\"\n"), "case[0].call: is not a method and a path"),
            (format!("{begin}call = \"GET /info\"\naction = \"pull\"\n"), "only one of"),
            (format!("{begin}call = \"GET /info\"\non_host = true\n"), "the case has none"),
            (format!("{begin}image = \"r.example/A\"\n"), "cases.toml:5: case[0].image"),
            (format!("{begin}image = \"r.example/a\"\nbody = '{{'\n"), "is not JSON"),
            (format!("{begin}image = \"r.example/a\"\nbody = '[]'\n"), "not a JSON object"),
            (format!("{begin}image = \"r.example/a\"\naction = \"start\"\nbody = '{{}}'\n"), "for creates"),
            (format!("{begin}image = \"r.example/a\"\nrefused_by = {{ a = \"no\" }}\n"), "is not `trust-unreachable`"),
            (format!("{begin}image = \"r.example/a\"\nfindings = [\"user-rot\"]\n"), "`user-root` was meant?"),
            (format!("{begin}image = \"r.example/a\"\nconfig = \"none\"\n"), "is not `unknown`"),
            (
                format!("{begin}image = \"r.example/a\"\nconfig = {{ created = 2026-01-01T00:00:00Z, age_days = 1 }}\n"),
                "says twice",
            ),
            (format!("{begin}image = \"r.example/a\"\nnow = \"soon\"\n"), "case[0].now"),
            (format!("{begin}request = \"../x.json\"\n"), "leaves the folder"),
            (
                "version = 1\n[[case]]\nname = \"a\"\nimage = \"r.example/a\"\nexpect = \"allow\"\ncode = \"x\"\n".to_owned(),
                "expects none",
            ),
            ("version = 2\ncase = []\n".to_owned(), "is not 1"),
            ("version = 1\ncase = []\n".to_owned(), "has no cases"),
            ("version = 1\n".to_owned(), "case: is missing"),
            ("version = ".to_owned(), "is not TOML"),
        ] {
            let faults = read(&text).unwrap_err();
            assert!(faults.iter().any(|fault| fault.contains(due)), "{text}: {faults:?}");
        }
    }

    #[test]
    fn a_file_has_bounds() {
        let case = "[[case]]\nname = \"a\"\ncall = \"GET /info\"\nexpect = \"allow\"\n";
        assert_eq!(read(&format!("version = 1\n{}", case.repeat(CASES))).unwrap().len(), CASES);
        assert!(read(&format!("version = 1\n{}", case.repeat(CASES + 1))).is_err());
        assert!(read(&format!("version = 1\n{case}#{}", "x".repeat(1 << 20))).unwrap_err()[0].contains("bytes"));
    }
}
