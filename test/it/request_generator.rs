//! Makes requests for the oracle: mostly sensible ones, each with a few things about it that a reader may stumble over. The same
//! seed makes the same requests.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A source of requests.
pub(crate) struct Generator {
    state: u64,
    /// How many odd things this request may still have about it: oddities add up, and engines refuse most of them.
    oddities: usize,
}

const HEX: &str = "b823c6da46264d7af5ef5a61afd14fe13778400b5d94efe9126c3a2ab7982e72";
const OTHER: &str = "329f9f409a390fd78efa01db698b3974b7aad636e4987c9d9ab54bfd52054e3d";

/// What stands where an image is due.
const IMAGES: &[&str] = &[
    "good",
    "evil",
    "good:v1",
    "127.0.0.1:5555/good",
    "127.0.0.1:5555/evil:latest",
    "localhost/x",
    "localhost:5000/x/y:1",
    "docker.io/good",
    "index.docker.io/good",
    "index.docker.io/library/good",
    "registry.example/team/app:1.0",
    "library/good",
    "DOCKER.IO/x",
    "Host/x",
    "HOST/x:y",
    "good:",
    "good::",
    ":",
    "a:b:c",
    "a@b",
    "a/B",
    "A",
    "[::1]:5000/x",
    "[::ffff:7f00:1]/x:1",
    "a..b",
    "a._b",
    "a__b",
    "a___b",
    "a-b",
    "a--b",
    "a-",
    "-a",
    "a.b/c",
    "a_b/c",
    "a b",
    " a",
    "a\t",
    "a\n",
    "a\0",
    "é",
    "a/é",
    "http://x/y",
    "//x",
    "/x",
    "x/",
    "x//y",
    "9",
    "b823c6da",
    "b823:latest",
    "sha256:b823",
    "sha256:v1",
    "sha512:b823",
    "scratch",
    "a:-x",
    "a:_x",
    "a:x.y-z",
    "xn--a.example/b",
    "a.example.:5/b",
    "1.2.3.4/x",
    "x.example:/y",
    "x.example:99999/y",
    "localhost",
    "localhost:5000",
    "\u{17f}",
    "\u{212a}ey",
    "docker.io",
    "docker.io/",
    "docker.io/library/a/b",
    "docker.io/a/b/c",
    "a.b",
];

/// What stands in paths as a name.
const NAMES: &[&str] = &[
    "web",
    "c1",
    "web/db",
    "a.b-c_d",
    "b823c6da46264d7af5ef5a61afd14fe13778400b5d94efe9126c3a2ab7982e72",
    "create",
    "start",
    "json",
    "v1.41",
    "x/exec/y",
    "x/checkpoints/y",
    "127.0.0.1:5555/good:latest",
    "auth",
    "..",
    ".",
    "a b",
    "a%b",
    "a?b",
    "a#b",
    "a;b",
    "é",
    "a\nb",
    "a+b",
    "127.0.0.1:5555/evil",
    "p/q:1",
    "-",
    "",
];

const VERSIONS: &[&str] = &[
    "",
    "",
    "/v1.41",
    "/v1.41",
    "/v1.41",
    "/v1.40",
    "/v1.24",
    "/v1.23",
    "/v1.12",
    "/v1.51",
    "/v1.56",
    "/v1.41.0",
    "/v01.41",
    "/v1.",
    "/v1..41",
    "/v.",
    "/v1",
    "/v9.9",
    "/V1.41",
    "/v1.41a",
    "/v",
    "/v1.41/v1.41",
];

/// Every route that does something, `N` status for a name.
const ROUTES: &[(&str, &str)] = &[
    ("POST", "/auth"),
    ("POST", "/build"),
    ("POST", "/build/cancel"),
    ("POST", "/build/prune"),
    ("POST", "/commit"),
    ("POST", "/configs/create"),
    ("POST", "/configs/N/update"),
    ("POST", "/containers/prune"),
    ("POST", "/containers/N/attach"),
    ("POST", "/containers/N/checkpoints"),
    ("POST", "/containers/N/copy"),
    ("POST", "/containers/N/kill"),
    ("POST", "/containers/N/pause"),
    ("POST", "/containers/N/resize"),
    ("POST", "/containers/N/stop"),
    ("POST", "/containers/N/unpause"),
    ("POST", "/containers/N/update"),
    ("POST", "/containers/N/wait"),
    ("POST", "/exec/N/resize"),
    ("POST", "/exec/N/start"),
    ("POST", "/grpc"),
    ("POST", "/images/load"),
    ("POST", "/images/prune"),
    ("POST", "/images/N/push"),
    ("POST", "/networks/prune"),
    ("POST", "/networks/N/connect"),
    ("POST", "/networks/N/disconnect"),
    ("POST", "/nodes/N/update"),
    ("POST", "/plugins/N/disable"),
    ("POST", "/plugins/N/enable"),
    ("POST", "/plugins/N/push"),
    ("POST", "/plugins/N/set"),
    ("POST", "/secrets/create"),
    ("POST", "/secrets/N/update"),
    ("POST", "/session"),
    ("POST", "/swarm/init"),
    ("POST", "/swarm/join"),
    ("POST", "/swarm/leave"),
    ("POST", "/swarm/unlock"),
    ("POST", "/swarm/update"),
    ("POST", "/volumes/prune"),
    ("PUT", "/containers/N/archive"),
    ("PUT", "/volumes/N"),
    ("DELETE", "/configs/N"),
    ("DELETE", "/containers/N"),
    ("DELETE", "/containers/N/checkpoints/N"),
    ("DELETE", "/images/N"),
    ("DELETE", "/networks/N"),
    ("DELETE", "/nodes/N"),
    ("DELETE", "/plugins/N"),
    ("DELETE", "/secrets/N"),
    ("DELETE", "/services/N"),
    ("DELETE", "/volumes/N"),
    ("GET", "/containers/N/attach/ws"),
    ("GET", "/containers/N/json"),
    ("HEAD", "/containers/N/archive"),
    ("OPTIONS", "/images/create"),
];

const FORM: &str = "application/x-www-form-urlencoded";

const TYPES: &[&str] = &[
    "application/json",
    "application/json; charset=utf-8",
    "APPLICATION/JSON",
    "application/json ; a=b",
    "application/json;",
    "application/json; a=b; a=c",
    "application/json, text/plain",
    "application/json/x",
    "application/vnd.docker+json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=utf-8",
    "Application/X-WWW-Form-Urlencoded",
    "application/x-www-form-urlencoded; x",
    "application/x-tar",
    "a; b",
    "; ;",
    "",
    "multipart/form-data; boundary=B",
    "\tapplication/json",
    "application/json;charset=%zz",
];

impl Generator {
    /// A source that `seed` determines.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, oddities: 0 }
    }

    /// The next random number (splitmix64).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// One time in `of`.
    fn once_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    /// One of `cases`, each one time in `of`, while the request may be odd.
    fn odd(&mut self, of: usize, cases: usize) -> Option<usize> {
        let case = self.below(of);
        if case >= cases || self.oddities == 0 {
            return None;
        }
        self.oddities -= 1;
        Some(case)
    }

    /// One of a list whose first `plain` are ordinary.
    fn pick_odd<T: Copy>(&mut self, from: &[T], plain: usize) -> T {
        match self.odd(from.len() * 2, from.len() - plain) {
            Some(case) => from[plain + case],
            None => from[self.below(plain)],
        }
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A request, and the family it belongs to.
    pub(crate) fn request(&mut self) -> (&'static str, Value) {
        self.oddities = self.pick(&[0, 0, 1, 1, 1, 2, 2, 99]);
        match self.below(16) {
            0..3 => ("pull", self.pull()),
            3..7 => ("create", self.create()),
            7 => ("service", self.service()),
            8 => ("start", self.start()),
            9 => ("tag", self.tag()),
            10 => ("plugin", self.plugin()),
            11 => ("body", self.small_body()),
            12 => ("rename", self.rename()),
            13 => ("masked", self.masked()),
            _ => ("route", self.any_route()),
        }
    }

    fn pull(&mut self) -> Value {
        let mut pairs = Vec::new();
        if !self.once_in(12) {
            pairs.push(("fromImage", self.image()));
        }
        if !self.once_in(3) {
            pairs.push(("tag", self.tag_text()));
        }
        for (key, values) in [
            ("fromSrc", &["-", "http://x/y.tar", ""][..]),
            ("repo", &["good", "evil:1"]),
            ("platform", &["linux/amd64", ""]),
            ("message", &["&fromImage=good", "x"]),
            ("fromimage", &["good"]),
            ("x", &["%26fromImage%3Dgood", "#"]),
        ] {
            if self.once_in(8) {
                pairs.push((key, self.pick(values).to_owned()));
            }
        }
        let form = self.form("fromImage");
        self.with_query("POST", "/images/create", pairs, form)
    }

    fn tag(&mut self) -> Value {
        let path = format!("/images/{}/tag", self.escaped(NAMES));
        let mut pairs = vec![("repo", self.image())];
        if !self.once_in(3) {
            pairs.push(("tag", self.tag_text()));
        }
        let form = self.form("repo");
        self.with_query("POST", &path, pairs, form)
    }

    fn rename(&mut self) -> Value {
        let path = format!("/containers/{}/rename", self.escaped(NAMES));
        let name = self.pick_odd(&["web2", "/web2", "ok.name-1", "a", "//x", "x y", "w/x", ""], 3).to_owned();
        let form = self.form("name");
        self.with_query("POST", &path, vec![("name", name)], form)
    }

    /// A query that dockerd would refuse, were it not for a Content-Type that hides the error; and one it never checks.
    fn masked(&mut self) -> Value {
        let (path, key, values) = match self.below(4) {
            0 => ("/images/create", "fromImage", ["good:v1", "evil:v1"]),
            1 => ("/images/x/tag", "repo", ["good", "evil"]),
            2 => ("/containers/x/rename", "name", ["good", "evil"]),
            _ => ("/services/s/update", "rollback", ["none", "previous"]),
        };
        let first = self.pick(&values);
        let bad = self.pick(&["K=V;", "K=V;x", "x;K=V", "K=V%zz", "%zz=1&K=V", "K%=V", "K=V", "K=V&x=%f", "K;=V", "x=%&K=V"]);
        let bad = bad.replace('K', key).replace('V', first);
        let second = if self.once_in(4) { String::new() } else { format!("&{key}={}", self.pick(&values)) };
        let version = self.pick(&["/v1.41", "", "/v1.23"]);
        let target = format!("{version}{path}?version=26&{bad}{second}&tag=v2");
        let kind = self.pick(&["a; b", "; ;", "x; y", "application/json; =", "application/json", "text/plain", FORM]);
        let body = if key == "rollback" { b"{}".to_vec() } else { Vec::new() };
        self.whole("POST", &target, &[("Content-Type", kind)], body)
    }

    fn start(&mut self) -> Value {
        let verb = self.pick(&["start", "start", "restart"]);
        let version = self.pick(&["", "", "/v1.23", "/v1.20"]);
        let path = format!("{version}/containers/{}/{verb}", self.escaped(NAMES));
        let mut pairs = Vec::new();
        for (key, values) in
            [("checkpoint", &["", "c"][..]), ("checkpoint-dir", &["/x", ""]), ("detachKeys", &["a"]), ("t", &["0"])]
        {
            if self.once_in(6) {
                pairs.push((key, self.pick(values).to_owned()));
            }
        }
        let body = match self.odd(6, 3).unwrap_or(3) {
            0 => br#"{"Binds": ["/:/host"]}"#.to_vec(),
            1 => b"{}".to_vec(),
            2 => b"checkpoint=c&checkpoint-dir=/x".to_vec(),
            _ => Vec::new(),
        };
        self.with_query("POST", &path, pairs, body)
    }

    fn plugin(&mut self) -> Value {
        let (path, mut pairs) = match self.below(4) {
            0 | 1 => ("/plugins/pull".to_owned(), vec![("remote", self.image())]),
            2 => (format!("/plugins/{}/upgrade", self.escaped(NAMES)), vec![("remote", self.image())]),
            _ => ("/plugins/create".to_owned(), Vec::new()),
        };
        if self.once_in(2) {
            pairs.push(("name", self.image()));
        }
        let body = match self.odd(4, 1).unwrap_or(1) {
            0 => b"remote=evil&name=evil".to_vec(),
            _ => b"[]".to_vec(),
        };
        self.with_query("POST", &path, pairs, body)
    }

    /// A form that may stand above the query, or nothing.
    fn form(&mut self, key: &str) -> Vec<u8> {
        match self.odd(5, 2).unwrap_or(2) {
            0 => format!("{key}=evil&tag=v9").into_bytes(),
            1 if self.once_in(3) => b"{}".to_vec(),
            _ => Vec::new(),
        }
    }

    fn create(&mut self) -> Value {
        let mut pairs = Vec::new();
        if self.once_in(2) {
            pairs.push(("name", self.pick_odd(&["web", "/web", "/auth", "a", "x/y", "web 2", ""], 3).to_owned()));
        }
        if self.once_in(8) {
            pairs.push(("platform", "linux/amd64".to_owned()));
        }
        let mut members = Vec::new();
        if !self.once_in(10) {
            let image = self.image();
            members.push(("Image", self.text(&image)));
        }
        let host = self.host_config();
        if !self.once_in(6) {
            members.push(("HostConfig", host));
        } else if self.once_in(2) {
            members.push(("Privileged", "true".to_owned()));
        } else {
            members.push(("Binds", r#"["/:/h"]"#.to_owned()));
        }
        if self.once_in(10) {
            members.push(("VolumeDriver", "\"sshfs\"".to_owned()));
        }
        for (name, value) in [("Cmd", r#"["x"]"#), ("Labels", r#"{"a":"b","a":"c"}"#), ("X", "123456789012345678901234567890")] {
            if self.once_in(4) {
                members.push((name, value.to_owned()));
            }
        }
        let body = self.object(members);
        let body = self.spoiled(body);
        self.json("/containers/create", pairs, body)
    }

    fn host_config(&mut self) -> String {
        let mut members = vec![(
            "NetworkMode",
            self.pick(&["\"none\"", "\"host\"", "\"container:x\"", "\"default\"", "\"\"", "null"]).to_owned(),
        )];
        let choices: &[(&str, &[&str])] = &[
            ("Privileged", &["true", "false", "null", "\"true\"", "1"]),
            (
                "Binds",
                &[
                    r#"["/:/h"]"#,
                    r#"["vol:/x"]"#,
                    r#"["/a/../etc:/h:ro","v:/y"]"#,
                    "[]",
                    "null",
                    r#""/:/h""#,
                    "[null]",
                    "[1]",
                    r#"["/x"]"#,
                    r#"["../x:/y"]"#,
                    r#"["/./a//b/:/h"]"#,
                    r#"["/..:/h"]"#,
                    r#"["\u002f:/h"]"#,
                ],
            ),
            (
                "Mounts",
                &[
                    r#"[{"Type":"bind","Source":"/","Target":"/h"}]"#,
                    r#"[{"Type":"bind","Source":"/a/./../b","Target":"/h"}]"#,
                    r#"[{"type":"volume","Source":"v","VolumeOptions":{"DriverConfig":{"Options":{"device":"/"}}}}]"#,
                    r#"[{"Type":"volume","VolumeOptions":{"DriverConfig":{"Name":"x"}}}]"#,
                    r#"[{"Type":"image","Source":"evil","Target":"/i"}]"#,
                    r#"[{"Type":"image","Source":"sha256:b823","Target":"/i"},{"Type":"bind","Source":"/x"}]"#,
                    r#"[{"Type":"tmpfs","Target":"/t"}]"#,
                    r#"[{"Type":"bind","Type":"volume","Source":"/"}]"#,
                    "[]",
                    "null",
                    "{}",
                    "[null]",
                ],
            ),
            ("VolumesFrom", &[r#"["web"]"#, "[]", "null"]),
            ("VolumeDriver", &["\"local\"", "\"x\"", "\"\""]),
            ("Devices", &[r#"[{"PathOnHost":"/dev/sda"}]"#, "[]", "null", "[{}]"]),
            ("DeviceRequests", &[r#"[{"Driver":"nvidia"}]"#, "null", "[{}]"]),
            ("DeviceCgroupRules", &[r#"["a *:* rwm"]"#, "[]"]),
            ("CapAdd", &[r#"["SYS_ADMIN"]"#, "\"ALL\"", "[]", "null", "1"]),
            (
                "SecurityOpt",
                &[
                    r#"["seccomp=unconfined"]"#,
                    r#"["no-new-privileges"]"#,
                    r#"["no-new-privileges:true"]"#,
                    r#"["label:disable"]"#,
                ],
            ),
            ("PidMode", &["\"host\"", "\"\"", "\"container:x\""]),
            ("IpcMode", &["\"host\"", "\"private\"", "\"shareable\""]),
            ("UTSMode", &["\"host\"", "\"\""]),
            ("UsernsMode", &["\"host\"", "\"\""]),
            ("CgroupnsMode", &["\"host\"", "\"private\""]),
            ("Cgroup", &["\"container:x\"", "\"\""]),
            ("Runtime", &["\"other\"", "\"\"", "null"]),
            ("CgroupParent", &["\"/x\"", "\"\""]),
            ("Sysctls", &[r#"{"a":"b"}"#, "{}", "null", r#"{"a":1}"#]),
            ("Annotations", &[r#"{"a":"b"}"#, "{}"]),
            ("MaskedPaths", &["[]", "null", r#"["/x"]"#]),
            ("ReadonlyPaths", &["[]", "null"]),
            ("Memory", &["0", "1e3", "\"x\""]),
            ("RestartPolicy", &[r#"{"Name":"always"}"#, "null"]),
        ];
        for (name, values) in choices {
            if self.once_in(9) {
                members.push((name, self.pick(values).to_owned()));
            }
        }
        if self.once_in(20) {
            return "null".to_owned();
        }
        self.object(members)
    }

    fn service(&mut self) -> Value {
        let image = self.image();
        let mut container = vec![("Image", self.text(&image))];
        let choices: &[(&str, &[&str])] = &[
            ("Mounts", &[r#"[{"Type":"bind","Source":"/"}]"#, r#"[{"Type":"image","Source":"evil"}]"#, "[]"]),
            ("CapabilityAdd", &[r#"["ALL"]"#, "null"]),
            ("Privileges", &[r#"{"Seccomp":{"Mode":"unconfined"}}"#, r#"{"AppArmor":null}"#, r#"{"NoNewPrivileges":true}"#]),
            ("Sysctls", &[r#"{"a":"b"}"#]),
        ];
        for (name, values) in choices {
            if self.once_in(5) {
                container.push((name, self.pick(values).to_owned()));
            }
        }
        let mut task = Vec::new();
        if !self.once_in(8) {
            task.push(("ContainerSpec", self.object(container)));
        }
        let choices: &[(&str, &[&str])] = &[
            ("Runtime", &["\"container\"", "\"plugin\"", "\"attachment\"", "\"\""]),
            ("PluginSpec", &[r#"{"Remote":"evil"}"#, r#"{"remote":"evil"}"#, "null"]),
            ("Networks", &[r#"[{"Target":"host"}]"#, "[]"]),
        ];
        for (name, values) in choices {
            if self.once_in(5) {
                task.push((name, self.pick(values).to_owned()));
            }
        }
        let task = self.object(task);
        let body = self.object(vec![("Name", "\"s\"".to_owned()), ("TaskTemplate", task)]);
        let body = self.spoiled(body);
        if self.once_in(2) {
            return self.json("/services/create", Vec::new(), body);
        }
        let path = format!("/services/{}/update", self.escaped(NAMES));
        let mut pairs = vec![("version", "26".to_owned())];
        if self.once_in(2) {
            pairs.push(("rollback", self.pick(&["previous", "none", "", "x"]).to_owned()));
        }
        self.json(&path, pairs, body)
    }

    fn small_body(&mut self) -> Value {
        let exec = format!("/containers/{}/exec", self.escaped(NAMES));
        let (path, choices): (&str, &[(&str, &[&str])]) = match self.below(3) {
            0 => (
                "/volumes/create",
                &[
                    ("Driver", &["\"local\"", "\"x\"", "\"\"", "null"]),
                    ("DriverOpts", &[r#"{"type":"none","o":"bind","device":"/"}"#, "{}", "null", r#"{"o":null}"#]),
                    ("ClusterVolumeSpec", &["{}", "null"]),
                ],
            ),
            1 => (
                "/networks/create",
                &[
                    ("Driver", &["\"bridge\"", "\"weave\"", "\"overlay\"", "null"]),
                    (
                        "IPAM",
                        &[
                            r#"{"Driver":"default"}"#,
                            r#"{"driver":"x"}"#,
                            "null",
                            "{}",
                            r#"{"Config":[{"Subnet":"10.1.0.0/16"}]}"#,
                            r#"{"config":[{"subnet":"0.0.0.0/1"},{"Subnet":"fd00::/64"}]}"#,
                            r#"{"Config":[{"Subnet":"172.16.0.0/11","IPRange":"172.16.0.0/12"}]}"#,
                        ],
                    ),
                    (
                        "Options",
                        &[r#"{"parent":"eth0"}"#, r#"{"com.docker.network.bridge.name":"br0"}"#, r#"{"a":"b"}"#, "null", "{}"],
                    ),
                ],
            ),
            _ => (&exec, &[("Privileged", &["true", "false", "null", "\"true\"", "0"]), ("Cmd", &[r#"["x"]"#])]),
        };
        let mut members = Vec::new();
        for (name, values) in choices {
            if !self.once_in(3) {
                members.push((*name, self.pick(values).to_owned()));
            }
        }
        let body = self.object(members);
        let body = self.spoiled(body);
        self.json(path, Vec::new(), body)
    }

    fn any_route(&mut self) -> Value {
        if self.once_in(2) {
            let (method, template) = self.pick(ROUTES);
            let mut path = String::new();
            for (index, part) in template.split('N').enumerate() {
                if index > 0 {
                    path += &self.escaped(NAMES);
                }
                path += part;
            }
            let body = if self.once_in(3) { b"{}".to_vec() } else { Vec::new() };
            return self.with_query(method, &path, Vec::new(), body);
        }
        let method = self.pick(&["POST", "POST", "POST", "DELETE", "PUT", "GET", "HEAD", "OPTIONS", "PATCH", "post"]);
        let head = self.pick(&[
            "containers",
            "images",
            "networks",
            "volumes",
            "exec",
            "swarm",
            "services",
            "nodes",
            "secrets",
            "configs",
            "plugins",
            "build",
            "tasks",
            "distribution",
            "Containers",
        ]);
        let name = self.escaped(NAMES);
        let verb = self.pick(&[
            "start",
            "restart",
            "stop",
            "kill",
            "pause",
            "unpause",
            "wait",
            "resize",
            "attach",
            "attach/ws",
            "exec",
            "rename",
            "update",
            "copy",
            "checkpoints",
            "checkpoints/x",
            "archive",
            "json",
            "export",
            "push",
            "tag",
            "create",
            "load",
            "prune",
            "connect",
            "disconnect",
            "init",
            "join",
            "leave",
            "unlock",
            "enable",
            "disable",
            "set",
            "upgrade",
            "pull",
            "cancel",
            "",
        ]);
        let path = match self.below(4) {
            0 => format!("/{head}/{verb}"),
            1 => format!("/{head}/{name}"),
            2 => self
                .pick(&[
                    "/auth",
                    "/build",
                    "/commit",
                    "/session",
                    "/grpc",
                    "/_ping",
                    "/info",
                    "/version",
                    "/",
                    "/auth/x",
                    "/debug/vars",
                ])
                .to_owned(),
            _ => format!("/{head}/{name}/{verb}"),
        };
        let query = self.pick(&[Vec::new(), vec![("force", "1".to_owned())], vec![("path", "/".to_owned())]].each_ref()).clone();
        let body = if self.once_in(3) { b"{}".to_vec() } else { Vec::new() };
        self.with_query(method, &path, query, body)
    }

    /// An image's name: one of the list, or with a tag or a digest.
    fn image(&mut self) -> String {
        let image = self.pick_odd(IMAGES, 12);
        match self.odd(12, 8).unwrap_or(8) {
            0 => format!("{image}@sha256:{HEX}"),
            1 => format!("{image}:v1@sha256:{OTHER}"),
            2 => format!("{image}:{}", self.pick(&["v1", "latest", "", "-", "V_1", "é"])),
            3 => self.pick(&[HEX, OTHER]).to_owned(),
            4 => format!("sha256:{}", self.digits(65)),
            5 => self.digits(65),
            6 => {
                let length = 120 + self.below(150);
                format!("{image}{}", "a".repeat(length))
            }
            7 => {
                let letter = self.pick(&['/', ':', '@', '.', '-', '_', 'a', 'A', '0', '[', ']', ' ', '%']);
                let mut text: Vec<char> = image.chars().collect();
                let at = self.below(text.len() + 1);
                text.insert(at, letter);
                text.into_iter().collect()
            }
            _ => image.to_owned(),
        }
    }

    /// Fewer than `bound` hex digits of an id.
    fn digits(&mut self, bound: usize) -> String {
        HEX.chars().take(self.below(bound)).collect()
    }

    fn tag_text(&mut self) -> String {
        if self.once_in(8) {
            return format!("sha256:{HEX}");
        }
        match self.odd(10, 6).unwrap_or(6) {
            0 => format!("sha256:{OTHER}"),
            1 => format!("SHA256:{HEX}"),
            2 => format!("sha512:{HEX}{OTHER}"),
            3 => format!("sha256:{}", self.digits(64)),
            4 => self
                .pick(&["", " latest", "latest ", "latest\0", "-x", "a/b", "a:b", "a@b", "é", "latest#", "latest;x"])
                .to_owned(),
            5 => "t".repeat(127 + self.below(3)),
            _ => self.pick(&["latest", "v1", "evil", "1.0"]).to_owned(),
        }
    }

    /// A JSON string, in one of its spellings.
    fn text(&mut self, text: &str) -> String {
        if self.once_in(8) {
            let mut spelt = String::from("\"");
            for unit in text.encode_utf16() {
                let _ = write!(spelt, "\\u{unit:04x}");
            }
            return spelt + "\"";
        }
        serde_json::to_string(text).unwrap()
    }

    /// An object of these members, in any order, some of them in odd spellings, twice, or as null.
    fn object(&mut self, members: Vec<(&str, String)>) -> String {
        let mut written: Vec<String> = Vec::new();
        for (name, value) in members {
            if self.odd(40, 1).is_some() {
                let other = self.pick(&["null", "\"evil\"", "{}", "[]", "false", "true", "\"\""]);
                let name = self.member(name);
                let at = self.below(written.len() + 1);
                written.insert(at, format!("{name}:{other}"));
            }
            let name = self.member(name);
            let at = self.below(written.len() + 1);
            written.insert(at, format!("{name}:{value}"));
        }
        format!("{{{}}}", written.join(if self.once_in(10) { " ,\n" } else { "," }))
    }

    /// A member's name, in a spelling that Go may or may not take for it.
    fn member(&mut self, name: &str) -> String {
        let odd: String = match self.odd(30, 7).unwrap_or(7) {
            0 => name.to_lowercase(),
            1 => name.to_uppercase(),
            2 => name.replace('s', "\u{17f}"),
            3 => name.replace(['k', 'K'], "\u{212a}"),
            4 => name.replace('I', "\u{131}").replace('i', "\u{130}"),
            5 => format!("{name} "),
            6 => return self.text_escaped(name),
            _ => name.to_owned(),
        };
        serde_json::to_string(&odd).unwrap()
    }

    fn text_escaped(&mut self, name: &str) -> String {
        let at = self.below(name.len());
        let spelt = name
            .char_indices()
            .map(|(index, letter)| if index == at { format!("\\u{:04x}", u32::from(letter)) } else { letter.to_string() });
        format!("\"{}\"", spelt.collect::<String>())
    }

    /// Bytes of a body, now and then with something wrong about them.
    fn spoiled(&mut self, body: String) -> Vec<u8> {
        let mut bytes = body.into_bytes();
        // 20.10 shows no body of a mebibyte, newer engines refuse one of four.
        if self.once_in(800) {
            let pad = if self.once_in(3) { 4 << 20 } else { 1 << 20 };
            bytes.splice(1..1, std::iter::repeat_n(b' ', pad)).for_each(drop);
        }
        match self.odd(60, 17).unwrap_or(17) {
            0 => bytes.extend_from_slice(b"{\"Image\":\"good\"}"),
            1 => bytes.extend_from_slice(b"xyz"),
            2 => bytes.push(0),
            3 => bytes.push(b'}'),
            4 => bytes.push(b']'),
            5 => bytes.extend_from_slice(b" \r\n"),
            6 => bytes.splice(0..0, *b"\xef\xbb\xbf").for_each(drop),
            7 => bytes.splice(0..0, *b" \t\n").for_each(drop),
            8 => bytes.truncate(bytes.len() / 2),
            9 => bytes = b"null".to_vec(),
            10 => bytes = b"[]".to_vec(),
            11 => bytes.clear(),
            12 => {
                let at = self.below(bytes.len());
                bytes[at] = u8::try_from(self.below(256)).unwrap();
            }
            13 => {
                let at = self.below(bytes.len());
                bytes.remove(at);
            }
            14 => bytes.splice(1..1, *b"\"X\":\"\xff\",").for_each(drop),
            15 => bytes.splice(1..1, *b"\"X\":\"\\ud800\",").for_each(drop),
            16 => {
                let deep = format!("\"X\":{}{},", "[".repeat(300), "]".repeat(300));
                bytes.splice(1..1, deep.into_bytes()).for_each(drop);
            }
            _ => {}
        }
        bytes
    }

    /// One of the names, percent-encoded where it must be and here and there where it need not be.
    fn escaped(&mut self, names: &[&str]) -> String {
        let name = self.pick_odd(names, 13);
        let mut path = String::new();
        let raw = self.once_in(8);
        for letter in name.chars() {
            let plain = letter.is_ascii_alphanumeric() || "/._-:+;".contains(letter) || (raw && !letter.is_ascii());
            if plain && !self.once_in(40) {
                path.push(letter);
            } else {
                for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(path, "%{byte:02x}");
                }
            }
        }
        path
    }

    fn json(&mut self, path: &str, pairs: Vec<(&str, String)>, body: Vec<u8>) -> Value {
        let mut headers = Vec::new();
        match self.odd(12, 3).unwrap_or(3) {
            0 => {}
            1 => headers.push(("Content-Type", self.pick(TYPES))),
            2 => headers.extend([("Content-Type", "application/json"), ("Content-Type", self.pick(TYPES))]),
            _ => headers.push(("Content-Type", "application/json")),
        }
        let target = self.target(path, pairs);
        self.whole("POST", &target, &headers, body)
    }

    fn with_query(&mut self, method: &str, path: &str, pairs: Vec<(&str, String)>, body: Vec<u8>) -> Value {
        let mut headers = Vec::new();
        if !body.is_empty() && self.once_in(2) {
            headers.push(("Content-Type", if body.starts_with(b"{") || body == b"[]" { TYPES[0] } else { FORM }));
        }
        match self.odd(12, 4).unwrap_or(4) {
            0..3 => headers.insert(0, ("Content-Type", self.pick(TYPES))),
            3 => headers.extend([("Content-Type", self.pick(TYPES)), ("Content-Type", self.pick(TYPES))]),
            _ => {}
        }
        let target = self.target(path, pairs);
        self.whole(method, &target, &headers, body)
    }

    /// The request target: version, path and query, in odd spellings now and then.
    fn target(&mut self, path: &str, mut pairs: Vec<(&str, String)>) -> String {
        let mut target = if path.starts_with("/v1.") { String::new() } else { self.pick_odd(VERSIONS, 5).to_owned() } + path;
        if self.once_in(12) {
            let letters: Vec<(usize, char)> =
                target.char_indices().filter(|(_, letter)| letter.is_ascii_alphanumeric() || *letter == '/').collect();
            if let Some((at, letter)) = letters.get(self.below(letters.len().max(1))).copied() {
                // Not inside an escape that is there already.
                let before = &target.as_bytes()[..at];
                if !before.iter().rev().take(2).any(|byte| *byte == b'%') {
                    target.replace_range(at..=at, &format!("%{:02x}", u32::from(letter)));
                }
            }
        }
        match self.odd(60, 12).unwrap_or(12) {
            0 => target.push('/'),
            1 => target.push_str("%00"),
            2 => target.insert(0, '/'),
            3 => target.insert_str(0, "/."),
            4 => target.insert_str(0, "/x/.."),
            5 => target.insert_str(0, "http://docker"),
            6 => target.insert_str(0, "http://"),
            7 => target.insert_str(0, "unix:"),
            8 => target.insert_str(0, "HTTPS://u@h:1"),
            9 => target.push_str("%zz"),
            10 => target.push(';'),
            11 => target.push('#'),
            _ => {}
        }
        if !pairs.is_empty() && self.odd(10, 1).is_some() {
            let (key, value) = pairs[self.below(pairs.len())].clone();
            let value = if self.once_in(2) { value } else { self.pick(&["", "evil", "good", "previous"]).to_owned() };
            let at = self.below(pairs.len() + 1);
            pairs.insert(at, (key, value));
        }
        let mut written: Vec<String> = Vec::new();
        for (key, value) in pairs {
            let mut pair = self.coded(key) + "=" + &self.coded(&value);
            match self.odd(80, 10).unwrap_or(10) {
                0 => pair.push(';'),
                1 => pair.insert_str(0, "x;"),
                2 => pair.push_str("%zz"),
                3 => pair.insert(0, '+'),
                4 => pair.insert_str(0, "amp;"),
                5 => pair.push_str(";x=y"),
                6 => pair.push('#'),
                7 => pair.insert(0, '?'),
                8 => pair = pair.replace('=', "[]="),
                9 => pair.push('&'),
                _ => {}
            }
            let at = self.below(written.len() + 1);
            written.insert(at, pair);
        }
        if !written.is_empty() || self.once_in(10) {
            target.push('?');
            target.push_str(&written.join("&"));
        }
        match self.odd(60, 3).unwrap_or(3) {
            0 => target.push_str("#frag"),
            1 => target.push_str("&x=#%zz"),
            2 => target.push_str("#/auth"),
            _ => {}
        }
        target
    }

    /// A part of a query, escaped more or less as needed.
    fn coded(&mut self, text: &str) -> String {
        let twice = self.odd(60, 1).is_some();
        let mut coded = String::new();
        for byte in text.bytes() {
            let plain = byte.is_ascii_alphanumeric() || b"/._-:@?".contains(&byte);
            if byte == b' ' {
                coded.push('+');
            } else if plain && !self.once_in(40) {
                coded.push(char::from(byte));
            } else {
                let _ = write!(coded, "{}{byte:02x}", if twice { "%25" } else { "%" });
            }
        }
        coded
    }

    fn whole(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Value {
        let mut headers: Vec<[String; 2]> =
            headers.iter().map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]).collect();
        let http2 = self.once_in(6);
        if http2 {
            for header in &mut headers {
                *header = [header[0].clone(), header[1].trim().to_owned()];
            }
            // A header that the gate takes for a proof of HTTP/1: Go's server must ask nobody about such a call.
            if self.once_in(8) {
                headers
                    .push([self.pick(&["Connection", "Keep-Alive", "Proxy-Connection", "Upgrade"]).to_owned(), "x".to_owned()]);
            }
            if !self.once_in(3) {
                headers.push(["Content-Length".to_owned(), body.len().to_string()]);
                let form = headers.iter().any(|[name, value]| name == "Content-Type" && value.starts_with(FORM));
                if form || self.odd(4, 1).is_some() {
                    headers.push(["Content-Length".to_owned(), self.pick(&["0", "1", "29"]).to_owned()]);
                }
            }
        }
        let chunked = !http2 && self.once_in(10);
        if !http2 && !chunked && body.is_empty() && self.once_in(6) {
            headers.push(["Content-Length".to_owned(), self.pick(&["0", "00"]).to_owned()]);
        }
        json!({
            "method": method, "target": target, "headers": headers, "body": STANDARD.encode(body), "chunked": chunked, "http2": http2,
        })
    }
}
