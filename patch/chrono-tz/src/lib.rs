//! Time zones by name for regorus, which asks chrono-tz for them (`time.clock([ns, "Europe/Berlin"])`). The tables of that crate are 1.2 MB
//! with a pointer in each line: a static program writes all of them at each start, and holds them in memory whether a policy asks for a
//! zone or not. jiff, which the gate has anyway, keeps the same zones as they are published, in a sixth of that and without a pointer.

use std::fmt;
use std::str::FromStr;

use chrono::{FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone};
use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;

/// A time zone of the IANA database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tz(jiff::tz::TimeZone);

/// That there is no zone of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError(());

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed to parse timezone")
    }
}

impl std::error::Error for ParseError {}

impl FromStr for Tz {
    type Err = ParseError;

    fn from_str(name: &str) -> Result<Self, ParseError> {
        let zone = TimeZoneDatabase::bundled().get(name).map_err(|_| ParseError(()))?;
        // jiff takes a name in any case, and knows one for a zone that is not known; chrono-tz and Go do not.
        if zone.iana_name() == Some(name) && !zone.is_unknown() { Ok(Self(zone)) } else { Err(ParseError(())) }
    }
}

/// How far a zone is from UTC at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TzOffset {
    zone: Tz,
    fixed: FixedOffset,
}

impl Offset for TzOffset {
    fn fix(&self) -> FixedOffset {
        self.fixed
    }
}

impl fmt::Display for TzOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fixed.fmt(f)
    }
}

impl Tz {
    /// At a time of UTC. Before and after jiff's times (years -9999 to 9999) as at their ends.
    fn at(&self, utc: &NaiveDateTime) -> TzOffset {
        let seconds = utc.and_utc().timestamp();
        let end = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
        let offset = self.0.to_offset(Timestamp::from_second(seconds).unwrap_or(end));
        // Each is less than a day.
        let fixed = FixedOffset::east_opt(offset.seconds()).unwrap_or_else(|| chrono::Utc.fix());
        TzOffset { zone: self.clone(), fixed }
    }
}

impl TimeZone for Tz {
    type Offset = TzOffset;

    fn from_offset(offset: &TzOffset) -> Self {
        offset.zone.clone()
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<TzOffset> {
        self.offset_from_local_datetime(&local.and_time(NaiveTime::MIN))
    }

    /// The offsets with which the local time is one of this zone: no zone has moved by more than a day, so they are those of a day around.
    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<TzOffset> {
        let day = chrono::Duration::days(1);
        let around = |moved: Option<NaiveDateTime>| self.at(&moved.unwrap_or(*local));
        let (before, after) = (around(local.checked_sub_signed(day)), around(local.checked_add_signed(day)));
        let holds = |offset: &TzOffset| local.checked_sub_offset(offset.fixed).is_some_and(|utc| self.at(&utc) == *offset);
        match (holds(&before), holds(&after)) {
            (true, true) if before != after => MappedLocalTime::Ambiguous(before, after),
            (true, _) => MappedLocalTime::Single(before),
            (false, true) => MappedLocalTime::Single(after),
            (false, false) => MappedLocalTime::None,
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> TzOffset {
        self.at(&utc.and_time(NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> TzOffset {
        self.at(utc)
    }
}
