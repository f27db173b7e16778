//! What the gate says of a container that runs.

use crate::gate::inventory::Says;
use crate::policy::Reason;

/// Why it is refused, or why that cannot be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::monitor) struct Why {
    /// The refusal's code.
    pub code: &'static str,
    /// The whole line.
    pub message: String,
    /// Whether it stays so, whoever waits.
    pub is_lasting: bool,
    /// Whether a clock that is wrong says it too.
    pub hangs_on_clock: bool,
}

/// What the gate said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::monitor) enum Word {
    /// It would let it start.
    Yes,
    /// It would refuse.
    No(Why),
    /// It would not act on this refusal itself: reported, held with why, and never acted on.
    Spared(Why, Spare),
    /// It cannot tell.
    CannotTell(Why),
}

/// Why a refusal is only reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::monitor) enum Spare {
    /// A permissive scope forgives it: a start would pass.
    Forgiven,
    /// Its tag is signed for other content now: that withdraws nothing.
    Superseded,
}

impl From<Reason> for Why {
    fn from(reason: Reason) -> Self {
        let is_lasting = matches!(reason, Reason::ContainerTooLarge { .. } | Reason::ImageTooLarge { .. });
        let hangs_on_clock = reason.hangs_on_clock();
        Self { code: reason.code(), message: reason.message(), is_lasting, hangs_on_clock }
    }
}

impl From<Says> for Word {
    fn from(says: Says) -> Self {
        match says {
            Says::Yes => Self::Yes,
            Says::No(reason) => Self::No(reason.into()),
            Says::Forgiven(reason) => Self::Spared(reason.into(), Spare::Forgiven),
            Says::Superseded(reason) => Self::Spared(reason.into(), Spare::Superseded),
            Says::CannotTell(reason) => Self::CannotTell(reason.into()),
        }
    }
}

impl Word {
    pub(super) const fn spare(&self) -> Option<Spare> {
        match self {
            Self::Spared(_, spare) => Some(*spare),
            Self::Yes | Self::No(_) | Self::CannotTell(_) => None,
        }
    }
}
