//! The word of a case: what a verifier would say, as whoever writes the case says it. It proves nothing, and is for cases of `policy test`
//! and `policy diff` alone: the gate that serves never has one (`test/it/architecture.rs` sees to that).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;

use super::notary::{NotaryError, RequiredSigners};
use super::stated::Stated;
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
    /// What it said to every question that was put to it, where it was recorded.
    answers: Option<Answers>,
    /// What is stated of an image that it vouches for, where the verifier goes by statements.
    stated: Option<Arc<Stated>>,
    /// Somebody asked.
    is_asked: AtomicBool,
    /// Somebody asked what nobody has asked while it was recorded.
    is_new: AtomicBool,
}

/// What a verifier was heard to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    /// The repositories that it was asked about; a code is a no, none of these a yes with a [`Word`].
    pub of: BTreeMap<Repository, Option<TrustCode>>,
    /// What is taken for its answer about others: that it vouches for this content, or no.
    pub to_others: Option<Digest>,
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
        Self {
            name,
            binding,
            required,
            words,
            refusal: None,
            answers: None,
            stated: None,
            is_asked: AtomicBool::new(false),
            is_new: AtomicBool::new(false),
        }
    }

    /// The same, which answers every question like this.
    #[must_use]
    pub fn refusing(self, refusal: Option<TrustCode>) -> Self {
        Self { refusal, ..self }
    }

    /// The same, of a verifier that goes by statements such as this.
    #[must_use]
    pub fn stating(self, stated: Option<Arc<Stated>>) -> Self {
        Self { stated, ..self }
    }

    /// The same, which was heard to say these, and no more.
    #[must_use]
    pub fn heard(self, answers: Answers) -> Self {
        Self { answers: Some(answers), ..self }
    }

    /// Whether somebody has asked what it was not heard to answer.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new.load(Ordering::Relaxed)
    }

    /// Whether somebody has asked it.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed)
    }

    fn answer(&self, repository: &Repository, question: &Question) -> Result<Vouch, TrustError> {
        self.is_asked.store(true, Ordering::Relaxed);
        if let Some(answers) = &self.answers {
            match answers.of.get(repository) {
                Some(Some(code)) => return Err(TrustError::new(*code, "it said so when it was recorded")),
                Some(None) => {}
                None => return self.to_new(answers, repository, question),
            }
        } else if let Some(code) = self.refusal {
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
            return Err(TrustError::new(self.no(), format!("no `vouched_by` of the case says so of `{repository}`")));
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
        // Asked about a tag it says so of that tag; about digests, of all under which they are signed.
        let is_same = |other: &&Word| other.repository == word.repository && other.digest == word.digest;
        let tags = match question {
            Question::Tag(tag) => vec![tag.clone()],
            Question::AnyOf(_) | Question::Content { .. } => {
                self.words.iter().filter(is_same).filter_map(|word| word.tag.clone()).collect()
            }
        };
        let vouch = vouch.under(tags).signed_by(signers).stating(self.stated.iter().cloned().collect());
        Ok(match word.signed_at {
            Some(at) => vouch.at(at),
            None => vouch,
        })
    }

    /// What is taken for the answer to a question that nobody has put while it was recorded.
    fn to_new(&self, answers: &Answers, repository: &Repository, question: &Question) -> Result<Vouch, TrustError> {
        self.is_new.store(true, Ordering::Relaxed);
        let Some(digest) = answers.to_others else {
            return Err(TrustError::new(self.no(), format!("it was not asked about `{repository}` while it was recorded")));
        };
        let tags = match question {
            Question::Tag(tag) => vec![tag.clone()],
            Question::AnyOf(_) | Question::Content { .. } => Vec::new(),
        };
        let signers = self.required.of(repository).iter().map(|role| role.signer().to_owned()).collect();
        Ok(Vouch::new(&self.name, repository.clone(), digest).under(tags).signed_by(signers))
    }

    /// How such a verifier says that it does not vouch.
    const fn no(&self) -> TrustCode {
        match self.binding {
            Binding::TagToDigest | Binding::Digest => TrustCode::NotSigned,
            Binding::Listed => TrustCode::NotListed,
            Binding::Held => TrustCode::NotInRegistry,
        }
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
