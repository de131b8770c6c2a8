//! Operations on files and folders that `std` lacks.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Removes a file or folder, if it exists.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Copies the contents of a file, but not its permissions. The error says whether reading or
/// writing failed.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let mut source = File::open(from).map_err(|it| unreadable(from, it))?;
    let mut target = File::create(to).map_err(|it| unwritable(to, it))?;
    // Reading from an open file rarely fails; writing to a full disk always does.
    io::copy(&mut source, &mut target).map_err(|it| unwritable(to, it))?;
    Ok(())
}

/// The contents of a folder, sorted by name.
pub(crate) fn sorted(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|it| unreadable(dir, it))?;
    let mut paths: Vec<PathBuf> = entries.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    Ok(paths)
}

pub(crate) fn unwritable(path: &Path, source: io::Error) -> Error {
    Error::Unwritable {
        path: path.to_path_buf(),
        source,
    }
}

pub(crate) fn unreadable(path: &Path, source: io::Error) -> Error {
    Error::Unreadable {
        path: path.to_path_buf(),
        source,
    }
}
