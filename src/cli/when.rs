//! Times as people write them: `90d`, `10m`, a date, RFC 3339.

use jiff::{SignedDuration, Timestamp};

use crate::text::escaped;

/// `30s`, `10m`, `12h`, `90d`, `4w`: digits and a unit.
pub(super) fn span(text: &str) -> Option<SignedDuration> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 24 * 3600), ("w", 7 * 24 * 3600)];
    units.into_iter().find_map(|(unit, seconds)| {
        let digits = text.strip_suffix(unit).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<i64>().ok()?.checked_mul(seconds).map(SignedDuration::from_secs)
    })
}

/// `2027-01-31` (its first moment, UTC) or `2027-01-31T12:00:00Z`.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().or_else(|| {
        let date = text.parse::<jiff::civil::Date>().ok().filter(|_| text.len() == 10)?;
        date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|start| start.timestamp())
    })
}

/// A span before now, or a moment.
pub(super) fn ago(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let moment = match span(text) {
        Some(span) => now.checked_sub(span).ok(),
        None => moment(text),
    };
    moment.ok_or_else(|| {
        format!("`{}` is not a time; write 30s, 10m, 12h, 7d, 2w, 2027-01-31 or 2027-01-31T12:00:00Z", escaped(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_moments_are_read_and_nothing_else() {
        for (text, seconds) in [("30s", 30), ("10m", 600), ("12h", 43_200), ("1d", 86_400), ("2w", 1_209_600)] {
            assert_eq!(span(text), Some(SignedDuration::from_secs(seconds)), "{text}");
        }
        for text in ["", "10", "d", "-1d", "1y", "1.5h", "9999999999999999999w", "+1h", "１d"] {
            assert_eq!(span(text), None, "{text}");
        }
        assert_eq!(moment("2027-01-31"), "2027-01-31T00:00:00Z".parse().ok());
        assert_eq!(moment("2027-01-31T12:00:00+02:00"), "2027-01-31T10:00:00Z".parse().ok());
        assert_eq!(moment("yesterday"), None);
    }
}
