//! What it costs to judge signatures, what of that one search may cost, and what need not be found out twice in one: whoever may push beside an
//! image chooses how many there are, and what they claim.

use std::collections::HashMap;

use crate::trust::signatures::Mark;
use crate::trust::sigstore::Known;

/// What is about to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    /// A key is tried.
    Trial,
    /// So many checks tell whether an authority issued a certificate, and its key made the signature. Strangers cost this.
    Certified(usize),
    /// So many checks prove what a signer has made who counts. Copies of a good signature cost this.
    Proofs(usize),
}

/// What is left for each. One that is empty takes nothing from the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Purse {
    pub(super) trials: usize,
    pub(super) certified: usize,
    pub(super) proofs: usize,
}

/// What was found out in this search. A copy of a signature, whatever lies beside it, is not checked again.
#[derive(Default)]
pub(super) struct Memo {
    pub(super) certified: Known,
    /// Which key made a signature, by its place among the keys; `None`: none of them.
    pub(super) made: HashMap<Mark, Option<usize>>,
}

impl Purse {
    /// Whether that is left, and takes it. What is refused costs nothing.
    pub(super) const fn pays(&mut self, cost: Cost) -> bool {
        let (left, cost) = match cost {
            Cost::Trial => (&mut self.trials, 1),
            Cost::Certified(checks) => (&mut self.certified, checks),
            Cost::Proofs(checks) => (&mut self.proofs, checks),
        };
        match left.checked_sub(cost) {
            Some(rest) => {
                *left = rest;
                true
            }
            None => false,
        }
    }
}
