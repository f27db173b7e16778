//! The smaller bodies: volumes, networks, exec.

use super::door::Found;
use super::json::{self, Members, Shape};
use super::{Drive, Intent, Unreadable};
use crate::wire::Call;

/// Network and address drivers that are part of every engine.
const OWN_NETWORK_DRIVERS: [&str; 8] = ["default", "bridge", "host", "null", "none", "overlay", "macvlan", "ipvlan"];

const VOLUME: Shape =
    Shape::Struct(&[&[("Driver", Shape::Scalar), ("DriverOpts", Shape::Map), ("ClusterVolumeSpec", Shape::Struct(&[]))]]);
const NETWORK: Shape = Shape::Struct(&[&[("Driver", Shape::Scalar), ("IPAM", Shape::Struct(&[&[("Driver", Shape::Scalar)]]))]]);
const EXEC: Shape = Shape::Struct(&[&[("Privileged", Shape::Scalar)]]);

/// What `POST /volumes/create` opens.
pub(super) fn volume(call: &Call) -> Result<Intent, Unreadable> {
    let mut found = Found::default();
    if let Some(config) = body(call, &VOLUME)? {
        found.volume_driver(config.text("Driver")?);
        found.keys("volume-options", &config, "DriverOpts")?;
        if config.object("ClusterVolumeSpec")?.is_some() {
            found.door("volume-driver", "cluster volume");
        }
    }
    Ok(Intent::Volume { doors: found.doors })
}

/// What `PUT /volumes/N` changes: cluster volumes only, which are other drivers' by their nature.
pub(super) fn volume_update(volume: &str) -> Intent {
    let mut found = Found::default();
    found.door("volume-driver", volume);
    Intent::Volume { doors: found.doors }
}

/// Whether `POST /networks/create` asks a plugin.
pub(super) fn network(call: &Call) -> Result<Intent, Unreadable> {
    let Some(config) = body(call, &NETWORK)? else { return Ok(Intent::Harmless) };
    let of_addresses = config.object("IPAM")?.map(|addresses| addresses.text("Driver")).transpose()?.flatten();
    for driver in [config.text("Driver")?, of_addresses].into_iter().flatten() {
        if !OWN_NETWORK_DRIVERS.contains(&driver) {
            return Ok(Intent::NetworkPlugin { driver: driver.chars().take(256).collect() });
        }
    }
    Ok(Intent::Harmless)
}

/// Whether `POST /containers/N/exec` asks for a privileged process.
pub(super) fn exec(call: &Call) -> Result<Intent, Unreadable> {
    let config = body(call, &EXEC)?;
    let privileged = config.map(|config| config.truth("Privileged")).transpose()?.unwrap_or_default();
    Ok(Intent::Drive(if privileged { Drive::PrivilegedExec } else { Drive::Exec }))
}

/// The JSON body, or `None` where dockerd reads none: without a Content-Type it takes no body here. A length of zero beside one
/// would say the same over HTTP/1 alone, and no client sends that to these routes.
fn body<'c>(call: &'c Call, shape: &'static Shape) -> Result<Option<Members<'c>>, Unreadable> {
    match &call.body {
        Some(body) => json::read(body, shape).map(Some),
        None if call.header("Content-Type").is_none() => Ok(None),
        None => Err(Unreadable::MissingBody),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Door;
    use crate::request::tests::{json, post};

    #[test]
    fn a_volume_says_which_doors_it_opens() {
        for (body, doors) in [
            (r#"{"Driver":"local","Name":"v1"}"#, &[][..]),
            (r#"{"Driver":"","DriverOpts":{},"Labels":{"a":"b"}}"#, &[]),
            (r#"{"Driver":"sshfs"}"#, &[("volume-driver", "sshfs")]),
            (
                r#"{"Driver":"local","driveropts":{"o":"bind","device":"/"}}"#,
                &[("volume-options", "o=bind"), ("volume-options", "device=/")],
            ),
            (r#"{"ClusterVolumeSpec":{}}"#, &[("volume-driver", "cluster volume")]),
        ] {
            let doors = doors.iter().map(|(id, what)| Door { id, what: (*what).to_owned() }).collect();
            assert_eq!(Intent::of(&json("/volumes/create", body)), Intent::Volume { doors }, "{body}");
        }
        assert_eq!(Intent::of(&post("/volumes/create", &[("Content-Length", "0")], None)), Intent::Volume { doors: vec![] });
    }

    #[test]
    fn a_network_of_another_driver_is_a_plugin() {
        for (body, driver) in [
            (r#"{"Name":"n"}"#, None),
            (r#"{"Name":"n","Driver":"overlay","IPAM":{"Driver":"default"}}"#, None),
            (r#"{"Name":"n","Driver":"weave"}"#, Some("weave")),
            (r#"{"Name":"n","Driver":"bridge","IPAM":{"Driver":"x"}}"#, Some("x")),
        ] {
            let intent = driver.map_or(Intent::Harmless, |driver| Intent::NetworkPlugin { driver: driver.into() });
            assert_eq!(Intent::of(&json("/networks/create", body)), intent, "{body}");
        }
    }

    #[test]
    fn an_exec_says_whether_it_is_privileged() {
        for (body, drive) in [
            (r#"{"Cmd":["a"]}"#, Drive::Exec),
            (r#"{"Privileged":false}"#, Drive::Exec),
            (r#"{"PRIVILEGED":true}"#, Drive::PrivilegedExec),
        ] {
            assert_eq!(Intent::of(&json("/containers/c/exec", body)), Intent::Drive(drive), "{body}");
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
