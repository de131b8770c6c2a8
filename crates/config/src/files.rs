//! Files that appear whole or not at all, with the usual permissions.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;

/// What begins the name of a file that is not complete yet.
pub const TEMPORARY: &str = ".snug-";

/// A file beside `path`, which takes its place when it persists. Until then it is deleted in the end.
///
/// # Errors
/// Those of the system, which name no file: the temporary one means nothing to anybody.
pub fn begin(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    // What `tempfile` itself opens is private, and its errors name the temporary file.
    tempfile::Builder::new()
        .prefix(TEMPORARY)
        .make_in(folder.unwrap_or(Path::new(".")), |it| File::create_new(it))
}

/// Writes `bytes` to `path`, so that an existing file is either intact or replaced.
///
/// # Errors
/// As [`begin`].
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = begin(path)?;
    // The inner file is used, because errors of `file` itself name the temporary file.
    file.as_file_mut().write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|it| it.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_no_temporary_file_and_leaves_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        for wrong in [path.join("b"), dir.path().join("none/b")] {
            let error = write_whole(&wrong, b"").unwrap_err();
            assert!(!error.to_string().contains(TEMPORARY), "{error}");
            assert!(error.raw_os_error().is_some());
        }
        // A folder is not replaced.
        let folder = dir.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        write_whole(&folder, b"").unwrap_err();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
