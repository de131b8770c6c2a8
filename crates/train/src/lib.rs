//! Trains the guide's U-Net: data, model, loop, outputs. This crate alone composes the
//! three techniques (`amp`, `checkpoint`, `layout`), which are features of it.
//!
//! It is a program first (`train fit`, `evaluate`, `predict`, `synth`); the library is what
//! the program and its tests share.

pub mod batch;
pub mod bench_worker;
pub mod checkpointing;
pub mod command;
pub mod compose;
pub mod device;
pub mod doctor;
mod error;
pub mod evaluation;
pub mod fault;
pub mod guard;
pub mod interrupt;
pub mod ladder;
pub mod learner;
pub mod loss;
pub mod measure;
pub mod memory;
pub mod metrics;
pub mod model;
pub mod optimizer;
pub mod outputs;
pub mod precision;
pub mod prediction;
pub mod predictor;
pub mod proposal;
pub mod run_data;
pub mod snapshot;
pub mod trainer;
mod usage;
pub mod weights;

pub use error::{Error, Result};
pub use usage::UsageError;
