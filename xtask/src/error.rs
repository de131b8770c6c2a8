//! Everything that can go wrong in xtask, with what the reader can do about it.

use std::io;
use std::path::PathBuf;

use launcher::{Flaw, VERSION};

const MIB: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    #[error("no Python >= 3.10 found (tried {tried}{})", older(.too_old.as_deref()))]
    NoPython {
        tried: String,
        too_old: Option<String>,
    },

    #[error("`{python}` has no pip")]
    NoPip { python: String },

    #[error("no C++ compiler found (tried {tried})")]
    NoCompiler { tried: String },

    #[error("`c++` is missing, though `{found}` is there")]
    CompilerNotNamed { found: String },

    #[error(
        "{} MiB of disk are free in `{}`, and the installation takes {} MiB",
        .free_bytes / MIB, .path.display(), .needed_bytes / MIB
    )]
    NotEnoughDisk {
        path: PathBuf,
        free_bytes: u64,
        needed_bytes: u64,
    },

    #[error("pip could not install {what} ({status}); its last lines:\n{tail}")]
    Pip {
        what: String,
        status: String,
        tail: String,
    },

    #[error("`{}`, given by {given_by}, is of no use", .dir.display())]
    UnusableLibtorch {
        given_by: &'static str,
        dir: PathBuf,
        #[source]
        flaw: Flaw,
    },

    #[error("what pip installed is not whole")]
    BadInstall {
        #[source]
        flaw: Flaw,
    },

    #[error("cannot write to `{}`", .path.display())]
    Unwritable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },

    #[error("cannot read `{}`", .path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },

    #[error("`{python}` does not import `{modules}`, though pip installed it")]
    Unimportable { python: String, modules: String },

    #[error("`README.md` has no place for the figures: `{begin}` and `{end}`")]
    NoMarks {
        begin: &'static str,
        end: &'static str,
    },

    #[error("`{}` has `{parts}`, which the new results lack", .path.display())]
    WouldLose { path: PathBuf, parts: String },

    /// A file of measurements.
    #[error(transparent)]
    Bench(#[from] bench::Error),

    #[error("a distribution is made on x86-64 Linux with glibc, and this is {system}")]
    Unsupported { system: String },

    #[error("cargo could not build the programs")]
    Build,

    #[error("`{}` cannot be read as a program", .path.display())]
    NoProgram {
        path: PathBuf,
        #[source]
        source: object::Error,
    },

    #[error("`{}` looks for libraries in `{found}`, a folder of this machine", .path.display())]
    Rpath { path: PathBuf, found: String },

    #[error(
        "the distribution has {:.1} MiB and is to have {} at most:\n{contents}",
        mib(*.total_bytes), .limit_bytes / MIB
    )]
    TooLarge {
        total_bytes: u64,
        limit_bytes: u64,
        contents: String,
    },

    /// A program that could not be started, or that failed.
    #[error(transparent)]
    Program(#[from] launcher::Error),
}

impl Error {
    /// What to do about it, for the `hint:` line.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoPython { .. } => {
                "install Python 3.10 or newer with pip, or pass a libtorch with \
                 `cargo xtask setup --libtorch DIR`"
                    .to_owned()
            }
            Self::NoPip { python } => format!(
                "`{python} -m ensurepip` adds pip, as does the package `python3-pip` or \
                 `python3-venv` of most systems"
            ),
            Self::NoCompiler { .. } => {
                "install g++ or clang (package `g++` or `clang`), or set `CXX` to a C++17 compiler"
                    .to_owned()
            }
            Self::CompilerNotNamed { found } => {
                format!("the build calls `c++`: run `export CXX={found}`, then again")
            }
            Self::NotEnoughDisk { .. } => {
                "free some space, or pass a libtorch with `cargo xtask setup --libtorch DIR`"
                    .to_owned()
            }
            Self::Pip { .. } => "check the network and pip's own settings, then run `cargo xtask \
                 setup` again; without a network, pass a libtorch with `--libtorch DIR`"
                .to_owned(),
            Self::UnusableLibtorch { given_by, flaw, .. } => match flaw {
                Flaw::Version { .. } => {
                    format!("Snug needs libtorch {VERSION}: {}", drop_it(given_by))
                }
                Flaw::Load { .. } => {
                    format!("install what it needs beside it, or {}", drop_it(given_by))
                }
                _ => format!(
                    "give the folder that holds `lib`, `include` and `version.py`, or {}",
                    drop_it(given_by)
                ),
            },
            Self::BadInstall { .. } => {
                "run `cargo xtask setup` again; `python3 -m pip cache purge` first, if it recurs"
                    .to_owned()
            }
            Self::Unwritable { .. } => {
                "make the folder writable for this user, and see that the disk is not full"
                    .to_owned()
            }
            Self::Unimportable { .. } => {
                "remove `.pytorch` and try again, or name a Python that has torch 2.11.0 with \
                 `--python`"
                    .to_owned()
            }
            Self::NoMarks { .. } => "put both lines back where the figures belong".to_owned(),
            Self::WouldLose { .. } => {
                "measure all of it, or remove the old file if it is to go".to_owned()
            }
            Self::Bench(_) => {
                "`cargo xtask bench --record` writes the files of `docs/measurements`".to_owned()
            }
            Self::Unsupported { .. } => {
                "here, work in the checkout: `cargo xtask train`".to_owned()
            }
            Self::Rpath { .. } => {
                "look for `rpath` in `RUSTFLAGS`, `LDFLAGS` and the settings of cargo".to_owned()
            }
            Self::TooLarge { .. } => {
                "see which of them grew; `[profile.release]` in `Cargo.toml` strips symbols"
                    .to_owned()
            }
            Self::Program(error) => return error.hint(),
            Self::Unreadable { .. } | Self::Build | Self::NoProgram { .. } => return None,
        })
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}

fn older(too_old: Option<&str>) -> String {
    too_old.map_or_else(String::new, |it| format!("; {it} is too old"))
}

fn drop_it(given_by: &str) -> String {
    if given_by == "LIBTORCH" {
        "unset `LIBTORCH`, and `cargo xtask setup` finds or installs one".to_owned()
    } else {
        format!("leave `{given_by}` out, and `cargo xtask setup` finds or installs one")
    }
}
