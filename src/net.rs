//! HTTP, TLS, sockets and their bounds. Knows nothing of registries, Notary or engines.
