//! The gate's own calls, and networks that would take the way to what it talks to.

use super::support::{call_without_body, house_with, policy};
use crate::gate::{Own, OwnHost};
use crate::policy::{Policy, Posture};
use crate::request::Intent;
use crate::trust::Fake as Notary;
use crate::wire::{Answer, Call};

/// The mark passes what the gate itself calls, and nothing beside it.
#[tokio::test]
async fn the_gates_own_mark_passes_reads_and_ends_by_full_id_alone() {
    let house = house_with(policy(Posture::Lockdown), Notary::default());
    let id = "a".repeat(64);
    for (method, uri, ours) in [
        ("GET", "/v1.41/images/x/json".to_owned(), true),
        ("HEAD", "/_ping".to_owned(), true),
        ("GET", "/v1.41/events?filters=%7B%7D".to_owned(), true),
        ("GET", "/v1.41/tasks/abc".to_owned(), true),
        ("POST", format!("/containers/{id}/kill"), true),
        ("POST", format!("/v1.41/containers/{id}/kill"), true),
        ("GET", "/containers/web/attach/ws".to_owned(), false),
        ("OPTIONS", "/info".to_owned(), false),
        ("POST", "/containers/web/kill".to_owned(), false),
        ("POST", format!("/containers/{id}x/kill"), false),
        ("POST", format!("/containers/{id}/kill?signal=HUP"), false),
        ("POST", format!("/x/containers/{id}/kill"), false),
        ("POST", format!("/containers/{id}/start"), false),
        ("POST", "/containers/create".to_owned(), false),
        ("POST", "/images/load".to_owned(), false),
        ("POST", format!("/v1.41/containers/{id}/stop?t=10"), true),
        ("DELETE", format!("/v1.41/containers/{id}"), true),
        ("POST", "/containers/web/stop?t=10".to_owned(), false),
        ("POST", format!("/containers/{id}/stop?t=10&signal=HUP"), false),
        ("POST", format!("/containers/{id}/restart?t=10"), false),
        ("POST", format!("/containers/{id}"), false),
        ("DELETE", "/containers/web".to_owned(), false),
        ("DELETE", format!("/containers/{}", &id[..12]), false),
        ("DELETE", format!("/containers/{id}?v=1"), false),
        ("DELETE", format!("/containers/{id}?force=1"), false),
        ("DELETE", format!("/containers/{id}/stop?t=10"), false),
        ("DELETE", format!("/images/{id}"), false),
        ("DELETE", format!("/volumes/{id}"), false),
        ("PUT", format!("/containers/{id}"), false),
        // The words somewhere else in the target, or written otherwise.
        ("DELETE", format!("/%63ontainers/web?force=1&x=/containers/{id}"), false),
        ("DELETE", format!("/containers/web?force=1&x=/containers/{id}"), false),
        ("POST", format!("/images/prune?x=/containers/{id}/kill"), false),
        ("POST", format!("/containers/web/kill?x=/containers/{id}/kill"), false),
        ("POST", format!("/containers/web/stop?x=/containers/{id}/stop?t=10"), false),
        ("POST", format!("//containers/{id}/kill"), false),
        ("POST", format!("/v1.41//containers/{id}/kill"), false),
        ("POST", format!("/v1/containers/{id}/kill"), false),
        ("POST", format!("/v1.x/containers/{id}/kill"), false),
        ("POST", format!("/v.41/containers/{id}/kill"), false),
        ("POST", format!("/containers/{id}/kill#"), false),
        ("POST", format!("http://docker/containers/{id}/kill"), false),
        ("DELETE", format!("/v1.41/containers/{id}/"), false),
        ("DELETE", format!("/v1.41/containers/{}", id.to_uppercase()), false),
    ] {
        let mut call = Call { method: method.to_owned(), uri: uri.clone(), ..call_without_body() };
        call.headers.insert(crate::engine::CALL_HEADER.to_owned(), crate::engine::own_mark());
        let intent = Intent::of(&call);
        assert_eq!(crate::gate::reading::is_ours(&call, &intent), ours, "{method} {uri}");
        let refused = matches!(house.gate.request(Ok((call, intent))).await, Answer::Deny(_));
        assert!(!(ours && refused), "{method} {uri}");
        let would_be = ["start", "create", "load"].iter().any(|end| uri.ends_with(end));
        assert!(refused || !would_be, "{method} {uri}");
    }
}

#[tokio::test]
async fn in_lockdown_no_network_takes_the_way_to_what_the_gate_talks_to() {
    let network = |subnet: &str| {
        let body = format!(r#"{{"Name":"n","IPAM":{{"Config":[{{"Subnet":"{subnet}"}}]}}}}"#);
        let headers = [("Content-Type".to_owned(), "application/json".to_owned())].into();
        Intent::of(&Call {
            method: "POST".into(),
            uri: "/networks/create".into(),
            headers,
            body: Some(body.into_bytes()),
            ..call_without_body()
        })
    };
    for (posture, open, subnet, says) in [
        (Posture::Lockdown, "", "10.1.2.0/24", "host-access"),
        (Posture::Lockdown, "", "10.0.0.0/8", "host-access"),
        (Posture::Lockdown, "", "10.1.3.0/24", "allow"),
        (Posture::Lockdown, "", "192.168.7.0/24", "allow"),
        (Posture::Lockdown, "network-subnet=10.1.2.0/24", "10.1.2.0/24", "allow"),
        (Posture::Images, "", "10.1.2.0/24", "allow"),
    ] {
        let host_access = if open.is_empty() { Vec::new() } else { vec![open.parse().unwrap()] };
        let house = house_with(Policy { host_access, ..policy(posture) }, Notary::default());
        let hosts = vec![OwnHost { name: "10.1.2.3".into(), port: 443 }];
        house.gate.talks_to(Own::new(hosts, "/nonexistent".into()));
        assert_eq!(house.says(&network(subnet)).await, says, "{subnet} {open}");
    }
}
