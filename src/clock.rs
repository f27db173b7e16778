//! The only reader of the time. Everything else is given `now`.

pub use jiff::Timestamp;

/// The wall-clock time, UTC.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one reader of the time")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
