//! One run in a folder at a time: an advisory lock on the folder itself, which leaves no file behind
//! and is gone with the process, however it ends.

use std::fs::File;
use std::path::Path;

use crate::error::{Error, Result};
use crate::usage::UsageError;

/// The lock is held as long as this value lives.
#[derive(Debug)]
pub(super) struct Lock {
    _folder: File,
}

impl Lock {
    /// Locks `folder`. If its file system does not support locks, nothing is locked.
    ///
    /// # Errors
    /// [`Error::Refused`] if another process holds it, [`Error::Io`] if the folder does not exist.
    #[cfg(unix)]
    pub(super) fn take(folder: &Path) -> Result<Self> {
        use rustix::fs::{FlockOperation, flock};
        let file = File::open(folder).map_err(|e| Error::io("open", folder, e))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
                let folder = folder.to_owned();
                Err(UsageError::RunFolderLocked { folder }.into())
            }
            _ => Ok(Self { _folder: file }),
        }
    }

    /// Locks nothing.
    ///
    /// # Errors
    /// If the folder does not exist.
    #[cfg(not(unix))]
    pub(super) fn take(folder: &Path) -> Result<Self> {
        let file = File::open(folder).map_err(|e| Error::io("open", folder, e))?;
        Ok(Self { _folder: file })
    }
}
