//! The manual pages and shell completions in `packaging/` are those of the command line. `UPDATE_DOCS=1` writes them; they are kept, so
//! that a package is made without compiling more than the program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::{Shell, generate};

/// The manual's pages by name: one for the program, one for each command and each of theirs.
fn manual(command: &Command) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    clap_mangen::generate_to(command.clone(), folder.path()).unwrap();
    let pages = std::fs::read_dir(folder.path()).unwrap().map(|page| page.unwrap());
    pages.map(|page| (format!("man/{}", page.file_name().into_string().unwrap()), std::fs::read(page.path()).unwrap())).collect()
}

fn completions(command: &Command) -> BTreeMap<String, Vec<u8>> {
    let of = |shell, name: &str| {
        let mut text = Vec::new();
        generate(shell, &mut command.clone(), "img-authz", &mut text);
        (format!("completions/{name}"), text)
    };
    [of(Shell::Bash, "img-authz"), of(Shell::Zsh, "_img-authz"), of(Shell::Fish, "img-authz.fish")].into()
}

fn kept(folder: &Path) -> BTreeMap<String, PathBuf> {
    let of = |name: &str| {
        let entries = std::fs::read_dir(folder.join(name)).map(|entries| entries.map(|entry| entry.unwrap().path()).collect());
        let paths: Vec<PathBuf> = entries.unwrap_or_default();
        paths
            .into_iter()
            .map(|path| (format!("{name}/{}", path.file_name().unwrap().to_str().unwrap()), path))
            .collect::<Vec<_>>()
    };
    of("man").into_iter().chain(of("completions")).collect()
}

#[test]
fn docs_of_the_package_are_those_of_the_command_line() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let mut command = img_authz::cli::command();
    command.build();
    let mut made = manual(&img_authz::cli::command());
    made.extend(completions(&command));
    assert!(made.len() > 20, "{:?}", made.keys());
    let found = kept(&folder);
    let is_stale =
        |(name, text): &(&String, &Vec<u8>)| found.get(*name).and_then(|path| std::fs::read(path).ok()).as_ref() != Some(text);
    let stale: Vec<_> = made.iter().filter(is_stale).collect();
    let gone: Vec<_> = found.iter().filter(|(name, _)| !made.contains_key(*name)).collect();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        for (name, text) in stale {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        for (_, path) in gone {
            std::fs::remove_file(path).unwrap();
        }
        return;
    }
    let names: Vec<&String> = stale.iter().map(|(name, _)| *name).chain(gone.iter().map(|(name, _)| *name)).collect();
    assert!(names.is_empty(), "packaging/ is stale: UPDATE_DOCS=1 cargo test --test it docs; {names:?}");
}
