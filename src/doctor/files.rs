//! Files of the gate and of the engine: who may touch them, and whether what should be in them is.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use super::{Finding, View, many};
use crate::files::{owned_or_absent, read_secret};
use crate::image::Host;
use crate::policy::{AlertsSetting, Policy, Posture, Settings, SinkSetting, quoted};
use crate::setup;
use crate::text::clean;

/// How much of the audit log's end is read, bytes.
const LOG_BYTES: u64 = 8 << 20;
/// How long the gate may take to write what it counts.
const COUNTED: std::time::Duration = std::time::Duration::from_millis(2100);
/// Decisions at the cut of the log that may stand on the other side of it.
const CUT: u64 = 64;
/// Most files of the record that are counted, and largest file with a secret that is read. Stops wrong paths from holding this up.
const RECORD_FILES: usize = 10_000;
const SECRET_BYTES: u64 = 256 << 10;
/// Largest list of groups or users read. Stops a directory of a whole company from filling memory.
const NAMES_BYTES: u64 = 8 << 20;
/// What takes a name longer than this is held by a client, or was refused by another plugin.
const HELD_LONG: jiff::SignedDuration = jiff::SignedDuration::from_mins(1);
/// Most names that are shown.
const SHOWN: usize = 5;
/// Where containerd listens: what is asked of it goes by the engine, and so by the gate.
const CONTAINERD: [&str; 2] = ["/run/containerd/containerd.sock", "/run/docker/containerd/containerd.sock"];

/// The state folder and what lies in it.
pub(super) fn state(settings: &Settings) -> Vec<Finding> {
    let folder = settings.state_dir();
    let shown = quoted(&folder.display().to_string());
    let metadata = match std::fs::metadata(&folder) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            return vec![Finding::info("state-folder", format!("{shown} may not be looked into"), "run this as root")];
        }
        Err(error) => {
            let evidence = format!("the gate's state folder {shown} is not there: {error}");
            let remedy =
                "set STATE_DIR to the gate's own folder, or make it, mode 0700: without it nothing is kept across restarts";
            return vec![Finding::warning("state-folder", evidence, remedy)];
        }
    };
    let mut findings = Vec::new();
    if !metadata.is_dir() {
        let evidence = format!("{shown} is not a folder: the gate keeps nothing across restarts");
        findings.push(Finding::warning("state-folder", evidence, "set STATE_DIR to a folder of the gate's own"));
    } else if metadata.mode() & 0o022 != 0 || metadata.uid() != 0 {
        let evidence = format!(
            "{shown} belongs to user {} with mode {:04o}: others could put trust data or approvals there",
            metadata.uid(),
            metadata.mode() & 0o7777
        );
        findings.push(Finding::critical(
            "state-folder-open",
            evidence,
            &format!(
                "first look for files in it that root did not make (ls -lan); then chown root:root and chmod 0700 {}",
                clean(&folder.display().to_string())
            ),
        ));
    } else if let Err(error) = rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK) {
        // Said of us, who are root as well: a file system that is full of holes, or mounted read-only.
        let evidence = format!("{shown} cannot be written: {error}");
        findings.push(Finding::warning("state-folder", evidence, "mount it read-write, and run this as root"));
    } else {
        findings.push(Finding::ok("state-folder", format!("{shown} is root's alone to write")));
    }
    findings.extend(log(&folder.join(setup::AUDIT_LOG)));
    findings.extend(names_held(&folder.join(setup::RENAMES), crate::clock::now()));
    findings
}

/// Names that are being given for longer than any ordinary rename takes: nothing starts by them meanwhile.
fn names_held(path: &Path, now: jiff::Timestamp) -> Option<Finding> {
    let shown = quoted(&path.display().to_string());
    match crate::gate::names_being_given(path) {
        Ok(names) => {
            let is_long = |since: &jiff::Timestamp| now.duration_since(*since) > HELD_LONG;
            let mut held: Vec<String> = names.iter().filter(|(_, since)| is_long(since)).map(|(name, _)| quoted(name)).collect();
            held.sort();
            held.dedup();
            let count = held.len();
            held.truncate(SHOWN);
            (count > 0).then(|| {
                let evidence = format!(
                    "{} being given for over a minute, and nothing starts by it: {}",
                    if count == 1 { "one name is".to_owned() } else { format!("{count} names are") },
                    held.join(", ")
                );
                let remedy =
                    "end the calls that use the container (docker cp, docker export); start other containers by their full id";
                Finding::warning("names-held", evidence, remedy)
            })
        }
        Err(error) => {
            let evidence = format!("{shown} cannot be read: {error}");
            Some(Finding::info(
                "names-held",
                evidence,
                "run this as root; if it is damaged: docker plugin disable, docker plugin enable the gate, then reload dockerd",
            ))
        }
    }
}

/// The audit log: there, private, whole.
fn log(path: &Path) -> Vec<Finding> {
    let shown = quoted(&path.display().to_string());
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            let evidence = format!("there is no audit log {shown}: {error}");
            return vec![Finding::warning(
                "audit-log",
                evidence,
                "see the gate's log for why it could not be opened; set STATE_DIR to the gate's folder",
            )];
        }
    };
    let mut findings = Vec::new();
    if metadata.mode() & 0o077 != 0 {
        let evidence = format!("{shown} has mode {:04o}: others may read or change it", metadata.mode() & 0o7777);
        findings.push(Finding::warning("audit-log-open", evidence, "chmod 0600 it"));
    }
    let is_cut = metadata.len() > LOG_BYTES || path.with_extension("jsonl.1").exists();
    match whole(path, is_cut) {
        Ok(found) => match found {
            (0, 0) => findings.push(Finding::ok("audit-log", format!("{shown} is there, and no entry of it is missing"))),
            (lost, torn) => {
                let mut what = Vec::new();
                what.extend((lost > 0).then(|| many(usize::try_from(lost).unwrap_or(usize::MAX), "missing decision")));
                what.extend((torn > 0).then(|| many(torn, "half written line")));
                let evidence = format!("the end of {shown} has {}: entries were lost, or taken out", what.join(" and "));
                findings.push(Finding::warning(
                    "audit-entries-lost",
                    evidence,
                    "see the daemon's log for a full disk; ship the log to another host as it grows",
                ));
            }
        },
        Err(error) => {
            let evidence = format!("{shown} cannot be read: {error}");
            findings.push(Finding::info("audit-log", evidence, "run this as root"));
        }
    }
    findings
}

/// The end of the log; whole lines.
fn tail(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    let begin = length.saturating_sub(LOG_BYTES);
    file.seek(SeekFrom::Start(begin))?;
    let mut reader = BufReader::new(file.take(LOG_BYTES));
    let mut text = Vec::new();
    if begin > 0 {
        reader.read_until(b'\n', &mut text)?;
        text.clear();
    }
    reader.read_to_end(&mut text)?;
    Ok(text)
}

/// Decisions that have no line, and lines that are no entry. The gate numbers its decisions since its start.
fn missing(text: &[u8], is_cut: bool) -> (u64, usize) {
    #[derive(serde::Deserialize)]
    struct Line {
        #[serde(default)]
        event: String,
        #[serde(default)]
        decision_id: String,
        /// A line of a flood stands for so many decisions.
        #[serde(default = "one")]
        count: u64,
    }
    const fn one() -> u64 {
        1
    }
    let mut seen: BTreeMap<String, BTreeMap<u64, u64>> = BTreeMap::new();
    let mut torn = 0;
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let Ok(line) = serde_json::from_slice::<Line>(line) else {
            torn += 1;
            continue;
        };
        // What a candidate says of a decision is beside the decision's own line.
        if line.event.starts_with("WOULD-") {
            continue;
        }
        let numbered = line.decision_id.rsplit_once('-').and_then(|(start, number)| Some((start, number.parse::<u64>().ok()?)));
        if let Some((start, number)) = numbered {
            seen.entry(start.to_owned()).or_default().insert(number, line.count);
        }
    }
    let mut lost = 0;
    for (index, numbers) in seen.values().enumerate() {
        let (Some(least), Some(most)) = (numbers.keys().next(), numbers.keys().next_back()) else { continue };
        // Entries of one moment need not stand in the order of their numbers: what is next to the cut does not count.
        let from = match (index, is_cut) {
            (0, true) => least + CUT,
            (0, false) | (_, _) => 0,
        };
        let due = (most + 1).saturating_sub(from);
        lost += due.saturating_sub(numbers.range(from..).fold(0, |sum, (_, count)| sum.saturating_add(*count)));
    }
    (lost, torn)
}

/// What is missing at the log's end. The gate writes what it counts within two seconds.
fn whole(path: &Path, is_cut: bool) -> std::io::Result<(u64, usize)> {
    let first = missing(&tail(path)?, is_cut);
    if first == (0, 0) {
        return Ok(first);
    }
    std::thread::sleep(COUNTED);
    Ok(missing(&tail(path)?, is_cut))
}

/// Whether the audit log's end holds this text, now or when the gate has written what it counts; `None` where it cannot be read.
pub(super) fn is_recorded(settings: &Settings, text: &str) -> Option<bool> {
    if !holds(settings, text)? {
        std::thread::sleep(COUNTED);
    }
    holds(settings, text)
}

fn holds(settings: &Settings, text: &str) -> Option<bool> {
    let log = tail(&settings.state_dir().join(setup::AUDIT_LOG)).ok()?;
    // What was recorded a moment ago stands at the very end.
    let end = log.get(log.len().saturating_sub(1 << 20)..).unwrap_or(&log);
    Some(end.windows(text.len().max(1)).any(|part| part == text.as_bytes()))
}

/// `config.json`: helpers that the gate never starts, and who may read it.
pub(super) fn credentials(settings: &Settings, policy: Option<&Policy>) -> Vec<Finding> {
    let path = settings.docker_config().join("config.json");
    let shown = quoted(&path.display().to_string());
    let mut findings = Vec::new();
    let Ok(metadata) = std::fs::metadata(&path) else { return findings };
    if metadata.mode() & 0o077 != 0 {
        let evidence = format!("{shown} holds credentials and has mode {:04o}", metadata.mode() & 0o7777);
        findings.push(Finding::warning("credentials-open", evidence, "chmod 0600 it"));
    }
    // One that cannot be read is a fault of the settings, told there.
    let Ok(config) = setup::credentials(settings) else { return findings };
    let hosts = policy.map(|policy| policy.scopes.registries()).unwrap_or_default();
    let in_helper =
        |host: &str| config.helpers().iter().any(|helper| helper == "*" || helper == host) && config.for_host(host).is_none();
    let hosts: Vec<String> = hosts.iter().map(Host::as_str).filter(|host| in_helper(host)).map(quoted).take(8).collect();
    if !hosts.is_empty() {
        let evidence = format!("credentials for {} are in a credential helper, which the gate never starts", hosts.join(", "));
        let remedy = "put them into `auths` of that config.json (docker login with a config without credsStore), if these registries want any";
        findings.push(Finding::warning("credential-helper", evidence, remedy));
    }
    findings
}

/// The record of decisions, in this folder: whether it can be kept, and what it takes of the disk.
pub(super) fn record(folder: &Path) -> Finding {
    let shown = quoted(&folder.display().to_string());
    let unusable = |why: &dyn std::fmt::Display| {
        let evidence = format!("the policy has `record`, and nothing can be kept in {shown}: {why}");
        Finding::warning(
            "record-unusable",
            evidence,
            "give the record a folder of its own, root's alone (mode 0700), on a disk with room; in the managed plugin below /state",
        )
    };
    if let Err(error) = owned_or_absent(folder) {
        return unusable(&error);
    }
    // One that is not there yet is made with the first decision.
    let at = if folder.exists() { Some(folder) } else { folder.parent() };
    if let Err(error) = at.map_or(Ok(()), |at| rustix::fs::access(at, rustix::fs::Access::WRITE_OK)) {
        return unusable(&error);
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(RECORD_FILES);
    let sizes: Vec<u64> = entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).collect();
    let bytes = sizes.iter().fold(0_u64, |sum, size| sum.saturating_add(*size));
    Finding::ok("record", format!("{shown} holds {} files with {} KiB", sizes.len(), bytes.div_ceil(1024)))
}

/// Files with secrets of sinks and alerts that the gate does not use, because others may read or change them.
pub(super) fn secrets_of_sinks(settings: &Settings) -> Vec<Finding> {
    let is_otlp = settings.audit_sinks().iter().any(|sink| matches!(sink, SinkSetting::Otlp(_)));
    let token = is_otlp.then(|| settings.config_dir().join("otlp.token"));
    let alerts = match settings.alerts() {
        AlertsSetting::Off => None,
        AlertsSetting::Required(path) | AlertsSetting::IfPresent(path) => Some(path),
    };
    let found = |path: std::path::PathBuf| {
        let error = read_secret(&path, SECRET_BYTES).err().filter(|error| error.kind() != std::io::ErrorKind::NotFound)?;
        let evidence = format!("{} is not used: {error}", quoted(&path.display().to_string()));
        Some(Finding::warning("sink-file-open", evidence, "as root: chown root and chmod 0600 the file, chmod go-w its folder"))
    };
    token.into_iter().chain(alerts).filter_map(found).collect()
}

/// Who may drive the engine, and what it runs on.
pub(super) fn sockets(engine: &Path, view: View, policy: Option<&Policy>) -> Vec<Finding> {
    let read = |path: &str| {
        let mut text = String::new();
        let file = std::fs::File::open(view.find(path)?).ok()?;
        file.take(NAMES_BYTES).read_to_string(&mut text).ok().map(|_| text)
    };
    let names = read("/etc/group").zip(read("/etc/passwd"));
    let mut findings = Vec::new();
    let posture = policy.map_or(Posture::Images, |policy| policy.posture);
    match std::fs::metadata(engine) {
        Ok(metadata) => {
            let who = Who { mode: metadata.mode(), uid: metadata.uid(), gid: metadata.gid() };
            findings.push(engine_socket(&quoted(&engine.display().to_string()), who, names.as_ref(), posture));
        }
        Err(error) => {
            let evidence = format!("the engine's socket cannot be looked at: {error}");
            findings.push(Finding::info("engine-socket", evidence, "run this as root"));
        }
    }
    for path in CONTAINERD.into_iter().filter_map(|path| view.find(path)) {
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        // Below a folder that others may not enter its own mode would not matter; containerd makes it 0660 for root's group.
        if metadata.file_type().is_socket()
            && (metadata.mode() & 0o006 != 0 || metadata.gid() != 0 && metadata.mode() & 0o060 != 0)
        {
            let evidence = format!(
                "{} has mode {:04o} and group {}: whoever opens it runs anything, and no gate is asked",
                quoted(&path.display().to_string()),
                metadata.mode() & 0o7777,
                metadata.gid()
            );
            findings.push(Finding::critical(
                "containerd-socket-open",
                evidence,
                "let nobody but root open it: see [grpc] in containerd's config.toml",
            ));
        }
    }
    findings
}

#[derive(Debug, Clone, Copy)]
struct Who {
    mode: u32,
    uid: u32,
    gid: u32,
}

fn engine_socket(shown: &str, who: Who, names: Option<&(String, String)>, posture: Posture) -> Finding {
    if who.mode & 0o006 != 0 {
        let evidence = format!("{shown} has mode {:04o}: every user of this host drives the engine", who.mode & 0o7777);
        return Finding::critical("engine-socket-open", evidence, "chmod 0660 it, and see SocketMode in docker.socket");
    }
    if who.uid != 0 {
        let evidence = format!("{shown} belongs to user {}, who drives the engine and may let others", who.uid);
        return Finding::info("engine-socket", evidence, "as it must be with a rootless engine; else chown it to root");
    }
    if who.gid == 0 || who.mode & 0o060 == 0 {
        return Finding::ok("engine-socket", format!("{shown} is root's alone"));
    }
    let Some((groups, users)) = names else {
        let evidence = format!("{shown} is root's and group {}'s, whose members cannot be seen from here", who.gid);
        return Finding::info("engine-socket", evidence, "run this as root on the engine's host");
    };
    let (name, members) = members(who.gid, groups, users);
    let name = quoted(&name);
    if members.is_empty() {
        return Finding::ok("engine-socket", format!("{shown} is root's and group {name}'s, which has no members"));
    }
    let list: Vec<String> = members.iter().take(8).map(|member| clean(member)).collect();
    let more = if members.len() > list.len() { ", …" } else { "" };
    let evidence = format!("{} of group {name} drive the engine: {}{more}", many(members.len(), "member"), list.join(", "));
    let remedy = match posture {
        Posture::Images => {
            "in posture images each of them is root here (-v /:/host with an approved image): take out who need not be, or set POSTURE=lockdown"
        }
        Posture::Lockdown => "take out who need not be in it",
    };
    Finding::info("engine-socket", evidence, remedy)
}

/// A group's name, and its members: those it lists and those whose first group it is.
fn members(gid: u32, groups: &str, users: &str) -> (String, BTreeSet<String>) {
    let id = gid.to_string();
    let mut name = id.clone();
    let mut members = BTreeSet::new();
    for line in groups.lines() {
        let mut fields = line.split(':');
        if let (Some(own), Some(_), Some(number), list) = (fields.next(), fields.next(), fields.next(), fields.next())
            && number == id
        {
            own.clone_into(&mut name);
            members.extend(list.unwrap_or_default().split(',').filter(|member| !member.is_empty()).map(str::to_owned));
        }
    }
    for line in users.lines() {
        let mut fields = line.split(':');
        if let (Some(user), Some(first)) = (fields.next(), fields.nth(2))
            && first == id
        {
            members.insert(user.to_owned());
        }
    }
    members.remove("root");
    (name, members)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Severity::{Critical, Info, Ok as Good, Warning};
    use super::*;

    #[test]
    fn who_may_open_the_engines_socket_is_told() {
        let (groups, users) = ("root:x:0:\ndocker:x:999:ann,bob\nempty:x:7:\n", "root:x:0:0::/:/sh\ncy:x:1000:999::/:/sh\n");
        let names = (groups.to_owned(), users.to_owned());
        let of = |mode, uid, gid| engine_socket("s", Who { mode, uid, gid }, Some(&names), Posture::Images);
        assert_eq!((of(0o140_666, 0, 0).id, of(0o140_666, 0, 0).severity), ("engine-socket-open", Critical));
        assert_eq!(of(0o140_662, 0, 999).severity, Critical);
        assert_eq!(of(0o140_660, 0, 0).severity, Good);
        assert_eq!(of(0o140_660, 0, 7).severity, Good);
        assert_eq!(of(0o140_600, 0, 999).severity, Good);
        let members = of(0o140_660, 0, 999);
        assert_eq!(members.severity, Info);
        assert!(
            members.evidence.contains("3 members of group `docker`") && members.evidence.contains("ann, bob, cy"),
            "{members:?}"
        );
        let unseen = engine_socket("s", Who { mode: 0o140_660, uid: 0, gid: 7 }, None, Posture::Images);
        assert_eq!((unseen.severity, unseen.evidence.contains("cannot be seen")), (Info, true));
    }

    fn line(start: &str, number: u64) -> String {
        format!("{{\"event\":\"BLOCKED\",\"decision_id\":\"{start}-{number}\"}}\n")
    }

    #[test]
    fn a_decision_without_its_line_is_missed() {
        // A line of a flood stands for several.
        let flood = format!("{}{{\"decision_id\":\"17-3\",\"count\":3}}\n", line("17", 0));
        assert_eq!(missing(flood.as_bytes(), false), (0, 0));
        assert_eq!(missing(flood.replace(":3}", ":2}").as_bytes(), false), (1, 0));
        let log = |numbers: &[u64]| numbers.iter().map(|number| line("17", *number)).collect::<String>();
        assert_eq!(missing(log(&[0, 1, 3, 2]).as_bytes(), false), (0, 0));
        assert_eq!(missing(log(&[0, 1, 3]).as_bytes(), false), (1, 0));
        assert_eq!(missing(log(&[2, 3]).as_bytes(), false), (2, 0));
        // Behind a cut the beginning says nothing.
        assert_eq!(missing(log(&[102, 103, 101]).as_bytes(), true), (0, 0));
        let many: Vec<u64> = (100..300).filter(|number| *number != 250).collect();
        assert_eq!(missing(log(&many).as_bytes(), true), (1, 0));
        // Notes about the gate have no number; each start counts anew.
        let two = format!("{}{{\"event\":\"GATE\"}}\n{}", log(&[0, 1]), line("18", 0));
        assert_eq!(missing(two.as_bytes(), false), (0, 0));
        // Nor does it stand for the decision's line what a candidate says of it.
        let beside = "{\"event\":\"WOULD-ALLOW\",\"decision_id\":\"17-3\"}\n";
        assert_eq!(missing(format!("{flood}{beside}").as_bytes(), false), (0, 0));
        assert_eq!(missing(format!("{}{beside}", log(&[0, 1])).as_bytes(), false), (0, 0));
        assert_eq!(missing(format!("{}{{\"half", log(&[0])).as_bytes(), false), (0, 1));
    }

    fn ids(findings: &[Finding]) -> Vec<(&'static str, super::super::Severity)> {
        findings.iter().map(|finding| (finding.id, finding.severity)).collect()
    }

    #[test]
    fn the_audit_log_is_there_private_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        assert_eq!(ids(&log(&path)), [("audit-log", Warning)]);
        std::fs::write(&path, line("17", 0)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(ids(&log(&path)), [("audit-log-open", Warning), ("audit-log", Good)]);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(ids(&log(&path)), [("audit-log", Good)]);
        std::fs::write(&path, line("17", 1)).unwrap();
        assert_eq!(ids(&log(&path)), [("audit-entries-lost", Warning)]);
    }

    #[test]
    fn a_name_that_is_being_given_for_long_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("renames.json");
        let now: jiff::Timestamp = "2026-01-01T00:02:00Z".parse().unwrap();
        assert!(names_held(&path, now).is_none());
        let hash = crate::image::Digest::of(b"");
        let kept = |since: &str| {
            format!(r#"[{{"name":"web","container":null,"since":"{since}","gives":"{hash}","from":"{hash}","call":"{hash}"}}]"#)
        };
        std::fs::write(&path, kept("2026-01-01T00:01:30Z")).unwrap();
        assert!(names_held(&path, now).is_none());
        std::fs::write(&path, kept("2026-01-01T00:00:00Z")).unwrap();
        let found = names_held(&path, now).unwrap();
        assert_eq!((found.id, found.severity), ("names-held", Warning));
        assert!(found.evidence.contains("`web`"), "{}", found.evidence);
        std::fs::write(&path, "[{").unwrap();
        assert_eq!(names_held(&path, now).map(|found| found.severity), Some(super::super::Severity::Info));
    }

    #[test]
    fn the_state_folder_is_the_gates_own() {
        let folder = tempfile::tempdir().unwrap();
        let settings = |path: &Path| Settings::default().with("STATE_DIR", path.display().to_string());
        assert_eq!(ids(&state(&settings(&folder.path().join("none")))), [("state-folder", Warning)]);
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(ids(&state(&settings(folder.path())))[0], ("state-folder-open", Critical));
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        if std::fs::metadata(folder.path()).unwrap().uid() == 0 {
            assert_eq!(ids(&state(&settings(folder.path())))[0], ("state-folder", Good));
        }
    }

    #[test]
    fn a_record_that_cannot_be_kept_is_told_and_what_it_takes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        assert_eq!(record(&path).id, "record", "it is made with the first decision");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("a"), [0; 2000]).unwrap();
        for (mode, expected) in [(0o755, ("record-unusable", Warning)), (0o700, ("record", Good))] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let found = record(&path);
            assert_eq!((found.id, found.severity), expected, "{}", found.evidence);
        }
        assert!(record(&path).evidence.ends_with("holds 1 files with 2 KiB"));
    }

    #[test]
    fn secrets_of_sinks_that_others_may_read_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::default().with("CONFIG_DIR", folder.path().display().to_string());
        let settings = settings.with("AUDIT_SINKS", "otlp=https://c.example:4318".to_owned());
        assert!(secrets_of_sinks(&settings).is_empty());
        for name in ["otlp.token", "alerts.toml"] {
            let path = folder.path().join(name);
            std::fs::write(&path, "geheim").unwrap();
            for (mode, expected) in [(0o640, &[("sink-file-open", Warning)][..]), (0o600, &[])] {
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
                assert_eq!(ids(&secrets_of_sinks(&settings)), expected, "{name}");
            }
        }
    }

    #[test]
    fn what_was_recorded_a_moment_ago_is_found_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings::default().with("STATE_DIR", folder.path().display().to_string());
        assert_eq!(is_recorded(&settings, "abc"), None);
        std::fs::write(folder.path().join("audit.jsonl"), "{\"image\":\"abc\"}\n").unwrap();
        assert_eq!(is_recorded(&settings, "abc"), Some(true));
        assert_eq!(is_recorded(&settings, "abd"), Some(false));
    }

    #[test]
    fn credentials_in_a_helper_are_told_where_a_registry_may_need_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let settings =
            Settings::default().with("DOCKER_CONFIG", folder.path().display().to_string()).with("REGISTRY", "r.example");
        let policy = settings.clone().with("NOTARY", "off").resolve(false).unwrap().policy;
        assert!(credentials(&settings, Some(&policy)).is_empty());
        for (text, expected) in [
            (r#"{"credsStore":"pass"}"#, &[("credential-helper", Warning)][..]),
            (r#"{"credHelpers":{"r.example":"pass"}}"#, &[("credential-helper", Warning)]),
            (r#"{"credHelpers":{"other.example":"pass"}}"#, &[]),
            (r#"{"credsStore":"pass","auths":{"r.example":{"auth":"YTpi"}}}"#, &[]),
        ] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            assert_eq!(ids(&credentials(&settings, Some(&policy))), expected, "{text}");
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(ids(&credentials(&settings, Some(&policy))), [("credentials-open", Warning)]);
    }
}
