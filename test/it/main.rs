//! Integration tests: one binary, a module per subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::elidable_lifetime_names,
    clippy::format_collect,
    clippy::assigning_clones,
    clippy::type_complexity,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "tests"
)]

mod allowlist_commands;
mod architecture;
mod clients;
mod cookbook;
mod corpus;
mod docs;
mod pages;
mod recipes;
mod registry_client;
mod request_oracle;
mod serve_stops;
mod support;
mod trust;
