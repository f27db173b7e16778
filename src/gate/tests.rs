#![allow(clippy::string_slice, reason = "tests cut their own text")]

//! The journey with an engine and a verifier in memory: each yes beside its refusing fake.

mod content;
mod creates;
mod engine;
mod exceptions;
mod images;
mod inventory;
mod log;
mod names;
mod own;
mod permissive;
mod places;
mod plugins;
mod record;
mod rego;
mod response;
mod rules;
mod services;
mod shadow;
mod starts;
mod support;
mod users;
