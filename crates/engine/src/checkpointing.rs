//! Which parts of a run's forward pass backward recomputes: from the configuration to the model's
//! forward mode.

use std::sync::Arc;

use config::{AmpDtype, CheckpointPolicy, RunConfig};
use schedule::{Recompute, Schedule};
use tch::Device;

pub use executor::target;

use crate::error::{Error, Result};
use crate::model::{Checkpointing, ForwardMode, Kernels};

/// The forward mode of training under `config` on `device`.
///
/// # Errors
/// If the policy is not chosen yet, or its plan belongs to another network.
pub fn training_mode(config: &RunConfig, device: Device) -> Result<ForwardMode> {
    let recompute = Recompute::of(config).ok_or(Error::PolicyNotChosen)?;
    // Our kernels take fp32 and bf16.
    let takes = !(config.use_amp && config.amp_dtype == AmpDtype::Fp16);
    let fused = takes
        && device == Device::Cpu
        && config.memory_format().is_channels_last()
        && kernels(config) == Kernels::Fused;
    let target = target(device, fused);
    let network = config.network();
    let checkpointing = match (
        recompute.plan(&network, config.split_concat, target),
        &recompute,
    ) {
        (Some(plan), _) => {
            let schedule = Schedule::compile(&network, &plan, target).map_err(Error::Plan)?;
            Checkpointing::Scheduled(Arc::new(schedule))
        }
        (None, Recompute::Segments(unit)) => Checkpointing::Segments {
            unit: *unit,
            use_reentrant: config.use_reentrant,
        },
        (None, _) => Checkpointing::Off,
    };
    Ok(ForwardMode {
        training: true,
        checkpointing,
        split_concat: config.split_concat,
        kernels: kernels(config),
    })
}

/// Whose code computes batch norm and ReLU.
pub const fn kernels(config: &RunConfig) -> Kernels {
    if config.exact_kernels {
        Kernels::Library
    } else {
        Kernels::Fused
    }
}

/// Refuses `auto`, which has to be resolved to a policy first.
///
/// # Errors
/// For `auto`.
pub fn refuse_unknown(config: &RunConfig) -> Result<()> {
    match config.checkpoint_policy() {
        CheckpointPolicy::Auto => Err(Error::PolicyNotChosen),
        _ => Ok(()),
    }
}
