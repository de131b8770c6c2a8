//! The folder of a run. It is created before training starts, so that an unwritable place wastes no
//! training time, and it never holds another run.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use config::cli::console;
use config::files::TEMPORARY;
use serde_json::Value;

use super::lock::Lock;
use super::tensorboard;
use super::unwritten::Unwritten;

use crate::error::{Error, Result};
use crate::run::weights::write_atomically;
use crate::usage::UsageError;

/// Numbers tried for a free name.
const MAX_NUMBER: u32 = 100_000;

const METRICS: &str = "metrics.jsonl";
const EVENTS: &str = "events.jsonl";

/// A run's folder, locked. Failed writes are kept and retried.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    unwritten: Unwritten,
    _lock: Lock,
}

impl RunDir {
    /// Creates exactly `path`, which must be absent or empty.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is not empty, [`Error::Io`] if it cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        Self::refuse_taken(path)?;
        fs::create_dir_all(path).map_err(|e| Error::io("create", path, e))?;
        Self::open(path)
    }

    /// Opens the folder of a run to be continued.
    ///
    /// # Errors
    /// [`Error::Refused`] if another process is running in it, [`Error::Io`].
    pub fn reopen(path: &Path) -> Result<Self> {
        Self::locked(path)
    }

    /// Truncates `metrics.jsonl` after its first `metrics_rows` lines and `events.jsonl` after its last
    /// complete line. Returns how many lines are missing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn keep_lines(&self, metrics_rows: u64) -> Result<u64> {
        let kept = keep_lines(&self.file(METRICS), metrics_rows)?;
        keep_lines(&self.file(EVENTS), u64::MAX)?;
        Ok(metrics_rows - kept)
    }

    /// Like [`create`](Self::create), but also accepts the folder of a run that ended before it had
    /// anything to keep, so that the same command can be repeated until it succeeds.
    ///
    /// # Errors
    /// The errors of [`create`](Self::create).
    pub fn create_or_restart(path: &Path) -> Result<Self> {
        if !has_nothing_to_keep(path) {
            return Self::create(path);
        }
        let dir = Self::locked(path)?;
        for log in [METRICS, EVENTS] {
            keep_lines(&dir.file(log), 0)?;
        }
        Ok(dir)
    }

    /// Refuses whatever [`create_or_restart`](Self::create_or_restart) would refuse.
    ///
    /// # Errors
    /// The errors of [`refuse_taken`](Self::refuse_taken).
    pub fn refuse_worth_keeping(path: &Path) -> Result<()> {
        if has_nothing_to_keep(path) {
            return Ok(());
        }
        Self::refuse_taken(path)
    }

    /// Refuses whatever [`create`](Self::create) would refuse, without creating anything: for a check
    /// before the data is read, which can take long.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is not empty, [`Error::Io`] if it is not a folder.
    pub fn refuse_taken(path: &Path) -> Result<()> {
        match fs::read_dir(path).map(|mut entries| entries.next().is_some()) {
            Ok(false) => Ok(()),
            Ok(true) => Err(UsageError::RunFolderTaken {
                folder: path.to_owned(),
            }
            .into()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::io("create", path, e)),
        }
    }

    /// Creates `parent/NAME-NNN` with the next free number; the name is claimed atomically, so that two
    /// runs started at once get two folders.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be written.
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
        let parent = parent.to_owned();
        Err(UsageError::NoFreeRun { parent }.into())
    }

    fn open(path: &Path) -> Result<Self> {
        let dir = Self::locked(path)?;
        for name in [METRICS, EVENTS] {
            let path = dir.file(name);
            File::create_new(&path).map_err(|e| Error::io("create", path, e))?;
        }
        Ok(dir)
    }

    fn locked(path: &Path) -> Result<Self> {
        let lock = Lock::take(path)?;
        remove_temporary(path);
        remove_temporary(&path.join("last"));
        Ok(Self {
            _lock: lock,
            path: path.to_owned(),
            unwritten: Unwritten::default(),
        })
    }

    /// Removes the folder of a run that ended before it had anything to keep; returns whether it is gone.
    pub fn remove_unless_worth_keeping(self) -> bool {
        has_nothing_to_keep(&self.path) && fs::remove_dir_all(&self.path).is_ok()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a whole file, or leaves the old one and retries with the next write.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Result<()> {
        self.unwritten.write(self.path.join(name), bytes.into())
    }

    /// Appends a line to `metrics.jsonl`, now or with the next write.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn log_metrics(&mut self, row: &Value) -> Result<()> {
        let mut line = row.clone();
        line["event"] = "epoch".into();
        console::json(&line);
        self.append(METRICS, row)
    }

    /// Appends a line to `events.jsonl`, likewise.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn log_event(&mut self, row: &Value) -> Result<()> {
        console::json(row);
        self.append(EVENTS, row)
    }

    /// Appends to a file, likewise.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append_to(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.unwritten.append(self.file(name), bytes)
    }

    /// Retries all failed writes.
    ///
    /// # Errors
    /// [`Error::Io`] if a write still fails.
    pub fn write_what_is_left(&mut self) -> Result<()> {
        self.unwritten.flush()
    }

    fn append(&mut self, name: &str, row: &Value) -> Result<()> {
        self.unwritten
            .append(self.file(name), format!("{row}\n").as_bytes())
    }
}

/// Removes temporary files that a killed process left half-written. Any that remain do no harm.
fn remove_temporary(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(TEMPORARY) {
            drop(fs::remove_file(entry.path()));
        }
    }
}

/// Truncates a log after its first `rows` lines, and after the last complete line; returns how many
/// lines it has.
fn keep_lines(path: &Path, rows: u64) -> Result<u64> {
    let fail = |e| Error::io("write", path, e);
    let mut file = OpenOptions::new();
    let mut file = file
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(fail)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(fail)?;
    let (mut kept, mut end) = (0, 0);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if kept == rows || line.last() != Some(&b'\n') {
            break;
        }
        kept += 1;
        end += line.len();
    }
    if end < bytes.len() {
        file.set_len(end as u64).map_err(fail)?;
    }
    Ok(kept)
}

/// Whether everything in the folder was written before the first epoch or snapshot.
fn has_nothing_to_keep(path: &Path) -> bool {
    let names = |path: &Path| -> Vec<String> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect()
    };
    let found = names(path);
    let no_row = fs::metadata(path.join(METRICS)).is_ok_and(|m| m.len() == 0);
    let known = |name: &String| {
        const KNOWN: [&str; 7] = [
            "config.toml",
            METRICS,
            EVENTS,
            "last",
            "summary.json",
            "report.json",
            report::FILE_NAME,
        ];
        let of_tensorboard = name.starts_with(tensorboard::PREFIX);
        KNOWN.contains(&name.as_str()) || name.starts_with(TEMPORARY) || of_tensorboard
    };
    let only_started = |name: &String| name.starts_with('.');
    no_row && found.iter().all(known) && names(&path.join("last")).iter().all(only_started)
}

/// Creates `models_dir` and tries to write there, so that a failure shows before the run, not after it.
///
/// # Errors
/// [`Error::Io`].
pub fn prepare_models_dir(models_dir: &Path) -> Result<()> {
    fs::create_dir_all(models_dir).map_err(|e| Error::io("create", models_dir, e))?;
    // The file has no name, and disappears when closed.
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
    let models_dir = models_dir.to_owned();
    Err(UsageError::NoFreeModel { models_dir }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_holds_something_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("best.safetensors"), "mine").unwrap();
        let error = RunDir::create(dir.path()).unwrap_err();
        assert_eq!(error.exit(), config::cli::Exit::Usage);
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
