//! The seam: who can be asked about an image.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use jiff::Timestamp;

use super::signatures::Keeping;
use super::{Asking, Binding, Question, TrustError, VerifierName, Vouch};
use crate::image::{Digest, Repository};
use crate::registry::Api;

/// An answer on its way.
pub type Vouching<'a> = Pin<Box<dyn Future<Output = Result<Vouch, TrustError>> + Send + 'a>>;

/// What a verifier that asks a server can tell of itself. No names of repositories: clients choose those, and could choose
/// endlessly many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Checks with the server so far, by what came of them: `good`, or a code.
    pub checks: BTreeMap<&'static str, u64>,
    /// When the server was last asked with success.
    pub last_good: Option<Timestamp>,
    /// Whether the server answered last time; `None` before the first.
    pub is_reachable: Option<bool>,
    /// Repositories known, by state: `good`, `expiring`, `expired`, `refused`.
    pub repositories: BTreeMap<&'static str, u64>,
    /// When the first file of each kind of role expires.
    pub expires: BTreeMap<&'static str, Timestamp>,
}

/// What a verifier that is a file can tell of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListStats {
    /// Whether the file as it is now is in force.
    pub is_good: bool,
    /// Entries in force.
    pub entries: usize,
    /// The serial of what is in force, where that must be signed.
    pub serial: Option<u64>,
}

/// Someone who vouches for images, or does not.
pub trait Verifier: Send + Sync {
    /// What this is called.
    fn name(&self) -> &VerifierName;

    /// What its yes binds.
    fn binding(&self) -> Binding;

    /// The answer, if it is known without asking anyone: no I/O, no waiting. Called on the serving thread.
    fn ready(&self, repository: &Repository, question: &Question, now: Timestamp) -> Option<Result<Vouch, TrustError>>;

    /// Whether a pull asks, also where [`Verifier::ready`] knows an answer.
    fn asks_at_pull(&self) -> bool {
        false
    }

    /// The answer, asked for where it must be; ends by the deadline.
    fn vouch<'a>(&'a self, repository: &'a Repository, question: &'a Question, asking: Asking) -> Vouching<'a>;

    /// The answer by what was carried here in place of its registry, and by nothing else; `None`: it does not go by what lies in registries.
    fn by_carried<'a>(
        &'a self,
        _carried: Arc<dyn Api>,
        _image: (&'a Repository, Digest),
        _asking: Asking,
        _keeping: Keeping,
    ) -> Option<Vouching<'a>> {
        None
    }

    /// Since when its server is out of reach; `None`: it is not, or nobody asked, or there is none.
    fn out_since(&self) -> Option<Timestamp> {
        None
    }

    /// What it can tell of its file; nothing where it is none.
    fn list(&self) -> Option<ListStats> {
        None
    }

    /// What it can tell of itself; nothing where it asks no server.
    fn stats(&self, _now: Timestamp) -> Option<Stats> {
        None
    }
}

/// A verifier in memory, for tests of other rooms.
#[cfg(test)]
#[derive(Default)]
pub struct Fake {
    /// What is vouched for: repository, tag, digest.
    pub vouched: Vec<(Repository, crate::image::Tag, crate::image::Digest)>,
    /// If set, the answer to every question.
    pub failure: Option<TrustError>,
    /// Never answers at all.
    pub hangs: bool,
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a fake in tests")]
impl Fake {
    /// Vouches for `digest` as `reference` (`repository:tag`).
    #[must_use]
    pub fn with(mut self, reference: &str, digest: crate::image::Digest) -> Self {
        let reference: crate::image::Reference = reference.parse().unwrap();
        self.vouched.push((reference.repository, reference.tag.unwrap(), digest));
        self
    }

    fn answer(&self, repository: &Repository, question: &Question) -> Result<Vouch, TrustError> {
        let fits = |(owner, tag, digest): &&(Repository, crate::image::Tag, crate::image::Digest)| {
            owner == repository
                && match question {
                    Question::Tag(wanted) => wanted == tag,
                    Question::AnyOf(digests) | Question::Content { digests, .. } => digests.contains(digest),
                }
        };
        match self.vouched.iter().find(fits) {
            Some((owner, tag, digest)) => Ok(Vouch::new(&VerifierName::NOTARY, owner.clone(), *digest)
                .under(vec![tag.clone()])
                .signed_by(vec!["alice".to_owned()])),
            None => Err(TrustError::new(super::TrustCode::NotSigned, "not signed")),
        }
    }
}

#[cfg(test)]
impl Verifier for Fake {
    fn name(&self) -> &VerifierName {
        &VerifierName::NOTARY
    }

    fn binding(&self) -> Binding {
        Binding::TagToDigest
    }

    /// A yes is known at once, as with the real ones inside their window; a no is asked about.
    fn ready(&self, repository: &Repository, question: &Question, _: Timestamp) -> Option<Result<Vouch, TrustError>> {
        let silent = self.hangs || self.failure.is_some();
        (!silent).then(|| self.answer(repository, question)).filter(Result::is_ok)
    }

    fn vouch<'a>(&'a self, repository: &'a Repository, question: &'a Question, _: Asking) -> Vouching<'a> {
        Box::pin(async move {
            if self.hangs {
                std::future::pending::<()>().await;
            }
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            self.answer(repository, question)
        })
    }
}
