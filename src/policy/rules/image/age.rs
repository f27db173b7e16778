//! `max-age`. When an image was created is its publisher's claim: what no clock can have said is not known, and refused.

use jiff::SignedDuration;

use super::{Broken, Subject, broken};

/// The longest age that can be asked for, in days.
pub(in crate::policy) const DAYS_MOST: u64 = 3650;
/// The end of 1970: builds that can be repeated give their images a time in that year.
const END_OF_1970: i64 = 365 * 86_400;

/// How old an image may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxAge {
    /// In days.
    pub days: u64,
    /// Since when.
    pub of: AgeOf,
}

/// Since when an image's age counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgeOf {
    /// Since it was made, by its publisher's word.
    Created,
    /// Since it was signed.
    Signature,
    /// Since its build ended, as a statement of its provenance says that is signed.
    Provenance,
}

impl MaxAge {
    pub(super) fn judge(self, image: &Subject<'_>) -> Result<(), Broken> {
        let now = image.now.ok_or(Broken::Unknown)?;
        let (what, since) = match self.of {
            AgeOf::Created => ("created", image.config()?.created),
            AgeOf::Signature => ("signed", image.signed_at),
            AgeOf::Provenance => ("built", image.built_at),
        };
        let since = match (since, self.of) {
            (Some(since), _) if since > now => return broken(format!("it says it was {what} at {since:.0}, which is not past")),
            (Some(since), _) if since.as_second() < END_OF_1970 => {
                return broken(format!("when it was {what} is not known: it says {since:.0}"));
            }
            (Some(since), _) => since,
            (None, AgeOf::Created) => return broken("it does not say when it was created"),
            (None, AgeOf::Provenance) => return broken("no provenance that vouches for it says when it was built"),
            (None, AgeOf::Signature) => return broken("nobody who vouches for it says when it was signed"),
        };
        let age = now.duration_since(since);
        let most = SignedDuration::from_hours(i64::try_from(self.days.min(DAYS_MOST)).unwrap_or_default() * 24);
        if age > most {
            return broken(format!("it was {what} {} days ago, more than {}", age.as_hours() / 24, self.days));
        }
        Ok(())
    }
}
