//! What the commands of a RUN do that an image should not carry: packages and caches, rights for everybody, sudo. A rough reading of the shell:
//! words, quotes and what stands between commands. What a program does that it calls, nobody sees here.

use super::OwnRule;

/// Packages that bring network tools.
pub(super) const NETWORK_PACKAGES: [&str; 32] = [
    "bind-tools",
    "bind-utils",
    "bind9-dnsutils",
    "curl",
    "dnsutils",
    "ftp",
    "inetutils-ping",
    "inetutils-telnet",
    "inetutils-tools",
    "iproute",
    "iproute2",
    "iputils",
    "iputils-ping",
    "mtr",
    "nc",
    "ncat",
    "net-tools",
    "netcat",
    "netcat-openbsd",
    "netcat-traditional",
    "nmap",
    "nmap-ncat",
    "openssh",
    "openssh-client",
    "openssh-server",
    "rsync",
    "socat",
    "ssh",
    "tcpdump",
    "telnet",
    "traceroute",
    "wget",
];
/// Words before a command that are not it.
const BEFORE: [&str; 11] = ["!", "command", "do", "else", "env", "exec", "if", "then", "time", "until", "while"];
/// Most words of a script that are looked at. Stops a made-up file from costing seconds.
const WORDS: usize = 20_000;

/// A package manager, by where it leaves what it fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Apt,
    Apk,
    Yum,
    Zypper,
}

/// What one manager did in a script.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each may be so without the others")]
struct Done {
    updated: bool,
    installed: bool,
    upgraded: bool,
    is_clean: bool,
}

impl Manager {
    const ALL: [Self; 4] = [Self::Apt, Self::Apk, Self::Yum, Self::Zypper];

    fn of(command: &str) -> Option<Self> {
        match command {
            "apt-get" | "apt" | "aptitude" => Some(Self::Apt),
            "apk" => Some(Self::Apk),
            "yum" | "dnf" | "microdnf" => Some(Self::Yum),
            "zypper" => Some(Self::Zypper),
            _ => None,
        }
    }

    /// Folders of which one must be emptied.
    const fn caches(self) -> &'static [&'static str] {
        match self {
            Self::Apt => &["/var/lib/apt"],
            Self::Apk => &["/var/cache/apk"],
            Self::Yum => &["/var/cache/yum", "/var/cache/dnf"],
            Self::Zypper => &["/var/cache/zypp"],
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Apt => "apt-get",
            Self::Apk => "apk",
            Self::Yum => "yum or dnf",
            Self::Zypper => "zypper",
        }
    }
}

/// The simple commands of a script, each as its words.
pub(super) fn commands(script: &str) -> Vec<Vec<String>> {
    let (mut found, mut command, mut word) = (Vec::new(), Vec::new(), None::<String>);
    let (mut quote, mut count) = (None, 0);
    let mut chars = script.chars().peekable();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (Some(open), _) if char == open => quote = None,
            (Some('\''), _) => word.get_or_insert_default().push(char),
            (_, '\\') => match chars.next() {
                Some('\n') | None => {}
                Some(next) => word.get_or_insert_default().push(next),
            },
            (Some(_), _) => word.get_or_insert_default().push(char),
            (None, '"' | '\'') => {
                word.get_or_insert_default();
                quote = Some(char);
            }
            (None, '#') if word.is_none() => while chars.next_if(|next| *next != '\n').is_some() {},
            (None, ';' | '&' | '|' | '\n' | '(' | ')' | '`' | '{' | '}') => {
                // `${NAME}` is part of a word.
                if char == '{' && word.as_ref().is_some_and(|word| word.ends_with('$')) {
                    while chars.next_if(|next| *next != '}').is_some() {}
                    chars.next();
                    continue;
                }
                command.extend(word.take());
                if !command.is_empty() {
                    found.push(std::mem::take(&mut command));
                }
            }
            (None, _) if char.is_whitespace() => {
                count += usize::from(word.is_some());
                command.extend(word.take());
                if count > WORDS {
                    break;
                }
            }
            (None, _) => word.get_or_insert_default().push(char),
        }
    }
    command.extend(word);
    found.push(command);
    found
}

/// A command without what may stand before it, such as assignments; and whether sudo does.
fn stripped(words: &[String]) -> (bool, &[String]) {
    let mut is_sudo = false;
    let mut rest = words;
    while let Some((first, others)) = rest.split_first() {
        let is_assignment = first
            .split_once('=')
            .is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        if first == "sudo" || first == "/usr/bin/sudo" {
            is_sudo = true;
            // Its own options.
            rest = others;
            while let Some((option, others)) = rest.split_first()
                && option.starts_with('-')
            {
                rest = others;
            }
        } else if is_assignment || BEFORE.contains(&first.as_str()) {
            rest = others;
        } else {
            break;
        }
    }
    (is_sudo, rest)
}

/// Whether a mode lets everybody write. A folder with the sticky bit is for all by design.
pub(super) fn is_for_all(mode: &str) -> bool {
    match mode_of(mode) {
        Some(mode) => mode & 0o002 != 0 && mode & 0o1000 == 0,
        None => symbolic(mode, |who, what| who.contains(['a', 'o']) && what.contains('w')),
    }
}

/// Whether a mode makes a program run as its owner, or as its group.
fn is_setuid(mode: &str) -> bool {
    match mode_of(mode) {
        Some(mode) => mode & 0o6000 != 0,
        None => symbolic(mode, |who, what| !who.starts_with('o') && what.contains('s')),
    }
}

fn mode_of(mode: &str) -> Option<u32> {
    u32::from_str_radix(mode, 8).ok()
}

fn symbolic(mode: &str, is: impl Fn(&str, &str) -> bool) -> bool {
    mode.split(',').any(|part| part.split_once(['+', '=']).is_some_and(|(who, what)| is(who, what)))
}

/// A package without its version.
fn package(word: &str) -> &str {
    word.split(['=', '~', '>', '<', '@', ':', '/']).next().unwrap_or(word)
}

/// What a script leaves behind. `mounts`: folders that lie elsewhere while it runs.
pub(super) fn judge(script: &str, mounts: &[&str]) -> Vec<(OwnRule, String)> {
    let mut found: Vec<(OwnRule, String)> = Vec::new();
    let mut note = |rule: OwnRule, evidence: String| {
        if !found.iter().any(|(own, _)| *own == rule) {
            found.push((rule, evidence));
        }
    };
    let mut done: [Done; 4] = Default::default();
    let (mut brought, mut taken): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    // Of apk: what was installed under one name, and goes with it.
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for words in commands(script) {
        let (is_sudo, words) = stripped(&words);
        if is_sudo {
            note(OwnRule::Sudo, "it calls sudo".to_owned());
        }
        let Some((command, args)) = words.split_first() else { continue };
        let command = command.rsplit('/').next().unwrap_or(command);
        if let Some(manager) = Manager::of(command) {
            let Some(done) = done.get_mut(manager as usize) else { continue };
            let is_verb = |word: &&String| !word.starts_with('-') && !word.contains('=');
            let Some(at) = args.iter().position(|word| is_verb(&word)) else { continue };
            let (verb, packages) = (args.get(at).map_or("", String::as_str), args.get(at + 1..).unwrap_or_default());
            let named = || packages.iter().filter(|word| !word.starts_with('-')).map(|word| package(word).to_owned());
            done.is_clean |= args.iter().any(|word| word == "--no-cache");
            match verb {
                "update" | "refresh" | "ref" | "makecache" | "check-update" => done.updated = true,
                "install" | "add" | "in" | "groupinstall" | "build-dep" | "reinstall" => {
                    done.installed = true;
                    let group = packages.iter().position(|word| word == "--virtual" || word == "-t");
                    match group.and_then(|at| packages.get(at + 1)).filter(|_| manager == Manager::Apk) {
                        Some(group) => groups.push((group.clone(), named().collect())),
                        None => brought.extend(named()),
                    }
                }
                "upgrade" | "dist-upgrade" | "full-upgrade" | "up" | "dup" => done.upgraded = true,
                "remove" | "purge" | "del" | "autoremove" | "rm" | "erase" => taken.extend(named()),
                // What apt-get cleans are archives alone.
                "clean" if manager != Manager::Apt => done.is_clean = true,
                _ => {}
            }
        }
        match command {
            "rm" | "find" => {
                for manager in Manager::ALL {
                    let empties = |word: &String| manager.caches().iter().any(|cache| word.starts_with(cache));
                    if let Some(done) = done.get_mut(manager as usize) {
                        done.is_clean |= args.iter().any(empties);
                    }
                }
            }
            "chmod" => {
                if let Some(mode) = args.iter().find(|word| !word.starts_with('-')) {
                    let shown = crate::text::fit(mode, 20);
                    if is_for_all(mode) {
                        note(OwnRule::WorldWritable, format!("chmod `{shown}` lets everybody write"));
                    }
                    if is_setuid(mode) {
                        note(OwnRule::SetuidFiles, format!("chmod `{shown}` makes a program run as its owner"));
                    }
                }
            }
            _ => {}
        }
    }
    for (group, packages) in groups {
        if !taken.contains(&group) {
            brought.extend(packages);
        }
    }
    let mut tools: Vec<&str> = NETWORK_PACKAGES.into_iter().filter(|tool| brought.iter().any(|own| own == tool)).collect();
    tools.retain(|tool| !taken.iter().any(|own| own == tool));
    if !tools.is_empty() {
        note(OwnRule::NetworkTools, format!("it installs {}", tools.join(", ")));
    }
    for (manager, done) in Manager::ALL.into_iter().zip(&done) {
        let is_mounted =
            manager.caches().iter().any(|cache| mounts.iter().any(|mount| mount.trim_end_matches('/').starts_with(cache)));
        if (done.updated || done.installed) && !done.is_clean && !is_mounted {
            note(OwnRule::PackageCache, format!("what {} fetched stays in the layer", manager.name()));
        }
        if done.updated && !done.installed && !done.upgraded {
            note(OwnRule::UpdateAlone, format!("{} updates its lists and installs nothing", manager.name()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(script: &str) -> Vec<OwnRule> {
        judge(script, &[]).into_iter().map(|(rule, _)| rule).collect()
    }

    #[test]
    fn each_rule_has_a_script_that_breaks_it_and_one_that_does_not() {
        use OwnRule::{NetworkTools, PackageCache, SetuidFiles, Sudo, UpdateAlone, WorldWritable};
        for (rule, breaks, keeps) in [
            (WorldWritable, "chmod -R 777 /app", "chmod -R 755 /app"),
            (WorldWritable, "chmod a+rwx /app", "chmod u+rwx,a+rx /app"),
            (WorldWritable, "cd x; chmod 0666 y", "chmod 1777 /tmp"),
            (WorldWritable, "if true; then chmod o+w x; fi", "chmod +x x"),
            (SetuidFiles, "chmod u+s /bin/x", "chmod u-s /bin/x"),
            (SetuidFiles, "chmod 4755 /bin/x", "chmod 0755 /bin/x"),
            (Sudo, "sudo -E make", "echo sudo"),
            (Sudo, "A=b sudo make", "make # sudo"),
            (NetworkTools, "apk add --no-cache curl=8.1", "apk add --no-cache libcurl"),
            (
                NetworkTools,
                "apt-get update && apt-get -y install a wget && rm -rf /var/lib/apt/lists/*",
                "apt-get update && apt-get install -y wget && wget x && apt-get purge -y wget && rm -rf /var/lib/apt/lists/*",
            ),
            (
                NetworkTools,
                "apk add --no-cache --virtual .b curl && apk del .c",
                "apk add --no-cache --virtual .b curl && curl x && apk del .b",
            ),
            (
                PackageCache,
                "apt-get update && apt-get install -y a && apt-get clean",
                "apt-get update && apt-get install -y a && rm -rf /var/lib/apt/lists/*",
            ),
            (PackageCache, "apk add a", "apk add --no-cache a"),
            (PackageCache, "dnf install -y a", "dnf install -y a && dnf clean all"),
            (PackageCache, "zypper in a", "zypper in a && zypper clean --all"),
            (
                UpdateAlone,
                "apt-get update && rm -rf /var/lib/apt/lists/*",
                "apt-get -qq update && apt-get install a && rm -rf /var/lib/apt/lists/*",
            ),
        ] {
            assert_eq!(rules(breaks), [rule], "{breaks}");
            assert_eq!(rules(keeps), [], "{keeps}");
        }
    }

    #[test]
    fn a_cache_that_lies_elsewhere_stays_in_no_layer() {
        let script = "apt-get update && apt-get install -y a";
        assert_eq!(judge(script, &["/var/lib/apt/lists", "/var/cache/apt"]), []);
        assert_eq!(judge(script, &["/var/cache/apt"]).len(), 1);
    }

    #[test]
    fn commands_are_told_apart_and_quotes_kept_together() {
        let found = commands("a 'b; c' \"d && e\" && f|g;h\n# i\nj $(k l) ${M:-n o} \\; p");
        let found: Vec<String> = found.iter().map(|words| words.join("_")).collect();
        assert_eq!(found, ["a_b; c_d && e", "f", "g", "h", "j_$", "k_l", "$_;_p"]);
    }
}
