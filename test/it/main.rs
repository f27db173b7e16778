//! Integration tests: one binary, a file per subject.

// `cfg(test)` is always so here; it tells clippy that these may unwrap.
#[cfg(test)]
mod request_generator;
#[cfg(test)]
mod request_oracle;
