//! What a run continues from, out of a trainer and back into one. Files are `snapshot`'s.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::divergence::are_numbers;
use super::watch::ScaleWatch;
use super::{Cause, Position, Trainer};
use crate::compose::ScalerState;
use crate::error::{Error, Result};
use crate::ladder::{Ladder, Taken};

/// All of a trainer's state that is no tensor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainerState {
    /// Micro-batches that the mean loss of the epoch is of.
    pub num_losses: u64,
    /// How far the run is.
    pub position: Position,
    /// The gradient scaler, where one is active.
    pub scaler: Option<ScalerState>,
    /// Images of a forward.
    pub micro_batch: u32,
    /// Steps skipped one after the other, up to here.
    #[serde(default)]
    pub skips: u32,
    /// Rungs of the ladder, where the run has one.
    pub rungs: Option<Taken>,
}

impl Trainer {
    /// Its state at the end of an optimizer step. Waits for the device.
    ///
    /// # Errors
    /// [`Error::NonFiniteLoss`]: what could only be continued to no end is not worth keeping.
    pub fn state(&self) -> Result<TrainerState> {
        self.finite(self.losses.read()?)?;
        self.refuse_spoilt_weights()?;
        Ok(TrainerState {
            num_losses: self.losses.count,
            position: self.position,
            scaler: self.learner.scaler.state()?,
            micro_batch: self.micro_batch,
            skips: self.scale_watch.num_skips(),
            rungs: self.ladder.as_ref().map(Ladder::taken),
        })
    }

    /// Weights can be spoilt by a step whose loss was a number still. Waits for the device.
    pub(super) fn refuse_spoilt_weights(&self) -> Result<()> {
        // Where there is no memory to look with, they are taken to be well.
        if are_numbers(&self.learner.model).unwrap_or(true) {
            return Ok(());
        }
        let (step, cause) = (self.steps(), Cause::Weights);
        Err(Error::NonFiniteLoss { step, cause })
    }

    /// Handles on every tensor of its state, by name: the learner's, and the sum of the epoch's losses.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut tensors = self.learner.tensors();
        tensors.push(("loss_sum".to_owned(), self.losses.sum.shallow_clone()));
        tensors
    }

    /// Continues from `state` and from tensors by the names of [`tensors`](Self::tensors): `value`
    /// returns them, of the shape and kind of the one it is shown. Where it fails, the trainer is of
    /// no more use.
    ///
    /// # Errors
    /// What `value` returns; a scaler's state that does not fit.
    pub fn restore<E: From<Error>>(
        &mut self,
        state: &TrainerState,
        value: impl Fn(&str, &Tensor) -> Result<Tensor, E>,
    ) -> Result<(), E> {
        for (name, mut tensor) in self.tensors() {
            let value = value(&name, &tensor)?;
            tch::no_grad(|| tensor.f_copy_(&value)).map_err(Error::from)?;
        }
        match state.scaler {
            Some(scaler) => self.learner.scaler.load_state(scaler)?,
            None if self.learner.scaler.state()?.is_some() => {
                return Err(Error::ScalerStateMissing.into());
            }
            None => {}
        }
        if let Some(scale) = self.learner.scaler.current()? {
            self.scale_watch = ScaleWatch::new(scale, state.skips);
        }
        self.losses.count = state.num_losses;
        self.micro_batch = state.micro_batch.clamp(1, self.config.batch);
        if let (Some(ladder), Some(rungs)) = (&mut self.ladder, state.rungs) {
            ladder.resume(rungs);
        }
        self.position = state.position;
        Ok(())
    }
}
