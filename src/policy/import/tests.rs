//! What sources say beside what the imported policies say: never laxer.

use super::*;
use crate::policy::users::Users;
use crate::policy::{Caller, Policy, PolicyFile, Posture, Request, Resolved, VerifierSettings};
use crate::request::{Action, Intent};
use crate::trust::allowlist::file::ListFile;

const USERS: &str = include_str!("../../../test/fixtures/import/users.jsonl");
const USERS_ALL: &str = include_str!("../../../test/fixtures/import/users-all.jsonl");
const CONTAINERS: &str = include_str!("../../../test/fixtures/import/containers.json");
const NOTATION: &str = include_str!("../../../test/fixtures/import/notation.json");
const DAEMON: &str = include_str!("../../../test/fixtures/import/daemon.json");
const COURSE: &str = include_str!("../../../test/fixtures/import/course.json");
const DIGESTS: &str = include_str!("../../../test/fixtures/import/digests.json");
const ENV: &str = include_str!("../../../test/fixtures/import/plugin.env");
const INSPECT: &str = include_str!("../../../test/fixtures/import/plugin.json");

fn imported(text: &str) -> Imported {
    import(None, text, None).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn read(policy: &str) -> Resolved {
    let read = PolicyFile(vec![("/x/policy.toml".into(), policy.to_owned())]).read(Policy::closed(Posture::Images));
    read.resolved.unwrap_or_else(|faults| panic!("{faults:?}\n{policy}"))
}

/// Who must vouch for a repository; `refused`: nobody could.
fn verdict(policy: &Policy, repository: &str) -> String {
    let scope = policy.scope(&repository.parse().unwrap());
    scope.map_or("refused".to_owned(), |scope| {
        scope.require.verifiers().iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ")
    })
}

fn error(format: Format, text: &str) -> String {
    import(Some(format), text, None).unwrap_err().to_string()
}

/// Each is told from all others, and what is made of it is a policy that refuses at least what the source refuses.
#[test]
fn sources_are_recognised_and_what_cannot_be_carried_over_is_refused() {
    // Repository, what the source says, who must vouch in the imported policy.
    type Row = (&'static str, &'static str, &'static str);
    let tables: [(Format, &str, &[Row]); 8] = [
        (Format::AuthzBroker, USERS, &[("registry.example/app", "says nothing", "refused")]),
        (
            Format::Containers,
            CONTAINERS,
            &[
                ("registry.example/app", "signed by GPG", "refused"),
                ("registry.example/team/old", "reject", "refused"),
                ("registry.example/team/old/deep", "reject", "refused"),
                ("registry.example/team/app", "accept one tag", "refused"),
                ("localhost:5000/x", "accept", "refused"),
                ("docker.io/library/busybox", "signed by sigstore", "refused"),
                ("a.internal.example/x", "accept", "refused"),
                ("elsewhere.example/x", "reject", "refused"),
            ],
        ),
        (
            Format::Notation,
            NOTATION,
            &[
                ("registry.example/team/app", "signed", "notation"),
                ("registry.example/lab/tool", "skip", "refused"),
                ("elsewhere.example/x", "audit", "refused"),
            ],
        ),
        (
            Format::ContentTrust,
            DAEMON,
            &[
                ("registry.example/team/app", "root by certificate", "notary-registry-example"),
                ("registry2.example:5000/tool", "root by certificate", "notary-registry2-example-5000"),
                ("registry.example/org/db", "root by certificate and key", "refused"),
                ("registry.example/org/app", "root by key", "refused"),
                ("registry.example/team/app/deep", "not pinned", "refused"),
                ("docker.io/library/busybox", "root by built-in key", "refused"),
            ],
        ),
        (
            Format::Course,
            COURSE,
            &[
                ("registry.example/app", "ci-signer", "ci-system-2"),
                ("registry.example/a/b/c", "ci-signer", "ci-system-2"),
                ("docker.io/myregistry/app", "ci-signer", "ci-system"),
                ("registry.example/prod/app", "ci-signer or release", "ci-system-2 release-team"),
                ("registry.example/prod/a/b", "ci-signer or release", "ci-system-2 release-team"),
                ("registry.example/prod", "ci-signer", "ci-system-2"),
                ("registry.example/tool", "ci-signer or release", "ci-system-2 release-team"),
                ("registry.example/dev-x/y", "ci-signer or dev", "ci-system-2 dev"),
                ("docker.io/x/sandbox", "dev", "refused"),
                ("elsewhere.example/x", "refused", "refused"),
            ],
        ),
        (
            Format::Digests,
            DIGESTS,
            &[
                ("registry.example/app", "by digest", "listed"),
                ("docker.io/local/built", "by id", "listed"),
                ("registry.example/id", "by id", "listed"),
                ("registry.example/moved", "contradiction", "refused"),
                ("registry.example/swapped", "contradiction", "refused"),
                ("elsewhere.example/x", "refused", "refused"),
            ],
        ),
        (
            Format::Variables,
            ENV,
            &[("registry.example:5000/x", "signed", "notary"), ("docker.io/library/x", "refused", "refused")],
        ),
        (
            Format::Variables,
            INSPECT,
            &[("registry.example:5000/x", "signed", "notary"), ("registry.example/x", "refused", "refused")],
        ),
    ];
    for (format, text, rows) in tables {
        let imported = imported(text);
        assert_eq!(imported.format, format);
        let resolved = read(&imported.policy);
        for (repository, source, expected) in rows {
            assert_eq!(
                verdict(&resolved.policy, repository),
                *expected,
                "{format:?} {repository}: {source}\n{}",
                imported.policy
            );
        }
        // The registry's own word is never enough.
        assert!(resolved.policy.weak_scopes().next().is_none(), "{}", imported.policy);
        for left_out in &imported.left_out {
            assert!(imported.policy.contains(&format!("# - {}", left_out.place)), "{left_out}\n{}", imported.policy);
        }
        // The same when it is named, and refused as anything else.
        assert_eq!(import(Some(format), text, None).unwrap(), imported);
        for (name, other) in Format::ALL {
            let is_lines = |format| matches!(format, Format::AuthzBroker | Format::Variables);
            assert!(other == format || is_lines(other) || import(Some(other), text, None).is_err(), "{format:?} read as {name}");
        }
    }
}

#[test]
fn what_is_left_out_has_its_place_and_the_reason() {
    let told = |text: &str| imported(text).left_out.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    let all = [CONTAINERS, NOTATION, DAEMON, COURSE, DIGESTS, ENV, USERS].map(told).join("\n\n");
    insta::assert_snapshot!(all, @r#"
    default[0]: accepts whatever the registry holds, which is not carried over. To accept it on purpose, write require = "registry" in place of refuse = true, and [verifiers.registry] with type = "registry"; images that no scope matches are refused
    transports.docker."registry.example"[0]: asks for a GPG signature, for which this gate has no verifier; the scope refuses
    transports.docker."registry.example/team/app:1.0"[0]: accepts whatever the registry holds, which is not carried over. To accept it on purpose, write require = "registry" in place of refuse = true, and [verifiers.registry] with type = "registry"; the scope refuses
    transports.docker."registry.example/team/app:1.0": is about one tag or digest; all of `registry.example/team/app` is refused
    transports.docker."localhost:5000"[0]: accepts whatever the registry holds, which is not carried over. To accept it on purpose, write require = "registry" in place of refuse = true, and [verifiers.registry] with type = "registry"; the scope refuses
    transports.docker."docker.io/library"[0]: asks for a sigstore signature, for which this gate has no verifier yet; the scope refuses (remapIdentity: see `origin`, a mirror)
    transports.docker."*.internal.example"[0]: accepts whatever the registry holds, which is not carried over. To accept it on purpose, write require = "registry" in place of refuse = true, and [verifiers.registry] with type = "registry"; the scope refuses
    transports.docker."*.internal.example": is about all hosts of a domain, which no scope can be: they are refused, as no scope matches them
    transports.docker."": is about all registries: images that no scope matches are refused
    transports.docker-daemon."": is not about images of registries, and so not for this gate

    trustPolicies[1] (lab): lets everything pass (level skip), which is not carried over; its repositories are refused
    trustPolicies[2] (rest): statement `rest`: authenticity log proves nothing; take the verifier out of the scope, or set mode = "permissive"; its repositories are refused
    trustStores: are named, and not here: copy notation's folder truststore, which holds x509, beside the policy

    content-trust.trust-pinning.official-library-images: rests on a key that is built into that engine and not at hand: no scope matches these images, so they are refused
    content-trust.trust-pinning.root-keys."registry.example/org/*": names root keys by canonical id; pins here name certificates. The scope refuses until you write the certificate's id into pins.json (img-authz trust inspect), and require in place of refuse
    content-trust.trust-pinning.cert-ids."registry.example/org/db": is under `root-keys` as well, which cannot be asked for; the scope refuses

    trust.signers."release-team": has several keys: all of them must have signed, as the source does not say that one is enough
    trust.signers."dev".repos: `*/sandbox`: is not a repository, nor a folder or the beginning of a name with `*` behind it; it is left out
    trust.signers: no server is named: the Notary of each registry is asked, as docker does; --server URL names another one

    "registry.example/moved:1": stands under another tag than its own: it is left out
    "sha256:4444444444444444444444444444444444444444444444444444444444444444": stands under another digest than its own, `sha256:5555555555555555555555555555555555555555555555555555555555555555`: it is left out
    sha256:2222222222222222222222222222222222222222222222222222222222222222: may be a digest or an image id: it is entered as both, as the source takes it

    line 15: `TRUST_ALL` is not a variable of the original plugin

    users.jsonl: stays a file, which the gate reads with its exact meaning; groups cannot say the same: users.jsonl:2: a group may also do `docker_ping` by HEAD, which this line does not say
    users.jsonl: says nothing of images, and without a scope every image is refused: add verifiers and scopes
    "#);
}

#[test]
fn a_users_file_becomes_groups_where_they_say_the_same_and_stays_a_file_where_not() {
    let all = imported(USERS_ALL);
    assert!(all.files.is_empty() && !all.policy.contains("file ="), "{}", all.policy);
    let groups = read(&all.policy).policy.users.unwrap();
    let (lines, _) = Users::of_broker_file("users.jsonl", USERS_ALL.as_bytes()).unwrap();
    let callers = [
        Caller::Named("alice"),
        Caller::Named("carol"),
        Caller::Named("local"),
        Caller::Named(""),
        Caller::Named("mallory"),
        Caller::Local,
        Caller::Nameless,
    ];
    let mut passed = 0;
    for caller in callers {
        for action in Action::all() {
            let request = Request::by(caller, action, &Intent::Read);
            let by = |users: &Users| users.refusal(&request, Posture::Images).is_none();
            assert_eq!(by(&groups), by(&lines), "{caller:?} {}", action.name());
            passed += usize::from(by(&groups));
        }
    }
    assert_eq!(passed, 3 * Action::all().count());
    // In groups HEAD /_ping is always there, in this file it is not.
    let file = imported(USERS);
    assert_eq!(file.files, [("users.jsonl", USERS.to_owned())]);
    assert_eq!(read(&file.policy).users_file, Some("/x/users.jsonl".into()));
    for odd in [
        r#"{"name":"a","users":["local"],"actions":[".*"]}"#,
        r#"{"name":"a","users":["*"],"actions":[".*"]}"#,
        r#"{"name":"a","users":["x"],"actions":[".*"],"readonly":"true"}"#,
        r#"{"name":"a","users":["x"],"actions":[".*"],"readonly":true}"#,
        r#"{"name":"a","users":["x"],"actions":["container"]}"#,
    ] {
        assert_eq!(imported(odd).files.len(), 1, "{odd}");
    }
}

#[test]
fn pins_of_content_trust_are_the_only_roots_that_count() {
    let imported = imported(DAEMON);
    let (name, pins) = &imported.files[0];
    let pins: serde_json::Value = serde_json::from_str(pins).unwrap();
    assert_eq!((*name, &pins["disable_tofu"]), ("pins.json", &true.into()));
    assert_eq!(pins["certs"].as_object().unwrap().len(), 2);
    crate::trust::tuf::Pins::read(&pins.to_string(), |_| unreachable!()).unwrap();
    let resolved = read(&imported.policy);
    assert!(
        resolved.notaries().all(|(_, notary)| notary.pins.is_some() && notary.on_outage == crate::trust::notary::OnOutage::Deny)
    );
    // Disabled enforces all the same; permissive is what it is called.
    let with = |mode: &str| read(&self::imported(&DAEMON.replace("enforced", mode)).policy).policy.mode;
    assert_eq!((with("disabled"), with("permissive")), (crate::policy::Mode::Enforce, crate::policy::Mode::Permissive));
}

#[test]
fn signers_of_the_course_are_asked_for_with_all_their_keys_at_the_server_that_was_named() {
    let imported = import(None, COURSE, Some("notary.example:4443")).unwrap();
    let resolved = read(&imported.policy);
    let signers: Vec<_> = resolved
        .notaries()
        .map(|(name, notary)| (name.to_string(), notary.signers.rules().next().unwrap().1.join(" ")))
        .collect();
    let expected = [("ci-system", "ci-signer"), ("dev", "dev"), ("release-team", "release-1 release-2")];
    assert_eq!(signers, expected.map(|(name, keys)| (name.to_owned(), keys.to_owned())));
    assert!(imported.policy.contains("https://notary.example:4443") && !imported.policy.contains("https://registry.example"));
    assert!(import(None, COURSE, Some("http://notary.example")).is_err() && import(None, COURSE, Some("off")).is_err());
    assert_eq!(read(&self::imported(&COURSE.replace("true", "false")).policy).policy.mode, crate::policy::Mode::Permissive);
}

#[test]
fn digests_become_an_allowlist_of_what_does_not_contradict_itself() {
    let imported = imported(DIGESTS);
    let list = ListFile::parse(imported.files[0].1.as_bytes()).unwrap();
    let told = list.entries.iter().map(|entry| {
        let short =
            |digest: Option<crate::image::Digest>| digest.map_or("-".to_owned(), |digest| digest.hex().chars().take(4).collect());
        let references: Vec<String> = entry.references.iter().map(ToString::to_string).collect();
        format!("{} {} {} {}", short(entry.digest), short(entry.image_id), references.join(","), entry.layers.len())
    });
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"), @r"
    1111 - registry.example/app:1.0,registry.example/app:latest 1
    2222 2222 docker.io/local/built:2 0
    - 6666 registry.example/id:1 0
    ");
    let resolved = read(&imported.policy);
    assert!(
        matches!(resolved.verifiers.values().next(), Some(VerifierSettings::Allowlist(list)) if list.file.ends_with("allowlist.json"))
    );
}

#[test]
fn sources_that_mean_two_things_or_nothing_are_refused() {
    for (format, text, told) in [
        (
            Format::Containers,
            r#"{"default":[{"type":"reject"}],"default":[{"type":"insecureAcceptAnything"}]}"#,
            "is there twice",
        ),
        (Format::Containers, r#"{"default":[{"type":"reject","\u0074ype":"insecureAcceptAnything"}]}"#, "is there twice"),
        (Format::Containers, r#"{"transports":{}}"#, "default: is missing"),
        (Format::Containers, r#"{"default":[]}"#, "empty list"),
        (Format::Containers, r#"{"default":[{"type":"allow"}]}"#, "is not a type of requirement"),
        (Format::Containers, r#"{"default":[{"type":"reject","keyPath":"x"}]}"#, "`keyPath` is not a member"),
        (Format::Containers, r#"{"default":[{"type":"reject"}],"transport":{}}"#, "`transport` is not a member"),
        (Format::Notation, &NOTATION.replace("1.0", "2.0"), "version"),
        (Format::Notation, &NOTATION.replace("\"lab\"", "\"rest\""), "another statement"),
        (Format::Notation, &NOTATION.replace("registry.example/lab/tool", "registry.example/team/db"), "in two statements"),
        (
            Format::Notation,
            &NOTATION
                .replace("[\"*\"],\n            \"signatureVerification\"", "[\"*\",\"a.example/b\"],\"signatureVerification\""),
            "`*` alone",
        ),
        (Format::Notation, &NOTATION.replace("strict", "lax"), "is not a level"),
        (Format::ContentTrust, "{}", "content-trust: is missing"),
        (Format::ContentTrust, &DAEMON.replace("enforced", "on"), "is not a mode"),
        (Format::ContentTrust, &DAEMON.replace("root-keys", "root-key"), "is not a member"),
        (Format::Course, &COURSE.replace("\"repos\": [\"*/sandbox\"", "\"repo\": [\"x\"], \"repos\": [\"y\""), "is not a member"),
        (Format::Digests, "[]", "is not an object"),
        (Format::Variables, "REGISTRY=a.example\nREGISTRY=b.example\n", "there twice"),
        (Format::Variables, "NOTARY_ROOT_CA=\"x\n", "not closed"),
        (Format::Variables, "[]", "docker plugin inspect"),
        (Format::Course, &format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)), "recursion limit"),
        (Format::Course, "\u{feff}{}", "JSON"),
    ] {
        let found = error(format, text);
        assert!(found.contains(told), "{text}: {found}");
    }
    for unknown in ["", "{}", "[]", "hello", "{\"a\":1}"] {
        assert_eq!(import(None, unknown, None), Err(ImportError::Unknown), "{unknown}");
    }
    assert_eq!(import(None, &" ".repeat(usize::try_from(SOURCE_BYTES).unwrap() + 1), None), Err(ImportError::TooLarge));
    // What no server vouches for is not let in by the registry's word.
    for off in [
        "REGISTRY=a.example\nNOTARY=off\n",
        "REGISTRY=a.example\nNOTARY=http://n.example\n",
        "REGISTRY=a.example\nNOTARY=import\n",
    ] {
        let imported = imported(off);
        assert_eq!(verdict(&read(&imported.policy).policy, "a.example/x"), "refused", "{off}");
        assert!(!imported.left_out.is_empty());
    }
}

/// Whatever a source is called or holds, a line of it is not a line of the policy.
#[test]
fn foreign_text_stays_in_its_comment_or_its_quotes() {
    let evil = "a\\n[verifiers.r]\\ntype = \\\"registry\\\"\\n[[scope]]\\nmatch = \\\"**\\\"\\nrequire = \\\"r\\\"\\n";
    for text in [
        CONTAINERS.replace("registry.example/team/old", evil),
        NOTATION.replace("\"lab\"", &format!("\"{evil}\"")),
        COURSE.replace("dev\"", &format!("{evil}\"")),
        DAEMON.replace("registry.example/org/*", evil),
        DIGESTS.replace("registry.example/moved:1", evil),
        format!("{{\"name\":\"{evil}\",\"users\":[\"{evil}\"],\"actions\":[\".*\"]}}"),
    ] {
        assert!(text.contains("[[scope]]"));
        let imported = imported(&text);
        assert_eq!(verdict(&read(&imported.policy).policy, "evil.example/x"), "refused", "{}", imported.policy);
    }
}
