//! The folder of a run's snapshots, and how one replaces another.
//!
//! The new snapshot is written to `.snapshot.new` and synced; the present one is renamed to
//! `previous.safetensors`; the new one is renamed to the present one's name; the folder is synced.
//! Whenever the power fails, one of the two names holds a complete snapshot: before the first rename
//! the present one, between the renames the previous one, after the second rename the new one. If a
//! file system keeps the second rename but loses the first, both names still hold complete snapshots.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tch::Tensor;

use super::data_id::DataId;
use super::file::{self, Snapshot, WriteError};
use super::state::State;
use crate::error::{Error, Result};
use crate::lab::fault;

/// The newest snapshot.
pub const SNAPSHOT: &str = "snapshot.safetensors";
/// The snapshot before it.
pub const PREVIOUS: &str = "previous.safetensors";
/// A snapshot being written. The run's lock ensures that no other process writes here.
const NEW: &str = ".snapshot.new";
const FOLDER: &str = "last";

/// The folder of a run's snapshots.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The store in `run/last`; a half-written snapshot left there by an earlier process is removed.
    pub fn of_run(run: &Path) -> Self {
        let folder = run.join(FOLDER);
        // Usually the file does not exist. If it cannot be removed, it is overwritten later.
        drop(fs::remove_file(folder.join(NEW)));
        Self { folder }
    }

    /// Replaces the newest snapshot with the previous one, and keeps the newest as
    /// `set-aside.safetensors`: otherwise the next write would move a damaged file over the good one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn step_back(&self) -> Result<()> {
        let present = self.path();
        let moved = |from: &Path, to: &Path| match fs::rename(from, to) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("move", from, e)),
            _ => Ok(()),
        };
        moved(&present, &self.folder.join("set-aside.safetensors"))?;
        moved(&self.folder.join(PREVIOUS), &present)?;
        sync_folder(&self.folder).map_err(|e| Error::io("sync", &self.folder, e))
    }

    /// The file that [`write`](Self::write) replaces.
    pub fn path(&self) -> PathBuf {
        self.folder.join(SNAPSHOT)
    }

    /// Writes a snapshot. If that fails, the existing snapshots are untouched.
    ///
    /// # Errors
    /// [`Error::Io`] with the file; the errors of reading a tensor.
    pub fn write(&self, state: &State, tensors: &[(String, Tensor)]) -> Result<()> {
        let new = self.folder.join(NEW);
        let written = self
            .write_new(&new, state, tensors)
            .and_then(|()| Ok(self.replace(&new)?));
        written.map_err(|error| {
            // A full disk needs the space.
            drop(fs::remove_file(&new));
            match error {
                WriteError::Io(error) => Error::io("write", self.path(), error),
                WriteError::Other(error) => error,
            }
        })
    }

    fn write_new(
        &self,
        new: &Path,
        state: &State,
        tensors: &[(String, Tensor)],
    ) -> Result<(), WriteError> {
        // The folder may have been removed during the run.
        fs::create_dir_all(&self.folder)?;
        let mut out = BufWriter::new(File::create(new)?);
        fault::reached("snapshot:created");
        file::write(&mut out, state, tensors)?;
        let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        fault::reached("snapshot:written");
        file.sync_all()?;
        fault::reached("snapshot:synced");
        Ok(())
    }

    fn replace(&self, new: &Path) -> io::Result<()> {
        let present = self.path();
        match fs::rename(&present, self.folder.join(PREVIOUS)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // This is the first snapshot, so its folder is new as well.
            Err(_) => self.folder.parent().map_or(Ok(()), sync_folder)?,
            Ok(()) => {}
        }
        fault::reached("snapshot:moved-away");
        fs::rename(new, present)?;
        fault::reached("snapshot:renamed");
        sync_folder(&self.folder)?;
        fault::reached("snapshot:done");
        Ok(())
    }
}

/// Makes renames in `folder` durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// The snapshot found in a run's folder.
#[derive(Debug)]
pub struct FoundSnapshot {
    /// The newest valid snapshot.
    pub snapshot: Snapshot,
    /// A note for the user if it is the previous one.
    pub note: Option<String>,
}

/// The snapshot that `run` continues from; `None` if it has none. The previous one is used if no
/// newer one exists, but not if the newer one is damaged: a step back must be the user's decision.
///
/// # Errors
/// [`Error::Snapshot`] with the fault and, if there is one, the previous snapshot to use.
pub fn find(run: &Path) -> Result<Option<FoundSnapshot>> {
    let folder = run.join(FOLDER);
    let [newest, previous] = [SNAPSHOT, PREVIOUS].map(|name| folder.join(name));
    if newest.exists() {
        return match Snapshot::open(&newest) {
            Ok(snapshot) => Ok(Some(FoundSnapshot {
                snapshot,
                note: None,
            })),
            Err(error) => Err(offering(error, &previous)),
        };
    }
    if !previous.exists() {
        return Ok(None);
    }
    let snapshot = Snapshot::open(&previous)?;
    let note = format!(
        "resume: the run ended while it replaced its snapshot; taking `{}`",
        previous.display()
    );
    Ok(Some(FoundSnapshot {
        snapshot,
        note: Some(note),
    }))
}

/// When `run` wrote its snapshot, and the data that it was trained on, if that can be read; `None` if it has no
/// snapshot.
pub fn glance(run: &Path) -> Option<(SystemTime, Option<DataId>)> {
    let paths = [SNAPSHOT, PREVIOUS].map(|name| run.join(FOLDER).join(name));
    let written = |path: &PathBuf| path.metadata().and_then(|it| it.modified()).ok();
    let data = paths.iter().find_map(|path| file::data_of(path));
    Some((paths.iter().find_map(written)?, data))
}

/// The error, with a hint to the previous snapshot if that one is valid.
fn offering(error: Error, previous: &Path) -> Error {
    let Error::Snapshot { path, message, .. } = &error else {
        return error;
    };
    match Snapshot::open(previous) {
        Ok(good) => Error::Snapshot {
            path: path.clone(),
            message: message.clone(),
            hint: format!(
                "the one before it, of step {}, is whole: `--resume {}`",
                good.state().trainer.position.steps,
                previous.display()
            ),
        },
        Err(_) => error,
    }
}
