//! What a run monitors during a step: its losses and the memory that is left.
//! Faults planted for tests happen here too.

use tch::Tensor;
use torch_ext::ops::mul_scalar;

use super::Trainer;
use super::divergence::LossWatch;
use super::planted::PlantedFaults;
use super::share::StepShare;
use crate::batch::MicroBatch;
use crate::device;
use crate::error::Result;
use crate::guard::Guard;
use crate::learner::{Learner, StepHooks};

/// Reading a loss or a count waits for the device: on CUDA only one in this many steps does so.
const LOOK_EVERY: u64 = 10;

/// The hooks of one attempt at a step of a run.
#[derive(Debug)]
pub(super) struct StepWatch {
    /// The loss of each batch of the step, complete and finite once all gradients exist.
    pub(super) losses: Vec<Tensor>,
    /// By what to multiply each, so that it is the mean over the images of its batch.
    scales: Vec<f64>,
    /// Optimizer steps done.
    steps: u64,
    planted: PlantedFaults,
    /// Present if the losses of this step are read.
    loss_watch: Option<LossWatch>,
    /// Present if memory is checked in this step.
    guard: Option<Guard>,
    /// Predicted bytes of the whole step, if the process does not hold them already.
    predicted_bytes: u64,
    /// The most bytes of tensors between a forward and a backward pass, if they are counted.
    pub(super) held_bytes: Option<u64>,
}

impl StepWatch {
    /// Hooks for the next step of `trainer`.
    pub(super) fn new(trainer: &Trainer, share: &StepShare<'_>, planted: PlantedFaults) -> Self {
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
            losses: Vec::with_capacity(share.batches.len()),
            scales: share.scales(),
            steps,
            planted,
            loss_watch: is_looked_at.then_some(trainer.loss_watch),
            guard,
            predicted_bytes: predicted.unwrap_or(0),
            held_bytes: None,
        }
    }

    /// Hooks that read nothing.
    pub(super) fn silent(share: &StepShare<'_>) -> Self {
        Self {
            losses: Vec::with_capacity(share.batches.len()),
            scales: share.scales(),
            steps: 0,
            planted: PlantedFaults::default(),
            loss_watch: None,
            guard: None,
            predicted_bytes: 0,
            held_bytes: None,
        }
    }

    /// Whether values are read in this step.
    pub(super) const fn is_looked_at(&self) -> bool {
        self.loss_watch.is_some()
    }

    /// Whether a fault is planted in this step.
    pub(super) const fn is_planted(&self) -> bool {
        self.planted.are_some()
    }

    /// Reads losses, if this step does so. Waits for the device.
    ///
    /// # Errors
    /// If one is not finite.
    pub(super) fn read(&self, losses: &[Tensor], learner: &Learner) -> Result<()> {
        let Some(watch) = self.loss_watch else {
            return Ok(());
        };
        losses.iter().try_for_each(|loss| {
            let loss = loss.f_double_value(&[])?;
            watch.finite(loss, self.steps, &learner.model).map(drop)
        })
    }

    /// Checks memory, if this step does so; the whole step takes `step_bytes` of the device's.
    ///
    /// # Errors
    /// If it is nearly full.
    pub(super) fn look_at_memory(&self, learner: &Learner, step_bytes: u64) -> Result<()> {
        let Some(guard) = self.guard else {
            return Ok(());
        };
        let device = learner.device();
        let held = device::allocated_bytes(device);
        guard.look(device, step_bytes.saturating_sub(held))
    }
}

impl StepHooks for StepWatch {
    fn before_backward(&mut self, learner: &Learner, loss: Tensor) -> Result<Tensor> {
        let loss = self.planted.loss(loss)?;
        self.read(std::slice::from_ref(&loss), learner)?;
        self.look_at_memory(learner, self.predicted_bytes)?;
        if let Some(most) = &mut self.held_bytes {
            *most = device::allocated_bytes(learner.device()).max(*most);
        }
        Ok(loss)
    }

    fn after_backward(
        &mut self,
        _learner: &Learner,
        micro: &MicroBatch<'_>,
        loss: &Tensor,
    ) -> Result<()> {
        let loss = loss.f_detach()?;
        match self.losses.get_mut(micro.batch) {
            Some(sum) => *sum = sum.f_add(&loss)?,
            None => self.losses.push(loss),
        }
        Ok(())
    }

    fn before_update(&mut self, learner: &Learner) -> Result<()> {
        for (loss, scale) in self.losses.iter_mut().zip(&self.scales) {
            *loss = mul_scalar(loss, *scale)?;
            // A non-finite loss counts as 0, as its update is skipped.
            let _finite = loss.f_nan_to_num_(0.0, 0.0, 0.0)?;
        }
        self.planted.gradients(&learner.optimizer)
    }
}
