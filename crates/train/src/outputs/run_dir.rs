//! The folder of a run: made before training starts, so that an unwritable place costs
//! nothing, and never one that holds another run.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::weights::write_atomically;

/// Numbers tried for a free name.
const MAX_NUMBER: u32 = 100_000;

/// A run's folder, open for its logs.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    metrics: File,
    events: File,
}

impl RunDir {
    /// Makes exactly `path`, which must be free: absent or empty.
    ///
    /// # Errors
    /// [`Error::Usage`] where it holds something, [`Error::Io`] where it cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        Self::refuse_taken(path)?;
        fs::create_dir_all(path).map_err(|e| Error::io("create", path, e))?;
        Self::open(path)
    }

    /// What [`create`](Self::create) would refuse, and nothing made: to be asked before the data
    /// is read, which can take long.
    ///
    /// # Errors
    /// [`Error::Usage`] where it holds something, [`Error::Io`] where it is no folder.
    pub fn refuse_taken(path: &Path) -> Result<()> {
        match fs::read_dir(path).map(|mut entries| entries.next().is_some()) {
            Ok(false) => Ok(()),
            Ok(true) => Err(Error::Usage {
                message: format!("the run folder `{}` is not empty", path.display()),
                hint: "choose another `--run-dir`; nothing is overwritten".to_owned(),
            }),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::io("create", path, e)),
        }
    }

    /// Makes `parent/NAME-NNN` with the next free number; the name is taken atomically, so that
    /// two runs started at once get two folders.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written.
    pub fn create_numbered(parent: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
        for number in 1..MAX_NUMBER {
            let path = parent.join(format!("{name}-{number:03}"));
            match fs::create_dir(&path) {
                Ok(()) => return Self::open(&path),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io("create", path, e)),
            }
        }
        Err(Error::Usage {
            message: format!("no free number for a run in `{}`", parent.display()),
            hint: "name one with `--run-dir`".to_owned(),
        })
    }

    fn open(path: &Path) -> Result<Self> {
        let log = |name: &str| {
            let path = path.join(name);
            OpenOptions::new()
                .create_new(true)
                .append(true)
                .open(&path)
                .map_err(|e| Error::io("create", path, e))
        };
        Ok(Self {
            metrics: log("metrics.jsonl")?,
            events: log("events.jsonl")?,
            path: path.to_owned(),
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a whole file, or leaves what was there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        write_atomically(&self.file(name), text.as_bytes())
    }

    /// Appends a line to `metrics.jsonl`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn log_metrics(&mut self, row: &impl Serialize) -> Result<()> {
        let path = self.file("metrics.jsonl");
        append(&mut self.metrics, path, row)
    }

    /// Appends a line to `events.jsonl`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn log_event(&mut self, row: &impl Serialize) -> Result<()> {
        let path = self.file("events.jsonl");
        append(&mut self.events, path, row)
    }
}

fn append(file: &mut File, path: PathBuf, row: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(row).map_err(|e| Error::io("write", &path, e.into()))?;
    line.push(b'\n');
    file.write_all(&line)
        .map_err(|e| Error::io("write", path, e))
}

/// Makes `models_dir` and tries to write there: better found out before a run than after.
///
/// # Errors
/// [`Error::Io`].
pub fn prepare_models_dir(models_dir: &Path) -> Result<()> {
    fs::create_dir_all(models_dir).map_err(|e| Error::io("create", models_dir, e))?;
    // It has no name, and is gone when closed.
    tempfile::tempfile_in(models_dir)
        .map(drop)
        .map_err(|e| Error::io("write to", models_dir, e))
}

/// Copies `weights` to `models_dir/DATASET-unet-NN.safetensors` with the next free number.
///
/// # Errors
/// [`Error::Io`].
pub fn save_to_models_dir(models_dir: &Path, dataset: &str, weights: &Path) -> Result<PathBuf> {
    fs::create_dir_all(models_dir).map_err(|e| Error::io("create", models_dir, e))?;
    let bytes = fs::read(weights).map_err(|e| Error::io("read", weights, e))?;
    for number in 1..MAX_NUMBER {
        let path = models_dir.join(format!("{dataset}-unet-{number:02}.safetensors"));
        match OpenOptions::new().create_new(true).write(true).open(&path) {
            Ok(_taken) => {
                return match write_atomically(&path, &bytes) {
                    Ok(()) => Ok(path),
                    Err(error) => {
                        // An empty file would look like a model.
                        drop(fs::remove_file(&path));
                        Err(error)
                    }
                };
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::io("create", path, e)),
        }
    }
    Err(Error::Usage {
        message: format!("no free number for a model in `{}`", models_dir.display()),
        hint: "choose another `--models-dir`".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_holds_something_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("best.safetensors"), "mine").unwrap();
        let error = RunDir::create(dir.path()).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn numbered_folders_and_models_never_collide() {
        let dir = tempfile::tempdir().unwrap();
        let first = RunDir::create_numbered(dir.path(), "balloons").unwrap();
        let second = RunDir::create_numbered(dir.path(), "balloons").unwrap();
        assert!(first.path().ends_with("balloons-001"));
        assert!(second.path().ends_with("balloons-002"));
        let weights = dir.path().join("w");
        fs::write(&weights, "bytes").unwrap();
        let a = save_to_models_dir(dir.path(), "balloons", &weights).unwrap();
        let b = save_to_models_dir(dir.path(), "balloons", &weights).unwrap();
        assert!(a.ends_with("balloons-unet-01.safetensors"));
        assert!(b.ends_with("balloons-unet-02.safetensors"));
        assert_eq!(fs::read(b).unwrap(), b"bytes");
    }
}
