//! What the engine does with a call that the call does not show: HTTP/2, control groups.

use super::support::{GOOD, digest, house, house_with, policy, refused};
use crate::engine::{EngineError, Http2};
use crate::gate::Gate;
use crate::policy::{Http2Rule, Policy, Posture};
use crate::request::Intent;
use crate::trust::Fake as Notary;
use crate::wire::{Answer, Call};

/// A pull that is empty as it is shown, with a Content-Type: over HTTP/2 a form may hide in it.
fn maybe_form() -> Result<(Call, Intent), crate::wire::CallError> {
    let text = r#"{"RequestMethod":"POST","RequestUri":"/images/create?fromImage=r.example%2Fteam%2Fgood&tag=1",
        "RequestHeaders":{"Content-Length":"0","Content-Type":"plain/text"}}"#;
    Gate::read(text.as_bytes(), crate::request::Transport::MaybeHttp2)
}

fn says_closed() -> Policy {
    Policy { http2: Http2Rule::Closed, ..policy(Posture::Images) }
}

#[tokio::test]
async fn a_call_that_only_http2_could_hide_a_form_in_is_refused_from_29_2_on() {
    for (version, passes) in
        [("20.10.24+dfsg1", true), ("28.5.2", true), ("29.1.0", true), ("29.2.0", false), ("30.0.0-rc.1", false), ("dev", false)]
    {
        let house = house();
        house.engine.upgrade(version);
        house.engine.serve_http2(Http2::Refused);
        let answer = house.gate.request(maybe_form()).await;
        assert_eq!(answer == Answer::Allow, passes, "{version}: {answer:?}");
        if let Answer::Deny(message) = answer {
            assert!(message.contains("Content-Type") && message.contains("HTTP2=closed"), "{message}");
            assert!(message.len() < 300, "{message}");
        }
    }
}

#[tokio::test]
async fn http2_closed_is_believed_while_the_engines_socket_agrees() {
    for (probed, passes) in [
        (Http2::Refused, true),
        (Http2::Grpc, false),
        (Http2::Rest(Some(404)), false),
        (Http2::Rest(None), false),
        (Http2::HungUp, false),
        (Http2::Silent, false),
    ] {
        let house = house_with(says_closed(), Notary::default().with(GOOD, digest("good manifest")));
        house.engine.upgrade("29.7.2");
        house.engine.serve_http2(probed);
        for _ in 0..2 {
            assert_eq!(house.gate.request(maybe_form()).await == Answer::Allow, passes, "{probed:?}");
        }
        // One look is enough for a process that has answered.
        let looks = house.engine.calls().iter().filter(|call| *call == "http2").count();
        assert_eq!(looks, if probed == Http2::Silent { 2 } else { 1 }, "{probed:?}");
    }
}

/// The drop-in is taken away, or the engine upgraded, and the engine restarted; the gate goes on.
#[tokio::test]
async fn what_is_known_of_the_engine_ends_with_its_process() {
    let house = house_with(says_closed(), Notary::default().with(GOOD, digest("good manifest")));
    house.engine.upgrade("29.7.2");
    assert_eq!(house.gate.request(maybe_form()).await, Answer::Allow);
    house.engine.serve_http2(Http2::Grpc);
    house.engine.restart();
    assert!(matches!(house.gate.request(maybe_form()).await, Answer::Deny(_)));
    house.engine.serve_http2(Http2::Refused);
    assert!(matches!(house.gate.request(maybe_form()).await, Answer::Deny(_)), "it is the same process");
    house.engine.restart();
    assert_eq!(house.gate.request(maybe_form()).await, Answer::Allow);

    let upgraded = self::house();
    assert_eq!(upgraded.gate.request(maybe_form()).await, Answer::Allow);
    upgraded.engine.upgrade("29.2.0");
    upgraded.engine.restart();
    assert!(matches!(upgraded.gate.request(maybe_form()).await, Answer::Deny(_)));
}

#[tokio::test]
async fn an_engine_that_cannot_be_asked_may_speak_http2() {
    for policy in [policy(Posture::Images), says_closed()] {
        let house = house_with(policy, Notary::default().with(GOOD, digest("good manifest")));
        house.engine.fail_with(Some(EngineError::Timeout { call: "GET /version".into() }));
        assert!(matches!(house.gate.request(maybe_form()).await, Answer::Deny(_)));
    }
}

#[tokio::test]
async fn in_lockdown_a_create_is_in_the_control_groups_that_the_engine_puts_it_in() {
    let post = |version: &str| {
        let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!(r#"{{"Image":"{GOOD}"}}"#));
        format!(
            r#"{{"RequestMethod":"POST","RequestUri":"/{version}/containers/create",
            "RequestHeaders":{{"Content-Type":"application/json"}},"RequestBody":"{body}"}}"#
        )
    };
    for (cgroup, security, version, says) in [
        ("2", &["seccomp", "cgroupns"][..], "v1.40", "allow"),
        ("1", &["seccomp", "cgroupns"], "v1.40", "host-access"),
        ("1", &["seccomp", "cgroupns"], "v1.41", "allow"),
        // The daemon's own default is the host's: the operator's choice, whatever the client's version.
        ("2", &["seccomp"], "v1.41", "allow"),
        ("1", &["seccomp"], "v1.40", "allow"),
    ] {
        for posture in [Posture::Lockdown, Posture::Images] {
            let house = house_with(policy(posture), Notary::default().with(GOOD, digest("good manifest")));
            house.engine.host_has(cgroup, security);
            let says = if posture == Posture::Images { "allow" } else { says };
            // The first meets a gate that has not met the engine.
            for _ in 0..2 {
                let read = Gate::read(post(version).as_bytes(), house.gate.manner());
                assert_eq!(refused(&house.gate.request(read).await), says, "{cgroup} {security:?} {version} {posture:?}");
            }
        }
    }
}
