//! The mark on the gate's own calls. dockerd asks the gate about them too; a user policy must not lock the gate out.

use std::fmt;
use std::sync::OnceLock;

use hyper::header::HeaderValue;

/// The header that carries the mark. In the spelling of Go's `textproto.CanonicalMIMEHeaderKey`, as dockerd shows it.
pub const CALL_HEADER: &str = "X-Img-Authz-Call";

/// The header of `doctor`'s question whether dockerd asks the gate ([`super::Engine::start_nobody`]). Anybody may send it: it hides
/// nothing but a start of no container.
pub const PROBE_HEADER: &str = "X-Img-Authz-Probe";

/// 128 random bits, in hex: made once per process, never written anywhere.
struct Mark(String);

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<redacted>")
    }
}

/// This process's mark. `None` if the system gives no randomness: then no call is marked and none counts as ours.
fn mark() -> Option<&'static Mark> {
    static MARK: OnceLock<Option<Mark>> = OnceLock::new();
    MARK.get_or_init(|| {
        let mut bytes = [0u8; 16];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        Some(Mark(format!("{:032x}", u128::from_be_bytes(bytes))))
    })
    .as_ref()
}

/// The mark as a header's value, kept out of hyper's own `Debug`.
pub(super) fn value() -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&mark()?.0).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// This process's mark, for tests that ask as dockerd would.
#[cfg(test)]
pub(crate) fn of_this_process() -> String {
    mark().map(|mark| mark.0.clone()).unwrap_or_default()
}

/// Whether `header` is this process's mark. Takes the same time wherever the two differ.
pub(super) fn is_own(header: Option<&str>) -> bool {
    let (Some(header), Some(mark)) = (header, mark()) else { return false };
    aws_lc_rs::constant_time::verify_slices_are_equal(header.as_bytes(), mark.0.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_this_process_is_its_own() {
        let value = value().unwrap();
        assert_eq!(value.len(), 32);
        assert!(is_own(Some(value.to_str().unwrap())));
    }

    #[test]
    fn anything_else_is_not() {
        let mut text = value().unwrap().to_str().unwrap().to_owned();
        text.pop();
        for other in [None, Some(""), Some(text.as_str()), Some("00000000000000000000000000000000")] {
            assert!(!is_own(other));
        }
    }

    #[test]
    fn the_mark_does_not_print() {
        assert_eq!(format!("{:?}", mark().unwrap()), "<redacted>");
        assert_eq!(format!("{:?}", value().unwrap()), "Sensitive");
    }
}
