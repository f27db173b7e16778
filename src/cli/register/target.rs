//! Which list a command is about, and where a change of it goes: into the file, or, where that must be signed, into the next one to be signed.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::out::{self, Consent};
use crate::cli::trail::Trail;
use crate::policy::{AllowlistSetting, Settings};
use crate::setup::{self, forget_earlier};
use crate::trust::allowlist::file::{FileFault, ListFile, edit};
use crate::trust::allowlist::signed::ListKey;

use super::told;

/// What the commands about the list have in common.
#[derive(Args)]
pub(in crate::cli) struct ListArgs {
    /// The allowlist, if not the gate's own (ALLOWLIST, or allowlist.json in `CONFIG_DIR`)
    #[arg(long, value_name = "PATH")]
    pub(in crate::cli) file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// Where a change goes.
#[derive(Args)]
pub(in crate::cli) struct OutArgs {
    /// Change nothing: write the list as it would be to this new file, to be signed elsewhere (allowlist sign)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Where a change of a list goes.
pub(in crate::cli) enum Target {
    /// Into the file.
    File(PathBuf),
    /// Into a new file, beside what is in force.
    Next {
        /// The new file.
        out: PathBuf,
        /// What is in force, with the serial that comes next.
        list: ListFile,
    },
}

impl OutArgs {
    /// Where a change goes; a list that must be signed is not changed here.
    pub(in crate::cli) fn target(&self, list: &ListArgs, settings: &Settings) -> Result<Target, String> {
        let path = list.path(settings);
        let key = if list.is_the_gates(settings) { setup::list_key(settings)? } else { None };
        match (&self.out, key) {
            (Some(out), key) => Ok(Target::Next { out: out.clone(), list: next(&path, key.as_ref(), settings)? }),
            (None, Some(key)) => Err(format!(
                "`{}` must be signed by key {}, and is not changed here: say --out FILE, sign that elsewhere (img-authz allowlist sign), and \
                 put it in its place",
                path.display(),
                key.id()
            )),
            (None, None) => Ok(Target::File(path)),
        }
    }
}

impl Target {
    /// The file that is written.
    pub(in crate::cli) fn path(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Next { out, .. } => out,
        }
    }

    /// Whether what is approved changes here.
    pub(in crate::cli) const fn is_live(&self) -> bool {
        match self {
            Self::File(_) => true,
            Self::Next { .. } => false,
        }
    }

    /// The list as it is, or is to be changed.
    pub(in crate::cli) fn read(&self) -> Result<ListFile, FileFault> {
        match self {
            Self::File(path) => ListFile::read(path),
            Self::Next { list, .. } => Ok(list.clone()),
        }
    }

    /// Changes the list.
    pub(in crate::cli) fn change<T>(self, change: impl FnOnce(&mut ListFile) -> T) -> Result<T, String> {
        match self {
            Self::File(path) => edit(&path, change).map_err(|error| told(&path, &error)),
            Self::Next { out, mut list } => {
                let value = change(&mut list);
                list.write_new(&out).map_err(|error| told(&out, &error))?;
                let serial = list.serial.unwrap_or_default();
                out::note(&format!("`{}` is to be signed (serial {serial}); nothing is approved by it as it is", out.display()));
                Ok(value)
            }
        }
    }
}

/// What is in force, with the next serial and without a signature. Where it must be signed, nothing counts that is not.
pub(in crate::cli) fn next(path: &Path, key: Option<&ListKey>, settings: &Settings) -> Result<ListFile, String> {
    let Some(key) = key else {
        let list = match ListFile::read(path) {
            Ok(list) => list,
            Err(FileFault::Missing) => ListFile::default(),
            Err(fault) => return Err(format!("`{}`: {fault}", path.display())),
        };
        let serial = list.serial.unwrap_or(0).saturating_add(1);
        let name = list.list.or_else(|| Some(settings.allowlist_name().to_string()));
        return Ok(ListFile { serial: Some(serial), list: name, is_signed: false, ..list });
    };
    let (newest, fault) = setup::newest_signed(path, key, &settings.state_dir());
    if let Some(fault) = fault {
        let then = if newest.is_some() { "the one in force is gone on from" } else { "this begins with an empty one" };
        out::note(&format!("note: `{}`: {fault}; {then}", path.display()));
    }
    let (list, serial) = newest.map_or_else(Default::default, |newest| (newest.list, newest.serial));
    let name = Some(settings.allowlist_name().to_string());
    Ok(ListFile { serial: Some(serial.saturating_add(1)), list: name, is_signed: false, ..list })
}

/// Says what a new file turns on, and asks. `false`: the answer was no.
pub(super) fn consented(path: &Path, yes: bool, settings: &Settings) -> Result<bool, String> {
    let is_the_gates = match settings.allowlist() {
        AllowlistSetting::IfPresent(own) => own == path,
        // Required already: without the file, everything is refused as it is.
        AllowlistSetting::Required(own) if own == path => return Ok(true),
        AllowlistSetting::Required(_) | AllowlistSetting::Off => false,
    };
    if !is_the_gates {
        out::note(&format!("note: the settings here do not name `{}`; the gate goes by its own", path.display()));
    }
    match ListFile::read(path) {
        Err(FileFault::Missing) if is_the_gates => {}
        Ok(_) | Err(FileFault::Missing) => return Ok(true),
        Err(fault) => return Err(format!("`{}`: {fault}", path.display())),
    }
    out::note(&format!(
        "`{}` does not exist yet: this is its first entry. From now on every image that is not listed in it will be refused, also at \
         start, besides what else must vouch for it. A gate that runs takes the file up within a second.",
        path.display()
    ));
    match out::ask("Turn this on?", yes) {
        Consent::Given => Ok(true),
        Consent::Refused => {
            out::note("nothing was changed");
            Ok(false)
        }
        Consent::NobodyThere => Err("this turns the allowlist on; say --yes where there is no terminal to ask on".to_owned()),
    }
}

impl ListArgs {
    /// The file that the command is about: `--file`, or the gate's.
    pub(in crate::cli) fn path(&self, settings: &Settings) -> PathBuf {
        match (&self.file, settings.allowlist()) {
            (Some(path), _) => path.clone(),
            (None, AllowlistSetting::Required(path) | AllowlistSetting::IfPresent(path)) => path,
            (None, AllowlistSetting::Off) => settings.config_dir().join("allowlist.json"),
        }
    }

    /// Where a change is recorded: in the gate's log, if the list is the gate's.
    pub(in crate::cli) fn trail(&self, settings: &Settings) -> Result<Trail, String> {
        if self.is_the_gates(settings) { Trail::open(settings, &settings.state_dir()) } else { Ok(Trail::none()) }
    }

    pub(super) fn is_the_gates(&self, settings: &Settings) -> bool {
        let own = Self { file: None, json: false }.path(settings);
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        self.file.as_deref().is_none_or(|path| real(path) == real(&own))
    }

    /// The list has been changed: what a gate kept of it before, for a start at which it is faulty, does not count again.
    pub(in crate::cli) fn forget_earlier(&self, settings: &Settings) {
        let state = settings.state_dir();
        if self.is_the_gates(settings)
            && let Err(error) = forget_earlier(&state, &self.path(settings))
        {
            out::note(&format!(
                "note: the list as it was before is still kept in `{}` ({error}), and counts if the list is faulty at a start of the gate",
                state.display()
            ));
        }
    }
}
