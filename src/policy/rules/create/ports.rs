//! `privileged-ports` and `host-ip`: ports of the host that lead to a container.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Judged;
use crate::request::{Port, Run};
use crate::text::clean;

/// The first port that anybody may listen on.
const FREE: u16 = 1024;

/// Ports below 1024 that may lead to a container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PrivilegedPorts {
    /// These.
    pub allow: BTreeSet<u16>,
}

/// Addresses of the host on which ports may be published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostAddresses {
    /// These; none: every single one, but not all at once.
    pub allow: BTreeSet<IpAddr>,
}

fn published<'r>(run: &Run<'r>) -> impl Iterator<Item = &'r Port> {
    run.terms.into_iter().flat_map(|terms| &terms.ports)
}

impl PrivilegedPorts {
    pub(super) fn judge(&self, run: &Run<'_>) -> Judged {
        // Without a number the engine chooses one, far above.
        for port in published(run).filter(|port| !port.number.is_empty()) {
            let written = port.number.as_str();
            let (first, last) = written.split_once('-').unwrap_or((written, written));
            let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
                return Err(format!("`{}` is not a port", clean(written)));
            };
            let mut below = first.min(last)..=first.max(last).min(FREE - 1);
            if let Some(port) = below.find(|port| !self.allow.contains(port)) {
                return Err(format!("it publishes port {port} of the host"));
            }
        }
        Ok(())
    }
}

impl HostAddresses {
    pub(super) fn judge(&self, run: &Run<'_>) -> Judged {
        for port in published(run) {
            let written = port.address.as_deref().unwrap_or_default();
            let address = written.parse::<IpAddr>().map(|address| address.to_canonical());
            match address {
                Ok(address) if address.is_unspecified() => {}
                Ok(address) if self.allow.is_empty() || self.allow.contains(&address) => continue,
                Ok(address) => return Err(format!("it publishes a port on {address}")),
                Err(_) if written.is_empty() => {}
                Err(_) => return Err(format!("`{}` is not an address", clean(written))),
            }
            return Err("it publishes a port on every address of the host".to_owned());
        }
        Ok(())
    }
}
