//! Writes that failed because of a full disk, a read-only folder or a missing folder: they are kept in
//! memory and retried, so that a run of days does not end for want of a megabyte.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::run::weights::write_atomically;

/// The pending writes. A whole file is kept once, in its newest form.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    files: BTreeMap<PathBuf, Vec<u8>>,
    lines: BTreeMap<PathBuf, Vec<u8>>,
}

impl Unwritten {
    /// Writes a file, after all pending writes.
    ///
    /// # Errors
    /// [`Error::Io`] of the first file that cannot be written; all others are written.
    pub(super) fn write(&mut self, path: PathBuf, bytes: Vec<u8>) -> Result<()> {
        self.files.insert(path, bytes);
        self.flush()
    }

    /// Appends to a file, likewise.
    ///
    /// # Errors
    /// The errors of [`write`](Self::write).
    pub(super) fn append(&mut self, path: PathBuf, line: &[u8]) -> Result<()> {
        self.lines.entry(path).or_default().extend_from_slice(line);
        self.flush()
    }

    /// Retries all pending writes.
    ///
    /// # Errors
    /// The errors of [`write`](Self::write).
    pub(super) fn flush(&mut self) -> Result<()> {
        let mut first = None;
        let mut failed = |written: Result<()>| {
            let failed = written.is_err();
            first = first.take().or(written.err());
            failed
        };
        self.lines.retain(|path, lines| {
            failed(append(path, lines).map_err(|e| Error::io("write", path, e)))
        });
        self.files.retain(|path, bytes| {
            let folder = make_folder_of(path).map_err(|e| Error::io("write", path, e));
            failed(folder.and_then(|()| write_atomically(path, bytes)))
        });
        first.map_or(Ok(()), Err)
    }
}

/// Recreates the folder of a file, which may have been removed during the run.
fn make_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// Appends all of `lines` to the file on disk, or nothing: a snapshot relies on the lines before it.
fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    make_folder_of(path)?;
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let before = file.metadata()?.len();
    let written = file.write_all(lines).and_then(|()| file.sync_data());
    if written.is_err() {
        // Half a line would be read as a damaged line. If the truncation fails too, nothing is worse.
        drop(file.set_len(before));
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_written_once_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        // A file stands in the folder's place.
        fs::write(&run, "").unwrap();
        let mut unwritten = Unwritten::default();
        for n in 0..2 {
            let line = format!("{n}\n");
            unwritten
                .append(run.join("log"), line.as_bytes())
                .unwrap_err();
            unwritten
                .write(run.join("a/file"), line.into())
                .unwrap_err();
        }
        fs::remove_file(&run).unwrap();
        unwritten.append(run.join("log"), b"2\n").unwrap();
        assert_eq!(fs::read(run.join("log")).unwrap(), b"0\n1\n2\n");
        assert_eq!(fs::read(run.join("a/file")).unwrap(), b"1\n");
        unwritten.flush().unwrap();
        assert_eq!(fs::read(run.join("log")).unwrap(), b"0\n1\n2\n");
    }
}
