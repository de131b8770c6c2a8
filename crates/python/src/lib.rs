//! The advisor for Python: a request as JSON in, an answer as JSON out.
//!
//! The objects are those that `snug suggest --json` and `snug explain --json` print, so a figure
//! cannot differ between Python and the program. Types and documentation for Python are in
//! `python/snug`; this crate does not know them. It trains nothing and needs no libtorch.
//!
//! ```
//! let answer = _snug::suggest(r#"{"vram": "8GiB", "width": 32}"#);
//! let answer: serde_json::Value = serde_json::from_str(&answer)?;
//! assert_eq!(answer["answer"]["recommendation"]["width"], 32);
//! let refused = _snug::suggest(r#"{"vram": "8"}"#);
//! let refused: serde_json::Value = serde_json::from_str(&refused)?;
//! assert_eq!(refused["error"]["message"], "`vram`: `8` has no unit, write `8GiB` or `8MiB`");
//! # Ok::<(), serde_json::Error>(())
//! ```

mod answer;
mod error;
#[cfg(feature = "module")]
mod module;
mod request;
mod stages;
mod words;

pub use answer::{plan, predict_memory, suggest};
pub use error::{Error, Result};
