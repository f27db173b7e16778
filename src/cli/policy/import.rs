//! `policy import`: the policy of another tool, as a policy file.

use crate::order::Ordered as _;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::{NO, UNKNOWN, YES, out};
use crate::files::read_text;
use crate::policy::import::{Format, Imported, SOURCE_BYTES, import};
use crate::text::clean;

/// What the policy is called in a folder.
const POLICY: &str = "policy.toml";

#[derive(Args)]
pub(super) struct ImportArgs {
    /// Whose policy it is, where that is not to be recognised: `authz-broker`, `containers`, `notation`, `content-trust`, `course`,
    /// `digests` or `variables`
    #[arg(value_parser = format_of)]
    format: Option<Format>,
    /// The file; `-`: standard input
    file: PathBuf,
    /// Write the policy, and the files that it names, into this folder; nothing there is overwritten
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The Notary server, for a source that names none (`course`)
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn format_of(text: &str) -> Result<Format, String> {
    let found = Format::ALL.iter().find(|(name, _)| *name == text).map(|(_, format)| *format);
    found.ok_or_else(|| format!("there are {}", Format::ALL.map(|(name, _)| name).join(", ")))
}

pub(super) fn run(arguments: &ImportArgs) -> u8 {
    let told = clean(&arguments.file.to_string_lossy());
    let text = match read(&arguments.file) {
        Ok(text) => text,
        Err(error) => {
            out::fault(&format!("`{told}` cannot be read: {error}"));
            return UNKNOWN;
        }
    };
    let imported = match import(arguments.format, &text, arguments.server.as_deref()) {
        Ok(imported) => imported,
        Err(error) => {
            out::fault(&format!("`{told}`: {}", clean(&error.to_string())));
            return UNKNOWN;
        }
    };
    if let Some(folder) = &arguments.folder
        && let Err(why) = write(folder, &imported)
    {
        out::fault(&why);
        return UNKNOWN;
    }
    if arguments.json {
        let files: serde_json::Map<_, _> =
            imported.files.iter().map(|(name, text)| ((*name).to_owned(), text.clone().into())).ordered();
        out::json(&serde_json::json!({
            "format": imported.format.as_str(),
            "policy": imported.policy,
            "files": files,
            "left_out": imported.left_out,
        }));
    } else {
        out::note(&format!("# read as `{}`", imported.format.as_str()));
        for left_out in &imported.left_out {
            out::note(&format!("# {left_out}"));
        }
        if arguments.folder.is_none() {
            for (name, _) in &imported.files {
                out::note(&format!("# the policy names `{name}`, which --folder DIR writes beside it"));
            }
            out::print(&imported.policy);
        }
    }
    if imported.left_out.is_empty() { YES } else { NO }
}

fn read(file: &Path) -> std::io::Result<String> {
    if file != Path::new("-") {
        return read_text(file, SOURCE_BYTES);
    }
    let mut text = String::new();
    std::io::stdin().take(SOURCE_BYTES + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// All files, or those before the one that cannot be written: the policy is the last.
fn write(folder: &Path, imported: &Imported) -> Result<(), String> {
    let fault = |path: &Path, why: &dyn std::fmt::Display| format!("`{}`: {why}", clean(&path.to_string_lossy()));
    DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(|error| fault(folder, &error))?;
    let files = imported.files.iter().map(|(name, text)| (*name, text));
    let files: Vec<(PathBuf, &String)> =
        files.chain([(POLICY, &imported.policy)]).map(|(name, text)| (folder.join(name), text)).collect();
    if let Some((path, _)) = files.iter().find(|(path, _)| path.symlink_metadata().is_ok()) {
        return Err(fault(path, &"is there already, and is not overwritten"));
    }
    for (path, text) in files {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| fault(&path, &error))?;
    }
    Ok(())
}
