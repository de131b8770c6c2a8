//! The program that trains the guide's U-Net: commands, outputs, snapshots. The crate `engine` does the
//! training and composes the three techniques (`amp`, `checkpoint`, `layout`).
//!
//! It is primarily a program (`train fit`, `evaluate`, `predict`, `synth`); the library is shared by the
//! program and its tests.

pub mod command;
mod error;
pub mod lab;
pub mod run;
mod usage;

pub use error::{Error, Result};
pub use usage::UsageError;
