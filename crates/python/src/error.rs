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
    #[error("{}", without_place(.0))]
    Request(#[from] serde_json::Error),
    /// A value has no form in TOML, which holds whole numbers up to 2^63.
    #[error("a key of the configuration cannot be written: {0}")]
    Key(#[from] toml::ser::Error),
    /// A key of the configuration is unknown, or its value is not accepted.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A text is not a size.
    #[error(transparent)]
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
        /// The number of the request.
        found: i64,
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
            Self::Request(_) | Self::Key(_) | Self::Size(_) | Self::Threads { .. } => return None,
        })
    }
}

/// The place in the JSON means nothing to whoever called a function of Python.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let fact = text.rsplit_once(" at line ").map(|(fact, _)| fact);
    fact.unwrap_or(&text).to_owned()
}

fn budget(bytes: Option<&Bytes>) -> String {
    bytes.map_or_else(|| "this device".to_owned(), ToString::to_string)
}
