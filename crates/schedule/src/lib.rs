//! A training step as data: which tensors its forward keeps, which its backward rebuilds, and
//! every operation in order, frees included.
//!
//! A [`Plan`] says what each stage of the network keeps. [`Schedule::compile`] turns it into a
//! list of operations. `checkpoint` executes that list with tensors; [`Schedule::bytes`] walks the
//! same list with sizes and [`Schedule::flops`] with operations, so that what is predicted is what
//! is run. There is no libtorch here, and nothing is measured.
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

/// Why there is no schedule, or no figure about one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// A plan that names more or fewer stages than there are.
    #[error("the plan has {found} stages, the network {expected}")]
    Stages {
        /// Stages of the plan.
        found: usize,
        /// Stages of the network.
        expected: usize,
    },
    /// A number past 64 bits.
    #[error("the {what} of this step do not fit 64 bits")]
    TooLarge {
        /// What was being counted.
        what: &'static str,
    },
}
