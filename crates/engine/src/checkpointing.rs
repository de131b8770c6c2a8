//! Which parts of a run's forward pass backward recomputes: from the configuration to the model's
//! forward mode.

use std::sync::Arc;

use config::{CheckpointPolicy, RunConfig};
use schedule::{Plan, Recompute, Schedule};
use tch::Device;

use crate::compose;
use crate::error::{Error, Result};
use crate::model::{Checkpointing, ForwardMode, Kernels};

/// The forward mode of training under `config` on `device`.
///
/// # Errors
/// If the policy is not chosen yet, or its plan belongs to another network.
pub fn training_mode(config: &RunConfig, device: Device) -> Result<ForwardMode> {
    let checkpointing = match Recompute::of(config).ok_or(Error::PolicyNotChosen)? {
        Recompute::Off => Checkpointing::Off,
        Recompute::Segments(unit) => Checkpointing::Segments {
            unit,
            use_reentrant: config.use_reentrant,
        },
        Recompute::Plan(plan) => scheduled(config, &plan, device)?,
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

fn scheduled(config: &RunConfig, plan: &Plan, device: Device) -> Result<Checkpointing> {
    let target = compose::schedule_target(device);
    let schedule = Schedule::compile(&config.network(), plan, target);
    Ok(Checkpointing::Scheduled(Arc::new(
        schedule.map_err(Error::Plan)?,
    )))
}
