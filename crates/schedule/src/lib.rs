//! A training step as data: which tensors its forward keeps, which its backward rebuilds, and
//! every operation in order, frees included.
//!
//! A [`Plan`] says what each stage of the network keeps. [`Schedule::compile`] turns it into a
//! list of operations. `checkpoint` executes that list with tensors; [`Schedule::bytes`] walks the
//! same list to add up sizes and [`Schedule::flops`] to count operations, so that predictions
//! describe exactly what runs. The crate does not use libtorch and measures nothing.
//!
//! ```
//! use config::{ImageSize, Network};
//! use schedule::{Element, Plan, Schedule, Shape, Target};
//!
//! let network = Network::new(64, 1);
//! let shape = Shape { batch: 8, size: ImageSize::new(512, 512), element: Element::Half };
//! let peak = |plan: &Plan| {
//!     let schedule = Schedule::compile(&network, plan, Target::CPU)?;
//!     schedule.bytes(&network, shape).map(|timeline| timeline.peak().bytes)
//! };
//! let selective = peak(&Plan::selective(&network))?;
//! let mixed = peak(&Plan::mixed(&network, false))?;
//! assert!(mixed < selective);
//! # Ok::<(), schedule::ScheduleError>(())
//! ```

mod alive;
mod bytes;
mod compile;
mod flops;
mod op;
mod plan;

pub use alive::Alive;
pub use bytes::{Element, Point, Shape, Timeline};
pub use compile::{Schedule, Target, Visitor, visit};
pub use config::Keep;
pub use flops::StepFlops;
pub use op::{Half, Nth, Op, Statistics, Value};
pub use plan::Plan;

/// Why a schedule, or a figure about it, could not be computed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// The plan has more or fewer stages than the network.
    #[error("the plan has {found} stages, but the network has {expected}")]
    Stages {
        /// Stages of the plan.
        found: usize,
        /// Stages of the network.
        expected: usize,
    },
    /// A figure exceeds 64 bits.
    #[error("the {what} of this step do not fit 64 bits")]
    TooLarge {
        /// What was being counted.
        what: &'static str,
    },
}
