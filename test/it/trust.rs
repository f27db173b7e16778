//! The Notary verifier and its commands: repositories that a generator makes, on servers that a test writes.

mod attacks;
mod bundles;
mod commands;
mod fixtures;
mod fuzz;
mod memory;
mod reboot;
mod server;
mod signers;
mod size;
