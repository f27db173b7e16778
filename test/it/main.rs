//! Tests across rooms, on real sockets and files. One binary, one module per subject.

mod registry_client;
