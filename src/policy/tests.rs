#![allow(clippy::string_slice, reason = "tests cut their own text")]

//! Settings, messages, and what is decided without facts.

use super::*;
use crate::image::{Digest, ImageName};
use crate::request::{Build, ContainerAccess, Create, HostAccess, Ingest, Intent, PluginCall, PluginChange, Pull, Pulled};
use crate::trust::{TrustCode, TrustError};

fn settings(pairs: &[(&str, &str)]) -> Settings {
    Settings::read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
}

fn hosts(pairs: &[(&str, &str)]) -> Vec<String> {
    settings(pairs).resolve(false).unwrap().policy.scopes.iter().map(|scope| scope.label().to_owned()).collect()
}

fn faults(pairs: &[(&str, &str)]) -> Vec<String> {
    settings(pairs).resolve(false).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_set_guards_docker_hub_with_its_own_notary() {
    let policy = settings(&[]).resolve(false).unwrap().policy;
    assert_eq!(hosts(&[]), ["docker.io"]);
    assert_eq!(policy.scopes.iter().next().unwrap().require, Requirement::All(vec![Requirement::One(VerifierName::NOTARY)]));
    assert_eq!((policy.mode, policy.posture, policy.build), (Mode::Enforce, Posture::Images, BuildRule::Deny));
    assert_eq!(settings(&[]).notary().unwrap().unwrap().source, "https://notary.docker.io".into());
    assert!(settings(&[("REGISTRY", " "), ("NOTARY", "")]).is_default_hub());
}

#[test]
fn registries_are_several_and_exact() {
    assert_eq!(
        hosts(&[("REGISTRY", "a.example:5000, b.example\tdocker.io,index.docker.io")]),
        ["a.example:5000", "b.example", "docker.io"]
    );
    let policy = settings(&[("REGISTRY", "a.example:5000")]).resolve(false).unwrap().policy;
    let in_scope = |name: &str| policy.scope(&name.parse().unwrap()).is_some();
    assert!(in_scope("a.example:5000/x"));
    for other in ["a.example/x", "a.example:05000/x", "A.example:5000/x", "b.a.example:5000/x", "x"] {
        assert!(!in_scope(other), "{other}");
    }
}

#[test]
fn all_faults_are_told_at_once_with_their_keys() {
    let told = faults(&[
        ("REGISTRY", "https://a.example"),
        ("NOTARY", "http://n.example"),
        ("NOTARY_ROOT_CA", "/etc/ca.crt"),
        ("NOTARY_PINS", "[]"),
        ("NOTARY_SIGNERS", "team/*=qa; r.example/app=QA"),
        ("FRESHNESS", "1h"),
        ("ON_OUTAGE", "allow"),
        ("STALE_LIMIT", "0"),
        ("MODE", "strict"),
        ("POSTURE", "Lockdown"),
        ("ALLOW_HOST_ACCESS", "bind=, capability=NET_RAW,\nbinds=/srv,bind=../x"),
        ("BUILD", "yes"),
        ("DOCKER_HOST", "tcp://x"),
    ]);
    insta::assert_snapshot!(told.join("\n"), @r"
    NOTARY: `http://n.example` is plain http; trust data must come over https
    NOTARY_ROOT_CA: is not a PEM certificate (-----BEGIN CERTIFICATE----- …); give the CA's certificate itself, not a path
    NOTARY_PINS: is not a JSON object (notary's trust_pinning block)
    NOTARY_SIGNERS: `team/*` is not a repository by its full name (`registry.example/team/app`, `registry.example/team/*`, `*`)
    NOTARY_SIGNERS: `QA` is not a signer's name (lower-case letters, digits, - and _)
    FRESHNESS: `1h` is not a number of seconds from 0 to 3600
    ON_OUTAGE: `allow` is neither `run` nor `deny`
    STALE_LIMIT: `0` is not a number of hours from 1 to 720
    MODE: `strict` is neither `enforce` nor `permissive`
    POSTURE: `Lockdown` is neither `images` nor `lockdown`
    ALLOW_HOST_ACCESS: `bind=` says not which; write `bind` alone to open all of them
    ALLOW_HOST_ACCESS: `binds` is not a way to the host; there are privileged, bind, mount, volumes-from, volume-driver, volume-options, device, capability, security-opt, masked-paths, readonly-paths, namespace, runtime, cgroup-parent, sysctl, annotation, log-driver, network-subnet, network-parent, network-bridge
    ALLOW_HOST_ACCESS: `bind=../x` is not a clean absolute path
    BUILD: `yes` is neither `deny` nor `allow`
    REGISTRY: `https://a.example` is not a registry host (host or host:port, without scheme or path)
    DOCKER_HOST: `tcp://x` is not unix://PATH; the gate talks to the engine's own socket only
    ");
}

#[test]
fn notary_servers_are_written_with_or_without_their_scheme() {
    use crate::trust::notary::Source;
    let source = |written: &str| settings(&[("NOTARY", written)]).notary().map(|notary| notary.map(|notary| notary.source));
    assert_eq!(source("n.example:4443").unwrap().unwrap(), "https://n.example:4443".into());
    assert_eq!(source(" 'https://n.example/sub/' ").unwrap().unwrap(), "https://n.example/sub".into());
    assert_eq!(source("off").unwrap(), None);
    assert_eq!(source(" import ").unwrap(), Some(Source::Import));
    assert_eq!(source("https://import").unwrap().unwrap(), "https://import".into());
    for wrong in [
        "http://n.example",
        "ftp://n.example",
        "https://",
        "https://a b",
        "https://user@n.example",
        "https://n.example/../x",
        "https://n.example?x",
    ] {
        assert!(source(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_certificate_may_stand_in_quotes_and_keep_its_lines() {
    let pem = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----";
    let notary = settings(&[("NOTARY", "n.example"), ("NOTARY_ROOT_CA", &format!("'\"\n{pem}\n\"'"))]).notary().unwrap().unwrap();
    assert_eq!(notary.root_ca, Some(Given::Text(pem.to_owned())));
}

#[test]
fn how_fresh_trust_data_must_be_is_set_within_bounds() {
    use crate::trust::notary::OnOutage;
    use std::time::Duration;
    let terms = |pairs: &[(&str, &str)]| {
        let notary = settings(pairs).notary().unwrap().unwrap();
        (notary.freshness.as_secs(), notary.on_outage, notary.stale_limit)
    };
    assert_eq!(terms(&[]), (30, OnOutage::UseKnown, Duration::from_hours(24)));
    assert_eq!(terms(&[("FRESHNESS", "0")]).0, 0);
    assert_eq!(terms(&[("FRESHNESS", " 3600 ")]).0, 3600);
    assert_eq!(terms(&[("ON_OUTAGE", "deny")]).1, OnOutage::Deny);
    assert_eq!(terms(&[("ON_OUTAGE", "run"), ("STALE_LIMIT", "720")]).2, Duration::from_hours(720));
    // What is imported ends by its own dates, unless somebody says otherwise.
    assert_eq!(terms(&[("NOTARY", "import")]).2, Duration::MAX);
    assert_eq!(terms(&[("NOTARY", "import"), ("STALE_LIMIT", "48")]).2, Duration::from_hours(48));
    for wrong in ["3601", "-1", "+5", "1.5", "30s", "99999999999999999999", "off", "0x10"] {
        assert_eq!(faults(&[("FRESHNESS", wrong)]).len(), 1, "{wrong}");
    }
    for wrong in ["0", "721", "1d"] {
        assert_eq!(faults(&[("STALE_LIMIT", wrong)]).len(), 1, "{wrong}");
    }
    assert_eq!(faults(&[("ON_OUTAGE", "Run")]).len(), 1);
}

#[test]
fn required_signers_are_asked_for_where_an_image_may_come_from() {
    use crate::trust::tuf::RoleName;
    let own = ("NOTARY", "n.example");
    let signers = |pairs: &[(&str, &str)]| {
        let settings = settings(pairs);
        settings.resolve(false).map(|_| settings.notary().unwrap().unwrap().signers)
    };
    let repository = "r.example/team/app".parse().unwrap();
    let found = signers(&[own, ("REGISTRY", "r.example"), ("NOTARY_SIGNERS", "r.example/team/*=qa\n*=any")]).unwrap();
    assert_eq!(found.of(&repository).iter().map(RoleName::as_str).collect::<Vec<_>>(), ["targets/qa"]);
    assert!(signers(&[own]).unwrap().of(&repository).is_empty());
    // With bundles too.
    assert!(signers(&[("NOTARY", "import"), ("NOTARY_SIGNERS", "*=qa")]).is_ok());
    // A rule that would never be heard of, and rules that nobody asks.
    for (registry, rule) in [
        ("r.example", "r.example:5000/app=qa"),
        ("r.example", "R.example/*=qa"),
        ("r.example:5000", "r.example/*=qa"),
        ("r.example", "docker.io/*=qa"),
        ("r.example", "team.r.example/*=qa;*=any"),
    ] {
        let told = signers(&[own, ("REGISTRY", registry), ("NOTARY_SIGNERS", rule)]).unwrap_err();
        assert_eq!(told.len(), 1, "{rule}");
        assert!(told[0].to_string().ends_with("is not in REGISTRY"), "{rule}: {}", told[0]);
    }
    assert_eq!(
        faults(&[("NOTARY", "off"), ("NOTARY_SIGNERS", "*=qa")]),
        ["NOTARY_SIGNERS: needs NOTARY: where it is off nobody signs"]
    );
}

#[test]
fn lockdown_needs_someone_who_vouches() {
    assert_eq!(faults(&[("NOTARY", "off"), ("ALLOWLIST", "off"), ("POSTURE", "lockdown")]).len(), 1);
    assert!(settings(&[("NOTARY", "off"), ("POSTURE", "lockdown")]).resolve(true).is_ok());
    let weak = settings(&[("NOTARY", "off"), ("ALLOWLIST", "off")]).resolve(true).unwrap().policy;
    assert_eq!(weak.weak_scopes().count(), 1);
    assert_eq!(weak.scopes.iter().next().unwrap().require.verifiers(), [&VerifierName::REGISTRY]);
}

fn says(policy: &Policy, intent: &Intent) -> &'static str {
    match (needs(policy, &Request::by_gate(intent)), decide(policy, &Request::by_gate(intent), &Facts::default())) {
        (Needs::Nothing, Verdict::Allow(_)) => "allow",
        (Needs::Refused(said), Verdict::Deny(reason)) if said == reason => reason.code(),
        (Needs::Nothing, Verdict::WouldDeny(reason) | Verdict::Deny(reason)) => reason.code(),
        (_, Verdict::WouldDeny(_) | Verdict::Deny(_)) => "facts",
        (needed, Verdict::Allow(_)) => panic!("passes without {needed:?}"),
    }
}

#[test]
fn each_posture_refuses_what_it_says() {
    let images = settings(&[("REGISTRY", "r.example")]).resolve(false).unwrap().policy;
    let lockdown = Policy { posture: Posture::Lockdown, build: BuildRule::Allow, ..images.clone() };
    let access = || vec![HostAccess { id: "privileged", what: "true".into() }];
    let create = |host_access| {
        Intent::Create(Box::new(Create {
            image: Some(crate::image::ImageName::parse("r.example/a:1").unwrap()),
            host_access,
            ..Create::default()
        }))
    };
    for (intent, in_images, in_lockdown) in [
        (Intent::Read, "allow", "allow"),
        (Intent::Harmless, "allow", "allow"),
        (create(Vec::new()), "facts", "facts"),
        (create(access()), "facts", "host-access"),
        (Intent::Build(Build::Classic), "build-denied", "build-denied"),
        (Intent::Build(Build::Session), "build-denied", "build-denied"),
        (Intent::Ingest(Ingest::Load), "allow", "posture-forbids"),
        (Intent::Ingest(Ingest::Import), "allow", "posture-forbids"),
        (Intent::Ingest(Ingest::Commit), "allow", "posture-forbids"),
        (Intent::ContainerAccess(ContainerAccess::Exec { user: None }), "allow", "allow"),
        (Intent::ContainerAccess(ContainerAccess::PrivilegedExec { user: None }), "allow", "posture-forbids"),
        (Intent::ContainerAccess(ContainerAccess::PutArchive), "allow", "posture-forbids"),
        (Intent::ContainerAccess(ContainerAccess::Checkpoint), "allow", "posture-forbids"),
        (Intent::Swarm, "allow", "posture-forbids"),
        (Intent::Volume { host_access: Vec::new(), volumes: Vec::new() }, "allow", "allow"),
        (Intent::Volume { host_access: access(), volumes: Vec::new() }, "allow", "host-access"),
        (
            Intent::Network { host_access: vec![HostAccess { id: "network-parent", what: "eth0".into() }], subnets: vec![] },
            "allow",
            "host-access",
        ),
        (Intent::NetworkPlugin { driver: "x".into() }, "allow", "posture-forbids"),
        (Intent::Unknown { route: "POST /x".into() }, "route-unknown", "route-unknown"),
        (Intent::Unreadable(crate::request::Unreadable::HiddenBody), "request-unreadable", "request-unreadable"),
        (
            Intent::Pull(Pull { repository: "r.example/a".parse().unwrap(), what: Pulled::AllTags }),
            "pull-all-tags",
            "pull-all-tags",
        ),
    ] {
        assert_eq!(says(&images, &intent), in_images, "images: {intent:?}");
        assert_eq!(says(&lockdown, &intent), in_lockdown, "lockdown: {intent:?}");
    }
    let building = Policy { build: BuildRule::Allow, ..images };
    assert_eq!(says(&building, &Intent::Build(Build::Grpc)), "allow");
}

/// With no good settings at all, what `lockdown` forbids is forbidden nevertheless.
#[test]
fn a_fault_elsewhere_opens_nothing_that_the_posture_shuts() {
    for (written, posture) in [
        (&[][..], Posture::Images),
        (&[("POSTURE", "images")], Posture::Images),
        (&[("POSTURE", " lockdown "), ("MODE", "x")], Posture::Lockdown),
        (&[("POSTURE", "lokdown")], Posture::Lockdown),
    ] {
        assert_eq!(settings(written).posture(), posture, "{written:?}");
    }
    let says = |posture, intent: &Intent| match decide_without_policy("REGISTRY: x", posture, false, &Request::by_gate(intent)) {
        Verdict::Allow(_) => "allow",
        Verdict::WouldDeny(reason) | Verdict::Deny(reason) => reason.code(),
    };
    let access = || vec![HostAccess { id: "volume-options", what: "device=/".into() }];
    let change = PluginCall::Change { plugin: "p".into(), change: PluginChange::Disable };
    let removal = |change| Intent::Plugin(PluginCall::Change { plugin: "p".into(), change });
    for (intent, in_images, in_lockdown) in [
        (Intent::Read, "allow", "allow"),
        (Intent::Harmless, "allow", "allow"),
        (Intent::Remove { container: "c".into() }, "allow", "allow"),
        (Intent::ContainerAccess(ContainerAccess::Exec { user: None }), "allow", "allow"),
        (Intent::Volume { host_access: Vec::new(), volumes: Vec::new() }, "allow", "allow"),
        (Intent::ContainerAccess(ContainerAccess::PrivilegedExec { user: None }), "allow", "posture-forbids"),
        (Intent::ContainerAccess(ContainerAccess::PutArchive), "allow", "posture-forbids"),
        (Intent::Swarm, "allow", "posture-forbids"),
        (Intent::Volume { host_access: access(), volumes: Vec::new() }, "allow", "host-access"),
        (Intent::Network { host_access: access(), subnets: vec![] }, "allow", "host-access"),
        (Intent::NetworkPlugin { driver: "x".into() }, "allow", "posture-forbids"),
        (Intent::Plugin(change), "allow", "posture-forbids"),
        (removal(PluginChange::Remove), "allow", "posture-forbids"),
        (removal(PluginChange::RemoveByForce), "setting-fault", "setting-fault"),
        (Intent::Ingest(Ingest::Load), "setting-fault", "setting-fault"),
        (Intent::Build(Build::Classic), "setting-fault", "setting-fault"),
        (Intent::Unknown { route: "POST /x".into() }, "route-unknown", "route-unknown"),
    ] {
        assert_eq!(says(Posture::Images, &intent), in_images, "images: {intent:?}");
        assert_eq!(says(Posture::Lockdown, &intent), in_lockdown, "lockdown: {intent:?}");
    }
}

#[test]
fn host_access_is_allowed_where_a_rule_allows_each_of_it() {
    let lockdown = |host_access: &str| {
        let pairs = [("REGISTRY", "r.example"), ("POSTURE", "lockdown"), ("ALLOW_HOST_ACCESS", host_access)];
        settings(&pairs).resolve(false).unwrap().policy
    };
    let access = |id, what: &str| HostAccess { id, what: what.into() };
    let create = Intent::Create(Box::new(Create {
        image: Some(crate::image::ImageName::parse("r.example/a:1").unwrap()),
        host_access: vec![access("bind", "/srv/a"), access("capability", "CAP_NET_RAW")],
        ..Create::default()
    }));
    let volume = Intent::Volume {
        host_access: vec![access("volume-options", "o=bind"), access("volume-options", "device=/srv/a")],
        volumes: vec![],
    };
    for (rules, of_create, of_volume) in [
        ("", "host-access", "host-access"),
        ("bind=/srv/", "host-access", "host-access"),
        ("bind=/srv/,capability=NET_RAW", "facts", "host-access"),
        ("bind=/srv,capability=NET_RAW", "host-access", "host-access"),
        ("capability\nbind", "facts", "host-access"),
        (" volume-options=o=bind ,, volume-options=device=/srv/* ,", "host-access", "allow"),
        ("volume-options=o=bind", "host-access", "host-access"),
    ] {
        let policy = lockdown(rules);
        assert_eq!((says(&policy, &create), says(&policy, &volume)), (of_create, of_volume), "{rules}");
    }
    let Verdict::Deny(reason) = decide(&lockdown("bind"), &Request::by_gate(&create), &Facts::default()) else { panic!() };
    insta::assert_snapshot!(reason.message(), @"host-access: capability `CAP_NET_RAW` gives access to the host; leave it out, or ask this host's administrator to allow it in ALLOW_HOST_ACCESS");
}

#[test]
fn an_image_mount_must_not_be_able_to_move() {
    let policy = settings(&[("REGISTRY", "r.example")]).resolve(false).unwrap().policy;
    let mount = |source: &str| {
        Intent::Create(Box::new(Create {
            image: Some(crate::image::ImageName::parse("r.example/a:1").unwrap()),
            image_mounts: vec![crate::image::ImageName::parse(source).unwrap()],
            ..Create::default()
        }))
    };
    let id = crate::image::Digest::of(b"x").to_string();
    assert_eq!(says(&policy, &mount(&id)), "facts");
    assert_eq!(says(&policy, &mount(&format!("r.example/a@{id}"))), "facts");
    assert_eq!(says(&policy, &mount("r.example/a:1")), "mount-needs-digest");
    assert_eq!(says(&policy, &mount(&id[..20])), "mount-needs-digest");
    assert_eq!(says(&policy, &mount(&format!("evil.example/a@{id}"))), "registry-not-allowed");
}

#[test]
fn every_refusal_is_one_line_with_its_code_and_a_remedy() {
    let long = "x".repeat(4000);
    let repository: Repository = "r.example/a".parse().unwrap();
    let reasons = [
        Reason::RegistryNotAllowed { repository: repository.clone() },
        Reason::Trust {
            image: long.clone(),
            verifier: "v".repeat(40).parse().unwrap(),
            error: TrustError::new(TrustCode::Invalid, format!("{long}\n\u{1b}[31m")),
        },
        Reason::ImageUnapproved { image: "a`; allowed\r\n\u{202e}".into() },
        Reason::RouteUnknown { route: long.clone() },
        Reason::SettingFault { fault: long.clone(), posture: Posture::Images },
        Reason::SettingFault { fault: long.clone(), posture: Posture::Lockdown },
        Reason::FaultForbids { what: long.clone(), fault: long },
        Reason::NoImage,
    ];
    for reason in reasons {
        let message = reason.message();
        assert!(message.starts_with(&format!("{}: ", reason.code())), "{message}");
        assert!(message.ends_with(&*reason.remedy()), "{message}");
        assert!(message.chars().count() < 300, "{message}");
        assert!(!message.chars().any(|c| c.is_control() || c == '\u{202e}'), "{message}");
        assert!(message.matches('`').count().is_multiple_of(2), "{message}");
    }
}

/// An engine's look at a reference and what it then takes need not agree (moby has two ways to resolve one).
#[test]
fn content_found_under_a_reference_has_the_digest_that_the_reference_says() {
    let policy = settings(&[("REGISTRY", "r.example")]).resolve(false).unwrap().policy;
    let (asked, held) = (Digest::of(b"asked for"), Digest::of(b"held"));
    let name = ImageName::parse(&format!("r.example/a@{asked}")).unwrap();
    let intent = Intent::Create(Box::new(Create { image: Some(name.clone()), ..Create::default() }));
    let local = Local::Present { id: held, by_name: true, digests: vec![held], config: None };
    let image = ImageFacts {
        name,
        local,
        repositories: vec!["r.example/a".parse().unwrap()],
        asked: Vec::new(),
        config: ConfigFacts::NotAsked,
        rego: None,
    };
    let facts = Facts { images: vec![image], ..Facts::default() };
    let Verdict::Deny(reason) = decide(&policy, &Request::by_gate(&intent), &facts) else { panic!() };
    assert_eq!(reason.code(), "content-mismatch");
}

#[test]
fn faulty_settings_that_may_give_users_rights_let_only_reads_pass() {
    let says = |rights: bool, intent: &Intent| {
        let request = Request::by(Caller::Local, crate::request::Action::UNKNOWN, intent);
        match decide_without_policy("policy.toml:3: x", Posture::Images, rights, &request) {
            Verdict::Allow(_) => "allow",
            Verdict::Deny(reason) | Verdict::WouldDeny(reason) => reason.code(),
        }
    };
    assert_eq!((says(true, &Intent::Read), says(false, &Intent::Read)), ("allow", "allow"));
    assert_eq!((says(true, &Intent::Harmless), says(false, &Intent::Harmless)), ("setting-fault", "allow"));
}
