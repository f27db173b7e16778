//! Chains of certificates: whether one holds as it stands, and one that leads from a leaf to a root.

use jiff::Timestamp;
use x509_cert::der::asn1::ObjectIdentifier;

use super::certificate::{Certificate, Usage};
use super::fault::Fault;

/// Most certificates of a chain.
const MOST: usize = 16;
/// Most steps that are tried to find a path, each with one check of a signature at most: stops certificates of one name, which fit everywhere.
pub(super) const STEPS: usize = 32;
const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
const TIME_STAMPING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");
const ANY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");
/// Extensions whose meaning is looked at, or bears on nothing here: basic constraints, key usage, extended key usage; alternative names,
/// key identifiers, policies (RFC 5280, 4.2.1).
const KNOWN: [ObjectIdentifier; 8] = [
    ObjectIdentifier::new_unwrap("2.5.29.19"),
    ObjectIdentifier::new_unwrap("2.5.29.15"),
    ObjectIdentifier::new_unwrap("2.5.29.37"),
    ObjectIdentifier::new_unwrap("2.5.29.17"),
    ObjectIdentifier::new_unwrap("2.5.29.18"),
    ObjectIdentifier::new_unwrap("2.5.29.14"),
    ObjectIdentifier::new_unwrap("2.5.29.35"),
    ObjectIdentifier::new_unwrap("2.5.29.32"),
];

/// What the first certificate of a chain must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trust) enum Leaf {
    /// It signs code: no authority, with that purpose, for digital signatures.
    CodeSigning,
    /// It signs timestamps: no authority, with that purpose alone, which is critical (RFC 3161, 2.3).
    TimeStamping,
    /// It signs code, and whoever asks looks at the certificate itself.
    Unchecked,
}

impl Leaf {
    /// What it is for.
    const fn purpose(self) -> ObjectIdentifier {
        match self {
            Self::CodeSigning | Self::Unchecked => CODE_SIGNING,
            Self::TimeStamping => TIME_STAMPING,
        }
    }
}

/// Whether what makes an authority must be marked as critical.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trust) enum Marks {
    /// It must.
    Critical,
    /// It need not.
    Any,
}

/// What becomes of extensions that are critical and not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trust) enum Unknown {
    /// The chain does not hold.
    Refused,
    /// They are passed over.
    Ignored,
}

/// By what a chain is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::trust) struct Rules {
    pub(in crate::trust) leaf: Leaf,
    pub(in crate::trust) marks: Marks,
    pub(in crate::trust) unknown: Unknown,
}

impl Rules {
    /// Signers' certificates of Sigstore.
    pub(in crate::trust) const FULCIO: Self = Self { leaf: Leaf::CodeSigning, marks: Marks::Any, unknown: Unknown::Refused };
    /// Timestamp authorities of Sigstore.
    pub(in crate::trust) const SIGSTORE_TSA: Self = Self { leaf: Leaf::TimeStamping, ..Self::FULCIO };
    /// Signers' certificates of the Notary Project, whose leaf has rules of its own.
    pub(in crate::trust) const NOTATION: Self = Self { leaf: Leaf::Unchecked, marks: Marks::Critical, unknown: Unknown::Ignored };
    /// Timestamp authorities of the Notary Project.
    pub(in crate::trust) const NOTATION_TSA: Self = Self { leaf: Leaf::TimeStamping, ..Self::NOTATION };
}

/// Whether a chain holds: leaf first, each issued by the next, the last one trusted by whoever asks, and each valid at all of these times. One that
/// bears its own issuer's name must be signed by itself.
pub(in crate::trust) fn holds(chain: &[Certificate], times: &[Timestamp], rules: Rules) -> Result<(), Fault> {
    if chain.len() > MOST {
        return Err(Fault::Long);
    }
    let Some((leaf, authorities)) = chain.split_first() else { return Err(Fault::Stranger) };
    for certificate in chain {
        for at in times {
            certificate.valid_at(*at)?;
        }
        if rules.unknown == Unknown::Refused
            && let Some(unknown) = certificate.extensions().iter().find(|one| one.is_critical && !KNOWN.contains(&one.oid))
        {
            return Err(Fault::Critical(unknown.oid));
        }
    }
    is_leaf(leaf, rules.leaf)?;
    for (below, authority) in authorities.iter().enumerate() {
        issues(authority, below, rules)?;
    }
    // From the root down: a stranger's chain that ends in a root which is known to all costs one check.
    for (one, next) in chain.iter().zip(authorities).rev() {
        next.issued(one)?;
    }
    match chain.last() {
        Some(last) if last.is_self_issued() => last.issued(last),
        _ => Ok(()),
    }
}

/// Whether an authority may issue a chain with so many authorities below it.
fn issues(authority: &Certificate, below: usize, rules: Rules) -> Result<(), Fault> {
    let basic = authority.basic().filter(|basic| basic.is_ca).ok_or(Fault::Authority("it is not a CA"))?;
    if basic.path_length.is_some_and(|most| usize::try_from(most).is_ok_and(|most| below > most)) {
        return Err(Fault::Authority("more CAs are below it than it allows"));
    }
    let usage = authority.usage().filter(|usage| usage.cert_sign());
    let usage = usage.ok_or(Fault::Authority("its key usage lacks keyCertSign"))?;
    // One that is made for something issues nothing that is made for something else.
    if let Some(purposes) = authority.purposes()
        && !purposes.oids.iter().any(|oid| [rules.leaf.purpose(), ANY].contains(oid))
    {
        return Err(Fault::Authority("it is made for something else (extended key usage)"));
    }
    match rules.marks {
        Marks::Critical if !basic.is_critical || !usage.is_critical => {
            Err(Fault::Authority("its constraints or key usage are not critical"))
        }
        Marks::Critical | Marks::Any => Ok(()),
    }
}

fn is_leaf(leaf: &Certificate, wanted: Leaf) -> Result<(), Fault> {
    if wanted == Leaf::Unchecked {
        return Ok(());
    }
    if leaf.is_ca() {
        return Err(Fault::Use("it is a CA"));
    }
    if !leaf.usage().is_some_and(Usage::digital_signature) {
        return Err(Fault::Use("its key usage lacks digitalSignature"));
    }
    let purposes = leaf.purposes();
    match wanted {
        Leaf::CodeSigning if purposes.is_some_and(|purposes| purposes.oids.contains(&CODE_SIGNING)) => Ok(()),
        Leaf::CodeSigning => Err(Fault::Use("its extended key usage lacks codeSigning")),
        Leaf::TimeStamping if purposes.is_some_and(|purposes| purposes.is_critical && purposes.oids == [TIME_STAMPING]) => Ok(()),
        Leaf::TimeStamping => Err(Fault::Use("its extended key usage is not timeStamping alone, and critical")),
        Leaf::Unchecked => Ok(()),
    }
}

/// A chain from `leaf` over some of `others` to one of `roots` that holds at all of these times.
pub(in crate::trust) fn path(
    leaf: &Certificate,
    others: &[Certificate],
    roots: &[Certificate],
    times: &[Timestamp],
    rules: Rules,
) -> Result<Vec<Certificate>, Fault> {
    let mut search = Search { others, roots, times, rules, steps: 0, fault: None };
    search.from(&mut vec![leaf.clone()]).ok_or_else(|| search.fault.unwrap_or(Fault::Stranger))
}

struct Search<'s> {
    others: &'s [Certificate],
    roots: &'s [Certificate],
    times: &'s [Timestamp],
    rules: Rules,
    steps: usize,
    /// What was the matter with a chain that led to a root.
    fault: Option<Fault>,
}

impl Search<'_> {
    /// The first whole chain that begins with this and holds.
    fn from(&mut self, chain: &mut Vec<Certificate>) -> Option<Vec<Certificate>> {
        let last = chain.last().cloned()?;
        self.steps += 1;
        if self.steps > STEPS || chain.len() > MOST {
            return None;
        }
        let (roots, others) = (self.roots, self.others);
        for root in roots.iter().filter(|root| root.subject() == last.issuer()) {
            self.steps += 1;
            if self.steps > STEPS {
                return None;
            }
            let mut whole = chain.clone();
            if *root != last {
                if let Err(fault) = root.issued(&last) {
                    self.fault = Some(fault);
                    continue;
                }
                whole.push(root.clone());
            }
            match holds(&whole, self.times, self.rules) {
                Ok(()) => return Some(whole),
                Err(fault) => self.fault = Some(fault),
            }
        }
        for other in others.iter().filter(|other| other.subject() == last.issuer()) {
            self.steps += 1;
            if self.steps > STEPS {
                return None;
            }
            // The same authority once more leads nowhere else, whatever else the certificate says (RFC 4158, 2.4.2).
            let is_there = |one: &Certificate| one.subject() == other.subject() && one.spki() == other.spki();
            if chain.iter().any(is_there) || other.issued(&last).is_err() {
                continue;
            }
            chain.push(other.clone());
            if let Some(found) = self.from(chain) {
                return Some(found);
            }
            chain.pop();
        }
        None
    }
}
