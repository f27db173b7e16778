use super::*;
use crate::policy::{PolicyFile, Posture};

const POLICY: &str = "version = 1\n[verifiers.release]\ntype = \"notary\"\nserver = \"https://n.example\"\nsigners = [\"ann\"]\n\
     [verifiers.held]\ntype = \"registry\"\n[rules]\nuser-root = \"deny\"\n\
     [[scope]]\nmatch = \"r.example/**\"\nrequire = \"release\"\n[[scope]]\nmatch = \"lax.example/**\"\nrequire = \"held\"\n";

/// What comes of a case with these lines: `allow`, or the code; and what it does not say.
async fn judged(lines: &str) -> (String, Vec<String>, bool) {
    judged_by(POLICY, lines).await
}

async fn judged_by(policy: &str, lines: &str) -> (String, Vec<String>, bool) {
    let read = PolicyFile(vec![("/p/policy.toml".into(), policy.to_owned())]).read(Policy::closed(Posture::Images));
    let resolved = read.resolved.unwrap();
    let signers = resolved.notaries().map(|(name, notary)| (name.clone(), notary.signers.clone())).collect();
    let bench = Bench::new(resolved.policy, signers, tokio::runtime::Handle::current());
    let text = format!("version = 1\n[[case]]\nname = \"a\"\nexpect = \"allow\"\n{lines}");
    let cases = Case::read(std::path::Path::new("/p/cases.toml"), &text).unwrap();
    let outcome = bench.judge(&cases[0], &[]).await.unwrap();
    let told = outcome.judgement.verdict.refusal().map_or("allow", Reason::code).to_owned();
    (told, outcome.silent.iter().map(ToString::to_string).collect(), !outcome.lacks.is_empty())
}

async fn verdict(lines: &str) -> String {
    judged(lines).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_is_judged_as_the_gate_judges() {
    let image = "image = \"r.example/a:1\"\n";
    let app = "config = { user = \"app\" }\n";
    for action in ["pull", "create", "start"] {
        let action = format!("action = \"{action}\"\n");
        let good = format!("{image}{action}{app}");
        assert_eq!(verdict(&format!("{good}vouched_by = [\"release\"]\n")).await, "allow", "{action}");
        assert_eq!(verdict(&good).await, "not-signed", "{action}");
        let other_repository = "vouched_by = [{ verifier = \"release\", repository = \"r.example/b\" }]\n";
        assert_eq!(verdict(&format!("{good}{other_repository}")).await, "not-signed", "{action}");
        let bob = "vouched_by = [{ verifier = \"release\", signers = [\"bob\"] }]\n";
        assert_eq!(verdict(&format!("{good}{bob}")).await, "signer-missing", "{action}");
        let out = "refused_by = { release = \"trust-unreachable\" }\n";
        assert_eq!(verdict(&format!("{good}{out}")).await, "trust-unreachable", "{action}");
        assert_eq!(
            verdict(&format!("{image}{action}config = {{}}\nvouched_by = [\"release\"]\n")).await,
            "image-rule",
            "{action}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_about_tags_see_every_tag_under_which_a_digest_is_signed() {
    let policy = POLICY.replace("user-root = \"deny\"", "tag-pattern = { pattern = '^stable$' }");
    let image = format!("action = \"start\"\nimage = \"sha256:{}\"\nnames = [\"r.example/a\"]\n", "a".repeat(64));
    let signed = |tag: &str| format!("{{ verifier = \"release\", repository = \"r.example/a\", tag = \"{tag}\" }}");
    for (tags, due) in [(vec!["1.0", "stable"], "allow"), (vec!["1.0"], "image-rule"), (vec!["1.0", "2.0"], "image-rule")] {
        let vouches = tags.iter().map(|tag| signed(tag)).collect::<Vec<_>>().join(", ");
        assert_eq!(judged_by(&policy, &format!("{image}vouched_by = [{vouches}]\n")).await.0, due, "{tags:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_registry_of_a_lax_scope_does_not_hold_does_not_run_under_its_name() {
    let named = "image = \"lax.example/x:1\"\nnames = [\"r.example/evil:1\"]\nconfig = { user = \"app\" }\n";
    assert_eq!(verdict(named).await, "not-in-registry");
    assert_eq!(verdict(&format!("{named}vouched_by = [\"held\"]\n")).await, "allow");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_case_does_not_say_is_told() {
    let image = "image = \"r.example/a:1\"\n";
    assert_eq!(judged(image).await, ("not-signed".to_owned(), vec!["release".to_owned()], false));
    // Who vouches is known, and what the image is like is not: whatever comes of it rests on nothing.
    let (_, silent, lacks_config) = judged(&format!("{image}vouched_by = [\"release\"]\n")).await;
    assert!(silent.is_empty() && lacks_config);
    let stated = judged(&format!("{image}vouched_by = [\"release\"]\nconfig = {{}}\n")).await;
    assert_eq!(stated, ("image-rule".to_owned(), Vec::new(), false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_post_is_read_as_dockerd_posts_it() {
    let create = "request = '{\"RequestMethod\": \"POST\", \"RequestUri\": \"/v1.43/containers/create\", \"RequestHeaders\": \
                  {\"Content-Type\": \"application/json\"}, \"RequestBody\": \"BODY\"}'\n";
    let create = create.replace("BODY", &STANDARD.encode(r#"{"Image": "r.example/a:1"}"#));
    let facts = "image = \"r.example/a:1\"\nconfig = { user = \"app\" }\n";
    assert_eq!(verdict(&format!("{create}{facts}vouched_by = [\"release\"]\n")).await, "allow");
    assert_eq!(verdict(&format!("{create}{facts}")).await, "not-signed");
    assert_eq!(verdict("request = '{\"RequestMethod\": \"POST\"}'\n").await, "request-unreadable");
    // A create of another image than the one that the case knows.
    assert_eq!(verdict(&format!("{create}image = \"r.example/b:1\"\nvouched_by = [\"release\"]\n")).await, "not-signed");
}

/// The lines that explain the verdict.
async fn explained(lines: &str) -> Vec<String> {
    let read = PolicyFile(vec![("/p/policy.toml".into(), POLICY.to_owned())]).read(Policy::closed(Posture::Images));
    let bench = Bench::new(read.resolved.unwrap().policy, BTreeMap::new(), tokio::runtime::Handle::current());
    let text = format!("version = 1\n[[case]]\nname = \"a\"\nexpect = \"allow\"\n{lines}");
    let cases = Case::read(std::path::Path::new("/p/cases.toml"), &text).unwrap();
    let Judgement { facts, verdict } = bench.judge(&cases[0], &[]).await.unwrap().judgement;
    bench.policy.explained(&facts, &verdict)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_names_its_scope_with_the_line_and_what_would_have_to_change() {
    let image = "image = \"r.example/a:1\"\n";
    let ann = "vouched_by = [{ verifier = \"release\", signers = [\"ann\"] }]\n";
    let scope = "scope `r.example` (/p/policy.toml:10) decides: require = \"release\"; ";
    assert_eq!(
        explained(&format!("{image}{ann}config = {{ user = \"app\" }}\n")).await,
        [format!("{scope}vouched by release (ann)")]
    );
    assert_eq!(
        explained(&format!("{image}{ann}config = {{}}\n")).await,
        [
            format!("{scope}vouched by release (ann); refused by user-root"),
            format!(
                "to pass: {}; or rule user-root (/p/policy.toml:9) becomes `warn` or `off`",
                crate::policy::ImageRuleId::UserRoot.about().remedy
            )
        ]
    );
    let unsigned = explained(image).await;
    assert_eq!(unsigned[0], format!("{scope}nobody vouches"));
    assert!(unsigned[1].starts_with("to pass: verifier `release` vouches for `r.example/a:1`: "), "{unsigned:?}");
    assert!(
        unsigned[1].ends_with("; or `require` of scope `r.example` (/p/policy.toml:10) asks for somebody else"),
        "{unsigned:?}"
    );
    let outside = explained("image = \"elsewhere.example/a:1\"\n").await;
    assert_eq!(outside, ["to pass: use an image of a scope of the policy, or a `match` there covers `elsewhere.example/a`"]);
}

/// A case is judged, written with what was found out, and judged again.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_out_reads_back_as_a_case_with_the_same_verdict_and_no_secret() {
    let read = PolicyFile(vec![("/p/policy.toml".into(), POLICY.to_owned())]).read(Policy::closed(Posture::Images));
    let bench = Bench::new(read.resolved.unwrap().policy, BTreeMap::new(), tokio::runtime::Handle::current());
    let config = "config = { user = \"app\", age_days = 3, env = [\"PASSWORD=hunter2\"], history = [\"RUN export A=hunter2\"], \
                  labels = { \"a b\" = \"c\\\"\" }, ports = [\"80/tcp\"], healthcheck = \"true\", megabytes = 3 }\n";
    let yes = "vouched_by = [\"release\"]\n";
    for action in ["pull", "create", "start"] {
        for more in [
            format!("{yes}{config}"),
            format!("{yes}{config}image_id = \"{}\"\n", crate::image::Digest::of(b"id")),
            format!("{yes}config = {{}}\n"),
            format!("refused_by = {{ release = \"trust-expired\" }}\n{config}"),
            "names = [\"lax.example/x:1\"]\n".to_owned(),
        ] {
            let text = format!(
                "version = 1\n[[case]]\nname = \"a\"\naction = \"{action}\"\nimage = \"r.example/a:1\"\nexpect = \"allow\"\n{more}"
            );
            let cases = Case::read(std::path::Path::new("/p/cases.toml"), &text).unwrap();
            let first = bench.judge(&cases[0], &[]).await.unwrap().judgement;
            let written = crate::policy::written_case("a", action, None, &first.facts, &first.verdict).unwrap();
            assert!(!written.contains("hunter2"), "{written}");
            let again = Case::read(std::path::Path::new("/p/again.toml"), &written);
            let again = again.unwrap_or_else(|faults| panic!("{faults:?}\n{written}"));
            assert_eq!(again[0].expected.allow, first.verdict.refusal().is_none(), "{written}");
            let second = bench.judge(&again[0], &[]).await.unwrap().judgement;
            let code = |verdict: &Verdict| verdict.refusal().map_or("", Reason::code);
            assert_eq!(code(&second.verdict), code(&first.verdict), "{text}\n{written}");
        }
    }
}
