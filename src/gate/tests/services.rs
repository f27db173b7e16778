//! Services: pinned images, networks, rollbacks.

use std::sync::Arc;

use super::support::{GOOD, call_without_body, digest, house, policy};
use crate::audit::Event;
use crate::engine::{EngineError, Network, Service as EngineService, ServiceSpec};
use crate::gate::Rules;
use crate::image::ImageName;
use crate::policy::{Policy, Posture};
use crate::request::{Intent, Service};
use crate::trust::{Fake as Notary, Verifier};
use crate::wire::Call;

#[tokio::test]
async fn services_are_pinned_and_a_rollback_acts_on_the_previous_specification() {
    let house = house();
    let signed = format!("r.example/team/good:1@{}", digest("good manifest"));
    let unsigned = format!("r.example/team/good:1@{}", digest("evil manifest"));
    let spec = |image: &str| {
        Intent::Service(Service::Spec {
            image: Some(ImageName::parse(image).unwrap()),
            image_mounts: Vec::new(),
            plugin: None,
            host_access: Vec::new(),
            networks: Vec::new(),
            terms: None,
        })
    };
    for (image, says) in [(signed.as_str(), "allow"), (&unsigned, "not-signed"), (GOOD, "service-needs-digest")] {
        assert_eq!(house.says(&spec(image)).await, says, "{image}");
        let previous = Some(ServiceSpec { image: Some(image.to_owned()), ..ServiceSpec::default() });
        house.engine.put_service(EngineService { id: says.to_owned(), spec: ServiceSpec::default(), previous });
        let rollback = Intent::Service(Service::Rollback { service: says.to_owned() });
        assert_eq!(house.says(&rollback).await, says, "{image}");
    }
    assert_eq!(house.says(&Intent::Service(Service::Rollback { service: "none".into() })).await, "service-unknown");
}

#[tokio::test]
async fn in_lockdown_a_service_is_in_networks_that_are_none_of_the_hosts() {
    let house = house();
    let hexes = |hex: &str| hex.repeat(64);
    let (swarm, like_an_id) = ("k".repeat(25), "h".repeat(25));
    for (id, name, driver, scope) in [
        (hexes("a"), "host", "host", "local"),
        (hexes("b"), "bridge", "bridge", "local"),
        (hexes("c"), "plain", "bridge", "local"),
        (swarm.clone(), "stack_default", "overlay", "swarm"),
        ("m".repeat(25), like_an_id.as_str(), "overlay", "swarm"),
    ] {
        let text = str::to_owned;
        house.engine.put_network(Network { id, name: text(name), driver: text(driver), scope: text(scope) });
    }
    let policy = |host_access: &[&str]| Policy {
        host_access: host_access.iter().map(|rule| rule.parse().unwrap()).collect(),
        ..policy(Posture::Lockdown)
    };
    let put = |policy: Policy| {
        let verifiers: Vec<Arc<dyn Verifier>> = vec![Arc::new(Notary::default().with(GOOD, digest("good manifest")))];
        house.gate.replace(Rules::Good { policy, verifiers, registry: None });
    };
    let spec = |network: &str| {
        Intent::Service(Service::Spec {
            image: Some(ImageName::parse(&format!("{GOOD}@{}", digest("good manifest"))).unwrap()),
            image_mounts: Vec::new(),
            plugin: None,
            host_access: Vec::new(),
            networks: vec![network.to_owned()],
            terms: None,
        })
    };
    // In posture `images` nobody asks.
    assert_eq!(house.says(&spec(&hexes("a"))).await, "allow");
    for (network, shut, open) in [
        (hexes("a").as_str(), "host-access", "allow"),
        (&hexes("a")[..12], "host-access", "allow"),
        (&hexes("b"), "allow", "allow"),
        ("bridge", "allow", "allow"),
        (&hexes("c"), "allow", "allow"),
        // The engine might find a network of the swarm by these.
        ("plain", "host-access", "host-access"),
        (&hexes("c")[..12], "host-access", "host-access"),
        (&like_an_id, "host-access", "host-access"),
        ("k", "host-access", "host-access"),
        ("elsewhere", "host-access", "host-access"),
        ("stack_default", "allow", "allow"),
        (&swarm, "allow", "allow"),
    ] {
        put(policy(&[]));
        assert_eq!(house.says(&spec(network)).await, shut, "{network}");
        put(policy(&["namespace=network:host"]));
        assert_eq!(house.says(&spec(network)).await, open, "{network}");
    }
    house.engine.fail_with(Some(EngineError::Timeout { call: "GET /networks/x".into() }));
    assert_eq!(house.says(&spec("bridge")).await, "engine-unreachable");
}

/// An approved update between the check of a rollback and the rollback puts another specification in the place of the judged one.
#[tokio::test]
async fn a_rollback_that_brought_back_what_was_not_judged_is_recorded() {
    let signed = format!("r.example/team/good:1@{}", digest("good manifest"));
    let unsigned = format!("r.example/team/good:1@{}", digest("evil manifest"));
    let service = |image: &str, runtime: &str| EngineService {
        id: "web".into(),
        spec: ServiceSpec { image: Some(image.into()), runtime: runtime.into(), ..ServiceSpec::default() },
        previous: None,
    };
    for (found, status, mismatches) in [
        (service(&signed, ""), 200, 0),
        (service(&signed, "container"), 200, 0),
        (service(&unsigned, ""), 200, 1),
        (service(GOOD, ""), 200, 1),
        (service(&signed, "plugin"), 200, 1),
        (service(&unsigned, ""), 500, 0),
    ] {
        let house = house();
        house.engine.put_service(found.clone());
        let uri = "/services/web/update?version=1&rollback=previous".to_owned();
        let outcome = Some(crate::wire::Outcome { status, body: None });
        house.gate.after(&Call { method: "POST".into(), uri, outcome, ..call_without_body() }).await;
        let entries = house.journal.0.lock().unwrap();
        let seen = entries.iter().filter(|entry| entry.event == Event::Mismatch).count();
        assert_eq!(seen, mismatches, "{found:?} {status}");
    }
}
