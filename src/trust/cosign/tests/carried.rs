//! What lies beside an image, shown alone and carried elsewhere: what verifies there is kept, and nothing else is.

use super::*;
use crate::registry::{Bundle, Carried};
use crate::trust::beside::{Beside, Kind};
use crate::trust::{Keeping, Signer, evidence};

const NOON: &str = "2026-11-30T12:00:00Z";

fn at(time: &str) -> Asking {
    Asking { now: time.parse().unwrap(), ..asking(Purpose::Pull) }
}

async fn beside(fake: &Fake, name: &str) -> Beside {
    let deadline = Instant::now() + Duration::from_secs(8);
    Beside::of(fake, &app(), &Wanted::Tag(tag(name)), deadline).await.unwrap()
}

/// As it is read where it was carried to.
async fn carried(fake: &Fake, name: &str) -> Carried {
    let bundle = Bundle { exported: NOON.parse().unwrap(), images: vec![beside(fake, name).await.carried] };
    Bundle::read(&bundle.written().unwrap()).unwrap().images.remove(0)
}

/// A host that does not reach the registry.
struct Gap {
    folder: tempfile::TempDir,
    key: &'static str,
}

impl Gap {
    fn new(key: &'static str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), key }
    }

    fn verifier(&self) -> CosignVerifier {
        let Rig { fake, verifier } = Rig::recorded(&[self.key]);
        fake.fail_with(Some(away()));
        verifier.keeping(Evidence::kept_in(self.folder.path().to_owned()), None)
    }

    async fn import_as(&self, carried: Carried, digest: Digest, undoes_withdrawal: bool) -> Result<Digest, TrustCode> {
        let repository = carried.repository().clone();
        let keeping = Keeping::Keeps { undoes_withdrawal };
        let verifier = self.verifier();
        let answer = verifier.by_carried(Arc::new(carried), (&repository, digest), at(NOON), keeping).unwrap();
        answer.await.map(|vouch| *vouch.digest()).map_err(|error| error.code)
    }

    async fn import(&self, carried: Carried) -> Result<Digest, TrustCode> {
        let digest = carried.digest();
        self.import_as(carried, digest, false).await
    }

    async fn runs(&self, digest: Digest) -> bool {
        self.verifier().vouch(&app(), &Question::AnyOf(vec![digest]), Asking { purpose: Purpose::Run, ..at(NOON) }).await.is_ok()
    }

    fn kept(&self) -> usize {
        evidence::all(self.folder.path()).unwrap().len()
    }
}

#[tokio::test]
async fn every_signature_is_shown_with_its_signer_and_judged_alone() {
    let rig = Rig::recorded(&["p256"]);
    for (name, kind, count, good) in [
        ("legacy-p256", Kind::Cosign, 1, 1),
        ("legacy-both", Kind::Cosign, 2, 1),
        ("bundle-p256", Kind::Cosign, 1, 1),
        ("bundle-both", Kind::Cosign, 2, 1),
        ("bundle-rsa", Kind::Cosign, 1, 0),
        ("attested", Kind::Attestation, 1, 0),
        ("unsigned", Kind::Cosign, 0, 0),
    ] {
        let beside = beside(&rig.fake, name).await;
        assert_eq!(beside.missed, [""; 0], "{name}");
        assert_eq!(beside.items.iter().filter(|item| item.kind == kind).count(), count, "{name}: {:?}", beside.items);
        let mut yes = 0;
        for item in &beside.items {
            let claims = item.claims.as_ref().unwrap_or_else(|why| panic!("{name}: {why}"));
            assert!(claims.digests.contains(&recorded(name).to_string()), "{name}: {claims:?}");
            assert!(matches!(claims.signer, Some(Signer::Key { .. })), "{name}: {claims:?}");
            let (alone, repository) = (Arc::new(beside.alone(item)), app());
            let answer = rig.verifier.by_carried(alone, (&repository, item.of), at(NOON), Keeping::Looks).unwrap();
            yes += usize::from(answer.await.is_ok());
        }
        assert_eq!(yes, good, "{name}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_or_fetched_hides_no_other() {
    let rig = Rig::recorded(&["p256"]);
    let good = beside(&rig.fake, "bundle-both").await.items.len();
    let list = list_tag(&recorded("bundle-both")).unwrap();
    let index = rig.fake.written(&app(), &Wanted::Tag(list.clone()), Instant::now()).await.unwrap().1;
    let mut index: Value = serde_json::from_slice(&index).unwrap();
    let bad = pointing(&rig.fake, BUNDLE, b"{\"mediaType\":\"\\u001b[31m\"}");
    let gone = json!({ "mediaType": IMAGE, "digest": Digest::of(b"gone").to_string(), "size": 7 });
    let listed = index["manifests"].as_array_mut().unwrap();
    listed.insert(0, bad);
    listed.insert(0, gone);
    rig.fake.push(&app(), Some(&list), index.to_string().as_bytes()).unwrap();
    let now = beside(&rig.fake, "bundle-both").await;
    assert_eq!(now.items.iter().filter(|item| item.claims.is_ok()).count(), good);
    let [why] = now.items.iter().filter_map(|item| item.claims.as_ref().err()).collect::<Vec<_>>()[..] else { panic!() };
    assert!(!why.contains('\u{1b}'), "{why}");
    rig.fake.fail_call(&format!("{}:sha256-{}.sig", app(), recorded("bundle-both").hex()), status(500));
    let now = beside(&rig.fake, "bundle-both").await;
    assert_eq!((now.items.len(), now.missed.len()), (good + 1, 1), "{:?}", now.missed);
}

#[tokio::test]
async fn what_was_carried_is_verified_kept_and_runs_where_the_registry_is_away() {
    let registry = Rig::recorded(&["p256"]).fake;
    for name in ["legacy-p256", "bundle-p256", "index"] {
        let gap = Gap::new("p256");
        assert!(!gap.runs(recorded(name)).await);
        assert_eq!(gap.import(carried(&registry, name).await).await, Ok(recorded(name)), "{name}");
        assert!(gap.runs(recorded(name)).await, "{name}");
        assert_eq!(gap.kept(), 1);
    }
    // By nobody who counts here, and by nobody.
    for (name, key, code) in [
        ("bundle-p256", "rsa", TrustCode::SignerMissing),
        ("legacy-p256", "rsa", TrustCode::SignerMissing),
        ("unsigned", "p256", TrustCode::NotSigned),
        ("attested", "p256", TrustCode::NotSigned),
        ("elsewhere", "p256", TrustCode::NotSigned),
    ] {
        let gap = Gap::new(key);
        assert_eq!(gap.import(carried(&registry, name).await).await, Err(code), "{name}");
        assert!(!gap.runs(recorded(name)).await && gap.kept() == 0, "{name}");
    }
}

#[tokio::test]
async fn a_bundle_that_was_edited_or_is_of_something_else_brings_nothing() {
    let registry = Rig::recorded(&["p256"]).fake;
    let gap = Gap::new("p256");
    for name in ["legacy-p256", "bundle-p256"] {
        let good = carried(&registry, name).await;
        // Of another digest, whose signature is not there or is that of this one.
        let other = recorded("unsigned");
        assert!(gap.import_as(good.clone(), other, false).await.is_err());
        let mut moved = good.clone();
        let listing = good.referrers(&app(), recorded(name), Instant::now()).await.unwrap().unwrap();
        listing.pointers.iter().for_each(|pointer| moved.point(other, pointer.digest));
        if let Ok((manifest, bytes)) =
            good.written(&app(), &Wanted::Tag(signature_tag(&recorded(name)).unwrap()), Instant::now()).await
        {
            moved.add(manifest.clone(), bytes);
            moved.tag(signature_tag(&other).unwrap(), *manifest.digest());
        }
        assert!(gap.import_as(moved, other, false).await.is_err(), "{name}");
        // Bytes that were changed: what the manifest names is not there.
        let written = Bundle { exported: NOON.parse().unwrap(), images: vec![good] }.written().unwrap();
        let mut file: Value = serde_json::from_slice(&written).unwrap();
        for blob in file["images"][0]["blobs"].as_array_mut().unwrap() {
            let mut bytes = STANDARD.decode(blob.as_str().unwrap()).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            *blob = STANDARD.encode(bytes).into();
        }
        let edited = Bundle::read(file.to_string().as_bytes()).unwrap().images.remove(0);
        assert!(gap.import(edited).await.is_err(), "{name}");
    }
    // cosign 2 names the repository.
    let other: Repository = "localhost:5599/team/other".parse().unwrap();
    let moved = carried(&registry, "legacy-p256").await.under(other);
    assert_eq!(gap.import(moved).await, Err(TrustCode::NotSigned));
    assert_eq!(gap.kept(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_old_bundle_brings_back_nothing_that_the_registry_took_back() {
    for name in ["bundle-p256", "legacy-p256"] {
        let (gap, digest) = (Gap::new("p256"), recorded(name));
        let registry = Rig::recorded(&["p256"]).fake;
        let old = carried(&registry, name).await;
        assert_eq!(gap.import(old.clone()).await, Ok(digest));
        // Twice is as once.
        assert_eq!(gap.import(old.clone()).await, Ok(digest));
        // The registry is there, and has it no more.
        let bare = Fake::new();
        bare.push(&app(), Some(&tag(name)), &std::fs::read(fixtures("manifests").join(format!("{name}.json"))).unwrap()).unwrap();
        let rig = Rig::with(bare, keys(&["p256"]));
        let here = rig.verifier.keeping(Evidence::kept_in(gap.folder.path().to_owned()), None);
        assert_eq!(here.vouch(&app(), &Question::AnyOf(vec![digest]), at(NOON)).await.unwrap_err().code, TrustCode::NotSigned);
        assert!(!gap.runs(digest).await && gap.kept() == 0, "{name}");
        assert_eq!(gap.import(old.clone()).await, Err(TrustCode::Withdrawn), "{name}");
        assert!(!gap.runs(digest).await);
        // A person says that it was signed again since; or that all is forgotten.
        assert_eq!(gap.import_as(old.clone(), digest, true).await, Ok(digest));
        assert!(gap.runs(digest).await);
        assert_eq!(gap.import(old.clone()).await, Ok(digest));
        assert!(here.vouch(&app(), &Question::AnyOf(vec![digest]), at(NOON)).await.is_err());
        tokio::time::advance(Duration::from_mins(2)).await;
        assert!(here.vouch(&app(), &Question::AnyOf(vec![digest]), at(NOON)).await.is_err());
        assert_eq!(gap.import(old.clone()).await, Err(TrustCode::Withdrawn), "{name}");
        evidence::forget(gap.folder.path(), &digest).unwrap();
        assert_eq!(gap.import(old).await, Ok(digest), "{name}");
    }
}

#[tokio::test]
async fn under_another_name_nothing_comes_back_that_a_registry_took_back() {
    let name = "bundle-p256";
    let (gap, digest) = (Gap::new("p256"), recorded(name));
    let registry = Rig::recorded(&["p256"]).fake;
    let old = carried(&registry, name).await;
    assert_eq!(gap.import(old.clone()).await, Ok(digest));
    let bare = Fake::new();
    bare.push(&app(), Some(&tag(name)), &std::fs::read(fixtures("manifests").join(format!("{name}.json"))).unwrap()).unwrap();
    let rig = Rig::with(bare, keys(&["p256"]));
    let here = rig.verifier.keeping(Evidence::kept_in(gap.folder.path().to_owned()), None);
    assert!(here.vouch(&app(), &Question::AnyOf(vec![digest]), at(NOON)).await.is_err());
    let other: Repository = "localhost:5599/team/other".parse().unwrap();
    assert_eq!(gap.import(old.clone().under(other)).await, Err(TrustCode::Withdrawn));
    // For another verifier that goes by the same key.
    let second = CosignVerifier::new("second".parse().unwrap(), keys(&["p256"]), Arc::new(Fake::new()));
    let second = second.keeping(Evidence::kept_in(gap.folder.path().to_owned()), None);
    let keeping = Keeping::Keeps { undoes_withdrawal: false };
    let answer = second.by_carried(Arc::new(old), (&app(), digest), at(NOON), keeping).unwrap().await;
    assert_eq!(answer.unwrap_err().code, TrustCode::Withdrawn);
    assert_eq!(gap.kept(), 0);
}

#[tokio::test]
async fn no_date_of_a_bundle_postpones_that_the_registry_is_asked() {
    let (gap, digest) = (Gap::new("p256"), recorded("bundle-p256"));
    let registry = Rig::recorded(&["p256"]).fake;
    assert_eq!(gap.import(carried(&registry, "bundle-p256").await).await, Ok(digest));
    let [record] = evidence::all(gap.folder.path()).unwrap().try_into().unwrap();
    assert_eq!(record.asked, jiff::Timestamp::UNIX_EPOCH);
}

#[tokio::test]
async fn who_leaves_a_signature_out_of_a_bundle_takes_nothing_away() {
    let registry = Rig::recorded(&["p256"]).fake;
    let (gap, digest) = (Gap::new("p256"), recorded("bundle-p256"));
    assert_eq!(gap.import(carried(&registry, "bundle-p256").await).await, Ok(digest));
    assert_eq!(gap.import(Carried::of(app(), digest)).await, Err(TrustCode::NotSigned));
    assert!(gap.runs(digest).await);
    assert_eq!(gap.kept(), 1);
}
