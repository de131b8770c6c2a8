//! Why a benchmark as a whole failed. The failure of a single case goes into its row instead.

use std::path::PathBuf;

/// The failure of a whole benchmark.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of ours could not be accessed.
    #[error("cannot {action} `{}`: {source}", .path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A file is not a benchmark.
    #[error("`{}` is not a benchmark of `train bench`: {message}", .path.display())]
    NotABenchmark {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A file is not a session on a GPU.
    #[error("`{}` is not a session of `train gpu`: {message}", .path.display())]
    NotASession {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Our own worker failed, so there is nothing to compare with.
    #[error("snug's own worker failed: {message}")]
    Worker {
        /// What it said.
        message: String,
    },
    /// The request cannot be met.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
}

/// The result of a benchmark operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
