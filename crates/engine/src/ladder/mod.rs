//! The fallback ladder: what a run changes when a step fails, so that the same step can be retried.
//!
//! The failure is classified ([`Failure`]), the partial step is undone, and the next [`Rung`] for this
//! kind of failure changes the [`StepRecipe`]. Rungs that keep results bit-identical come first:
//!
//! | failure | rungs, in order |
//! |---|---|
//! | a step that cannot be recorded as a CUDA graph, or not in the memory that is left | no graph |
//! | out of memory, or nearly ([`crate::guard`]) | a retry; another checkpoint policy; split concatenation; AMP; smaller micro-batches of the same effective batch |
//! | gradients overflow in consecutive steps | a lower scale; bf16; AMP off |
//! | a non-finite loss | bf16; AMP off |
//! | a segment that cannot be recomputed | the other form of checkpointing; no checkpointing |
//! | slower than necessary, as measured before a long run | no checkpointing; no channels-last |
//!
//! The ladder ends: every rung but the first leads to a recipe that takes less memory or carries less
//! risk than the previous one, and no rung leads back.

mod chosen;
mod failure;
mod memory;
mod numbers;
mod speed;
#[cfg(test)]
mod tests;

use advisor::{Freedom, Target};
use config::{CudaGraph, Precision, RunConfig};
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::{compose, device};

pub(crate) use chosen::ChosenRung;
pub use failure::Failure;

/// How a run computes. It does not include the training data or their order.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRecipe {
    /// Policy, split concatenation, AMP, scale.
    pub config: RunConfig,
    /// The precision of convolutions.
    pub precision: Precision,
    /// Images per forward pass: the batch, or a part of it.
    pub micro_batch: u32,
}

/// A change of the recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Rung {
    /// The recipe to use from now on.
    pub recipe: StepRecipe,
    /// The new scale, if the scale is what changes.
    pub scale: Option<f64>,
    /// What the change replaces, in words.
    pub from: String,
    /// What replaces it, in words.
    pub to: String,
    /// Whether a run with this recipe from the start would be bit-identical.
    pub is_bit_exact: bool,
}

/// The rungs taken so far, as far as they limit later ones.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is about a rung of its own"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// A step that ran out of memory was retried unchanged.
    is_retry_spent: bool,
    /// A step under nearly full memory was retried unchanged: once per run, since other programs may
    /// keep the memory full for long.
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
    /// The device as the advisor knows it; `None` if memory is not predicted.
    target: Option<Target>,
    means: Means,
    taken: Taken,
}

/// What the device and this program support.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Means {
    /// The device is a GPU, with memory of its own.
    pub is_cuda: bool,
    /// The device multiplies bf16.
    pub has_bf16: bool,
    /// The precision that AMP would use, if it can be turned on.
    pub amp: Option<Precision>,
    /// The techniques that this program may change.
    pub freedom: Freedom,
}

impl Means {
    /// The means on `device`.
    pub fn of(device: Device) -> Self {
        let processor = device::processor(device);
        Self {
            is_cuda: device.is_cuda(),
            has_bf16: processor.multiplies_bf16(),
            amp: processor.arithmetic().half(),
            freedom: compose::means(),
        }
    }
}

impl Ladder {
    /// A fresh ladder.
    pub fn new(target: Option<Target>, means: Means) -> Self {
        Self {
            target,
            means,
            taken: Taken::default(),
        }
    }

    /// Leaves the checkpoint policy as it is: the run needs one of its kind.
    pub(crate) const fn keep_policy(&mut self) {
        self.means.freedom.policy = false;
    }

    /// The predicted peak bytes of a step, if a prediction exists.
    pub(crate) fn predicted_bytes(&self, recipe: &StepRecipe) -> Option<u64> {
        let prediction = self.target.as_ref()?.predict(&recipe.as_predicted());
        Some(prediction.ok().flatten()?.total_bytes)
    }

    /// The rungs taken so far, for a snapshot.
    pub const fn taken(&self) -> Taken {
        self.taken
    }

    /// Continues from a snapshot. Whatever filled the memory then may be gone by now.
    pub fn resume(&mut self, taken: Taken) {
        self.taken = Taken {
            is_patience_spent: false,
            ..taken
        };
    }

    /// Records that a step succeeded: the next one may be retried unchanged.
    pub fn step_done(&mut self) {
        self.taken.is_retry_spent = false;
    }

    /// The next rung for a failure; `None` if no rung is left.
    pub fn next(&mut self, failure: &Failure, recipe: &StepRecipe) -> Option<Rung> {
        let taken = self.taken;
        let rung = self.rung_for(failure, recipe)?;
        // A rung that changes nothing would be taken for ever. A retry can be taken once.
        let changes = rung.recipe != *recipe || rung.scale.is_some() || self.taken != taken;
        changes.then_some(rung)
    }

    fn rung_for(&mut self, failure: &Failure, recipe: &StepRecipe) -> Option<Rung> {
        match failure {
            Failure::OutOfMemory { shortfall_bytes } => self.less_memory(recipe, *shortfall_bytes),
            Failure::MemoryPressure {
                place,
                excess_bytes,
            } => self.relieve(recipe, *place, *excess_bytes),
            Failure::Overflow { scale } => self.less_range(recipe, *scale),
            Failure::NonFiniteLoss => self.less_range(recipe, None),
            Failure::Checkpointing => self.other_checkpointing(recipe),
            Failure::Graph => Some(Rung::without_graph(recipe.clone())),
            // The warm-up measures this before a run, and requests its rungs by name.
            Failure::Slow { .. } => None,
        }
    }
}

impl StepRecipe {
    /// This recipe as a configuration that the advisor can predict: its batch is the micro-batch.
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
    /// Steps are launched kernel by kernel.
    pub(crate) fn without_graph(recipe: StepRecipe) -> Self {
        let from = recipe.config.cuda_graph.as_str();
        let config = RunConfig {
            cuda_graph: CudaGraph::Off,
            ..recipe.config
        };
        Self::to(
            StepRecipe { config, ..recipe },
            "CUDA graph",
            from,
            "off",
            true,
        )
    }

    /// Validation takes fewer images at a time; training continues unchanged.
    pub(crate) fn of_validation(recipe: StepRecipe, before: usize, now: usize) -> Self {
        let what = "validation, images at a time:";
        Self::to(recipe, what, &before.to_string(), &now.to_string(), true)
    }

    fn to(recipe: StepRecipe, what: &str, from: &str, to: &str, is_bit_exact: bool) -> Self {
        Self {
            recipe,
            scale: None,
            from: format!("{what} {from}"),
            to: format!("{what} {to}"),
            is_bit_exact,
        }
    }
}
