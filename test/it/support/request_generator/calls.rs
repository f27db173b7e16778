//! Requests of each family, with their bodies.

use serde_json::Value;

use super::Generator;
use super::words::{FORM, NAMES, ROUTES};

impl Generator {
    pub(super) fn pull(&mut self) -> Value {
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

    pub(super) fn tag(&mut self) -> Value {
        let path = format!("/images/{}/tag", self.escaped(NAMES));
        let mut pairs = vec![("repo", self.image())];
        if !self.once_in(3) {
            pairs.push(("tag", self.tag_text()));
        }
        let form = self.form("repo");
        self.with_query("POST", &path, pairs, form)
    }

    pub(super) fn rename(&mut self) -> Value {
        let path = format!("/containers/{}/rename", self.escaped(NAMES));
        let name = self.pick_odd(&["web2", "/web2", "ok.name-1", "a", "//x", "x y", "w/x", ""], 3).to_owned();
        let form = self.form("name");
        self.with_query("POST", &path, vec![("name", name)], form)
    }

    /// A query that dockerd would refuse, were it not for a Content-Type that hides the error; and one it never checks.
    pub(super) fn masked(&mut self) -> Value {
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

    pub(super) fn start(&mut self) -> Value {
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

    pub(super) fn plugin(&mut self) -> Value {
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
    pub(super) fn form(&mut self, key: &str) -> Vec<u8> {
        match self.odd(5, 2).unwrap_or(2) {
            0 => format!("{key}=evil&tag=v9").into_bytes(),
            1 if self.once_in(3) => b"{}".to_vec(),
            _ => Vec::new(),
        }
    }

    pub(super) fn create(&mut self) -> Value {
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

    pub(super) fn host_config(&mut self) -> String {
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

    pub(super) fn service(&mut self) -> Value {
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

    pub(super) fn small_body(&mut self) -> Value {
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

    pub(super) fn any_route(&mut self) -> Value {
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
}
