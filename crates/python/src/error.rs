//! Why a request was refused, in the words of the program.

use advisor::AdviceError;
use config::{Bytes, ConfigError, SizeError};
use estimator::EstimateError;

/// `std`'s `Result` with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request is not one of the expected objects.
    #[error("not a request: {0}")]
    Request(#[from] serde_json::Error),
    /// An argument has a value of another type, or not one of its words.
    #[error("`{name}`: {source}")]
    Argument {
        /// The argument.
        name: String,
        /// What was expected, and what was found.
        source: serde_json::Error,
    },
    /// TOML cannot express a value, such as `None` in a list.
    #[error("`{name}` holds a value that TOML cannot express: {source}")]
    Key {
        /// The key.
        name: String,
        /// The reason.
        source: toml::ser::Error,
    },
    /// TOML cannot express the keys together.
    #[error("TOML cannot express the configuration: {0}")]
    Keys(#[source] toml::ser::Error),
    /// A key of the configuration is unknown, or its value is not accepted.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A text is not a size.
    #[error("`vram`: {0}")]
    Size(#[from] SizeError),
    /// The advisor refused.
    #[error(transparent)]
    Advice(#[from] AdviceError),
    /// A step cannot be predicted.
    #[error(transparent)]
    Predict(#[from] EstimateError),
    /// Two ways to choose a batch.
    #[error("`max_batch` and `target_batch` exclude each other")]
    TwoBatches,
    /// libtorch has fewer threads than requested.
    #[error("`threads` must be a whole number from 1 to {most}, found `{found}`")]
    Threads {
        /// The value of the request.
        found: serde_json::Value,
        /// The largest number.
        most: u32,
    },
    /// There is no plan, because nothing fits.
    #[error("no recipe is predicted to fit in {}", budget(.budget_bytes.as_ref()))]
    NothingFits {
        /// What a step may take.
        budget_bytes: Option<Bytes>,
    },
}

impl Error {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Config(error) => return error.hint(),
            Self::Advice(error) => return error.hint(),
            Self::Predict(error) => advisor::explain::hint(error).to_owned(),
            Self::TwoBatches => "leave out one of them".to_owned(),
            Self::NothingFits { .. } => "a smaller `width` or `img_size` is left".to_owned(),
            Self::Request(_)
            | Self::Argument { .. }
            | Self::Key { .. }
            | Self::Keys(_)
            | Self::Size(_)
            | Self::Threads { .. } => return None,
        })
    }
}

fn budget(bytes: Option<&Bytes>) -> String {
    bytes.map_or_else(|| "this device".to_owned(), ToString::to_string)
}
