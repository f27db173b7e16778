//! Calls that the policies have let pass before. Clients that look at a host ask the same again and again, and rules that see nothing but
//! the call say the same again: they need not be asked. Only what passed is kept; it ends with the policies that said so.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::request::Manner;
use crate::wire::Call;

/// Most calls that are kept. Clients that poll need some dozens.
const CALLS: usize = 128;
/// Largest call that is kept, in bytes. With [`CALLS`] it stops clients from filling memory.
const BYTES: usize = 8 << 10;

/// Functions whose answer is another each time, by the last part of their names.
pub(super) const CHANGING: [&str; 3] = ["now_ns", "intn", "rfc4122"];

/// What was let pass, by the hash of what rules see of it.
#[derive(Default)]
pub(super) struct Remembered {
    hasher: RandomState,
    calls: Mutex<HashMap<u64, (Arc<Call>, Manner)>>,
}

impl Remembered {
    fn calls(&self) -> MutexGuard<'_, HashMap<u64, (Arc<Call>, Manner)>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether rules that see this call have seen the same before.
    pub(super) fn has(&self, call: &Call, manner: Manner) -> bool {
        // Not hashed for nothing: this is asked on the serving thread.
        if bytes(call) > BYTES {
            return false;
        }
        let key = self.hasher.hash_one(seen(call));
        self.calls().get(&key).is_some_and(|(kept, in_manner)| *in_manner == manner && seen(kept) == seen(call))
    }

    /// Keeps a call that was let pass.
    pub(super) fn keep(&self, call: Arc<Call>, manner: Manner) {
        if bytes(&call) > BYTES {
            return;
        }
        let key = self.hasher.hash_one(seen(&call));
        let mut calls = self.calls();
        if calls.len() >= CALLS {
            calls.clear();
        }
        calls.insert(key, (call, manner));
    }
}

/// All that rules see of a call, beside the manner in which the engine reads it.
type Seen<'c> = (&'c str, &'c str, &'c str, &'c str, &'c BTreeMap<String, String>, Option<&'c [u8]>);

fn seen(call: &Call) -> Seen<'_> {
    // Each member is named, so that a new one does not compile until someone decides.
    let Call { user, user_authn_method, method, uri, headers, body, outcome: _, certificate: _ } = call;
    (user, user_authn_method, method, uri, headers, body.as_deref())
}

/// What a call takes of memory, also what no rule sees.
pub(super) fn bytes(call: &Call) -> usize {
    let headers: usize = call.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    let texts = call.user.len() + call.user_authn_method.len() + call.method.len() + call.uri.len();
    let body = |body: &Option<Vec<u8>>| body.as_ref().map_or(0, Vec::len);
    let answered = call.outcome.as_ref().map_or(0, |outcome| body(&outcome.body));
    texts + headers + body(&call.body) + answered + call.certificate.as_ref().map_or(0, String::len)
}
