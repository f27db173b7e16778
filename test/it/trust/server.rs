//! The verifier against a server that lies, stalls or asks for credentials; over real TLS on loopback.

mod answers;
mod asking;
mod clock;
mod credentials;
mod outage;
mod state;
