//! What the tests of several subjects share: generators and servers.

pub mod registry;
pub mod request_generator;
pub mod trust_repo;
pub mod trust_server;
