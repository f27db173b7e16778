//! `serve`: the plugin.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{UNKNOWN, YES, own_log};
use crate::policy::Settings;
use crate::service;

/// Serve the plugin's socket; dockerd is the client.
#[derive(Args)]
#[command(after_help = "Example: img-authz serve --socket /run/docker/plugins/img-authz.sock")]
pub(super) struct ServeArgs {
    /// Where to listen, unless systemd passes a socket
    #[arg(long, value_name = "PATH", default_value = "/run/docker/plugins/img-authz.sock")]
    socket: PathBuf,
}

pub(super) fn run(arguments: &ServeArgs, settings: Settings) -> ExitCode {
    let log = own_log::start(&settings);
    let code = match service::serve(&arguments.socket, settings) {
        Ok(()) => ExitCode::from(YES),
        Err(message) => {
            tracing::error!("{message}");
            ExitCode::from(UNKNOWN)
        }
    };
    log.end();
    code
}
