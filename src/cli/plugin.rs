//! `plugin digest`: a plugin as `ALLOW_PLUGINS` names it.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::time::Instant;

use super::{NO, UNKNOWN, YES, out};
use crate::engine::{Api as _, Engine, Plugin};
use crate::policy::{Settings, quoted};

/// How long the engine gets. A command on a host whose engine hangs still answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// Say by which digest a plugin is named in `ALLOW_PLUGINS`.
///
/// Example: img-authz plugin digest sshfs
#[derive(Args)]
pub(super) struct PluginArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print NAME@sha256:DIGEST of a plugin on this host: its root filesystem and its whole configuration with settings
    ///
    /// Example: img-authz plugin digest sshfs
    Digest(DigestArgs),
}

/// Of which.
#[derive(Args)]
struct DigestArgs {
    /// The plugin's name or id
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `plugin`.
#[must_use]
pub(super) fn run(arguments: &PluginArgs, settings: &Settings) -> ExitCode {
    let Command::Digest(arguments) = &arguments.command;
    let code = digest(arguments, settings).unwrap_or_else(|fault| {
        out::fault(&fault);
        UNKNOWN
    });
    ExitCode::from(code)
}

fn digest(arguments: &DigestArgs, settings: &Settings) -> Result<u8, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let engine = Engine::at(settings.docker_host()).map_err(|error| error.to_string())?;
    let found = runtime.block_on(async { engine.plugin(&arguments.name, Instant::now() + PATIENCE).await });
    let Some(Plugin { id, name, digest: Some(digest), .. }) = found.map_err(|error| error.to_string())? else {
        out::fault(&format!("the engine shows no plugin {} with a digest of its content", quoted(&arguments.name)));
        return Ok(NO);
    };
    if arguments.json {
        out::json(&serde_json::json!({ "id": id, "name": name, "digest": digest.to_string() }));
    } else {
        out::line(&format!("{name}@{digest}"));
    }
    Ok(YES)
}
