//! The variables that say what the gate does: the one list of them, with what the README's table says of each.

/// A variable of the gate's environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it says, in Markdown.
    pub meaning: &'static str,
    /// What holds where it is unset, in Markdown.
    pub default: &'static str,
}

/// The names of all, in the order of the documentation.
#[expect(clippy::indexing_slicing, reason = "worked out by the compiler, which would say so")]
pub const VARIABLES: [&str; TABLE.len()] = {
    let mut names = [""; TABLE.len()];
    let mut at = 0;
    while at < TABLE.len() {
        names[at] = TABLE[at].name;
        at += 1;
    }
    names
};

/// Every variable the gate reads, in that order.
pub const TABLE: [Variable; 33] = [
    Variable {
        name: "REGISTRY",
        meaning: "registries allowed, `host[:port]`, separated by commas or spaces. Exact: no wildcards",
        default: "`docker.io`",
    },
    Variable {
        name: "NOTARY",
        meaning: "the Notary server, `https://host:port` (scheme optional); `import`: trust data [comes by bundle](#without-a-way-to-notary); or `off`",
        default: "`https://notary.docker.io`",
    },
    Variable {
        name: "NOTARY_ROOT_CA",
        meaning: "PEM of the CA of the Notary server's TLS certificate: the text itself, not a path",
        default: "the system's CAs (the managed plugin brings its own bundle)",
    },
    Variable { name: "NOTARY_PINS", meaning: "notary's `trust_pinning` block, JSON", default: "trust on first use, recorded" },
    Variable {
        name: "NOTARY_SIGNERS",
        meaning: "[signers that must agree](#signers-that-must-agree) on an image, by repository: `registry.example/team/*=release-team,qa`",
        default: "none: whoever the repository lets sign",
    },
    Variable {
        name: "FRESHNESS",
        meaning: "seconds that a verified answer of Notary is used again; `0` asks every time",
        default: "`30`",
    },
    Variable {
        name: "ON_OUTAGE",
        meaning: "while Notary is out of reach, verified images that are on the host: `run`, or `deny`. Pulls are refused either way",
        default: "`run`",
    },
    Variable { name: "STALE_LIMIT", meaning: "hours that they run on what was verified before", default: "`24`" },
    Variable {
        name: "ALLOWLIST",
        meaning: "`off`, or a path: its digests are required *besides* Notary",
        default: "`allowlist.json` in `CONFIG_DIR` if it exists, else `off`",
    },
    Variable {
        name: "ALLOWLIST_KEY",
        meaning: "public key (Ed25519, PEM or base64) that must have [signed the allowlist](docs/settings.md#allowlist_key)",
        default: "none: nobody must",
    },
    Variable { name: "MODE", meaning: "`enforce`, or `permissive`: decide and record, but let pass", default: "`enforce`" },
    Variable {
        name: "AUDIT",
        meaning: "while the audit log cannot be written: `go-on`, or `require`: refuse what touches an image",
        default: "`go-on`",
    },
    Variable {
        name: "AUDIT_ROTATE",
        meaning: "hours after which a file of the audit log is rotated though it is not full; `0`: by size alone",
        default: "`0`",
    },
    Variable {
        name: "AUDIT_SINKS",
        meaning: "where entries of the audit log go besides its file: `stdout`, `syslog`, `journald`, `otlp=https://HOST:4318`; see [sinks](docs/audit-log.md#sinks)",
        default: "none",
    },
    Variable { name: "AUDIT_FORMAT", meaning: "how they are written there: `json`, `ecs` or `ocsf`", default: "`json`" },
    Variable {
        name: "TELEMETRY",
        meaning: "where figures and spans of decisions are pushed, by OTLP: `metrics=https://HOST:4318`, `traces=https://HOST:4318`; see [telemetry](docs/settings.md#telemetry)",
        default: "none",
    },
    Variable {
        name: "ALERTS",
        meaning: "`off`, or the absolute path of a file with [webhooks](docs/audit-log.md#alerts) that are alerted",
        default: "`alerts.toml` in `CONFIG_DIR` if it exists, else `off`",
    },
    Variable { name: "POSTURE", meaning: "`images`, or `lockdown`: see [postures](#postures)", default: "`images`" },
    Variable {
        name: "ALLOW_HOST_ACCESS",
        meaning: "ways to the host that `lockdown` lets pass, such as `bind=/srv/app,capability=NET_BIND_SERVICE`",
        default: "none",
    },
    Variable { name: "BUILD", meaning: "`deny`, or `allow` builds, whose base images no plugin is shown", default: "`deny`" },
    Variable {
        name: "ALLOW_PLUGINS",
        meaning: "plugins that may be enabled, `NAME@sha256:DIGEST`, as `img-authz plugin digest NAME` prints them",
        default: "none",
    },
    Variable {
        name: "HTTP2",
        meaning: "`closed`: no call reaches the engine over cleartext HTTP/2 (from 29.2 on). Believed while its socket [agrees](docs/settings.md#http2)",
        default: "`open`",
    },
    Variable {
        name: "MONITOR",
        meaning: "containers that run and would be refused now: `off`, `report`, `stop`, or `remove` (stop and remove): see [monitor](docs/monitor.md)",
        default: "`report`",
    },
    Variable {
        name: "MONITOR_PAUSE",
        meaning: "minutes after a change of policy or trust in which the monitor only reports",
        default: "`10`",
    },
    Variable {
        name: "WEB",
        meaning: "where [the page](docs/status.md#the-page) is served, on this host alone: `127.0.0.1:PORT`, `unix:PATH`, or `off`",
        default: "`off`",
    },
    Variable {
        name: "POLICY",
        meaning: "path of a [policy file](docs/policy.md), which then takes the place of the variables above except `AUDIT`, `AUDIT_ROTATE`, `AUDIT_SINKS`, `AUDIT_FORMAT`, `TELEMETRY`, `ALERTS`, `HTTP2`, `MONITOR`, `MONITOR_PAUSE` and `WEB`",
        default: "`policy.toml` in `CONFIG_DIR` if it exists, else none",
    },
    Variable {
        name: "DOCKER_HOST",
        meaning: "the engine's socket, `unix://…` only",
        default: "plugin: `unix:///host-run/docker.sock`",
    },
    Variable {
        name: "DOCKER_CONFIG",
        meaning: "folder of docker's `config.json`, for credentials of registries and Notary",
        default: "`CONFIG_DIR`",
    },
    Variable {
        name: "HTTPS_PROXY",
        meaning: "proxy for Notary, token services and registries, `http://host:port`",
        default: "none",
    },
    Variable {
        name: "NO_PROXY",
        meaning: "hosts, domains and networks that are asked without the proxy, separated by commas",
        default: "none",
    },
    Variable { name: "LOG", meaning: "log filter: `error`, `warn`, `info`, `debug`, `trace`", default: "`info`" },
    Variable { name: "STATE_DIR", meaning: "trust data, records of approvals, audit log", default: "plugin: `/state`" },
    Variable { name: "CONFIG_DIR", meaning: "folder of the operator's files", default: "plugin: `/config/img-authz`" },
];
