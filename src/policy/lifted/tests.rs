use super::*;
use crate::image::{ImageName, Reference};
use crate::policy::{ConfigFacts, ImageFacts, Local};

const NOW: Timestamp = Timestamp::constant(1_796_000_000, 0);

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn exception(of: Excepted, expires: Timestamp) -> Exception {
    let (owner, reason) = ("alice".to_owned(), "late".to_owned());
    Exception { of, lift: vec!["user-root"], owner, reason, ticket: None, expires, position: None }
}

fn in_seconds(seconds: i64) -> Timestamp {
    NOW + SignedDuration::from_secs(seconds)
}

#[test]
fn an_exception_counts_until_its_end_and_not_from_too_far() {
    let day = 24 * 3600;
    for (left, standing) in [
        (-day, Standing::Ended),
        (0, Standing::Ended),
        (1, Standing::Ending),
        (7 * day, Standing::Ending),
        (7 * day + 1, Standing::InForce),
        (366 * day, Standing::InForce),
        (366 * day + 1, Standing::Ahead),
    ] {
        assert_eq!(exception(Excepted::Digest(digest("x")), in_seconds(left)).standing(NOW), standing, "{left}");
    }
    // What had ended by the latest time seen stays ended, and what ends too far from now is not brought nearer by it.
    let seen = |now, latest| Times { now: in_seconds(now), latest: in_seconds(latest) };
    let one = exception(Excepted::Digest(digest("x")), in_seconds(60));
    assert_eq!(one.standing(seen(0, 60)), Standing::Ended);
    assert_eq!(one.standing(seen(0, 59)), Standing::Ending);
    assert_eq!(one.standing(seen(60, 0)), Standing::Ended);
    let far = exception(Excepted::Digest(digest("x")), in_seconds(367 * day));
    assert_eq!(far.standing(seen(0, 30 * day)), Standing::Ahead);
    assert!(Standing::InForce.counts() && Standing::Ending.counts() && !Standing::Ended.counts() && !Standing::Ahead.counts());
}

#[test]
fn a_date_is_the_end_of_its_day_and_a_time_without_an_offset_is_none() {
    assert_eq!(end("2026-12-04"), end("2026-12-05T00:00:00Z"));
    assert_eq!(end_told(end("2026-12-04").unwrap()), "2026-12-05T00:00:00Z (the end of 2026-12-04)");
    assert_eq!(end_told(end("2026-12-05T00:00:01Z").unwrap()), "2026-12-05T00:00:01Z");
    assert_eq!(end("2026-12-04T18:00:00+01:00"), end("2026-12-04T17:00:00Z"));
    for wrong in ["2026-12-04T18:00:00", "tomorrow", "", "2026-13-01", "18:00:00", "2026-12"] {
        assert_eq!(end(wrong), None, "{wrong}");
    }
}

#[test]
fn only_what_is_named_is_vouched_for_and_a_manifest_is_never_an_id() {
    let by_digest = exception(Excepted::Digest(digest("a")), in_seconds(60));
    let by_id = exception(Excepted::ImageId(digest("b")), in_seconds(60));
    let of_name = exception(Excepted::Repositories(vec!["r.example/**".parse().unwrap()]), in_seconds(60));
    let exceptions = Exceptions::new(vec![by_digest, by_id, of_name]);
    let vouches = |digests: &[&str], config: Option<&str>, now: Option<Timestamp>| {
        let content = Content { digests: digests.iter().map(|text| digest(text)).collect(), config: config.map(digest) };
        exceptions.about_content(&content, now.map(Times::from)).vouch().is_some()
    };
    assert!(vouches(&["x", "a"], Some("y"), Some(NOW)));
    assert!(vouches(&[], Some("b"), Some(NOW)));
    for (digests, config) in [(&["b"][..], None), (&["x"], Some("a")), (&[], None), (&["b"], Some("a"))] {
        assert!(!vouches(digests, config, Some(NOW)), "{digests:?} {config:?}");
    }
    // Without a time none counts, and after its end neither.
    assert!(!vouches(&["a"], None, None) && !vouches(&["a"], None, Some(in_seconds(60))));
    // What a repository vouched for it does not vouch for.
    let mut applied = Applied::default();
    exceptions.about_repository(&"r.example/x".parse().unwrap(), Some(NOW.into()), &mut applied);
    assert!(applied.vouch().is_none() && applied.lift("user-root") && !applied.lift("max-age") && !applied.lift("privileged"));
    let mut elsewhere = Applied::default();
    exceptions.about_repository(&"s.example/x".parse().unwrap(), Some(NOW.into()), &mut elsewhere);
    assert!(!elsewhere.lift("user-root") && elsewhere.uses().is_empty());
}

#[test]
fn what_is_used_is_on_record_once_with_all_that_it_does() {
    let exceptions = Exceptions::new(vec![exception(Excepted::Digest(digest("a")), in_seconds(60))]);
    let content = Content { digests: vec![digest("a")], config: None };
    let mut applied = exceptions.about_content(&content, Some(NOW.into()));
    assert!(applied.uses().is_empty(), "it may not be needed");
    assert!(applied.vouch().is_some() && applied.lift("user-root") && applied.lift("user-root"));
    let id = exceptions.iter().next().unwrap().id();
    assert_eq!(id.len(), 9);
    let json = serde_json::to_value(applied.uses()).unwrap();
    assert_eq!(
        json,
        serde_json::json!([{ "id": id, "owner": "alice", "expires": in_seconds(60), "vouches": true, "lifts": ["user-root"] }])
    );
}

#[test]
fn a_refusal_names_the_exception_that_has_ended() {
    let ended = exception(Excepted::Digest(digest("a")), in_seconds(-60));
    let id = ended.id();
    let exceptions = Exceptions::new(vec![ended, exception(Excepted::Digest(digest("far")), in_seconds(400 * 24 * 3600))]);
    let content = |text| Content { digests: vec![digest(text)], config: None };
    let refused = |text| exceptions.about_content(&content(text), Some(NOW.into())).no_vouch(Reason::NoImage);
    let message = refused("a").message();
    assert!(
        message.starts_with(&format!("no-image: exception `{id}` of `alice` expired at 2026-11-30T00:52:20Z; ")),
        "{message}"
    );
    assert!(refused("far").message().contains(" of `alice` is too far ahead, as it ends at "), "{}", refused("far").message());
    assert_eq!(refused("other"), Reason::NoImage);
    let lifted = exceptions.about_content(&content("a"), Some(NOW.into())).not_lifted("max-age", Reason::NoImage);
    assert_eq!(lifted, Reason::NoImage, "it never lifted that one");
}

#[test]
fn content_is_what_the_host_holds_and_not_what_is_asked_for() {
    let content = |name: &str, local: Local| {
        let (name, repositories) = (ImageName::parse(name).unwrap(), Vec::new());
        ImageFacts { name, local, repositories, asked: Vec::new(), rego: None, config: ConfigFacts::NotAsked }.content()
    };
    let held = |by_name| Local::Present { id: digest("id"), by_name, digests: vec![digest("held")], config: Some(digest("id")) };
    let of = |digests: &[&str], config: Option<&str>| Content {
        digests: digests.iter().map(|text| digest(text)).collect(),
        config: config.map(digest),
    };
    let named = format!("r.example/x@{}", digest("asked"));
    assert!(named.parse::<Reference>().is_ok());
    // A digest in a body, and other content on the host.
    assert_eq!(content(&named, held(true)), of(&[], None));
    assert_eq!(content(&format!("r.example/x@{}", digest("held")), held(true)), of(&["held"], Some("id")));
    assert_eq!(content("r.example/x:1", held(true)), of(&["held"], Some("id")));
    assert_eq!(content(&digest("id").to_string(), held(false)), of(&["held"], Some("id")));
    // What is not here is what its digest says; a tag says nothing.
    for local in [Local::Absent, Local::NotAsked] {
        assert_eq!(content(&named, local.clone()), of(&["asked"], None));
        assert_eq!(content("r.example/x:1", local.clone()), of(&[], None));
        assert_eq!(content(&digest("id").to_string(), local), of(&[], None));
    }
}
