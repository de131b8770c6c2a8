//! What a run monitors during a step: its losses, the memory that is left, and the gradient scale.
//! Faults planted for tests happen here too.

use tch::Tensor;
use torch_ext::ops::mul_scalar;

use super::Trainer;
use super::divergence::LossWatch;
use super::planted::PlantedFaults;
use crate::batch::MicroBatch;
use crate::device;
use crate::error::{Error, Result};
use crate::guard::Guard;
use crate::learner::{Learner, StepHooks};

/// This many consecutive skipped steps mean more than an initial scale that was too high.
const MOST_SKIPS: u32 = 5;
/// Reading a loss or a scale waits for the device: on CUDA only one in this many steps does so.
const LOOK_EVERY: u64 = 10;

/// The hooks of one attempt at a step of a run.
#[derive(Debug)]
pub(super) struct StepWatch {
    /// The loss of each batch of the step, complete once all gradients exist.
    pub(super) losses: Vec<Tensor>,
    num_batches: usize,
    /// Optimizer steps done.
    steps: u64,
    planted: PlantedFaults,
    /// Present if the losses of this step are read.
    loss_watch: Option<LossWatch>,
    /// Present if memory is checked in this step.
    guard: Option<Guard>,
    /// Predicted bytes of the whole step, if the process does not hold them already.
    predicted_bytes: u64,
    /// The scale before the update, if it is read in this step.
    scale: Option<f64>,
}

impl StepWatch {
    /// Hooks for the next step of `trainer`, on this many batches.
    pub(super) fn new(trainer: &Trainer, num_batches: usize, planted: PlantedFaults) -> Self {
        let steps = trainer.position.steps;
        let is_cuda = trainer.learner.device().is_cuda();
        let is_looked_at = !is_cuda || steps.is_multiple_of(LOOK_EVERY);
        let guard = trainer.guard.filter(|guard| guard.is_due(steps));
        // The C library keeps the memory of an earlier step, so the system counts it as in use.
        let is_held = is_cuda || trainer.is_peak_kept;
        let ladder = trainer.ladder.as_ref();
        let ladder = ladder.filter(|_| guard.is_some() && !is_held);
        let predicted = ladder.and_then(|ladder| ladder.predicted_bytes(&trainer.recipe()));
        Self {
            losses: Vec::with_capacity(num_batches),
            num_batches,
            steps,
            planted,
            loss_watch: is_looked_at.then_some(trainer.loss_watch),
            guard,
            predicted_bytes: predicted.unwrap_or(0),
            scale: None,
        }
    }

    /// Refuses a skipped step that is the last of too many in a row.
    pub(super) fn check_scale(
        &self,
        learner: &Learner,
        scale_watch: &mut ScaleWatch,
    ) -> Result<()> {
        if let Some(before) = self.scale
            && let Some(scale) = learner.scaler.current()?
            && scale_watch.is_collapse(scale)
            // Otherwise this step has updated the parameters and must not be undone.
            && scale < before
        {
            return Err(Error::GradientOverflow { scale });
        }
        Ok(())
    }
}

impl StepHooks for StepWatch {
    fn before_backward(&mut self, learner: &Learner, loss: Tensor) -> Result<Tensor> {
        let loss = self.planted.loss(loss)?;
        if let Some(watch) = self.loss_watch {
            watch.finite(loss.f_double_value(&[])?, self.steps, &learner.model)?;
        }
        if let Some(guard) = self.guard {
            let device = learner.device();
            let still_to_come = self
                .predicted_bytes
                .saturating_sub(device::allocated_bytes(device));
            guard.look(device, still_to_come)?;
        }
        Ok(loss)
    }

    fn after_backward(&mut self, micro: &MicroBatch<'_>, loss: &Tensor) -> Result<()> {
        let loss = loss.f_detach()?;
        match self.losses.get_mut(micro.batch) {
            Some(sum) => *sum = sum.f_add(&loss)?,
            None => self.losses.push(loss),
        }
        Ok(())
    }

    fn before_update(&mut self, learner: &Learner) -> Result<()> {
        for loss in &mut self.losses {
            *loss = mul_scalar(loss, self.num_batches as f64)?;
        }
        self.planted.gradients(&learner.optimizer)?;
        if self.loss_watch.is_some() {
            self.scale = learner.scaler.current()?;
        }
        Ok(())
    }
}

/// Counts consecutive steps that the scaler skips.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScaleWatch {
    last: f64,
    num_skips: u32,
}

impl ScaleWatch {
    /// Starts with this scale, which `num_skips` consecutive skipped steps led to.
    pub(super) const fn new(scale: f64, num_skips: u32) -> Self {
        Self {
            last: scale,
            num_skips,
        }
    }

    pub(super) const fn num_skips(self) -> u32 {
        self.num_skips
    }

    /// Takes the scale after some steps; each skipped step halves it. Returns whether the scale
    /// collapses.
    fn is_collapse(&mut self, scale: f64) -> bool {
        let mut num_halvings = 0;
        while num_halvings < MOST_SKIPS && self.last > scale * 1.5 {
            self.last /= 2.0;
            num_halvings += 1;
        }
        self.num_skips = match num_halvings {
            0 => 0,
            more => self.num_skips.saturating_add(more),
        };
        self.last = scale;
        self.num_skips >= MOST_SKIPS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_skips_in_a_row_are_a_collapse() {
        let mut watch = ScaleWatch::new(65_536.0, 0);
        let mut scale = 65_536.0;
        for _step in 1..5 {
            scale /= 2.0;
            assert!(!watch.is_collapse(scale));
        }
        assert!(watch.is_collapse(scale / 2.0));
        // One good step in between resets the count.
        watch = ScaleWatch::new(1024.0, 0);
        for scale in [512.0, 256.0, 256.0, 128.0, 64.0, 32.0, 16.0] {
            assert!(!watch.is_collapse(scale));
        }
        // The scale is read only once every few steps, and the count continues from a snapshot.
        assert!(!ScaleWatch::new(1024.0, 0).is_collapse(64.0));
        assert!(ScaleWatch::new(1024.0, 0).is_collapse(32.0));
        assert!(ScaleWatch::new(64.0, 4).is_collapse(32.0));
        assert!(!ScaleWatch::new(64.0, 4).is_collapse(128.0));
        assert!(ScaleWatch::new(64.0, 0).is_collapse(0.0));
    }
}
