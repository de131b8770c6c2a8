//! Is this folder a libtorch that Snug can run or be built with: the right version, and whole?
//!
//! torch-sys itself checks nothing for an unpacked wheel, so this is the check.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// The version that `tch` and `torch-sys` 0.24 speak to.
pub const VERSION: &str = "2.11.0";

/// What is wrong with a libtorch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// The folder, or a file of it, is not there.
    #[error("`{}` is missing", .0.display())]
    Missing(PathBuf),

    /// A file is shorter than it should be.
    #[error("`{}` has {found_bytes} bytes of {expected_bytes}", .path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its size if it were whole, or the least that it can have.
        expected_bytes: u64,
        /// Its size.
        found_bytes: u64,
    },

    /// It is another version.
    #[error("its version is {found}, not {VERSION}")]
    Version {
        /// What it says it is.
        found: String,
    },

    /// It does not say which version it is.
    #[error("neither `version.py` nor `build-version` in it names a version")]
    NoVersion,

    /// CUDA was asked for.
    #[error("it is a build without CUDA")]
    NoCuda,

    /// The dynamic loader refuses it.
    #[error("it does not load: {reason}")]
    Load {
        /// What is missing, or the loader's words.
        reason: String,
    },
}

/// What a libtorch is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// To run a program that is linked to it.
    Run,
    /// To build one: this takes its headers as well.
    Build,
}

/// A folder with the libraries of libtorch 2.11.0.
#[derive(Debug)]
pub struct Torch {
    /// The folder itself, no link to it.
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
    /// Where its libraries lie.
    pub fn lib(&self) -> PathBuf {
        self.dir.join("lib")
    }

    /// The path of a library such as `torch_cpu`, which need not be there.
    pub fn library(&self, name: &str) -> PathBuf {
        library(&self.dir, name)
    }
}

/// Looks at version, libraries and, to build, headers: milliseconds.
///
/// # Errors
/// The first [`Flaw`] found.
pub fn inspect(dir: &Path, wanted_for: Use) -> Result<Torch, Flaw> {
    // Linker and loader would take a relative path from another folder, and libtorch finds the
    // NVIDIA libraries relative to where it lies itself.
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

/// The wheel has `version.py`, the archive for C++ has `build-version`.
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

/// 2.11.0 itself, however it was built (`+cu130`, `.post2`), but no pre-release.
fn is_wanted(version: &str) -> bool {
    version
        .strip_prefix(VERSION)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('+') || rest.starts_with(".post"))
}

#[cfg(test)]
mod tests;
