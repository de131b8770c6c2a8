//! The state that a run continues from: saving it from a trainer and restoring it. `snapshot` handles
//! the files.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::divergence::are_numbers;
use super::{Cause, Position, Trainer};
use crate::compose::ScalerState;
use crate::error::{Error, Result};
use crate::ladder::{Ladder, Taken};

/// All of a trainer's state except its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainerState {
    /// Micro-batches that contribute to the mean loss of the epoch.
    pub num_losses: u64,
    /// How far the run has come.
    pub position: Position,
    /// The gradient scaler, if one is active.
    pub scaler: Option<ScalerState>,
    /// Images per forward pass.
    pub micro_batch: u32,
    /// Consecutive skipped updates up to this point.
    #[serde(default)]
    pub skips: u32,
    /// All skipped updates.
    #[serde(default)]
    pub skipped_updates: u64,
    /// Rungs taken, if the run has a ladder.
    pub rungs: Option<Taken>,
}

impl Trainer {
    /// The trainer's state at the end of an optimizer step. Waits for the device.
    ///
    /// # Errors
    /// [`Error::NonFiniteLoss`]: continuing from such a state would be pointless.
    pub fn state(&self) -> Result<TrainerState> {
        self.finite(self.losses.read()?)?;
        self.refuse_spoilt_weights()?;
        let (skipped_updates, skips) = self.skips.read()?;
        Ok(TrainerState {
            num_losses: self.losses.count,
            position: self.position,
            scaler: self.learner.scaler.state()?,
            micro_batch: self.micro_batch,
            skips,
            skipped_updates,
            rungs: self.ladder.as_ref().map(Ladder::taken),
        })
    }

    /// Refuses non-finite weights: a step whose loss was still finite can cause them. Waits for the device.
    pub(super) fn refuse_spoilt_weights(&self) -> Result<()> {
        // If there is no memory left for the check, the weights are assumed to be finite.
        if are_numbers(&self.learner.model).unwrap_or(true) {
            return Ok(());
        }
        let (step, cause) = (self.steps(), Cause::Weights);
        Err(Error::NonFiniteLoss { step, cause })
    }

    /// Handles on every tensor of the trainer's state, by name: the learner's, and the epoch's loss sum.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut tensors = self.learner.tensors();
        tensors.push(("loss_sum".to_owned(), self.losses.sum.shallow_clone()));
        tensors
    }

    /// Continues from `state` and from tensors by the names of [`tensors`](Self::tensors): `value`
    /// returns each with the shape and kind of the tensor it is given. After a failure the trainer must
    /// not be used any more.
    ///
    /// # Errors
    /// The errors of `value`; a scaler state that does not fit.
    pub fn restore<E: From<Error>>(
        &mut self,
        state: &TrainerState,
        value: impl Fn(&str, &Tensor) -> Result<Tensor, E>,
    ) -> Result<(), E> {
        for (name, mut tensor) in self.tensors() {
            let value = value(&name, &tensor)?;
            tch::no_grad(|| tensor.f_copy_(&value)).map_err(Error::from)?;
        }
        Ok(self.take_over(state)?)
    }

    /// Continues from the state of rank 0 on all ranks. Only rank 0 has to have it.
    ///
    /// # Errors
    /// If rank 0 cannot go on from it, or a rank is gone.
    pub fn follow_first(&mut self) -> Result<()> {
        if self.team.is_alone() {
            return Ok(());
        }
        let mut own = None;
        let told = self.team.told(|| match self.state() {
            Ok(state) => Some(state),
            Err(error) => {
                own = Some(error);
                None
            }
        })?;
        let state = match (told, own) {
            (_, Some(error)) => return Err(error),
            (None, None) => {
                let (rank, what) = (0, ranks::What::Broken);
                return Err(Error::OtherRank { rank, what });
            }
            (Some(state), None) => state,
        };
        let tensors: Vec<Tensor> = self.tensors().into_iter().map(|(_, it)| it).collect();
        self.team.copy_from_first(&tensors)?;
        if self.team.is_first() {
            return Ok(());
        }
        self.take_over(&state)
    }

    /// Continues from a state whose tensors are here already.
    fn take_over(&mut self, state: &TrainerState) -> Result<()> {
        match state.scaler {
            Some(scaler) => self.learner.scaler.load_state(scaler)?,
            None if self.learner.scaler.state()?.is_some() => {
                return Err(Error::ScalerStateMissing);
            }
            None => {}
        }
        self.skips.restore(state.skipped_updates, state.skips)?;
        self.losses.count = state.num_losses;
        self.micro_batch = state.micro_batch.clamp(1, self.config.batch);
        if let (Some(ladder), Some(rungs)) = (&mut self.ladder, state.rungs) {
            ladder.resume(rungs);
        }
        self.position = state.position;
        Ok(())
    }
}
