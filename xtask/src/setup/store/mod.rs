//! The folder `.libtorch`: its contents, its lock, and how an installation gets into
//! it.
//!
//! A new installation is built in `.libtorch/partial-PID` and then renamed; the marker
//! `installed.toml` is written last. If a process dies in between, the next `setup`
//! recognises its folder.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process;

use launcher::{Flaw, Torch};

use crate::console::Console;
use crate::error::Error;
use crate::files::{remove, unwritable};

use super::{LibtorchHalf, marker, verify};

const MARKER: &str = "installed.toml";
const PARTIAL: &str = "partial-";

#[derive(Debug)]
pub(crate) struct LibtorchStore {
    dir: PathBuf,
}

#[derive(Debug)]
pub(crate) enum StoreState {
    Absent,
    Ready(Installed),
    Broken(Flaw),
}

/// A complete libtorch in `.libtorch/torch`.
#[derive(Debug)]
pub(crate) struct Installed {
    pub(crate) torch: Torch,
    pub(crate) half: LibtorchHalf,
    pub(crate) source: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Installed here by `cargo xtask setup`.
    Pip,
    /// A link to the torch of this Python.
    Python(String),
    /// A link to the folder given by `--libtorch`.
    Flag,
}

impl fmt::Display for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            torch,
            half,
            source,
        } = self;
        write!(f, "{torch} ({half}), ")?;
        match source {
            Origin::Pip => f.write_str("installed by pip in `.libtorch`"),
            Origin::Python(python) => {
                write!(f, "the one of `{python}`: `{}`", torch.dir.display())
            }
            Origin::Flag => write!(f, "given by `--libtorch`: `{}`", torch.dir.display()),
        }
    }
}

impl LibtorchStore {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn state(&self) -> Result<StoreState, Error> {
        let link = self.dir.join("torch");
        let is_link = match link.symlink_metadata() {
            Ok(found) => found.is_symlink(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(StoreState::Absent),
            Err(source) => return Err(Error::Unreadable { path: link, source }),
        };
        let whole = verify::inspect(&link).and_then(|torch| {
            if !is_link {
                verify::compare_with_records(&self.dir)?;
            }
            Ok(torch)
        });
        let torch = match whole {
            Ok(torch) => torch,
            Err(flaw) => return Ok(StoreState::Broken(flaw)),
        };
        let text = fs::read_to_string(self.dir.join(MARKER)).unwrap_or_default();
        let (half, source) = marker::parse(&text);
        // A `setup` was killed after renaming and before writing the marker. The records
        // have just shown that nothing is missing, so the installation is kept.
        let half = half.unwrap_or_else(|| {
            if self.has("nvidia_cudnn") {
                LibtorchHalf::Cuda
            } else {
                LibtorchHalf::Cpu
            }
        });
        let source = if is_link {
            source.unwrap_or(Origin::Flag)
        } else {
            Origin::Pip
        };
        Ok(StoreState::Ready(Installed {
            torch,
            half,
            source,
        }))
    }

    /// Two `setup`s at once would remove each other's files, so the second waits.
    pub(crate) fn lock(&self, console: &Console) -> Result<File, Error> {
        fs::create_dir_all(&self.dir).map_err(|it| unwritable(&self.dir, it))?;
        let path = self.dir.join("lock");
        let file = File::create(&path).map_err(|it| unwritable(&path, it))?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            console.say("libtorch: waiting for another `cargo xtask setup` to finish");
            file.lock().map_err(|it| unwritable(&path, it))?;
        }
        // Go on even if the file system has no locks.
        Ok(file)
    }

    /// Removes the leftovers of an interrupted `setup`. Call it under the lock.
    pub(crate) fn sweep(&self, console: &Console) {
        let left = self.entries(|name| name.starts_with(PARTIAL));
        if !left.is_empty() {
            console.say("libtorch: removing an interrupted installation");
        }
        for path in left {
            // Files that cannot be removed now do no harm; the next `setup` tries again.
            remove(&path).ok();
        }
    }

    /// An empty folder to install into, on the same file system.
    pub(crate) fn stage(&self) -> Result<InstallStage, Error> {
        let dir = self.dir.join(format!("{PARTIAL}{}", process::id()));
        for part in ["target", "toolkit", "tmp"] {
            let dir = dir.join(part);
            fs::create_dir_all(&dir).map_err(|it| unwritable(&dir, it))?;
        }
        Ok(InstallStage { dir })
    }

    /// Moves a finished stage into place: everything in it replaces its namesake, and
    /// everything else that `replaces` names is removed as well.
    pub(crate) fn publish(
        &self,
        stage: &InstallStage,
        replaces: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        self.clear(replaces)?;
        let mut new = entries(&stage.target(), |_| true);
        // Records come last, so that a record implies that its files are in place.
        new.sort_by_key(|path| path.extension() == Some(OsStr::new("dist-info")));
        for from in new {
            let Some(name) = from.file_name() else {
                continue;
            };
            let to = self.dir.join(name);
            remove(&to)
                .and_then(|()| fs::rename(&from, &to))
                .map_err(|it| unwritable(&to, it))?;
        }
        Ok(())
    }

    /// Makes `.libtorch/torch` a link to a torch in another folder.
    pub(crate) fn link(
        &self,
        torch: &Torch,
        half: LibtorchHalf,
        source: Origin,
    ) -> Result<Installed, Error> {
        self.clear(|_| true)?;
        let link = self.dir.join("torch");
        symlink(&torch.dir, &link).map_err(|it| unwritable(&link, it))?;
        let torch = Torch {
            dir: torch.dir.clone(),
            version: torch.version.clone(),
        };
        let installed = Installed {
            torch,
            half,
            source,
        };
        self.mark(&installed)?;
        Ok(installed)
    }

    /// Writes the marker.
    pub(crate) fn mark(&self, installed: &Installed) -> Result<(), Error> {
        let path = self.dir.join(MARKER);
        let new = self.dir.join(format!("{MARKER}.new"));
        fs::write(&new, marker::text(installed))
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|it| unwritable(&path, it))
    }

    /// Whether `dir` is in this folder: a link to it would be a link to itself.
    pub(crate) fn owns(&self, dir: &Path) -> bool {
        self.dir.canonicalize().is_ok_and(|it| dir.starts_with(it))
    }

    fn has(&self, prefix: &str) -> bool {
        !self.entries(|name| name.starts_with(prefix)).is_empty()
    }

    /// Removes the marker, then every other file that `which` selects.
    fn clear(&self, which: impl Fn(&str) -> bool) -> Result<(), Error> {
        let marker = self.dir.join(MARKER);
        remove(&marker).map_err(|it| unwritable(&marker, it))?;
        for path in self.entries(|name| name != "lock" && !name.starts_with(PARTIAL) && which(name))
        {
            remove(&path).map_err(|it| unwritable(&path, it))?;
        }
        Ok(())
    }

    fn entries(&self, which: impl Fn(&str) -> bool) -> Vec<PathBuf> {
        entries(&self.dir, which)
    }
}

/// A folder that an installation is built in. Dropping the value removes it.
#[derive(Debug)]
pub(crate) struct InstallStage {
    dir: PathBuf,
}

impl InstallStage {
    /// The files that become part of `.libtorch`.
    pub(crate) fn target(&self) -> PathBuf {
        self.dir.join("target")
    }

    /// The folder for `cuda-toolkit`, which contains only metadata.
    pub(crate) fn toolkit(&self) -> PathBuf {
        self.dir.join("toolkit")
    }

    /// pip unpacks here and not in the system's temporary folder, which may be in
    /// memory and is rarely large enough.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for InstallStage {
    fn drop(&mut self) {
        // The next `setup` removes anything that is left.
        remove(&self.dir).ok();
    }
}

fn entries(dir: &Path, which: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let all = fs::read_dir(dir).into_iter().flatten().flatten();
    all.filter(|it| which(&it.file_name().to_string_lossy()))
        .map(|it| it.path())
        .collect()
}

#[cfg(unix)]
fn symlink(to: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(to, link)
}

#[cfg(windows)]
fn symlink(to: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_dir(to, link)
}

#[cfg(test)]
mod tests;
