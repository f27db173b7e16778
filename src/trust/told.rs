//! The word of a case: what a verifier would say, as whoever writes the case says it. It proves nothing, and is for cases of `policy test`
//! and `policy diff` alone: the gate that serves never has one (`test/it/architecture.rs` sees to that).

use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;

use super::notary::{NotaryError, RequiredSigners};
use super::{Asking, Binding, Question, TrustCode, TrustError, Verifier, VerifierName, Vouch, Vouching};
use crate::image::{Digest, Repository, Tag};

/// A verifier that says what it was told to say.
#[derive(Debug)]
pub struct CaseVerifier {
    name: VerifierName,
    binding: Binding,
    /// The signers that must agree, where the verifier is a Notary.
    required: RequiredSigners,
    words: Vec<Word>,
    refusal: Option<TrustCode>,
    /// Somebody asked.
    is_asked: AtomicBool,
}

/// What it vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// For which repository.
    pub repository: Repository,
    /// Which manifest.
    pub digest: Digest,
    /// Under which tag.
    pub tag: Option<Tag>,
    /// Who signed; `None`: all that are required.
    pub signers: Option<Vec<String>>,
    /// When.
    pub signed_at: Option<Timestamp>,
}

impl CaseVerifier {
    /// One that says these words, and no to everything else.
    #[must_use]
    pub fn new(name: VerifierName, binding: Binding, required: RequiredSigners, words: Vec<Word>) -> Self {
        Self { name, binding, required, words, refusal: None, is_asked: AtomicBool::new(false) }
    }

    /// The same, which answers every question like this.
    #[must_use]
    pub fn refusing(self, refusal: Option<TrustCode>) -> Self {
        Self { refusal, ..self }
    }

    /// Whether somebody has asked it.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed)
    }

    fn answer(&self, repository: &Repository, question: &Question) -> Result<Vouch, TrustError> {
        self.is_asked.store(true, Ordering::Relaxed);
        if let Some(code) = self.refusal {
            return Err(TrustError::new(code, "the case says so (`refused_by`)"));
        }
        let answers = |word: &&Word| {
            word.repository == *repository
                && match question {
                    Question::Tag(tag) => word.tag.as_ref() == Some(tag),
                    Question::AnyOf(digests) | Question::Content { digests, .. } => digests.contains(&word.digest),
                }
        };
        let Some(word) = self.words.iter().find(answers) else {
            let code = match self.binding {
                Binding::TagToDigest | Binding::Digest => TrustCode::NotSigned,
                Binding::Listed => TrustCode::NotListed,
                Binding::Held => TrustCode::NotInRegistry,
            };
            return Err(TrustError::new(code, format!("no `vouched_by` of the case says so of `{repository}`")));
        };
        let required = self.required.of(repository);
        let signers = match &word.signers {
            None => required.iter().map(|role| role.signer().to_owned()).collect(),
            Some(signers) => {
                if let Some(missing) = required.iter().find(|role| !signers.iter().any(|signer| signer == role.signer())) {
                    let why = "is not among the `signers` of the case".to_owned();
                    return Err(NotaryError::SignerMissing { signer: missing.clone(), why }.into());
                }
                signers.clone()
            }
        };
        let vouch = Vouch::new(&self.name, repository.clone(), word.digest);
        let vouch = vouch.under(word.tag.iter().cloned().collect()).signed_by(signers);
        Ok(match word.signed_at {
            Some(at) => vouch.at(at),
            None => vouch,
        })
    }
}

impl Verifier for CaseVerifier {
    fn name(&self) -> &VerifierName {
        &self.name
    }

    fn binding(&self) -> Binding {
        self.binding
    }

    fn ready(&self, repository: &Repository, question: &Question, _: Timestamp) -> Option<Result<Vouch, TrustError>> {
        Some(self.answer(repository, question))
    }

    fn vouch<'a>(&'a self, repository: &'a Repository, question: &'a Question, _: Asking) -> Vouching<'a> {
        Box::pin(std::future::ready(self.answer(repository, question)))
    }
}
