//! `exposed-ports`.

use std::collections::BTreeSet;

use super::{Broken, Subject, broken};
use crate::text::clean;

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
        for written in &image.config()?.ports {
            let Some((first, last)) = range(written) else {
                return broken(format!("it exposes `{}`, which is not a port", clean(written)));
            };
            if let Some(port) = self.forbid.range(first..=last).next() {
                return broken(format!("it exposes port {port}"));
            }
        }
        Ok(())
    }
}

/// `80`, `80/tcp`, `8000-8010/udp`.
fn range(written: &str) -> Option<(u16, u16)> {
    let ports = written.split('/').next().unwrap_or_default();
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}
