//! Statements by who must sign them, and attacks, each beside what passes.

mod bounds;
mod identity;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::image::Tag;
use crate::registry::{Fake, RegistryError, list_tag};
use crate::trust::cosign::CosignVerifier;
use crate::trust::cosign::tests::{Hand, app, away, digest, image, pointing, tag, with_image};
use crate::trust::evidence::Evidence;
use crate::trust::stated::{Contents, Severity};
use crate::trust::{Asking, Purpose, Question, TrustCode, TrustError, Verifier as _, Vouch};

const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const CUSTOM: &str = "https://example.com/tested/v1";
const SCAN: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";
const NOON: &str = "2026-11-30T12:00:00Z";

fn statement(predicate_type: &str, predicate: &Value) -> String {
    let subject = json!([{ "name": "localhost:5599/team/app", "digest": { "sha256": digest().hex() } }]);
    json!({ "_type": "https://in-toto.io/Statement/v0.1", "predicateType": predicate_type, "subject": subject, "predicate": predicate })
        .to_string()
}

fn tested() -> String {
    statement(CUSTOM, &json!({ "tests": { "passed": true, "number": 7, "by": "ci" } }))
}

/// A report by Trivy that ended at this hour of the day.
fn report(hour: u8, found: &[&str]) -> String {
    let found: Vec<Value> = found.iter().map(|id| json!({ "VulnerabilityID": id, "Severity": "HIGH" })).collect();
    let result = json!({ "SchemaVersion": 2, "Results": [{ "Target": "app", "Vulnerabilities": found }] });
    let times = json!({ "scanStartedOn": "2026-11-30T01:00:00Z", "scanFinishedOn": format!("2026-11-30T{hour:02}:00:00Z") });
    statement(SCAN, &json!({ "scanner": { "uri": "trivy", "result": result }, "metadata": times }))
}

fn custom() -> Terms {
    Terms { predicate_type: CUSTOM.to_owned(), require: Vec::new(), conditions: Conditions::None }
}

fn nothing_high() -> Terms {
    let terms = ScanTerms { severity: Some(Severity::High), ..ScanTerms::default() };
    Terms { predicate_type: SCAN.to_owned(), require: Vec::new(), conditions: Conditions::Scan(terms) }
}

/// A host with its state folder; each start is a process of its own.
struct Host {
    hand: Arc<Hand>,
    state: tempfile::TempDir,
}

/// A verifier over a registry.
struct Rig {
    fake: Arc<Fake>,
    verifier: AttestationVerifier,
}

impl Host {
    fn new() -> Self {
        Self { hand: Arc::new(Hand::new()), state: tempfile::tempdir().unwrap() }
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        Path::new(self.state.path()).join(name)
    }

    fn start(&self, terms: Terms, fake: Fake) -> Rig {
        let fake = Arc::new(fake);
        let api = || Arc::clone(&fake) as Arc<dyn Api>;
        let release: VerifierName = "release".parse().unwrap();
        let signer = CosignVerifier::new(release.clone(), self.hand.keys(), api()).scheme();
        let newest = Newest::kept_in(self.at("newest"));
        let verifier = AttestationVerifier::new("stated".parse().unwrap(), (&release, signer), terms, newest, api());
        Rig { verifier: verifier.keeping(Evidence::kept_in(self.at("evidence")), None), fake }
    }

    fn bundle(&self, statement: &str) -> String {
        self.hand.bundle(statement).to_string()
    }

    /// As cosign 2 keeps it.
    fn envelope(&self, statement: &str) -> String {
        self.hand.bundle(statement)["dsseEnvelope"].to_string()
    }

    /// What comes of one bundle beside the image.
    async fn says(&self, terms: Terms, bundle: String) -> Result<(), TrustCode> {
        self.start(terms, listed(&[bundle])).pull().await
    }
}

impl Rig {
    async fn ask(&self, purpose: Purpose, now: &str) -> Result<Vouch, TrustError> {
        let asking = Asking { purpose, now: now.parse().unwrap(), deadline: Instant::now() + Duration::from_secs(8) };
        let question = match purpose {
            Purpose::Pull => Question::Tag(tag("1.0")),
            Purpose::Run => Question::AnyOf(vec![digest()]),
        };
        self.verifier.vouch(&app(), &question, asking).await
    }

    async fn pull(&self) -> Result<(), TrustCode> {
        self.ask(Purpose::Pull, NOON).await.map(|_| ()).map_err(|error| error.code)
    }

    async fn run(&self) -> Result<(), TrustCode> {
        self.ask(Purpose::Run, NOON).await.map(|_| ()).map_err(|error| error.code)
    }

    async fn why(&self) -> String {
        self.ask(Purpose::Pull, NOON).await.unwrap_err().to_string()
    }
}

/// A registry with the image, and these bundles in its list.
fn listed(bundles: &[String]) -> Fake {
    let fake = with_image();
    let listed: Vec<Value> = bundles.iter().map(|bundle| pointing(&fake, BUNDLE, bundle.as_bytes())).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed }).to_string();
    fake.list(&app(), digest(), index.as_bytes()).unwrap();
    fake
}

fn manifest(layers: &[Value]) -> String {
    let config =
        json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": Digest::of(b"{}").to_string(), "size": 2 });
    json!({ "schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers }).to_string()
}

/// A registry with the image, and these envelopes under cosign 2's tag; beside each, what its layer says of its type.
fn tagged(envelopes: &[(String, &str)]) -> Fake {
    let fake = with_image();
    let layer = |(envelope, said): &(String, &str)| {
        let digest = fake.push_blob(&app(), envelope.as_bytes()).to_string();
        let annotations = json!({ "dev.cosignproject.cosign/signature": "", "predicateType": said });
        json!({ "mediaType": ENVELOPE, "digest": digest, "size": envelope.len(), "annotations": annotations })
    };
    let layers: Vec<Value> = envelopes.iter().map(layer).collect();
    let tag: Tag = format!("sha256-{}.att", digest().hex()).parse().unwrap();
    fake.push(&app(), Some(&tag), manifest(&layers).as_bytes()).unwrap();
    fake
}

#[tokio::test]
async fn a_statement_by_who_must_sign_it_counts_in_all_places() {
    let host = Host::new();
    let bundle = host.bundle(&tested());
    let fallback = with_image();
    let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [pointing(&fallback, BUNDLE, bundle.as_bytes())] });
    fallback.push(&app(), list_tag(&digest()).as_ref(), list.to_string().as_bytes()).unwrap();
    for fake in [listed(&[bundle]), tagged(&[(host.envelope(&tested()), CUSTOM)]), fallback] {
        let rig = host.start(custom(), fake);
        let vouch = rig.ask(Purpose::Pull, NOON).await.unwrap();
        assert_eq!((vouch.digest(), vouch.signers()), (&digest(), &["hand.pub".to_owned()][..]));
        let stated = Stated { predicate_type: CUSTOM.to_owned(), at: None, facts: Facts::Other, is_judged: false };
        assert_eq!(vouch.stated(), [Arc::new(stated)]);
        assert_eq!(rig.run().await, Ok(()));
    }
    let v1 = tested().replace("Statement/v0.1", "Statement/v1");
    assert_eq!(host.says(custom(), host.bundle(&v1)).await, Ok(()));
}

#[tokio::test]
async fn what_anybody_else_signed_and_what_nobody_signed_is_no_statement() {
    let (host, stranger) = (Host::new(), Hand::new());
    assert_eq!(host.start(custom(), with_image()).pull().await, Err(TrustCode::NotAttested));
    assert_eq!(host.says(custom(), stranger.bundle(&tested()).to_string()).await, Err(TrustCode::SignerMissing));
    let envelope = stranger.bundle(&tested())["dsseEnvelope"].to_string();
    assert_eq!(host.start(custom(), tagged(&[(envelope, CUSTOM)])).pull().await, Err(TrustCode::SignerMissing));
    // A stranger's beside the good one changes nothing.
    let both = [stranger.bundle(&tested()).to_string(), host.bundle(&tested())];
    assert_eq!(host.start(custom(), listed(&both)).pull().await, Ok(()));
    // That an image is signed states nothing else of it; nor does a statement make it signed.
    let mere = statement("https://sigstore.dev/cosign/sign/v1", &json!({}));
    assert_eq!(host.says(custom(), host.bundle(&mere)).await, Err(TrustCode::NotAttested));
    let signer = CosignVerifier::new("release".parse().unwrap(), host.hand.keys(), Arc::new(listed(&[host.bundle(&tested())])));
    let asking = Asking { purpose: Purpose::Pull, now: NOON.parse().unwrap(), deadline: Instant::now() + Duration::from_secs(8) };
    let answer = signer.vouch(&app(), &Question::Tag(tag("1.0")), asking).await;
    assert_eq!(answer.unwrap_err().code, TrustCode::NotSigned);
}

#[tokio::test]
async fn statements_that_say_anything_else_are_refused() {
    let host = Host::new();
    let good = tested();
    let hex = digest().hex();
    for bad in [
        good.replace(&hex, &Digest::of(b"other").hex()),
        good.replace(&hex, &hex.to_uppercase()),
        good.replace(&hex, &digest().to_string()),
        good.replace("\"sha256\"", "\"sha512\""),
        good.replace("\"digest\"", "\"Digest\""),
        good.replace("Statement/v0.1", "Statement/v0.2"),
        good.replace(CUSTOM, "https://example.com/tested/v2"),
        good.replacen('{', r#"{"predicateType":"x","#, 1),
        good.replacen('{', r#"{"PredicateType":"x","#, 1),
        good.replacen('{', r#"{"subject":[],"#, 1),
        good.replace(r#""passed":true"#, r#""passed":true,"passed":false"#),
        good.replace(r#""passed":true"#, r#""passed":true,"Passed":false"#),
        format!("{good}{good}"),
        format!("[{good}]"),
        good.replace(r#""by":"ci""#, &format!(r#""by":{}1{}"#, "[".repeat(500), "]".repeat(500))),
        String::new(),
    ] {
        assert_ne!(bad, good);
        assert_eq!(host.says(custom(), host.bundle(&bad)).await, Err(TrustCode::NotAttested), "{bad}");
    }
    let subjects = good.replace("\"subject\":[", &format!("\"subject\":[{}", r#"{"digest":{}},"#.repeat(1024)));
    assert_eq!(host.says(custom(), host.bundle(&subjects)).await, Err(TrustCode::NotAttested));
    // What else stands in it is let be.
    let more = good.replacen('{', r#"{"more":[{"a":1}],"#, 1);
    assert_eq!(host.says(custom(), host.bundle(&more)).await, Ok(()));
}

#[tokio::test]
async fn an_envelope_has_one_type_and_one_signature_over_both() {
    let host = Host::new();
    let envelope: Value = serde_json::from_str(&host.envelope(&tested())).unwrap();
    let code = async |change: &dyn Fn(&mut Value)| {
        let mut envelope = envelope.clone();
        change(&mut envelope);
        host.start(custom(), tagged(&[(envelope.to_string(), CUSTOM)])).pull().await
    };
    assert_eq!(code(&|_| {}).await, Ok(()));
    assert_eq!(code(&|envelope| envelope["signatures"][0]["keyid"] = "x".into()).await, Ok(()));
    // Signed without its type in front, and as another type.
    let bare = host.hand.sign(tested().as_bytes());
    assert_eq!(code(&|envelope| envelope["signatures"][0]["sig"] = bare.clone().into()).await, Err(TrustCode::SignerMissing));
    let other = host.hand.sign(format!("DSSEv1 16 application/json {} {}", tested().len(), tested()).as_bytes());
    assert_eq!(code(&|envelope| envelope["signatures"][0]["sig"] = other.clone().into()).await, Err(TrustCode::SignerMissing));
    for change in [
        (&|envelope: &mut Value| envelope["payloadType"] = "application/json".into()) as &dyn Fn(&mut Value),
        &|envelope| envelope["signatures"] = json!([]),
        &|envelope| envelope["signatures"] = json!([envelope["signatures"][0], envelope["signatures"][0]]),
        &|envelope| envelope["more"] = 1.into(),
        &|envelope| envelope["payload"] = "no base64".into(),
        &|envelope| envelope["payload"] = format!("{}\n", envelope["payload"].as_str().unwrap()).into(),
        &|envelope| *envelope = json!([envelope["payload"], envelope["payloadType"], envelope["signatures"]]),
    ] {
        assert_eq!(code(change).await, Err(TrustCode::NotAttested));
    }
    let doubled = envelope.to_string().replacen('{', r#"{"payloadtype":"application/json","#, 1);
    assert_eq!(host.start(custom(), tagged(&[(doubled, CUSTOM)])).pull().await, Err(TrustCode::NotAttested));
}

#[tokio::test]
async fn members_are_required_by_their_paths() {
    let host = Host::new();
    let code = async |path: &str, values: &[&str]| {
        let path = path.split('.').map(str::to_owned).collect();
        let required = Required { path, values: values.iter().map(|value| (*value).to_owned()).collect() };
        host.says(Terms { require: vec![required], ..custom() }, host.bundle(&tested())).await
    };
    for (path, values) in [("tests.passed", &["true"][..]), ("tests.number", &["7"]), ("tests.by", &["x", "c*"])] {
        assert_eq!(code(path, values).await, Ok(()), "{path}");
    }
    for (path, values) in [
        ("tests.passed", &["false"][..]),
        ("tests.by", &["c"]),
        ("tests", &["*"]),
        ("tests.by.name", &["*"]),
        ("tests.failed", &["*"]),
    ] {
        assert_eq!(code(path, values).await, Err(TrustCode::AttestationRefused), "{path}");
    }
}

#[tokio::test]
async fn of_scans_the_newest_by_who_must_sign_decides() {
    let (host, stranger) = (Host::new(), Hand::new());
    let (clean, dirty) = (|hour| host.bundle(&report(hour, &[])), |hour| host.bundle(&report(hour, &["CVE-1"])));
    for (bundles, expected) in [
        (vec![clean(9)], Ok(())),
        (vec![dirty(9)], Err(TrustCode::AttestationRefused)),
        (vec![clean(9), dirty(10)], Err(TrustCode::AttestationRefused)),
        (vec![dirty(10), clean(9)], Err(TrustCode::AttestationRefused)),
        (vec![dirty(9), clean(10)], Ok(())),
        // Of one time the worst.
        (vec![dirty(9), clean(9)], Err(TrustCode::AttestationRefused)),
        (vec![clean(9), dirty(9)], Err(TrustCode::AttestationRefused)),
        // A stranger's word is none, whatever it is.
        (vec![clean(9), stranger.bundle(&report(10, &["CVE-1"])).to_string()], Ok(())),
        (vec![dirty(9), stranger.bundle(&report(10, &[])).to_string()], Err(TrustCode::AttestationRefused)),
        // One that cannot be judged may be the newest.
        (
            vec![clean(9), host.bundle(&report(9, &[]).replace("scanFinishedOn", "x").replace("scanStartedOn", "y"))],
            Err(TrustCode::AttestationRefused),
        ),
        (vec![clean(9), host.bundle(&report(13, &[]))], Err(TrustCode::AttestationRefused)),
    ] {
        // Each host sees only these.
        let fresh = Host { hand: Arc::clone(&host.hand), ..Host::new() };
        assert_eq!(fresh.start(nothing_high(), listed(&bundles)).pull().await, expected, "{bundles:?}");
    }
}

#[tokio::test]
async fn a_scan_that_is_taken_away_brings_no_older_one_back() {
    let host = Host::new();
    let (old, new, newer) = (host.bundle(&report(8, &[])), host.bundle(&report(9, &["CVE-1"])), host.bundle(&report(10, &[])));
    let all = [old.clone(), new.clone()];
    assert_eq!(host.start(nothing_high(), listed(&all)).pull().await, Err(TrustCode::AttestationRefused));
    // Also for the next process, in another repository with the same image, and where nothing is left.
    for fake in [listed(std::slice::from_ref(&old)), tagged(&[(host.envelope(&report(8, &[])), SCAN)])] {
        let rig = host.start(nothing_high(), fake);
        assert_eq!(rig.pull().await, Err(TrustCode::RolledBack));
        assert!(rig.why().await.contains("2026-11-30T09:00:00Z"));
    }
    assert_eq!(host.start(nothing_high(), with_image()).pull().await, Err(TrustCode::RolledBack));
    // Who goes by another signer, or by another scanner's reports, has seen nothing.
    let scanner = ScanTerms { scanner: vec!["trivy*".to_owned()], ..ScanTerms::default() };
    let by_scanner = Terms { conditions: Conditions::Scan(scanner), ..nothing_high() };
    assert_eq!(host.start(by_scanner, listed(std::slice::from_ref(&old))).pull().await, Ok(()));
    // A newer one ends it.
    assert_eq!(host.start(nothing_high(), listed(&[old.clone(), newer])).pull().await, Ok(()));
    assert_eq!(host.start(nothing_high(), listed(&[old, new])).pull().await, Err(TrustCode::RolledBack));
    // What was kept of the newest goes on, with the registry away.
    let away_now = host.start(nothing_high(), with_image());
    away_now.fake.fail_with(Some(away()));
    assert_eq!(away_now.run().await, Err(TrustCode::Unreachable), "the registry said that it was gone");
}

#[tokio::test]
async fn a_scan_ends_with_its_age() {
    let host = Host::new();
    let terms = ScanTerms { max_age: Some(Duration::from_hours(24)), ..ScanTerms::default() };
    let terms = Terms { conditions: Conditions::Scan(terms), ..nothing_high() };
    let rig = host.start(terms.clone(), listed(&[host.bundle(&report(9, &["CVE-1"]))]));
    let vouch = rig.ask(Purpose::Pull, NOON).await.unwrap();
    assert_eq!(vouch.expires(), Some("2026-12-01T09:00:00Z".parse().unwrap()));
    let (before, after) = ("2026-12-01T08:59:59Z", "2026-12-01T09:00:00Z");
    let ready = |now: &str| rig.verifier.ready(&app(), &Question::AnyOf(vec![digest()]), now.parse().unwrap());
    assert!(ready(before).is_some_and(|answer| answer.is_ok()) && ready(after).is_none());
    let old = rig.ask(Purpose::Run, after).await.unwrap_err();
    assert_eq!(old.code, TrustCode::Expired);
    assert!(old.to_string().contains("longer ago than the 1 days"), "{old}");
    // So it does with what is kept, and the registry away.
    let kept = Host { hand: Arc::clone(&host.hand), state: tempfile::tempdir().unwrap() };
    assert_eq!(kept.start(terms.clone(), listed(&[host.bundle(&report(9, &[]))])).pull().await, Ok(()));
    let next = kept.start(terms, with_image());
    next.fake.fail_with(Some(away()));
    assert!(next.ask(Purpose::Run, before).await.is_ok());
    assert_eq!(next.ask(Purpose::Run, after).await.unwrap_err().code, TrustCode::Unreachable);
}

/// A clock that was a month ahead for an hour, or a scan that simply became too old: the registry took nothing back.
#[tokio::test(start_paused = true)]
async fn a_scan_that_is_there_and_does_not_count_now_is_not_noted_as_taken_back() {
    let host = Host::new();
    let terms = ScanTerms { max_age: Some(Duration::from_hours(24 * 7)), ..ScanTerms::default() };
    let rig =
        host.start(Terms { conditions: Conditions::Scan(terms), ..nothing_high() }, listed(&[host.bundle(&report(6, &[]))]));
    assert_eq!(rig.pull().await, Ok(()));
    let ahead = rig.ask(Purpose::Pull, "2027-01-30T12:00:00Z").await.unwrap_err();
    assert_eq!(ahead.code, TrustCode::Expired);
    rig.fake.fail_with(Some(away()));
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(rig.run().await, Ok(()));
    let evidence = Evidence::looked_at(host.at("evidence"));
    assert_eq!(evidence.withdrawn_since(&digest()), None);
    // What is removed is.
    rig.fake.fail_with(None);
    rig.fake
        .list(&app(), digest(), json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }).to_string().as_bytes())
        .unwrap();
    tokio::time::advance(Duration::from_mins(1)).await;
    assert!(rig.pull().await.is_err());
    assert!(evidence.withdrawn_since(&digest()).is_some());
    assert!(rig.run().await.is_err());
}

/// It must not depend on what is remembered of the newer one, which a full disk may not have taken.
#[tokio::test(start_paused = true)]
async fn an_older_scan_is_not_kept_beside_a_newer_one_that_fails() {
    let host = Host::new();
    let (older, newer) = (host.bundle(&report(9, &[])), host.bundle(&report(10, &["CVE-1"])));
    let rig = host.start(nothing_high(), listed(std::slice::from_ref(&older)));
    assert_eq!(rig.pull().await, Ok(()));
    let both: Vec<Value> = [older, newer].iter().map(|bundle| pointing(&rig.fake, BUNDLE, bundle.as_bytes())).collect();
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": both }).to_string();
    rig.fake.list(&app(), digest(), index.as_bytes()).unwrap();
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(rig.pull().await, Err(TrustCode::AttestationRefused));
    assert_eq!(crate::trust::evidence::all(&host.at("evidence")).unwrap(), []);
}

#[tokio::test]
async fn what_was_kept_is_judged_by_the_terms_and_keys_of_now() {
    let host = Host::new();
    let bundle = host.bundle(&report(9, &["CVE-1"]));
    let any = Terms { conditions: Conditions::Scan(ScanTerms::default()), ..nothing_high() };
    assert_eq!(host.start(any.clone(), listed(std::slice::from_ref(&bundle))).pull().await, Ok(()));
    let start = |terms: Terms, hand: Arc<Hand>| {
        let rig = Host { hand, state: tempfile::tempdir().unwrap() };
        std::fs::create_dir(rig.at("evidence")).unwrap();
        for entry in std::fs::read_dir(host.at("evidence")).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, rig.at("evidence").join(path.file_name().unwrap())).unwrap();
        }
        let started = rig.start(terms, with_image());
        started.fake.fail_with(Some(away()));
        (started, rig)
    };
    let (same, _folder) = start(any.clone(), Arc::clone(&host.hand));
    assert_eq!(same.run().await, Ok(()));
    assert_eq!(same.fake.calls(), [""; 0]);
    assert_eq!(same.pull().await, Err(TrustCode::Unreachable), "a pull asks");
    let (stricter, _folder) = start(nothing_high(), Arc::clone(&host.hand));
    assert_eq!(stricter.run().await, Err(TrustCode::Unreachable));
    let (other, _folder) = start(custom(), Arc::clone(&host.hand));
    assert_eq!(other.run().await, Err(TrustCode::Unreachable));
    let (rekeyed, _folder) = start(any, Arc::new(Hand::new()));
    assert_eq!(rekeyed.run().await, Err(TrustCode::Unreachable));
}

#[tokio::test]
async fn what_could_not_be_fetched_is_not_the_lack_of_a_statement() {
    let host = Host::new();
    let bundles = [host.bundle(&report(8, &[])), host.bundle(&report(9, &[]))];
    let blob = format!("blob {}@{}", app(), Digest::of(bundles[1].as_bytes()));
    let busy = || RegistryError::Busy { host: "localhost:5599".into(), what: "x".into(), status: 429 };
    let rig = host.start(nothing_high(), listed(&bundles));
    rig.fake.fail_call(&blob, busy());
    assert_eq!(rig.pull().await, Err(TrustCode::Busy), "it may be the newest");
    // Where one is enough, it is.
    let tests = [host.bundle(&tested()), host.bundle(&tested().replace("\"ci\"", "\"me\""))];
    let rig = host.start(custom(), listed(&tests));
    rig.fake.fail_call(&format!("blob {}@{}", app(), Digest::of(tests[1].as_bytes())), busy());
    assert_eq!(rig.pull().await, Ok(()));
    let rig = host.start(custom(), listed(&tests[..1]));
    rig.fake.fail_call(&format!("blob {}@{}", app(), Digest::of(tests[0].as_bytes())), busy());
    assert_eq!(rig.pull().await, Err(TrustCode::Busy));
    let gone = host.start(custom(), with_image());
    gone.fake.fail_with(Some(away()));
    assert_eq!(gone.pull().await, Err(TrustCode::Unreachable));
}

#[tokio::test]
async fn what_says_that_it_is_of_another_type_is_not_fetched_and_the_type_is_that_of_what_is_signed() {
    let host = Host::new();
    let (scan, mine) = (host.envelope(&report(9, &[])), host.envelope(&tested()));
    let rig = host.start(custom(), tagged(&[(scan.clone(), SCAN), (mine, CUSTOM)]));
    assert_eq!(rig.pull().await, Ok(()));
    let fetched = format!("blob {}@{}", app(), Digest::of(scan.as_bytes()));
    assert!(!rig.fake.calls().contains(&fetched));
    // A wrong word beside it makes nothing of it.
    assert_eq!(host.start(custom(), tagged(&[(scan, CUSTOM)])).pull().await, Err(TrustCode::NotAttested));
}

#[tokio::test]
async fn what_the_builder_put_beside_the_image_is_said_to_be_unsigned() {
    let host = Host::new();
    let child = json!({
        "mediaType": IMAGE, "digest": digest().to_string(), "size": image().len(),
        "annotations": { "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": digest().to_string() },
        "platform": { "os": "unknown", "architecture": "unknown" },
    });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [child] }).to_string();
    let fake = with_image();
    fake.push(&app(), Some(&tag("1.0")), index.as_bytes()).unwrap();
    let why = host.start(custom(), fake).ask(Purpose::Pull, NOON).await.unwrap_err();
    assert_eq!(why.code, TrustCode::NotAttested);
    assert!(why.to_string().contains("buildx) are not signed"), "{why}");
    assert!(!host.start(custom(), with_image()).why().await.contains("buildx"));
}

#[tokio::test]
async fn a_list_of_several_megabytes_is_read_and_kept_and_one_beyond_the_bound_is_not() {
    let host = Host::new();
    let packages: Vec<Value> = (0..50_000)
        .map(|number| json!({ "name": format!("package-{number}"), "versionInfo": "1.0", "licenseConcluded": "MIT" }))
        .collect();
    let spdx = "https://spdx.dev/Document";
    let large = statement(spdx, &json!({ "spdxVersion": "SPDX-2.3", "packages": packages }));
    assert!(large.len() > 2 << 20);
    let terms = |forbidden: &str| {
        let sbom = SbomTerms { forbid_packages: vec![forbidden.to_owned()], ..SbomTerms::default() };
        Terms { predicate_type: spdx.to_owned(), require: Vec::new(), conditions: Conditions::Sbom(sbom) }
    };
    let bundle = host.bundle(&large);
    let vouch = host.start(terms("evil"), listed(std::slice::from_ref(&bundle))).ask(Purpose::Pull, NOON).await.unwrap();
    let contents = Contents { format: "spdx".to_owned(), packages: 50_000 };
    assert_eq!(vouch.stated().first().map(|stated| stated.facts.clone()), Some(Facts::Sbom(contents)));
    let next = host.start(terms("evil"), with_image());
    next.fake.fail_with(Some(away()));
    assert_eq!(next.run().await, Ok(()), "it is kept");
    assert_eq!(host.says(terms("package-49999@1.0"), bundle).await, Err(TrustCode::AttestationRefused));
    // What is said to be larger than is read is no answer, and is not fetched.
    let fake = with_image();
    let digest = fake.push_blob(&app(), b"x");
    let layer = json!({ "mediaType": BUNDLE, "digest": digest.to_string(), "size": 9 << 20 });
    let huge = fake.push(&app(), None, manifest(&[layer]).as_bytes()).unwrap();
    let entry = json!({ "mediaType": IMAGE, "digest": huge.to_string(), "size": 400, "artifactType": BUNDLE });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }).to_string();
    fake.list(&app(), super::super::cosign::tests::digest(), index.as_bytes()).unwrap();
    assert_eq!(host.start(terms("evil"), fake).pull().await, Err(TrustCode::Invalid));
}

/// test/fixtures/attestations
fn recorded(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("test/fixtures/attestations").join(name)).unwrap()
}

#[tokio::test]
async fn what_the_real_cosign_attested_counts_in_both_its_forms() {
    let key = String::from_utf8(recorded("release.pub")).unwrap();
    let keys = crate::trust::cosign::Keys::read(std::iter::once(("release.pub", &*key))).unwrap();
    let release: VerifierName = "release".parse().unwrap();
    let fake = Fake::new();
    let legacy = fake.push(&app(), None, &recorded("legacy.manifest.json")).unwrap();
    let bundled = fake.push(&app(), None, &recorded("bundle.manifest.json")).unwrap();
    let envelope = recorded("envelope.json");
    let layer = json!({ "mediaType": ENVELOPE, "digest": fake.push_blob(&app(), &envelope).to_string(), "size": envelope.len() });
    let att: Tag = format!("sha256-{}.att", legacy.hex()).parse().unwrap();
    fake.push(&app(), Some(&att), manifest(&[layer]).as_bytes()).unwrap();
    let entry = pointing(&fake, BUNDLE, &recorded("bundle.json"));
    let list = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] }).to_string();
    fake.push(&app(), list_tag(&bundled).as_ref(), list.as_bytes()).unwrap();
    let (fake, state) = (Arc::new(fake) as Arc<dyn Api>, tempfile::tempdir().unwrap());
    let signer = CosignVerifier::new(release.clone(), keys, Arc::clone(&fake)).scheme();
    let newest = Newest::kept_in(state.path().to_owned());
    let verifier = AttestationVerifier::new("scanned".parse().unwrap(), (&release, signer), nothing_high(), newest, fake);
    for digest in [legacy, bundled] {
        let asking = Asking {
            purpose: Purpose::Run,
            now: "2026-12-01T00:00:00Z".parse().unwrap(),
            deadline: Instant::now() + Duration::from_secs(8),
        };
        let vouch = verifier.vouch(&app(), &Question::AnyOf(vec![digest]), asking).await.unwrap();
        assert_eq!(vouch.signers(), ["release.pub"]);
        let Some(Facts::Scan(found)) = vouch.stated().first().map(|stated| stated.facts.clone()) else { panic!("{vouch:?}") };
        assert_eq!((&*found.scanner, found.worst.len()), ("pkg:github/aquasecurity/trivy@0.60", 0));
    }
}

#[tokio::test]
async fn an_older_scan_that_is_carried_here_takes_no_newer_ones_place() {
    let host = Host::new();
    let carried = async |bundles: &[String]| {
        let fake = listed(bundles);
        let wanted = Wanted::Digest(digest());
        let deadline = Instant::now() + Duration::from_secs(8);
        Arc::new(crate::trust::beside::Beside::of(&fake, &app(), &wanted, deadline).await.unwrap().carried)
    };
    let import = async |bundles: &[String]| {
        let rig = host.start(nothing_high(), with_image());
        rig.fake.fail_with(Some(away()));
        let asking =
            Asking { purpose: Purpose::Pull, now: NOON.parse().unwrap(), deadline: Instant::now() + Duration::from_secs(8) };
        let keeping = crate::trust::Keeping::Keeps { undoes_withdrawal: false };
        let (repository, carried) = (app(), carried(bundles).await);
        let answer = rig.verifier.by_carried(carried, (&repository, digest()), asking, keeping).unwrap().await;
        (answer.map(|_| ()).map_err(|error| error.code), rig.run().await)
    };
    let (old, new, newer) = (host.bundle(&report(8, &[])), host.bundle(&report(9, &["CVE-1"])), host.bundle(&report(10, &[])));
    assert_eq!(import(std::slice::from_ref(&old)).await, (Ok(()), Ok(())));
    // The newer one refuses, and what was kept of the older counts no more.
    assert_eq!(import(&[old.clone(), new]).await, (Err(TrustCode::AttestationRefused), Err(TrustCode::Unreachable)));
    assert_eq!(import(std::slice::from_ref(&old)).await, (Err(TrustCode::RolledBack), Err(TrustCode::Unreachable)));
    assert_eq!(import(&[]).await, (Err(TrustCode::RolledBack), Err(TrustCode::Unreachable)));
    assert_eq!(import(&[old, newer]).await, (Ok(()), Ok(())));
    let stranger = Hand::new().bundle(&report(11, &[])).to_string();
    assert_eq!(import(&[stranger]).await.0, Err(TrustCode::RolledBack));
}
