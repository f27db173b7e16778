//! `POST /containers/create`: the image, the name, the image mounts and the host access.

use super::host_access::{Found, HEALTHCHECK, HOST_CONFIG, Stands, UPDATED};
use super::json::{self, Members, Shape, field, fields};
use super::query::Query;
use super::start::new_name;
use super::{Asked, Cgroupns, Create, Intent, Unreadable, route};
use crate::image::ImageName;

/// What counts of the body. 20.10 takes the members of `HostConfig` from the top level as well, all of them where `HostConfig` is
/// absent or null. Newer engines ignore them there; honest clients have not sent them for ten years.
const BODY: Shape = Shape::Struct(&[
    &fields(&[
        field("Image", Shape::Scalar),
        field("HostConfig", Shape::Struct(&[UPDATED, HOST_CONFIG])),
        field("User", Shape::Scalar),
        field("Healthcheck", HEALTHCHECK),
    ]),
    UPDATED,
    HOST_CONFIG,
]);

/// What the call would make.
pub(super) fn create(asked: &Asked<'_>) -> Result<Intent, Unreadable> {
    // dockerd takes JSON only here, so a body it acts on is one it shows, unless that is too large.
    let body = asked.call.body.as_deref().ok_or(Unreadable::MissingBody)?;
    let query = Query::of_form(asked)?;
    let name = query.one("name")?.map(new_name).transpose()?;
    let config = json::read(body, &BODY)?;
    let mut found = Found::default();
    if let Some(host) = config.object("HostConfig")? {
        found.host_config(host, Stands::Inside)?;
    }
    found.host_config(&config, Stands::Beside)?;
    found.terms.user = config.text("User")?.map(str::to_owned);
    found.healthcheck(&config)?;
    let says_which = |config: &Members<'_>| Ok::<_, Unreadable>(config.text("CgroupnsMode")?.is_some());
    let is_said = says_which(&config)? || config.object("HostConfig")?.map(says_which).transpose()?.unwrap_or_default();
    if !is_said && is_in_the_hosts_groups(asked) {
        found.access("namespace", "cgroup:host");
    }
    let Found { host_access, image_mounts, terms } = found;
    Ok(Intent::Create(Box::new(Create { image: image(&config)?, name, image_mounts, host_access, terms: Some(terms) })))
}

/// Whether a create that does not say which control groups the container sees gets the host's because of the API version that the
/// client has chosen.
fn is_in_the_hosts_groups(asked: &Asked<'_>) -> bool {
    match asked.manner.cgroupns {
        Cgroupns::Daemons => false,
        Cgroupns::HostBefore141 => route::is_api_below(&asked.target.path, (1, 41)),
    }
}

/// The member `Image`; absent, null and empty make a container without one.
pub(super) fn image(config: &Members<'_>) -> Result<Option<ImageName>, Unreadable> {
    let image = config.text("Image")?.map(ImageName::parse).transpose();
    image.map_err(|error| Unreadable::Reference(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::tests::{json, post};
    use crate::request::{HostAccess, Terms};

    fn of(body: &str) -> Intent {
        Intent::of(&json("/v1.41/containers/create", body))
    }

    fn made(image: Option<&str>, host_access: Vec<HostAccess>) -> Intent {
        let terms = Some(Terms::default());
        let image = image.map(|image| ImageName::parse(image).unwrap());
        Intent::Create(Box::new(Create { image, host_access, terms, ..Create::default() }))
    }

    fn access(id: &'static str, what: &str) -> HostAccess {
        HostAccess { id, what: what.into() }
    }

    #[test]
    fn a_create_names_its_image_and_its_host_access() {
        for (body, image, host_access) in [
            (r#"{"Image":"r.example/a:1","HostConfig":{"NetworkMode":"none"}}"#, Some("r.example/a:1"), vec![]),
            (r#"{"image":"b823"}"#, Some("b823"), vec![]),
            (r#"{"Image":"good","Config":{"Image":"evil"},"HostConfig":{"Image":"evil"}}"#, Some("good"), vec![]),
            (r#"{"Cmd":["x"]}"#, None, vec![]),
            (r#"{"Image":null}"#, None, vec![]),
            (r#"{"Image":""}"#, None, vec![]),
            ("{\"Image\":\"a\",\"Ho\u{17f}tConfig\":{\"Privileged\":true}}", Some("a"), vec![access("privileged", "privileged")]),
            (r#"{"Image":"a","Binds":["/:/h"]}"#, Some("a"), vec![access("bind", "/")]),
            (r#"{"Image":"a","HostConfig":null,"Privileged":true}"#, Some("a"), vec![access("privileged", "privileged")]),
            (r#"{"Image":"a","HostConfig":{},"VolumeDriver":"x"}"#, Some("a"), vec![access("volume-driver", "x")]),
        ] {
            assert_eq!(of(body), made(image, host_access), "{body}");
        }
    }

    #[test]
    fn the_name_is_taken_from_the_query() {
        let named = |uri: &str| match Intent::of(&json(uri, r#"{"Image":"a"}"#)) {
            Intent::Create(create) => create.name,
            other => panic!("{uri}: {other:?}"),
        };
        assert_eq!(named("/containers/create?name=web").as_deref(), Some("web"));
        assert_eq!(named("/containers/create?name=/auth").as_deref(), Some("auth"));
        assert_eq!(named("/containers/create?x=1#&name=w%65b").as_deref(), Some("web"));
        assert_eq!(named("/containers/create?name=&platform="), None);
        let like_an_id = format!("/containers/create?name={}", "ab".repeat(32));
        assert!(matches!(Intent::of(&json(&like_an_id, r#"{"Image":"a"}"#)), Intent::Unreadable(_)));
        let twice = Intent::of(&json("/containers/create?name=a&name=b", r#"{"Image":"a"}"#));
        assert_eq!(twice, Intent::Unreadable(Unreadable::Query("name".into())));
    }

    /// moby, `postContainersCreate`, and the daemon's own default.
    #[test]
    fn a_create_that_says_nothing_of_control_groups_is_what_the_engine_makes_of_it() {
        use crate::request::{Manner, Transport};
        let bare = r#"{"Image":"a"}"#;
        let private = r#"{"Image":"a","HostConfig":{"CgroupnsMode":"private"}}"#;
        let empty = r#"{"Image":"a","HostConfig":{"CgroupnsMode":""}}"#;
        for (cgroupns, uri, body, opens) in [
            (Cgroupns::Daemons, "/v1.40/containers/create", bare, false),
            (Cgroupns::HostBefore141, "/v1.40/containers/create", bare, true),
            (Cgroupns::HostBefore141, "/v1.40/containers/create", empty, true),
            // Go compares number by number, and takes what is none for 0 (moby, api/types/versions).
            (Cgroupns::HostBefore141, "/v1.40.0/containers/create", bare, true),
            (Cgroupns::HostBefore141, "/v1.40./containers/create", bare, true),
            (Cgroupns::HostBefore141, "/v01.40/containers/create", bare, true),
            (Cgroupns::HostBefore141, "/v1/containers/create", bare, true),
            (Cgroupns::HostBefore141, "/v1..41/containers/create", bare, true),
            (Cgroupns::HostBefore141, "/v1.40.0/containers/create", private, false),
            (Cgroupns::HostBefore141, "/v1.041/containers/create", bare, false),
            (Cgroupns::HostBefore141, "/v1.41.0/containers/create", bare, false),
            (Cgroupns::HostBefore141, "/v1.100/containers/create", bare, false),
            (Cgroupns::HostBefore141, "/v1.40/containers/create", private, false),
            (Cgroupns::HostBefore141, "/v1.41/containers/create", bare, false),
            (Cgroupns::HostBefore141, "/containers/create", bare, false),
        ] {
            let manner = Manner { transport: Transport::Http1, cgroupns };
            let host_access = if opens { vec![access("namespace", "cgroup:host")] } else { vec![] };
            assert_eq!(Intent::over(&json(uri, body), manner), made(Some("a"), host_access), "{cgroupns:?} {uri} {body}");
        }
    }

    #[test]
    fn a_body_that_is_not_shown_or_reads_two_ways_is_refused() {
        for headers in
            [&[("Content-Length", "0")][..], &[("Content-Type", "application/json"), ("Content-Length", "1048576")], &[]]
        {
            let call = post("/containers/create", headers, None);
            assert_eq!(Intent::of(&call), Intent::Unreadable(Unreadable::MissingBody));
        }
        for body in [
            r#"{"Image":"good","Image":"evil"}"#,
            r#"{"Image":"evil","image":null}"#,
            r#"{"Image":"a","HostConfig":{"Privileged":true},"HostConfig":{}}"#,
            r#"{"Image":"a","HostConfig":{"Privileged":true},"hostconfig":null}"#,
            r#"{"Image":"a"}{"Image":"b"}"#,
            r#"{"Image":"A"}"#,
            r#"{"Image":"a "}"#,
            r#"{"Image":["a"]}"#,
            r#"{"Image":"a","HostConfig":[]}"#,
            "null",
            "[]",
        ] {
            assert!(matches!(of(body), Intent::Unreadable(_)), "{body}");
        }
    }
}
