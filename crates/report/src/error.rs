//! Everything that can be wrong with a run's folder, with the file at fault.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a run could not be read, or its page not be written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The folder holds no run.
    #[error("`{}` is not the folder of a run: it has neither `summary.json` nor `metrics.jsonl`", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file does not hold the JSON that a run writes.
    #[error("`{}`{} is not what a run writes", path.display(),
        line.map_or_else(String::new, |it| format!(", line {it},")))]
    Json {
        /// The file.
        path: PathBuf,
        /// The line of a log, from 1.
        line: Option<usize>,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// The configuration is not TOML.
    #[error("`{}` is not TOML", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: toml::de::Error,
    },
    /// A file was written by a newer version.
    #[error("`{}` has schema {found}, but this version reads only schema {known}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// The newest schema that is known.
        known: u32,
    },
    /// A picture that must not be embedded.
    #[error("`report.json` names the picture `{}`, {problem}", path.display())]
    Picture {
        /// The picture.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// What a user can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotARun { .. } => "name a folder such as `runs/NAME`",
            Self::Io {
                action: "write", ..
            } => "check the free space and the permissions",
            Self::Io { .. } => "check that the file exists and can be read",
            Self::Json { .. } | Self::Toml { .. } => {
                "move the file elsewhere to make a page without it, or copy the run again from where it was made"
            }
            Self::Schema { .. } => {
                "update Snug, or write the page with the version that made the run"
            }
            Self::Picture { .. } => "move `report.json` elsewhere to make a page without pictures",
        }
    }
}
