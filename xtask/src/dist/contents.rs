//! The layout of a distribution.

use std::fs;
use std::path::Path;

use config::Bytes;

use crate::error::Error;
use crate::files::{copy, sorted, unreadable, unwritable};
use crate::workspace::Checkout;

use super::build::Program;

/// Folders of the checkout that are included, if they exist.
const FOLDERS: [&str; 2] = ["presets", "bench/pytorch"];
const FILES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];

/// A program or a folder, and its size.
#[derive(Debug)]
pub(crate) struct DistPart {
    pub(crate) name: &'static str,
    pub(crate) bytes: u64,
}

impl DistPart {
    /// The program or folder with this name in `folder`.
    pub(crate) fn of(folder: &Path, name: &'static str) -> Result<Self, Error> {
        let bytes = bytes_in(&folder.join(name))?;
        Ok(Self { name, bytes })
    }
}

/// Copies the programs into `folder`.
pub(crate) fn programs(folder: &Path, programs: &[Program]) -> Result<Vec<DistPart>, Error> {
    let mut parts = Vec::new();
    for Program { name, path } in programs {
        let to = folder.join(name);
        create_folder_of(&to)?;
        copy(path, &to)?;
        make_executable(&to)?;
        parts.push(DistPart::of(folder, name)?);
    }
    Ok(parts)
}

/// Copies the presets and the benchmark's scripts into `folder`.
pub(crate) fn folders(folder: &Path, workspace: &Checkout) -> Result<Vec<DistPart>, Error> {
    let mut parts = Vec::new();
    for name in FOLDERS {
        let from = workspace.root().join(name);
        if from.is_dir() {
            copy_folder(&from, &folder.join(name))?;
            parts.push(DistPart::of(folder, name)?);
        }
    }
    Ok(parts)
}

/// Copies the licences into `folder`.
pub(crate) fn licences(folder: &Path, workspace: &Checkout) -> Result<Vec<DistPart>, Error> {
    let copied = FILES.iter().map(|name| {
        copy(&workspace.root().join(name), &folder.join(name))?;
        DistPart::of(folder, name)
    });
    copied.collect()
}

/// One line for each part, and the total.
pub(crate) fn table(parts: &[DistPart]) -> String {
    let total = parts.iter().map(|it| it.bytes).sum();
    let lines = parts.iter().map(|it| (it.name, it.bytes));
    lines
        .chain([("total", total)])
        .map(|(name, bytes)| format!("{name:<16}{:>10}", Bytes(bytes)))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Skips leftovers of editors and Python: names that begin with a dot, and bytecode.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> Result<(), Error> {
    fs::create_dir_all(to).map_err(|it| unwritable(to, it))?;
    for path in sorted(from)? {
        let Some(name) = path.file_name() else {
            continue;
        };
        let text = name.to_string_lossy();
        if text.starts_with('.') || text == "__pycache__" {
            continue;
        }
        if path.is_dir() {
            copy_folder(&path, &to.join(name))?;
        } else {
            copy(&path, &to.join(name))?;
        }
    }
    Ok(())
}

pub(crate) fn bytes_in(path: &Path) -> Result<u64, Error> {
    if path.is_dir() {
        return sorted(path)?.iter().map(|it| bytes_in(it)).sum();
    }
    let found = fs::metadata(path).map_err(|it| unreadable(path, it))?;
    Ok(found.len())
}

fn create_folder_of(path: &Path) -> Result<(), Error> {
    match path.parent() {
        Some(dir) => fs::create_dir_all(dir).map_err(|it| unwritable(dir, it)),
        None => Ok(()),
    }
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, mode).map_err(|it| unwritable(path, it))
}

#[cfg(not(unix))]
fn make_executable(_path: &Path) -> Result<(), Error> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let parts = [("train", 1 << 10), ("libexec/train", 10 << 20)];
        let parts = parts.map(|(name, bytes)| DistPart { name, bytes });
        assert_eq!(
            table(&parts),
            "train              1.0 KiB\n\
             libexec/train     10.0 MiB\n\
             total             10.0 MiB"
        );
    }

    #[test]
    fn leftovers_stay_behind() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|it| dir.path().join(it));
        for file in [
            "unet.py",
            ".unet.py.swp",
            "__pycache__/unet.pyc",
            "data/a.txt",
        ] {
            create_folder_of(&from.join(file)).unwrap();
            fs::write(from.join(file), file).unwrap();
        }
        copy_folder(&from, &to).unwrap();
        assert_eq!(sorted(&to).unwrap(), [to.join("data"), to.join("unet.py")]);
        assert_eq!(bytes_in(&to).unwrap(), "data/a.txtunet.py".len() as u64);
    }

    #[test]
    fn a_missing_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = copy(&dir.path().join("none"), &dir.path().join("to")).unwrap_err();
        assert!(matches!(error, Error::Unreadable { .. }), "{error}");
        let error = copy(Path::new(file!()), &dir.path().join("no/such/folder"));
        assert!(error.is_err());
    }
}
