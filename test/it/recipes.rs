//! A verifier and a rule that are made up here, outside the library, join a gate through public traits alone, and are asked, recorded and
//! explained like those it brings (docs/architecture.md, "Where to add …").

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use img_authz::audit::{Entry, Journal, Recorded};
use img_authz::engine::{Fake, Image, Store};
use img_authz::gate::{Approvals, Gate, Identity, Rules};
use img_authz::image::{Digest, ImageConfig, Repository, Tag};
use img_authz::policy::{Policy, Posture, Reason, Request, Requirement, Rule, Scope, Scopes};
use img_authz::request::Intent;
use img_authz::trust::{Asking, Binding, Question, TrustCode, TrustError, Verifier, VerifierName, Vouch, Vouching};
use img_authz::wire::Answer as Said;
use jiff::Timestamp;

/// Vouches for one digest, whatever tag it has.
struct Ledger {
    name: VerifierName,
    good: Digest,
    asked: AtomicUsize,
}

impl Verifier for Ledger {
    fn name(&self) -> &VerifierName {
        &self.name
    }

    fn binding(&self) -> Binding {
        Binding::Digest
    }

    fn ready(&self, _: &Repository, _: &Question, _: Timestamp) -> Option<Result<Vouch, TrustError>> {
        None
    }

    fn vouch<'a>(&'a self, repository: &'a Repository, question: &'a Question, _: Asking) -> Vouching<'a> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match question {
                Question::AnyOf(digests) if digests.contains(&self.good) => {
                    Ok(Vouch::new(&self.name, repository.clone(), self.good)
                        .signed_by(vec!["carol".to_owned()])
                        .until(Timestamp::MAX))
                }
                _ => Err(TrustError::new(TrustCode::NotSigned, "the ledger has no line about it")),
            }
        })
    }
}

/// What is called `latest` is not created.
#[derive(Debug)]
struct NoLatest;

impl Rule for NoLatest {
    fn id(&self) -> &'static str {
        "no-latest"
    }

    fn forbids(&self, _: &Policy, request: &Request<'_>) -> Option<Reason> {
        let Intent::Create(create) = request.intent else { return None };
        let reference = create.image.as_ref()?.reference()?;
        (reference.tag == Some(Tag::latest())).then(|| Reason::Rule {
            code: self.id(),
            evidence: format!("`{reference}` is called latest"),
            remedy: "use a tag that says which",
        })
    }
}

#[derive(Default)]
struct Notes(Mutex<Vec<Entry>>);

impl Journal for Notes {
    fn record(&self, entry: &Entry) -> Recorded {
        self.0.lock().unwrap().push(entry.clone());
        Recorded::Kept
    }

    fn lost(&self) -> u64 {
        0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verifier_and_a_rule_from_elsewhere_join_a_gate() {
    let name: VerifierName = "ledger".parse().unwrap();
    let (good, evil) = (Digest::of(b"good"), Digest::of(b"evil"));
    let engine = Arc::new(Fake::new());
    for (tags, id) in [(&["good:1", "good:latest"][..], good), (&["evil:1"], evil)] {
        engine.put_image(Image {
            id,
            store: Some(Store::Containerd),
            repo_tags: tags.iter().map(|tag| format!("r.example/{tag}").parse().unwrap()).collect(),
            repo_digests: Vec::new(),
            config: ImageConfig::default(),
        });
    }
    let require = Requirement::All(vec![Requirement::One(name.clone())]);
    let mut policy = Policy {
        verifiers: BTreeMap::from([(name.clone(), Binding::Digest)]),
        scopes: Scopes::new(vec![Scope::of_registry(&"r.example".parse().unwrap(), require)]),
        ..Policy::closed(Posture::Images)
    };
    policy.rules.add(Arc::new(NoLatest));
    let ledger = Arc::new(Ledger { name, good, asked: AtomicUsize::new(0) });
    let rules = Rules::Good { policy, verifiers: vec![Arc::clone(&ledger) as Arc<dyn Verifier>], registry: None };
    let notes = Arc::new(Notes::default());
    let workers = tokio::runtime::Handle::current();
    let gate =
        Gate::new(rules, engine, Arc::clone(&notes) as Arc<dyn Journal>, Approvals::in_memory(), Identity::default(), workers);
    let create = async |image: &str| {
        let body = base64::engine::general_purpose::STANDARD.encode(format!(r#"{{"Image":"{image}"}}"#));
        let post = serde_json::json!({
            "RequestMethod": "POST", "RequestUri": "/v1.43/containers/create", "RequestBody": body,
            "RequestHeaders": { "Content-Type": "application/json" },
        });
        gate.request(Gate::read(post.to_string().as_bytes(), gate.manner())).await
    };
    assert_eq!(create("r.example/good:1").await, Said::Allow);
    let refused = |answer: Said| match answer {
        Said::Deny(message) => message,
        Said::Allow => panic!("allowed"),
    };
    // The one by the verifier, the other by the rule, which is asked before anybody else.
    assert!(
        refused(create("r.example/evil:1").await)
            .starts_with("not-signed: `r.example/evil:1`: the ledger has no line about it; ")
    );
    assert_eq!(ledger.asked.load(Ordering::Relaxed), 2);
    assert_eq!(
        refused(create("r.example/good").await),
        "no-latest: `r.example/good:latest` is called latest; use a tag that says which"
    );
    assert_eq!(ledger.asked.load(Ordering::Relaxed), 2);
    let notes = notes.0.lock().unwrap();
    let told: Vec<_> = notes.iter().map(|entry| (entry.code, entry.verifiers.as_slice(), entry.signers.as_slice())).collect();
    let (by, carol) = ([ledger.name.clone()], ["carol".to_owned()]);
    assert_eq!(told, [("", &by[..], &carol[..]), ("not-signed", &[], &[]), ("no-latest", &[], &[])]);
}
