//! Reads the detected GPU and proposes batch and switches before launch.
//!
//! The search starts from the guide's own recommendation for the size of the card ([`guide`]), runs
//! it through the estimator, and takes the nearest recipe that fits, with its fastest checkpoint
//! plan. It needs no libtorch.
//!
//! ```
//! use advisor::{Request, Target, advise};
//! use config::Bytes;
//! use machine::Device;
//!
//! let device = Device::Given { memory: Bytes(12 * Bytes::GIB), card: None };
//! let target = Target::of(&device);
//! let advice = advise(&device, &target, &Request::default())?;
//! assert_eq!(advice.guide.config.batch, 12);
//! let recommended = advice.recommended.expect("12 GiB are enough");
//! assert!(target.fits(&recommended.prediction));
//! # Ok::<(), advisor::AdviceError>(())
//! ```

pub mod calibrate;
mod changes;
pub mod command;
pub mod explain;
mod fit;
pub mod gpus;
pub mod guide;
mod json;
pub mod ledger;
mod line;
pub mod pareto;
pub mod place;
pub mod ranks;
mod recommend;
mod report;
mod request;
pub mod scale;
mod search;
mod target;
mod tuned;

pub use changes::{Change, changes};
pub use fit::{Fit, Freedom};
pub use json::to_json;
pub use line::{flags, line};
pub use recommend::{Advice, AdviceError, Alternative, StartingPoint, advise};
pub use report::to_text;
pub use request::{Goal, Request};
pub use search::Searched;
pub use target::Target;
