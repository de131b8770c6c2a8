//! Everything that can go wrong in xtask, with what the reader can do about it.

use std::io;
use std::path::PathBuf;

use config::Bytes;
use launcher::{Flaw, VERSION};

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

    #[error("`c++` not found, although `{found}` exists")]
    CompilerNotNamed { found: String },

    #[error(
        "only {} MiB of disk are free in `{}`, but the installation needs {} MiB",
        .free_bytes / Bytes::MIB, .path.display(), .needed_bytes / Bytes::MIB
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

    #[error("`{}`, given by {given_by}, cannot be used", .dir.display())]
    UnusableLibtorch {
        given_by: &'static str,
        dir: PathBuf,
        #[source]
        flaw: Flaw,
    },

    #[error("the files that pip installed are incomplete")]
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

    #[error("`{python}` cannot import `{modules}`, although pip installed it")]
    Unimportable { python: String, modules: String },

    #[error(transparent)]
    Advice(#[from] advisor::AdviceError),

    #[error("`{page}` lacks the lines `{begin}` and `{end}` around its figures")]
    NoMarks {
        page: &'static str,
        begin: &'static str,
        end: &'static str,
    },

    #[error("the new results lack `{parts}`, which `{}` has", .path.display())]
    WouldLose { path: PathBuf, parts: String },

    #[error("`{}` is no measurement: {device} computes nothing", .path.display())]
    NoMeasurement { path: PathBuf, device: String },

    /// A file of measurements.
    #[error(transparent)]
    Bench(#[from] bench::Error),

    #[error("a distribution can only be made on x86-64 Linux with glibc, but this is {system}")]
    Unsupported { system: String },

    #[error("no mdBook 0.5 found{}", is(.found.as_deref()))]
    NoMdbook { found: Option<String> },

    #[error("mdBook could not build the book of `{}`", .pages.display())]
    Book { pages: PathBuf },

    #[error("cargo could not build the programs")]
    Build,

    #[error("`{}` is not a valid program", .path.display())]
    NoProgram {
        path: PathBuf,
        #[source]
        source: object::Error,
    },

    #[error("`{}` looks for libraries in `{found}`, a folder of this machine", .path.display())]
    Rpath { path: PathBuf, found: String },

    #[error(
        "the {what} has {:.1} MiB, more than the limit of {} MiB:\n{contents}",
        mib(*.total_bytes), .limit_bytes / Bytes::MIB
    )]
    TooLarge {
        what: &'static str,
        total_bytes: u64,
        limit_bytes: u64,
        contents: String,
    },

    #[error("`{found}` is no version after {current}")]
    NotALaterVersion {
        found: String,
        current: &'static str,
    },

    #[error("nothing is unreleased")]
    NothingToRelease,

    #[error("files are changed and not committed: {}", shown(changed))]
    Uncommitted { changed: Vec<PathBuf> },

    #[error("there is a tag `{tag}` already")]
    Tagged { tag: String },

    #[error("`{command}` failed")]
    Step { command: String },

    /// A program could not be started, or it failed.
    #[error(transparent)]
    Program(#[from] launcher::Error),
}

impl Error {
    /// What xtask exits with: 2 if nothing was started for want of a program, 1 otherwise.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::NoMdbook { .. } => 2,
            _ => 1,
        }
    }

    /// What to do about it, for the `hint:` line.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoPython { .. } => {
                "install Python 3.10 or newer with pip, or pass a libtorch with \
                 `cargo xtask setup --libtorch DIR`"
                    .to_owned()
            }
            Self::NoPip { python } => format!(
                "run `{python} -m ensurepip`, or install the package `python3-pip` or \
                 `python3-venv` of your system"
            ),
            Self::NoCompiler { .. } => {
                "install g++ or clang (package `g++` or `clang`), or set `CXX` to a C++17 compiler"
                    .to_owned()
            }
            Self::CompilerNotNamed { found } => {
                format!("the build calls `c++`: run `export CXX={found}` and try again")
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
                    format!(
                        "install the libraries that it needs, or {}",
                        drop_it(given_by)
                    )
                }
                _ => format!(
                    "name the folder that holds `lib`, `include` and `version.py`, or {}",
                    drop_it(given_by)
                ),
            },
            Self::BadInstall { .. } => {
                "run `cargo xtask setup` again; if it fails again, run `python3 -m pip cache \
                 purge` first"
                    .to_owned()
            }
            Self::Unwritable { .. } => {
                "check that this user may write to the folder and that the disk is not full"
                    .to_owned()
            }
            Self::Unimportable { .. } => {
                "remove `.pytorch` and try again, or use `--python` to name a Python that has \
                 torch 2.11.0"
                    .to_owned()
            }
            Self::Advice(error) => error.hint().unwrap_or_default(),
            Self::NoMarks { .. } => "put both lines back around the figures".to_owned(),
            Self::WouldLose { .. } => "measure everything, or remove the old file first".to_owned(),
            Self::NoMeasurement { .. } => "measure on a GPU, or on the CPU".to_owned(),
            Self::Bench(bench::Error::NotASession { .. }) => {
                "`cargo xtask gpu` writes `runs/gpu/gpu.json`".to_owned()
            }
            Self::Bench(_) => {
                "`cargo xtask bench --record` writes the files of `docs/measurements`".to_owned()
            }
            Self::Unsupported { .. } => "use the checkout instead: `cargo xtask train`".to_owned(),
            Self::Rpath { .. } => {
                "look for `rpath` in `RUSTFLAGS`, `LDFLAGS` and cargo's settings".to_owned()
            }
            Self::TooLarge { .. } => {
                "check which part grew; `[profile.release]` in `Cargo.toml` strips symbols"
                    .to_owned()
            }
            Self::NotALaterVersion { current, .. } => {
                format!("give three numbers that follow `{current}`, without a `v`")
            }
            Self::NothingToRelease => {
                "`CHANGELOG.md` needs changes below `## [Unreleased]`, and `Cargo.toml` the version of \
                 this build"
                    .to_owned()
            }
            Self::Uncommitted { .. } => "commit or stash them".to_owned(),
            Self::Tagged { tag } => format!("`git tag --delete {tag}` removes it; do that only if it has not been pushed"),
            Self::Step { .. } => {
                "if `git tag` lists the release, `cargo xtask dist` and `cargo xtask wheel` make what is missing; if not, \
                 `git restore .` undoes what was written"
                    .to_owned()
            }
            Self::Program(error) => return error.hint(),
            Self::NoMdbook { .. } => "run `cargo install mdbook --version 0.5.4 --locked`".to_owned(),
            Self::Book { .. } => "`cargo xtask ci --only sources` checks lists and links of pages".to_owned(),
            Self::Unreadable { .. } | Self::Build | Self::NoProgram { .. } => return None,
        })
    }
}

fn mib(bytes: u64) -> f64 {
    Bytes(bytes).as_mib()
}

/// The first paths.
fn shown(paths: &[PathBuf]) -> String {
    const MOST: usize = 5;
    let shown = paths.iter().take(MOST).map(|it| it.display().to_string());
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if paths.len() > MOST {
        text.push_str(", ...");
    }
    text
}

fn is(found: Option<&str>) -> String {
    found.map_or_else(String::new, |it| format!(" (`mdbook` is `{it}`)"))
}

fn older(too_old: Option<&str>) -> String {
    too_old.map_or_else(String::new, |it| format!("; {it} is too old"))
}

fn drop_it(given_by: &str) -> String {
    if given_by == "LIBTORCH" {
        "unset `LIBTORCH` to let `cargo xtask setup` find or install one".to_owned()
    } else {
        format!("leave out `{given_by}` to let `cargo xtask setup` find or install one")
    }
}
