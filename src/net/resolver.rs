//! Names for reqwest, which would look them up on the runtime's own threads.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::reach::{Barred, Reach};
use crate::names::Names;

/// Gives the addresses that a connection may be made to.
pub(super) struct Resolver {
    pub(super) names: Names,
    /// How near they may be at most; `None`: all are good.
    pub(super) within: Option<Reach>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, within) = (self.names.clone(), self.within);
        Box::pin(async move {
            let mut addresses = names.addresses(name.as_str()).await?;
            let found = addresses.len();
            addresses.retain(|address| within.is_none_or(|reach| reach.covers(address.ip())));
            if addresses.is_empty() && found > 0 {
                return Err(Barred.into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
