//! The configuration of a training run: presets, TOML files and flags, merged into one
//! validated [`RunConfig`], and the U-Net described once, as data ([`Network`]).
//!
//! This crate knows nothing about libtorch, GPUs or the cost of a run. The
//! model builder in `train` and the cost model in `estimator` both read
//! [`Network`], so that the two cannot disagree.
//!
//! ```
//! use config::{Overrides, Source, resolve};
//!
//! let flags = Overrides { batch: Some(4), ..Overrides::default() };
//! let resolved = resolve(Some("max-memory"), None, flags)?;
//! assert_eq!(resolved.config.batch, 4);
//! assert_eq!(resolved.config.img_size.to_string(), "384x512");
//! assert_eq!(resolved.origins.of("batch"), &Source::Flag("--batch"));
//! # Ok::<(), config::ConfigError>(())
//! ```

mod banner;
mod category;
mod choices;
mod class_table;
#[cfg(feature = "cli")]
pub mod cli;
mod error;
pub mod files;
mod flags;
pub mod guide;
mod image_size;
pub mod keys;
mod nearest;
pub mod network;
mod overrides;
mod plan_letters;
mod precision;
mod presets;
mod recipe;
mod resolve;
mod run;
mod units;
mod value;
mod wire;

pub use category::{BytesByCategory, Category};
pub use choices::{AmpDtype, Backend, CheckpointPolicy, CudaGraph, Keep, Reduction, Switch};
pub use class_table::{MaskValue, MaskValues, Names};
pub use error::{ConfigError, ConfigErrorKind, Place};
pub use flags::{AmpFlag, CheckpointFlag};
pub use image_size::ImageSize;
pub use network::{Block, ConvTranspose, DoubleConv, Network, ParameterSpec, Role, StageShape};
pub use overrides::Overrides;
pub use plan_letters::PlanLetters;
pub use precision::{Arithmetic, Precision};
pub use presets::{preset_toml, presets};
pub use recipe::{Checkpointing, MemoryFormat, Recipe, Workload};
pub use resolve::{Origins, Resolved, Source, resolve};
pub use run::RunConfig;
pub use units::{Bytes, SizeArg, SizeError};
pub use wire::one_line;
