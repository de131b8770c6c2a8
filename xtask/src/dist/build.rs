//! Builds the programs of a distribution: with all techniques, and without paths of this machine.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::console::Console;
use crate::error::Error;
use crate::run;
use crate::workspace::Checkout;

/// A program that was built, and its name in the distribution.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
}

/// Builds the programs of a distribution.
pub(crate) fn programs(workspace: &Checkout, console: &Console) -> Result<Vec<Program>, Error> {
    let mut selection = vec!["--features", "train/full", "--package", "train"];
    selection.extend(["--package", "advisor", "--package", "launcher"]);
    console.say("dist: building the programs (takes minutes the first time)");
    let folder = compile(workspace, &selection)?;
    // The launcher gets the names that people call.
    let names = [
        ("snug", "snug-launcher"),
        ("libexec/snug", "snug"),
        ("train", "snug-launcher"),
        ("libexec/train", "train"),
        ("advisor", "advisor"),
    ];
    Ok(in_folder(&folder, &names))
}

/// Programs of `folder` with new names.
pub(crate) fn in_folder(folder: &Path, names: &[(&'static str, &str)]) -> Vec<Program> {
    names
        .iter()
        .map(|(name, built)| Program {
            name,
            path: folder.join(built),
        })
        .collect()
}

/// Their own target folder: they need other compiler flags than the rest of the checkout, and in a
/// shared folder each build would invalidate the other.
pub(crate) fn target_dir(workspace: &Checkout) -> PathBuf {
    workspace.root().join("target").join("dist-build")
}

/// Compiles a selection of programs for other machines, and returns their folder.
pub(crate) fn compile(workspace: &Checkout, selection: &[&str]) -> Result<PathBuf, Error> {
    let target_dir = target_dir(workspace);
    let mut cargo = run::cargo(workspace);
    cargo.current_dir(workspace.root());
    cargo
        .args(["build", "--release"])
        .args(selection)
        .arg("--target-dir")
        .arg(&target_dir)
        .arg("--config")
        .arg(without_paths())
        .env("SNUG_RPATH", "none")
        // A build target would move the programs to another folder, and no other is supported.
        .env_remove("CARGO_BUILD_TARGET");
    let libtorch = workspace.user_libtorch().unwrap_or(workspace.torch());
    if let Some(flags) = cxxflags(env::var_os("CXXFLAGS"), &libtorch) {
        cargo.env("CXXFLAGS", flags);
    }
    if !run::succeeds(&mut cargo)? {
        return Err(Error::Build);
    }
    Ok(target_dir.join("release"))
}

/// The cargo setting that keeps folders of this machine out of a program.
pub(crate) fn without_paths() -> String {
    rustflags(&hidden())
}

/// Folders of this machine that would appear in panic messages, and their replacements. If two of
/// them match, the compiler takes the later one.
fn hidden() -> Vec<(PathBuf, &'static str)> {
    let folder = |name: &str| env::var_os(name).map(PathBuf::from);
    let home = folder("HOME").filter(|it| it.parent().is_some());
    let cargo_home = folder("CARGO_HOME").or_else(|| home.as_ref().map(|it| it.join(".cargo")));
    let hidden = [(home, "~"), (cargo_home, "cargo")];
    hidden
        .into_iter()
        .filter_map(|(folder, name)| Some((folder?, name)))
        .collect()
}

/// The flags as a cargo setting, in TOML. The user's `RUSTFLAGS` win over it.
fn rustflags(hidden: &[(PathBuf, &str)]) -> String {
    let flags: Vec<String> = hidden
        .iter()
        .map(|(folder, name)| {
            let folder = folder.display().to_string();
            let folder = folder.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"--remap-path-prefix={folder}={name}\"")
        })
        .collect();
    format!("build.rustflags=[{}]", flags.join(","))
}

/// The same for libtorch's headers, whose checks name their file. The variable is split at spaces,
/// so a folder with a space in its name stays unchanged.
fn cxxflags(user: Option<OsString>, libtorch: &Path) -> Option<OsString> {
    let folder = libtorch.to_str()?;
    if folder.contains(char::is_whitespace) {
        return None;
    }
    let mut flags = OsString::from(format!("-ffile-prefix-map={folder}=libtorch"));
    if let Some(user) = user.filter(|it| !it.is_empty()) {
        flags.push(" ");
        flags.push(user);
    }
    Some(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rustflags_are_toml() {
        let hidden = [("/home/a b", "~"), ("/home/a b/.cargo", "cargo")];
        let hidden = hidden.map(|(folder, name)| (PathBuf::from(folder), name));
        assert_eq!(
            rustflags(&hidden),
            "build.rustflags=[\"--remap-path-prefix=/home/a b=~\",\
             \"--remap-path-prefix=/home/a b/.cargo=cargo\"]"
        );
        assert_eq!(rustflags(&[]), "build.rustflags=[]");
    }

    #[test]
    fn flags_of_the_user_stay() {
        let torch = Path::new("/opt/torch");
        let ours = "-ffile-prefix-map=/opt/torch=libtorch";
        assert_eq!(cxxflags(None, torch), Some(ours.into()));
        assert_eq!(
            cxxflags(Some("-O2".into()), torch),
            Some(format!("{ours} -O2").into())
        );
        assert_eq!(cxxflags(None, Path::new("/my torch")), None);
    }
}
