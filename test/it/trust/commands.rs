//! `img-authz trust`, as an operator runs it: a process of its own, by the real clock, against real TLS servers. Credentials,
//! client certificates and proxies; bad state, bad files and bad names; several processes at once.
//!
//! Whatever is wrong: an answer within 20 seconds and 256 MiB, exit code 2 and a code, and no secret to whom it is not for.

mod answers;
mod arguments;
mod credentials;
mod images;
mod network;
mod pins;
mod state;
mod support;
