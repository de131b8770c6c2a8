//! The training engine: the U-Net as a model, one training step ([`learner`]), the loop around it
//! ([`trainer`]) and the response to a failed step ([`ladder`], [`guard`]). Only this crate composes the
//! three techniques (`amp`, `checkpoint`, `layout`), which are features of it ([`compose`]).
//!
//! It writes no files and reads no command line: `train` does both.

pub mod batch;
pub mod checkpointing;
pub mod compose;
pub mod device;
mod error;
pub mod evaluation;
pub mod fault;
pub mod graph;
pub mod guard;
pub mod interrupt;
pub mod ladder;
pub mod learner;
pub mod loss;
pub mod metrics;
pub mod model;
pub mod optimizer;
pub mod predictor;
pub mod team;

pub mod trainer;

pub use error::{Error, Result};
