//! One optimizer step, undone and retried if it fails.
//!
//! Before the optimizer updates the parameters, a step changes the gradients, which are cleared on
//! failure, and the buffers of batch norm. These buffers, and the optimizer's step counts for a failure
//! within the optimizer, are restored from copies allocated once. The batches stay on the host as bytes
//! until the step is done.
//!
//! An update that is skipped because a gradient is not finite leaves no trace either: the device restores
//! the buffers by itself, so that the host need not wait for it.

use data::Batch;
use tch::{Kind, Tensor};

use super::planted::PlantedFaults;
use super::skips::Skips;
use super::watch::StepWatch;
use super::{Observer, Trainer};
use crate::batch::micro_batches;
use crate::compose::Scaler;
use crate::device;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::ladder::{Failure, Ladder, Rung, StepRecipe};
use crate::learner::Learner;

/// Tensors that a step changes in place, with copies from before the step.
#[derive(Debug)]
pub(super) struct BeforeStep {
    live: [Tensor; 4],
    copies: [Tensor; 4],
    /// Whether the update was skipped: bool, one element.
    is_skipped: Tensor,
    zero: Tensor,
}

/// The first of the tensors in [`BeforeStep`] are the model's buffers.
const NUM_BUFFERS: usize = 2;

impl BeforeStep {
    /// Copies the buffers of the model, the step counts of the optimizer and the counts of skipped
    /// updates. Allocates once.
    pub(super) fn of(learner: &Learner, skips: &Skips) -> Result<Self> {
        let [statistics, counters] = learner.model.parameters().buffers();
        let zero = Tensor::f_zeros([1], (Kind::Float, learner.device()))?;
        let live = [
            statistics,
            counters,
            learner.optimizer.step_counts(),
            skips.tensor(),
        ];
        let [a, b, c, d] = live.each_ref().map(Tensor::f_empty_like);
        Ok(Self {
            copies: [a?, b?, c?, d?],
            live,
            is_skipped: zero.f_to_kind(Kind::Bool)?,
            zero,
        })
    }

    pub(super) fn save(&mut self) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        for (copy, live) in self.copies.iter_mut().zip(&self.live) {
            copy.f_copy_(live)?;
        }
        Ok(())
    }

    /// Restores the model's buffers on the device if `is_skipped` is 1. Allocates nothing: the parameters
    /// may be updated already, and a failure could not be undone.
    pub(super) fn restore_buffers_if(&self, is_skipped: &Tensor) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let is_skipped = is_skipped.f_ne_tensor_out(&self.is_skipped, &self.zero)?;
        for (live, copy) in self.live.iter().zip(&self.copies).take(NUM_BUFFERS) {
            let _restored = copy.f_where_self_out(live, &is_skipped, live)?;
        }
        Ok(())
    }

    fn restore(&mut self) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        for (live, copy) in self.live.iter_mut().zip(&self.copies) {
            live.f_copy_(copy)?;
        }
        Ok(())
    }
}

impl Trainer {
    /// Takes one step on these batches: with the recipe unchanged, or with the first rung of the ladder
    /// that makes the step succeed. Returns the loss of each batch.
    ///
    /// # Errors
    /// If no rung repairs the failure.
    pub(super) fn step<E>(
        &mut self,
        batches: &[Batch],
        observer: &mut dyn Observer<E>,
        interrupt: &Interrupt,
    ) -> Result<Vec<Tensor>> {
        self.saved.save()?;
        if self.ladder.is_none() && self.guard.is_none() {
            let outcome = self.try_step(batches);
            self.is_poisoned = outcome.is_err();
            return outcome;
        }
        loop {
            let moves = self.learner.optimizer.num_moves();
            let error = match self.try_step(batches) {
                Ok(losses) => {
                    self.ladder.iter_mut().for_each(Ladder::step_done);
                    return Ok(losses);
                }
                Err(error) => error,
            };
            let optimizer = &self.learner.optimizer;
            // A skipped update left the parameters untouched.
            let has_moved =
                optimizer.num_moves() != moves && !matches!(error, Error::GradientOverflow { .. });
            self.is_poisoned = has_moved || optimizer.is_under_way();
            if self.is_poisoned {
                return Err(error);
            }
            self.undo().inspect_err(|_| self.is_poisoned = true)?;
            if interrupt.requested() {
                // The undone step is the one that a resumed run takes next.
                return Err(Error::Interrupted {
                    step: self.position.steps,
                });
            }
            let Some(failure) = error.failure() else {
                return Err(error);
            };
            // A snapshot from before the rung does not contain it.
            let (recipe, mut ladder) = (self.recipe(), self.ladder.clone());
            let is_of_graph = self.was_recorded() && matches!(failure, Failure::OutOfMemory { .. });
            let rung = match &mut ladder {
                // Its memory was its own, and nothing else may have to change.
                Some(_) if is_of_graph => Some(Rung::without_graph(recipe)),
                Some(ladder) => ladder.next(&failure, &recipe),
                None => None,
            };
            let Some(rung) = rung else {
                return Err(error);
            };
            observer.rung_taken(self, &failure, &rung);
            self.ladder = ladder;
            self.adopt(rung.recipe, rung.scale)?;
        }
    }

    fn try_step(&mut self, batches: &[Batch]) -> Result<Vec<Tensor>> {
        let planted = PlantedFaults::in_step(self.position.steps + 1);
        let mut watch = StepWatch::new(self, batches.len(), planted);
        self.step_by_any_way(batches, &mut watch)?;
        self.is_peak_kept = cfg!(target_env = "gnu");
        if watch.is_looked_at() && self.skips.are_too_many()? {
            let scale = self.learner.scaler.current()?;
            return Err(Error::GradientOverflow { scale });
        }
        Ok(watch.losses)
    }

    pub(super) fn eager_step(&mut self, batches: &[Batch], watch: &mut StepWatch) -> Result<()> {
        let micro_batches = micro_batches(batches, self.micro_batch);
        let is_skipped = self.learner.step(micro_batches, watch)?;
        self.saved.restore_buffers_if(&is_skipped)?;
        self.skips.count(&is_skipped)
    }

    /// Only the forward and backward passes of a step. Returns the loss of each batch.
    pub(super) fn accumulate_gradients(&mut self, batches: &[Batch]) -> Result<Vec<Tensor>> {
        let mut watch = StepWatch::new(self, batches.len(), PlantedFaults::default());
        let micro_batches = micro_batches(batches, self.micro_batch);
        self.learner
            .accumulate_gradients(micro_batches, &mut watch)?;
        Ok(watch.losses)
    }

    /// Restores the state from before the step, and releases all memory that is not needed.
    pub(super) fn undo(&mut self) -> Result<()> {
        self.restore_saved()?;
        self.forget_recorded()?;
        self.is_peak_kept = false;
        device::empty_cache(self.learner.device())
    }

    /// Restores the state from before the step.
    pub(super) fn restore_saved(&mut self) -> Result<()> {
        self.learner.zero_grad()?;
        self.saved.restore()
    }

    /// Uses this recipe from now on, with a new scaler if `scale` is given.
    pub(super) fn adopt(&mut self, recipe: StepRecipe, scale: Option<f64>) -> Result<()> {
        let StepRecipe {
            config,
            precision,
            micro_batch,
        } = recipe;
        self.begin_recording_anew()?;
        let learner = &mut self.learner;
        if scale.is_some() || precision != learner.precision {
            let scale = scale.unwrap_or(config.init_scale);
            learner.scaler = Scaler::new(learner.device(), precision, scale)?;
            self.skips.begin_row()?;
        }
        learner.adopt(&config, precision)?;
        self.config = config;
        self.micro_batch = micro_batch;
        Ok(())
    }

    /// How the trainer computes at present.
    pub fn recipe(&self) -> StepRecipe {
        StepRecipe {
            config: self.config.clone(),
            precision: self.learner.precision,
            micro_batch: self.micro_batch,
        }
    }
}
