//! Signers that must agree (`NOTARY_SIGNERS`): what each of them can fail to do, asked by tag and by digest, with the server and
//! without it.

use std::time::Duration;

use img_authz::trust::notary::RequiredSigners;
use img_authz::trust::{Asking, Purpose, Question, TrustCode};
use serde_json::json;

use crate::support::trust_repo::*;
use crate::support::trust_server::{Client, Server, code, now};

/// As `docker trust sign` by alice and then by bob leaves it.
fn two_signers() -> Repo {
    let mut repo = Repo::docker(root_key(GUN));
    let bob = Key::ecdsa();
    repo.delegate("targets/bob", std::slice::from_ref(&bob), &[""]);
    repo.role("targets/bob")["targets"]["1.0"] = target("one");
    repo
}

/// The answers by tag and by digest, as for a pull; and again, as for a start, while the server is gone. All must end alike.
fn ends(repo: &Repo, rules: &str) -> Result<Vec<String>, (TrustCode, String)> {
    let folder = tempfile::tempdir().unwrap();
    let asked = |client: &Client, question: Question, purpose: Purpose| {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(8);
        let answer = client.runtime.block_on(client.notary.vouch(
            &GUN.parse().unwrap(),
            &question,
            Asking { purpose, now: now(), deadline },
        ));
        answer.map(|vouch| vouch.signers().to_vec()).map_err(|error| (error.code, error.to_string()))
    };
    let questions = || [Question::Tag("1.0".parse().unwrap()), Question::AnyOf(vec![digest("one").parse().unwrap()])];
    let mut answers = Vec::new();
    {
        let server = Server::files(repo.publish());
        let client = Client::new(&server, folder.path(), |config| config.require = RequiredSigners::read(rules).unwrap());
        answers.extend(questions().map(|question| asked(&client, question, Purpose::Pull)));
    }
    let gone = Server::files(Files::new());
    let offline = Client::new(&gone, folder.path(), |config| {
        config.source = "https://localhost:1".into();
        config.require = RequiredSigners::read(rules).unwrap();
    });
    answers.extend(questions().map(|question| asked(&offline, question, Purpose::Run)));
    for answer in &answers {
        let code = |answer: &Result<_, (TrustCode, _)>| answer.as_ref().map_err(|(code, _)| *code).err();
        assert_eq!(code(answer), code(&answers[0]), "{rules}");
    }
    answers.remove(0)
}

#[test]
fn an_image_passes_when_all_who_must_have_signed_it_and_not_before() {
    let repo = two_signers();
    let both = Ok(vec!["alice".to_owned(), "bob".to_owned()]);
    for rules in ["", "*=alice", "*=alice,bob", "reg.example:5000/team/*=bob", "reg.example:5000/team/app=bob;*=carol"] {
        assert_eq!(ends(&repo, rules), both, "{rules}");
    }
    // Rules about others ask for nothing here.
    for rules in
        ["reg.example:5000/teamx/*=carol", "reg.example/team/*=carol", "docker.io/team/app=carol", "reg.example:5000/team=carol"]
    {
        assert_eq!(ends(&repo, rules), both, "{rules}");
    }
    for rules in ["*=carol", "reg.example:5000/*=alice,carol", "reg.example:5000/team/app=carol;*=bob"] {
        let (code, message) = ends(&repo, rules).unwrap_err();
        assert_eq!(
            (code, message.as_str()),
            (TrustCode::SignerMissing, "required signer `carol` is not a signer of `reg.example:5000/team/app`")
        );
    }
}

#[test]
fn every_way_a_required_signer_can_fail_refuses_and_says_which() {
    type Change = fn(&mut Repo);
    let cases: [(&str, Change, TrustCode, &str); 10] = [
        (
            "has not signed",
            |repo| repo.role("targets/bob")["targets"] = json!({}),
            TrustCode::SignerMissing,
            "has not signed tag `1.0`",
        ),
        (
            "has never signed anything",
            |repo| {
                repo.edit_listing("snapshot", |snapshot| drop(snapshot["meta"].as_object_mut().unwrap().remove("targets/bob")));
            },
            TrustCode::SignerMissing,
            "has not signed tag `1.0`",
        ),
        (
            "signed another tag",
            |repo| repo.role("targets/bob")["targets"] = json!({ "1.0.1": target("one"), "1": target("one") }),
            TrustCode::SignerMissing,
            "has not signed tag `1.0`",
        ),
        (
            "signed another digest",
            |repo| repo.role("targets/bob")["targets"]["1.0"] = target("two"),
            TrustCode::SignerMissing,
            "signed tag `1.0` as sha256:3fc4ccfe7458…, not sha256:7692c3ad3540…",
        ),
        (
            "signed no digest",
            |repo| repo.role("targets/bob")["targets"]["1.0"]["hashes"] = json!({}),
            TrustCode::SignerMissing,
            "without a SHA-256 digest",
        ),
        (
            "may not sign it",
            |repo| repo.role("targets")["delegations"]["roles"][2]["paths"] = json!(["2."]),
            TrustCode::SignerMissing,
            "its paths do not cover it",
        ),
        ("expired", |repo| repo.role("targets/bob")["expires"] = json!(PAST), TrustCode::Expired, "`targets/bob`: expired"),
        (
            "below its threshold",
            |repo| {
                let carol = Key::ecdsa();
                let delegations = &mut repo.role("targets")["delegations"];
                delegations["keys"][&carol.id] = carol.listed();
                delegations["roles"][2]["keyids"].as_array_mut().unwrap().push(json!(carol.id));
                delegations["roles"][2]["threshold"] = json!(2);
            },
            TrustCode::Invalid,
            "`targets/bob`",
        ),
        (
            "signed by alice in its place",
            |repo| drop(repo.signers.insert("targets/bob".into(), repo.signers["targets/alice"].clone())),
            TrustCode::Invalid,
            "`targets/bob`",
        ),
        (
            "removed by the owner",
            |repo| {
                repo.role("targets")["delegations"]["roles"].as_array_mut().unwrap().remove(2);
                repo.signed.remove("targets/bob");
            },
            TrustCode::SignerMissing,
            "is not a signer of",
        ),
    ];
    for (what, change, expected, words) in cases {
        let mut repo = two_signers();
        change(&mut repo);
        let (code, message) = ends(&repo, "reg.example:5000/team/*=alice,bob").unwrap_err();
        assert!(code == expected && message.contains(words) && message.contains("bob"), "{what}: {code:?} {message}");
        // It is bob's alone: who asks for alice alone does not mind.
        assert!(ends(&repo, "reg.example:5000/team/*=alice").is_ok(), "{what}");
    }
}

#[test]
fn a_threshold_that_is_met_by_two_passes() {
    let mut repo = two_signers();
    let carol = Key::ecdsa();
    let delegations = &mut repo.role("targets")["delegations"];
    delegations["keys"][&carol.id] = carol.listed();
    delegations["roles"][2]["keyids"].as_array_mut().unwrap().push(json!(carol.id));
    delegations["roles"][2]["threshold"] = json!(2);
    repo.signers.get_mut("targets/bob").unwrap().push(carol);
    assert!(ends(&repo, "*=bob").is_ok());
}

#[test]
fn a_required_signer_does_not_stand_in_for_the_release() {
    // Bob alone signed it: docker would not pull it, nor does his name help.
    let mut repo = two_signers();
    for role in ["targets/releases", "targets/alice"] {
        repo.role(role)["targets"] = json!({});
    }
    assert_eq!(ends(&repo, "*=bob").unwrap_err().0, TrustCode::NotSigned);
    assert_eq!(ends(&repo, "").unwrap_err().0, TrustCode::NotSigned);
}

#[test]
fn a_signer_taken_away_counts_at_the_next_check() {
    let mut repo = two_signers();
    let files = std::sync::Arc::new(std::sync::Mutex::new(repo.publish()));
    let shared = std::sync::Arc::clone(&files);
    let server = Server::start(move |seen| crate::support::trust_server::file(&shared.lock().unwrap(), seen));
    let folder = tempfile::tempdir().unwrap();
    let client = Client::new(&server, folder.path(), |config| config.require = RequiredSigners::read("*=bob").unwrap());
    assert!(client.ask(Purpose::Run).is_ok());
    repo.role("targets")["delegations"]["roles"].as_array_mut().unwrap().remove(2);
    repo.signed.remove("targets/bob");
    repo.bump();
    *files.lock().unwrap() = repo.publish();
    for purpose in [Purpose::Pull, Purpose::Run] {
        assert_eq!(code(&client.ask(purpose)), Some(TrustCode::SignerMissing));
    }
}
