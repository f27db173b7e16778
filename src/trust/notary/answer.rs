//! The answer: what verified trust data says to a question, on what was just checked, was imported, or is left where the server is
//! gone.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::error::NotaryError;
use super::memory::{Entry, Known};
use super::{CLOCK_STEP, Inner, OnOutage, lock};
use crate::image::Repository;
use crate::trust::tuf::{Fault, Knowledge, Refusal, SignedTag};
use crate::trust::{Freshness, Hashed, Question, TrustError, Vouch};

impl Inner {
    /// The answer on what was just checked, or looked for.
    pub(super) fn current(&self, entry: &Entry, known: &Known, question: &Question, now: Timestamp) -> Result<Vouch, TrustError> {
        match self.session {
            Some(_) => Ok(self.answer(&entry.repository, &known.knowledge, question, Freshness::Fresh, now)?),
            None => Ok(self.imported(entry, known, question, now)?),
        }
    }

    /// An answer without the server, for what is on the host already.
    pub(super) fn without(
        &self,
        entry: &Entry,
        question: &Question,
        error: TrustError,
        now: Timestamp,
    ) -> Result<Vouch, TrustError> {
        let (known, refused) = entry.remembered();
        if let Some(bad) = refused {
            return Err(bad.error);
        }
        let Some(known) = known.filter(|_| self.on_outage == OnOutage::UseKnown) else { return Err(error) };
        let known = self.proven(entry, known, now).map_err(|fault| NotaryError::of(fault, &entry.repository, true))?;
        let since = known.since;
        if self.outdated(&known, now) {
            return Err(NotaryError::KnownTooLongAgo { outage: Box::new(error), since, is_ahead: now < since }.into());
        }
        let mut vouch = self.answer(&entry.repository, &known.knowledge, question, Freshness::Stale { since }, now)?;
        // It is used no longer than that, whatever its own dates say.
        let end = SignedDuration::try_from(self.stale_limit).ok().and_then(|limit| since.checked_add(limit).ok());
        vouch.expires = vouch.expires.into_iter().chain(end).min();
        Ok(vouch)
    }

    /// The same, its root found to pass pins and dates now; the next who asks need not find that out again.
    pub(super) fn proven(&self, entry: &Entry, known: Known, now: Timestamp) -> Result<Known, Fault> {
        if known.knowledge.is_proven(&self.pins, now) {
            return Ok(known);
        }
        let proven = Known { knowledge: Arc::new(known.knowledge.proven(&self.pins, now)?), ..known };
        let mut remembered = lock(&entry.now);
        if let Some(before) = &mut remembered.known
            && Arc::ptr_eq(&before.knowledge, &known.knowledge)
        {
            before.knowledge = Arc::clone(&proven.knowledge);
        }
        Ok(proven)
    }

    /// Whether the last check with the server is longer ago than knowledge may be used without it. A clock behind that check
    /// cannot tell; within one process the steady one can.
    fn outdated(&self, known: &Known, now: Timestamp) -> bool {
        let age = now.duration_since(known.since);
        let limit = SignedDuration::try_from(self.stale_limit).unwrap_or(SignedDuration::MAX);
        match known.checked.filter(|_| self.session.is_some()) {
            Some((at, _)) => age > limit || at.elapsed() > self.stale_limit,
            None => age > limit || age < -CLOCK_STEP,
        }
    }

    /// The answer on what was imported.
    fn imported(&self, entry: &Entry, known: &Known, question: &Question, now: Timestamp) -> Result<Vouch, NotaryError> {
        let since = known.since;
        if self.outdated(known, now) {
            return Err(NotaryError::ImportOutdated { repository: entry.repository.clone(), since });
        }
        self.answer(&entry.repository, &known.knowledge, question, Freshness::Imported { since }, now)
            .map_err(NotaryError::imported)
    }

    fn answer(
        &self,
        repository: &Repository,
        knowledge: &Knowledge,
        question: &Question,
        freshness: Freshness,
        now: Timestamp,
    ) -> Result<Vouch, NotaryError> {
        // A pin counts at once, also for what was kept before it was set.
        if freshness != Freshness::Fresh && !knowledge.is_proven(&self.pins, now) {
            knowledge.proven(&self.pins, now).map_err(|fault| NotaryError::of(fault, repository, true))?;
        }
        let require = self.require.of(repository);
        let answer = match question {
            Question::Tag(tag) => knowledge.tag(tag, require, now),
            // What is signed is a manifest or an index, and never an image id.
            Question::AnyOf(digests) | Question::Content { digests, .. } => knowledge.any_of(digests, require, now),
        };
        match answer {
            Ok(SignedTag { digest, tags, role, signers, expires }) => Ok(Vouch {
                repository: repository.clone(),
                digest,
                hashed: Hashed::Manifest,
                verifier: self.name.clone(),
                tags,
                role: role.to_string(),
                signers,
                expires: Some(expires),
                signed_at: None,
                freshness,
                scheme: None,
            }),
            Err(Refusal::NotSigned(why)) => Err(NotaryError::NotSigned { repository: repository.clone(), why }),
            Err(Refusal::SignerMissing { signer, why }) => Err(NotaryError::SignerMissing { signer, why }),
            Err(Refusal::Fault(fault)) => Err(NotaryError::of(fault, repository, true)),
        }
    }
}
