//! `exposed-ports`.

use std::collections::BTreeSet;

use super::{Broken, Subject, broken};
use crate::text::clean;

/// Ports that a message names.
const NAMED: usize = 8;

/// Ports that no image may expose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExposedPorts {
    /// Each of them, whatever the protocol.
    pub forbid: BTreeSet<u16>,
}

/// A remote shell.
impl Default for ExposedPorts {
    fn default() -> Self {
        Self { forbid: BTreeSet::from([22]) }
    }
}

impl ExposedPorts {
    pub(super) fn judge(&self, image: &Subject<'_>) -> Result<(), Broken> {
        let mut exposed = BTreeSet::new();
        for written in &image.config()?.ports {
            let Some((first, last)) = range(written) else {
                return broken(format!("it exposes `{}`, which is not a port", clean(written)));
            };
            exposed.extend(self.forbid.range(first..=last));
        }
        let shown: Vec<String> = exposed.iter().take(NAMED).map(u16::to_string).collect();
        match exposed.len() {
            0 => Ok(()),
            1 => broken(format!("it exposes port {}", shown.concat())),
            _ => broken(format!("it exposes ports {}", shown.join(", "))),
        }
    }
}

/// `80`, `80/tcp`, `8000-8010/udp`.
fn range(written: &str) -> Option<(u16, u16)> {
    let ports = written.split('/').next().unwrap_or_default();
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}
