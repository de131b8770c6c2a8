//! Checks that a folder is a complete libtorch of the right version, which Snug can run or be
//! built with. torch-sys itself does not check an unpacked wheel.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The version that `tch` and `torch-sys` 0.24 support.
pub const VERSION: &str = "2.11.0";

/// What is wrong with a libtorch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// The folder or one of its files is missing.
    #[error("`{}` is missing", .0.display())]
    Missing(PathBuf),

    /// A file is shorter than it should be.
    #[error("`{}` has {found_bytes} of {expected_bytes} bytes", .path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its complete size, or the smallest size that it can have.
        expected_bytes: u64,
        /// Its actual size.
        found_bytes: u64,
    },

    /// It has another version.
    #[error("its version is {found}, not {VERSION}")]
    Version {
        /// The version that it reports.
        found: String,
    },

    /// It does not report its version.
    #[error("neither its `version.py` nor its `build-version` names a version")]
    NoVersion,

    /// CUDA is needed, but this build lacks it.
    #[error("it was built without CUDA")]
    NoCuda,

    /// The dynamic loader refuses it.
    #[error("it does not load: {reason}")]
    Load {
        /// What is missing, or the loader's message.
        reason: String,
    },
}

/// What a libtorch is needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Running a program that is linked to it.
    Run,
    /// Building a program, which needs its headers as well.
    Build,
}

/// A folder with the libraries of libtorch 2.11.0.
#[derive(Debug)]
pub struct Torch {
    /// The folder itself, with links resolved.
    pub dir: PathBuf,
    /// Its version, such as `2.11.0+cpu`.
    pub version: String,
}

impl fmt::Display for Torch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "torch {}", self.version)
    }
}

impl Torch {
    /// The folder of its libraries.
    pub fn lib(&self) -> PathBuf {
        self.dir.join("lib")
    }

    /// The path of a library such as `torch_cpu`, which may not exist.
    pub fn library(&self, name: &str) -> PathBuf {
        library(&self.dir, name)
    }
}

/// Checks the version, the libraries and, for building, the headers. This takes milliseconds.
///
/// # Errors
/// The first [`Flaw`] found.
pub fn inspect(dir: &Path, wanted_for: Use) -> Result<Torch, Flaw> {
    // The linker and the loader would resolve a relative path from another folder, and libtorch
    // finds the NVIDIA libraries relative to its own location.
    let dir = dir
        .canonicalize()
        .ok()
        .ok_or_else(|| Flaw::Missing(dir.to_path_buf()))?;
    let version = version(&dir)?;
    if !is_wanted(&version) {
        return Err(Flaw::Version { found: version });
    }
    let mut files = vec![library(&dir, "torch_cpu"), library(&dir, "c10")];
    if wanted_for == Use::Build {
        files.push(dir.join("include/torch/csrc/api/include/torch/torch.h"));
    }
    for path in files {
        match fs::metadata(&path) {
            Ok(found) if found.is_file() && found.len() > 0 => {}
            Ok(_) => {
                return Err(Flaw::Truncated {
                    path,
                    expected_bytes: 1,
                    found_bytes: 0,
                });
            }
            Err(_) => return Err(Flaw::Missing(path)),
        }
    }
    Ok(Torch { dir, version })
}

fn library(dir: &Path, name: &str) -> PathBuf {
    use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
    dir.join("lib")
        .join(format!("{DLL_PREFIX}{name}{DLL_SUFFIX}"))
}

/// The wheel has `version.py`, and the C++ archive has `build-version`.
fn version(dir: &Path) -> Result<String, Flaw> {
    if let Ok(text) = fs::read_to_string(dir.join("version.py")) {
        return parse_version_py(&text).ok_or(Flaw::NoVersion);
    }
    match fs::read_to_string(dir.join("build-version")) {
        Ok(text) if !text.trim().is_empty() => Ok(text.trim().to_owned()),
        _ => Err(Flaw::NoVersion),
    }
}

fn parse_version_py(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("__version__"))?;
    let value = line.split_once('=')?.1.trim();
    let version = value.trim_matches(['\'', '"']);
    (version.len() + 2 == value.len() && !version.is_empty()).then(|| version.to_owned())
}

/// Accepts 2.11.0 in any build (`+cu130`, `.post2`), but not its pre-releases.
fn is_wanted(version: &str) -> bool {
    version
        .strip_prefix(VERSION)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('+') || rest.starts_with(".post"))
}

#[cfg(test)]
mod tests;
