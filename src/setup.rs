//! What was written becomes rules in force: settings and the files they name are read here, once, and a client of each kind is
//! made of them. Commands find the gate of their host here, and judge by what it judges by.

mod clients;
mod dockerd;
mod gates;
mod host;
mod in_force;
mod kept;
mod last_good;
mod mounts;
mod notation;
mod policy_file;
mod recording;
mod resolve;
mod shadow;
mod started;
mod state;
mod verifiers;

pub(crate) use self::clients::{
    DEFAULT_SERVER, NETWORK_TIME, NotaryFault, NotaryOf, credentials, credentials_of_person, evidence_folder, list_key,
    newest_folder, newest_signed, notaries_kept, notary, notary_of_folder, notary_of_person, notary_tls, registry, signers,
};
pub(crate) use self::dockerd::{Flags, Process, daemon_file};
pub(crate) use self::gates::{asking, exception_times, own, serving, telemetry};
pub(crate) use self::host::{Basis, Place, SERVICE, is_called};
pub(crate) use self::in_force::{Alive, InForce, Teller, is_alive, policy_in_force};
pub(crate) use self::kept::Kept;
pub(crate) use self::last_good::{LastGood, forget_earlier, in_its_place};
pub(crate) use self::mounts::{View, host_path};
pub(crate) use self::policy_file::{read as read_policy, with_file};
pub(crate) use self::recording::recording;
pub(crate) use self::resolve::{MadeOf, Meaning, build_of, list, meaning, policy, rules};
pub(crate) use self::shadow::{Candidates, shadow, shadow_path};
pub(crate) use self::started::Started;
#[cfg(test)]
pub(crate) use self::state::LAST_GOOD;
pub(crate) use self::state::{ARRIVED, AUDIT_LOG, METRICS, MONITOR, MONITOR_APPROVED, RENAMES, STATUS_SOCKET, TRUST, WEB_TOKEN};
pub(crate) use crate::sinks::Figures;
