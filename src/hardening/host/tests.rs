//! Each rule of the engine and of containers with one that breaks it and one that keeps it.

use serde_json::json;

use super::*;

fn container(change: impl FnOnce(&mut Value)) -> Vec<&'static str> {
    let mut described = json!({
        "Config": {"Image": "a:1", "User": "app", "Env": ["PATH=/bin"], "Healthcheck": {"Test": ["CMD", "x"]}},
        "HostConfig": {
            "NetworkMode": "front", "ReadonlyRootfs": true, "SecurityOpt": ["no-new-privileges"], "Memory": 1 << 28, "NanoCpus": 1_000_000_000,
            "PidsLimit": 100, "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 5}, "Runtime": "runc", "IpcMode": "private",
            "CgroupnsMode": "private", "Privileged": false, "CapAdd": null, "Devices": [], "MaskedPaths": ["/proc/acpi"],
            "ReadonlyPaths": ["/proc/bus"], "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}
        }
    });
    change(&mut described);
    let findings = of_container(&described, "container x").unwrap();
    assert!(!format!("{findings:?}").contains("hunter2"));
    findings.iter().map(|finding| finding.rule.about().id).collect()
}

#[test]
fn each_rule_has_a_container_that_breaks_it_and_one_keeps_them_all() {
    assert_eq!(container(|_| ()), [""; 0]);
    for (rule, member, value) in [
        ("privileged", "Privileged", json!(true)),
        ("host-network", "NetworkMode", json!("host")),
        ("host-pid", "PidMode", json!("host")),
        ("host-ipc", "IpcMode", json!("host")),
        ("host-uts", "UTSMode", json!("host")),
        ("host-userns", "UsernsMode", json!("host")),
        ("host-cgroupns", "CgroupnsMode", json!("host")),
        ("capabilities", "CapAdd", json!(["SYS_ADMIN"])),
        ("mounts", "Binds", json!(["/etc:/x"])),
        ("mount-propagation", "Binds", json!(["/srv/x:/x:shared"])),
        ("devices", "Devices", json!([{"PathOnHost": "/dev/sda"}])),
        ("system-paths", "MaskedPaths", json!([])),
        ("cgroup-parent", "CgroupParent", json!("x")),
        ("read-only-root", "ReadonlyRootfs", json!(false)),
        ("no-new-privileges", "SecurityOpt", json!(null)),
        ("memory-limit", "Memory", json!(0)),
        ("cpu-limit", "NanoCpus", json!(0)),
        ("pids-limit", "PidsLimit", json!(null)),
        ("restart-policy", "RestartPolicy", json!({"Name": "always"})),
        ("privileged-ports", "PortBindings", json!({"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "80"}]})),
        ("host-ip", "PortBindings", json!({"80/tcp": [{"HostIp": "", "HostPort": "8080"}]})),
        ("ulimits", "Ulimits", json!([{"Name": "nofile", "Hard": 9}])),
        ("default-bridge", "NetworkMode", json!("default")),
    ] {
        assert_eq!(container(|described| described["HostConfig"][member] = value.clone()), [rule], "{member} {value}");
    }
    for (rule, option) in [("seccomp", "seccomp=unconfined"), ("apparmor", "apparmor=unconfined"), ("selinux", "label=disable")] {
        let found = container(|described| described["HostConfig"]["SecurityOpt"] = json!(["no-new-privileges", option]));
        assert_eq!(found, [rule]);
    }
    assert!(
        container(|described| described["HostConfig"]["Binds"] = json!(["/var/run/docker.sock:/x"])).contains(&"docker-socket")
    );
    for (rule, member, value) in [
        ("tag-latest", "Image", json!("a")),
        ("user-root", "User", json!("0:0")),
        ("healthcheck", "Healthcheck", json!(null)),
        ("secrets", "Env", json!(["DB_PASSWORD=hunter2"])),
    ] {
        assert_eq!(container(|described| described["Config"][member] = value.clone()), [rule], "{member} {value}");
    }
    assert!(of_container(&json!({"HostConfig": []}), "x").is_err());
}

fn engine(file: &Value, line: &str, change: impl FnOnce(&mut Value)) -> Vec<&'static str> {
    let mut info = json!({
        "Driver": "overlay2", "LoggingDriver": "journald", "LiveRestoreEnabled": true, "ExperimentalBuild": false,
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=userns", "name=rootless"],
        "Plugins": {"Authorization": ["img-authz"]}, "Swarm": {"LocalNodeState": "inactive"}
    });
    change(&mut info);
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let of_file = |key: &str| file.get(key).cloned();
    let daemon = Daemon { info: &info, file: &of_file, words: Some(&words), open: None };
    of_daemon(&daemon).iter().map(|finding| finding.rule.about().id).collect()
}

const GOOD: &str = "dockerd --icc=false --userland-proxy=false --no-new-privileges --default-ulimit nofile=1";

#[test]
fn each_rule_has_an_engine_that_breaks_it_and_one_keeps_them_all() {
    let same = |_: &mut Value| ();
    assert_eq!(engine(&json!({}), GOOD, same), [""; 0]);
    let of_file =
        json!({"icc": false, "userland-proxy": false, "no-new-privileges": true, "default-ulimits": {}, "log-level": "info"});
    assert_eq!(engine(&of_file, "dockerd", same), [""; 0]);
    for (rule, file, flags) in [
        ("inter-container", json!({"icc": false}), " --icc"),
        ("log-level", json!({"log-level": "debug"}), " --log-level=debug"),
        ("iptables-off", json!({"iptables": false}), " --iptables=false"),
        ("insecure-registry", json!({"insecure-registries": ["r"]}), " --insecure-registry r"),
        ("daemon-cgroup-parent", json!({"cgroup-parent": "x"}), " --cgroup-parent x"),
        ("base-device-size", json!({"storage-opts": ["dm.basesize=1"]}), " --storage-opt dm.basesize=1"),
    ] {
        if rule != "inter-container" {
            assert_eq!(engine(&file, GOOD, same), [rule]);
        }
        assert_eq!(engine(&json!({}), &format!("{GOOD}{flags}"), same), [rule], "{flags}");
    }
    for (rule, member, value) in [
        ("storage-driver", "Driver", json!("aufs")),
        ("local-logs", "LoggingDriver", json!("json-file")),
        ("live-restore", "LiveRestoreEnabled", json!(false)),
        ("experimental", "ExperimentalBuild", json!(true)),
        ("no-authorization", "Plugins", json!({"Authorization": null})),
        ("swarm", "Swarm", json!({"LocalNodeState": "active"})),
        ("daemon-seccomp", "SecurityOptions", json!(["name=rootless", "name=seccomp,profile=unconfined"])),
    ] {
        assert_eq!(engine(&json!({}), GOOD, |info| info[member] = value.clone()), [rule], "{member}");
    }
    let found = engine(&json!({}), GOOD, |info| info["SecurityOptions"] = json!(["name=seccomp,profile=builtin"]));
    assert_eq!(found, ["root-daemon", "user-namespaces"]);
    assert_eq!(
        engine(&json!({}), "dockerd", same),
        ["inter-container", "default-ulimits", "daemon-no-new-privileges", "userland-proxy"]
    );
    let (nothing, info) = (|_: &str| None, json!({}));
    let daemon = Daemon { info: &info, file: &nothing, words: None, open: Some("0.0.0.0:2375") };
    assert!(of_daemon(&daemon).iter().any(|finding| finding.rule == OwnRule::TcpOpen.into()));
}

#[test]
fn what_would_close_findings_is_said() {
    let described = json!({"Config": {"Image": "a:1"}, "HostConfig": {"Privileged": true}});
    let findings = of_container(&described, "x").unwrap();
    let (add, leave) = run_fix(&findings.iter().collect::<Vec<_>>());
    let add = add.join(" ");
    assert!(
        add.starts_with("--read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges")
            && add.contains("--user 10001")
    );
    assert_eq!(leave, ["leave out --privileged"]);
    let (nothing, info) = (|_: &str| None, json!({}));
    let daemon = Daemon { info: &info, file: &nothing, words: None, open: None };
    assert_eq!(daemon_fix(&of_daemon(&daemon))["icc"], false);
}
