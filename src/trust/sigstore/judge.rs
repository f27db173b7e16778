//! The judgement of one signature, cheap before dear: who it says signed; whether the log's entry is of it, whether the log has that, at what
//! times it was there; and whether the certificate was good at each of them. That its key made it, and an authority issued the certificate, is
//! known before ([`TrustedRoot::certified`]): strangers, whatever they write, get no further.
//!
//! "One good signature" is one that passes all of this. A proof that is there and does not hold ends it, also where another would do; what is by
//! logs and authorities that are not known is passed over, if one that is known is left.

use std::collections::HashMap;

use jiff::Timestamp;

use super::entry::{Maker, Of};
use super::fault::{Fault, of_certificate};
use super::identity::{Claimed, Identities};
use super::material::Material;
use super::root::{Authority, Log, TrustedRoot};
use super::sct;
use super::signature::signed;
use crate::image::Digest;
use crate::text::{clean, fit};
use crate::trust::pki::{self, Certificate, Form, Rules, Token};
use crate::trust::public_key::PublicKey;

/// Longest name of a signer in what is recorded of it.
const SIGNER_CHARS: usize = 512;
/// Most checks of: a signature, whose key may be tried with two hashes; an entry, by its promise and its checkpoint; a timestamp, with its authority's
/// chain; a certificate, its chain and the logs that have seen it.
const OF_SIGNATURE: usize = 2;
const OF_ENTRY: usize = 2;
const OF_STAMP: usize = 4;
const OF_CHAIN: usize = 6;
/// So many bytes to hash, for an entry, count as one check.
const HASHED_BYTES: usize = 64 << 10;

/// Whether so many checks more may be made.
type Spend<'s> = &'s mut dyn FnMut(usize) -> bool;

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
    /// What came along, as far as roots lead to it.
    brought: Vec<Certificate>,
}

/// What came of the certificates that were looked at already, by all that it depends on; of those that an authority issued, what they brought along.
/// Copies of a signature, whatever else lies beside them, are not checked again.
#[derive(Default)]
pub(in crate::trust) struct Known(HashMap<Digest, Result<Vec<Certificate>, Fault>>);

impl Known {
    fn key(holder: &Holder, candidate: &Candidate<'_>) -> Digest {
        let Candidate { signed, signature, material, .. } = candidate;
        let parts = [holder.leaf.der(), *signed, *signature].into_iter().chain(material.intermediates.iter().map(Vec::as_slice));
        let hashes: Vec<u8> = parts.flat_map(|part| *Digest::of(part).as_bytes()).collect();
        Digest::of(&hashes)
    }
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
    /// Whether the holder's key made the signature and an authority issued the certificate; `None`: it was not found out, as `spend` said no.
    pub(in crate::trust) fn certified<'c>(
        &self,
        holder: Holder,
        candidate: &'c Candidate<'c>,
        known: &mut Known,
        spend: Spend<'_>,
    ) -> Result<Option<Certified<'c>>, Fault> {
        let key = Known::key(&holder, candidate);
        let found = match known.0.get(&key) {
            Some(found) => found.clone(),
            None => {
                let found = self.issued(&holder.leaf, candidate, spend).transpose();
                let Some(found) = found else { return Ok(None) };
                known.0.insert(key, found.clone());
                found
            }
        };
        Ok(Some(Certified { holder, candidate, brought: found? }))
    }

    /// What the certificate brought along that leads on to an authority, if its key made the signature and one issued it.
    fn issued(&self, leaf: &Certificate, candidate: &Candidate<'_>, spend: Spend<'_>) -> Result<Option<Vec<Certificate>>, Fault> {
        if !spend(OF_SIGNATURE) {
            return Ok(None);
        }
        if !signed(leaf.key(), candidate.signed, candidate.signature) {
            return Err(Fault::Signature);
        }
        let chains = || self.authorities.iter().filter_map(|authority| authority.chain.split_last());
        let roots: Vec<Certificate> = chains().map(|(root, _)| root.clone()).collect();
        let mut others: Vec<Certificate> = chains().flat_map(|(_, between)| between).cloned().collect();
        let Some(brought) = rooted(&candidate.material.intermediates, [&roots[..], &others].concat(), spend) else {
            return Ok(None);
        };
        others.extend(brought.iter().cloned());
        if !spend(roots.iter().chain(&others).filter(|one| one.subject() == leaf.issuer()).count()) {
            return Ok(None);
        }
        match pki::path(leaf, &others, &roots, &[], Rules::FULCIO) {
            Ok(_) => Ok(Some(brought)),
            Err(pki::Fault::Stranger) => Err(Fault::unproven("its certificate", "leads to no authority that is trusted")),
            Err(fault) => Err(of_certificate(&fault)),
        }
    }

    /// Whether it is proven when the holder has signed it, and that the certificate was good then; `None`: it was not found out.
    pub(in crate::trust) fn by_holder(
        &self,
        certified: &Certified<'_>,
        now: Timestamp,
        spend: Spend<'_>,
    ) -> Result<Option<Proven>, Fault> {
        let Certified { holder: Holder { leaf, claimed }, candidate, brought } = certified;
        // What proves a time at which it was not valid need not be proven itself: no copy with a late timestamp costs a check.
        for (token, authorities) in self.tokens(candidate)? {
            match token.at() {
                _ if authorities.is_empty() => {}
                at if at > now => return Err(Fault::Future { at }),
                at => leaf.valid_at(at).map_err(|fault| of_certificate(&fault))?,
            }
        }
        let Some(logged) = self.logged(candidate, Maker::Certificate(leaf), now, spend)? else { return Ok(None) };
        let Some(mut times) = self.stamped(candidate, now, spend)? else { return Ok(None) };
        times.extend(&logged.times);
        logged.timeless_cover(&times)?;
        let at = times.iter().min().copied().ok_or(Fault::Timeless)?;
        if !spend(OF_CHAIN) {
            return Ok(None);
        }
        let issuer = self.issuer_of(leaf, brought, &times)?;
        sct::is_logged(leaf, &issuer, self)?;
        Ok(Some(Proven { by: Some(shown(claimed)), at: Some(at), index: logged.index }))
    }

    /// Whether a log has the signature, which is known to be of this key; `None`: it was not found out.
    pub(in crate::trust) fn by_key(
        &self,
        key: &PublicKey,
        candidate: &Candidate<'_>,
        now: Timestamp,
        spend: Spend<'_>,
    ) -> Result<Option<Proven>, Fault> {
        let Some(logged) = self.logged(candidate, Maker::Key(key), now, spend)? else { return Ok(None) };
        let Some(mut times) = self.stamped(candidate, now, spend)? else { return Ok(None) };
        times.extend(&logged.times);
        // Where nothing proves a time, the log has to count now: a retired one may have lost its key since.
        let now = [now];
        logged.timeless_cover(if times.is_empty() { &now } else { &times })?;
        Ok(Some(Proven { by: None, at: times.iter().min().copied(), index: logged.index }))
    }

    fn logged(
        &self,
        candidate: &Candidate<'_>,
        maker: Maker<'_>,
        now: Timestamp,
        spend: Spend<'_>,
    ) -> Result<Option<Logged<'_>>, Fault> {
        let Candidate { signed, payload, signature, material } = *candidate;
        let of = Of { signed, payload, signature, maker };
        let (mut logged, mut unknown) = (Logged { index: 0, times: Vec::new(), timeless: Vec::new() }, None);
        let mut is_logged = false;
        for entry in &material.entries {
            let Some(log) = self.log(&entry.log) else {
                unknown.get_or_insert(&entry.log);
                continue;
            };
            if !spend(OF_ENTRY + signed.len() / HASHED_BYTES) {
                return Ok(None);
            }
            entry.is_of(&of)?;
            match entry.is_in(log, now)? {
                Some(time) => logged.times.push(time),
                None => logged.timeless.push(log),
            }
            (logged.index, is_logged) = (entry.index, true);
        }
        match unknown {
            _ if is_logged => Ok(Some(logged)),
            Some(id) => Err(Fault::unknown_log(id)),
            None => Err(Fault::Unlogged),
        }
    }

    /// The timestamps, each with the authorities that are known by the name which it gives its signer.
    fn tokens(&self, candidate: &Candidate<'_>) -> Result<Vec<(Token, Vec<&Authority>)>, Fault> {
        let read = |der: &Vec<u8>| {
            let token = Token::read(der, Form::TokenOrAnswer).map_err(|fault| of_stamp(&fault))?;
            let signs = |authority: &&Authority| authority.chain.first().is_some_and(|signer| token.names(signer));
            let authorities = self.stampers.iter().filter(signs).collect();
            Ok((token, authorities))
        };
        candidate.material.stamps.iter().map(read).collect()
    }

    /// The times of the timestamps by authorities that are known.
    fn stamped(&self, candidate: &Candidate<'_>, now: Timestamp, spend: Spend<'_>) -> Result<Option<Vec<Timestamp>>, Fault> {
        let mut times = Vec::new();
        for (token, authorities) in self.tokens(candidate)? {
            let mut found = None;
            for authority in authorities {
                if !spend(OF_STAMP) {
                    return Ok(None);
                }
                let stamp = token.by_authority(candidate.signature, &authority.chain, Rules::SIGSTORE_TSA);
                let stamp = stamp.map_err(|fault| of_stamp(&fault)).and_then(|stamp| match stamp.at {
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
        Ok(Some(times))
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

fn of_stamp(fault: &pki::Fault) -> Fault {
    Fault::unproven("its timestamp", fault.to_string())
}

/// Which of the certificates that came along an authority has issued, or one of these: from the top down, so that strangers' own, whatever their names,
/// cost one check each. What cannot be read leads nowhere.
fn rooted(written: &[Vec<u8>], mut above: Vec<Certificate>, spend: Spend<'_>) -> Option<Vec<Certificate>> {
    let known = above.len();
    let mut open: Vec<Certificate> = written.iter().filter_map(|der| Certificate::read(der).ok()).collect();
    open.retain(|one| !above.contains(one));
    let mut at = 0;
    while let Some(authority) = above.get(at).cloned() {
        let (below, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(|one| one.issuer() == authority.subject());
        open = rest;
        if !spend(below.len()) {
            return None;
        }
        for one in below {
            if authority.issued(&one).is_ok() { above.push(one) } else { open.push(one) }
        }
        at += 1;
    }
    Some(above.split_off(known))
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
