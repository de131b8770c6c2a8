//! Trains the guide's U-Net: data, model, loop, outputs. This crate alone composes the
//! three techniques (`amp`, `checkpoint`, `layout`), which are features of it.
//!
//! It is a program first (`train fit`, `evaluate`, `predict`, `synth`); the library is what
//! the program and its tests share.

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
