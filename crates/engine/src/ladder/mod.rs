//! The fallback ladder: what a run does when a step fails, so that the same step can be tried again.
//!
//! A failure is classified ([`Failure`]), what the step has begun is undone, and the next [`Rung`] of
//! its kind changes the [`Recipe`]. Rungs that leave every bit as it is come first:
//!
//! | failure | rungs, in order |
//! |---|---|
//! | out of memory, or nearly ([`crate::guard`]) | try again; another checkpoint policy; split concatenation; AMP; smaller micro-batches of the same effective batch |
//! | gradients overflow, step after step | a lower scale; bf16; AMP off |
//! | a loss that is no number | bf16; AMP off |
//! | a segment that cannot be recomputed | the other form of checkpointing; no checkpointing |
//! | slower than need be, measured before a long run | no checkpointing; no channels-last |
//!
//! The ladder ends: every rung but the first leads to a recipe that takes less memory or fewer risks
//! than the one before, and none leads back.

mod failure;
mod memory;
mod numbers;
mod speed;
#[cfg(test)]
mod tests;

use advisor::{Freedom, Target};
use config::RunConfig;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::compose;
use crate::precision::{self, Precision};

pub use failure::Failure;

/// How a run computes. What it trains on, and in what order, is no part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Policy, split concatenation, AMP, scale.
    pub config: RunConfig,
    /// In which it computes.
    pub precision: Precision,
    /// Images of a forward: the batch, or a part of it.
    pub micro_batch: u32,
}

/// A change of the recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Rung {
    /// What is run from now on.
    pub recipe: Recipe,
    /// The scale to go on with, where that is the change.
    pub scale: Option<f64>,
    /// What was in its place.
    pub from: String,
    /// What is there now.
    pub to: String,
    /// Whether a run that had this recipe from its start would have the same bits.
    pub is_bit_exact: bool,
}

/// What is remembered of the rungs taken.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is about a rung of its own"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// A step that ran out of memory was tried again as it was.
    is_retry_spent: bool,
    /// The same of memory that was nearly full: once in a run, since others may fill it for long.
    #[serde(default)]
    is_patience_spent: bool,
    /// The scale was lowered.
    is_scale_lowered: bool,
    /// The form of checkpointing was changed.
    is_form_changed: bool,
}

/// The ladder of one run.
#[derive(Clone, Debug)]
pub struct Ladder {
    /// The device as the advisor knows it; `None` where memory is not predicted.
    target: Option<Target>,
    means: Means,
    taken: Taken,
}

/// What a device and this program have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Means {
    /// A GPU, whose memory is another than the machine's.
    pub is_cuda: bool,
    /// The device multiplies bf16.
    pub has_bf16: bool,
    /// What AMP that is turned on computes in.
    pub amp: Option<Precision>,
    /// Techniques of this program.
    pub freedom: Freedom,
}

impl Means {
    /// Those of `device`.
    pub fn of(device: Device) -> Self {
        let has_bf16 = precision::multiplies_bf16(device);
        let amp = match device {
            Device::Cuda(_) => Some(Precision::Fp16),
            _ => has_bf16.then_some(Precision::Bf16),
        };
        Self {
            is_cuda: device.is_cuda(),
            has_bf16,
            amp,
            freedom: compose::means(),
        }
    }
}

impl Ladder {
    /// A ladder of which no rung is taken.
    pub fn new(target: Option<Target>, means: Means) -> Self {
        Self {
            target,
            means,
            taken: Taken::default(),
        }
    }

    /// What a step is predicted to hold at its peak, where that is known.
    pub(crate) fn predicted_bytes(&self, recipe: &Recipe) -> Option<u64> {
        let prediction = self.target.as_ref()?.predict(&recipe.as_predicted());
        Some(prediction.ok().flatten()?.total_bytes)
    }

    /// What is remembered, for a snapshot.
    pub const fn taken(&self) -> Taken {
        self.taken
    }

    /// Goes on from a snapshot. What filled the memory then may be gone.
    pub fn resume(&mut self, taken: Taken) {
        self.taken = Taken {
            is_patience_spent: false,
            ..taken
        };
    }

    /// A step succeeded: the next one may be tried again as it is.
    pub fn step_done(&mut self) {
        self.taken.is_retry_spent = false;
    }

    /// The next rung for a failure; `None` where nothing is left.
    pub fn next(&mut self, failure: &Failure, recipe: &Recipe) -> Option<Rung> {
        match failure {
            Failure::OutOfMemory { shortfall_bytes } => self.less_memory(recipe, *shortfall_bytes),
            Failure::MemoryPressure {
                place,
                excess_bytes,
            } => self.relieve(recipe, *place, *excess_bytes),
            Failure::Overflow { scale } => self.less_range(recipe, Some(*scale)),
            Failure::NonFiniteLoss => self.less_range(recipe, None),
            Failure::Checkpointing => self.other_checkpointing(recipe),
            // Measured before a run, and asked for by name.
            Failure::Slow { .. } => None,
        }
    }
}

impl Recipe {
    /// As a configuration that the advisor can predict: micro-batches are what it calls batches.
    fn as_predicted(&self) -> RunConfig {
        let batch = self.config.batch.max(1);
        let micro_batch = self.micro_batch.clamp(1, batch);
        RunConfig {
            batch: micro_batch,
            accumulation: self
                .config
                .accumulation
                .saturating_mul(batch.div_ceil(micro_batch)),
            ..self.config.clone()
        }
    }
}

impl Rung {
    /// Validation takes fewer images at a time; training goes on as it did.
    pub(crate) fn of_validation(recipe: Recipe, before: usize, now: usize) -> Self {
        let what = "validation, images at a time:";
        Self::to(recipe, what, &before.to_string(), &now.to_string(), true)
    }

    fn to(recipe: Recipe, what: &str, from: &str, to: &str, is_bit_exact: bool) -> Self {
        Self {
            recipe,
            scale: None,
            from: format!("{what} {from}"),
            to: format!("{what} {to}"),
            is_bit_exact,
        }
    }
}
