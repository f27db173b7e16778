//! The gate that decides which container images may enter and run on a Docker host.
//!
//! A request travels one road: socket → [`wire`] → [`request`] → [`gate`] (gathers facts) → [`policy`] (decides) →
//! [`audit`] → answer. A room imports only rooms below it; `docs/architecture.md` has the map and the table.

pub mod cli;

mod service;

pub mod hardening;

mod enrol;

mod doctor;

mod setup;

pub mod monitor;

pub mod daemon;

mod cases;

pub mod gate;

mod record;

pub mod sinks;

pub mod audit;

pub mod policy;

pub mod rego;

pub mod trust;

pub mod request;

pub mod registry;

pub mod engine;

pub mod wire;

pub mod net;

pub mod image;

pub mod clock;

pub mod files;

pub mod names;

pub mod text;

mod order;
