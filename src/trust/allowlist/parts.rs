//! A list's file in two: what is signed, and the signature behind it. Bytes alone: what is signed must not depend on how JSON is read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The member of the signature, before and behind it.
const BEFORE: &[u8] = b",\n  \"signature\": \"";
const BEHIND: &[u8] = b"\"\n}\n";
/// The end of a list without it.
const END: &[u8] = b"\n}\n";
/// RFC 8032: 64 bytes, as base64.
const SIGNATURE_CHARS: usize = 88;

/// What is signed, and the signature where there is one.
pub(super) struct Parts {
    pub(super) body: Vec<u8>,
    pub(super) signature: Option<Vec<u8>>,
}

impl Parts {
    /// A file that does not end as a signed one does is not signed, whatever else stands in it.
    pub(super) fn of(text: &[u8]) -> Self {
        let found = text.strip_suffix(BEHIND).and_then(|rest| {
            let (rest, signature) = rest.split_at_checked(rest.len().checked_sub(SIGNATURE_CHARS)?)?;
            Some((rest.strip_suffix(BEFORE)?, STANDARD.decode(signature).ok()?))
        });
        match found {
            Some((rest, signature)) => Self { body: [rest, END].concat(), signature: Some(signature) },
            None => Self { body: text.to_vec(), signature: None },
        }
    }
}

/// The other way; `None`: the text does not end as a list does.
pub(super) fn joined(body: &[u8], signature: &[u8]) -> Option<String> {
    let open = body.strip_suffix(END)?;
    String::from_utf8([open, BEFORE, STANDARD.encode(signature).as_bytes(), BEHIND].concat()).ok()
}
