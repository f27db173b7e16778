//! The host of the tests: an engine, a verifier and a journal in memory, and the calls that are judged.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::MemoryJournal;
use crate::engine::{Container, Fake, Image, Plugin, Store};
use crate::gate::{Approvals, DecisionLimits, Gate, Identity, Rules};
use crate::image::{Digest, ImageConfig, ImageName, Reference};
use crate::policy::{Policy, Posture, Verdict};
use crate::request::{Create, Intent, Pull, Pulled, Start, StartAction};
use crate::trust::{Binding, Fake as Notary, VerifierName};
use crate::wire::{Answer, Call};

pub(super) const GOOD: &str = "r.example/team/good:1";

pub(super) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

pub(super) fn policy(posture: Posture) -> Policy {
    Policy::of(posture, "r.example", &VerifierName::NOTARY, Binding::TagToDigest)
}

/// An image of the classic store: its id is `<name> config`, it was pulled as `<repository>@<name> manifest`.
pub(super) fn image(name: &str, tags: &[&str], pulled: &[&str]) -> Image {
    Image {
        id: digest(&format!("{name} config")),
        store: Some(Store::Classic),
        repo_tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
        repo_digests: pulled.iter().map(|from| (from.parse().unwrap(), digest(&format!("{name} manifest")))).collect(),
        config: ImageConfig::default(),
    }
}

pub(super) fn container(id: char, name: &str, image: Option<Digest>) -> Container {
    Container {
        id: id.to_string().repeat(64).parse().unwrap(),
        name: name.to_owned(),
        image,
        manifest: None,
        platform: None,
        image_ref: String::new(),
        runs_as: crate::image::RunsAs::default(),
        mounts: Vec::new(),
        running: false,
        started_at: None,
    }
}

pub(super) struct House {
    pub(super) gate: Arc<Gate>,
    pub(super) engine: Arc<Fake>,
    pub(super) journal: Arc<MemoryJournal>,
}

/// A host with a signed image, an evil one, and a Notary that vouches for the signed one.
pub(super) fn house() -> House {
    house_with(policy(Posture::Images), Notary::default().with(GOOD, digest("good manifest")))
}

pub(super) fn house_with(policy: Policy, notary: Notary) -> House {
    let engine = Arc::new(Fake::new());
    engine.put_image(image("good", &[GOOD], &["r.example/team/good"]));
    engine.put_image(image("evil", &["evil.example/evil:1"], &["evil.example/evil"]));
    let journal = Arc::new(MemoryJournal::default());
    let rules = Rules::Good { policy, verifiers: vec![Arc::new(notary)], registry: None };
    let limits = DecisionLimits {
        decision: Duration::from_millis(400),
        name: Duration::from_millis(200),
        look: Duration::from_millis(200),
        after: Duration::from_millis(200),
        places: 64,
    };
    let workers = tokio::runtime::Handle::current();
    let gate = Gate::new(rules, engine.clone(), journal.clone(), Approvals::in_memory(), Identity::default(), workers);
    House { gate: Arc::new(gate.with_limits(limits)), engine, journal }
}

/// The gate of such a host, with a log of its own.
pub(super) fn house_that_records(journal: Arc<dyn crate::audit::Journal>) -> Gate {
    let engine = Arc::new(Fake::new());
    engine.put_image(image("good", &[GOOD], &["r.example/team/good"]));
    let notary = Notary::default().with(GOOD, digest("good manifest"));
    let rules = Rules::Good { policy: policy(Posture::Images), verifiers: vec![Arc::new(notary)], registry: None };
    let workers = tokio::runtime::Handle::current();
    Gate::new(rules, engine, journal, Approvals::in_memory(), Identity::default(), workers)
}

impl House {
    /// `allow`, or the refusal's code.
    pub(super) async fn says(&self, intent: &Intent) -> &'static str {
        match self.gate.judge(intent).await.verdict {
            Verdict::Allow(_) => "allow",
            Verdict::WouldDeny(reason) | Verdict::Deny(reason) => reason.code(),
        }
    }

    /// A call's answer, as dockerd gets it.
    pub(super) async fn lives(&self, method: &str, uri: &str) -> Answer {
        let call = Call { method: method.into(), uri: uri.into(), ..call_without_body() };
        self.gate.request(Ok((call, sent(method, uri)))).await
    }

    /// The end of a call, as dockerd posts it.
    pub(super) async fn ends(&self, method: &str, uri: &str) {
        self.gate.response(&Call { method: method.into(), uri: uri.into(), ..call_without_body() }).await;
    }

    pub(super) fn is_enabled_later(&self, plugin: &str, content: &str) {
        let id = digest(plugin).hex();
        self.engine.put_plugin(Plugin { id, name: plugin.into(), digest: Some(digest(content)), ..Plugin::default() });
    }
}

pub(super) fn create(image: &str) -> Intent {
    Intent::Create(Box::new(Create { image: Some(ImageName::parse(image).unwrap()), ..Create::default() }))
}

pub(super) fn start(container: &str) -> Intent {
    Intent::Start(Start { container: container.to_owned(), action: StartAction::Start, extra: None, terms: None })
}

pub(super) fn pull(reference: &str) -> Intent {
    let reference: Reference = reference.parse().unwrap();
    let what = match (reference.digest, reference.tag) {
        (Some(digest), _) => Pulled::Digest(digest),
        (None, Some(tag)) => Pulled::Tag(tag),
        (None, None) => Pulled::AllTags,
    };
    Intent::Pull(Pull { repository: reference.repository, what })
}

/// A gate that is the managed plugin `own/gate:1`, on an engine with another plugin beside it.
pub(super) fn managed(posture: Posture) -> House {
    let engine = Arc::new(Fake::new());
    let id = format!("5a{}", "0".repeat(62));
    engine.put_plugin(Plugin {
        id: id.clone(),
        name: "own/gate:1".into(),
        enabled: true,
        digest: Some(digest("own")),
        ..Plugin::default()
    });
    engine.put_plugin(Plugin {
        id: "b".repeat(64),
        name: "other:latest".into(),
        enabled: true,
        digest: Some(digest("other")),
        ..Plugin::default()
    });
    let rules = Rules::Good {
        policy: policy(posture),
        verifiers: vec![Arc::new(Notary::default().with(GOOD, digest("good manifest")))],
        registry: None,
    };
    let journal = Arc::new(MemoryJournal::default());
    let workers = tokio::runtime::Handle::current();
    let gate = Gate::new(rules, engine.clone(), journal.clone(), Approvals::in_memory(), Identity::managed(&id), workers);
    House { gate: Arc::new(gate), engine, journal }
}

/// What a client sends, read as dockerd posts it.
pub(super) fn sent(method: &str, uri: &str) -> Intent {
    Intent::of(&Call { method: method.into(), uri: uri.into(), ..call_without_body() })
}

pub(super) fn call_without_body() -> Call {
    Call {
        user: String::new(),
        user_authn_method: String::new(),
        method: String::new(),
        uri: String::new(),
        headers: [("Content-Length".to_owned(), "0".to_owned())].into(),
        body: None,
        outcome: None,
        certificate: None,
    }
}

pub(super) fn started_call(status: Option<u16>) -> Call {
    let text = r#"{"RequestMethod":"POST","RequestUri":"/containers/web/start","RequestHeaders":{"Content-Length":"0"}}"#;
    let outcome = status.map(|status| crate::wire::Outcome { status, body: None });
    Call { outcome, ..Call::decode(text.as_bytes()).unwrap() }
}

pub(super) fn refused(answer: &Answer) -> &str {
    match answer {
        Answer::Allow => "allow",
        Answer::Deny(message) => message.split(':').next().unwrap_or_default(),
    }
}
