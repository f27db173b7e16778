//! What was written becomes rules in force: settings and the files they name are read here, once, and a client of each kind is
//! made of them. Commands find the gate of their host here, and judge by what it judges by.

mod host;
mod in_force;
mod last_good;
mod rules;
mod started;

pub(crate) use self::host::{Basis, Place, View, host_path, is_called};
pub(crate) use self::in_force::{Alive, Teller, is_alive};
pub(crate) use self::last_good::{LastGood, forget_earlier};
#[cfg(test)]
pub(crate) use self::rules::LAST_GOOD;
pub(crate) use self::rules::{
    AUDIT_LOG, Kept, METRICS, RENAMES, asking, certificate_folders, credentials, daemon_file, list, notary, notary_tls, policy,
    rules, serving,
};
pub(crate) use self::started::Started;
