//! The ledger: a file of JSON lines on this machine. Each training run adds a line with its predicted
//! and measured figures, from which corrections follow. The ledger also holds the rates that were
//! fitted to benchmarks. It never leaves the machine.
//!
//! `SNUG_LEDGER` names the file, or is `off`; see [`LedgerPlace`].
//!
//! ```
//! use advisor::ledger::{Corrections, Device};
//!
//! // Without runs nothing is corrected.
//! let gpu = Device::gpu("NVIDIA GeForce RTX 3060");
//! assert_eq!(Corrections::of(&[], &gpu), Corrections::default());
//! ```

mod corrections;
mod entry;
mod file;
mod fitted;
mod report;
mod statistics;

pub use corrections::{Corrections, MIN_RUNS};
pub use entry::{Device, Entry, LargestBatch, Measured, Predicted, SCHEMA_VERSION, Shape};
pub use file::{Contents, Kept, LedgerError, LedgerPlace};
pub use fitted::{Fitted, Source};
pub use report::{to_json, to_text};
pub use statistics::{Spread, Statistics};

#[cfg(test)]
pub(crate) use fitted::tests;
