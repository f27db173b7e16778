//! The client against an engine of a few lines on a unix socket; the readings against answers of real engines.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;

use super::*;
use crate::image::Digest;

const ID: &str = "89959df9899a448bb54dcbf1905c3a70eee98aae0080ba4a85f111b66fdb4b5a";

/// What a server engine does with a connection that brought a request.
#[derive(Clone, Copy)]
enum Act {
    /// Answers with this status and body, and keeps the connection.
    Say(u16, &'static str),
    /// As `Say`, then closes without having announced it.
    SayAndClose(u16, &'static str),
    /// Reads and closes.
    Close,
    /// Reads and says nothing.
    Hang,
    /// Promises a body and sends a part of it.
    Stall,
    /// Sends a body of this many bytes, in chunks.
    Flood(usize),
}

/// Reads a request head; `None` when the client is gone.
async fn head(stream: &mut UnixStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return None,
        }
    }
    String::from_utf8(head).ok()
}

async fn act(act: Act, stream: &mut UnixStream) -> bool {
    match act {
        Act::Say(status, body) | Act::SayAndClose(status, body) => {
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.is_ok() && !matches!(act, Act::SayAndClose(..))
        }
        Act::Close => false,
        Act::Hang => std::future::pending().await,
        Act::Stall => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{").await;
            std::future::pending().await
        }
        Act::Flood(bytes) => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            for _ in 0..bytes.div_ceil(1000) {
                if stream.write_all(format!("3e8\r\n{}\r\n", " ".repeat(1000)).as_bytes()).await.is_err() {
                    return false;
                }
            }
            stream.write_all(b"0\r\n\r\n").await.is_ok()
        }
    }
}

/// An engine of scripted answers: does the acts in turn, the last one over and over.
struct Server {
    _folder: tempfile::TempDir,
    engine: Engine,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn new(acts: &[Act]) -> Self {
        Self::with_limits(acts, CallLimits::default())
    }

    fn with_limits(acts: &[Act], limits: CallLimits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let acts = acts.to_vec();
        let (seen, count) = (Arc::clone(&heads), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (seen, acts) = (Arc::clone(&seen), acts.clone());
                tokio::spawn(async move {
                    while let Some(head) = head(&mut stream).await {
                        let turn = {
                            let mut seen = seen.lock().unwrap();
                            seen.push(head);
                            seen.len() - 1
                        };
                        if !act(acts[turn.min(acts.len() - 1)], &mut stream).await {
                            return;
                        }
                    }
                });
            }
        });
        let engine = Engine::with_limits(&format!("unix://{}", socket.display()), limits).unwrap().speaking(1, 41);
        Self { _folder: folder, engine, heads, connections }
    }

    fn head(&self, index: usize) -> String {
        self.heads.lock().unwrap()[index].clone()
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

const VERSION: &str = r#"{"Version":"20.10.24+dfsg1","ApiVersion":"1.41","MinAPIVersion":"1.12","Os":"linux","Arch":"amd64"}"#;

/// Of dockerd 20.10.24, shortened.
const IMAGE: &str = r#"{"Id":"sha256:6ec8d75316d5fc4be24b8c057d4f80895137aedbd3cf82d5dc7fa1f05c4277c5",
    "RepoTags":["127.0.0.1:5577/team/app:1","other:2","<none>:<none>"],
    "RepoDigests":["127.0.0.1:5577/team/app@sha256:611fbaab1a5133a61b099e19d85538ce11c2632750ba68ea6c94a9dfbd9a8ecb","<none>@<none>"],
    "Parent":"","Comment":"Imported from -","Created":"2026-11-22T02:09:14.436414855Z","Container":"","ContainerConfig":{"Env":null},
    "Config":{"User":"1000","ExposedPorts":{"80/tcp":{}},"Env":["SECRET=hunter2"],"Cmd":["/bin/busybox"],"Labels":{"who":"good"}},
    "Architecture":"amd64","Os":"linux","Size":1982263,"GraphDriver":{"Name":"overlay2","Data":{}},
    "RootFS":{"Type":"layers","Layers":["sha256:e4bc2012c97453873ab95d7e086cf2f00ef94f7f46ffd8af486e805fb0489f9c"]}}"#;

/// Of dockerd 20.10.24, shortened, with the mounts of one of API 1.48.
const CONTAINER: &str = r#"{"Id":"89959df9899a448bb54dcbf1905c3a70eee98aae0080ba4a85f111b66fdb4b5a","Created":"2026-11-22T02:09:15.622283986Z",
    "State":{"Status":"running","Running":true,"StartedAt":"2026-11-22T02:09:15.834632079Z","FinishedAt":"0001-01-01T00:00:00Z"},
    "Image":"sha256:6ec8d75316d5fc4be24b8c057d4f80895137aedbd3cf82d5dc7fa1f05c4277c5","Name":"/web",
    "HostConfig":{"Binds":null,"Mounts":[{"Type":"bind","Source":"/etc","Target":"/a"},{"Type":"image","Source":"evil:latest","Target":"/b"},
        {"Type":"image","Target":"/c"}]},
    "Mounts":[],"Config":{"Image":"127.0.0.1:5577/team/app:1","Env":["SECRET=hunter2"]}}"#;

#[tokio::test]
async fn an_image_is_read_and_its_unreadable_names_are_left_out() {
    let server = Server::new(&[Act::Say(200, IMAGE)]);
    let image = server.engine.image("other:2", soon()).await.unwrap().unwrap();
    assert_eq!(image.id.to_string(), "sha256:6ec8d75316d5fc4be24b8c057d4f80895137aedbd3cf82d5dc7fa1f05c4277c5");
    let tags: Vec<_> = image.repo_tags.iter().map(ToString::to_string).collect();
    assert_eq!(tags, ["127.0.0.1:5577/team/app:1", "docker.io/library/other:2"]);
    assert_eq!(image.repo_digests.len(), 1);
    assert_eq!(image.repo_digests[0].0.as_str(), "127.0.0.1:5577/team/app");
    assert_eq!(image.config.platform.to_string(), "linux/amd64");
    assert_eq!(image.config.layers.len(), 1);
    assert_eq!(image.config.created, Some("2026-11-22T02:09:14.436414855Z".parse().unwrap()));
    assert_eq!((image.config.user.as_str(), image.config.has_healthcheck()), ("1000", false));
    assert_eq!(image.config.ports, ["80/tcp"]);
}

/// An archive for `docker load` may give evil content the name `good@<signed digest>` in the containerd store.
#[test]
fn in_the_containerd_store_a_name_claims_no_digest() {
    let (own, signed) = (Digest::of(b"evil manifest"), Digest::of(b"good manifest"));
    let read = |more: &str, pulled: &[&Digest]| {
        let pulled: Vec<_> = pulled.iter().map(|digest| format!("r.example/good@{digest}")).collect();
        let json = serde_json::json!({ "Id": own.to_string(), "RepoTags": ["r.example/good:1"], "RepoDigests": pulled });
        let json = json.to_string().replacen('{', &format!("{{{more}"), 1);
        let image: Image = serde_json::from_str(&json).unwrap();
        image.repo_digests.into_iter().map(|(_, digest)| digest).collect::<Vec<_>>()
    };
    let descriptor = r#""Descriptor":{"digest":"x"},"#;
    let snapshotter = r#""GraphDriver":{"Name":"overlayfs","Data":null},"#;
    assert_eq!(read(descriptor, &[&signed, &own]), [own]);
    assert_eq!(read(descriptor, &[&signed]), []);
    assert_eq!(read(snapshotter, &[&signed]), []);
    assert_eq!(read("", &[&signed, &own]), [own]);
    assert_eq!(read("", &[&signed]), []);
    // In the classic store the engine itself made it, at the end of a pull or push.
    for driver in [r#""GraphDriver":{"Name":"overlay2","Data":{}},"#, r#""GraphDriver":{"Name":"vfs","Data":null},"#] {
        assert_eq!(read(driver, &[&signed]), [signed], "{driver}");
    }
}

#[tokio::test]
async fn values_of_the_environment_do_not_print() {
    let server = Server::new(&[Act::Say(200, IMAGE)]);
    let image = server.engine.image("other:2", soon()).await.unwrap().unwrap();
    let text = format!("{image:?}");
    assert!(text.contains("SECRET") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_container_is_read_with_its_image_mounts() {
    let server = Server::new(&[Act::Say(200, CONTAINER)]);
    let container = server.engine.container("web", soon()).await.unwrap().unwrap();
    assert_eq!((container.id.as_str(), container.name.as_str()), (ID, "web"));
    assert_eq!(container.image.unwrap().hex(), "6ec8d75316d5fc4be24b8c057d4f80895137aedbd3cf82d5dc7fa1f05c4277c5");
    assert_eq!(container.image_ref, "127.0.0.1:5577/team/app:1");
    // A mount of no source is kept: the gate must refuse it, not overlook it.
    assert_eq!(container.mounts, ["evil:latest", ""]);
    assert!(container.running && container.started_at.is_some());
}

#[tokio::test]
async fn a_container_of_no_image_has_none() {
    let json = r#"{"Id":"89959df9899a448bb54dcbf1905c3a70eee98aae0080ba4a85f111b66fdb4b5a","Name":"/e","Image":"","Config":{"Image":""},
        "State":{"Running":false,"StartedAt":"0001-01-01T00:00:00Z"},"HostConfig":{"Mounts":null}}"#;
    let server = Server::new(&[Act::Say(200, json)]);
    let container = server.engine.container("e", soon()).await.unwrap().unwrap();
    assert_eq!((container.image, container.started_at, container.mounts), (None, None, Vec::new()));
}

#[tokio::test]
async fn the_platform_manifest_of_the_containerd_store_is_read() {
    let json = r#"{"Id":"89959df9899a448bb54dcbf1905c3a70eee98aae0080ba4a85f111b66fdb4b5a","Name":"/e",
        "Image":"sha256:611fbaab1a5133a61b099e19d85538ce11c2632750ba68ea6c94a9dfbd9a8ecb","State":{"Running":false},
        "ImageManifestDescriptor":{"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "digest":"sha256:6ec8d75316d5fc4be24b8c057d4f80895137aedbd3cf82d5dc7fa1f05c4277c5","size":1,
        "platform":{"architecture":"arm64","os":"linux","variant":"v8"}}}"#;
    let server = Server::new(&[Act::Say(200, json)]);
    let container = server.engine.container("e", soon()).await.unwrap().unwrap();
    assert_eq!(container.manifest.unwrap().hex(), "6ec8d75316d5fc4be24b8c057d4f80895137aedbd3cf82d5dc7fa1f05c4277c5");
    assert_eq!(container.platform.unwrap().to_string(), "linux/arm64/v8");
}

#[tokio::test]
async fn both_specifications_of_a_service_are_read() {
    let json = r#"{"ID":"s1","Version":{"Index":3},"Spec":{"Name":"a","TaskTemplate":{"ContainerSpec":{"Image":"good:1@sha256:x",
        "Mounts":[{"Type":"image","Source":"m"}]},"Runtime":"container"}},
        "PreviousSpec":{"TaskTemplate":{"PluginSpec":{"Remote":"evil/plugin"},"Runtime":"plugin"}}}"#;
    let server = Server::new(&[Act::Say(200, json)]);
    let service = server.engine.service("a", soon()).await.unwrap().unwrap();
    assert_eq!(service.spec.image.as_deref(), Some("good:1@sha256:x"));
    assert_eq!(service.spec.image_mounts, ["m"]);
    let previous = service.previous.unwrap();
    assert_eq!((previous.image, previous.plugin.as_deref(), previous.runtime.as_str()), (None, Some("evil/plugin"), "plugin"));
}

#[tokio::test]
async fn lists_plugins_execs_and_the_engine_itself_are_read() {
    let containers = r#"[{"Id":"89959df9899a448bb54dcbf1905c3a70eee98aae0080ba4a85f111b66fdb4b5a","Names":["/web"],"Image":"a:1",
        "ImageID":"sha256:6ec8d75316d5fc4be24b8c057d4f80895137aedbd3cf82d5dc7fa1f05c4277c5","State":"running"}]"#;
    let images = r#"[{"Id":"sha256:6ec8d75316d5fc4be24b8c057d4f80895137aedbd3cf82d5dc7fa1f05c4277c5","RepoDigests":null,"RepoTags":["a:1"]}]"#;
    let exec = r#"{"ID":"x","Running":true,"ContainerID":"89959df9899a448bb54dcbf1905c3a70eee98aae0080ba4a85f111b66fdb4b5a",
        "ProcessConfig":{"privileged":true}}"#;
    let info = r#"{"ID":"I","ServerVersion":"28.5.2","DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]],
        "Plugins":{"Authorization":["gate"]},"Swarm":{"LocalNodeState":"active"},"SecurityOptions":["name=seccomp,profile=default"]}"#;
    let plugin = r#"{"Id":"p1","Name":"img-authz:latest","Enabled":true,"Config":{}}"#;
    let server = Server::new(&[
        Act::Say(200, containers),
        Act::Say(200, images),
        Act::Say(200, exec),
        Act::Say(200, info),
        Act::Say(200, plugin),
        Act::Say(200, VERSION),
        Act::Say(200, "[]"),
    ]);
    let engine = &server.engine;
    let containers = engine.containers(soon()).await.unwrap().whole().unwrap();
    assert_eq!((containers[0].names[0].as_str(), containers[0].state.as_str()), ("web", "running"));
    assert!(server.head(0).starts_with("GET /v1.41/containers/json?all=1 HTTP/1.1\r\n"));
    assert_eq!(engine.images(soon()).await.unwrap()[0].repo_tags.len(), 1);
    assert!(engine.exec("x", soon()).await.unwrap().unwrap().privileged);
    let info = engine.info(soon()).await.unwrap();
    assert_eq!((info.store, info.swarm.as_str(), info.security), (Store::Containerd, "active", vec!["seccomp".to_owned()]));
    assert!(engine.plugin("img-authz", soon()).await.unwrap().unwrap().enabled);
    assert_eq!(engine.version(soon()).await.unwrap().api, "1.41");
    assert_eq!(engine.containers(soon()).await.unwrap(), Listed::default());
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let server = Server::new(&[Act::Say(200, VERSION)]);
    for _ in 0..5 {
        server.engine.version(soon()).await.unwrap();
        // The connection returns to the pool when its task has run.
        tokio::task::yield_now().await;
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_connection_that_the_engine_dropped_is_replaced() {
    for dropped in [Act::SayAndClose(200, VERSION), Act::Close] {
        let server = Server::new(&[Act::Say(200, VERSION), dropped, Act::Say(200, VERSION)]);
        for _ in 0..3 {
            assert_eq!(server.engine.version(soon()).await.unwrap().engine, "20.10.24+dfsg1");
        }
    }
}

#[tokio::test]
async fn a_name_reaches_the_engine_whatever_it_holds() {
    let server = Server::new(&[Act::Say(404, r#"{"message":"No such image"}"#)]);
    for (turn, (name, path)) in [
        ("reg.example:5000/team/app:1.0", "/images/reg.example%3A5000%2Fteam%2Fapp%3A1.0/json"),
        ("a?b#c", "/images/a%3Fb%23c/json"),
        ("x HTTP/1.1\r\nEvil: 1", "/images/x%20HTTP%2F1.1%0D%0AEvil%3A%201/json"),
        ("%2e%2e/é\0", "/images/%252e%252e%2F%C3%A9%00/json"),
        ("a@sha256:b", "/images/a%40sha256%3Ab/json"),
        ("", "/images//json"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(server.engine.image(name, soon()).await, Ok(None), "{name:?}");
        let head = server.head(turn);
        assert!(head.starts_with(&format!("GET /v1.41{path} HTTP/1.1\r\n")), "{head}");
    }
}

#[tokio::test]
async fn a_name_beyond_its_bound_is_not_sent() {
    let server = Server::new(&[Act::Say(404, r#"{"message":"No such image"}"#)]);
    assert_eq!(server.engine.image(&"/".repeat(4096), soon()).await, Ok(None));
    assert!(matches!(server.engine.image(&"/".repeat(4097), soon()).await, Err(EngineError::TooLarge { .. })));
    assert_eq!(server.heads.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn calls_carry_the_version_that_both_sides_have() {
    for (api, oldest, spoken) in [
        ("1.41", "1.12", "1.41"),
        ("1.52", "1.44", "1.52"),
        ("1.56", "1.44", "1.52"),
        ("1.60", "1.54", "1.54"),
        ("1.9", "", "1.9"),
    ] {
        let version = format!(r#"{{"Version":"1","ApiVersion":"{api}","MinAPIVersion":"{oldest}"}}"#);
        let server = Server::new(&[Act::Say(200, version.leak()), Act::Say(200, "[]")]);
        server.engine.forget();
        // Not known yet, it is asked for first, once.
        server.engine.images(soon()).await.unwrap();
        server.engine.images(soon()).await.unwrap();
        let lines: Vec<_> = (0..3).map(|turn| server.head(turn).lines().next().unwrap().to_owned()).collect();
        let versioned = format!("GET /v{spoken}/images/json HTTP/1.1");
        assert_eq!(lines, ["GET /version HTTP/1.1", &versioned, &versioned], "{api}");
    }
    let server = Server::new(&[Act::Say(200, r#"{"Version":"1","ApiVersion":"new","MinAPIVersion":""}"#)]);
    server.engine.forget();
    assert!(matches!(server.engine.images(soon()).await, Err(EngineError::Undecodable { .. })));
}

#[tokio::test]
async fn another_engine_in_its_place_is_asked_for_its_version_again() {
    let old = r#"{"message":"client version 1.41 is too old. Minimum supported API version is 1.44, please upgrade"}"#;
    let server = Server::new(&[
        Act::Say(400, old),
        Act::Say(200, r#"{"Version":"29.7.2","ApiVersion":"1.55","MinAPIVersion":"1.44"}"#),
        Act::Say(200, "[]"),
    ]);
    assert_eq!(server.engine.images(soon()).await, Ok(Vec::new()));
    assert!(server.head(2).starts_with("GET /v1.52/images/json "));
    // One that goes on saying so is believed after the second time.
    let server = Server::new(&[Act::Say(400, old), Act::Say(200, VERSION), Act::Say(400, old)]);
    assert!(matches!(server.engine.images(soon()).await, Err(EngineError::Status { status: 400, .. })));
    assert_eq!(server.heads.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn calls_carry_the_mark_and_the_question_for_the_version_none() {
    let server = Server::new(&[Act::Say(200, VERSION)]);
    server.engine.version(soon()).await.unwrap();
    let head = server.head(0);
    assert!(head.starts_with("GET /version HTTP/1.1\r\n"), "{head}");
    let mark = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("x-img-authz-call: ").map(str::to_owned));
    assert!(Engine::is_own(mark.as_deref()));
    assert!(!format!("{:?}", server.engine).contains(&mark.unwrap()));
}

#[tokio::test]
async fn only_the_engines_word_about_the_object_means_absence() {
    let server = Server::new(&[Act::Say(404, r#"{"message":"No such container: x"}"#)]);
    assert_eq!(server.engine.container("x", soon()).await, Ok(None));
    for (status, body, message) in [
        (404, r#"{"message":"page not found"}"#, "page not found"),
        (404, "nothing here", "no message"),
        (301, "", "no message"),
        (403, r#"{"message":"authorization denied by plugin other: no"}"#, "authorization denied by plugin other: no"),
        (500, "{\"message\":\"bad\\nnews\"}", "bad\\nnews"),
        (503, r#"{"message":"This node is not a swarm manager."}"#, "This node is not a swarm manager."),
        (204, "", "no message"),
    ] {
        let server = Server::new(&[Act::Say(status, body)]);
        let error = server.engine.container("x", soon()).await.unwrap_err();
        let call = "GET /containers/x/json".to_owned();
        assert_eq!(error, EngineError::Status { call, status, message: message.to_owned() });
    }
}

#[tokio::test]
async fn an_answer_that_is_not_what_the_api_promises_is_an_error() {
    for body in [
        "",
        "null",
        "[]",
        "{}",
        "{\"Id\":\"sha256:12\"}",
        "not json",
        r#"{"Id":"89959df9899a448bb54dcbf1905c3a70eee98aae0080ba4a85f111b66fdb4b5a","State":{"Running":false},"Image":"evil"}"#,
        r#"{"Id":"89959df9899a","State":{"Running":false},"Image":""}"#,
        r#"{"Id":"89959df9899a448bb54dcbf1905c3a70eee98aae0080ba4a85f111b66fdb4b5a","State":{"Running":false},"Image":"","Image":""}"#,
    ] {
        let server = Server::new(&[Act::Say(200, body)]);
        let answer = server.engine.container("x", soon()).await;
        assert!(matches!(answer, Err(EngineError::Undecodable { .. })), "{body}: {answer:?}");
    }
}

#[tokio::test]
async fn an_engine_that_does_not_answer_is_a_timeout() {
    for act in [Act::Hang, Act::Stall] {
        let server = Server::new(&[act]);
        let deadline = Instant::now() + Duration::from_millis(100);
        let error = server.engine.version(deadline).await.unwrap_err();
        assert_eq!(error, EngineError::Timeout { call: "GET /version".to_owned() });
    }
}

#[tokio::test]
async fn waiting_for_a_turn_is_bounded_too() {
    let server = Server::with_limits(&[Act::Hang], CallLimits { in_flight: 1, ..CallLimits::default() });
    let deadline = Instant::now() + Duration::from_millis(100);
    let (first, second) = tokio::join!(server.engine.version(deadline), server.engine.version(deadline));
    assert!(matches!((first, second), (Err(EngineError::Timeout { .. }), Err(EngineError::Timeout { .. }))));
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

/// Containers whose locks a client holds, more than there are turns.
#[tokio::test]
async fn looks_that_hang_give_their_turns_to_others() {
    let look = Act::Say(404, r#"{"message":"No such container: x"}"#);
    let server =
        Server::with_limits(&[Act::Hang, Act::Hang, Act::Hang, look], CallLimits { in_flight: 1, ..CallLimits::default() });
    let late = Instant::now() + Duration::from_secs(2);
    let begun = Instant::now();
    let (one, two, three) = tokio::join!(server.engine.container("a", late), server.engine.container("b", late), async {
        // Behind those that hang.
        tokio::time::sleep(Duration::from_millis(10)).await;
        let third = server.engine.container("c", late).await;
        let honest = server.engine.container("x", late).await;
        (third, honest, begun.elapsed())
    });
    let hung = |answer: &Result<_, EngineError>| matches!(answer, Err(EngineError::Timeout { .. }));
    assert!(hung(&one) && hung(&two));
    let (third, honest, took) = three;
    // One hangs on in the slow turn; of the others each is given up after a moment.
    assert!(hung(&third) && matches!(honest, Ok(None)), "{third:?} {honest:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn an_answer_beyond_its_bound_is_refused_and_one_within_is_not() {
    let limits = CallLimits { object_bytes: 2000, list_bytes: 4000, ..CallLimits::default() };
    let server = Server::with_limits(&[Act::Flood(3000)], limits);
    let error = server.engine.version(soon()).await.unwrap_err();
    assert!(matches!(error, EngineError::TooLarge { limit: 2000, .. }), "{error:?}");
    // As a list it fits, and is no JSON.
    assert!(matches!(server.engine.images(soon()).await, Err(EngineError::Undecodable { .. })));
}

#[tokio::test]
async fn images_are_listed_row_by_row_however_much_one_of_them_carries() {
    let row = |id: Digest, label: &str, tags: &str| format!(r#"{{"Labels":{{"x":"{label}"}},"Id":"{id}","RepoTags":{tags}}}"#);
    let [large, many, good] = ["large", "many", "good"].map(|text| Digest::of(text.as_bytes()));
    // 40 MB of labels, more than a list that is read whole may have.
    let rows: Vec<String> = (0..20).map(|_| row(large, &"l".repeat(2 << 20), "[]")).collect();
    let tags = (0..20_000).map(|number| format!(r#""r.example/many:{number}""#)).collect::<Vec<_>>().join(",");
    let bad = r#"{"Id":"no digest"}"#;
    let list = format!(
        "[{},{bad},{},{}]",
        rows.join(","),
        row(many, "", &format!("[{tags}]")),
        row(good, "", r#"["<none>:<none>","r.example/good:1"]"#)
    );
    assert!(list.len() > 40 << 20);
    let server = Server::new(&[Act::Say(200, Box::leak(list.into_boxed_str()))]);
    let present = server.engine.present(soon()).await.unwrap();
    let named = |id, name: &str| PresentImage { id, name: Some(name.to_owned()) };
    assert_eq!(present.images, [named(many, "r.example/many:0"), named(good, "r.example/good:1")]);
    assert_eq!(present.unread, 21, "an id behind what a client decides is none");
    // As engines write it.
    let row = format!(r#"[{{"Containers":-1,"Created":1700000000,"Id":"{large}","Labels":{{"x":"{}"}}}}]"#, "l".repeat(3 << 20));
    let as_written = Server::new(&[Act::Say(200, Box::leak(row.into_boxed_str()))]);
    let by_id = Present { images: vec![PresentImage { id: large, name: None }], unread: 0 };
    assert_eq!(as_written.engine.present(soon()).await.unwrap(), by_id);
    assert!(matches!(server.engine.images(soon()).await, Err(EngineError::TooLarge { .. })), "read whole it is none");
}

#[tokio::test]
async fn what_runs_is_read_row_by_row_whatever_others_make_of_their_rows() {
    let row = |id: &str, label: &str| format!(r#"{{"Id":"{id}","Names":["/x"],"State":"running","Labels":{{"x":"{label}"}}}}"#);
    let list = format!("[{},{},{}]", row(&"a".repeat(64), &"l".repeat(3000)), row("short", ""), row(ID, ""));
    let limits = CallLimits { object_bytes: 2000, list_bytes: 2000, ..CallLimits::default() };
    let act = Act::Say(200, Box::leak(list.into_boxed_str()));
    let listed = Server::with_limits(&[act], limits).engine.running(soon()).await.unwrap();
    let ids: Vec<_> = listed.containers.iter().map(|container| (container.id.as_str(), container.is_id_alone())).collect();
    assert_eq!((ids, listed.unread), (vec![("a".repeat(64).as_str(), true), (ID, false)], 1), "one has no id");
    assert!(listed.whole().is_err());
    // What is no list, or has no end, is none.
    let server = Server::new(&[Act::Say(200, "{}"), Act::Say(500, "{}")]);
    assert!(matches!(server.engine.running(soon()).await, Err(EngineError::Undecodable { .. })));
    assert!(matches!(server.engine.running(soon()).await, Err(EngineError::Status { status: 500, .. })));
    let endless = Server::with_limits(&[Act::Flood(9000)], CallLimits { rows_bytes: 8000, ..limits });
    assert!(matches!(endless.engine.running(soon()).await, Err(EngineError::TooLarge { limit: 8000, .. })));
}

/// `docker create --link VICTIM:ALIAS` puts any number of names of any length into the victim's row (moby, daemon `registerLink`).
#[tokio::test]
async fn what_others_name_a_container_hides_it_from_no_list() {
    let alias = "a".repeat(1 << 20);
    let names = |aliases: &str| {
        format!(r#"[{{"Id":"{ID}","Names":["/00/x",{aliases}"/web"],"Image":"web","ImageID":"","State":"running"}}]"#)
    };
    let of = |list: String| Server::new(&[Act::Say(200, Box::leak(list.into_boxed_str()))]);
    let large = of(names(&format!(r#""/00/{alias}","/01/{alias}","#)));
    let listed = large.engine.running(soon()).await.unwrap();
    assert_eq!((listed.containers[0].id.as_str(), listed.containers[0].is_id_alone(), listed.unread), (ID, true, 0));
    // The engine has looked for the name itself.
    assert_eq!(large.engine.named("web", soon()).await.unwrap()[0].id.as_str(), ID);
    // What fits is read, and not all of it is kept; its own name is.
    let some = of(names(&format!(r#""/00/{alias}","#)));
    let listed = some.engine.running(soon()).await.unwrap();
    assert_eq!(listed.containers[0].names, ["web", "00/x"]);
    // A filter that is refused: of a row that is an id alone nobody knows whether it has the name.
    let list = Box::leak(names(&format!(r#""/00/{alias}","/01/{alias}","#)).into_boxed_str());
    let old = Server::new(&[Act::Say(400, r#"{"message":"invalid filter"}"#), Act::Say(200, list)]);
    assert!(matches!(old.engine.named("web", soon()).await, Err(EngineError::TooLarge { .. })));
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::at(&format!("unix://{}/none.sock", folder.path().display())).unwrap();
    let error = engine.version(soon()).await.unwrap_err();
    assert!(matches!(&error, EngineError::Unreachable { cause, .. } if cause.contains("No such file")), "{error:?}");
    let server = Server::new(&[Act::Close]);
    assert!(matches!(server.engine.version(soon()).await, Err(EngineError::Unreachable { .. })));
}

#[test]
fn hosts_other_than_unix_sockets_are_refused() {
    let long = format!("unix:///{}", "a".repeat(107));
    for text in
        ["tcp://127.0.0.1:2375", "ssh://host", "/var/run/docker.sock", "unix://", "unix://docker.sock", "UNIX:///a", &long]
    {
        assert!(Engine::at(text).is_err(), "{text}");
    }
    assert_eq!(Engine::at("unix:///run/d.sock").unwrap().socket(), std::path::Path::new("/run/d.sock"));
    assert_eq!(Engine::at("").unwrap().socket(), std::path::Path::new("/var/run/docker.sock"));
}

#[tokio::test]
async fn a_kill_goes_to_the_full_id() {
    let id: ContainerId = ID.parse().unwrap();
    let server = Server::new(&[Act::Say(204, "")]);
    assert_eq!(server.engine.kill(&id, soon()).await, Ok(Killed::Sent));
    assert!(server.head(0).starts_with(&format!("POST /v1.41/containers/{ID}/kill HTTP/1.1\r\n")));
    for (status, killed) in [(404, Killed::Gone), (409, Killed::NotRunning)] {
        let server = Server::new(&[Act::Say(status, r#"{"message":"no"}"#)]);
        assert_eq!(server.engine.kill(&id, soon()).await, Ok(killed));
    }
    let server = Server::new(&[Act::Say(500, r#"{"message":"no"}"#)]);
    assert!(server.engine.kill(&id, soon()).await.is_err());
}

#[tokio::test]
async fn a_stop_and_a_removal_go_to_the_full_id_and_take_no_volumes() {
    let id: ContainerId = ID.parse().unwrap();
    let server = Server::new(&[Act::Say(204, "")]);
    assert_eq!(server.engine.stop(&id, soon()).await, Ok(Stopped::Done));
    assert!(server.head(0).starts_with(&format!("POST /v1.41/containers/{ID}/stop?t=10 HTTP/1.1\r\n")));
    let server = Server::new(&[Act::Say(204, "")]);
    assert_eq!(server.engine.remove(&id, soon()).await, Ok(Removed::Done));
    assert!(server.head(0).starts_with(&format!("DELETE /v1.41/containers/{ID} HTTP/1.1\r\n")));
    for (status, body, stopped, removed) in [
        (404, r#"{"message":"No such container"}"#, Some(Stopped::Gone), Some(Removed::Gone)),
        (409, r#"{"message":"removal of container x is already in progress"}"#, None, Some(Removed::Gone)),
        (409, r#"{"message":"You cannot remove a running container"}"#, None, None),
        (500, r#"{"message":"no"}"#, None, None),
    ] {
        let server = Server::new(&[Act::Say(status, body)]);
        assert_eq!(server.engine.stop(&id, soon()).await.ok(), stopped, "{status}");
        let server = Server::new(&[Act::Say(status, body)]);
        assert_eq!(server.engine.remove(&id, soon()).await.ok(), removed, "{status}");
    }
}

#[tokio::test]
async fn events_are_nudges_whatever_they_say_and_their_end_is_told() {
    let server = Server::new(&[Act::SayAndClose(200, "no JSON at all")]);
    let mut nudges = server.engine.nudges(soon()).await.unwrap();
    assert!(server.head(0).starts_with("GET /v1.41/events?filters="), "{}", server.head(0));
    assert!(nudges.next().await);
    assert!(!nudges.next().await);
    for act in [Act::Say(500, r#"{"message":"no"}"#), Act::Hang] {
        let server = Server::new(&[act]);
        assert!(server.engine.nudges(Instant::now() + Duration::from_millis(300)).await.is_err());
    }
    let server = Server::new(&[Act::Stall]);
    let mut nudges = server.engine.nudges(soon()).await.unwrap();
    assert!(nudges.next().await, "a part of one is one");
}

#[tokio::test]
async fn a_list_tells_what_labels_claim_and_a_manager_which_container_a_task_is() {
    let listed = format!(
        r#"[{{"Id":"{ID}","Created":1767225600,"Labels":{{"com.docker.swarm.service.name":"web","com.docker.swarm.task.id":"t1"}}}},
            {{"Id":"{ID}","Labels":null}},{{"Id":"{ID}","Labels":{{"com.docker.swarm.service.name":"web"}}}}]"#
    );
    let summaries: Vec<ContainerSummary> = serde_json::from_str(&listed).unwrap();
    let created: Vec<_> = summaries.iter().map(|summary| summary.created.map(|at| at.to_string())).collect();
    assert_eq!(created, [Some("2026-01-01T00:00:00Z".to_owned()), None, None]);
    let claims: Vec<_> = summaries.into_iter().map(|summary| summary.claim.map(|claim| (claim.service, claim.task))).collect();
    assert_eq!(claims, [Some(("web".into(), "t1".into())), None, Some(("web".into(), String::new()))]);
    let task = |text: &str| serde_json::from_str::<Task>(text).unwrap().container;
    assert_eq!(task(&format!(r#"{{"Status":{{"ContainerStatus":{{"ContainerID":"{ID}"}}}}}}"#)), Some(ID.parse().unwrap()));
    for text in ["{}", r#"{"Status":null}"#, r#"{"Status":{"ContainerStatus":{"ContainerID":""}}}"#] {
        assert_eq!(task(text), None);
    }
}

#[test]
fn what_is_no_full_id_cannot_be_killed() {
    for text in ["", "web", "89959df9899a", &ID.to_uppercase(), &format!("{ID}0")] {
        assert!(text.parse::<ContainerId>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn the_fake_resolves_names_as_the_engine_does() {
    let fake = Fake::new();
    let id = Digest::from_hex("6ec8d75316d5fc4be24b8c057d4f80895137aedbd3cf82d5dc7fa1f05c4277c5").unwrap();
    let image: Image = serde_json::from_str(IMAGE).unwrap();
    fake.put_image(image);
    fake.put_container(serde_json::from_str(CONTAINER).unwrap());
    let pulled = "127.0.0.1:5577/team/app@sha256:611fbaab1a5133a61b099e19d85538ce11c2632750ba68ea6c94a9dfbd9a8ecb";
    for name in ["other:2", "127.0.0.1:5577/team/app:1", pulled, "6ec8d753", "sha256:6ec8", &id.to_string(), &id.hex()] {
        assert_eq!(fake.image(name, soon()).await.unwrap().map(|image| image.id), Some(id), "{name}");
    }
    for name in ["other", "other:1", "app:1", "6ec8d754", "sha256:6ec9", "", "A"] {
        assert_eq!(fake.image(name, soon()).await.unwrap(), None, "{name}");
    }
    for name in [ID, "web", "/web", "8995"] {
        assert!(fake.container(name, soon()).await.unwrap().is_some(), "{name}");
    }
    assert_eq!(fake.container("we", soon()).await.unwrap(), None);
    let id = ID.parse().unwrap();
    fake.rename(&id, "tmp");
    assert_eq!(fake.container("web", soon()).await.unwrap(), None);
    assert_eq!(fake.kill(&id, soon()).await, Ok(Killed::Sent));
    assert_eq!(fake.kill(&id, soon()).await, Ok(Killed::NotRunning));
    let outage = EngineError::Timeout { call: "x".to_owned() };
    fake.fail_with(Some(outage.clone()));
    assert_eq!(fake.image("other:2", soon()).await, Err(outage));
}
