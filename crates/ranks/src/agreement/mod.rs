//! How all ranks decide alike: each says once a step how it went, before any weight changes, and all draw the same
//! conclusion from the same statuses.
//!
//! A rank that fails first takes part in what the others wait for, so that none is left waiting. The first row that
//! applies to any rank decides:
//!
//! | a rank | all ranks |
//! |---|---|
//! | is at another step, or has another recipe | leave: they no longer train the same ([`Verdict::Disagree`]) |
//! | failed while it changed its weights | leave, without a snapshot of this state |
//! | cannot read its data | undo the step and leave |
//! | failed in a way that a rung may repair; the worst is the last in [`What`] | undo the step and take one rung, for the largest number of bytes |
//! | wants to stop | finish the step, and then stop |
//! | is fine | go on |

mod merge;
#[cfg(test)]
mod tests;
mod wire;

pub use merge::{Verdict, merge, merge_gathered};
pub use wire::{NUM_WORDS, fingerprint};

use crate::shard::Shard;

/// What a rank says after its last micro-batch of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Which rank it is.
    pub shard: Shard,
    /// The step, as in the snapshot.
    pub step: u64,
    /// How the step went.
    pub what: What,
    /// The bytes that are missing, if memory is and their number is known.
    pub missing_bytes: Option<u64>,
    /// Whether the rank wants to stop after the step, with a snapshot: a signal came.
    pub interrupt: bool,
    /// [`fingerprint`] of the recipe that the rank computes with.
    pub recipe: u64,
}

/// How a rank's part of a step went. A later one is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum What {
    /// It is done.
    Fine,
    /// Gradients have not been finite for several steps.
    Overflow,
    /// The loss is not finite.
    NonFiniteLoss,
    /// The step could not be recorded as a CUDA graph.
    Graph,
    /// A segment could not be recomputed.
    Recompute,
    /// The guard abandoned the step, because the machine's memory was nearly full.
    HostGuard,
    /// The guard abandoned the step, because the GPU's memory was nearly full.
    DeviceGuard,
    /// An allocation failed.
    OutOfMemory,
    /// The rank's samples cannot be read.
    DataError,
    /// The rank failed while it changed its weights, and cannot undo that.
    Broken,
}

impl What {
    const ALL: [Self; 10] = [
        Self::Fine,
        Self::Overflow,
        Self::NonFiniteLoss,
        Self::Graph,
        Self::Recompute,
        Self::HostGuard,
        Self::DeviceGuard,
        Self::OutOfMemory,
        Self::DataError,
        Self::Broken,
    ];

    /// Whether the state before the step can be restored, and then be written to a snapshot.
    pub fn can_be_undone(self) -> bool {
        self != Self::Broken
    }
}
