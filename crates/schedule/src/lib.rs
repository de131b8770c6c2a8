//! A training step as data: which tensors its forward keeps, which its backward rebuilds, and
//! every operation in order, frees included.
//!
//! A [`Plan`] says what each stage of the network keeps. [`Schedule::compile`] turns it into a
//! list of operations, frees included. `executor` executes that list with tensors, and `estimator`
//! walks the same list to predict bytes and time, so that predictions describe exactly what runs. The
//! crate does not use libtorch and measures nothing.
//!
//! ```
//! use config::Network;
//! use schedule::{Op, Plan, Schedule, Target};
//!
//! let network = Network::new(64, 1);
//! let convs_run_again = |plan: &Plan| {
//!     let schedule = Schedule::compile(&network, plan, Target::CPU)?;
//!     Ok(schedule.backward().iter().filter(|op| matches!(op, Op::Conv(..))).count())
//! };
//! // Selective checkpointing repeats only the convolution of the images; the built-in plan of `mixed` repeats more.
//! assert_eq!(convs_run_again(&Plan::selective(&network))?, 1);
//! assert_eq!(convs_run_again(&Plan::mixed(&network, false))?, 13);
//! # Ok::<(), schedule::ScheduleError>(())
//! ```

mod alive;
mod compile;
mod op;
mod plan;
mod recompute;

pub use alive::Alive;
pub use compile::{Schedule, Target, Visitor, visit};
pub use config::Keep;
pub use op::{Half, Nth, Op, Statistics, Value};
pub use plan::Plan;
pub use recompute::{Recompute, Segment};

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
}
