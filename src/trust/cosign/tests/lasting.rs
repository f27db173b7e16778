//! What verified is kept, verified again, and withdrawn.

use super::*;
use crate::trust::evidence;

/// A gate over a registry, with what it keeps; each is a start of its own.
struct Gate {
    fake: Arc<Fake>,
    verifier: CosignVerifier,
}

impl Gate {
    fn start(folder: &Path, names: &[&str], recheck: Option<Duration>) -> Self {
        let Rig { fake, verifier } = Rig::recorded(names);
        Self { fake, verifier: verifier.keeping(Evidence::kept_in(folder.to_owned()), recheck) }
    }

    async fn ask(&self, digest: Digest, purpose: Purpose, now: &str) -> Result<Vouch, TrustCode> {
        let asking = Asking { now: now.parse().unwrap(), ..asking(purpose) };
        self.verifier.vouch(&app(), &Question::AnyOf(vec![digest]), asking).await.map_err(|error| error.code)
    }

    async fn pull(&self, digest: Digest) -> Result<(), TrustCode> {
        self.ask(digest, Purpose::Pull, NOON).await.map(|_| ())
    }

    async fn run(&self, digest: Digest) -> Result<(), TrustCode> {
        self.ask(digest, Purpose::Run, NOON).await.map(|_| ())
    }

    /// With its registry out of reach.
    fn away(self) -> Self {
        self.fake.fail_with(Some(super::away()));
        self
    }
}

const NOON: &str = "2026-11-30T12:00:00Z";

#[tokio::test]
async fn what_verified_runs_after_a_restart_with_the_registry_away_and_nothing_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let digests = ["legacy-p256", "bundle-p256"].map(recorded);
    let first = Gate::start(folder.path(), &["p256"], None);
    for digest in digests {
        assert_eq!(first.pull(digest).await, Ok(()));
    }
    assert_eq!(first.pull(recorded("unsigned")).await, Err(TrustCode::NotSigned));
    assert_eq!(first.pull(recorded("bundle-rsa")).await, Err(TrustCode::SignerMissing));
    assert_eq!(evidence::all(folder.path()).unwrap().len(), 2, "only what verified is kept");
    let next = Gate::start(folder.path(), &["p256"], None).away();
    for digest in digests {
        let vouch = next.ask(digest, Purpose::Run, NOON).await.unwrap();
        assert_eq!((vouch.digest(), vouch.signers()), (&digest, &["p256.pub".to_owned()][..]));
    }
    assert_eq!(next.fake.calls(), [""; 0], "nobody is asked about what is kept");
    // A pull that waited meanwhile does not take it for the registry's answer.
    assert!(digests.iter().all(|digest| next.verifier.was_given(&(app(), *digest)) == Some(false)));
    for name in ["unsigned", "bundle-rsa", "legacy-rsa"] {
        assert_eq!(next.run(recorded(name)).await, Err(TrustCode::Unreachable), "{name}");
    }
    assert_eq!(next.pull(digests[0]).await, Err(TrustCode::Unreachable), "a pull asks");
    // Another repository with the same content has no part in it, nor has another verifier.
    let other: Repository = "localhost:5599/team/other".parse().unwrap();
    let question = Question::AnyOf(digests.to_vec());
    assert!(next.verifier.vouch(&other, &question, asking(Purpose::Run)).await.is_err());
    let named = CosignVerifier::new("other".parse().unwrap(), keys(&["p256"]), Arc::clone(&next.fake) as Arc<dyn Api>);
    let named = named.keeping(Evidence::kept_in(folder.path().to_owned()), None);
    assert!(named.vouch(&app(), &question, asking(Purpose::Run)).await.is_err());
}

#[tokio::test]
async fn a_key_that_leaves_the_policy_ends_what_rests_on_it_and_may_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let digest = recorded("bundle-p256");
    assert_eq!(Gate::start(folder.path(), &["p256"], None).pull(digest).await, Ok(()));
    let without = Gate::start(folder.path(), &["rsa"], None);
    assert_eq!(without.run(digest).await, Err(TrustCode::SignerMissing));
    assert_eq!(without.pull(digest).await, Err(TrustCode::SignerMissing));
    assert_eq!(Gate::start(folder.path(), &["rsa"], None).away().run(digest).await, Err(TrustCode::Unreachable));
    assert_eq!(Gate::start(folder.path(), &["rsa", "p256"], None).away().run(digest).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_signature_that_goes_while_its_key_is_out_of_the_policy_does_not_come_back_with_the_key() {
    for name in ["bundle-p256", "legacy-p256"] {
        let folder = tempfile::tempdir().unwrap();
        let digest = recorded(name);
        assert_eq!(Gate::start(folder.path(), &["p256"], None).pull(digest).await, Ok(()));
        let without = Gate::start(folder.path(), &["rsa"], None);
        // What cannot be found out withdraws nothing.
        without.fake.fail_with(Some(status(500)));
        assert_eq!(without.pull(digest).await, Err(TrustCode::Unreachable));
        assert_eq!(evidence::all(folder.path()).unwrap().len(), 1);
        without.fake.fail_with(None);
        without.fake.clear();
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(without.pull(digest).await, Err(TrustCode::NotSigned));
        assert_eq!(evidence::all(folder.path()).unwrap(), []);
        assert_eq!(Gate::start(folder.path(), &["rsa", "p256"], None).away().run(digest).await, Err(TrustCode::Unreachable));
    }
}

#[tokio::test]
async fn what_is_pulled_again_is_not_written_again_until_its_time_is_of_use() {
    for (recheck, later, is_written) in [
        (None, "2027-06-01T00:00:00Z", false),
        (Some(Duration::from_hours(24)), "2026-11-30T13:29:59Z", false),
        (Some(Duration::from_hours(24)), "2026-11-30T13:30:00Z", true),
        // A clock that was ahead.
        (None, "2026-11-30T11:59:59Z", true),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let digest = recorded("bundle-p256");
        let gate = Gate::start(folder.path(), &["p256"], recheck);
        assert_eq!(gate.pull(digest).await, Ok(()));
        assert!(gate.ask(digest, Purpose::Pull, later).await.is_ok());
        let record = evidence::all(folder.path()).unwrap().remove(0);
        assert_eq!(record.asked == later.parse().unwrap(), is_written, "{later}");
    }
}

#[tokio::test]
async fn kept_bytes_are_verified_and_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let (bundle, legacy) = (recorded("bundle-p256"), recorded("legacy-p256"));
    let first = Gate::start(folder.path(), &["p256"], None);
    for digest in [bundle, legacy] {
        assert_eq!(first.pull(digest).await, Ok(()));
    }
    let good = evidence::all(folder.path()).unwrap();
    let of = |digest: Digest| good.iter().find(|record| record.key.digest == digest).unwrap().clone();
    let unsigned = recorded("unsigned");
    let keep = Evidence::kept_in(folder.path().to_owned());
    let flipped = |mut record: Record, part: &str| {
        *record.parts.get_mut(part).unwrap().last_mut().unwrap() ^= 1;
        record
    };
    let mut both = of(bundle);
    both.parts.extend(of(legacy).parts);
    for (bad, digest) in [
        // A good signature of something else.
        (Record { key: EvidenceKey { digest: unsigned, ..of(bundle).key }, ..of(bundle) }, unsigned),
        (Record { key: EvidenceKey { digest: unsigned, ..of(legacy).key }, ..of(legacy) }, unsigned),
        (flipped(of(legacy), "payload"), legacy),
        (flipped(of(legacy), "signature"), legacy),
        (flipped(of(bundle), "bundle"), bundle),
        (Record { scheme: "other".to_owned(), ..of(bundle) }, bundle),
        (Record { parts: evidence::Parts::new(), ..of(bundle) }, bundle),
        (both, bundle),
    ] {
        keep.keep(bad).await;
        assert_eq!(Gate::start(folder.path(), &["p256"], None).away().run(digest).await, Err(TrustCode::Unreachable));
    }
    keep.keep(of(bundle)).await;
    assert_eq!(Gate::start(folder.path(), &["p256"], None).away().run(bundle).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_has_it_no_more_withdraws_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let digest = recorded("bundle-p256");
    let gate = Gate::start(folder.path(), &["p256"], None);
    assert_eq!((gate.pull(digest).await, gate.run(digest).await), (Ok(()), Ok(())));
    // What cannot be found out withdraws nothing.
    gate.fake.fail_with(Some(status(500)));
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(gate.pull(digest).await, Err(TrustCode::Unreachable));
    assert_eq!(gate.run(digest).await, Ok(()));
    gate.fake.fail_with(None);
    gate.fake.clear();
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(gate.run(digest).await, Ok(()), "by default a run does not ask");
    assert_eq!(gate.pull(digest).await, Err(TrustCode::NotSigned));
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(gate.run(digest).await, Err(TrustCode::NotSigned));
    assert_eq!(evidence::all(folder.path()).unwrap(), []);
    assert_eq!(Gate::start(folder.path(), &["p256"], None).away().run(digest).await, Err(TrustCode::Unreachable));
}

#[tokio::test(start_paused = true)]
async fn a_period_that_is_over_has_the_registry_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let digest = recorded("legacy-p256");
    let day = Some(Duration::from_hours(24));
    let (soon, late, later) = ("2026-12-01T11:59:59Z", "2026-12-01T12:00:00Z", "2026-12-02T11:00:00Z");
    let gate = Gate::start(folder.path(), &["p256"], day);
    assert_eq!(gate.pull(digest).await, Ok(()));
    let asked = gate.fake.calls().len();
    assert!(gate.ask(digest, Purpose::Run, soon).await.is_ok());
    assert_eq!(gate.fake.calls().len(), asked);
    assert!(gate.ask(digest, Purpose::Run, late).await.is_ok());
    assert!(gate.fake.calls().len() > asked);
    let record = evidence::all(folder.path()).unwrap().remove(0);
    assert_eq!((record.found, record.asked), (NOON.parse().unwrap(), late.parse().unwrap()));
    let question = Question::AnyOf(vec![digest]);
    assert!(gate.verifier.ready(&app(), &question, later.parse().unwrap()).is_some());
    // A clock that was ahead makes nothing count for longer.
    assert!(gate.verifier.ready(&app(), &question, soon.parse().unwrap()).is_none());
    // While the registry is away it goes on, also after a restart; what the registry then takes back ends.
    let next = Gate::start(folder.path(), &["p256"], day).away();
    for _ in 0..2 {
        assert!(next.ask(digest, Purpose::Run, "2027-06-01T00:00:00Z").await.is_ok());
    }
    assert!(!next.fake.calls().is_empty());
    // One that answers, whatever it says, is not away.
    let (host, what) = ("x".to_owned(), "x".to_owned());
    for (answer, code) in [
        (RegistryError::Denied { host: host.clone(), what: what.clone() }, TrustCode::Unauthorized),
        (RegistryError::Busy { host, what, status: 429 }, TrustCode::Busy),
    ] {
        let other = Gate::start(folder.path(), &["p256"], day);
        other.fake.fail_with(Some(answer));
        assert_eq!(other.ask(digest, Purpose::Run, "2027-06-01T00:00:00Z").await.map(|_| ()), Err(code));
    }
    next.fake.fail_with(None);
    next.fake.clear();
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(next.ask(digest, Purpose::Run, "2027-06-01T00:00:00Z").await, Err(TrustCode::NotSigned));
    assert_eq!(evidence::all(folder.path()).unwrap(), []);
}

#[tokio::test]
async fn a_signature_costs_few_requests() {
    let hand = Hand::new();
    let bundle = bundles(&[hand.bundle(&good_statement()).to_string()]);
    for fake in [bundle, legacy(&[hand.layer(&good_payload())])] {
        let rig = Rig::with(fake, hand.keys());
        assert_eq!(rig.code("1.0").await, Ok(()));
        assert_eq!(rig.fake.calls().len(), 4, "{:?}", rig.fake.calls());
    }
}

#[tokio::test]
async fn where_no_list_is_likely_it_is_asked_for_last_and_all_places_are_looked_at_before_a_no() {
    let hand = Hand::new();
    let bundle = || hand.bundle(&good_statement()).to_string();
    let by_tag = |bundle: &str| {
        let fake = with_image();
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [pointing(&fake, BUNDLE, bundle.as_bytes())] });
        fake.push(&app(), list_tag(&digest()).as_ref(), index.to_string().as_bytes()).unwrap();
        fake
    };
    let (stranger, own) = (Hand::new().bundle(&good_statement()).to_string(), legacy(&[hand.layer(&good_payload())]));
    for (fake, answer, calls) in [
        (by_tag(&bundle()), Ok(()), 4),
        (own, Ok(()), 4),
        (bundles(&[bundle()]), Ok(()), 6),
        (by_tag(&stranger), Err(TrustCode::SignerMissing), 6),
        (with_image(), Err(TrustCode::NotSigned), 4),
    ] {
        fake.seems_to_keep_no_lists();
        let rig = Rig::with(fake, hand.keys());
        assert_eq!(rig.code("1.0").await, answer);
        assert_eq!(rig.fake.calls().len(), calls, "{:?}", rig.fake.calls());
    }
}

/// A list that is cut does not say what is gone: the registry is asked for what held the good one.
#[tokio::test(start_paused = true)]
async fn a_signature_whose_manifest_is_removed_is_withdrawn_whatever_else_points_at_the_image() {
    for is_gone in [false, true] {
        let (folder, hand) = (tempfile::tempdir().unwrap(), Hand::new());
        let fake = with_image();
        let good = pointing(&fake, BUNDLE, hand.bundle(&good_statement()).to_string().as_bytes());
        let held = format!("{}@{}", app(), good["digest"].as_str().unwrap());
        let others: Vec<Value> = (0..300).map(|number| pointing(&fake, "a/b", number.to_string().as_bytes())).collect();
        let index = |listed: &[Value]| json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed }).to_string();
        fake.list(&app(), digest(), index(&[good]).as_bytes()).unwrap();
        let Rig { fake, verifier } = Rig::with(fake, hand.keys());
        let rig = Rig { fake, verifier: verifier.keeping(Evidence::kept_in(folder.path().to_owned()), None) };
        assert_eq!(rig.code("1.0").await, Ok(()));
        rig.fake.list(&app(), digest(), index(&others).as_bytes()).unwrap();
        if is_gone {
            rig.fake.fail_call(&held, RegistryError::NotFound { host: "x".into(), what: "x".into() });
        }
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(rig.code("1.0").await, if is_gone { Err(TrustCode::Invalid) } else { Ok(()) });
        assert_eq!(evidence::all(folder.path()).unwrap().is_empty(), is_gone);
        assert_eq!(rig.by_digest(digest()).await.is_err(), is_gone);
    }
}

/// What strangers, or the publisher, put beside an image so that not all of it is looked at.
fn clutter(fake: &Fake) -> Vec<(&'static str, Vec<Value>)> {
    let pushed = |manifest: &str| {
        let digest = fake.push(&app(), None, manifest.as_bytes()).unwrap();
        json!({ "mediaType": IMAGE, "digest": digest.to_string(), "size": manifest.len(), "artifactType": BUNDLE })
    };
    let layer = json!({ "mediaType": BUNDLE, "digest": Digest::of(b"nowhere").to_string(), "size": 7 });
    let noted = |text: &str| manifest_of(std::slice::from_ref(&layer), text);
    vec![
        ("nothing", Vec::new()),
        ("a manifest of 70 KiB", vec![pushed(&format!("{}{}", noted("{}"), " ".repeat(70 << 10)))]),
        ("a bill of materials", vec![pointing(fake, BUNDLE, &[b'x'; 300 << 10])]),
        ("a bundle that is not there", vec![pushed(&noted("{}"))]),
        ("many", (0..100).map(|number| pointing(fake, "a/b", number.to_string().as_bytes())).collect()),
    ]
}

/// Review 23a: one thing that is not looked at, and the withdrawal of the signature had no effect, for ever.
#[tokio::test(start_paused = true)]
async fn a_signature_that_was_taken_back_is_withdrawn_whatever_cannot_be_looked_at_beside_it() {
    let index = |listed: &[Value]| json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed }).to_string();
    let own_tag = signature_tag(&digest()).unwrap();
    for case in 0..5 {
        // The list names it no more; it names one that is gone; the tag is gone; the tag holds others, more than are looked at.
        for (how, is_restarted) in (0..8).map(|number| (number / 2, number % 2 == 1)) {
            let (folder, hand) = (tempfile::tempdir().unwrap(), Hand::new());
            let fake = if how < 2 { with_image() } else { legacy(&[hand.layer(&good_payload())]) };
            let (what, others) = clutter(&fake).remove(case);
            let good = pointing(&fake, BUNDLE, hand.bundle(&good_statement()).to_string().as_bytes());
            let held = format!("{}@{}", app(), good["digest"].as_str().unwrap());
            let own = if how < 2 { vec![good] } else { Vec::new() };
            let with = |own: &[Value]| [own, &others].concat();
            fake.list(&app(), digest(), index(&with(&own)).as_bytes()).unwrap();
            let start = |fake: Arc<Fake>| {
                let verifier = CosignVerifier::new("release".parse().unwrap(), hand.keys(), Arc::clone(&fake) as Arc<dyn Api>);
                Rig { fake, verifier: verifier.keeping(Evidence::kept_in(folder.path().to_owned()), None) }
            };
            let mut rig = start(Arc::new(fake));
            assert_eq!(rig.code("1.0").await, Ok(()), "{what} {how}");
            if is_restarted {
                rig = start(rig.fake);
            }
            // As long as it is there it counts, whatever the list says of it.
            let mut lie = own.clone();
            for one in &mut lie {
                one["size"] = json!(1 << 30);
            }
            rig.fake.list(&app(), digest(), index(&with(&lie)).as_bytes()).unwrap();
            assert_eq!(rig.code("1.0").await, Ok(()), "{what} {how}");
            let gone = || RegistryError::NotFound { host: "x".into(), what: "x".into() };
            match how {
                0 => rig.fake.list(&app(), digest(), index(&others).as_bytes()).unwrap(),
                1 => rig.fake.fail_call(&held, gone()),
                2 => rig.fake.fail_call(&format!("{}:{own_tag}", app()), gone()),
                _ => {
                    let other = Hand::new().layer(&good_payload()).1;
                    let layers: Vec<Value> = std::iter::repeat_n(other, 300).collect();
                    let manifest = manifest_of(&layers, "signatures");
                    rig.fake.push(&app(), Some(&own_tag), manifest.as_bytes()).unwrap();
                }
            }
            tokio::time::advance(Duration::from_secs(10)).await;
            let said = format!("{what} {how} {is_restarted}");
            assert!(rig.code("1.0").await.is_err(), "{said}");
            assert_eq!(evidence::all(folder.path()).unwrap(), [], "{said}");
            assert!(rig.by_digest(digest()).await.is_err(), "{said}");
            assert!(start(rig.fake).by_digest(digest()).await.is_err(), "{said}");
        }
    }
}
