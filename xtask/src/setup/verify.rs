//! Is this folder a libtorch that Snug can link: the right version, and whole?
//!
//! torch-sys itself checks nothing for an unpacked wheel, so this is the check.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::Half;
use super::find::Python;

/// The version that `tch` and `torch-sys` 0.24 speak to.
pub(crate) const VERSION: &str = "2.11.0";

/// What is wrong with a libtorch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Flaw {
    #[error("`{}` is missing", .0.display())]
    Missing(PathBuf),

    #[error("`{}` has {found_bytes} bytes of {expected_bytes}", .path.display())]
    Truncated {
        path: PathBuf,
        expected_bytes: u64,
        found_bytes: u64,
    },

    #[error("its version is {found}, not {VERSION}")]
    Version { found: String },

    #[error("neither `version.py` nor `build-version` in it names a version")]
    NoVersion,

    #[error("it is a build without CUDA")]
    NoCuda,

    #[error("it does not load: {reason}")]
    Load { reason: String },
}

/// A folder with the libraries and headers of libtorch 2.11.0.
#[derive(Debug)]
pub(crate) struct Torch {
    pub(crate) dir: PathBuf,
    pub(crate) version: String,
}

impl fmt::Display for Torch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "torch {}", self.version)
    }
}

impl Torch {
    /// Loads what a program of this half loads, so that a library that torch
    /// needs and that is not there is found now and not at the first run.
    pub(crate) fn load(&self, python: &Python, half: Half) -> Result<(), Flaw> {
        let mut libraries = vec![library(&self.dir, "torch_cpu")];
        if half == Half::Cuda {
            let cuda = library(&self.dir, "torch_cuda");
            if !cuda.is_file() {
                return Err(Flaw::NoCuda);
            }
            libraries.push(cuda);
        }
        python.load(&libraries)
    }
}

/// Looks at version, libraries and headers: milliseconds.
pub(crate) fn inspect(dir: &Path) -> Result<Torch, Flaw> {
    // The linker would take a relative path from another folder.
    let dir = dir
        .canonicalize()
        .ok()
        .ok_or_else(|| Flaw::Missing(dir.to_path_buf()))?;
    let version = version(&dir)?;
    if !is_wanted(&version) {
        return Err(Flaw::Version { found: version });
    }
    let header = dir.join("include/torch/csrc/api/include/torch/torch.h");
    for path in [library(&dir, "torch_cpu"), library(&dir, "c10"), header] {
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

/// Compares a folder that pip installed into with the sizes that each wheel's
/// `RECORD` names. Hashes would take seconds at each start, and what goes wrong
/// is an interrupted copy or a full disk.
pub(crate) fn compare_with_records(target: &Path) -> Result<(), Flaw> {
    let mut has_torch = false;
    for dir in fs::read_dir(target).into_iter().flatten().flatten() {
        let name = dir.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".dist-info") {
            continue;
        }
        has_torch |= name.starts_with("torch-");
        let record = dir.path().join("RECORD");
        let text = fs::read_to_string(&record)
            .ok()
            .ok_or(Flaw::Missing(record))?;
        for (file, expected_bytes) in parse_record(&text) {
            let path = target.join(file);
            let found_bytes = match fs::metadata(&path) {
                Ok(found) => found.len(),
                Err(_) => return Err(Flaw::Missing(path)),
            };
            if found_bytes != expected_bytes {
                return Err(Flaw::Truncated {
                    path,
                    expected_bytes,
                    found_bytes,
                });
            }
        }
    }
    if has_torch {
        Ok(())
    } else {
        Err(Flaw::Missing(target.join("torch-*.dist-info")))
    }
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

/// Path and size of what a wheel brought and xtask keeps. Scripts lie outside the
/// target folder and a file without a size (`RECORD` itself) says nothing; headers
/// of CUDA and bytecode are not used here.
fn parse_record(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let mut fields = line.rsplitn(3, ',');
        let size = fields.next()?.parse().ok()?;
        let _hash = fields.next()?;
        let path = fields.next()?.trim_matches('"');
        let used = ["torch/lib/", "torch/include/", "nvidia/"]
            .iter()
            .any(|it| path.starts_with(it));
        (used || path == "torch/version.py").then_some((path, size))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_py() {
        let text = "from typing import Optional\n\n__all__ = ['__version__']\n\
                    __version__ = '2.11.0+cu130'\ncuda: Optional[str] = '13.0'\n";
        assert_eq!(parse_version_py(text).as_deref(), Some("2.11.0+cu130"));
        assert_eq!(
            parse_version_py("__version__ = \"2.11.0\"").as_deref(),
            Some("2.11.0")
        );
        assert_eq!(parse_version_py("__version__ = '"), None);
        assert_eq!(parse_version_py("__version__ = ''"), None);
        assert_eq!(parse_version_py("debug = False"), None);
    }

    #[test]
    fn which_version_is_wanted() {
        for version in ["2.11.0", "2.11.0+cpu", "2.11.0+cu130", "2.11.0.post2"] {
            assert!(is_wanted(version), "{version}");
        }
        for version in [
            "2.11.1",
            "2.11.01",
            "2.11.0a0+git",
            "2.11.0rc1",
            "2.1.0",
            "12.11.0",
            "",
        ] {
            assert!(!is_wanted(version), "{version}");
        }
    }

    #[test]
    fn record_keeps_what_is_used() {
        let text = "../../bin/torchrun,sha256=x,244\n\
                    torch/lib/libc10.so,sha256=x,1500\n\
                    \"torch/include/a,b.h\",sha256=x,7\n\
                    torch/nn/modules.py,sha256=x,9\n\
                    torch/version.py,sha256=x,296\n\
                    nvidia/cu13/lib/libcupti.so.13,sha256=x,12\n\
                    torch-2.11.0.dist-info/RECORD,,\n";
        let kept: Vec<_> = parse_record(text).collect();
        assert_eq!(
            kept,
            [
                ("torch/lib/libc10.so", 1500),
                ("torch/include/a,b.h", 7),
                ("torch/version.py", 296),
                ("nvidia/cu13/lib/libcupti.so.13", 12),
            ]
        );
    }

    #[test]
    fn a_folder_that_is_not_there_is_missing() {
        assert!(matches!(
            inspect(Path::new("/nonexistent/torch")),
            Err(Flaw::Missing(_))
        ));
    }
}
