//! Verifiers of what is stated about an image: how it was built, what is in it, what a scanner found (docs/adr/0019-attestations.md).
//!
//! A statement is in-toto's, in an envelope that somebody has signed: who, another verifier of the policy says (`signed_by`). Where statements lie,
//! and whether they are signed, is cosign's business ([`super::cosign`]); how they are asked for, kept and ended, that of all signatures beside an
//! image (`super::signatures`). Here is what they say.
//!
//! Of reports of a scan the newest decides, and which that was is remembered (`newest`). Of all others one that keeps the terms is enough.

mod error;
mod licence;
mod newest;
mod provenance;
mod report;
mod sbom;
mod scan;
mod statement;
mod terms;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

pub use self::error::{Unfit, remedy};
use self::newest::{Key, Seen as SeenReports};
pub use self::newest::{Newest, forget};
use self::provenance::Provenance;
pub use self::report::{ScanFile, read_sbom, read_scan};
use self::sbom::Sbom;
use self::scan::Scan;
pub use self::terms::{Conditions, Kind, ProvenanceTerms, Required, SbomTerms, ScanTerms, Terms};
use super::VerifierName;
use super::cosign::{Attested, Cosign, Reader};
use super::evidence::Parts;
use super::signatures::{Found, Good, Hunt, Mark, No, NotSigned, Scheme, Seen, SignatureVerifier};
use super::stated::{Facts, Stated};
use crate::image::{Digest, Repository};
use crate::registry::{Api, Content, Wanted};
use crate::text::{clean, stands_for};

/// Largest statement in which members are looked for by their paths, bytes. Provenance has some 10 KB.
const REQUIRED_BYTES: usize = 1 << 20;
/// How the index of an image names what its builder put beside it.
const BUILDX: (&str, &str) = ("vnd.docker.reference.type", "attestation-manifest");

/// Vouches for images about which something is stated.
pub type AttestationVerifier = SignatureVerifier<Attestation>;

/// What must be stated, and by whom.
pub struct Attestation {
    signer: Arc<Cosign>,
    terms: Terms,
    newest: Arc<Newest>,
    /// What tells the reports that count here from others.
    whose: String,
}

impl fmt::Debug for Attestation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attestation").field("signer", &self.signer).field("terms", &self.terms).finish_non_exhaustive()
    }
}

impl AttestationVerifier {
    /// A verifier of this name, which goes by statements that `signer`, the verifier `signed_by`, has signed.
    #[must_use]
    pub fn new(
        name: VerifierName,
        (signed_by, signer): (&VerifierName, Arc<Cosign>),
        terms: Terms,
        newest: Arc<Newest>,
        registry: Arc<dyn Api>,
    ) -> Self {
        let scanners = match &terms.conditions {
            Conditions::Scan(terms) => terms.scanner.join("\n"),
            Conditions::None | Conditions::Provenance(_) | Conditions::Sbom(_) => String::new(),
        };
        let whose = format!("{signed_by}\n{}\n{scanners}", terms.predicate_type);
        Self::of(name, Attestation { signer, terms, newest, whose }, registry)
    }
}

/// What came of a statement that is signed.
struct Judged {
    stated: Stated,
    /// What of the terms it does not keep.
    broken: Option<Unfit>,
    /// When it will be too old.
    until: Option<Timestamp>,
}

impl Attestation {
    /// What a statement comes to; `None`: it is of a scanner that does not count. An error: nobody can tell.
    fn judge(&self, statement: &[u8], now: Timestamp) -> Result<Option<Judged>, String> {
        if let Some(why) = self.requires(statement)? {
            let stated =
                Stated { predicate_type: self.terms.predicate_type.clone(), at: None, facts: Facts::Other, is_judged: false };
            let broken = Some(Unfit::Refused { why });
            // Of a scan it still has to be known of when it is.
            if Kind::of(&self.terms.predicate_type) != Kind::Scan {
                return Ok(Some(Judged { stated, broken, until: None }));
            }
            return Ok(self.of_kind(statement, now)?.map(|judged| Judged { broken, ..judged }));
        }
        self.of_kind(statement, now)
    }

    fn of_kind(&self, statement: &[u8], now: Timestamp) -> Result<Option<Judged>, String> {
        let stated = |at, facts| Stated {
            predicate_type: self.terms.predicate_type.clone(),
            at,
            facts,
            is_judged: self.terms.judges_findings(),
        };
        let refused = |why: Option<String>| why.map(|why| Unfit::Refused { why });
        let kind = Kind::of(&self.terms.predicate_type);
        Ok(Some(match kind {
            Kind::Provenance02 | Kind::Provenance1 => {
                let said = if kind == Kind::Provenance1 { Provenance::of_1(statement) } else { Provenance::of_0_2(statement) }?;
                let broken = match &self.terms.conditions {
                    Conditions::Provenance(terms) => said.breaks(terms),
                    Conditions::None | Conditions::Sbom(_) | Conditions::Scan(_) => None,
                };
                Judged { stated: stated(said.at, said.facts()), broken: refused(broken), until: None }
            }
            Kind::Spdx | Kind::CycloneDx => {
                let said = Sbom::of_statement(statement, kind)?;
                let broken = match &self.terms.conditions {
                    Conditions::Sbom(terms) => said.breaks(terms),
                    Conditions::None | Conditions::Provenance(_) | Conditions::Scan(_) => None,
                };
                Judged { stated: stated(said.at, said.facts()), broken: refused(broken), until: None }
            }
            Kind::Scan => {
                let said = Scan::of_statement(statement, now)?;
                let none = ScanTerms::default();
                let terms = match &self.terms.conditions {
                    Conditions::Scan(terms) => terms,
                    Conditions::None | Conditions::Provenance(_) | Conditions::Sbom(_) => &none,
                };
                if !said.is_by(terms) {
                    return Ok(None);
                }
                let until = terms.max_age.and_then(|most| said.at.checked_add(SignedDuration::try_from(most).ok()?).ok());
                let is_old = until.is_some_and(|until| now >= until);
                let old = || Unfit::Old { at: said.at, days: terms.max_age.unwrap_or_default().as_secs() / 86_400 };
                let broken = refused(said.breaks(terms)).or_else(|| is_old.then(old));
                Judged { stated: stated(Some(said.at), said.facts()), broken, until }
            }
            Kind::Other => Judged { stated: stated(None, Facts::Other), broken: None, until: None },
        }))
    }

    /// Which member is not what it must be.
    fn requires(&self, statement: &[u8]) -> Result<Option<String>, String> {
        if self.terms.require.is_empty() {
            return Ok(None);
        }
        if statement.len() > REQUIRED_BYTES {
            return Err(format!("it has more than {REQUIRED_BYTES} bytes, too many to look for members (`require`)"));
        }
        let predicate: serde_json::Map<String, serde_json::Value> = statement::predicate(statement)?;
        let predicate = serde_json::Value::Object(predicate);
        for Required { path, values } in &self.terms.require {
            let mut at = Some(&predicate);
            for name in path {
                at = at.and_then(|at| match at {
                    serde_json::Value::Object(members) => members.get(name),
                    serde_json::Value::Array(list) => name.parse::<usize>().ok().and_then(|at| list.get(at)),
                    _ => None,
                });
            }
            let told = || clean(&path.join("."));
            let text = match at {
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(value @ (serde_json::Value::Bool(_) | serde_json::Value::Number(_))) => value.to_string(),
                Some(_) | None => return Ok(Some(format!("it does not say `{}`", told()))),
            };
            if !values.iter().any(|pattern| stands_for(pattern, &text)) {
                return Ok(Some(format!("its `{}` is `{}`", told(), clean(&text))));
            }
        }
        Ok(None)
    }

    fn key(&self, digest: Digest) -> Key {
        Key { whose: self.whose.clone(), digest }
    }

    fn is_scan(&self) -> bool {
        Kind::of(&self.terms.predicate_type) == Kind::Scan
    }
}

/// Reads statements one after the other, and keeps what decides.
struct Reading<'r> {
    attestation: &'r Attestation,
    digest: Digest,
    now: Timestamp,
    /// The one that keeps the terms; of scans, the newest.
    best: Option<(Judged, Attested)>,
    /// Of scans: what else is of the time of the newest.
    reports: BTreeSet<Digest>,
    /// A scan by the one who must sign that cannot be understood: nobody knows whether it is the newest.
    unclear: Option<String>,
    unfit: Option<Unfit>,
}

impl Reading<'_> {
    fn unfit(&mut self, unfit: Unfit) {
        if self.unfit.as_ref().is_none_or(|known| *known < unfit) {
            self.unfit = Some(unfit);
        }
    }

    /// A report of a scan: it counts if none is newer, and where several are of one time, with the worst of them.
    fn take_scan(&mut self, judged: Judged, attested: Attested) {
        let report = Digest::of(attested.statement());
        let newest = self.best.as_ref().and_then(|(best, _)| best.stated.at);
        if judged.stated.at < newest {
            return;
        }
        if judged.stated.at > newest {
            self.reports.clear();
        }
        self.reports.insert(report);
        let is_better = match &self.best {
            Some((best, _)) if best.stated.at == judged.stated.at => best.broken.is_none() && judged.broken.is_some(),
            Some(_) | None => true,
        };
        if is_better {
            self.best = Some((judged, attested));
        }
    }
}

impl Reader for Reading<'_> {
    type Unfit = Unfit;

    fn is_meant(&self, statement: &[u8]) -> Result<(), Unfit> {
        statement::fits(statement, &self.attestation.terms.predicate_type, self.digest)
    }

    fn predicate_type(&self) -> &str {
        &self.attestation.terms.predicate_type
    }

    fn not_signed(&self, unfit: super::cosign::Unfit) -> Unfit {
        Unfit::Signer(unfit)
    }

    fn take(&mut self, attested: Attested) -> ControlFlow<()> {
        match self.attestation.judge(attested.statement(), self.now) {
            Ok(Some(judged)) if self.attestation.is_scan() => self.take_scan(judged, attested),
            Ok(Some(judged)) => match judged.broken {
                None => {
                    self.best = Some((judged, attested));
                    return ControlFlow::Break(());
                }
                Some(broken) => self.unfit(broken),
            },
            Ok(None) => {}
            Err(cause) if self.attestation.is_scan() => drop(self.unclear.get_or_insert(cause)),
            Err(cause) => self.unfit(Unfit::Unclear { cause }),
        }
        ControlFlow::Continue(())
    }
}

impl Scheme for Attestation {
    type Unfit = Unfit;

    fn ready(&self, repository: &Repository) -> Result<(), Unfit> {
        self.signer.ready(repository).map_err(Unfit::Signer)
    }

    async fn find(&self, hunt: Hunt<'_>) -> Result<Found, No<Unfit>> {
        let (digest, now) = (hunt.digest, hunt.now);
        let mut reading =
            Reading { attestation: self, digest, now, best: None, reports: BTreeSet::new(), unclear: None, unfit: None };
        let mut seen: Seen<Unfit> = Seen::default();
        self.signer.attested(hunt, &mut seen, &mut reading).await;
        let Reading { best, reports, unclear, unfit, .. } = reading;
        if self.is_scan() {
            // Remembered first, whatever comes of the rest.
            let gone = match best.as_ref().and_then(|(best, _)| best.stated.at) {
                Some(at) => self.newest.take(self.key(digest), SeenReports { at, reports }).await.err(),
                None => self.newest.seen(self.key(digest)).await.err(),
            };
            // A place that was not looked at may hold a newer one.
            if seen.is_incomplete() {
                return Err(seen.told(digest));
            }
            // Only the newest stays though it does not count now. An older one goes, so that it does not depend on what is remembered.
            let newest = best.as_ref().filter(|_| gone.is_none()).and_then(|(_, newest)| newest.known());
            let why = match (unclear, gone) {
                (Some(cause), _) => Some(Unfit::Unclear { cause }),
                (None, Some(gone)) => Some(gone),
                (None, None) => best.as_ref().and_then(|(best, _)| best.broken.clone()),
            };
            if let Some(why) = why {
                let met = newest.map(|newest| newest.mark).into_iter().collect();
                return Err(No { why: NotSigned::Unfit { digest, why }, met, is_gone: seen.is_gone });
            }
        }
        if let Some((judged, attested)) = best {
            let by = attested.by.clone();
            let stated = Some(Arc::new(judged.stated));
            let good = Good { by, until: judged.until, stated, ..Good::default() };
            // What a registry gave lies somewhere.
            if let Some(known) = attested.known() {
                return Ok(Found { good, parts: attested.into_parts(), known });
            }
        }
        if let Some(unfit) = unfit {
            seen.unfit(unfit);
        }
        if seen.is_incomplete() {
            return Err(seen.told(digest));
        }
        seen.unfit(Unfit::None { predicate_type: self.terms.predicate_type.clone() });
        if seen.worst().is_some_and(|worst| *worst < Unfit::Unsigned) && has_unsigned(hunt).await {
            seen.unfit(Unfit::Unsigned);
        }
        Err(seen.told(digest))
    }

    fn mark(&self, _: &Repository, _: Digest, parts: Parts) -> Option<Mark> {
        Cosign::mark_of_attested(parts)
    }

    fn judged(&self, _: &Repository, digest: Digest, parts: Parts, now: Timestamp) -> Option<Good> {
        let attested = self.signer.attested_by(parts, now)?;
        statement::fits(attested.statement(), &self.terms.predicate_type, digest).ok()?;
        let judged = self.judge(attested.statement(), now).ok()??;
        if judged.broken.is_some() {
            return None;
        }
        if let Some(at) = judged.stated.at.filter(|_| self.is_scan())
            && !self.newest.is_newest(&self.key(digest), at)
        {
            return None;
        }
        Some(Good { by: attested.by, until: judged.until, stated: Some(Arc::new(judged.stated)), ..Good::default() })
    }

    fn holds_still(&self, digest: Digest, good: &Good) -> bool {
        let at = good.stated.as_ref().and_then(|stated| stated.at).filter(|_| self.is_scan());
        at.is_none_or(|at| self.newest.knows_no_newer(&self.key(digest), at))
    }
}

/// Whether the builder has put attestations beside the image, which nobody signed.
async fn has_unsigned(hunt: Hunt<'_>) -> bool {
    let wanted = Wanted::Digest(hunt.digest);
    let asked = hunt.registries.api().manifest(hunt.errand.repository, &wanted, hunt.errand.network);
    let Ok(manifest) = hunt.ask(asked).await else { return false };
    let Content::Index(index) = manifest.content() else { return false };
    let (name, value) = BUILDX;
    index.manifests().iter().any(|child| {
        child.annotations().as_ref().and_then(|annotations| annotations.get(name)).is_some_and(|found| found == value)
    })
}
