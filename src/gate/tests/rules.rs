//! Rules in force, and none.

use std::sync::Arc;

use super::support::{GOOD, house, policy, pull, start};
use crate::gate::Rules;
use crate::policy::Posture;
use crate::request::{Intent, PluginCall, PluginChange};

/// A reload that meets a half-written `config.json` finds no good rules, also not by the last good settings.
#[tokio::test]
async fn good_rules_are_never_replaced_by_none() {
    let house = house();
    let none = || Rules::Faulty { fault: "DOCKER_CONFIG: x".into(), posture: Posture::Images, rights: false };
    assert!(!house.gate.replace(none()));
    assert_eq!(house.says(&pull(GOOD)).await, "allow");
    assert_eq!(house.says(&pull("r.example/team/evil:1")).await, "not-signed");
    // A gate that never had good rules goes on refusing, and takes good ones when they come.
    house.gate.rules.store(Arc::new(none()));
    assert!(house.gate.replace(none()));
    assert_eq!(house.says(&pull(GOOD)).await, "setting-fault");
    assert!(house.gate.replace(Rules::Good { policy: policy(Posture::Images), verifiers: Vec::new(), registry: None }));
    assert_eq!(house.says(&pull(GOOD)).await, "trust-misconfigured");
}

#[tokio::test]
async fn faulty_settings_refuse_images_and_nothing_else() {
    let house = house();
    house.gate.rules.store(Arc::new(Rules::Faulty { fault: "REGISTRY: x".into(), posture: Posture::Images, rights: false }));
    assert_eq!(house.says(&pull(GOOD)).await, "setting-fault");
    assert_eq!(house.says(&start("web")).await, "setting-fault");
    assert_eq!(house.says(&Intent::Read).await, "allow");
    assert_eq!(house.says(&Intent::Harmless).await, "allow");
    let set = PluginCall::Change { plugin: "img-authz".into(), change: PluginChange::Set };
    assert_eq!(house.says(&Intent::Plugin(set.clone())).await, "allow");
    house.gate.replace(Rules::Faulty { fault: "REGISTRY: x".into(), posture: Posture::Lockdown, rights: false });
    assert_eq!(house.says(&Intent::Read).await, "allow");
    assert_eq!(house.says(&Intent::Harmless).await, "allow");
    assert_eq!(house.says(&start("web")).await, "setting-fault");
    assert_eq!(house.says(&Intent::Swarm).await, "posture-forbids");
    assert_eq!(house.says(&Intent::Plugin(set)).await, "posture-forbids");
}
