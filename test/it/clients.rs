//! How clients of the Docker API send what they send all day (docs/clients.md), read as it is meant: headers and bodies are those of
//! the clients' sources. Beside each, what an attacker makes of it.

use img_authz::image::ImageName;
use img_authz::request::{ContainerAccess, Ingest, Intent, Pull, Pulled, Start, StartAction, StartExtra, Transport, Unreadable};
use img_authz::wire::Call;
use serde_json::{Value, json};

/// A client, and how it sends a POST without a body.
struct Client {
    name: &'static str,
    headers: &'static [(&'static str, &'static str)],
    /// What stands in an otherwise empty POST.
    body: Option<&'static str>,
    /// Whether an engine that serves HTTP/2 shows for certain that no form hides.
    sure: bool,
}

const CLIENTS: &[Client] = &[
    Client { name: "moby's Go client from 25 on", headers: &[("Content-Length", "0")], body: None, sure: true },
    // Watchtower, older GitLab runners and Portainers.
    Client {
        name: "moby's Go client up to 24",
        headers: &[("Content-Length", "0"), ("Content-Type", "text/plain")],
        body: None,
        sure: false,
    },
    Client {
        name: "go-dockerclient",
        headers: &[("Accept-Encoding", "gzip"), ("Content-Length", "0"), ("Content-Type", "plain/text")],
        body: None,
        sure: false,
    },
    // Testcontainers for Java.
    Client {
        name: "docker-java",
        headers: &[
            ("Accept", "application/json"),
            ("Accept-Encoding", "gzip, x-gzip, deflate"),
            ("Connection", "keep-alive"),
            ("Content-Length", "0"),
            ("Content-Type", "application/json"),
        ],
        body: None,
        sure: true,
    },
    // It writes the missing entity of some calls as JSON, in chunks.
    Client {
        name: "docker-java of before 2021",
        headers: &[("Connection", "keep-alive"), ("Content-Type", "application/json")],
        body: Some("null"),
        sure: true,
    },
    Client {
        name: "docker-py",
        headers: &[
            ("Accept", "*/*"),
            ("Accept-Encoding", "gzip, deflate"),
            ("Connection", "keep-alive"),
            ("Content-Length", "0"),
        ],
        body: None,
        sure: true,
    },
    Client { name: "dockerode", headers: &[("Connection", "keep-alive"), ("Content-Length", "0")], body: None, sure: true },
    Client {
        name: "Portainer",
        headers: &[
            ("Accept", "application/json, text/plain, */*"),
            ("Content-Length", "2"),
            ("Content-Type", "application/json"),
        ],
        body: Some("{}"),
        sure: true,
    },
];

fn call(uri: &str, headers: &[(&str, &str)], body: Option<&str>) -> Call {
    let headers: Value =
        headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<serde_json::Map<_, _>>().into();
    let mut posted = json!({"RequestMethod": "POST", "RequestUri": uri, "RequestHeaders": headers});
    if let Some(body) = body {
        posted["RequestBody"] = json!(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, body));
    }
    Call::decode(posted.to_string().as_bytes()).unwrap()
}

fn json_call(uri: &str, body: &str) -> Call {
    call(uri, &[("Content-Length", &body.len().to_string()), ("Content-Type", "application/json")], Some(body))
}

fn started(action: StartAction, extra: Option<StartExtra>) -> Intent {
    Intent::Start(Start { container: "web".to_owned(), action, extra, terms: None })
}

fn pulled() -> Intent {
    let what = Pulled::Tag("1.0".parse().unwrap());
    Intent::Pull(Pull { repository: "registry.test:5000/app".parse().unwrap(), what })
}

/// Calls whose parameters are in the query, where a form would beat them.
fn of_query() -> [(&'static str, Intent); 3] {
    let target = Some("registry.test:5000/b:1.0".parse().unwrap());
    [
        ("/images/create?fromImage=registry.test%3A5000%2Fapp&tag=1.0", pulled()),
        ("/containers/web/rename?name=web2", Intent::Rename { container: "web".into(), name: "web2".into() }),
        ("/images/app/tag?repo=registry.test%3A5000%2Fb&tag=1.0", Intent::Ingest(Ingest::Tag { source: "app".into(), target })),
    ]
}

#[test]
fn calls_without_a_body_are_read_however_a_client_sends_them() {
    for Client { name, headers, body, sure } in CLIENTS {
        for transport in [Transport::Http1, Transport::MaybeHttp2] {
            let of = |uri: &str| Intent::over(&call(uri, headers, *body), transport);
            let unsure = transport == Transport::MaybeHttp2 && !sure;
            let read = |meant: Intent| if unsure { Intent::Unreadable(Unreadable::MaybeForm) } else { meant };
            for (uri, meant) in of_query() {
                assert_eq!(of(uri), read(meant), "{name} {transport:?} {uri}");
            }
            for version in ["", "/v1.24", "/v1.41"] {
                let start = of(&format!("{version}/containers/web/start"));
                // In chunks, the engine refuses it from API 1.24 on; the client does not send a start so.
                if *name != "docker-java of before 2021" {
                    assert_eq!(start, read(started(StartAction::Start, None)), "{name} {transport:?}");
                }
                let restart = of(&format!("{version}/containers/web/restart?t=5"));
                assert_eq!(restart, read(started(StartAction::Restart, None)), "{name} {transport:?}");
            }
            assert_eq!(of("/containers/web/stop?t=5"), Intent::Harmless, "{name}");
            assert_eq!(of("/containers/web/wait?condition=removed"), Intent::Harmless, "{name}");
            assert_eq!(of("/containers/web/attach?stream=1"), Intent::ContainerAccess(ContainerAccess::Attach), "{name}");
        }
    }
}

/// The fake: the same headers with a length that a form could have, and no body shown.
#[test]
fn the_same_headers_with_a_body_that_is_not_shown_are_refused() {
    for Client { name, headers, .. } in CLIENTS {
        let Some(kind) = headers.iter().find(|(header, _)| *header == "Content-Type") else { continue };
        for transport in [Transport::Http1, Transport::MaybeHttp2] {
            for length in [Some("29"), None] {
                let mut headers: Vec<_> = headers.iter().copied().filter(|(header, _)| *header != "Content-Length").collect();
                headers.extend(length.map(|length| ("Content-Length", length)));
                for (uri, _) in of_query() {
                    let read = Intent::over(&call(uri, &headers, None), transport);
                    assert_eq!(read, Intent::Unreadable(Unreadable::HiddenBody), "{name} {kind:?} {length:?} {uri}");
                }
                let start = Intent::over(&call("/v1.23/containers/web/start", &headers, None), transport);
                assert_eq!(start, started(StartAction::Start, Some(StartExtra::Body)), "{name} {kind:?} {length:?}");
                // The daemon would wait for it before it looks the name up.
                let restart = Intent::over(&call("/containers/web/restart", &headers, None), transport);
                assert_eq!(restart, Intent::Unreadable(Unreadable::HiddenBody), "{name} {kind:?} {length:?}");
            }
        }
    }
}

/// dockerode gives the options of a call in the query and, as JSON, in the body.
#[test]
fn options_that_stand_in_the_body_too_change_nothing() {
    let body = r#"{"fromImage":"registry.test:5000/app","tag":"1.0"}"#;
    for transport in [Transport::Http1, Transport::MaybeHttp2] {
        for (uri, meant) in of_query() {
            assert_eq!(Intent::over(&json_call(uri, body), transport), meant, "{uri}");
        }
    }
    // What the body names is not what the engine pulls.
    let other = json_call("/images/create?fromImage=evil&tag=1", body);
    assert_ne!(Intent::of(&other), pulled());
}

fn created(body: &str) -> (Option<ImageName>, Vec<&'static str>) {
    match Intent::of(&json_call("/containers/create?name=web", body)) {
        Intent::Create(create) => (create.image, create.host_access.into_iter().map(|access| access.id).collect()),
        other => panic!("{body}: {other:?}"),
    }
}

/// Host access is looked at in posture `lockdown` alone; docs/clients.md says which a client needs.
#[test]
fn creates_name_their_image_and_the_host_access_that_the_clients_need() {
    let id = "sha256:549c580d58305f700cd469dec62d04c1b56b80a1ceebb7922649447fa0eed375";
    for (client, body, image, host_access) in [
        (
            "docker-java",
            r#"{"Hostname":null,"AttachStdin":null,"PortSpecs":null,"Env":["A=b"],"Cmd":["sleep","300"],"Healthcheck":null,
                "Image":"registry.test:5000/app:1.0","Volumes":{},"ExposedPorts":{"8080/tcp":{}},"HostConfig":{"Binds":null,
                "CapAdd":null,"Devices":null,"NetworkMode":null,"Mounts":null,"Privileged":null,"PortBindings":{"8080/tcp":[{"HostIp":"",
                "HostPort":""}]},"SecurityOpt":null,"Sysctls":null,"VolumesFrom":[],"LogConfig":null},"Labels":{"a":"b"},
                "NetworkingConfig":null}"#,
            "registry.test:5000/app:1.0",
            vec![],
        ),
        (
            "Testcontainers' reaper",
            r#"{"Image":"testcontainers/ryuk:0.14.0","ExposedPorts":{"8080/tcp":{}},"HostConfig":{"AutoRemove":true,
                "Binds":["/var/run/docker.sock:/var/run/docker.sock:rw"],"Privileged":true}}"#,
            "testcontainers/ryuk:0.14.0",
            vec!["privileged", "bind"],
        ),
        (
            "GitLab runner, by the id it looked up",
            &format!(
                r#"{{"Image":"{id}","Cmd":["sh"],"OpenStdin":true,"StdinOnce":true,"HostConfig":{{"Binds":["runner-cache:/cache"],
                    "NetworkMode":"default","RestartPolicy":{{"Name":"no"}},"LogConfig":{{"Type":"json-file","Config":null}},
                    "CapAdd":null,"SecurityOpt":null,"Privileged":false}}}}"#
            ),
            id,
            vec![],
        ),
        (
            "cri-dockerd, a sandbox",
            r#"{"Hostname":"pod","Image":"registry.k8s.io/pause:3.9","HostConfig":{"IpcMode":"shareable","NetworkMode":"none",
                "CgroupParent":"kubepods-besteffort.slice","OomScoreAdj":-998,"SecurityOpt":["no-new-privileges"]}}"#,
            "registry.k8s.io/pause:3.9",
            vec!["cgroup-parent"],
        ),
        (
            "cri-dockerd, a container",
            &format!(
                r#"{{"Image":"{id}","Entrypoint":["/app"],"Healthcheck":{{"Test":["NONE"]}},"HostConfig":{{
                    "Binds":["/var/lib/kubelet/pods/p/volumes/v:/v:ro"],"NetworkMode":"container:1f2e","IpcMode":"container:1f2e",
                    "CgroupParent":"kubepods.slice","SecurityOpt":["seccomp=unconfined"],"Devices":[]}}}}"#
            ),
            id,
            vec!["bind", "security-opt", "namespace", "namespace", "cgroup-parent"],
        ),
        (
            "Watchtower and Portainer, as the old container is shown",
            r#"{"Image":"registry.test:5000/app:1.0","Hostname":"h","HostConfig":{"Binds":null,"LogConfig":{"Type":"json-file",
                "Config":{}},"NetworkMode":"default","CgroupnsMode":"private","IpcMode":"private","Runtime":"runc","CapAdd":null,
                "MaskedPaths":["/proc/asound"],"ReadonlyPaths":["/proc/bus"]}}"#,
            "registry.test:5000/app:1.0",
            vec!["runtime", "masked-paths", "readonly-paths"],
        ),
    ] {
        let (found, mut opened) = created(body);
        let mut host_access = host_access;
        opened.sort_unstable();
        host_access.sort_unstable();
        assert_eq!((found, opened), (Some(ImageName::parse(image).unwrap()), host_access), "{client}");
    }
}
