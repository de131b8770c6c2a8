//! The program that trains the guide's U-Net: commands, outputs, snapshots. The crate `engine` does the
//! training and composes the three techniques (`amp`, `checkpoint`, `layout`).
//!
//! It is primarily a program (`train fit`, `evaluate`, `predict`, `synth`); the library is shared by the
//! program and its tests.

pub mod bench_worker;
pub mod command;
pub mod doctor;
mod error;
pub mod fault;
pub mod measure;
pub mod memory;
pub mod outputs;
pub mod prediction;
pub mod proposal;
pub mod run_data;
pub mod snapshot;
mod usage;
pub mod weights;

pub use error::{Error, Result};
pub use usage::UsageError;
