//! Reads the detected GPU and proposes batch and switches before launch.
//!
//! What is proposed today is the guide's own recommendation for that size of
//! card ([`guide`]), not checked against a prediction: the estimator does not
//! know activations yet. The output says so, and shows beside the guide's
//! figures what a simulation found where there is one. No libtorch is needed.
//!
//! ```
//! use advisor::{Device, advise};
//! use estimator::Bytes;
//!
//! let advice = advise(&Device::Given { memory: Bytes(12 * Bytes::GIB) })?;
//! assert_eq!(advice.config.batch, 12);
//! assert_eq!(advice.command, "cargo xtask train --preset best-balance");
//! # Ok::<(), config::ConfigError>(())
//! ```

pub mod device;
pub mod explain;
pub mod gpus;
pub mod guide;
mod json;
pub mod nvml;
mod recommend;
mod report;
pub mod select;

pub use device::{Device, Gpu};
pub use json::to_json;
pub use nvml::detect;
pub use recommend::{Advice, advise};
pub use report::to_text;
