//! Attacks on trust data, by the families of docs/notary-v1.md, section 14, each beside valid fakes. Every attack is tried on
//! first use and, where it makes sense, against a good earlier state.

mod consistency;
mod delegations;
mod exhaustion;
mod freshness;
mod reading;
mod roots;
mod signatures;
mod support;
