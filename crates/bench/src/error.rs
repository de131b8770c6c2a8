//! Why a benchmark could not be made. What befalls a single case is in its row instead.

use std::path::PathBuf;

/// Failure of a whole benchmark.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of ours.
    #[error("cannot {action} `{}`: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// A file that holds something else than a benchmark.
    #[error("`{}` is not a benchmark of `train bench`: {message}", .path.display())]
    NotABenchmark {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Our own worker, without which there is nothing to compare with.
    #[error("snug's own worker failed: {message}")]
    Worker {
        /// What it said.
        message: String,
    },
    /// A request that cannot be met.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: String,
    },
}

/// Result of a benchmark.
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
