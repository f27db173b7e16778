//! What a case ends in, and how cases are run.

use std::sync::Arc;

use img_authz::image::{Digest, Repository, Tag};
use img_authz::trust::tuf::{Failure, FaultKind, Knowledge, MetadataLimits, Pins, Refusal, Subject, load, update};
use jiff::Timestamp;
use serde_json::Value;

use super::support::End::{Fault, NotSigned, TooLarge, Yes};
use crate::support::trust_repo::*;

/// What a case ends in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The tag has this content.
    Yes(&'static str),
    /// A fault of this kind, at update or when asked.
    Fault(FaultKind),
    /// Verified, and the tag is not signed.
    NotSigned,
    /// The source was asked for more than it gave, or refused.
    TooLarge,
}

pub fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub fn subject(pins: &Arc<Pins>, known: Option<Arc<Knowledge>>) -> Subject {
    Subject { repository: GUN.parse().unwrap(), pins: Arc::clone(pins), limits: MetadataLimits::default(), known }
}

pub fn learn(files: &Files, pins: &Arc<Pins>, known: Option<Arc<Knowledge>>, at: Timestamp) -> Result<Knowledge, End> {
    match run(update(&Served(Arc::new(files.clone())), &subject(pins, known), at)) {
        Ok(knowledge) => Ok(knowledge),
        Err(Failure::Fault(fault)) => {
            assert!(!fault.why.contains('\n'));
            Err(Fault(fault.kind))
        }
        Err(Failure::Fetch(_)) => Err(TooLarge),
    }
}

pub fn ask(knowledge: &Knowledge, tag: &str) -> End {
    let one = |text: &'static str| digest(text).parse::<Digest>().unwrap();
    match knowledge.tag(&tag.parse::<Tag>().unwrap(), &[], now()) {
        Ok(yes) if yes.digest == one("one") => {
            assert_eq!(knowledge.any_of(&[one("one")], &[], now()).map(|yes| yes.digest), Ok(one("one")));
            Yes("one")
        }
        Ok(yes) if yes.digest == one("two") => Yes("two"),
        Ok(_) => Yes("other"),
        Err(Refusal::NotSigned(_)) => {
            assert!(knowledge.any_of(&[one("evil")], &[], now()).is_err());
            NotSigned
        }
        Err(Refusal::SignerMissing { .. }) => unreachable!("nobody is required"),
        Err(Refusal::Fault(fault)) => Fault(fault.kind),
    }
}

pub fn tofu() -> Arc<Pins> {
    Arc::default()
}

pub fn end_with(files: &Files, pins: &Arc<Pins>, known: Option<Arc<Knowledge>>) -> End {
    match learn(files, pins, known, now()) {
        Ok(knowledge) => {
            // What was verified can be kept, and verifies again.
            let stored = knowledge.stored();
            let again = run(load(&stored, &GUN.parse::<Repository>().unwrap()));
            assert!(again.is_ok_and(|again| again.stored() == stored), "what verified does not load");
            ask(&knowledge, "1.0")
        }
        Err(end) => end,
    }
}

pub fn end(files: &Files) -> End {
    end_with(files, &tofu(), None)
}

/// Runs named cases: a change to a good repository of docker's kind and of notary's, on first use and on a later version.
pub fn cases(list: &[(&str, &dyn Fn(&mut Repo), End)]) {
    for (name, change, expected) in list {
        for kind in ["docker", "notary"] {
            let mut repo = if kind == "docker" { Repo::docker(root_key(GUN)) } else { Repo::new(root_key(GUN)) };
            let good = learn(&repo.publish(), &tofu(), None, now()).unwrap();
            let mut first = repo.clone();
            change(&mut first);
            assert_eq!(end(&first.publish()), *expected, "{name}: {kind}, first use");
            repo.bump();
            change(&mut repo);
            let end = end_with(&repo.publish(), &tofu(), Some(Arc::new(good)));
            assert_eq!(end, *expected, "{name}: {kind}, later");
        }
    }
}

/// The role whose entry answers, in both kinds of repository.
pub fn holder(repo: &Repo) -> &'static str {
    if repo.signed.contains_key("targets/releases") { "targets/releases" } else { "targets" }
}

pub const BASE: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

pub fn pins(text: &Value, bundles: &[(&str, &str)]) -> Arc<Pins> {
    let load = |path: &str| {
        bundles.iter().find(|(name, _)| *name == path).map(|(_, pem)| (*pem).to_owned()).ok_or_else(|| "not there".to_owned())
    };
    Arc::new(Pins::read(&text.to_string(), load).unwrap())
}

pub fn role_name(text: &str) -> img_authz::trust::tuf::RoleName {
    img_authz::trust::tuf::RoleName::delegation(text).unwrap()
}
