//! Integration tests: one binary, a file per subject.

mod request_generator;
mod request_oracle;
