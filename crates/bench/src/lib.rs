//! Measures training steps side by side: a matrix of cases, each in a process of its own, timed in
//! turns, so that what the machine does meanwhile falls on all of them alike.
//!
//! This crate drives and reports; it links no libtorch. A case is built by a *worker*, which is
//! `train bench-worker` or one of the PyTorch programs in `bench/pytorch`, and answers requests
//! over its stdin and stdout ([`protocol`]). A worker that runs out of memory, crashes or hangs is
//! a result, not the end of a benchmark.
//!
//! | module | what |
//! |---|---|
//! | [`case`] | what is measured |
//! | [`matrix`] | which cases, in which groups |
//! | [`protocol`] | requests and answers |
//! | `prediction` | what the estimator says of a case |
//! | [`worker`] | a process that answers |
//! | [`session`] | the rounds of a group |
//! | [`journal`] | what is measured already, for a run that was cut off |
//! | [`results`] | rows and the file that holds them |
//! | [`claims`] | which of the guide's claims hold |
//! | [`markdown`], [`scatter`], [`readme`] | for people |
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
