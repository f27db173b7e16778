//! Each rule with a call that keeps it and one that does not, as clients send them: containers, services, updates, execs, volumes.

use std::collections::BTreeMap;

use super::*;
use crate::policy::{PolicyFile, Posture};
use crate::wire::Call;

const CREATE: &str = "/v1.41/containers/create";
const SERVICE: &str = "/v1.44/services/create";
const UPDATE: &str = "/v1.41/containers/web/update";
const EXEC: &str = "/v1.41/containers/web/exec";
const VOLUME: &str = "/v1.41/volumes/create";

/// A policy of one scope with these rules.
fn policy(rules: &str) -> Policy {
    let text = format!(
        "version = 1\n[verifiers.r]\ntype = \"registry\"\n[[scope]]\nmatch = \"r.example/**\"\nrequire = \"r\"\n[scope.rules]\n{rules}\n"
    );
    PolicyFile(vec![("p.toml".into(), text)]).read(Policy::closed(Posture::Images)).resolved.unwrap().policy
}

fn intent(uri: &str, body: &str) -> Intent {
    Intent::of(&Call {
        user: String::new(),
        user_authn_method: String::new(),
        method: "POST".into(),
        uri: uri.into(),
        headers: BTreeMap::from([
            ("Content-Length".to_owned(), body.len().to_string()),
            ("Content-Type".to_owned(), "application/json".to_owned()),
        ]),
        body: Some(body.as_bytes().to_vec()),
        outcome: None,
        certificate: None,
    })
}

/// What a call does not keep of these rules.
fn says(rules: &str, uri: &str, body: &str) -> Vec<String> {
    let policy = policy(rules);
    let intent = intent(uri, body);
    let run = intent.run().unwrap_or_else(|| panic!("{uri} {body}: {intent:?}"));
    let scope = policy.scopes.iter().next().unwrap();
    found(&policy, &Request::by_gate(&intent), &run, scope).iter().map(ToString::to_string).collect()
}

/// A container with this `HostConfig`.
fn host(config: &str) -> String {
    format!(r#"{{"Image":"r.example/a","HostConfig":{config}}}"#)
}

/// A service with these members of its container's specification.
fn service(container: &str) -> String {
    format!(r#"{{"TaskTemplate":{{"ContainerSpec":{{"Image":"r.example/a"{container}}}}}}}"#)
}

/// A service with these members of its task template.
fn task(task: &str) -> String {
    format!(r#"{{"TaskTemplate":{{"ContainerSpec":{{"Image":"r.example/a"}}{task}}}}}"#)
}

/// Rule, call, a body that keeps it, one that does not, and what is said of that.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_rule_has_a_call_that_keeps_it_and_one_that_does_not() {
    let network = |mode: &str| host(&format!(r#"{{"NetworkMode":"{mode}"}}"#));
    let options = |options: &str| {
        host(&format!(
            r#"{{"Mounts":[{{"Type":"volume","Target":"/x","VolumeOptions":{{"DriverConfig":{{"Options":{options}}}}}}}]}}"#
        ))
    };
    let bind = |path: &str| host(&format!(r#"{{"Binds":["{path}:/x"]}}"#));
    let port =
        |ip: &str, port: &str| host(&format!(r#"{{"PortBindings":{{"80/tcp":[{{"HostIp":"{ip}","HostPort":"{port}"}}]}}}}"#));
    let security = |option: &str| host(&format!(r#"{{"SecurityOpt":["{option}"]}}"#));
    let h = host;
    let srv = r#"mounts = { allow = ["/srv/", "/etc/localtime"] }"#;
    let cis = r#"mounts = { sensitive = true, allow = ["/etc/localtime"] }"#;
    let volume = |options: &str| format!(r#"{{"Name":"v","DriverOpts":{options}}}"#);
    let limits = |limits: &str| task(&format!(r#","Resources":{{"Limits":{limits}}}"#));
    let rows: Vec<(&str, &str, String, String, &str)> = vec![
        (r#"privileged = "deny""#, CREATE, h("{}"), h(r#"{"Privileged":true}"#), "privileged: it is privileged"),
        (r#"host-network = "deny""#, CREATE, network("bridge"), network("host"), "host-network: namespace `network:host`"),
        (
            r#"host-network = "deny""#,
            CREATE,
            network("web"),
            network("container:web"),
            "host-network: namespace `network:container:web`",
        ),
        (
            "host-network = { containers = true }",
            CREATE,
            network("container:web"),
            network("host"),
            "host-network: namespace `network:host`",
        ),
        (
            r#"host-network = "deny""#,
            SERVICE,
            task(r#","Networks":[{"Target":"n"}]"#),
            task(r#","Networks":[{"Target":"host"}]"#),
            "host-network: namespace `network:host`",
        ),
        (r#"host-pid = "deny""#, CREATE, network("host"), h(r#"{"PidMode":"host"}"#), "host-pid: namespace `pid:host`"),
        (
            r#"host-ipc = "deny""#,
            CREATE,
            h(r#"{"IpcMode":"private"}"#),
            h(r#"{"IpcMode":"host"}"#),
            "host-ipc: namespace `ipc:host`",
        ),
        (r#"host-uts = "deny""#, CREATE, h(r#"{"UTSMode":""}"#), h(r#"{"UTSMode":"host"}"#), "host-uts: namespace `uts:host`"),
        (
            r#"host-userns = "deny""#,
            CREATE,
            h(r#"{"UsernsMode":null}"#),
            h(r#"{"UsernsMode":"host"}"#),
            "host-userns: namespace `user:host`",
        ),
        (
            r#"host-cgroupns = "deny""#,
            CREATE,
            h(r#"{"CgroupnsMode":"private"}"#),
            h(r#"{"CgroupnsMode":"host"}"#),
            "host-cgroupns: namespace `cgroup:host`",
        ),
        (
            r#"host-cgroupns = "deny""#,
            CREATE,
            h(r#"{"SecurityOpt":["writable-cgroups=false"]}"#),
            h(r#"{"SecurityOpt":["writable-cgroups=true"]}"#),
            "host-cgroupns: security-opt `writable-cgroups=true`",
        ),
        (
            r#"host-cgroupns = "deny""#,
            CREATE,
            h(r#"{"SecurityOpt":["no-new-privileges"]}"#),
            h(r#"{"SecurityOpt":["writable-cgroups"]}"#),
            "host-cgroupns: security-opt `writable-cgroups`",
        ),
        (
            r#"capabilities = "deny""#,
            CREATE,
            h(r#"{"CapAdd":["NET_RAW"]}"#),
            h(r#"{"CapAdd":["cap_sys_admin"]}"#),
            "capabilities: it has the capability SYS_ADMIN",
        ),
        (
            "capabilities = { allow = [] }",
            CREATE,
            h(r#"{"CapDrop":["all"]}"#),
            h("{}"),
            "capabilities: it has the capability AUDIT_WRITE",
        ),
        (
            r#"capabilities = { allow = ["NET_BIND_SERVICE"] }"#,
            CREATE,
            h(r#"{"CapDrop":["ALL"],"CapAdd":["CAP_NET_BIND_SERVICE"]}"#),
            h(r#"{"CapDrop":["ALL"],"CapAdd":["NET_RAW"]}"#),
            "capabilities: it has the capability NET_RAW",
        ),
        (
            r#"capabilities = { allow = ["NET_BIND_SERVICE"] }"#,
            CREATE,
            h(r#"{"CapDrop":"ALL"}"#),
            h(r#"{"CapDrop":["ALL"],"CapAdd":["ALL"]}"#),
            "capabilities: it has the capability ALL",
        ),
        (
            r#"capabilities = { allow = ["default", "SYS_PTRACE"] }"#,
            CREATE,
            h(r#"{"CapAdd":["SYS_PTRACE"]}"#),
            h(r#"{"Privileged":true}"#),
            "capabilities: privileged, it has all of them",
        ),
        (
            "capabilities = { allow = [] }",
            SERVICE,
            service(r#","CapabilityDrop":["ALL"]"#),
            service(""),
            "capabilities: it has the capability AUDIT_WRITE",
        ),
        (r#"mounts = "deny""#, CREATE, bind("data"), bind("/srv"), "mounts: it mounts `/srv` of the host"),
        (srv, CREATE, bind("/srv/a"), bind("/srv/../etc"), "mounts: it mounts `/etc` of the host"),
        (srv, CREATE, bind("/etc/localtime"), bind("/etc"), "mounts: it mounts `/etc` of the host"),
        (
            srv,
            CREATE,
            h(r#"{"Mounts":[{"Type":"bind","Source":"/srv/a"}]}"#),
            h(r#"{"mounts":[{"type":"bind","source":"/home"}]}"#),
            "mounts: it mounts `/home` of the host",
        ),
        (
            srv,
            CREATE,
            options(r#"{"o":"bind,ro","device":"/srv/a"}"#),
            options(r#"{"o":"rbind","device":"/srv/../etc"}"#),
            "mounts: it mounts `/etc` of the host",
        ),
        (
            srv,
            CREATE,
            options(r#"{"size":"1g"}"#),
            options(r#"{"type":"ext4","device":"/dev/sda1"}"#),
            "mounts: it mounts `type=ext4,device=/dev/sda1`",
        ),
        (
            srv,
            CREATE,
            options(r#"{"type":"tmpfs","device":"tmpfs","o":"size=1m"}"#),
            options(r#"{"type":"tmpfs","o":"bind","device":"/home"}"#),
            "mounts: it mounts `/home` of the host",
        ),
        (srv, CREATE, h("{}"), h(r#"{"VolumeDriver":"sshfs"}"#), "mounts: it mounts `volume-driver sshfs`"),
        (
            srv,
            CREATE,
            h(r#"{"VolumesFrom":[]}"#),
            h(r#"{"VolumesFrom":["web:ro"]}"#),
            "mounts: it mounts the volumes of container `web:ro`",
        ),
        (
            "mounts = { containers = true }",
            CREATE,
            h(r#"{"VolumesFrom":["web"]}"#),
            bind("/srv"),
            "mounts: it mounts `/srv` of the host",
        ),
        (cis, CREATE, bind("/srv/a"), bind("/etc/shadow"), "mounts: it mounts `/etc/shadow` of the host"),
        (cis, CREATE, bind("/etc/localtime"), bind("/"), "mounts: it mounts `/` of the host"),
        (cis, CREATE, bind("/usrlocal"), bind("/var"), "mounts: it mounts `/var` of the host"),
        (
            cis,
            CREATE,
            options(r#"{"type":"nfs","device":":/etc","o":"addr=a"}"#),
            options(r#"{"type":"overlay","o":"lowerdir=/etc"}"#),
            "mounts: it mounts `type=overlay,o=lowerdir=/etc`",
        ),
        (
            cis,
            SERVICE,
            service(r#","Mounts":[{"Type":"bind","Source":"/srv"}]"#),
            service(r#","Mounts":[{"Type":"bind","Source":"/proc/1"}]"#),
            "mounts: it mounts `/proc/1` of the host",
        ),
        (
            srv,
            VOLUME,
            volume(r#"{"o":"bind","device":"/srv/a"}"#),
            volume(r#"{"o":"bind","device":"/etc"}"#),
            "mounts: it mounts `/etc` of the host",
        ),
        (
            r#"docker-socket = "deny""#,
            CREATE,
            bind("/srv"),
            bind("/var/run/docker.sock"),
            "docker-socket: it mounts `/var/run/docker.sock` of the host",
        ),
        (r#"docker-socket = "deny""#, CREATE, bind("/var/lib"), bind("/run"), "docker-socket: it mounts `/run` of the host"),
        (r#"docker-socket = "deny""#, CREATE, bind("/runner"), bind("/"), "docker-socket: it mounts `/` of the host"),
        (
            r#"docker-socket = "deny""#,
            VOLUME,
            volume("{}"),
            volume(r#"{"o":"bind","device":"/srv/docker.sock"}"#),
            "docker-socket: it mounts `/srv/docker.sock` of the host",
        ),
        (
            r#"mount-propagation = "deny""#,
            CREATE,
            h(r#"{"Binds":["/a:/shared:ro,rslave"]}"#),
            h(r#"{"Binds":["/a:/b:ro,rshared"]}"#),
            "mount-propagation: mount `/a:/b:ro,rshared` is shared with the host",
        ),
        (
            r#"mount-propagation = "deny""#,
            SERVICE,
            service(r#","Mounts":[{"Type":"bind","Source":"/a","BindOptions":{"Propagation":"rprivate"}}]"#),
            service(r#","Mounts":[{"Type":"bind","Source":"/a","BindOptions":{"Propagation":"shared"}}]"#),
            "mount-propagation: mount `/a` is shared with the host",
        ),
        (
            r#"devices = { allow = ["/dev/snd/"] }"#,
            CREATE,
            h(r#"{"Devices":[{"PathOnHost":"/dev/snd/seq"}]}"#),
            h(r#"{"Devices":[{"PathOnHost":"/dev/snd/../sda"}]}"#),
            "devices: device `/dev/sda`",
        ),
        (
            r#"devices = { allow = ["nvidia"] }"#,
            CREATE,
            h(r#"{"DeviceRequests":[{"Driver":"nvidia"}]}"#),
            h(r#"{"DeviceCgroupRules":["a *:* rwm"]}"#),
            "devices: device `a *:* rwm`",
        ),
        (
            r#"seccomp = "deny""#,
            CREATE,
            security("seccomp=builtin"),
            security("seccomp:unconfined"),
            "seccomp: security-opt `seccomp:unconfined`",
        ),
        (
            r#"seccomp = "deny""#,
            SERVICE,
            service(r#","Privileges":{}"#),
            service(r#","Privileges":{"Seccomp":{"Mode":"unconfined"}}"#),
            "seccomp: security-opt `Seccomp`",
        ),
        (
            r#"apparmor = { allow = ["mine"] }"#,
            CREATE,
            security("apparmor=mine"),
            security("apparmor=unconfined"),
            "apparmor: security-opt `apparmor=unconfined`",
        ),
        (
            r#"apparmor = "deny""#,
            SERVICE,
            service(""),
            service(r#","Privileges":{"AppArmor":{"Mode":"disabled"}}"#),
            "apparmor: security-opt `AppArmor`",
        ),
        (
            r#"selinux = "deny""#,
            CREATE,
            security("apparmor=x"),
            security("label=disable"),
            "selinux: security-opt `label=disable`",
        ),
        (
            r#"system-paths = "deny""#,
            CREATE,
            h(r#"{"MaskedPaths":null}"#),
            h(r#"{"MaskedPaths":[]}"#),
            "system-paths: masked-paths `replaced`",
        ),
        (
            r#"cgroup-parent = "deny""#,
            CREATE,
            h(r#"{"CgroupParent":""}"#),
            h(r#"{"CgroupParent":"/x"}"#),
            "cgroup-parent: cgroup-parent `/x`",
        ),
        (
            r#"no-new-privileges = "deny""#,
            CREATE,
            security("no-new-privileges:true"),
            h("{}"),
            "no-new-privileges: no-new-privileges is not set",
        ),
        (
            r#"no-new-privileges = "deny""#,
            CREATE,
            security("no-new-privileges"),
            h(r#"{"SecurityOpt":["no-new-privileges","no-new-privileges=false"]}"#),
            "no-new-privileges: no-new-privileges is not set",
        ),
        (
            r#"no-new-privileges = "deny""#,
            SERVICE,
            service(r#","Privileges":{"NoNewPrivileges":true}"#),
            service(""),
            "no-new-privileges: no-new-privileges is not set",
        ),
        (
            r#"read-only-root = "deny""#,
            CREATE,
            h(r#"{"ReadonlyRootfs":true}"#),
            h(r#"{"ReadonlyRootfs":false}"#),
            "read-only-root: its root file system can be written",
        ),
        (
            r#"read-only-root = "deny""#,
            SERVICE,
            service(r#","ReadOnly":true"#),
            service(""),
            "read-only-root: its root file system can be written",
        ),
        (
            r#"run-as-root = "deny""#,
            CREATE,
            r#"{"Image":"r.example/a","User":"app:0"}"#.into(),
            r#"{"Image":"r.example/a","User":"+00:app"}"#.into(),
            "run-as-root: it runs as user `+00:app`, which is root",
        ),
        (
            r#"run-as-root = "deny""#,
            SERVICE,
            service(r#","User":"1000""#),
            service(r#","User":"root""#),
            "run-as-root: it runs as user `root`, which is root",
        ),
        (
            "memory-limit = { megabytes = 1 }",
            CREATE,
            h(r#"{"Memory":1048576}"#),
            h(r#"{"Memory":1048577}"#),
            "memory-limit: its limit of memory is 1048577 bytes",
        ),
        (
            r#"memory-limit = "deny""#,
            CREATE,
            h(r#"{"Memory":1}"#),
            h(r#"{"Memory":0}"#),
            "memory-limit: it has no limit of memory",
        ),
        (
            r#"memory-limit = "deny""#,
            CREATE,
            h(r#"{"memory":1}"#),
            h(r#"{"Memory":-1}"#),
            "memory-limit: it has no limit of memory",
        ),
        (
            r#"memory-limit = "deny""#,
            SERVICE,
            limits(r#"{"MemoryBytes":1}"#),
            limits("{}"),
            "memory-limit: it has no limit of memory",
        ),
        (
            "memory-limit = { megabytes = 1 }",
            UPDATE,
            r#"{"Memory":0}"#.into(),
            r#"{"Memory":1048577}"#.into(),
            "memory-limit: its limit of memory is 1048577 bytes",
        ),
        (
            r#"cpu-limit = "deny""#,
            CREATE,
            h(r#"{"CpuShares":2}"#),
            h(r#"{"CpuPeriod":1000}"#),
            "cpu-limit: it has no limit of processor time",
        ),
        (
            "cpu-limit = { cpus = 2 }",
            CREATE,
            h(r#"{"NanoCpus":2000000000}"#),
            h(r#"{"NanoCpus":2000000001}"#),
            "cpu-limit: it may use more than 2 processors",
        ),
        (
            "cpu-limit = { cpus = 2 }",
            CREATE,
            h(r#"{"CpuQuota":100000,"CpuPeriod":50000}"#),
            h(r#"{"CpuQuota":200001}"#),
            "cpu-limit: it may use more than 2 processors",
        ),
        (
            "cpu-limit = { cpus = 2 }",
            CREATE,
            h(r#"{"CpuQuota":1000}"#),
            h(r#"{"CpuShares":2}"#),
            "cpu-limit: it has no limit of processor time",
        ),
        (
            "cpu-limit = { cpus = 2 }",
            SERVICE,
            limits(r#"{"NanoCPUs":2000000000}"#),
            limits(r#"{"NanoCPUs":0}"#),
            "cpu-limit: it has no limit of processor time",
        ),
        (
            "cpu-limit = { cpus = 2 }",
            UPDATE,
            r#"{"Memory":5}"#.into(),
            r#"{"CpuPeriod":1000}"#.into(),
            "cpu-limit: it has no limit of processor time",
        ),
        (
            r#"cpu-limit = "deny""#,
            UPDATE,
            r#"{"CpuShares":5}"#.into(),
            r#"{"CpuQuota":-1}"#.into(),
            "cpu-limit: it has no limit of processor time",
        ),
        (
            "pids-limit = { most = 100 }",
            CREATE,
            h(r#"{"PidsLimit":100}"#),
            h(r#"{"PidsLimit":101}"#),
            "pids-limit: its limit of processes is 101",
        ),
        (
            r#"pids-limit = "deny""#,
            CREATE,
            h(r#"{"PidsLimit":1}"#),
            h(r#"{"PidsLimit":null}"#),
            "pids-limit: it has no limit of processes",
        ),
        (
            r#"pids-limit = "deny""#,
            SERVICE,
            limits(r#"{"Pids":1}"#),
            limits(r#"{"Pids":0}"#),
            "pids-limit: it has no limit of processes",
        ),
        (
            r#"pids-limit = "deny""#,
            UPDATE,
            r#"{"PidsLimit":null}"#.into(),
            r#"{"PidsLimit":-1}"#.into(),
            "pids-limit: it has no limit of processes",
        ),
        (
            r#"restart-policy = "deny""#,
            CREATE,
            h(r#"{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":5}}"#),
            h(r#"{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":6}}"#),
            "restart-policy: it is started again 6 times",
        ),
        (
            r#"restart-policy = "deny""#,
            CREATE,
            h(r#"{"RestartPolicy":{"Name":"no","MaximumRetryCount":9}}"#),
            h(r#"{"RestartPolicy":{"Name":"on-failure"}}"#),
            "restart-policy: it is started again without end",
        ),
        (
            "restart-policy = { most = 9 }",
            CREATE,
            h(r#"{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":9}}"#),
            h(r#"{"RestartPolicy":{"Name":"unless-stopped"}}"#),
            "restart-policy: it is started again without end",
        ),
        (
            r#"restart-policy = "deny""#,
            SERVICE,
            task(r#","RestartPolicy":{"Condition":"any","MaxAttempts":5}"#),
            service(""),
            "restart-policy: it is started again without end",
        ),
        (
            r#"restart-policy = "deny""#,
            SERVICE,
            task(r#","RestartPolicy":{"Condition":"none"}"#),
            task(r#","RestartPolicy":{"Condition":"on-failure"}"#),
            "restart-policy: it is started again without end",
        ),
        (
            r#"restart-policy = "deny""#,
            UPDATE,
            r#"{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":1}}"#.into(),
            r#"{"RestartPolicy":{"Name":"always"}}"#.into(),
            "restart-policy: it is started again without end",
        ),
        (
            r#"privileged-ports = "deny""#,
            CREATE,
            port("", "1024"),
            port("", "1023"),
            "privileged-ports: it publishes port 1023 of the host",
        ),
        (
            "privileged-ports = { allow = [80, 443] }",
            CREATE,
            port("", "80"),
            port("", "80-81"),
            "privileged-ports: it publishes port 81 of the host",
        ),
        (r#"privileged-ports = "deny""#, CREATE, port("", ""), port("", "0x50"), "privileged-ports: `0x50` is not a port"),
        (
            r#"privileged-ports = "deny""#,
            SERVICE,
            r#"{"EndpointSpec":{"Ports":[{"PublishedPort":8080}]},"TaskTemplate":{}}"#.into(),
            r#"{"endpointspec":{"ports":[{"publishedport":80}]},"TaskTemplate":{}}"#.into(),
            "privileged-ports: it publishes port 80 of the host",
        ),
        (
            r#"host-ip = "deny""#,
            CREATE,
            port("127.0.0.1", "80"),
            port("", "80"),
            "host-ip: it publishes a port on every address of the host",
        ),
        (
            r#"host-ip = "deny""#,
            CREATE,
            h(r#"{"PortBindings":{}}"#),
            port("::ffff:0.0.0.0", "80"),
            "host-ip: it publishes a port on every address of the host",
        ),
        // Of no binding some engines make one of empty fields.
        (
            r#"host-ip = "deny""#,
            CREATE,
            h(r#"{"PortBindings":null}"#),
            h(r#"{"PortBindings":{"80/tcp":[]}}"#),
            "host-ip: it publishes a port on every address of the host",
        ),
        (
            r#"host-ip = "deny""#,
            CREATE,
            port("127.0.0.1", ""),
            h(r#"{"PortBindings":{"81/tcp":[{"HostIp":"127.0.0.1"}],"80/tcp":null}}"#),
            "host-ip: it publishes a port on every address of the host",
        ),
        (
            r#"host-ip = { allow = ["127.0.0.1"] }"#,
            CREATE,
            port("127.0.0.1", ""),
            port("192.0.2.1", ""),
            "host-ip: it publishes a port on 192.0.2.1",
        ),
        (
            r#"host-ip = "deny""#,
            CREATE,
            h("{}"),
            h(r#"{"PublishAllPorts":true}"#),
            "host-ip: it publishes a port on every address of the host",
        ),
        (
            r#"host-ip = "deny""#,
            SERVICE,
            service(""),
            r#"{"EndpointSpec":{"Ports":[{"TargetPort":80}]}}"#.into(),
            "host-ip: it publishes a port on every address of the host",
        ),
        (
            r#"healthcheck-off = "deny""#,
            CREATE,
            r#"{"Image":"r.example/a","Healthcheck":{"Test":[]}}"#.into(),
            r#"{"Image":"r.example/a","Healthcheck":{"Test":["NONE"]}}"#.into(),
            "healthcheck-off: its health check is `NONE`",
        ),
        (
            r#"healthcheck-off = "deny""#,
            SERVICE,
            service(r#","Healthcheck":{"Test":["CMD","x"]}"#),
            service(r#","healthcheck":{"test":["none"]}"#),
            "healthcheck-off: its health check is `none`",
        ),
        (
            r#"ulimits = "deny""#,
            CREATE,
            h(r#"{"Ulimits":null}"#),
            h(r#"{"Ulimits":[{"Name":"nofile","Hard":1}]}"#),
            "ulimits: ulimit `nofile` is 1",
        ),
        (
            "ulimits = { allow = { nofile = 1024 } }",
            CREATE,
            h(r#"{"Ulimits":[{"Name":"nofile","Hard":1024,"Soft":5}]}"#),
            h(r#"{"Ulimits":[{"Name":"nofile","Hard":-1}]}"#),
            "ulimits: ulimit `nofile` is -1",
        ),
        (
            "ulimits = { allow = { nofile = 1024 } }",
            SERVICE,
            service(r#","Ulimits":[{"Name":"nofile","Hard":1}]"#),
            service(r#","Ulimits":[{"Name":"core","Hard":1}]"#),
            "ulimits: ulimit `core` is 1",
        ),
        (
            r#"exec-privileged = "deny""#,
            EXEC,
            r#"{"Cmd":["a"]}"#.into(),
            r#"{"privileged":true}"#.into(),
            "exec-privileged: the exec is privileged",
        ),
        (
            r#"exec-root = "deny""#,
            EXEC,
            r#"{"User":""}"#.into(),
            r#"{"User":"0"}"#.into(),
            "exec-root: it runs as user `0`, which is root",
        ),
    ];
    for (rule, uri, keeps, breaks, told) in &rows {
        assert_eq!(says(rule, uri, keeps), [""; 0], "{rule} {uri} {keeps}");
        assert_eq!(says(rule, uri, breaks), [*told], "{rule} {uri} {breaks}");
    }
    for id in CreateRuleId::ALL {
        let name = id.about().id;
        assert!(rows.iter().any(|(rule, ..)| rule.split(' ').next() == Some(name)), "{name} has no row");
    }
}

/// What engines up to 20.10 take from beside `HostConfig`: what it opens counts, what it closes does not.
#[test]
fn what_stands_beside_host_config_opens_and_does_not_close() {
    let rules = r#"privileged = "deny"
memory-limit = "deny"
read-only-root = "deny"
restart-policy = "deny"
no-new-privileges = "deny""#;
    let body = r#"{"Image":"r.example/a","Memory":5,"ReadonlyRootfs":true,"SecurityOpt":["no-new-privileges"],"Privileged":true,"RestartPolicy":{"Name":"always"},"HostConfig":{}}"#;
    assert_eq!(
        says(rules, CREATE, body),
        [
            "privileged: it is privileged",
            "no-new-privileges: no-new-privileges is not set",
            "read-only-root: its root file system can be written",
            "memory-limit: it has no limit of memory",
            "restart-policy: it is started again without end"
        ]
    );
}

/// Engines drop from a service, without a word, what its client's API version does not have.
#[test]
fn what_an_older_api_version_drops_closes_nothing() {
    let rules = r#"no-new-privileges = "deny"
pids-limit = "deny"
capabilities = { allow = [] }"#;
    let body = r#"{"TaskTemplate":{"Resources":{"Limits":{"Pids":5}},"ContainerSpec":{"Image":"r.example/a","CapabilityDrop":["ALL"],"Privileges":{"NoNewPrivileges":true}}}}"#;
    let broken = |uri: &str| {
        let found = says(rules, uri, body);
        found.iter().map(|finding| finding.split(':').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(broken("/v1.44/services/create"), [""; 0]);
    assert_eq!(broken("/v1.43/services/create"), ["no-new-privileges"]);
    assert_eq!(broken("/services/create"), ["no-new-privileges"]);
    assert_eq!(broken("/v1.40/services/create"), ["capabilities", "no-new-privileges", "pids-limit"]);
    assert_eq!(broken("/v1.40/services/s/update?version=1"), ["capabilities", "no-new-privileges", "pids-limit"]);
}

/// What would read in two ways, or is of another type than the engine's, is nobody's to judge.
#[test]
fn a_limit_that_reads_two_ways_is_unreadable() {
    for config in [
        r#"{"Memory":1,"memory":0}"#,
        r#"{"Memory":"1g"}"#,
        r#"{"Memory":1.5}"#,
        r#"{"Memory":9223372036854775808}"#,
        r#"{"PidsLimit":true}"#,
        r#"{"ReadonlyRootfs":"true"}"#,
        r#"{"ReadonlyRootfs":true,"readonlyrootfs":false}"#,
        r#"{"CapDrop":{}}"#,
        r#"{"Ulimits":[null]}"#,
        r#"{"PortBindings":{"80/tcp":[{"HostPort":80}]}}"#,
        r#"{"PortBindings":{"80/tcp":"80"}}"#,
        r#"{"RestartPolicy":"always"}"#,
    ] {
        assert!(matches!(intent(CREATE, &host(config)), Intent::Unreadable(_)), "{config}");
    }
    for spec in [
        r#"{"TaskTemplate":{"Resources":{"Limits":{"Pids":1,"pids":0}}}}"#,
        r#"{"EndpointSpec":{"Ports":[{"PublishedPort":"80"}]}}"#,
    ] {
        assert!(matches!(intent(SERVICE, spec), Intent::Unreadable(_)), "{spec}");
    }
}

/// What is said of each body, and of which it is not what it should be.
fn wrong(rows: &[(&str, &str, String, &str)]) -> Vec<String> {
    let said = |(rules, uri, body, told): &(&str, &str, String, &str)| {
        let said = says(rules, uri, body).join("; ");
        (said != *told).then(|| format!("{rules} {uri} {body}: {said}"))
    };
    rows.iter().filter_map(said).collect()
}

/// Go keeps the last of a name that stands twice in a map.
#[test]
fn a_name_that_stands_twice_in_a_map_is_unreadable() {
    let driver = |options: &str| {
        format!(r#"{{"Mounts":[{{"Type":"volume","VolumeOptions":{{"DriverConfig":{{"Options":{options}}}}}}}]}}"#)
    };
    let rows = [
        (VOLUME, r#"{"DriverOpts":{"o":"bind","device":"/srv/a","device":"/"}}"#.to_owned()),
        (VOLUME, r#"{"DriverOpts":{"type":"tmpfs","o":"bind","o":"","device":"/srv/a"}}"#.to_owned()),
        (VOLUME, r#"{"DriverOpts":{"type":"tmpfs","\u0074ype":"none"}}"#.to_owned()),
        (CREATE, host(&driver(r#"{"type":"tmpfs","type":"proc"}"#))),
        (CREATE, host(r#"{"Sysctls":{"a":"1","a":"2"}}"#)),
        (CREATE, host(r#"{"Annotations":{"a":"1","a":"2"}}"#)),
        (CREATE, host(r#"{"LogConfig":{"Config":{"tag":"1","tag":"2"}}}"#)),
        (CREATE, host(r#"{"PortBindings":{"80/tcp":[],"80/tcp":null}}"#)),
        (SERVICE, service(r#","Sysctls":{"a":"1","a":"2"}"#)),
        ("/v1.41/networks/create", r#"{"Name":"n","Options":{"a":"1","a":"2"}}"#.to_owned()),
    ];
    let read: Vec<_> = rows.iter().filter(|(uri, body)| !matches!(intent(uri, body), Intent::Unreadable(_))).collect();
    assert!(read.is_empty(), "{read:#?}");
    // Names in maps are told apart by case.
    assert_eq!(says(r#"mounts = "deny""#, VOLUME, r#"{"DriverOpts":{"size":"1m"}}"#), [""; 0]);
    assert!(!matches!(intent(VOLUME, r#"{"DriverOpts":{"o":"a","O":"b"}}"#), Intent::Unreadable(_)));
}

/// The engine's own driver knows its options in one spelling; what it does not know goes to the file system.
#[test]
fn a_volume_option_that_only_looks_like_bind_mounts_what_nobody_knows() {
    let srv = r#"mounts = { allow = ["/srv/"] }"#;
    let cis = "mounts = { sensitive = true }";
    let volume = |options: &str| format!(r#"{{"DriverOpts":{options}}}"#);
    let of_proc = r#"{"type":"proc","o":"BIND","device":"/srv/a"}"#;
    let rows = [
        (srv, VOLUME, volume(of_proc), "mounts: it mounts `type=proc,o=BIND,device=/srv/a`"),
        (cis, VOLUME, volume(of_proc), "mounts: it mounts `type=proc,o=BIND,device=/srv/a`"),
        (
            cis,
            VOLUME,
            volume(r#"{"type":"9p","o":"ro, bind","device":"/srv/a"}"#),
            "mounts: it mounts `type=9p,o=ro, bind,device=/srv/a`",
        ),
        (
            cis,
            VOLUME,
            volume(r#"{"type":"nfs","o":"rBind","device":"/srv/a"}"#),
            "mounts: it mounts `type=nfs,o=rBind,device=/srv/a`",
        ),
        (
            cis,
            VOLUME,
            volume(r#"{"type":"tmpfs","o":"BIND","device":"/srv/a"}"#),
            "mounts: it mounts `type=tmpfs,o=BIND,device=/srv/a`",
        ),
        // The engine's own folder is the root only where nothing else was said.
        (srv, VOLUME, volume(r#"{"o":"bind","device":"srv/a"}"#), "mounts: it mounts `o=bind,device=srv/a`"),
        (cis, VOLUME, volume(r#"{"o":"bind","device":"srv/a"}"#), "mounts: it mounts `o=bind,device=srv/a`"),
        (srv, VOLUME, volume(r#"{"type":"none","o":"ro,bind","device":"/srv/a"}"#), ""),
        (cis, VOLUME, volume(r#"{"type":"nfs","o":"addr=192.0.2.1,rw","device":":/x"}"#), ""),
    ];
    assert_eq!(wrong(&rows), [""; 0]);
}

#[test]
fn system_folders_hold_what_other_engines_and_the_gate_itself_keep() {
    let cis = "mounts = { sensitive = true }";
    let bind = |path: &str| host(&format!(r#"{{"Binds":["{path}:/x"]}}"#));
    for folder in [
        "/etc/docker/img-authz",
        "/home/me",
        "/opt/containerd",
        "/run/docker/plugins",
        "/var/lib/containers/storage",
        "/var/lib/docker/plugins",
        "/var/lib/img-authz",
        "/var/lib/kubelet",
        "/var/lib/rancher",
        "/var/snap/docker/common",
    ] {
        assert_eq!(says(cis, CREATE, &bind(folder)), [format!("mounts: it mounts `{folder}` of the host")]);
    }
    assert_eq!(says(cis, CREATE, &bind("/srv/{{1}}")), ["mounts: it mounts `/srv/{{1}}` of the host"]);
    for folder in ["/srv/app", "/srv/{a}/{b}", "/var/lib/app", "/homes", "/var/lib/img-authz-of-others"] {
        assert_eq!(says(cis, CREATE, &bind(folder)), [""; 0], "{folder}");
    }
}

/// What leads to everything, and what nobody can say where it leads.
#[test]
fn the_engines_socket_is_not_reached_by_another_way() {
    let rule = r#"docker-socket = "deny""#;
    let bind = |path: &str| host(&format!(r#"{{"Binds":["{path}:/x"]}}"#));
    let volume = |options: &str| format!(r#"{{"DriverOpts":{options}}}"#);
    let long = format!("/srv/{}", "a".repeat(300));
    let cut = format!("docker-socket: it mounts `{}…` of the host", long.chars().take(159).collect::<String>());
    let rows = [
        (rule, CREATE, bind("/proc/1/root/run"), "docker-socket: it mounts `/proc/1/root/run` of the host"),
        (rule, CREATE, bind("/proc"), "docker-socket: it mounts `/proc` of the host"),
        (rule, CREATE, bind("/dev/fd/7"), "docker-socket: it mounts `/dev/fd/7` of the host"),
        (rule, CREATE, bind("../run"), "docker-socket: it mounts `../run` of the host"),
        (rule, CREATE, bind(&format!("{long}/docker.sock")), cut.as_str()),
        (rule, SERVICE, service(r#","Mounts":[{"Type":"bind","Source":"run"}]"#), "docker-socket: it mounts `run` of the host"),
        (rule, VOLUME, volume(r#"{"o":"bind","device":"run"}"#), "docker-socket: it mounts `o=bind,device=run`"),
        (rule, CREATE, bind("/srv/{{1}}"), "docker-socket: it mounts `/srv/{{1}}` of the host"),
        (
            rule,
            VOLUME,
            volume(r#"{"type":"tmpfs","o":"{{1}}","device":"/"}"#),
            "docker-socket: it mounts `type=tmpfs,o={{1}},device=/`",
        ),
        (rule, VOLUME, volume(r#"{"type":"proc","device":"proc"}"#), "docker-socket: it mounts `type=proc,device=proc`"),
        (
            rule,
            VOLUME,
            volume(r#"{"type":"overlay","o":"lowerdir=/run"}"#),
            "docker-socket: it mounts `type=overlay,o=lowerdir=/run`",
        ),
        (rule, CREATE, bind("/srv/process"), ""),
        (rule, CREATE, bind("/dev"), ""),
        (rule, CREATE, bind(&long.chars().take(200).collect::<String>()), ""),
        (rule, VOLUME, volume(r#"{"type":"ext4","device":"/dev/sdb1"}"#), ""),
        (rule, VOLUME, volume(r#"{"type":"nfs","o":"addr=192.0.2.1","device":":/x"}"#), ""),
        (rule, VOLUME, volume(r#"{"type":"tmpfs","device":"tmpfs"}"#), ""),
    ];
    assert_eq!(wrong(&rows), [""; 0]);
}

#[test]
fn what_another_volume_driver_mounts_is_not_known_and_passes_by_name_alone() {
    let cis = "mounts = { sensitive = true }";
    let rows = [
        (cis, CREATE, host(r#"{"VolumeDriver":"sshfs"}"#), "mounts: it mounts `volume-driver sshfs`"),
        (cis, CREATE, host(r#"{"Mounts":[{"Type":"cluster","Source":"v"}]}"#), "mounts: it mounts `mount cluster`"),
        (cis, VOLUME, r#"{"Driver":"sshfs"}"#.into(), "mounts: it mounts `volume-driver sshfs`"),
        (cis, VOLUME, r#"{"Driver":"local"}"#.into(), ""),
        (cis, CREATE, host(r#"{"VolumeDriver":"local"}"#), ""),
    ];
    assert_eq!(wrong(&rows), [""; 0]);
}

#[test]
fn drivers_that_are_named_may_make_volumes() {
    for rule in [r#"mounts = { sensitive = true, drivers = ["vieux/sshfs:1"] }"#, r#"mounts = { drivers = "vieux/sshfs:1" }"#] {
        assert_eq!(says(rule, VOLUME, r#"{"Driver":"vieux/sshfs:1"}"#), [""; 0]);
        assert_eq!(says(rule, VOLUME, r#"{"Driver":"vieux/sshfs:2"}"#), ["mounts: it mounts `volume-driver vieux/sshfs:2`"]);
    }
}

/// moby lets a quota that is not 0 stand over `NanoCpus`, a negative one too; and an update of one leaves the other as it is.
#[test]
fn what_takes_the_limit_of_processor_time_away_is_not_a_limit() {
    let none = "cpu-limit: it has no limit of processor time";
    let two = "cpu-limit = { cpus = 2 }";
    let some = r#"cpu-limit = "deny""#;
    let h = host;
    let rows = [
        (two, CREATE, h(r#"{"NanoCpus":1000000000,"CpuQuota":-1}"#), none),
        (some, CREATE, h(r#"{"NanoCpus":1000000000,"CpuQuota":-1}"#), none),
        (some, CREATE, h(r#"{"CpuShares":2,"CpuQuota":-1}"#), none),
        (two, CREATE, h(r#"{"CpuQuota":1000,"CpuPeriod":-1}"#), none),
        (two, CREATE, h(r#"{"CpuQuota":1000,"NanoCpus":-1}"#), none),
        (two, CREATE, h(r#"{"CpuQuota":1000,"NanoCpus":1000000000}"#), none),
        (some, CREATE, h(r#"{"CpuPeriod":1000,"NanoCpus":1000000000}"#), none),
        (some, UPDATE, r#"{"CpuShares":5,"CpuPeriod":-1}"#.into(), none),
        (two, UPDATE, r#"{"CpuQuota":200000}"#.into(), "cpu-limit: it may use more than 2 processors"),
        (two, UPDATE, r#"{"CpuQuota":2000}"#.into(), ""),
        (two, UPDATE, r#"{"CpuQuota":200000,"CpuPeriod":100000}"#.into(), ""),
        (two, UPDATE, r#"{"NanoCpus":2000000000}"#.into(), ""),
        (some, UPDATE, r#"{"CpuQuota":200000}"#.into(), ""),
    ];
    assert_eq!(wrong(&rows), [""; 0]);
}

#[test]
fn memory_with_swap_without_end_has_no_limit() {
    let (some, one) = (r#"memory-limit = "deny""#, "memory-limit = { megabytes = 1 }");
    let swap = "memory-limit: it may swap without limit";
    let more = "memory-limit: its limit of memory and swap is 2097153 bytes";
    let h = host;
    let limits = |swap: &str| task(&format!(r#","Resources":{{"Limits":{{"MemoryBytes":1048576}},"SwapBytes":{swap}}}"#));
    let rows = [
        (some, CREATE, h(r#"{"Memory":1048576,"MemorySwap":-1}"#), swap),
        (some, CREATE, h(r#"{"Memory":1048576,"MemorySwap":9000000000}"#), ""),
        (one, CREATE, h(r#"{"Memory":1048576,"MemorySwap":2097152}"#), ""),
        (one, CREATE, h(r#"{"Memory":1048576,"MemorySwap":2097153}"#), more),
        // Engines up to 20.10 take this one from beside `HostConfig`.
        (some, CREATE, r#"{"Image":"r.example/a","MemorySwap":-1,"HostConfig":{"Memory":1048576,"MemorySwap":0}}"#.into(), swap),
        (some, UPDATE, r#"{"MemorySwap":-1}"#.into(), swap),
        (one, UPDATE, r#"{"MemorySwap":2097153}"#.into(), more),
        (one, UPDATE, r#"{"MemorySwap":0}"#.into(), ""),
        (some, SERVICE, limits("-1"), swap),
        (one, SERVICE, limits("1048577"), more),
        (one, SERVICE, limits("1048576"), ""),
        (one, SERVICE, limits("null"), ""),
    ];
    assert_eq!(wrong(&rows), [""; 0]);
}

/// An honest container may publish a whole range.
#[test]
fn ten_thousand_ports_are_judged() {
    let ports: Vec<String> =
        (10_000..20_000).map(|port| format!(r#""{port}/udp":[{{"HostIp":"","HostPort":"{port}"}}]"#)).collect();
    let body = |last: &str| host(&format!(r#"{{"PortBindings":{{{},"9/udp":[{{"HostPort":"{last}"}}]}}}}"#, ports.join(",")));
    assert_eq!(says(r#"privileged-ports = "deny""#, CREATE, &body("9999")), [""; 0]);
    assert_eq!(says(r#"privileged-ports = "deny""#, CREATE, &body("9")), ["privileged-ports: it publishes port 9 of the host"]);
}

#[test]
fn what_is_of_another_kind_of_call_is_judged_by_none_of_it() {
    let all = CreateRuleId::ALL.map(|id| format!("{} = \"deny\"", id.about().id)).join("\n");
    assert_eq!(says(&all, EXEC, "{}"), [""; 0]);
    assert_eq!(says(&all, UPDATE, "{}"), [""; 0]);
    assert_eq!(says(&all, VOLUME, r#"{"Name":"v"}"#), [""; 0]);
    assert!(intent("/v1.41/containers/web/start", "{}").run().is_none());
}

#[test]
fn rules_answer_to_the_names_that_cis_has_for_them_and_no_name_is_of_two() {
    let mut names = std::collections::BTreeSet::new();
    for id in RuleId::all() {
        let about = id.about();
        for name in std::iter::once(&about.id).chain(about.refs) {
            assert!(names.insert(*name), "{name}");
            assert_eq!(RuleId::named(name), Some(id), "{name}");
        }
    }
    assert_eq!(RuleId::named("CIS-5.5"), Some(RuleId::Create(CreateRuleId::Privileged)));
}
