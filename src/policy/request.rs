//! What is decided on: a call, who makes it, what it is called where users are given rights, and what it would do.

use crate::request::{Action, Intent};
use crate::wire::Call;

/// Who makes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller<'c> {
    /// The gate itself and its commands, which look at what is on the host: no user's rights bind them.
    Gate,
    /// A client without a certificate: on the engine's unix socket, or on a TCP listener that demands none.
    Local,
    /// The CN of a client's certificate.
    Named(&'c str),
    /// A client whose certificate has no CN, or one that cannot be told from others.
    Nameless,
}

impl<'c> Caller<'c> {
    /// Who makes `call`, by dockerd's word.
    #[must_use]
    pub fn of(call: &'c Call) -> Self {
        match (call.user.as_str(), call.user_authn_method.as_str()) {
            ("", "") => Self::Local,
            // dockerd says `TLS` of every client that showed a certificate.
            ("", _) => Self::Nameless,
            // It stands for bytes that were no text, which may be others'.
            (name, _) if name.contains(char::REPLACEMENT_CHARACTER) => Self::Nameless,
            (name, _) => Self::Named(name),
        }
    }
}

/// A call as a whole, with what is known of it before anything is found out.
#[derive(Debug, Clone, Copy)]
pub struct Request<'c> {
    /// The call as dockerd posted it; none where nobody has made it (commands, and what is looked at after a call's end).
    pub call: Option<&'c Call>,
    /// Who makes it.
    pub caller: Caller<'c>,
    /// The units (OU) that a caller is said to have where there is no call to show a certificate.
    pub units: &'c [String],
    /// What it is called where users are given rights; `None`: what the call is ([`Request::action`]).
    pub action: Option<Action>,
    /// What it would do.
    pub intent: &'c Intent,
}

impl<'c> Request<'c> {
    /// A call of a client.
    #[must_use]
    pub fn of(call: &'c Call, intent: &'c Intent) -> Self {
        Self { call: Some(call), caller: Caller::of(call), units: &[], action: None, intent }
    }

    /// What the gate itself wants to know: whether this might be done, whoever did it.
    #[must_use]
    pub const fn by_gate(intent: &'c Intent) -> Self {
        Self { call: None, caller: Caller::Gate, units: &[], action: None, intent }
    }

    /// The same, as somebody would do it by this action.
    #[must_use]
    pub const fn by(caller: Caller<'c>, action: Action, intent: &'c Intent) -> Self {
        Self { call: None, caller, units: &[], action: Some(action), intent }
    }

    /// What it is called where users are given rights. Looked for only there: most policies give none.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action.or_else(|| self.call.map(Action::of)).unwrap_or(Action::UNKNOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_calls_is_who_dockerd_says_and_local_is_the_absence_of_a_certificate() {
        let caller = |user: &str, method: &str| {
            let post = serde_json::json!({
                "User": user, "UserAuthNMethod": method, "RequestMethod": "GET", "RequestUri": "/v1.41/info",
            });
            let call = Call::decode(post.to_string().as_bytes()).unwrap();
            match Caller::of(&call) {
                Caller::Gate => panic!("no call says so"),
                Caller::Local => "<local>".to_owned(),
                Caller::Named(name) => name.to_owned(),
                Caller::Nameless => "<nameless>".to_owned(),
            }
        };
        assert_eq!(caller("", ""), "<local>");
        assert_eq!(caller("alice", "TLS"), "alice");
        // A certificate may say what it likes.
        assert_eq!(caller("local", "TLS"), "local");
        assert_eq!(caller(" ", "TLS"), " ");
        // A name is dockerd's word, whatever stands beside it.
        assert_eq!(caller("alice", ""), "alice");
        for (user, method) in [("", "TLS"), ("", "x"), ("al\u{fffd}ce", "TLS"), ("\u{fffd}", "")] {
            assert_eq!(caller(user, method), "<nameless>", "{user:?} {method:?}");
        }
    }
}
