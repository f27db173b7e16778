//! dockerd as it runs and as it will start again: its flags, daemon.json, and where it listens.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde_json::Value;

use super::Finding;
use crate::engine::Plugin;
use crate::gate::{DaemonFile, Listed};
use crate::image::Reference;
use crate::policy::quoted;
use crate::setup::{Flags, Process, is_called};
use crate::text::clean;

/// Largest daemon.json read. Stops a wrong path from filling memory.
pub(super) const FILE_BYTES: u64 = 1 << 20;
/// Most processes, descriptors and sockets looked at. Stops a crowded host from taking for ever.
const MOST: usize = 100_000;
/// Most names of daemon.json that are reported one by one.
const MOST_NAMED: usize = 8;
/// The ports of swarm: management, and the nodes' gossip.
const SWARM_PORTS: [u16; 2] = [2377, 7946];

/// What to do when daemon.json has changed.
const RELOAD: &str = "then reload the daemon: systemctl reload docker, or kill -HUP its process";

/// The gate, by what daemon.json may call it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names<'a> {
    /// Its name.
    pub(super) gate: &'a str,
    /// Its id, if it is a managed plugin.
    pub(super) id: Option<&'a str>,
    /// Whether it is there to be named.
    pub(super) stands: Stands,
}

/// Whether a plugin may be named in daemon.json: a reload with one that is not there and enabled ends dockerd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stands {
    /// It is there and enabled, or answers on its socket.
    There,
    /// It is there and disabled.
    Disabled,
    /// There is none.
    Missing,
    /// Not known.
    Unknown,
}

impl Names<'_> {
    /// Whether there is a plugin of that name; it may be disabled.
    const fn is_there(&self) -> bool {
        matches!(self.stands, Stands::There | Stands::Disabled)
    }

    /// How to put the gate into the chain, by its exact name; never one that is not there and enabled.
    pub(super) fn put_in(&self) -> String {
        let gate = clean(self.gate);
        let add = format!("name it in daemon.json, \"authorization-plugins\": [\"{gate}\"], {RELOAD}");
        match self.stands {
            Stands::There => add,
            Stands::Disabled => format!("first docker plugin enable {gate} (a reload that names a disabled plugin ends dockerd); then {add}"),
            Stands::Missing => "first install and enable the gate (README, Install), until docker plugin ls shows it as enabled; then \
                                repeat this, which says how to name it. A reload that names a plugin that is not there ends dockerd"
                .to_owned(),
            Stands::Unknown => "if dockerd does not run: remove the line \"authorization-plugins\" from daemon.json and start dockerd. Then see \
                                docker plugin ls: name in daemon.json only a plugin that it shows as enabled, by that very name (a reload \
                                with any other ends dockerd), and reload"
                .to_owned(),
        }
    }

    pub(super) fn fits(&self, listed: &str) -> bool {
        let name = |text: &str| text.parse::<Reference>().ok().map(Reference::or_latest);
        let is_named = listed == self.gate || name(listed).is_some_and(|listed| Some(listed) == name(self.gate));
        is_named || (!listed.is_empty() && self.id.is_some_and(|id| id.starts_with(listed)))
    }
}

/// What daemon.json says, and what is wrong with it. `flags`: `None` where dockerd's process was not found.
pub(super) fn file(
    path: &Path,
    read: std::io::Result<String>,
    flags: Option<&Flags>,
    names: Names<'_>,
) -> (Option<DaemonFile>, Vec<Finding>) {
    let shown = quoted(&path.display().to_string());
    let by_flag = flags.is_some_and(|flags| flags.plugins.iter().any(|name| names.fits(name)));
    let add = names.put_in();
    let text = match read {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return (None, vec![unlisted(by_flag, format!("there is no {shown}"), &add)]);
        }
        Err(error) => {
            let evidence = format!("{shown} cannot be read: {error}");
            return (
                None,
                vec![Finding::warning("daemon-json-unreadable", evidence, "run this as root, or give --daemon-json PATH")],
            );
        }
    };
    let file = match DaemonFile::read(&text) {
        Ok(file) => file,
        Err(why) => {
            let evidence =
                format!("{shown} is not a JSON object ({}): dockerd ignores the reload, and does not start", clean(&why));
            return (None, vec![Finding::critical("daemon-json-invalid", evidence, &format!("correct the file, {RELOAD}"))]);
        }
    };
    let mut findings = Vec::new();
    for key in file.near_misses() {
        // Measured on 20.10: dockerd knows its flag's name as a key, which sets nothing; any other key stops it at its start.
        // A reload does not look at keys at all, and drops the plugins.
        let then =
            if key == "authorization-plugin" { "accepts it without an error and ignores it" } else { "does not start with it" };
        let evidence = format!(
            "{shown} has the key {}; the key is `authorization-plugins`: dockerd {then}, and a reload ends what is enforced",
            quoted(key)
        );
        findings.push(Finding::critical("daemon-json-key-typo", evidence, &format!("correct the key; {add}")));
    }
    if file.is_given_twice() {
        let evidence = format!("{shown} has `authorization-plugins` more than once; dockerd takes the last");
        findings.push(Finding::warning("daemon-json-key-twice", evidence, "keep one of them, with all names in it"));
    }
    let has_flag = flags.is_some_and(|flags| !flags.plugins.is_empty());
    match file.plugins() {
        Listed::NotAList => {
            let evidence = format!("`authorization-plugins` in {shown} is not a list of names: dockerd does not start with that");
            findings.push(Finding::critical("daemon-json-not-a-list", evidence, &add));
        }
        Listed::Plugins(_) if has_flag => {
            let evidence =
                format!("authorization plugins are given in {shown} and by dockerd's flag as well: it does not start again");
            findings.push(Finding::critical("daemon-json-and-flag", evidence, "keep one of them; only the file can be reloaded"));
        }
        Listed::Plugins(listed) if listed.iter().any(|name| names.fits(name)) => {
            findings.push(Finding::ok("daemon-json", format!("{shown} names {}", quoted(names.gate))));
        }
        Listed::Plugins(listed) => {
            let listed: Vec<String> = listed.iter().take(8).map(|name| quoted(name)).collect();
            let listed = if listed.is_empty() { "none".to_owned() } else { listed.join(", ") };
            findings.push(unlisted(by_flag, format!("the authorization plugins in {shown} are: {listed}"), &add));
        }
        Listed::Nothing => findings.push(unlisted(by_flag, format!("{shown} names no authorization plugin"), &add)),
    }
    (Some(file), findings)
}

fn unlisted(by_flag: bool, evidence: String, remedy: &str) -> Finding {
    if by_flag {
        Finding::ok("daemon-json", format!("dockerd is started with this gate as its --authorization-plugin; {evidence}"))
    } else {
        Finding::critical("daemon-json-gate-missing", evidence, remedy)
    }
}

/// The plugins beside the gate that daemon.json names and that are not there, or not enabled: dockerd does not start with them.
pub(super) fn others(
    path: &Path,
    file: Option<&DaemonFile>,
    plugins: Option<&[Plugin]>,
    names: Names<'_>,
    is_socket: impl Fn(&str) -> bool,
) -> Vec<Finding> {
    let (Some(file), Some(plugins)) = (file, plugins) else { return Vec::new() };
    let Listed::Plugins(listed) = file.plugins() else { return Vec::new() };
    let shown = quoted(&path.display().to_string());
    let mut findings = Vec::new();
    // The gate's own state is reported as such.
    for name in listed.iter().filter(|name| !(names.fits(name) && names.stands != Stands::Missing)).take(MOST_NAMED) {
        let (what, do_first) = match plugins.iter().find(|plugin| is_called(plugin, name)) {
            Some(plugin) if plugin.enabled => continue,
            Some(_) => ("is disabled", format!("docker plugin enable {}, or ", clean(name))),
            None if is_socket(name) => continue,
            None => ("is not there", String::new()),
        };
        let evidence = format!(
            "{shown} names plugin {}, which {what}: dockerd does not start with that, and a reload or restart ends it",
            quoted(name)
        );
        let remedy = format!("{do_first}take the name out of the file, before the daemon is reloaded or started");
        findings.push(Finding::critical("daemon-json-plugin", evidence, &remedy));
    }
    findings
}

/// The one name in daemon.json that is of no plugin, where the gate is there and not named: that name was meant for it.
pub(super) fn misspelt(
    path: &Path,
    file: Option<&DaemonFile>,
    plugins: Option<&[Plugin]>,
    names: Names<'_>,
    is_socket: impl Fn(&str) -> bool,
) -> Option<Finding> {
    let (file, plugins) = (file?, plugins?);
    let Listed::Plugins(listed) = file.plugins() else { return None };
    if !names.is_there() || listed.iter().any(|name| names.fits(name)) {
        return None;
    }
    let is_missing = |name: &&String| !plugins.iter().any(|plugin| is_called(plugin, name)) && !is_socket(name);
    let mut missing = listed.iter().filter(is_missing);
    let (Some(name), None) = (missing.next(), missing.next()) else { return None };
    let evidence = format!(
        "{} names plugin {}, which is not there, and not the gate {}: dockerd does not start with that, and a reload or restart ends it",
        quoted(&path.display().to_string()),
        quoted(name),
        quoted(names.gate)
    );
    let first =
        if names.stands == Stands::Disabled { format!("docker plugin enable {}, ", clean(names.gate)) } else { String::new() };
    let remedy = format!(
        "{first}replace {} by {} in daemon.json, {RELOAD}. Where dockerd does not run: remove the line, start dockerd, see docker plugin \
         ls, then name the gate and reload",
        quoted(name),
        quoted(names.gate)
    );
    Some(Finding::critical("daemon-json-plugin", evidence, &remedy))
}

/// Where the engine listens beside its socket.
pub(super) fn listeners(process: Option<&Process>, file: Option<&DaemonFile>, swarm: bool) -> Vec<Finding> {
    let Some(process) = process else {
        let evidence = "dockerd's process was not found, so where else it listens is not known";
        return vec![Finding::info("listeners-unknown", evidence, "run this as root on the engine's host")];
    };
    let open = open_ports(process.pid);
    judge(&process.flags, file, open.as_deref(), swarm)
}

/// `open`: addresses of TCP listeners of dockerd itself; `None` where they cannot be seen.
fn judge(flags: &Flags, file: Option<&DaemonFile>, open: Option<&[(String, u16)]>, swarm: bool) -> Vec<Finding> {
    let is_set = |key: &str| file.and_then(|file| file.get(key)).and_then(Value::as_bool) == Some(true);
    let verify = flags.verify || is_set("tlsverify");
    let tls = verify || flags.tls || is_set("tls");
    let mut hosts = flags.hosts.clone();
    hosts.extend(file.map(|file| file.texts("hosts")).unwrap_or_default());
    let tcp: Vec<&String> = hosts.iter().filter(|host| is_tcp(host)).collect();
    let mut findings = Vec::new();
    if !tcp.is_empty() {
        let shown = tcp.iter().take(8).map(|host| quoted(host)).collect::<Vec<_>>().join(", ");
        findings.push(match (tls, verify) {
            (_, true) => Finding::info(
                "listener-tcp",
                format!("the engine also listens on {shown}, for clients with a certificate; the gate is asked there too"),
                "see to it that only those who need it have one",
            ),
            (true, false) => Finding::critical(
                "listener-tcp-open",
                format!(
                    "the engine also listens on {shown} without asking clients for a certificate: whoever reaches it drives it"
                ),
                "set tlsverify and tlscacert, or do without that listener",
            ),
            (false, false) => Finding::critical(
                "listener-tcp-open",
                format!("the engine also listens on {shown} without TLS: whoever reaches it drives it"),
                "do without that listener, use ssh://, or set tlsverify with tlscacert, tlscert and tlskey",
            ),
        });
    }
    let mut known: Vec<u16> = tcp.iter().filter_map(|host| port(host)).collect();
    // Without a port, dockerd takes its own.
    known.extend([2375, 2376].iter().filter(|_| tcp.iter().any(|host| port(host).is_none())));
    known.extend(file.and_then(|file| file.get("metrics-addr")).and_then(Value::as_str).and_then(port));
    if swarm {
        known.extend(SWARM_PORTS);
    }
    let strange: Vec<String> = open
        .unwrap_or_default()
        .iter()
        .filter(|(_, port)| !known.contains(port))
        .map(|(address, port)| quoted(&format!("{address}:{port}")))
        .take(8)
        .collect();
    if !strange.is_empty() {
        let evidence = format!("dockerd listens on {}, which neither its flags nor daemon.json explain", strange.join(", "));
        let remedy = "look at the units docker.socket and docker.service; whoever reaches the API there drives the engine";
        findings.push(Finding::warning("listener-unexplained", evidence, remedy));
    }
    if findings.is_empty() {
        findings.push(match open {
            Some(_) => Finding::ok("listeners", "the engine does not listen on TCP"),
            None => Finding::info(
                "listeners-unknown",
                "dockerd's flags and daemon.json name no TCP listener; its open sockets cannot be seen",
                "run this as root on the engine's host",
            ),
        });
    }
    findings
}

fn is_tcp(host: &str) -> bool {
    match host.split_once("://") {
        Some((scheme, _)) => matches!(scheme, "tcp" | "http" | "https"),
        // dockerd reads a bare address as TCP.
        None => !host.starts_with('/') && !host.is_empty(),
    }
}

fn port(address: &str) -> Option<u16> {
    address.trim_end_matches('/').rsplit_once(':')?.1.parse().ok()
}

/// The addresses on which this process itself listens.
fn open_ports(pid: u32) -> Option<Vec<(String, u16)>> {
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.take(MOST).flatten();
    let inode = |link: std::fs::DirEntry| {
        let target = std::fs::read_link(link.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
    };
    let own: HashSet<u64> = links.filter_map(inode).collect();
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        let Ok(file) = std::fs::File::open(format!("/proc/{pid}/net/{table}")) else { continue };
        for line in BufReader::new(file).lines().take(MOST) {
            let listener = listener(&line.ok()?);
            found.extend(listener.filter(|(_, _, inode)| own.contains(inode)).map(|(address, port, _)| (address, port)));
        }
    }
    Some(found)
}

/// Address, port and inode of a line of `/proc/net/tcp`, if it is a listener.
fn listener(line: &str) -> Option<(String, u16, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    if fields.nth(1)? != "0A" {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Words of four bytes, each in the machine's order; this is for little-endian ones, the only ones Docker ships much for.
    let mut bytes = Vec::new();
    for word in address.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_le_bytes());
    }
    let address = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => std::net::Ipv4Addr::from(bytes).to_string(),
        Err(_) => format!("[{}]", std::net::Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?)),
    };
    Some((address, port, inode))
}

#[cfg(test)]
mod tests {
    use super::super::Severity::{self, Critical, Info, Ok as Good, Warning};
    use super::*;

    fn flags(line: &str) -> Flags {
        Flags::read(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    fn found(text: &str, line: &str) -> Vec<(&'static str, Severity)> {
        let id = "5".repeat(64);
        let names = Names { gate: "img-authz", id: Some(&id), stands: Stands::There };
        let (_, findings) = file(Path::new("/etc/docker/daemon.json"), Ok(text.to_owned()), Some(&flags(line)), names);
        findings.iter().map(|finding| (finding.id, finding.severity)).collect()
    }

    #[test]
    fn a_file_that_names_the_gate_is_good_under_any_of_its_names() {
        for name in ["img-authz", "img-authz:latest", "docker.io/library/img-authz", "5555"] {
            let text = format!(r#"{{"authorization-plugins":["other","{name}"]}}"#);
            assert_eq!(found(&text, "dockerd"), [("daemon-json", Good)], "{name}");
        }
    }

    #[test]
    fn a_file_that_does_not_name_it_is_critical_unless_a_flag_does() {
        for text in ["", "{}", r#"{"authorization-plugins":[]}"#, r#"{"authorization-plugins":["img-auth","6"]}"#] {
            assert_eq!(found(text, "dockerd --authorization-plugin other")[0].1, Critical, "{text}");
            assert_eq!(found(text, "dockerd"), [("daemon-json-gate-missing", Critical)], "{text}");
        }
        assert_eq!(found("{}", "dockerd --authorization-plugin=img-authz"), [("daemon-json", Good)]);
    }

    #[test]
    fn slips_of_the_pen_are_told_with_the_right_key() {
        let text = r#"{"authorization-plugin":["img-authz"]}"#;
        assert_eq!(found(text, "dockerd"), [("daemon-json-key-typo", Critical), ("daemon-json-gate-missing", Critical)]);
        let text = r#"{"authorization-plugins":["img-authz"],"authorization-plugins":["img-authz"]}"#;
        assert_eq!(found(text, "dockerd"), [("daemon-json-key-twice", Warning), ("daemon-json", Good)]);
        let text = r#"{"authorization-plugins":"img-authz"}"#;
        assert_eq!(found(text, "dockerd"), [("daemon-json-not-a-list", Critical)]);
        assert_eq!(found("{\"authorization-plugins\":[\"img-authz\"],}", "dockerd"), [("daemon-json-invalid", Critical)]);
    }

    #[test]
    fn a_plugin_that_is_not_there_and_enabled_is_never_advised_and_one_that_is_is_named_exactly() {
        let advice = |stands| Names { gate: "gate:3", id: None, stands }.put_in();
        let line = "\"authorization-plugins\": [\"gate:3\"]";
        assert!(advice(Stands::There).contains(line));
        assert!(advice(Stands::Disabled).starts_with("first docker plugin enable gate:3 "));
        for stands in [Stands::Missing, Stands::Unknown] {
            assert!(!advice(stands).contains("\": [") && advice(stands).contains("ends dockerd"), "{stands:?}");
        }
        assert!(advice(Stands::Unknown).starts_with("if dockerd does not run: remove the line"));
    }

    #[test]
    fn a_name_that_ends_dockerd_is_told() {
        let plugin = |name: &str, enabled| Plugin { id: "6".repeat(64), name: name.into(), enabled, ..Plugin::default() };
        let plugins = [plugin("gate:3", true), plugin("off:latest", false)];
        let ids = |listed: &str, stands| {
            let file = DaemonFile::read(&format!(r#"{{"authorization-plugins":[{listed}]}}"#)).unwrap();
            let names = Names { gate: "gate:3", id: None, stands };
            let found = others(Path::new("/x"), Some(&file), Some(&plugins), names, |name| name == "opa");
            found.iter().map(|finding| finding.evidence.clone()).collect::<Vec<_>>()
        };
        assert_eq!(ids(r#""gate:3","opa""#, Stands::There), [""; 0]);
        assert!(ids(r#""img-authz""#, Stands::There)[0].contains("`img-authz`, which is not there"));
        assert!(ids(r#""gate:3","off""#, Stands::There)[0].contains("`off`, which is disabled"));
        assert_eq!(ids(r#""off""#, Stands::There).len(), 1);
    }

    #[test]
    fn a_misspelt_name_of_the_gate_is_one_finding_with_the_right_name() {
        let plugin = |name: &str| Plugin { id: "6".repeat(64), name: name.into(), enabled: true, ..Plugin::default() };
        let plugins = [plugin("gate:3"), plugin("opa:latest")];
        let of = |listed: &str, stands| {
            let file = DaemonFile::read(&format!(r#"{{"authorization-plugins":[{listed}]}}"#)).unwrap();
            let names = Names { gate: "gate:3", id: None, stands };
            misspelt(Path::new("/x"), Some(&file), Some(&plugins), names, |_| false).map(|finding| finding.remedy)
        };
        assert!(
            of(r#""gaet:3""#, Stands::There).unwrap().starts_with("replace `gaet:3` by `gate:3` in daemon.json, then reload")
        );
        assert!(of(r#""opa","gate""#, Stands::There).unwrap().starts_with("replace `gate` by `gate:3`"));
        assert!(of(r#""gaet:3""#, Stands::Disabled).unwrap().starts_with("docker plugin enable gate:3, replace"));
        for (listed, stands) in [
            (r#""gate:3","gaet:3""#, Stands::There),
            (r#""gaet:3","gata:3""#, Stands::There),
            (r#""opa""#, Stands::There),
            (r#""gaet:3""#, Stands::Missing),
            (r#""gaet:3""#, Stands::Unknown),
        ] {
            assert_eq!(of(listed, stands), None, "{listed} {stands:?}");
        }
    }

    #[test]
    fn a_flag_beside_the_file_stops_the_next_start() {
        let text = r#"{"authorization-plugins":["img-authz"]}"#;
        assert_eq!(found(text, "dockerd --authorization-plugin=img-authz"), [("daemon-json-and-flag", Critical)]);
    }

    #[test]
    fn a_file_that_is_not_there_and_one_that_cannot_be_read_are_two_things() {
        let names = Names { gate: "img-authz", id: None, stands: Stands::There };
        let of = |kind: std::io::ErrorKind| file(Path::new("/x"), Err(kind.into()), None, names).1[0].clone();
        assert_eq!(of(std::io::ErrorKind::NotFound).id, "daemon-json-gate-missing");
        assert_eq!(of(std::io::ErrorKind::PermissionDenied).id, "daemon-json-unreadable");
    }

    fn listening(line: &str, text: &str, open: &[(&str, u16)], swarm: bool) -> Vec<(&'static str, Severity)> {
        let open: Vec<(String, u16)> = open.iter().map(|(address, port)| ((*address).to_owned(), *port)).collect();
        let file = DaemonFile::read(text).unwrap();
        judge(&flags(line), Some(&file), Some(&open), swarm).iter().map(|finding| (finding.id, finding.severity)).collect()
    }

    #[test]
    fn tcp_without_client_certificates_is_critical() {
        for (line, text) in [
            ("dockerd -H tcp://0.0.0.0:2375", "{}"),
            ("dockerd --tls -H tcp://0.0.0.0:2376", "{}"),
            ("dockerd -H 0.0.0.0:2375", "{}"),
            ("dockerd", r#"{"hosts":["unix:///x","tcp://127.0.0.1:2375"]}"#),
            ("dockerd", r#"{"hosts":["tcp://127.0.0.1:2375"],"tls":true}"#),
        ] {
            assert_eq!(
                listening(line, text, &[("0.0.0.0", 2375), ("::", 2376)], false)[0],
                ("listener-tcp-open", Critical),
                "{line}"
            );
        }
        let verified = listening("dockerd -H tcp://0.0.0.0:2376", r#"{"tlsverify":true}"#, &[("0.0.0.0", 2376)], false);
        assert_eq!(verified, [("listener-tcp", Info)]);
    }

    #[test]
    fn what_listens_without_a_reason_is_told() {
        assert_eq!(listening("dockerd -H fd://", "{}", &[], false), [("listeners", Good)]);
        assert_eq!(listening("dockerd -H fd://", "{}", &[("0.0.0.0", 2375)], false), [("listener-unexplained", Warning)]);
        assert_eq!(
            listening("dockerd", r#"{"metrics-addr":"127.0.0.1:9323"}"#, &[("127.0.0.1", 9323)], false),
            [("listeners", Good)]
        );
        assert_eq!(listening("dockerd", "{}", &[("0.0.0.0", 2377), ("0.0.0.0", 7946)], true), [("listeners", Good)]);
        assert_eq!(listening("dockerd", "{}", &[("0.0.0.0", 2377)], false), [("listener-unexplained", Warning)]);
        assert_eq!(judge(&Flags::default(), None, None, false)[0].severity, Info);
    }

    #[test]
    fn the_kernels_table_is_read() {
        let line =
            "   0: 0100007F:0947 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100 0 0 10 0";
        assert_eq!(listener(line), Some(("127.0.0.1".to_owned(), 2375, 12345)));
        assert_eq!(listener(&line.replace(" 0A ", " 01 ")), None);
        let line = "   0: 00000000000000000000000001000000:0947 0:0 0A 0:0 00:0 0     0        0 7 1";
        assert_eq!(listener(line), Some(("[::1]".to_owned(), 2375, 7)));
        for line in ["", "  sl  local_address rem_address   st", "0: zz:zz 0:0 0A 0 0 0 0 0 1"] {
            assert_eq!(listener(line), None);
        }
    }

    #[tokio::test]
    async fn the_listeners_of_this_process_are_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(open_ports(std::process::id()).unwrap().contains(&("127.0.0.1".to_owned(), port)));
    }
}
