//! The addresses that the gate itself uses: of Notary, of registries, and of the resolvers that it asks. In posture `lockdown` no network
//! of a client's choice takes the way to them.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use crate::names::Names;

/// How long addresses are used before the names are resolved again.
const FRESH: Duration = Duration::from_mins(1);
/// How long resolving may take, all names at once. A name that does not resolve keeps its addresses.
const RESOLVING: Duration = Duration::from_secs(1);
/// Most names, addresses of one name, and resolvers. Nobody has so many; stops a wrong setting from costing time.
const MAX: usize = 64;
/// Largest `resolv.conf` read.
const RESOLVERS_BYTES: u64 = 64 << 10;

/// What the gate talks to.
#[derive(Debug, Default)]
pub struct Own {
    hosts: Vec<Host>,
    resolvers: Option<PathBuf>,
    known: tokio::sync::Mutex<Known>,
}

/// A server that the gate asks: its name or address, and its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Name or address, without brackets.
    pub name: String,
    /// Resolving asks for one; it tells nothing.
    pub port: u16,
}

#[derive(Debug, Default)]
struct Known {
    /// Of each host, in their order.
    of_hosts: Vec<Vec<IpAddr>>,
    of_resolvers: Vec<IpAddr>,
    at: Option<Instant>,
}

impl Own {
    /// These hosts, and the resolvers of this file.
    #[must_use]
    pub fn new(mut hosts: Vec<Host>, resolvers: PathBuf) -> Self {
        hosts.truncate(MAX);
        Self { hosts, resolvers: Some(resolvers), known: tokio::sync::Mutex::default() }
    }

    /// All of them, as known within the last minute. One finds out for all who ask meanwhile, on threads that do not serve.
    pub(super) async fn addresses(&self, workers: &tokio::runtime::Handle) -> Vec<IpAddr> {
        let mut known = self.known.lock().await;
        if known.at.is_none_or(|at| at.elapsed() >= FRESH) {
            self.find_out(&mut known, workers).await;
        }
        known.of_hosts.iter().flatten().chain(&known.of_resolvers).copied().collect()
    }

    async fn find_out(&self, known: &mut Known, workers: &tokio::runtime::Handle) {
        known.of_hosts.resize(self.hosts.len(), Vec::new());
        let until = Instant::now() + RESOLVING;
        let asked: Vec<_> = self.hosts.iter().map(|host| workers.spawn(resolve(host.clone(), until))).collect();
        for (asked, addresses) in asked.into_iter().zip(&mut known.of_hosts) {
            if let Ok(Some(found)) = asked.await {
                *addresses = found;
            }
        }
        if let Some(path) = self.resolvers.clone() {
            let read = workers.spawn_blocking(move || crate::files::read_text(&path, RESOLVERS_BYTES)).await;
            if let Ok(Ok(text)) = read {
                known.of_resolvers = resolvers(&text);
            }
        }
        known.at = Some(Instant::now());
    }
}

async fn resolve(host: Host, until: Instant) -> Option<Vec<IpAddr>> {
    let found = tokio::time::timeout_at(until, Names::system().addresses(&host.name)).await;
    let addresses = found.ok()?.ok()?;
    Some(addresses.into_iter().map(|address: SocketAddr| address.ip()).take(MAX).collect())
}

/// The addresses behind `nameserver`, as the C library reads them (resolv.conf(5)).
fn resolvers(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let address = (words.next()? == "nameserver").then(|| words.next())??;
        // An address of the link's own has its interface behind it.
        address.split('%').next()?.parse().ok()
    };
    text.lines().filter_map(address).take(MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_as_the_library_reads_them() {
        let text = "# x\nnameserver 10.0.0.53\nsearch a\n  nameserver\tfe80::1%eth0 \nnameserver x\nnameserverx 10.0.0.1\n";
        let expected: Vec<IpAddr> = ["10.0.0.53", "fe80::1"].map(|address| address.parse().unwrap()).into();
        assert_eq!(resolvers(text), expected);
    }

    #[tokio::test]
    async fn addresses_of_hosts_and_resolvers_are_known_together() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("resolv.conf");
        std::fs::write(&file, "nameserver 10.9.8.7\n").unwrap();
        let host = |name: &str| Host { name: name.into(), port: 443 };
        let own = Own::new(vec![host("10.1.2.3"), host("does-not-resolve.invalid"), host("fd00::1")], file.clone());
        let workers = tokio::runtime::Handle::current();
        let expected: Vec<IpAddr> = ["10.1.2.3", "fd00::1", "10.9.8.7"].map(|address| address.parse().unwrap()).into();
        assert_eq!(own.addresses(&workers).await, expected);
        // What was known stays, and is not asked for at each call.
        std::fs::remove_file(file).unwrap();
        assert_eq!(own.addresses(&workers).await, expected);
    }
}
