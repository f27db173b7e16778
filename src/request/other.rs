//! The smaller bodies: volumes, exec.

use super::host_access::Found;
use super::json::{self, Members, Shape, field, fields};
use super::{ContainerAccess, Intent, Unreadable};
use crate::wire::Call;

const VOLUME: Shape = Shape::Struct(&[&fields(&[
    field("Driver", Shape::Scalar),
    field("DriverOpts", Shape::Map),
    field("ClusterVolumeSpec", Shape::Struct(&[])),
])]);
const EXEC: Shape = Shape::Struct(&[&fields(&[field("Privileged", Shape::Scalar), field("User", Shape::Scalar)])]);

/// What `POST /volumes/create` opens.
pub(super) fn volume(call: &Call) -> Result<Intent, Unreadable> {
    let mut found = Found::default();
    if let Some(config) = body(call, &VOLUME)? {
        found.volume(config.text("Driver")?, &config, "DriverOpts")?;
        if config.object("ClusterVolumeSpec")?.is_some() {
            found.access("volume-driver", "cluster volume");
        }
    }
    Ok(volume_of(found))
}

/// What `PUT /volumes/N` changes: cluster volumes only, which are other drivers' by their nature.
pub(super) fn volume_update(volume: &str) -> Intent {
    let mut found = Found::default();
    found.access("volume-driver", volume);
    volume_of(found)
}

fn volume_of(Found { host_access, terms, image_mounts: _ }: Found) -> Intent {
    Intent::Volume { host_access, volumes: terms.volumes }
}

/// Whether `POST /containers/N/exec` asks for a privileged process.
pub(super) fn exec(call: &Call) -> Result<Intent, Unreadable> {
    let config = body(call, &EXEC)?;
    let Some(config) = config else { return Ok(Intent::ContainerAccess(ContainerAccess::Exec { user: None })) };
    let user = config.text("User")?.map(str::to_owned);
    let is_privileged = config.truth("Privileged")?;
    Ok(Intent::ContainerAccess(if is_privileged {
        ContainerAccess::PrivilegedExec { user }
    } else {
        ContainerAccess::Exec { user }
    }))
}

/// The JSON body, or `None` where dockerd reads none: without a Content-Type it takes no body here. A length of zero beside one
/// would say the same over HTTP/1 alone, and no client sends that to these routes.
pub(super) fn body<'c>(call: &'c Call, shape: &'static Shape) -> Result<Option<Members<'c>>, Unreadable> {
    match &call.body {
        Some(body) => json::read(body, shape).map(Some),
        None if call.header("Content-Type").is_none() => Ok(None),
        None => Err(Unreadable::MissingBody),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::HostAccess;
    use crate::request::tests::{json, post};

    #[test]
    fn a_volume_says_which_host_access_it_gives() {
        for (body, host_access) in [
            (r#"{"Driver":"local","Name":"v1"}"#, &[][..]),
            (r#"{"Driver":"","DriverOpts":{},"Labels":{"a":"b"}}"#, &[]),
            (r#"{"Driver":"sshfs"}"#, &[("volume-driver", "sshfs")]),
            (
                r#"{"Driver":"local","driveropts":{"o":"bind","device":"/"}}"#,
                &[("volume-options", "o=bind"), ("volume-options", "device=/")],
            ),
            (r#"{"ClusterVolumeSpec":{}}"#, &[("volume-driver", "cluster volume")]),
        ] {
            let host_access: Vec<_> = host_access.iter().map(|(id, what)| HostAccess { id, what: (*what).to_owned() }).collect();
            match Intent::of(&json("/volumes/create", body)) {
                Intent::Volume { host_access: found, .. } => assert_eq!(found, host_access, "{body}"),
                other => panic!("{body}: {other:?}"),
            }
        }
        assert_eq!(
            Intent::of(&post("/volumes/create", &[("Content-Length", "0")], None)),
            Intent::Volume { host_access: vec![], volumes: vec![] }
        );
    }

    #[test]
    fn an_exec_says_whether_it_is_privileged() {
        for (body, drive) in [
            (r#"{"Cmd":["a"]}"#, ContainerAccess::Exec { user: None }),
            (r#"{"Privileged":false,"user":"root"}"#, ContainerAccess::Exec { user: Some("root".into()) }),
            (r#"{"PRIVILEGED":true,"User":""}"#, ContainerAccess::PrivilegedExec { user: None }),
        ] {
            assert_eq!(Intent::of(&json("/containers/c/exec", body)), Intent::ContainerAccess(drive), "{body}");
        }
    }

    #[test]
    fn a_body_that_is_not_shown_or_reads_two_ways_is_refused() {
        for uri in ["/volumes/create", "/networks/create", "/containers/c/exec"] {
            for length in ["1048576", "0"] {
                let hidden = post(uri, &[("Content-Length", length), ("Content-Type", "application/json")], None);
                assert_eq!(Intent::of(&hidden), Intent::Unreadable(Unreadable::MissingBody));
            }
            assert!(matches!(Intent::of(&json(uri, "[]")), Intent::Unreadable(_)));
        }
        for (uri, body) in [
            ("/volumes/create", r#"{"Driver":"local","driver":"x"}"#),
            ("/volumes/create", r#"{"DriverOpts":{},"DriverOpts":{"o":"bind"}}"#),
            ("/networks/create", r#"{"Driver":"bridge","DRIVER":"x"}"#),
            ("/containers/c/exec", r#"{"Privileged":false,"privileged":true}"#),
            ("/containers/c/exec", r#"{"Privileged":"yes"}"#),
        ] {
            assert!(matches!(Intent::of(&json(uri, body)), Intent::Unreadable(_)), "{uri} {body}");
        }
    }
}
