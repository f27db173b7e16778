use super::find::{Missing, find};
use super::*;
use crate::engine::{self, EngineError, Image};
use crate::image::{Reference, Repository};
use crate::registry::{self, RegistryError};
use crate::trust::allowlist::file::ListFile;

const NOW: Timestamp = Timestamp::constant(1_795_304_924, 0);
const LATER: Timestamp = Timestamp::constant(1_800_000_000, 0);

fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn name(text: &str) -> ImageName {
    ImageName::parse(text).unwrap()
}

fn entry(byte: u8, references: &[&str]) -> Entry {
    let references = references.iter().map(|text| reference(text)).collect();
    Entry { digest: Some(digest(byte)), references, ..Entry::default() }
}

/// Image `id` on the host, with these tags, pulled as these.
fn image(id: u8, tags: &[&str], pulled: &[(&str, u8)]) -> Image {
    let pulled: Vec<String> = pulled.iter().map(|(name, byte)| format!("{name}@{}", digest(*byte))).collect();
    let json = serde_json::json!({
        "Id": digest(id), "RepoTags": tags, "RepoDigests": pulled, "Os": "linux", "Architecture": "amd64",
        "GraphDriver": { "Name": "overlay2", "Data": {} },
        "RootFS": { "Layers": [digest(7)] }
    });
    serde_json::from_value(json).unwrap()
}

fn manifest(config: u8) -> String {
    let digest = digest(config);
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":
            "application/vnd.oci.image.config.v1+json","digest":"{digest}","size":6}},"layers":[]}}"#
    )
}

/// An engine that has `r.example/app:1`, and a registry that has `r.example/other:1`.
fn world() -> (engine::Fake, registry::Fake) {
    let engine = engine::Fake::new();
    engine.put_image(image(1, &["r.example/app:1", "renamed:1"], &[("r.example/app", 2)]));
    let registry = registry::Fake::new();
    let other: Repository = "r.example/other".parse().unwrap();
    registry.push(&other, Some(&"1".parse().unwrap()), manifest(9).as_bytes()).unwrap();
    (engine, registry)
}

async fn look(text: &str, source: Source) -> Result<Found, Missing> {
    let (engine, registry) = world();
    find(&name(text), source, false, &engine, &registry).await.map(|mut found| {
        assert_eq!(found.len(), 1);
        found.remove(0)
    })
}

#[tokio::test]
async fn an_image_on_the_host_is_approved_by_its_digest_and_where_asked_by_its_id() {
    let (engine, registry) = world();
    for (ids, image_id) in [(false, None), (true, Some(digest(1)))] {
        let found = find(&name("r.example/app:1"), Source::Host, ids, &engine, &registry).await.unwrap();
        let expected = Entry {
            image_id,
            platform: Some("linux/amd64".to_owned()),
            layers: vec![digest(7)],
            ..entry(2, &["r.example/app:1"])
        };
        assert_eq!(found, [Found { entry: expected, source: "host", note: None }]);
    }
}

#[tokio::test]
async fn a_name_means_what_the_registry_holds() {
    let (engine, registry) = world();
    let (other, held) = (reference("r.example/other:1"), Digest::of(manifest(9).as_bytes()));
    let ask = async |text: &str, source, engine: &engine::Fake| {
        find(&name(text), source, false, engine, &registry).await.map(|found| (found[0].entry.digest, found[0].source))
    };
    // Whatever bears the name on this host: tagged, loaded, or pulled from elsewhere.
    for pulled in [&[][..], &[("r.example/other", 66)], &[("evil.example/x", 66)]] {
        engine.put_image(image(66, &["r.example/other:1"], pulled));
        let refused = ask("r.example/other:1", Source::Agreed, &engine).await;
        let Err(Missing::Failed(text)) = refused else { panic!("{refused:?}") };
        assert!(text.contains(&short(Some(held))) && text.contains(&short(Some(digest(66)))), "both are shown: {text}");
        assert_eq!(ask("r.example/other:1", Source::Registry, &engine).await, Ok((Some(held), "registry")));
    }
    let same: Image = {
        let mut same = image(5, &["r.example/other:1"], &[]);
        same.repo_digests = vec![(other.repository, held)];
        same
    };
    engine.put_image(same);
    assert_eq!(ask("r.example/other:1", Source::Agreed, &engine).await, Ok((Some(held), "registry")));
    // What the registry does not hold is not approved by what is here, unless that is said.
    let refused = ask("r.example/app:1", Source::Agreed, &engine).await;
    let Err(Missing::Absent(text)) = refused else { panic!("{refused:?}") };
    assert!(text.contains("--from-host"), "{text}");
    assert_eq!(ask("r.example/app:1", Source::Host, &engine).await, Ok((Some(digest(2)), "host")));
    registry.fail_with(Some(RegistryError::Status { host: "r.example".into(), what: "x".into(), status: 503 }));
    assert!(matches!(ask("r.example/app:1", Source::Agreed, &engine).await, Err(Missing::Failed(_))));
}

#[tokio::test]
async fn content_that_was_only_renamed_is_approved_by_its_id_alone() {
    let found = look("renamed:1", Source::Host).await.unwrap();
    assert_eq!((found.entry.digest, found.entry.image_id), (None, Some(digest(1))));
    assert_eq!(found.entry.references, [reference("renamed:1")]);
    assert!(found.note.unwrap().contains("image id alone"));
}

#[tokio::test]
async fn an_image_id_is_approved_under_the_names_it_has() {
    let found = look(&digest(1).to_string(), Source::Host).await.unwrap();
    assert_eq!(found.entry.references, [reference("r.example/app:1"), reference("renamed:1")]);
    assert_eq!(found.entry.digest, Some(digest(2)));
    // Without a name it is approved anywhere, and that is said.
    let (engine, registry) = world();
    engine.put_image(image(5, &[], &[]));
    let nameless = find(&name(&digest(5).to_string()), Source::Host, false, &engine, &registry).await.unwrap();
    assert_eq!((nameless[0].entry.image_id, nameless[0].entry.references.len()), (Some(digest(5)), 0));
    assert!(nameless[0].note.as_ref().unwrap().contains("any repository"));
}

#[tokio::test]
async fn in_the_containerd_store_digest_and_id_are_one() {
    let engine = engine::Fake::new();
    engine.put_image(image(3, &["r.example/app:1"], &[("r.example/app", 3)]));
    let found = find(&name("r.example/app:1"), Source::Host, false, &engine, &registry::Fake::new()).await.unwrap();
    assert_eq!((found[0].entry.digest, found[0].entry.image_id), (Some(digest(3)), None));
}

#[tokio::test]
async fn each_digest_in_the_repository_gets_an_entry_and_one_that_was_asked_for_stands_alone() {
    let engine = engine::Fake::new();
    engine.put_image(image(1, &["r.example/app:1"], &[("r.example/app", 3), ("r.example/app", 2), ("s.example/app", 4)]));
    let ask = async |text: &str| {
        let found = find(&name(text), Source::Host, false, &engine, &registry::Fake::new()).await.unwrap();
        found.into_iter().map(|found| found.entry.digest).collect::<Vec<_>>()
    };
    assert_eq!(ask("r.example/app:1").await, [Some(digest(2)), Some(digest(3))]);
    assert_eq!(ask(&format!("r.example/app@{}", digest(3))).await, [Some(digest(3))]);
}

#[tokio::test]
async fn what_is_not_here_is_asked_of_the_registry() {
    for source in [Source::Registry, Source::Agreed] {
        let found = look("r.example/other:1", source).await.unwrap();
        assert_eq!(found.entry.digest, Some(Digest::of(manifest(9).as_bytes())));
        assert_eq!((found.entry.image_id, found.source), (None, "registry"));
        assert_eq!(found.entry.references, [reference("r.example/other:1")]);
    }
}

#[tokio::test]
async fn what_is_nowhere_is_absent_and_what_cannot_be_asked_is_a_failure() {
    for (text, source) in [
        ("r.example/none:1", Source::Host),
        ("r.example/none:1", Source::Registry),
        ("r.example/none:1", Source::Agreed),
        ("r.example/other:1", Source::Host),
        ("r.example/app:1", Source::Registry),
        ("sha256:0909", Source::Agreed),
    ] {
        assert!(matches!(look(text, source).await, Err(Missing::Absent(_))), "{text} {source:?}");
    }
    let (engine, registry) = world();
    let with_id = find(&name("r.example/other:1"), Source::Registry, true, &engine, &registry).await.unwrap();
    assert_eq!(with_id[0].entry.image_id, Some(digest(9)), "where asked");
    assert!(matches!(look("sha256:0909", Source::Registry).await, Err(Missing::Failed(_))));
    let (engine, registry) = world();
    engine.fail_with(Some(EngineError::Timeout { call: "x".to_owned() }));
    for source in [Source::Host, Source::Agreed] {
        // An engine that does not answer does not say that the image is not there.
        let answer = find(&name("r.example/other:1"), source, false, &engine, &registry).await;
        assert!(matches!(answer, Err(Missing::Failed(_))), "{answer:?}");
    }
}

#[test]
fn times_are_read_as_people_write_them() {
    for (text, expected) in [
        ("12h", "2026-11-22T11:48:44Z"),
        ("90d", "2027-02-19T23:48:44Z"),
        ("4w", "2026-12-19T23:48:44Z"),
        ("2027-01-31", "2027-01-31T00:00:00Z"),
        ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z"),
        ("2027-01-31T12:00:00+01:00", "2027-01-31T11:00:00Z"),
    ] {
        assert_eq!(expiry(text, NOW).map(|time| time.to_string()).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn times_that_are_past_or_none_are_refused() {
    for text in ["", "d", "0d", "-1d", "90", "90m", "tomorrow", "2020-01-01", "2026-11-21", "99999999999999d", "2027-13-01"] {
        assert!(expiry(text, NOW).is_err(), "{text}");
    }
}

fn given() -> Entry {
    Entry { added_by: Some("alice".to_owned()), added_at: Some(NOW), ..Entry::default() }
}

fn list(entries: Vec<Entry>) -> ListFile {
    ListFile { entries, ..ListFile::default() }
}

#[test]
fn what_is_not_in_the_list_is_added_and_what_is_gets_its_new_name() {
    let mut list = ListFile::default();
    let (outcome, added) = add(&mut list, &entry(1, &["a:1"]), &Entry { reason: Some("why".into()), ..given() }, NOW);
    assert_eq!((outcome, added.reason.as_deref(), added.added_at), (Outcome::Added, Some("why"), Some(NOW)));
    assert_eq!(add(&mut list, &entry(1, &["a:1"]), &given(), NOW).0, Outcome::Unchanged);
    let (outcome, updated) = add(&mut list, &Entry { image_id: Some(digest(8)), ..entry(1, &["a:2"]) }, &given(), NOW);
    assert_eq!((outcome, updated.references.len(), updated.image_id), (Outcome::Updated, 2, Some(digest(8))));
    assert_eq!(updated.reason.as_deref(), Some("why"));
    assert_eq!(list.entries.len(), 1);
    // The same content, known by its id.
    let by_id = Entry { digest: None, image_id: Some(digest(8)), ..entry(1, &["b:1"]) };
    assert_eq!(add(&mut list, &by_id, &given(), NOW).0, Outcome::Updated);
    // Another image of the same index is another entry.
    assert_eq!(add(&mut list, &Entry { image_id: Some(digest(9)), ..entry(1, &["a:1"]) }, &given(), NOW).0, Outcome::Added);
    assert_eq!(list.entries.len(), 2);
}

#[test]
fn an_entry_for_any_repository_is_not_mixed_with_one_for_some() {
    let mut list = self::list(vec![entry(1, &[])]);
    assert_eq!(add(&mut list, &entry(1, &["a:1"]), &given(), NOW).0, Outcome::Added);
    assert_eq!(list.entries[0], entry(1, &[]), "not made narrower");
    let mut list = self::list(vec![entry(1, &["a:1"])]);
    assert_eq!(add(&mut list, &entry(1, &[]), &given(), NOW).0, Outcome::Added);
    assert_eq!(list.entries[0], entry(1, &["a:1"]), "not made wider");
}

#[test]
fn an_end_stays_unless_another_is_given_or_it_has_passed() {
    let with = |expires| self::list(vec![Entry { expires, ..entry(1, &["a:1"]) }]);
    let after = |mut list: ListFile, expires| {
        let (outcome, entry) = add(&mut list, &entry(1, &["a:1"]), &Entry { expires, ..given() }, NOW);
        assert_eq!(list.entries.as_slice(), std::slice::from_ref(&entry));
        (outcome, entry.expires)
    };
    assert_eq!(after(with(Some(LATER)), None), (Outcome::Unchanged, Some(LATER)));
    assert_eq!(after(with(None), Some(LATER)), (Outcome::Updated, Some(LATER)));
    assert_eq!(after(with(Some(NOW)), None), (Outcome::Updated, None));
    assert_eq!(after(with(Some(NOW)), Some(LATER)), (Outcome::Updated, Some(LATER)));
}

#[test]
fn an_end_for_one_name_is_none_for_another() {
    let mut list = self::list(vec![Entry { image_id: Some(digest(8)), ..entry(1, &["a:1", "a:2"]) }]);
    let (outcome, new) = add(&mut list, &entry(1, &["a:1"]), &Entry { expires: Some(LATER), ..given() }, NOW);
    assert_eq!((outcome, new.expires, new.references.len()), (Outcome::Updated, Some(LATER), 1));
    assert_eq!(list.entries[0], Entry { image_id: Some(digest(8)), ..entry(1, &["a:2"]) });
    assert_eq!(list.entries[1], new);
    // And the other way: a name without an end does not get that of another.
    let mut list = self::list(vec![Entry { expires: Some(LATER), ..entry(1, &["a:1"]) }]);
    let (outcome, new) = add(&mut list, &entry(1, &["b:1"]), &given(), NOW);
    assert_eq!((outcome, new.expires, list.entries.len()), (Outcome::Added, None, 2));
    assert_eq!(list.entries[0].references, [reference("a:1")]);
    // Nor is one reason told for another name.
    let mut list = self::list(vec![Entry { reason: Some("one".into()), ..entry(1, &["a:1"]) }]);
    add(&mut list, &entry(1, &["b:1"]), &Entry { reason: Some("two".into()), ..given() }, NOW);
    assert_eq!((list.entries.len(), list.entries[0].reason.as_deref()), (2, Some("one")));
}

fn removed(entries: &[Entry], text: &str) -> (Result<usize, String>, Vec<Entry>) {
    let mut list = self::list(entries.to_vec());
    let count = remove(&mut list, &name(text));
    (count, list.entries)
}

#[test]
fn an_entry_goes_with_its_last_name_and_never_becomes_one_for_any_repository() {
    let both = [entry(1, &["a:1", "a:2"]), entry(2, &["a:1", "b"]), entry(3, &[])];
    assert_eq!(removed(&both, "a:1"), (Ok(2), vec![entry(1, &["a:2"]), entry(2, &["b"]), entry(3, &[])]));
    assert_eq!(removed(&both, "b"), (Ok(1), vec![entry(1, &["a:1", "a:2"]), entry(2, &["a:1"]), entry(3, &[])]));
    assert_eq!(removed(&[entry(1, &["a:1"])], "a:1"), (Ok(1), vec![]));
    for text in ["a", "a:3", "c", "r.example/a:1"] {
        assert_eq!(removed(&both, text), (Ok(0), both.to_vec()), "{text}");
    }
}

#[test]
fn an_entry_goes_by_its_digest_its_id_or_an_unmistakable_beginning() {
    let by_id = Entry { digest: None, image_id: Some(digest(2)), ..Entry::default() };
    let all = [entry(1, &["a:1"]), by_id.clone(), entry(3, &["b"])];
    assert_eq!(removed(&all, &digest(1).to_string()), (Ok(1), vec![by_id, entry(3, &["b"])]));
    assert_eq!(removed(&all, &digest(2).hex()).0, Ok(1));
    assert_eq!(removed(&all, "sha256:020202020202").0, Ok(1));
    assert_eq!(removed(&all, "030303030303").0, Ok(1));
    for text in ["sha256:0404040404", "sha256:0202", "0202"] {
        assert_eq!(removed(&all, text), (Ok(0), all.to_vec()), "{text}");
    }
    let mut near = [2; 32];
    near[31] = 3;
    let fakes = [entry(2, &[]), Entry { digest: Some(Digest::from_bytes(near)), ..Entry::default() }];
    assert!(removed(&fakes, "sha256:02020202").0.is_err());
    assert_eq!(removed(&fakes, "sha256:02020202").1, fakes);
}

#[test]
fn content_can_lose_all_its_names_in_one_repository() {
    let all = [entry(1, &["a:1", "a:2", "b:1"]), entry(2, &["a:1"])];
    let text = format!("a@{}", digest(1));
    assert_eq!(removed(&all, &text), (Ok(1), vec![entry(1, &["b:1"]), entry(2, &["a:1"])]));
}

#[test]
fn a_refusal_that_an_entry_does_not_end_is_said_and_one_that_it_ends_is_not() {
    assert!(matters("registry-not-allowed: registry `x.example` …", false));
    assert!(matters("no-trust-data: `r.example/a:1`: …", true));
    // Without signatures the list takes the place of the registry's word.
    assert!(!matters("not-in-registry: `r.example/a:1`: …", false));
}
