//! What a file of an image is, by its path, its mode and how it begins: what an audit looks for in layers.

use super::tar::{Entry, Kind};
use crate::policy::Secrets;

/// What is noticed of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Noticed {
    /// It holds a secret of this kind.
    Secret(&'static str),
    /// It runs as its owner or group.
    Setuid,
    /// Everybody may change it.
    ForAll,
    NetworkTool,
    PackageManager,
    PackageCache,
}

/// Bytes of a file's beginning that are looked at.
pub(super) const HEAD_BYTES: u64 = 8 << 10;
/// Larger files hold no credentials that anybody wrote.
const SECRET_BYTES: u64 = 1 << 20;

/// Files that hold credentials: how their paths end, words of which one is in them, and what it is.
const CREDENTIALS: [(&str, &[&str], &str); 11] = [
    (".aws/credentials", &["aws_secret_access_key"], "keys of AWS"),
    (".npmrc", &["_auth", "_password"], "a token of npm"),
    (".docker/config.json", &["\"auth\"", "\"identitytoken\""], "a registry's password"),
    (".dockercfg", &["\"auth\""], "a registry's password"),
    (".git-credentials", &["://"], "a password of git"),
    (".netrc", &["password"], "a password"),
    (".pypirc", &["password"], "a password of PyPI"),
    (".pgpass", &[":"], "a database's password"),
    (".my.cnf", &["password"], "a database's password"),
    (".kube/config", &["token:", "client-key-data", "password:"], "a cluster's credentials"),
    (".json", &["\"private_key\": \"-----BEGIN", "\"private_key\":\"-----BEGIN"], "a service account's key"),
];
/// Where keys are that are meant to be read.
const EXAMPLES: [&str; 5] = ["/doc/", "/examples/", "/test/", "/testdata/", "/tests/"];
const TOOLS: [&str; 20] = [
    "curl",
    "dig",
    "ftp",
    "nc",
    "nc.openbsd",
    "nc.traditional",
    "ncat",
    "netcat",
    "nmap",
    "nslookup",
    "rsync",
    "scp",
    "sftp",
    "socat",
    "ssh",
    "sshd",
    "tcpdump",
    "telnet",
    "traceroute",
    "wget",
];
const MANAGERS: [&str; 8] = ["apk", "apt", "apt-get", "dnf", "microdnf", "pacman", "yum", "zypper"];
const CACHES: [&str; 6] =
    ["var/lib/apt/lists/", "var/cache/apk/", "var/cache/yum/", "var/cache/dnf/", "var/cache/zypp/", "var/cache/apt/archives/"];

/// Everything that is noticed of an entry that begins so.
pub(super) fn noticed(entry: &Entry, head: &[u8]) -> Vec<Noticed> {
    let mut found = Vec::new();
    let is_file = matches!(entry.kind, Kind::File | Kind::HardLink);
    if is_file && entry.mode & 0o6000 != 0 && entry.mode & 0o111 != 0 {
        found.push(Noticed::Setuid);
    }
    if (is_file || entry.kind == Kind::Folder) && entry.mode & 0o002 != 0 && entry.mode & 0o1000 == 0 {
        found.push(Noticed::ForAll);
    }
    if entry.kind == Kind::Folder {
        return found;
    }
    let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
    if matches!(folder.trim_start_matches("usr/").trim_start_matches("local/"), "bin" | "sbin") {
        found.extend(TOOLS.contains(&name).then_some(Noticed::NetworkTool));
        found.extend(MANAGERS.contains(&name).then_some(Noticed::PackageManager));
    }
    if entry.kind == Kind::File {
        let is_cached = CACHES.iter().any(|cache| entry.path.starts_with(cache));
        found.extend((is_cached && entry.size > 0 && name != "lock").then_some(Noticed::PackageCache));
        found.extend(secret(entry, head).map(Noticed::Secret));
    }
    found
}

/// What kind of secret a file holds, as far as its name and its beginning show it.
fn secret(entry: &Entry, head: &[u8]) -> Option<&'static str> {
    if entry.size == 0 || entry.size > SECRET_BYTES {
        return None;
    }
    let text = String::from_utf8_lossy(head);
    let begin = text.trim_start();
    let rooted = format!("/{}", entry.path);
    let is_example = EXAMPLES.iter().any(|folder| rooted.contains(folder));
    if !is_example && begin.starts_with("-----BEGIN ") && begin.lines().next().is_some_and(|line| line.contains("PRIVATE KEY")) {
        return Some("a private key");
    }
    let is_in = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let of = |(end, words, what): &(&str, &[&str], &'static str)| (rooted.ends_with(end) && is_in(words)).then_some(*what);
    if let Some(what) = CREDENTIALS.iter().filter(|_| !is_example).find_map(of) {
        return Some(what);
    }
    let secrets = Secrets::default();
    let is_env = rooted.ends_with("/.env") || rooted.ends_with(".env.local") || rooted.ends_with(".env.production");
    (is_env && text.lines().any(|line| secrets.in_instruction(line).is_some())).then_some("secrets for the environment")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, mode: u32, head: &str) -> Vec<Noticed> {
        let kind = if path.ends_with('/') { Kind::Folder } else { Kind::File };
        let path = path.trim_end_matches('/').to_owned();
        noticed(&Entry { path, kind, mode, size: head.len() as u64, link: String::new() }, head.as_bytes())
    }

    #[test]
    fn each_file_that_is_noticed_has_one_beside_it_that_is_not() {
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nx";
        for (noticed, path, mode, head, other) in [
            (Noticed::Setuid, "usr/bin/su", 0o4755, "", ("usr/bin/su", 0o755, "")),
            (Noticed::Setuid, "usr/bin/wall", 0o2755, "", ("var/mail/", 0o2755, "")),
            (Noticed::ForAll, "app/run.sh", 0o777, "", ("app/run.sh", 0o775, "")),
            (Noticed::ForAll, "app/", 0o777, "", ("tmp/", 0o1777, "")),
            (Noticed::NetworkTool, "usr/bin/curl", 0o755, "x", ("usr/share/curl", 0o755, "x")),
            (Noticed::PackageManager, "sbin/apk", 0o755, "x", ("lib/apk", 0o755, "x")),
            (Noticed::PackageCache, "var/lib/apt/lists/x_Packages", 0o644, "x", ("var/lib/apt/lists/lock", 0o644, "x")),
            (Noticed::Secret("a private key"), "root/.ssh/id_rsa", 0o600, key, ("usr/share/doc/x/key.pem", 0o644, key)),
            (Noticed::Secret("a token of npm"), "root/.npmrc", 0o600, "//r/:_authToken=x", ("root/.npmrc", 0o600, "registry=x")),
            (
                Noticed::Secret("keys of AWS"),
                "root/.aws/credentials",
                0o600,
                "aws_secret_access_key=x",
                ("root/.aws/config", 0o600, "region=x"),
            ),
            (Noticed::Secret("secrets for the environment"), "app/.env", 0o644, "A=b\nDB_PASSWORD=x", ("app/.env", 0o644, "A=b")),
        ] {
            assert_eq!(of(path, mode, head), [noticed], "{path}");
            assert_eq!(of(other.0, other.1, other.2), [], "{other:?}");
        }
    }
}
