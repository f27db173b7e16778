//! The binary `img-authz`: arguments, logging and the exit code. Everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    img_authz::cli::main()
}
