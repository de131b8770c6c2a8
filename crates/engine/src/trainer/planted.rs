//! Faults planted for tests, in one attempt at a step.

use tch::Tensor;
use torch_ext::ops::{mul_scalar, mul_scalar_};
use torch_ext::{meter, segment};

use crate::error::Result;
use crate::fault::{self, StepFault};
use crate::optimizer::AdamW;

/// What goes wrong in this attempt. Faults that have not happened by its end are dropped.
#[derive(Debug, Default)]
pub(super) struct PlantedFaults {
    faults: Vec<StepFault>,
}

impl PlantedFaults {
    /// The faults for an attempt at `step`, counted from 1.
    pub(super) fn in_step(step: u64) -> Self {
        let faults = fault::of_attempt(step);
        for fault in &faults {
            match fault {
                StepFault::OutOfMemory { after } => meter::fail_after(Some(*after)),
                StepFault::Recompute => segment::fail_next_recompute(true),
                StepFault::Death => std::process::abort(),
                StepFault::Hang => loop {
                    std::thread::park();
                },
                StepFault::InfiniteGradients | StepFault::NanLoss => {}
            }
        }
        Self { faults }
    }

    /// Whether something goes wrong.
    pub(super) const fn are_some(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Returns the loss, or NaN in its place.
    pub(super) fn loss(&self, loss: Tensor) -> Result<Tensor> {
        if self.faults.contains(&StepFault::NanLoss) {
            return Ok(mul_scalar(&loss, f64::NAN)?);
        }
        Ok(loss)
    }

    /// Makes the first gradient infinite.
    pub(super) fn gradients(&self, optimizer: &AdamW) -> Result<()> {
        if self.faults.contains(&StepFault::InfiniteGradients)
            && let Some(gradient) = optimizer.defined_gradients().first()
        {
            tch::no_grad(|| mul_scalar_(gradient, f64::INFINITY))?;
        }
        Ok(())
    }
}

impl Drop for PlantedFaults {
    fn drop(&mut self) {
        if !self.faults.is_empty() {
            meter::fail_after(None);
            segment::fail_next_recompute(false);
        }
    }
}
