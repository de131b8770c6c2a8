//! Measures training steps side by side: a matrix of cases, each in its own process and timed in
//! turns, so that other load on the machine affects all of them equally.
//!
//! This crate drives workers and reports results; it does not link libtorch. A *worker* builds a
//! case and answers requests over its stdin and stdout ([`protocol`]). It is either `train
//! bench-worker` or one of the PyTorch programs in `bench/pytorch`. A worker that runs out of
//! memory, crashes or hangs is a result, not the end of a benchmark.
//!
//! | module | contents |
//! |---|---|
//! | [`case`] | one case to measure |
//! | [`matrix`] | which cases, in which groups |
//! | [`protocol`] | requests and answers |
//! | `prediction` | the estimator's prediction for a case |
//! | [`worker`] | a process that answers |
//! | [`session`] | the rounds of a group |
//! | [`journal`] | completed parts, for a run that was interrupted |
//! | [`results`] | rows and the file that holds them |
//! | [`gpu`] | everything that only a real GPU can tell, in one run |
//! | [`claims`] | which of the guide's claims hold |
//! | [`markdown`], [`scatter`], [`readme`] | reports for people |
//!
//! ```
//! use bench::statistics::Ratio;
//!
//! let ratio = Ratio::of(&[2.0, 2.1, 1.9], &[1.0, 1.0, 1.0]).unwrap();
//! assert_eq!(ratio.median, 2.0);
//! assert!(ratio.low <= 2.0 && ratio.high >= 2.0);
//! ```

pub mod case;
pub mod claims;
mod epochs;
mod error;
#[cfg(test)]
mod fixture;
pub mod gpu;
mod host;
pub mod journal;
pub mod markdown;
pub mod matrix;
mod prediction;
pub mod protocol;
pub mod pytorch;
pub mod readme;
pub mod results;
pub mod run;
pub mod scatter;
pub mod session;
pub mod shared;
pub mod statistics;
pub mod worker;

pub use error::{Error, Result};
pub use run::{Finished, Settings, run};
