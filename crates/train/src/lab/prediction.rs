//! The estimator's prediction for a step on this machine, before it runs. The instruments measure steps
//! that keep their batch from one to the next; the prediction for a run is [`estimator::Forecast`].

use std::ops::RangeInclusive;

use config::RunConfig;
use estimator::{Batch, EstimateError, EvaluationStep, Machine, Peak, Purpose, Resident, Steps};
use tch::Device;

use engine::device;

/// The peak of a training step that keeps its batch.
///
/// # Errors
/// The errors of [`Steps::of`], and for a configuration that has no peak.
pub fn peak(config: &RunConfig, device: Device) -> Result<Peak, EstimateError> {
    let steps = Steps::of(config, &device::processor(device))?;
    steps.training.peak(steps.machine, Batch::Kept)
}

/// The peak of a batch that is evaluated.
///
/// # Errors
/// The errors of [`peak`].
pub fn evaluation_peak(
    config: &RunConfig,
    device: Device,
    purpose: Purpose,
    resident: Resident,
) -> Result<Peak, EstimateError> {
    let steps = Steps::of(config, &device::processor(device))?;
    let step = EvaluationStep {
        purpose,
        resident,
        ..steps.validation
    };
    step.peak(steps.machine)
}

/// How far a prediction for fp32 may be off, in percent of the measured value; for an upper bound, only
/// upwards. `None` if nothing is predicted.
pub fn tolerated(config: &RunConfig, device: Device) -> Option<RangeInclusive<f64>> {
    let machine = Machine::of(&device::processor(device), config).ok()?;
    Some(if machine.is_bounded() {
        0.0..=20.0
    } else {
        -0.5..=3.0
    })
}
