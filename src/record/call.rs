//! What of a call is kept: its route, and of query and JSON what intents are read from. What may be a secret is not: headers, environments,
//! commands, labels, options of drivers, credentials. Whether enough is left is not believed but tried: what is kept is read again.

use crate::order::Ordered as _;

use serde_json::{Map, Value};

use crate::policy::{LOCAL, Made};
use crate::request::{Intent, Transport};
use crate::wire::Call;

/// Parameters of queries that say what is done to what. All others are left out: `buildargs`, `remote`, `fromSrc`, `signal` …
const QUERY: [&str; 13] = [
    "fromImage",
    "tag",
    "platform",
    "name",
    "repo",
    "force",
    "v",
    "link",
    "container",
    "rollback",
    "checkpoint",
    "all",
    "noprune",
];
/// Members of the JSON whose values say how something runs. Compared without case, as the engine does.
const MEMBERS: [&str; 62] = [
    "Image",
    "User",
    "HostConfig",
    "Binds",
    "Mounts",
    "Type",
    "Source",
    "Target",
    "ReadOnly",
    "BindOptions",
    "Propagation",
    "NonRecursive",
    "CreateMountpoint",
    "Privileged",
    "PublishAllPorts",
    "PortBindings",
    "HostIp",
    "HostPort",
    "NetworkMode",
    "PidMode",
    "IpcMode",
    "UTSMode",
    "UsernsMode",
    "CgroupnsMode",
    "Cgroup",
    "CgroupParent",
    "CapAdd",
    "CapDrop",
    "SecurityOpt",
    "MaskedPaths",
    "ReadonlyPaths",
    "ReadonlyRootfs",
    "Devices",
    "PathOnHost",
    "PathInContainer",
    "CgroupPermissions",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Count",
    "Capabilities",
    "VolumesFrom",
    "VolumeDriver",
    "Runtime",
    "Memory",
    "MemorySwap",
    "NanoCpus",
    "CpuQuota",
    "CpuPeriod",
    "CpuShares",
    "PidsLimit",
    "Ulimits",
    "Name",
    "Hard",
    "Soft",
    "RestartPolicy",
    "MaximumRetryCount",
    "Isolation",
    "Driver",
    "Internal",
    "CheckDuplicate",
    "Attachable",
    "LogConfig",
];
/// Those whose members may be called anything.
const MAPS: [&str; 1] = ["PortBindings"];
/// Deepest JSON that is looked at. Honest bodies have six levels.
const DEPTH: usize = 16;
/// Longest name of a record, characters.
const NAME_CHARS: usize = 200;

/// What of a call is kept.
pub(super) fn kept(call: &Call, intent: &Intent) -> Made {
    let target = target(&call.uri);
    let body = call.body.as_deref().and_then(|body| serde_json::from_slice(body).ok()).and_then(|body| members(body, false, 0));
    let is_named = !matches!(call.user.as_str(), "" | LOCAL) && !call.user.trim().is_empty();
    let mut lacks = Vec::new();
    let is_local = call.user.is_empty() && call.user_authn_method.is_empty();
    if !is_named && !is_local {
        lacks.push("a caller who is called nothing, or `local`".to_owned());
    }
    let body = body.map(|body| body.to_string());
    if !reads_alike(call, &target, body.as_deref(), intent) {
        lacks.push("all of the call".to_owned());
    }
    let name: String = format!("{} {}", intent.action(), intent.subject()).trim().chars().take(NAME_CHARS).collect();
    Made {
        name,
        method: call.method.clone(),
        target,
        body,
        user: is_named.then(|| call.user.clone()),
        has_certificate: !call.user_authn_method.is_empty(),
        lacks,
    }
}

/// Whether what is kept means what the call meant. Headers are those that a case has.
fn reads_alike(call: &Call, target: &str, body: Option<&str>, intent: &Intent) -> bool {
    let json = || [("Content-Type".to_owned(), "application/json".to_owned())].ordered();
    let kept = Call {
        user: call.user.clone(),
        user_authn_method: call.user_authn_method.clone(),
        method: call.method.clone(),
        uri: target.to_owned(),
        headers: body.map(|_| json()).unwrap_or_default(),
        body: body.map(|body| body.as_bytes().to_vec()),
        outcome: None,
        certificate: None,
    };
    Intent::over(&kept, Transport::Http1) == *intent
}

/// The path, and the parameters that are kept, as they stand.
fn target(uri: &str) -> String {
    let Some((path, query)) = uri.split_once('?') else { return uri.to_owned() };
    let is_kept = |parameter: &&str| QUERY.contains(&parameter.split('=').next().unwrap_or_default());
    let kept: Vec<&str> = query.split('&').filter(is_kept).collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

/// What of a value is kept; `None`: nothing. In a list every place stays, so that it reads as it did.
fn members(value: Value, is_map: bool, depth: usize) -> Option<Value> {
    if depth > DEPTH {
        return None;
    }
    match value {
        Value::Object(object) => {
            let is_kept = |name: &str| is_map || MEMBERS.iter().any(|member| member.eq_ignore_ascii_case(name));
            let is_map_too = |name: &str| !is_map && MAPS.iter().any(|map| map.eq_ignore_ascii_case(name));
            let kept = object.into_iter().filter(|(name, value)| is_kept(name) && !says_nothing(value));
            let kept = kept.filter_map(|(name, value)| {
                let value = members(value, is_map_too(&name), depth + 1)?;
                Some((name, value))
            });
            Some(Value::Object(kept.ordered::<Map<_, _>>()))
        }
        Value::Array(array) => {
            let kept = array.into_iter().map(|value| members(value, is_map, depth + 1).unwrap_or(Value::Null));
            Some(Value::Array(kept.collect()))
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => Some(other),
    }
}

/// What clients send of everything that nobody has set.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(array) => array.is_empty(),
        Value::Object(object) => object.is_empty(),
        // A limit of 0 is not the absence of one to who reads it.
        Value::Number(_) => false,
        Value::Bool(is_true) => !is_true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: &str, uri: &str, body: &str) -> Call {
        let posted = serde_json::json!({
            "RequestMethod": method,
            "RequestUri": uri,
            "RequestHeaders": { "Content-Type": "application/json", "X-Registry-Auth": "hunter2" },
        });
        let call = Call::decode(posted.to_string().as_bytes()).unwrap();
        if body.is_empty() {
            return Call { headers: [("X-Registry-Auth".to_owned(), "hunter2".to_owned())].ordered(), ..call };
        }
        Call { body: Some(body.as_bytes().to_vec()), ..call }
    }

    fn made(method: &str, uri: &str, body: &str) -> Made {
        let call = call(method, uri, body);
        kept(&call, &Intent::over(&call, Transport::Http1))
    }

    #[test]
    fn what_decides_is_kept_and_no_secret() {
        // As docker's own client writes it: everything, set or not.
        let create = r#"{"Hostname":"","User":"app","AttachStdin":false,"ExposedPorts":{"80/tcp":{}},"Tty":false,"Env":["A_PASSWORD=hunter2"],
            "Cmd":["sh","-c","login hunter2"],"Image":"r.example/a:1","Labels":{"token":"hunter2"},"Entrypoint":["hunter2"],
            "HostConfig":{"Binds":["/srv:/srv:ro"],"Privileged":false,"CapAdd":["NET_ADMIN"],"Memory":1048576,"NetworkMode":"default",
            "PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8080"}]},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},
            "LogConfig":{"Type":"","Config":{}},"SecurityOpt":null,"Mounts":[{"Type":"volume","Source":"v","Target":"/v"}]},
            "NetworkingConfig":{"EndpointsConfig":{"default":{"DriverOpts":{"x":"hunter2"}}}}}"#;
        let made = made("POST", "/v1.43/containers/create?name=web&x=hunter2", create);
        assert_eq!(made.lacks, Vec::<String>::new(), "{made:?}");
        assert!(!format!("{made:?}").contains("hunter2"), "{made:?}");
        assert_eq!(made.target, "/v1.43/containers/create?name=web");
        let body = made.body.unwrap();
        for part in ["NET_ADMIN", "/srv:/srv:ro", "8080", "r.example/a:1", "app"] {
            assert!(body.contains(part), "{body}");
        }
    }

    #[test]
    fn what_dockers_own_client_posts_can_be_kept() {
        // docker 20.10, `docker create --privileged`: each member that it sends unasked.
        let body = r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":true,"AttachStderr":true,"Tty":false,
            "OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Image":"r.example/a:1","Volumes":{},"WorkingDir":"",
            "Entrypoint":null,"OnBuild":null,"Labels":{},"HostConfig":{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"",
            "Config":{}},"NetworkMode":"default","PortBindings":{},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},
            "AutoRemove":false,"VolumeDriver":"","VolumesFrom":null,"CapAdd":null,"CapDrop":null,"CgroupnsMode":"","Dns":[],
            "DnsOptions":[],"DnsSearch":[],"ExtraHosts":null,"GroupAdd":null,"IpcMode":"","Cgroup":"","Links":null,"OomScoreAdj":0,
            "PidMode":"","Privileged":true,"PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"UTSMode":"",
            "UsernsMode":"","ShmSize":0,"ConsoleSize":[0,0],"Isolation":"","CpuShares":0,"Memory":0,"NanoCpus":0,"CgroupParent":"",
            "BlkioWeight":0,"BlkioWeightDevice":[],"BlkioDeviceReadBps":null,"BlkioDeviceWriteBps":null,"BlkioDeviceReadIOps":null,
            "BlkioDeviceWriteIOps":null,"CpuPeriod":0,"CpuQuota":0,"CpuRealtimePeriod":0,"CpuRealtimeRuntime":0,"CpusetCpus":"",
            "CpusetMems":"","Devices":[],"DeviceCgroupRules":null,"DeviceRequests":null,"KernelMemory":0,"KernelMemoryTCP":0,
            "MemoryReservation":0,"MemorySwap":0,"MemorySwappiness":-1,"OomKillDisable":false,"PidsLimit":0,"Ulimits":null,
            "CpuCount":0,"CpuPercent":0,"IOMaximumIOps":0,"IOMaximumBandwidth":0,"MaskedPaths":null,"ReadonlyPaths":null},
            "NetworkingConfig":{"EndpointsConfig":{}}}"#;
        let call = call("POST", "/v1.41/containers/create", body);
        let intent = Intent::over(&call, Transport::Http1);
        let found = kept(&call, &intent);
        let again = Call { body: found.body.clone().map(String::into_bytes), ..call };
        assert_eq!(Intent::over(&again, Transport::Http1), intent);
        assert_eq!(found.lacks, Vec::<String>::new());
    }

    #[test]
    fn of_what_cannot_be_kept_it_is_told_that_something_is_lacking() {
        for (method, uri, body, lacks) in [
            ("POST", "/images/create?fromImage=r.example%2Fa&tag=1", "", false),
            ("POST", "/containers/web/start", "", false),
            ("DELETE", "/containers/web?force=1&v=1", "", false),
            ("POST", "/containers/web/rename?name=x", "", false),
            ("POST", "/build?remote=https%3A%2F%2Fu%3Ahunter2%40h&buildargs=%7B%22A%22%3A%22hunter2%22%7D", "", false),
            ("POST", "/containers/web/exec", r#"{"Cmd":["hunter2"],"User":"root","Env":["A=hunter2"]}"#, false),
            (
                "POST",
                "/volumes/create",
                r#"{"Name":"v","DriverOpts":{"type":"cifs","o":"password=hunter2","device":"//h/s"}}"#,
                true,
            ),
            (
                "POST",
                "/services/create",
                r#"{"TaskTemplate":{"ContainerSpec":{"Image":"r.example/a:1","Env":["A=hunter2"]}}}"#,
                true,
            ),
        ] {
            let made = made(method, uri, body);
            assert_eq!(!made.lacks.is_empty(), lacks, "{made:?}");
            assert!(!format!("{made:?}").contains("hunter2"), "{made:?}");
        }
    }

    #[test]
    fn hostile_json_ends_and_keeps_nothing_unread() {
        let deep = format!("{}1{}", r#"{"HostConfig":"#.repeat(100), "}".repeat(100));
        for body in [deep.as_str(), "[[[[1]]]]", "null", "{", "\"x\"", r#"{"Image":{"Image":[{"Image":1}]}}"#] {
            let made = made("POST", "/containers/create", body);
            assert!(made.body.is_none_or(|body| body.len() < 2000));
        }
    }

    #[test]
    fn who_calls_is_kept_as_a_case_can_say_it() {
        for (user, method, named, lacks) in
            [("", "", None, false), ("alice", "TLS", Some("alice"), false), ("local", "TLS", None, true), ("", "TLS", None, true)]
        {
            let call =
                Call { user: user.to_owned(), user_authn_method: method.to_owned(), ..call("POST", "/containers/a/stop", "") };
            let made = kept(&call, &Intent::over(&call, Transport::Http1));
            assert_eq!((made.user.as_deref(), !made.lacks.is_empty()), (named, lacks), "{user} {method}");
            assert_eq!(made.has_certificate, method == "TLS");
        }
    }
}
