//! The settings, and whether what they name can be reached and agrees about the time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Basis, Finding, Place, Severity, View};
use crate::gate::Candidate;
use crate::image::Host;
use crate::net::{Bounds, Client, HeaderMap, HttpAnswer, NetError, Url};
use crate::policy::{
    BuildRule, Excepted, Exception, Mode, NotarySettings, Policy, PolicyFault, Posture, Resolved, Settings, Standing, Times,
    quoted,
};
use crate::registry::RegistryError;
use crate::setup;
use crate::text::clean;
use crate::trust::VerifierName;
use crate::trust::allowlist::Allowlist;
use crate::trust::allowlist::file::FileFault;
use crate::trust::notary::{OnOutage, RepositoryStatus, Source};

/// How long each server gets.
const SERVER_TIME: Duration = Duration::from_secs(5);
/// Largest answer to a greeting, bytes.
const GREETING_BYTES: u64 = 64 << 10;
/// Most registries that are greeted.
const REGISTRIES: usize = 16;
/// A difference of the clocks that is worth a warning. Timestamps of trust data live for days, certificates for longer.
const CLOCK_WARNING: SignedDuration = SignedDuration::from_mins(2);
/// One that makes expired trust data look good, or good data expired.
const CLOCK_CRITICAL: SignedDuration = SignedDuration::from_hours(1);
/// How long ahead the end of imported trust data is told: it has to be carried.
const IMPORT_AHEAD: SignedDuration = SignedDuration::from_hours(72);
/// Most faults reported.
const FAULTS: usize = 16;
/// Most exceptions named in one finding.
const EXCEPTIONS: usize = 8;
/// A repository that nobody has, to ask about.
const NOBODY: &str = "img-authz.invalid/doctor";
/// Docker's own Notary, which closes.
const DOCKER_NOTARY: &str = "notary.docker.io";
/// When it does.
const CLOSES: &str = "2026-12-08T00:00:00Z";

/// What the settings say. `policy` is filled where good ones are in force.
pub(super) fn settings(place: &Place, now: Timestamp, policy: &mut Option<Policy>) -> Vec<Finding> {
    let mut findings = faults(place);
    let mut kept = place.kept();
    match setup::policy(&place.settings, &mut kept) {
        Ok(good) => {
            let one = |fault: &String| {
                let evidence = format!("{fault}{}", setup::in_its_place(fault));
                Finding::warning("settings-fault", evidence, "correct the file")
            };
            findings.extend(kept.file_faults().iter().take(FAULTS).map(one));
            findings.extend(weaknesses(&good));
            findings.extend(exceptions(&good, setup::exception_times(&place.settings.state_dir(), now)));
            *policy = Some(good);
        }
        // The settings were good when the gate read them, so that it is a file that has changed.
        Err(faults) if place.is_told() && !place.is_void => {
            let one = |fault: &PolicyFault| {
                let evidence = format!("{fault}; the gate goes on with what it read before, until it reads its files again");
                Finding::warning(
                    "settings-fault",
                    evidence,
                    "correct the file before the next docker plugin disable and enable, or restart, of the gate",
                )
            };
            findings.extend(faults.iter().take(FAULTS).map(one));
        }
        Err(_) => {}
    }
    findings.extend(place.kept().allowlists().values().filter_map(|allowlist| list(allowlist)));
    findings.extend(closing(&place.settings, now));
    if findings.is_empty() {
        // A gate that looks at itself need not say whose they are.
        let whose = if place.basis == Ok(Basis::Environment) { String::new() } else { format!("; settings: {}", place.told()) };
        let evidence = format!(
            "the settings have no fault, and every image of an allowed registry needs a signature or an allowlist entry{whose}"
        );
        findings.push(Finding::ok("settings", evidence));
    }
    findings.extend(place.in_force.as_ref().and_then(|said| faulty(said.candidate.as_ref()?)));
    findings
}

/// A candidate that nothing is judged by.
fn faulty(candidate: &Candidate) -> Option<Finding> {
    let remedy = "correct the file (img-authz policy check PATH), or remove it";
    (!candidate.faults.is_empty()).then(|| Finding::warning("candidate-faulty", candidate.told(), remedy))
}

fn faults(place: &Place) -> Vec<Finding> {
    let managed = match &place.plugin {
        Some(plugin) => Some(plugin.name.as_str()),
        // One that looks at itself from inside does not know its name.
        None => (View::of(&place.settings) == View::Plugin).then_some("img-authz"),
    };
    let remedy = match managed {
        Some(plugin) => {
            let change =
                format!("docker plugin disable {plugin}, docker plugin set {plugin} NAME=value, docker plugin enable {plugin}");
            let change = match place.settings.posture() {
                Posture::Images => format!("{change}, then reload dockerd"),
                // It refuses all three.
                Posture::Lockdown => format!(
                    "take the gate out of daemon.json and reload dockerd; then {change}; put it back into daemon.json and reload"
                ),
            };
            format!("{change}; judge a value first: img-authz settings check NAME=value")
        }
        None => {
            "correct the variable where the gate is started (its unit), then restart it; judge a value first: img-authz settings \
                 check NAME=value"
                .to_owned()
        }
    };
    let one = |fault: &String| {
        if place.is_void {
            let evidence = format!("{fault}; no earlier good settings are kept: calls that touch an image are refused");
            Finding::critical("settings-fault", evidence, &remedy)
        } else {
            let evidence = format!("{fault}; the last good settings are in force");
            Finding::warning("settings-fault", evidence, &remedy)
        }
    };
    place.faults.iter().take(FAULTS).map(one).collect()
}

/// An allowlist that the gate requires, where it is not as it should be.
fn list(list: &Allowlist) -> Option<Finding> {
    let shown = quoted(&list.path().display().to_string());
    let status = list.status();
    if let (Some(signing), Some(fault)) = (list.signing(), &status.fault) {
        let what = format!("the file of the allowlist {shown}, which key {} must sign, is refused: {fault}", signing.key.id());
        let remedy = "put the newest list that is signed in its place (img-authz allowlist sign, where the private key lies)";
        return Some(match status.serial {
            Some(serial) => {
                let evidence = format!("{what}; serial {serial} stays in force, also after a restart");
                Finding::warning("allowlist-refused", evidence, remedy)
            }
            None => Finding::critical("allowlist-refused", format!("{what}; every image that needs it is refused"), remedy),
        });
    }
    match (status.entries, status.fault) {
        (None, fault) => {
            let why = fault.map(|fault| fault.to_string()).unwrap_or_default();
            let evidence = format!("the allowlist {shown} is required and cannot be used: {why}; every image is refused");
            let remedy = "correct the file, or write it again: img-authz register; to want no allowlist, set ALLOWLIST=off";
            Some(Finding::critical("allowlist-unusable", evidence, remedy))
        }
        (Some(0), _) => {
            let evidence = format!("the allowlist {shown} is required and has no entry: every image is refused");
            Some(Finding::critical(
                "allowlist-empty",
                evidence,
                "img-authz register what may run; to want no allowlist: docker plugin disable, docker plugin set ALLOWLIST=off, docker plugin \
                 enable, then reload dockerd",
            ))
        }
        (Some(_), Some(fault)) => {
            let then = match fault {
                FileFault::Missing => {
                    "the gate goes on with what it last held until its next start, and wants no allowlist then, or refuses every image \
                     if ALLOWLIST names it"
                }
                _ => "what it held when it last was good counts, also after a restart",
            };
            let evidence = format!("the allowlist {shown} cannot be used: {fault}; {then}");
            Some(Finding::warning("allowlist-unusable", evidence, "correct the file, or write it again: img-authz register"))
        }
        (Some(_), None) => None,
    }
}

fn weaknesses(policy: &Policy) -> Vec<Finding> {
    let mut findings = Vec::new();
    if policy.mode == Mode::Permissive {
        let evidence = "MODE is permissive: refusals are recorded, and the calls are allowed";
        findings.push(Finding::warning("mode-permissive", evidence, "set MODE=enforce once the audit log holds no surprises"));
    }
    let permissive = policy.scopes.iter().filter(|scope| scope.mode == Mode::Permissive).map(|scope| quoted(scope.label()));
    let permissive: Vec<String> = permissive.take(8).collect();
    if !permissive.is_empty() {
        let evidence =
            format!("whatever its registry holds may run, and refusals are only recorded, in scope {}", permissive.join(", "));
        let remedy = "take `mode` out of the scope once the audit log holds no surprises (\"enforced\":false)";
        findings.push(Finding::warning("scope-permissive", evidence, remedy));
    }
    let weak: Vec<String> =
        policy.weak_scopes().filter(|scope| scope.mode == Mode::Enforce).map(|scope| quoted(scope.label())).collect();
    if !weak.is_empty() {
        let evidence = format!(
            "nobody vouches for images of {}: whatever that registry holds may run",
            weak.iter().take(8).cloned().collect::<Vec<_>>().join(", ")
        );
        findings.push(Finding::warning("weak-scope", evidence, "set NOTARY, or keep an allowlist (img-authz register)"));
    }
    if policy.posture == Posture::Images && policy.build == BuildRule::Allow {
        let evidence = "BUILD is allow: a build runs base images that no plugin is shown";
        findings.push(Finding::info("build-allowed", evidence, "build elsewhere and sign the result, and set BUILD=deny"));
    }
    findings
}

/// What passes for a time, and for how long.
fn exceptions(policy: &Policy, times: Times) -> Vec<Finding> {
    let mut findings = Vec::new();
    let of = |wanted: &[Standing]| {
        let found = policy.exceptions.iter().filter(|exception| wanted.contains(&exception.standing(times)));
        let told = |exception: &Arc<Exception>| format!("{} until {:.0}", exception.told(), exception.expires);
        found.map(told).take(EXCEPTIONS).collect::<Vec<_>>().join("; ")
    };
    let over = of(&[Standing::Ended, Standing::Ahead]);
    if !over.is_empty() {
        let evidence = format!("what these let pass is refused, because their time is over, or too far ahead: {over}");
        findings.push(Finding::warning(
            "exception-over",
            evidence,
            "img-authz exception remove ID, or --ended; or add a new one",
        ));
    }
    let ending = of(&[Standing::Ending]);
    if !ending.is_empty() {
        let evidence = format!("what these let pass is refused within a week: {ending}");
        let remedy = "correct what they are for, or have their owner add a new one: img-authz exception add";
        findings.push(Finding::warning("exception-ending", evidence, remedy));
    }
    let is_weak =
        |exception: &&Arc<Exception>| !matches!(exception.of, Excepted::Repositories(_)) && exception.standing(times).counts();
    let weak: Vec<String> = policy.exceptions.iter().filter(is_weak).map(|exception| exception.told()).take(EXCEPTIONS).collect();
    if !weak.is_empty() {
        let severity = match policy.posture {
            Posture::Images => Severity::Info,
            Posture::Lockdown => Severity::Warning,
        };
        let evidence = format!("content may run that nobody vouches for: {}", weak.join("; "));
        let remedy = "have it signed or listed, then img-authz exception remove ID";
        findings.push(Finding::new("exception-vouches", severity, evidence, remedy));
    }
    findings
}

/// The end of Docker's own Notary.
fn closing(settings: &Settings, now: Timestamp) -> Option<Finding> {
    let resolved = settings.resolve(false).ok()?;
    let is_docker_s = |source: &Source| match source {
        Source::Server(server) => Url::parse(server).is_ok_and(|server| server.host_str() == Some(DOCKER_NOTARY)),
        Source::Import => false,
    };
    if !resolved.notaries().any(|(_, notary)| is_docker_s(&notary.source)) {
        return None;
    }
    let whose = if settings.is_default_hub() { "NOTARY is not set, so images need" } else { "images need" };
    let remedy = "set NOTARY to a Notary of your own, or NOTARY=off with an allowlist (img-authz register)";
    let closes: Timestamp = CLOSES.parse().ok()?;
    Some(if now < closes {
        let evidence = format!(
            "{whose} a signature on Docker's own Notary, which closes on 2026-12-08; every image is refused from then on"
        );
        Finding::warning("docker-notary-closes", evidence, remedy)
    } else {
        let evidence = format!("{whose} a signature on Docker's own Notary, which closed on 2026-12-08: every image is refused");
        Finding::critical("docker-notary-closes", evidence, remedy)
    })
}

/// Greets the Notary and the registries, all at once, and compares clocks.
pub(super) async fn network(place: &Place, policy: Option<&Policy>, now: Timestamp) -> Vec<Finding> {
    let settings = &place.settings;
    let out_since = place.in_force.as_ref().and_then(|said| said.notary_out_since);
    let mut findings = Vec::new();
    let mut clocks = Vec::new();
    let credentials = setup::credentials(settings).unwrap_or_default();
    let mut greetings = JoinSet::new();
    if let Some(policy) = policy {
        let registry = std::sync::Arc::new(setup::registry(settings, credentials.clone(), HashMap::new()));
        for host in policy.scopes.registries().into_iter().take(REGISTRIES) {
            let registry = std::sync::Arc::clone(&registry);
            greetings.spawn(async move {
                let answer = registry.greet(&host, Instant::now() + SERVER_TIME).await;
                (host, answer)
            });
        }
    }
    let resolved = settings.resolve(false).ok();
    for (name, written) in resolved.iter().flat_map(Resolved::notaries) {
        let statuses = statuses(settings, name, written, credentials.clone()).await;
        match &written.source {
            Source::Server(server) => {
                let greeted = tokio::time::timeout(SERVER_TIME * 3, greet(settings, server, name, written)).await;
                let answer = greeted.unwrap_or_else(|_| Err(NetError::Bad(format!("{} did not answer in time", quoted(server)))));
                clocks.extend(answer.as_ref().ok().and_then(|(answer, _)| date(answer)));
                let outage = Outage::of(written, out_since, &statuses, now);
                findings.push(notary(server, written.root_ca.is_some(), answer, &outage));
            }
            Source::Import => findings.push(imported(&statuses, written.stale_limit, now)),
        }
        findings.extend(kept(&statuses, now));
    }
    while let Some(greeted) = greetings.join_next().await {
        let Ok((host, answer)) = greeted else { continue };
        clocks.extend(answer.as_ref().ok().and_then(date));
        findings.push(self::registry(&host, answer));
    }
    findings.extend(clock(&clocks, crate::clock::now()));
    findings
}

/// What a server is that answers where Notary should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It says nothing of itself, as Notary does.
    Notary,
    /// A registry, and no Notary beside it at the same address.
    Registry,
}

/// `/v2/`, where every Notary server answers, without credentials. A registry answers there as well, and says so in a header.
async fn greet(
    settings: &Settings,
    server: &str,
    name: &VerifierName,
    written: &NotarySettings,
) -> Result<(HttpAnswer, Kind), NetError> {
    let tls = setup::notary_tls(settings, name, written)
        .map_err(|faults| NetError::Bad(faults.first().map(ToString::to_string).unwrap_or_default()))?;
    let url = Url::parse(&format!("{server}/v2/")).map_err(|error| NetError::Bad(error.to_string()))?;
    let (client, bounds) = (Client::new(&tls)?, Bounds { bytes: GREETING_BYTES, time: SERVER_TIME });
    let answer = client.get(&url, HeaderMap::new(), bounds).await?;
    if !is_of_registry(&answer) {
        return Ok((answer, Kind::Notary));
    }
    // Some products have both at one address: asked for what only a Notary has.
    let url =
        Url::parse(&format!("{server}/v2/{NOBODY}/_trust/tuf/root.json")).map_err(|error| NetError::Bad(error.to_string()))?;
    let kind = match client.get(&url, HeaderMap::new(), bounds).await {
        Ok(second) if has_trust_data(&second) => Kind::Notary,
        Ok(_) | Err(_) => Kind::Registry,
    };
    Ok((answer, kind))
}

/// Whether this answer to a greeting is a registry's (distribution specification).
fn is_of_registry(answer: &HttpAnswer) -> bool {
    answer.header("docker-distribution-api-version").is_some()
}

/// Whether a server that answers so to a question for trust data may have some: a Notary names what is missing, or wants
/// credentials first. A registry has no such address, and says so in plain text.
fn has_trust_data(answer: &HttpAnswer) -> bool {
    answer.status == 401 || answer.body.trim_ascii_start().first() == Some(&b'{')
}

/// What an outage of Notary means on this host.
struct Outage {
    /// Since when the gate knows of one.
    since: Option<Timestamp>,
    /// Whether what is known is used meanwhile.
    rule: OnOutage,
    /// When the first, and the last, repository's knowledge ends that still counts.
    ends: Option<(Timestamp, Timestamp)>,
}

impl Outage {
    fn of(written: &NotarySettings, since: Option<Timestamp>, statuses: &[RepositoryStatus], now: Timestamp) -> Self {
        let ends = || statuses.iter().filter_map(|status| status.usable_until(written.stale_limit)).filter(|end| *end > now);
        let ends = ends().min().zip(ends().max());
        Self { since, rule: written.on_outage, ends }
    }

    /// What starts meanwhile.
    fn starts(&self) -> String {
        match (self.rule, self.ends) {
            (OnOutage::Deny, _) | (OnOutage::UseKnown, None) => "every pull, create and start is refused".to_owned(),
            (OnOutage::UseKnown, Some((first, last))) => {
                let last = if first == last { String::new() } else { format!(", the last until {last:.0}") };
                format!("pulls are refused; images of known repositories start until {first:.0}{last}, then they stop starting")
            }
        }
    }

    /// The finding, given why Notary is not asked.
    fn told(&self, why: &str) -> Finding {
        let since = self.since.map(|since| format!("; the gate cannot reach it since {since:.0}")).unwrap_or_default();
        let remedy = "see that Notary runs, and check NOTARY, the network and the name service of this host";
        match (self.rule, self.ends) {
            (OnOutage::Deny, _) => {
                let evidence =
                    format!("{why}{since}; ON_OUTAGE is deny: every pull, create and start is refused until it answers");
                Finding::critical(
                    "notary-unreachable",
                    evidence,
                    &format!("{remedy}; ON_OUTAGE=run lets known images start meanwhile"),
                )
            }
            (OnOutage::UseKnown, None) => {
                let evidence =
                    format!("{why}{since}; nothing is known that may still be used: every pull, create and start is refused");
                Finding::critical("notary-unreachable", evidence, remedy)
            }
            (OnOutage::UseKnown, Some((first, last))) => {
                let until = if first == last {
                    format!("until {first:.0}")
                } else {
                    format!("until {first:.0}, the last until {last:.0}")
                };
                let evidence = format!("{why}{since}; pulls are refused, images of known repositories start {until}");
                Finding::warning("notary-unreachable", evidence, remedy)
            }
        }
    }
}

fn notary(server: &str, has_own_ca: bool, answer: Result<(HttpAnswer, Kind), NetError>, outage: &Outage) -> Finding {
    let shown = quoted(server);
    match answer {
        Ok((_, Kind::Registry)) => {
            let evidence =
                format!("{shown} is a registry, not a Notary server: no image has a signature there, every image is refused");
            Finding::critical(
                "notary-strange",
                evidence,
                "set NOTARY to the address of the Notary server (its port is often 4443)",
            )
        }
        Ok((answer, Kind::Notary)) if matches!(answer.status, 200 | 401) => {
            let by = if has_own_ca { "NOTARY_ROOT_CA" } else { "the system's and the folders' CAs" };
            let was_out =
                outage.since.map(|since| format!("; the gate could not reach it since {since:.0}, and has not asked again yet"));
            let was_out = was_out.unwrap_or_default();
            Finding::ok("notary", format!("Notary {shown} answers, and its certificate is good by {by}{was_out}"))
        }
        Ok((answer, Kind::Notary)) => {
            let evidence = format!("{shown} answers a Notary's greeting with status {}", answer.status);
            Finding::warning("notary-strange", evidence, "see that NOTARY names a Notary server, with its port and path")
        }
        Err(NetError::CaRefused { cause, .. }) => {
            let evidence = format!(
                "the TLS certificate of Notary {shown} is not from the CA that is set: {}; {}",
                clean(&cause),
                outage.starts()
            );
            let remedy = "img-authz settings check NOTARY_ROOT_CA=\"$(cat ca.crt)\"; docker plugin disable, docker plugin set \
                          NOTARY_ROOT_CA=\"$(cat ca.crt)\", docker plugin enable the gate, then reload dockerd";
            Finding::critical("notary-ca", evidence, remedy)
        }
        Err(NetError::Tls { cause, .. }) => {
            let evidence = format!("TLS with Notary {shown} fails: {}; {}", clean(&cause), outage.starts());
            Finding::critical("notary-ca", evidence, "see the server's certificate: its names, its dates, and this host's clock")
        }
        Err(error) => outage.told(&format!("Notary {shown} cannot be asked: {}", clean(&error.to_string()))),
    }
}

fn registry(host: &Host, answer: Result<HttpAnswer, RegistryError>) -> Finding {
    let shown = quoted(host.as_str());
    match answer {
        Ok(answer) if matches!(answer.status, 200 | 401) => Finding::ok("registry", format!("registry {shown} answers")),
        Ok(answer) => {
            let evidence = format!("{shown} answers a registry's greeting with status {}", answer.status);
            Finding::warning("registry-strange", evidence, "see that REGISTRY names a registry, with its port")
        }
        Err(error) => {
            let evidence = format!("registry {shown} cannot be asked: {}", clean(&error.to_string()));
            let remedy = "check the network; put its CA into /etc/docker/certs.d/HOST:PORT/ca.crt. Starts need it only with NOTARY=off and no allowlist";
            Finding::warning("registry-unreachable", evidence, remedy)
        }
    }
}

/// What is kept of repositories.
async fn statuses(
    settings: &Settings,
    name: &VerifierName,
    written: &NotarySettings,
    credentials: crate::net::auth::DockerConfig,
) -> Vec<RepositoryStatus> {
    match setup::notary(settings, name, written, credentials) {
        Ok(notary) => notary.statuses().await,
        Err(_) => Vec::new(),
    }
}

/// Where trust data is imported: whether there is any, and for how long.
fn imported(statuses: &[RepositoryStatus], limit: Duration, now: Timestamp) -> Finding {
    let remedy = "export it where Notary is reached (img-authz trust export), import it here (img-authz trust import)";
    // The end of what is refused for another reason is no matter.
    let ends = |status: &RepositoryStatus| status.usable_until(limit).filter(|end| *end > now);
    // Where it is short, bundles come often.
    let ahead = SignedDuration::try_from(limit / 2).unwrap_or(SignedDuration::MAX).min(IMPORT_AHEAD);
    let good: Vec<Timestamp> = statuses.iter().filter_map(ends).collect();
    match good.iter().min() {
        None => {
            let evidence = "NOTARY is import, and nothing that was imported is in date: every image is refused";
            Finding::critical("trust-import", evidence, remedy)
        }
        Some(first) if first.duration_since(now) < ahead => {
            let evidence = format!("imported trust data expires at {first}: its images are refused from then on");
            Finding::warning("trust-import", evidence, remedy)
        }
        Some(first) => {
            let evidence = format!("trust data of {} was imported; the first expires at {first}", repositories(good.len()));
            Finding::ok("trust-import", evidence)
        }
    }
}

/// Whether what is kept of repositories can still be used without the server.
fn kept(statuses: &[RepositoryStatus], now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut tell = |is_so: &dyn Fn(&RepositoryStatus) -> bool, finding: &dyn Fn(usize, String) -> Finding| {
        let names: Vec<String> = statuses.iter().filter(|one| is_so(one)).map(|one| quoted(&one.repository)).collect();
        if !names.is_empty() {
            let shown = names.iter().take(6).cloned().collect::<Vec<_>>().join(", ");
            findings.push(finding(names.len(), shown));
        }
    };
    tell(&|one| one.fault.is_some() && one.expires.is_none(), &|count, names| {
        let evidence = format!("trust data kept of {} does not verify: {names}", repositories(count));
        let remedy = "they are refused; see who may write the state folder, then img-authz trust forget REPOSITORY";
        Finding::warning("trust-damaged", evidence, remedy)
    });
    tell(&|one| one.fault.is_some() && one.expires.is_some(), &|count, names| {
        let evidence = format!("the Notary server's last answer about {} was bad: {names}", repositories(count));
        Finding::warning(
            "trust-refused",
            evidence,
            "if NOTARY was changed, correct it first; img-authz trust status says what the answer was, with its code",
        )
    });
    tell(&|one| one.soon(now).next().is_some(), &|count, names| {
        let evidence = format!("trust data of {} expires soon, or has: {names}", repositories(count));
        Finding::warning("trust-expiring", evidence, "have who signs them sign again; img-authz trust status says which")
    });
    tell(&|one| one.expires.is_some_and(|expires| expires <= now), &|count, names| {
        let evidence = format!("trust data kept of {} has expired: {names}", repositories(count));
        Finding::info("trust-expired", evidence, "their publishers must sign again if the server has nothing newer")
    });
    tell(&|one| one.seen.duration_since(now) > CLOCK_WARNING, &|count, names| {
        let evidence = format!(
            "{} checked in the future: {names}; this host's clock went back",
            if count == 1 { "1 repository was".to_owned() } else { format!("{count} repositories were") }
        );
        Finding::warning("clock", evidence, "synchronise the clock (systemd-timesyncd, chrony)")
    });
    findings
}

fn repositories(count: usize) -> String {
    if count == 1 { "1 repository".to_owned() } else { format!("{count} repositories") }
}

/// A server's idea of the time.
fn date(answer: &HttpAnswer) -> Option<Timestamp> {
    let text = answer.header("date")?;
    jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp())
}

fn clock(clocks: &[Timestamp], now: Timestamp) -> Option<Finding> {
    // Most servers must agree against this host, or one wrong server would blame it.
    let mut differences: Vec<SignedDuration> = clocks.iter().map(|clock| now.duration_since(*clock)).collect();
    differences.sort();
    let difference = *differences.get(differences.len() / 2)?;
    let seconds = difference.as_secs();
    let evidence = format!("this host's clock differs by {seconds} s from the servers'");
    let remedy = "synchronise the clock (systemd-timesyncd, chrony): expiry of trust data and certificates depends on it";
    Some(match difference.abs() {
        off if off > CLOCK_CRITICAL => Finding::critical("clock", evidence, remedy),
        off if off > CLOCK_WARNING => Finding::warning("clock", evidence, remedy),
        _ => Finding::ok("clock", "this host's clock agrees with the servers'"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{self, Critical, Info, Ok as Good, Warning};
    use super::*;
    use crate::trust::tuf::{Expiry, RoleKind};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn with(pairs: &[(&str, &str)], folder: &std::path::Path) -> Settings {
        let base =
            Settings::default().with("STATE_DIR", folder.display().to_string()).with("CONFIG_DIR", folder.display().to_string());
        pairs.iter().fold(base, |settings, (name, value)| settings.with(name, *value))
    }

    fn found(pairs: &[(&str, &str)], now: &str) -> Vec<(&'static str, Severity)> {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::judged(with(pairs, folder.path()), Basis::Environment, &[], |last| last);
        let findings = settings(&place, at(now), &mut None);
        findings.iter().map(|finding| (finding.id, finding.severity)).collect()
    }

    const EARLY: &str = "2026-11-22T00:00:00Z";

    #[test]
    fn weak_and_faulty_settings_are_told_and_good_ones_are_good() {
        let own = ("NOTARY", "https://notary.example");
        let registry = ("REGISTRY", "r.example");
        assert_eq!(found(&[registry, own], EARLY), [("settings", Good)]);
        assert_eq!(found(&[registry, ("NOTARY", "off")], EARLY), [("weak-scope", Warning)]);
        assert_eq!(found(&[registry, own, ("MODE", "permissive")], EARLY), [("mode-permissive", Warning)]);
        assert_eq!(found(&[registry, own, ("BUILD", "allow")], EARLY), [("build-allowed", Info)]);
        assert_eq!(found(&[registry, own, ("MODE", "x"), ("POSTURE", "y")], EARLY), [("settings-fault", Critical); 2]);
        let folder = tempfile::tempdir().unwrap();
        let good = with(&[registry, own], folder.path());
        std::fs::write(folder.path().join("settings.json"), serde_json::to_vec(&good).unwrap()).unwrap();
        let place = Place::judged(good.with("MODE", "x"), Basis::Environment, &[], |last| last);
        let kept = settings(&place, at(EARLY), &mut None);
        assert_eq!((kept.len(), kept[0].id, kept[0].severity), (1, "settings-fault", Warning));
        // On a plain binary the unit; in a managed plugin its commands; in lockdown those are refused while the gate is asked.
        assert!(kept[0].remedy.starts_with("correct the variable where the gate is started"), "{}", kept[0].remedy);
        for (posture, begins) in [
            ("images", "docker plugin disable img-authz, docker plugin set img-authz NAME=value"),
            ("lokdown", "take the gate out of daemon.json and reload dockerd; then docker plugin disable img-authz"),
        ] {
            let other = tempfile::tempdir().unwrap();
            let inside = [registry, own, ("MODE", "x"), ("POSTURE", posture), ("DOCKER_HOST", "unix:///host-run/docker.sock")];
            let place = Place::judged(with(&inside, other.path()), Basis::Environment, &[], |last| last);
            let found = settings(&place, at(EARLY), &mut None);
            assert!(found[0].remedy.starts_with(begins), "{}", found[0].remedy);
        }
    }

    #[test]
    fn docker_s_notary_closes_on_its_day() {
        assert_eq!(found(&[], EARLY), [("docker-notary-closes", Warning)]);
        assert_eq!(found(&[("REGISTRY", "docker.io")], EARLY), [("docker-notary-closes", Warning)]);
        assert_eq!(found(&[("NOTARY", "notary.docker.io")], "2026-12-07T23:59:59Z"), [("docker-notary-closes", Warning)]);
        assert_eq!(found(&[], "2026-12-08T00:00:00Z"), [("docker-notary-closes", Critical)]);
    }

    fn answer(status: u16) -> HttpAnswer {
        let mut headers = HeaderMap::new();
        headers.insert("date", "Sun, 22 Nov 2026 03:00:00 GMT".parse().unwrap());
        HttpAnswer { status, headers, body: Vec::new(), reach: crate::net::Reach::Public }
    }

    #[test]
    fn a_server_that_answers_is_there_and_a_wrong_ca_is_told_apart_from_no_answer() {
        let host = || "n.example:443".to_owned();
        for (answer, id, severity) in [
            (Ok(answer(401)), "notary", Good),
            (Ok(answer(200)), "notary", Good),
            (Ok(answer(404)), "notary-strange", Warning),
            (Err(NetError::CaRefused { host: host(), cause: "UnknownIssuer".into() }), "notary-ca", Critical),
            (Err(NetError::Tls { host: host(), cause: "NotValidForName".into() }), "notary-ca", Critical),
            (Err(NetError::Unreachable { host: host(), cause: "refused".into() }), "notary-unreachable", Warning),
            (Err(NetError::Timeout { host: host(), after: SERVER_TIME }), "notary-unreachable", Warning),
        ] {
            let ends = Some((at(EARLY), at(EARLY)));
            let outage = Outage { since: None, rule: OnOutage::UseKnown, ends };
            let answer = answer.map(|answer| (answer, Kind::Notary));
            let finding = notary("https://n.example", false, answer, &outage);
            assert_eq!((finding.id, finding.severity), (id, severity));
        }
        let outage = Outage { since: None, rule: OnOutage::UseKnown, ends: Some((at(EARLY), at(EARLY))) };
        let refused = || Err(NetError::CaRefused { host: host(), cause: "UnknownIssuer".into() });
        let known = notary("https://n.example", true, refused(), &outage).evidence;
        assert!(known.ends_with("start until 2026-11-22T00:00:00Z, then they stop starting"), "{known}");
        let none = notary("https://n.example", true, refused(), &Outage { ends: None, ..outage }).evidence;
        assert!(none.ends_with("every pull, create and start is refused"), "{none}");
        let r: Host = "r.example".parse().unwrap();
        assert_eq!(registry(&r, Ok(answer(401))).severity, Good);
        assert_eq!(registry(&r, Ok(answer(502))).id, "registry-strange");
        let refused = RegistryError::Net(NetError::Unreachable { host: host(), cause: String::new() });
        assert_eq!(registry(&r, Err(refused)).id, "registry-unreachable");
    }

    #[test]
    fn a_registry_in_the_place_of_notary_is_no_notary_and_one_beside_it_is_no_fault() {
        let with = |status, name: &'static str, body: &str| {
            let mut answer = answer(status);
            answer.headers.insert(name, "registry/2.0".parse().unwrap());
            HttpAnswer { body: body.as_bytes().to_vec(), ..answer }
        };
        assert!(is_of_registry(&with(200, "docker-distribution-api-version", "{}")));
        assert!(!is_of_registry(&answer(200)) && !is_of_registry(&answer(401)));
        assert!(!has_trust_data(&with(404, "x", "404 page not found\n")));
        assert!(has_trust_data(&with(404, "x", r#"{"errors":[{"code":"METADATA_NOT_FOUND"}]}"#)));
        assert!(has_trust_data(&with(401, "x", "")));
        let outage = Outage { since: None, rule: OnOutage::UseKnown, ends: None };
        let finding = notary("https://r.example", false, Ok((answer(200), Kind::Registry)), &outage);
        assert_eq!((finding.id, finding.severity), ("notary-strange", Critical));
    }

    #[test]
    fn an_outage_is_told_with_its_begin_and_its_end_and_is_critical_where_nothing_starts() {
        let gone =
            || Err::<(HttpAnswer, Kind), _>(NetError::Unreachable { host: "n.example:443".into(), cause: "refused".into() });
        let (since, end) = (at("2026-11-22T01:00:00Z"), at("2026-11-23T01:00:00Z"));
        let told = |rule, ends| notary("https://n.example", false, gone(), &Outage { since: Some(since), rule, ends });
        let run = told(OnOutage::UseKnown, Some((end, end)));
        assert_eq!((run.id, run.severity), ("notary-unreachable", Warning));
        assert!(run.evidence.contains("since 2026-11-22T01:00:00Z") && run.evidence.contains("until 2026-11-23T01:00:00Z"));
        assert_eq!(told(OnOutage::UseKnown, None).severity, Critical);
        let deny = told(OnOutage::Deny, Some((end, end)));
        assert!(
            deny.severity == Critical && deny.evidence.contains("every pull, create and start is refused"),
            "{}",
            deny.evidence
        );
    }

    #[test]
    fn where_trust_data_is_imported_it_must_be_there_and_in_date() {
        let now = at("2026-11-22T03:00:00Z");
        let status = |expires: Option<&str>| RepositoryStatus {
            repository: "r.example/app".to_owned(),
            checked: now,
            seen: now,
            expires: expires.map(at),
            roles: Vec::new(),
            is_renewed: true,
            fault: expires.is_none().then(|| "it does not verify".to_owned()),
            code: None,
        };
        let (good, soon, past) = (Some("2026-12-06T00:00:00Z"), Some("2026-11-24T00:00:00Z"), Some("2026-11-22T02:59:59Z"));
        for (statuses, expected) in [
            (vec![], Critical),
            (vec![status(past)], Critical),
            (vec![status(None)], Critical),
            (vec![status(good)], Good),
            (vec![status(past), status(good)], Good),
            (vec![status(good), status(soon)], Warning),
        ] {
            assert_eq!(imported(&statuses, Duration::MAX, now).severity, expected, "{statuses:?}");
        }
        // What the server took back is there and of no use; nor is what was checked too long ago.
        let refused = RepositoryStatus { fault: Some("the server has none now".to_owned()), ..status(good) };
        assert_eq!(imported(&[refused], Duration::MAX, now).severity, Critical);
        let old = || RepositoryStatus { checked: at("2026-11-20T03:00:00Z"), ..status(good) };
        for (hours, expected) in [(47, Critical), (49, Warning), (240, Good)] {
            assert_eq!(imported(&[old()], Duration::from_hours(hours), now).severity, expected, "{hours}");
        }
        assert_eq!(found(&[("REGISTRY", "r.example"), ("NOTARY", "import")], EARLY), [("settings", Good)]);
    }

    #[test]
    fn the_clock_is_compared_with_most_servers() {
        let now = at("2026-11-22T03:00:30Z");
        assert_eq!(date(&answer(200)), Some(at("2026-11-22T03:00:00Z")));
        let severity =
            |clocks: &[&str]| clock(&clocks.iter().map(|text| at(text)).collect::<Vec<_>>(), now).map(|found| found.severity);
        assert_eq!(severity(&[]), None);
        assert_eq!(severity(&["2026-11-22T03:00:00Z"]), Some(Good));
        assert_eq!(severity(&["2026-11-22T03:10:00Z"]), Some(Warning));
        assert_eq!(severity(&["2026-11-21T03:00:00Z"]), Some(Critical));
        assert_eq!(severity(&["2020-01-01T00:00:00Z", "2026-11-22T03:00:00Z", "2026-11-22T03:00:31Z"]), Some(Good));
    }

    #[test]
    fn trust_data_that_is_damaged_expired_or_from_the_future_is_told() {
        let status = |checked: &str, expires: Option<&str>, fault: Option<&str>| RepositoryStatus {
            repository: "r.example/a".into(),
            checked: at(checked),
            seen: at(checked),
            expires: expires.map(at),
            roles: Vec::new(),
            is_renewed: true,
            fault: fault.map(str::to_owned),
            code: None,
        };
        let signed_until = |kind: RoleKind, expires: &str| RepositoryStatus {
            roles: vec![Expiry { role: "x".into(), kind, expires: at(expires) }],
            ..status("2026-11-21T00:00:00Z", Some("2029-01-01T00:00:00Z"), None)
        };
        let ids = |status| kept(&[status], at(EARLY)).iter().map(|finding| (finding.id, finding.severity)).collect::<Vec<_>>();
        let (before, later) = ("2026-11-21T00:00:00Z", "2027-01-01T00:00:00Z");
        assert_eq!(ids(status(before, Some(later), None)), []);
        assert_eq!(ids(status(before, Some(before), None)), [("trust-expired", Info)]);
        assert_eq!(ids(status(before, None, Some("x"))), [("trust-damaged", Warning)]);
        assert_eq!(ids(status(before, Some(later), Some("x"))), [("trust-refused", Warning)]);
        assert_eq!(ids(signed_until(RoleKind::Root, "2027-01-01T00:00:00Z")), [("trust-expiring", Warning)]);
        assert_eq!(ids(signed_until(RoleKind::Root, "2028-01-01T00:00:00Z")), []);
        // The server renews its own.
        assert_eq!(ids(signed_until(RoleKind::Timestamp, "2026-11-23T00:00:00Z")), []);
        assert_eq!(ids(status(later, Some(later), None)), [("clock", Warning)]);
    }
}
