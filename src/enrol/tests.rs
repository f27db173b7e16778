//! What is refused, written and put back, on files of a test's own. No dockerd runs behind its socket; the package's test has one.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::*;
use crate::policy::Settings;
use crate::setup::Basis;

struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    /// A gate that runs by itself, whose socket nobody serves.
    fn new(daemon_json: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = Self { folder };
        if let Some(text) = daemon_json {
            std::fs::write(host.file(), text).unwrap();
        }
        host
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("daemon.json")
    }

    async fn enrol(&self, change: Change, wanted: Wanted, dry_run: bool, plugins: Option<Vec<crate::engine::Plugin>>) -> Outcome {
        let path = self.folder.path().display().to_string();
        let settings = Settings::default()
            .with("STATE_DIR", &path)
            .with("CONFIG_DIR", format!("{path}/img-authz"))
            .with("DOCKER_HOST", format!("unix://{path}/docker.sock"));
        let mut place = Place::judged(settings, Basis::Environment, &[], |last| last);
        place.plugin = plugins.as_ref().and_then(|plugins| plugins.first().cloned()).filter(|_| wanted == Wanted::Found);
        place.plugins = plugins.or_else(|| Some(Vec::new()));
        let file = self.file();
        let wish = Wish { change, wanted, daemon_json: Some(&file), dry_run, reload: true, close_http2: false };
        enrol(&wish, &place).await
    }

    async fn plugin(&self, change: Change, enabled: bool, dry_run: bool) -> Outcome {
        let plugin =
            crate::engine::Plugin { id: "5".repeat(64), name: "gate:3".into(), enabled, ..crate::engine::Plugin::default() };
        self.enrol(change, Wanted::Found, dry_run, Some(vec![plugin])).await
    }

    fn says(&self) -> String {
        std::fs::read_to_string(self.file()).unwrap()
    }
}

#[tokio::test]
async fn a_gate_that_is_there_comes_in_and_goes_out_and_a_second_time_nothing_happens() {
    let host = Host::new(Some("{\n  \"debug\": true\n}\n"));
    std::fs::set_permissions(host.file(), std::fs::Permissions::from_mode(0o640)).unwrap();
    let tried = host.plugin(Change::Enable, true, true).await;
    assert!(tried.state == State::Would && tried.changed && tried.text.is_some_and(|text| text.contains("\"gate:3\"")));
    assert!(!host.says().contains("gate"));
    let first = host.plugin(Change::Enable, true, false).await;
    assert_eq!((first.state, first.changed), (State::Written, true), "{first:?}");
    assert_eq!(host.says(), "{\n  \"debug\": true,\n  \"authorization-plugins\": [\"gate:3\"]\n}\n");
    assert_eq!(std::fs::metadata(host.file()).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(std::fs::read_to_string(first.backup.unwrap()).unwrap(), "{\n  \"debug\": true\n}\n");
    let again = host.plugin(Change::Enable, true, false).await;
    assert_eq!((again.state, again.changed, again.backup), (State::Written, false, None));
    for changed in [true, false] {
        let out = host.plugin(Change::Disable, false, false).await;
        assert_eq!((out.state, out.changed), (State::Written, changed), "{out:?}");
        assert_eq!(host.says(), "{\n  \"debug\": true\n}\n");
    }
}

#[tokio::test]
async fn where_there_is_no_file_one_is_made_and_where_there_is_none_to_leave_none_is() {
    let host = Host::new(None);
    assert_eq!(host.plugin(Change::Disable, true, false).await.state, State::Written);
    assert!(!host.file().exists());
    assert_eq!(host.plugin(Change::Enable, true, false).await.state, State::Written);
    assert!(host.says().contains("\"gate:3\""));
}

/// A reload with such a name ends dockerd.
#[tokio::test]
async fn a_gate_that_is_disabled_or_not_there_is_not_named() {
    let host = Host::new(Some("{}"));
    let disabled = host.plugin(Change::Enable, false, false).await;
    assert_eq!((disabled.state, disabled.troubles.len()), (State::Refused, 1), "{disabled:?}");
    assert!(disabled.troubles[0].remedy.contains("docker plugin enable gate:3"));
    let missing = host.enrol(Change::Enable, Wanted::Service, false, None).await;
    assert_eq!(missing.state, State::Refused, "{missing:?}");
    assert_eq!(host.says(), "{}");
}

#[tokio::test]
async fn other_plugins_that_are_not_there_keep_the_gate_out_and_do_not_keep_it_in() {
    let host = Host::new(Some("{\"authorization-plugins\": [\"no-such-plugin\"]}"));
    let refused = host.plugin(Change::Enable, true, false).await;
    assert!(refused.state == State::Refused && refused.troubles[0].evidence.contains("no-such-plugin"), "{refused:?}");
    let host = Host::new(Some("{\"authorization-plugins\": [\"no-such-plugin\", \"gate:3\"]}"));
    assert!(host.plugin(Change::Disable, true, false).await.changed);
    assert_eq!(host.says(), "{\"authorization-plugins\": [\"no-such-plugin\"]}");
}

#[tokio::test]
async fn what_cannot_be_understood_stays_as_it_is() {
    for text in [
        "{\"authorization-plugins\": [\"gate:3\"],}",
        "{\"authorization-plugins\": \"gate:3\"}",
        "{\"authorization-plugins\": [], \"authorization-plugins\": [\"gate:3\"]}",
        "[]",
    ] {
        let host = Host::new(Some(text));
        for change in [Change::Enable, Change::Disable] {
            let outcome = host.plugin(change, true, false).await;
            assert_eq!(outcome.state, State::Refused, "{text} {change:?} {outcome:?}");
            assert!(!outcome.troubles[0].remedy.is_empty());
            assert_eq!(host.says(), text);
        }
    }
}

/// dockerd asks nobody by such a key: to be put right before the gate comes in, and no reason to keep it.
#[tokio::test]
async fn a_misspelt_key_keeps_the_gate_out_and_not_in() {
    let host = Host::new(Some("{\"authorisation-plugins\": [\"gate:3\"]}"));
    assert_eq!(host.plugin(Change::Enable, true, false).await.state, State::Refused);
    let out = host.plugin(Change::Disable, true, false).await;
    assert_eq!((out.state, out.changed), (State::Written, false), "{out:?}");
}

#[tokio::test]
async fn a_link_is_somebody_elses() {
    let host = Host::new(None);
    let target = host.folder.path().join("made.json");
    std::fs::write(&target, "{}").unwrap();
    std::os::unix::fs::symlink(&target, host.file()).unwrap();
    assert_eq!(host.plugin(Change::Enable, true, false).await.state, State::Refused);
    assert_eq!(std::fs::read_to_string(target).unwrap(), "{}");
}

/// What is removed is the service; the plugin of the same name is another gate.
#[tokio::test]
async fn a_managed_plugin_of_the_services_name_is_not_taken_for_it() {
    let host = Host::new(Some("{\"authorization-plugins\": [\"img-authz\"]}"));
    let namesake = || {
        let plugin = crate::engine::Plugin { name: "img-authz:latest".into(), enabled: true, ..crate::engine::Plugin::default() };
        Some(vec![plugin])
    };
    let out = host.enrol(Change::Disable, Wanted::Service, false, namesake()).await;
    assert_eq!((out.state, out.changed), (State::Done, false));
    assert_eq!(host.enrol(Change::Enable, Wanted::Service, false, namesake()).await.state, State::Refused);
    // Alone it is the service.
    assert!(host.enrol(Change::Disable, Wanted::Service, false, None).await.changed);
    assert_eq!(host.says(), "{}");
}

/// dockerd, where its process is not found, as where a container's is called dockerd too. It answers each question about a start so.
fn dockerd(host: &Host, status: &'static str, said: &'static str) -> tokio::task::JoinHandle<()> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::UnixListener::bind(host.folder.path().join("docker.sock")).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = vec![0; 8192];
                let read = stream.read(&mut asked).await.unwrap_or(0);
                let is_start = String::from_utf8_lossy(&asked[..read]).contains("/start");
                let version =
                    r#"{"Version":"27.0.0","ApiVersion":"1.45","MinAPIVersion":"1.24","Os":"linux","Arch":"amd64"}"#.to_owned();
                let (status, body) = if is_start { (status, format!("{{\"message\":\"{said}\"}}")) } else { ("200 OK", version) };
                let head = "Api-Version: 1.45\r\nContent-Type: application/json\r\nConnection: close";
                let text = format!("HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(text.as_bytes()).await;
            });
        }
    })
}

#[tokio::test]
async fn where_dockerd_asks_the_gate_still_the_file_names_it_still() {
    const NAMED: &str = "{\"authorization-plugins\": [\"gate:3\"]}";
    let refused = "authorization denied by plugin gate:3: container-unknown: no container `nobody`; create it";
    let other = "authorization denied by plugin opa: no";
    for (status, said, state, changed) in [
        ("403 Forbidden", refused, State::Refused, false),
        ("404 Not Found", "No such container: nobody", State::Done, true),
        // Another answers first: nobody can tell.
        ("403 Forbidden", other, State::Written, true),
    ] {
        let host = Host::new(Some(NAMED));
        let serves = dockerd(&host, status, said);
        let out = host.plugin(Change::Disable, true, false).await;
        assert_eq!((out.state, out.changed), (state, changed), "{out:?}");
        assert_eq!(host.says() == NAMED, !changed);
        serves.abort();
    }
    // To come in is another matter: what is written counts from dockerd's next start.
    let host = Host::new(Some("{}"));
    let serves = dockerd(&host, "404 Not Found", "No such container: nobody");
    let out = host.plugin(Change::Enable, true, false).await;
    assert_eq!((out.state, out.changed), (State::NotInForce, true), "{out:?}");
    assert!(out.troubles.iter().any(|trouble| trouble.remedy == "systemctl reload docker") && host.says().contains("gate:3"));
    serves.abort();
}
