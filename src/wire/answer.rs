//! What dockerd is answered: always status 200, `Allow` and, for a refusal, `Msg`.

use serde::Serialize;

/// Media type of every answer.
pub const CONTENT_TYPE: &str = "application/vnd.docker.plugins.v1.1+json";
/// About as many bytes stand around a refusal's line in its answer.
const AROUND: usize = 64;
/// The answer to `/Plugin.Activate`.
pub const ACTIVATION: &[u8] = b"{\"Implements\":[\"authz\"]}\n";

/// The gate's answer to one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Let it pass.
    Allow,
    /// Refuse it, with the line the client is shown.
    Deny(String),
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Posted<'a> {
    allow: bool,
    msg: &'a str,
}

impl Answer {
    /// The answer's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Allow => b"{\"Allow\":true}\n".to_vec(),
            Self::Deny(reason) => {
                // A struct of a bool and a string always encodes; were it not so, an empty answer is a refusal too.
                let mut bytes = Vec::with_capacity(reason.len().saturating_add(AROUND));
                if serde_json::to_writer(&mut bytes, &Posted { allow: false, msg: reason }).is_err() {
                    return Vec::new();
                }
                bytes.push(b'\n');
                bytes
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_the_fields_dockerd_reads() {
        assert_eq!(Answer::Allow.encode(), b"{\"Allow\":true}\n");
        assert_eq!(Answer::Deny("no \"x\"".into()).encode(), b"{\"Allow\":false,\"Msg\":\"no \\\"x\\\"\"}\n");
    }
}
