//! The folder of a run's snapshots, and how one replaces another.
//!
//! The new one is written beside (`.snapshot.new`) and synced; the present one is renamed to
//! `previous.safetensors`; the new one is renamed to its place; the folder is synced. Whatever
//! moment the power goes, one of the two names holds a whole snapshot: before the first rename the
//! present one, between the renames the previous one, after the second the new one. Should a file
//! system keep the second rename and lose the first, both names hold whole ones still.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use tch::Tensor;

use super::file::{self, Snapshot, WriteError};
use super::state::State;
use crate::error::{Error, Result};
use crate::fault;

/// The newest one.
pub const SNAPSHOT: &str = "snapshot.safetensors";
/// The one before it.
pub const PREVIOUS: &str = "previous.safetensors";
/// One being written. The run's lock sees to it that nobody else writes here.
const NEW: &str = ".snapshot.new";
const FOLDER: &str = "last";

/// Where a run's snapshots go.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// In `run/last`; what an earlier process left half-written there is removed.
    pub fn of_run(run: &Path) -> Self {
        let folder = run.join(FOLDER);
        // That there is none is usual, and that it stays does no harm: it is overwritten.
        drop(fs::remove_file(folder.join(NEW)));
        Self { folder }
    }

    /// Puts the previous snapshot in the newest one's place, which is kept as `set-aside.safetensors`:
    /// the next write would else move a damaged file over the whole one.
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

    /// Writes a snapshot. Where that fails, those that are there are untouched.
    ///
    /// # Errors
    /// [`Error::Io`] with the file; what reading a tensor returns.
    pub fn write(&self, state: &State, tensors: &[(String, Tensor)]) -> Result<()> {
        let new = self.folder.join(NEW);
        let written = self
            .write_new(&new, state, tensors)
            .and_then(|()| Ok(self.replace(&new)?));
        written.map_err(|error| {
            // A full disk needs the room.
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
        // Somebody may have removed the folder of a run under way.
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
            // The first one: its folder is new as well.
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

/// Makes renames in `folder` last.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// What a run's folder has to continue from.
#[derive(Debug)]
pub struct Found {
    /// The newest valid one.
    pub snapshot: Snapshot,
    /// Said where it is the previous one.
    pub note: Option<String>,
}

/// The snapshot that `run` continues from; `None` where it has none. The previous one stands in
/// where there is no newer, and not where the newer is damaged: who takes a step back should know.
///
/// # Errors
/// [`Error::Snapshot`] with what is wrong and, where there is one, the previous to take.
pub fn find(run: &Path) -> Result<Option<Found>> {
    let folder = run.join(FOLDER);
    let [newest, previous] = [SNAPSHOT, PREVIOUS].map(|name| folder.join(name));
    if newest.exists() {
        return match Snapshot::open(&newest) {
            Ok(snapshot) => Ok(Some(Found {
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
    Ok(Some(Found {
        snapshot,
        note: Some(note),
    }))
}

/// The error, with the previous snapshot as the way out where that one is good.
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
