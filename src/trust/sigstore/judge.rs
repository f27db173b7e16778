//! The judgement of one signature, cheap before dear: who it says signed; whether the log's entry is of it, whether the log has that, at what
//! times it was there; and whether the certificate was good at each of them. That its key made it, and an authority issued the certificate, is
//! known before ([`TrustedRoot::certified`]): strangers, whatever they write, get no further.
//!
//! "One good signature" is one that passes all of this. A proof that is there and does not hold ends it, also where another would do; what is by
//! logs and authorities that are not known is passed over, if one that is known is left.

use jiff::Timestamp;

use super::entry::{Maker, Of};
use super::fault::{Fault, of_certificate};
use super::identity::{Claimed, Identities};
use super::material::Material;
use super::root::{Log, TrustedRoot};
use super::sct;
use super::signature::signed;
use crate::text::{clean, fit};
use crate::trust::pki::{self, Certificate, Form, Rules, Token};
use crate::trust::public_key::PublicKey;

/// Longest name of a signer in what is recorded of it.
const SIGNER_CHARS: usize = 512;

/// A signature that is to be judged.
pub(in crate::trust) struct Candidate<'c> {
    /// The bytes that are signed.
    pub(in crate::trust) signed: &'c [u8],
    /// What is in the envelope, where there is one.
    pub(in crate::trust) payload: Option<&'c [u8]>,
    pub(in crate::trust) signature: &'c [u8],
    pub(in crate::trust) material: &'c Material,
}

/// Somebody who counts, by what his certificate says. That it is genuine is not known yet.
pub(in crate::trust) struct Holder {
    leaf: Certificate,
    claimed: Claimed,
}

/// A holder whose certificate an authority issued, at whatever time, and whose key made the signature.
pub(in crate::trust) struct Certified<'c> {
    holder: Holder,
    /// The signature.
    candidate: &'c Candidate<'c>,
    /// What came along, where that led to the authority.
    brought: Vec<Certificate>,
}

/// What is proven of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::trust) struct Proven {
    /// Who signed: name and issuer; `None`: by a key, as was known before.
    pub(in crate::trust) by: Option<String>,
    /// When it was there, by the earliest proof of that.
    pub(in crate::trust) at: Option<Timestamp>,
    /// Its number in the log.
    pub(in crate::trust) index: u64,
}

/// What the logs prove.
struct Logged<'r> {
    index: u64,
    times: Vec<Timestamp>,
    /// Logs that give no times themselves.
    timeless: Vec<&'r Log>,
}

impl Identities {
    /// Whose signature it says it is, if that is somebody who counts. Costs no check of a signature.
    pub(in crate::trust) fn holder(&self, material: &Material) -> Result<Holder, Fault> {
        let der = material.certificate.as_deref().ok_or(Fault::Key)?;
        let leaf = Certificate::read(der).map_err(|fault| of_certificate(&fault))?;
        let claimed = Claimed::of(&leaf)?;
        if self.cover(&claimed) { Ok(Holder { leaf, claimed }) } else { Err(Fault::signer(&claimed.subject, &claimed.issuer)) }
    }
}

impl Material {
    /// Whose signature it says it is. Nothing of that is proven.
    pub(in crate::trust) fn claims(&self) -> Option<String> {
        let leaf = Certificate::read(self.certificate.as_deref()?).ok()?;
        Claimed::of(&leaf).ok().map(|claimed| shown(&claimed))
    }
}

/// A signer's name as it is shown and recorded.
fn shown(claimed: &Claimed) -> String {
    fit(&format!("{} (issuer {})", clean(&claimed.subject), clean(&claimed.issuer)), SIGNER_CHARS)
}

impl TrustedRoot {
    /// Whether the holder's key made the signature and an authority issued the certificate. Two or three checks, unless what came along has to
    /// lead the way: then `spend` is told how many more, and says whether these may; `None`: they may not.
    pub(in crate::trust) fn certified<'c>(
        &self,
        holder: Holder,
        candidate: &'c Candidate<'c>,
        spend: impl FnOnce(usize) -> bool,
    ) -> Result<Option<Certified<'c>>, Fault> {
        if !signed(holder.leaf.key(), candidate.signed, candidate.signature) {
            return Err(Fault::Signature);
        }
        let chains = || self.authorities.iter().filter_map(|authority| authority.chain.split_last());
        let roots: Vec<Certificate> = chains().map(|(root, _)| root.clone()).collect();
        let between = || chains().flat_map(|(_, between)| between).cloned();
        let Err(mut fault) = pki::path(&holder.leaf, &between().collect::<Vec<_>>(), &roots, &[], Rules::FULCIO) else {
            return Ok(Some(Certified { holder, candidate, brought: Vec::new() }));
        };
        // What cannot be read leads nowhere.
        let brought = candidate.material.intermediates.iter().filter_map(|der| Certificate::read(der).ok());
        let brought: Vec<Certificate> = brought.collect();
        if !brought.is_empty() {
            if !spend(pki::STEPS) {
                return Ok(None);
            }
            let others: Vec<Certificate> = between().chain(brought.iter().cloned()).collect();
            match pki::path(&holder.leaf, &others, &roots, &[], Rules::FULCIO) {
                Ok(_) => return Ok(Some(Certified { holder, candidate, brought })),
                Err(found) => fault = found,
            }
        }
        Err(match fault {
            pki::Fault::Stranger => Fault::unproven("its certificate", "leads to no authority that is trusted"),
            fault => of_certificate(&fault),
        })
    }

    /// Whether it is proven when the holder has signed it, and that the certificate was good then.
    pub(in crate::trust) fn by_holder(&self, certified: &Certified<'_>, now: Timestamp) -> Result<Proven, Fault> {
        let Certified { holder: Holder { leaf, claimed }, candidate, brought } = certified;
        let logged = self.logged(candidate, Maker::Certificate(leaf), now)?;
        let mut times = self.stamped(candidate, now)?;
        times.extend(&logged.times);
        logged.timeless_cover(&times)?;
        let at = times.iter().min().copied().ok_or(Fault::Timeless)?;
        let issuer = self.issuer_of(leaf, brought, &times)?;
        sct::is_logged(leaf, &issuer, self)?;
        Ok(Proven { by: Some(shown(claimed)), at: Some(at), index: logged.index })
    }

    /// Whether a log has the signature, which is known to be of this key.
    pub(in crate::trust) fn by_key(&self, key: &PublicKey, candidate: &Candidate<'_>, now: Timestamp) -> Result<Proven, Fault> {
        let logged = self.logged(candidate, Maker::Key(key), now)?;
        let mut times = self.stamped(candidate, now)?;
        times.extend(&logged.times);
        // Where nothing proves a time, the log has to count now: a retired one may have lost its key since.
        let now = [now];
        logged.timeless_cover(if times.is_empty() { &now } else { &times })?;
        Ok(Proven { by: None, at: times.iter().min().copied(), index: logged.index })
    }

    fn logged(&self, candidate: &Candidate<'_>, maker: Maker<'_>, now: Timestamp) -> Result<Logged<'_>, Fault> {
        let Candidate { signed, payload, signature, material } = *candidate;
        let of = Of { signed, payload, signature, maker };
        let (mut logged, mut unknown) = (Logged { index: 0, times: Vec::new(), timeless: Vec::new() }, None);
        let mut is_logged = false;
        for entry in &material.entries {
            let Some(log) = self.log(&entry.log) else {
                unknown.get_or_insert(&entry.log);
                continue;
            };
            entry.is_of(&of)?;
            match entry.is_in(log, now)? {
                Some(time) => logged.times.push(time),
                None => logged.timeless.push(log),
            }
            (logged.index, is_logged) = (entry.index, true);
        }
        match unknown {
            _ if is_logged => Ok(logged),
            Some(id) => Err(Fault::unknown_log(id)),
            None => Err(Fault::Unlogged),
        }
    }

    /// The times of the timestamps by authorities that are known.
    fn stamped(&self, candidate: &Candidate<'_>, now: Timestamp) -> Result<Vec<Timestamp>, Fault> {
        let not = |fault: &pki::Fault| Fault::unproven("its timestamp", fault.to_string());
        let mut times = Vec::new();
        for der in &candidate.material.stamps {
            let token = Token::read(der, Form::TokenOrAnswer).map_err(|fault| not(&fault))?;
            let mut found = None;
            for authority in &self.stampers {
                if !authority.chain.first().is_some_and(|signer| token.names(signer)) {
                    continue;
                }
                let stamp = token.by_authority(candidate.signature, &authority.chain, Rules::SIGSTORE_TSA);
                let stamp = stamp.map_err(|fault| not(&fault)).and_then(|stamp| match stamp.at {
                    at if at > now => Err(Fault::Future { at }),
                    at if authority.window.covers(at) => Ok(at),
                    _ => Err(Fault::unproven("its timestamp", "is from a time when its authority did not count")),
                });
                // Of two entries with one signer, either will do.
                match found {
                    Some(Ok(_)) => {}
                    None | Some(Err(_)) => found = Some(stamp),
                }
            }
            times.extend(found.transpose()?);
        }
        Ok(times)
    }

    /// Who issued the certificate, if that leads to an authority that counted at each of the times, and all were valid then.
    fn issuer_of(&self, leaf: &Certificate, brought: &[Certificate], times: &[Timestamp]) -> Result<Certificate, Fault> {
        let mut fault = Fault::unproven("its certificate", "leads to no authority that is trusted");
        for authority in &self.authorities {
            let Some((root, between)) = authority.chain.split_last() else { continue };
            let others: Vec<Certificate> = between.iter().chain(brought).cloned().collect();
            match pki::path(leaf, &others, std::slice::from_ref(root), times, Rules::FULCIO) {
                Ok(_) if !times.iter().all(|at| authority.window.covers(*at)) => {
                    fault = Fault::unproven("its certificate", "was issued by an authority that did not count at the time");
                }
                Ok(chain) => {
                    if let Some(issuer) = chain.get(1) {
                        return Ok(issuer.clone());
                    }
                }
                Err(pki::Fault::Stranger) => {}
                Err(found) => fault = of_certificate(&found),
            }
        }
        Err(fault)
    }
}

impl Logged<'_> {
    /// Whether the logs that give no times counted at all that are proven otherwise.
    fn timeless_cover(&self, times: &[Timestamp]) -> Result<(), Fault> {
        let covers = |log: &&Log| times.iter().all(|at| log.window.covers(*at));
        if self.timeless.iter().all(covers) {
            Ok(())
        } else {
            Err(Fault::unproven("its entry in the log", "is from a time when its log did not count"))
        }
    }
}
