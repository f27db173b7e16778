//! Names for reqwest, which would look them up on the runtime's own threads.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::names::Names;

pub(super) struct Resolver(pub(super) Names);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let names = self.0.clone();
        Box::pin(async move {
            let addresses = names.addresses(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
