//! `POST /services/create` and `/services/N/update`.

use super::create::image;
use super::host_access::{Found, HEALTHCHECK, LOG, MOUNTS, TEXTS, ULIMITS};
use super::json::{self, Json, Members, Shape, field, fields};
use super::query::Query;
use super::{Asked, Cpu, Intent, Port, Restart, Service, Unreadable, is_template, route};
use crate::text::fit;

/// Most of a template that is shown.
const TEMPLATE: usize = 80;

/// What counts of a specification.
const SPEC: Shape = Shape::Struct(&[&fields(&[
    field("Networks", NETWORKS),
    field(
        "EndpointSpec",
        Shape::Struct(&[&fields(&[field(
            "Ports",
            Shape::List(&Shape::Struct(&[&fields(&[field("PublishedPort", Shape::Scalar)])])),
        )])]),
    ),
    field(
        "TaskTemplate",
        Shape::Struct(&[&fields(&[
            field(
                "Resources",
                Shape::Struct(&[&fields(&[
                    field(
                        "Limits",
                        Shape::Struct(&[&fields(&[
                            field("NanoCPUs", Shape::Scalar),
                            field("MemoryBytes", Shape::Scalar),
                            field("Pids", Shape::Scalar),
                        ])]),
                    ),
                    field("SwapBytes", Shape::Scalar),
                ])]),
            ),
            field(
                "RestartPolicy",
                Shape::Struct(&[&fields(&[field("Condition", Shape::Scalar), field("MaxAttempts", Shape::Scalar)])]),
            ),
            field("Networks", NETWORKS),
            field("Runtime", Shape::Scalar),
            field("LogDriver", LOG),
            field("PluginSpec", Shape::Struct(&[&fields(&[field("Remote", Shape::Scalar)])])),
            field(
                "ContainerSpec",
                Shape::Struct(&[&fields(&[
                    field("Image", Shape::Scalar),
                    field("Mounts", MOUNTS),
                    field("CapabilityAdd", TEXTS),
                    field("CapabilityDrop", TEXTS),
                    field("ReadOnly", Shape::Scalar),
                    field("User", Shape::Scalar),
                    field("Healthcheck", HEALTHCHECK),
                    field("Ulimits", ULIMITS),
                    field("Sysctls", Shape::Map),
                    field("Privileges", PRIVILEGES),
                ])]),
            ),
        ])]),
    ),
])]);

const NETWORKS: Shape = Shape::List(&Shape::Struct(&[&fields(&[field("Target", Shape::Scalar)])]));

/// Members of `Privileges` that loosen what the engine does by itself.
const LOOSENING: [&str; 4] = ["CredentialSpec", "SELinuxContext", "Seccomp", "AppArmor"];
const PRIVILEGES: Shape = Shape::Struct(&[&fields(&[
    field("CredentialSpec", Shape::Struct(&[])),
    field("SELinuxContext", Shape::Struct(&[])),
    field("Seccomp", Shape::Struct(&[])),
    field("AppArmor", Shape::Struct(&[])),
    field("NoNewPrivileges", Shape::Scalar),
])]);

/// From which API version on engines act on what a specification closes. What a client says by an older one they drop without a word,
/// and what is unknown to them likewise.
const LIMITS_SINCE: (u32, u32) = (1, 41);
const PRIVILEGES_SINCE: (u32, u32) = (1, 44);

/// What a create would run.
pub(super) fn create(asked: &Asked<'_>) -> Result<Intent, Unreadable> {
    spec(asked).map(Intent::Service)
}

/// What an update would run.
pub(super) fn update(service: &str, asked: &Asked<'_>) -> Result<Intent, Unreadable> {
    // dockerd reads this from the query alone and drops what it cannot read without a word; `Query` refuses that.
    match Query::read(asked.target.query)?.one("rollback")? {
        Some("previous") => Ok(Intent::Service(Service::Rollback { service: service.to_owned() })),
        // Other values than `none` are an error of the daemon's.
        Some(_) | None => create(asked),
    }
}

/// Reads the specification. 20.10 decodes it under any content type, and shows it under JSON only.
fn spec(asked: &Asked<'_>) -> Result<Service, Unreadable> {
    let body = asked.call.body.as_deref().ok_or(Unreadable::MissingBody)?;
    let spec = json::read(body, &SPEC)?;
    let mut found = Found::default();
    let mut targets = Vec::new();
    networks(&spec, &mut found, &mut targets)?;
    let (mut name, mut plugin) = (None, None);
    found.terms.restart = Restart::Endless;
    if let Some(endpoint) = spec.object("EndpointSpec")? {
        for port in endpoint.objects("Ports")? {
            let number = port?.number("PublishedPort")?.filter(|number| *number != 0);
            found.terms.ports.push(Port { address: None, number: number.map(|number| number.to_string()).unwrap_or_default() });
        }
    }
    if let Some(task) = spec.object("TaskTemplate")? {
        limits(task, asked, &mut found)?;
        networks(task, &mut found, &mut targets)?;
        if let Some(log) = task.object("LogDriver")? {
            found.log(log, "Name", "Options")?;
        }
        if let Some(remote) = task.object("PluginSpec")? {
            plugin = Some(bounded(remote.text("Remote")?.unwrap_or("unnamed")));
        }
        match task.text("Runtime")? {
            None | Some("container") => {}
            Some(runtime) => plugin = plugin.or_else(|| Some(bounded(runtime))),
        }
        if let Some(container) = task.object("ContainerSpec")? {
            name = image(container)?;
            of_container(container, asked, &mut found)?;
        }
    }
    let Found { host_access, image_mounts, terms } = found;
    Ok(Service::Spec { image: name, image_mounts, plugin, host_access, networks: targets, terms: Some(Box::new(terms)) })
}

/// Whether the engine acts on a member that is there since some API version. Whoever names no version asks by the engine's newest,
/// and every engine has 1.41.
fn acts_on(asked: &Asked<'_>, since: (u32, u32)) -> bool {
    let path = &asked.target.path;
    let is_named = route::is_api_below(path, (u32::MAX, 0));
    if is_named { !route::is_api_below(path, since) } else { since <= LIMITS_SINCE }
}

/// Notes the limits of each task, and when the swarm starts it again.
fn limits(task: &Members<'_>, asked: &Asked<'_>, found: &mut Found) -> Result<(), Unreadable> {
    let resources = task.object("Resources")?;
    if let Some(limits) = resources.map(|resources| resources.object("Limits")).transpose()?.flatten() {
        let nanos = limits.number("NanoCPUs")?.unwrap_or_default();
        found.terms.cpu = Cpu { nanos, ..Cpu::default() };
        found.terms.memory = limits.number("MemoryBytes")?;
        found.terms.pids = limits.number("Pids")?.filter(|_| acts_on(asked, LIMITS_SINCE));
    }
    // Swap alone, where a container's limit is of both.
    if let Some(swap) = resources.map(|resources| resources.number("SwapBytes")).transpose()?.flatten() {
        let memory = found.terms.memory.unwrap_or_default();
        found.terms.memory_swap = Some(if swap < 0 { swap } else { memory.saturating_add(swap) });
    }
    if let Some(policy) = task.object("RestartPolicy")? {
        found.terms.restart = Restart::of_service(policy.text("Condition")?, policy.number("MaxAttempts")?);
    }
    Ok(())
}

/// Notes what a service's container asks for.
fn of_container(container: &Members<'_>, asked: &Asked<'_>, found: &mut Found) -> Result<(), Unreadable> {
    let dropped: Vec<String> =
        container.texts("CapabilityDrop")?.map(|word| word.map(str::to_owned)).collect::<Result<_, _>>()?;
    if acts_on(asked, LIMITS_SINCE) {
        found.terms.dropped = dropped;
    }
    found.terms.read_only_root = container.truth("ReadOnly")?;
    found.terms.user = container.text("User")?.map(str::to_owned);
    found.healthcheck(container)?;
    found.ulimits(container)?;
    for mount in container.objects("Mounts")? {
        let mount = mount?;
        found.mount(mount)?;
        as_written(mount)?;
    }
    for capability in container.texts("CapabilityAdd")? {
        found.access("capability", capability?);
    }
    found.keys("sysctl", container, "Sysctls")?;
    if let Some(privileges) = container.object("Privileges")? {
        found.terms.no_new_privileges = privileges.truth("NoNewPrivileges")? && acts_on(asked, PRIVILEGES_SINCE);
        for member in LOOSENING {
            if privileges.object(member)?.is_some() {
                found.access("security-opt", member);
            }
        }
    }
    Ok(())
}

/// Refuses a mount that leads elsewhere on the node than it says. Nodes expand `Source`, `Target` and the values of a volume's options
/// and labels (swarmkit, `template.ExpandContainerSpec`), after everybody has judged them, and the engine mounts what comes out. What
/// opens the host must stand there as it is; in the name of a volume, and inside the container, a template opens nothing.
fn as_written(mount: &Members<'_>) -> Result<(), Unreadable> {
    if let Some(source) = mount.text("Source")?.filter(|_| mount.text("Type") != Ok(Some("volume"))) {
        no_template(source)?;
    }
    let options = mount.object("VolumeOptions")?.map(|options| options.object("DriverConfig")).transpose()?.flatten();
    let Some(driver) = options else { return Ok(()) };
    for (_, value) in driver.map("Options")? {
        if let Json::Text(value) = value {
            no_template(value)?;
        }
    }
    Ok(())
}

fn no_template(text: &str) -> Result<(), Unreadable> {
    if is_template(text) { Err(Unreadable::Template(fit(text, TEMPLATE))) } else { Ok(()) }
}

/// Notes networks: those called like the host's as host access, the others for whoever can ask the engine.
fn networks(of: &Members<'_>, found: &mut Found, targets: &mut Vec<String>) -> Result<(), Unreadable> {
    for network in of.objects("Networks")? {
        match network?.text("Target")? {
            Some(target) if target.trim().eq_ignore_ascii_case("host") => found.access("namespace", &format!("network:{target}")),
            Some(target) if !targets.iter().any(|known| known == target) => targets.push(named(target)),
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// What is cut is the name of nothing.
fn named(network: &str) -> String {
    let cut = bounded(network);
    if cut.len() == network.len() { cut } else { cut + "…" }
}

fn bounded(text: &str) -> String {
    text.chars().take(256).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::ImageName;
    use crate::request::tests::{json, post};
    use crate::request::{HostAccess, Terms};

    fn of(body: &str) -> Intent {
        Intent::of(&json("/v1.41/services/create", body))
    }

    fn runs(image: Option<&str>, plugin: Option<&str>, host_access: &[(&'static str, &str)]) -> Intent {
        runs_in(image, plugin, host_access, &[])
    }

    fn runs_in(image: Option<&str>, plugin: Option<&str>, host_access: &[(&'static str, &str)], networks: &[&str]) -> Intent {
        Intent::Service(Service::Spec {
            networks: networks.iter().map(|network| (*network).to_owned()).collect(),
            image: image.map(|image| ImageName::parse(image).unwrap()),
            image_mounts: vec![],
            plugin: plugin.map(str::to_owned),
            host_access: host_access.iter().map(|(id, what)| HostAccess { id, what: (*what).to_owned() }).collect(),
            terms: Some(Box::new(Terms { restart: Restart::Endless, ..Terms::default() })),
        })
    }

    #[test]
    fn a_service_names_what_its_tasks_run() {
        for (body, intent) in [
            (r#"{"TaskTemplate":{"ContainerSpec":{"Image":"a"}}}"#, runs(Some("a"), None, &[])),
            ("{\"Tas\u{212a}Template\":{\"Container\u{17f}pec\":{\"IMAGE\":\"a\"}}}", runs(Some("a"), None, &[])),
            (r#"{"TaskTemplate":{"Runtime":"container","ContainerSpec":{"Image":"a"}}}"#, runs(Some("a"), None, &[])),
            (r#"{"TaskTemplate":{"Runtime":"plugin","PluginSpec":{"Remote":"b"}}}"#, runs(None, Some("b"), &[])),
            (r#"{"TaskTemplate":{"Runtime":"plugin"}}"#, runs(None, Some("plugin"), &[])),
            (r#"{"TaskTemplate":{"Runtime":"attachment"}}"#, runs(None, Some("attachment"), &[])),
            (r#"{"Name":"s"}"#, runs(None, None, &[])),
            (
                r#"{"TaskTemplate":{"ContainerSpec":{"Image":"a","Mounts":[{"Type":"bind","Source":"/"}],"CapabilityAdd":["ALL"]}}}"#,
                runs(Some("a"), None, &[("bind", "/"), ("capability", "ALL")]),
            ),
            (
                r#"{"TaskTemplate":{"ContainerSpec":{"Image":"a","Privileges":{"Seccomp":{"Mode":"unconfined"}},"Sysctls":{"a":"b"}}}}"#,
                runs(Some("a"), None, &[("sysctl", "a=b"), ("security-opt", "Seccomp")]),
            ),
            (
                r#"{"TaskTemplate":{"ContainerSpec":{"Image":"a"},"Networks":[{"Target":"host"}]}}"#,
                runs(Some("a"), None, &[("namespace", "network:host")]),
            ),
            (
                r#"{"Networks":[{"Target":"n"},{"Target":"HOST"}],"TaskTemplate":{"ContainerSpec":{"Image":"a"},"Networks":[{"Target":"m"},{"Target":"n"},{}]}}"#,
                runs_in(Some("a"), None, &[("namespace", "network:HOST")], &["n", "m"]),
            ),
            (
                r#"{"TaskTemplate":{"ContainerSpec":{"Image":"a"},"LogDriver":{"Name":"syslog","Options":{}}}}"#,
                runs(Some("a"), None, &[("log-driver", "syslog")]),
            ),
            (
                r#"{"TaskTemplate":{"ContainerSpec":{"Image":"a"},"LogDriver":{"Name":"json-file","Options":{"max-size":"1m"}}}}"#,
                runs(Some("a"), None, &[]),
            ),
        ] {
            assert_eq!(of(body), intent, "{body}");
        }
    }

    #[test]
    fn a_specification_that_is_not_shown_or_reads_two_ways_is_refused() {
        for headers in [
            &[("Content-Length", "148"), ("Content-Type", "text/plain")][..],
            &[("Content-Length", "148")],
            &[("Content-Length", "1048716"), ("Content-Type", "application/json")],
            &[("Content-Length", "0")],
        ] {
            for uri in ["/services/create", "/v1.41/services/s/update?version=1"] {
                assert_eq!(Intent::of(&post(uri, headers, None)), Intent::Unreadable(Unreadable::MissingBody), "{headers:?}");
            }
        }
        for body in [
            r#"{"TaskTemplate":{"ContainerSpec":{"Image":"a"}},"tasktemplate":{}}"#,
            r#"{"TaskTemplate":{"ContainerSpec":{"Image":"a"},"ContainerSpec":null}}"#,
            r#"{"TaskTemplate":{"ContainerSpec":{"Image":"a","image":"b"}}}"#,
            r#"{"TaskTemplate":[]}"#,
            "null",
        ] {
            assert!(matches!(of(body), Intent::Unreadable(_)), "{body}");
        }
    }

    /// swarmkit, `template.ExpandContainerSpec`.
    #[test]
    fn a_mount_that_a_node_makes_another_of_is_refused() {
        let mounts = |mount: &str| of(&format!(r#"{{"TaskTemplate":{{"ContainerSpec":{{"Image":"a","Mounts":[{mount}]}}}}}}"#));
        let driver = |of: &str, options: &str| {
            format!(r#"{{"Type":"{of}","Source":"v","Target":"/v","VolumeOptions":{{"DriverConfig":{{"Options":{options}}}}}}}"#)
        };
        for (mount, shown) in [
            (r#"{"Type":"bind","Source":"/{{\"run/docker.sock\"}}","Target":"/s"}"#.to_owned(), r#"/{{"run/docker.sock"}}"#),
            (r#"{"Type":"bind","Source":"/\u007b{\"etc\"}}"}"#.to_owned(), r#"/{{"etc"}}"#),
            (r#"{"Type":"bind","source":"/{{\"\"}}"}"#.to_owned(), r#"/{{""}}"#),
            (r#"{"Type":"bind","Source":"/srv/{{\"..\"}}/etc"}"#.to_owned(), r#"/srv/{{".."}}/etc"#),
            (r#"{"Type":"npipe","Source":"{{1}}"}"#.to_owned(), "{{1}}"),
            (r#"{"Type":"cluster","Source":"{{1}}"}"#.to_owned(), "{{1}}"),
            (r#"{"Type":"tmpfs","Source":"{{1}}"}"#.to_owned(), "{{1}}"),
            (driver("volume", r#"{"type":"tmpfs","o":"{{\"bind\"}}","device":"/"}"#), r#"{{"bind"}}"#),
            (driver("volume", r#"{"type":"none","o":"bind","device":"/srv/{{\"..\"}}"}"#), r#"/srv/{{".."}}"#),
            (driver("tmpfs", r#"{"o":"{{\"bind\"}}"}"#), r#"{{"bind"}}"#),
        ] {
            assert_eq!(mounts(&mount), Intent::Unreadable(Unreadable::Template(shown.into())), "{mount}");
        }
        let long = mounts(&format!(r#"{{"Type":"bind","Source":"/{{{{{}"}}"#, "x".repeat(1_000)));
        assert_eq!(long, Intent::Unreadable(Unreadable::Template(format!("/{{{{{}…", "x".repeat(TEMPLATE - 4)))));
        let image = mounts(r#"{"Type":"image","Source":"{{1}}"}"#);
        assert!(matches!(image, Intent::Unreadable(Unreadable::Reference(_))), "{image:?}");
        // Names of volumes, and what stays inside the container.
        for (mount, opens) in [
            (r#"{"Type":"volume","Source":"data-{{.Task.Slot}}","Target":"/data/{{.Node.ID}}"}"#.to_owned(), &[][..]),
            (r#"{"Type":"volume","Source":"v","VolumeOptions":{"Labels":{"of":"{{.Service.Name}}"}}}"#.to_owned(), &[]),
            (r#"{"Type":"bind","Source":"/srv/{a}","Target":"/{{.Task.Slot}}"}"#.to_owned(), &[("bind", "/srv/{a}")]),
            (driver("volume", r#"{"{{1}}":"{1}"}"#), &[("volume-options", "{{1}}={1}")]),
        ] {
            let Intent::Service(Service::Spec { host_access, .. }) = mounts(&mount) else { panic!("{mount}") };
            let opened: Vec<_> = host_access.iter().map(|access| (access.id, access.what.as_str())).collect();
            assert_eq!(opened, opens, "{mount}");
        }
        let elsewhere = of(
            r#"{"Name":"{{1}}","TaskTemplate":{"ContainerSpec":{"Image":"a","Env":["A={{.Node.ID}}"],"Hostname":"{{.Node.Hostname}}"}}}"#,
        );
        assert_eq!(elsewhere, runs(Some("a"), None, &[]));
    }

    #[test]
    fn a_rollback_is_one_whatever_the_body_says() {
        let rolled = Intent::Service(Service::Rollback { service: "s".into() });
        let body = r#"{"TaskTemplate":{"ContainerSpec":{"Image":"a"}}}"#;
        for query in ["version=1&rollback=previous", "%72ollback=previous", "rollback=previou%73"] {
            let uri = format!("/v1.41/services/s/update?{query}");
            assert_eq!(Intent::of(&json(&uri, body)), rolled, "{query}");
            assert_eq!(Intent::of(&post(&uri, &[("Content-Length", "5"), ("Content-Type", "x")], None)), rolled, "{query}");
        }
        for query in ["rollback=x;&rollback=previous", "rollback=none&rollback=previous", "rollback=%zz&rollback=previous"] {
            let intent = Intent::of(&json(&format!("/services/s/update?{query}"), body));
            assert!(matches!(intent, Intent::Unreadable(_)), "{query}");
        }
        for query in ["version=1", "rollback=none", "Rollback=previous", "rollback="] {
            let intent = Intent::of(&json(&format!("/services/s/update?{query}"), body));
            assert_eq!(intent, runs(Some("a"), None, &[]), "{query}");
        }
    }
}
