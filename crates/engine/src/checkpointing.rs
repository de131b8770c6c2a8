//! Which parts of a run's forward pass backward recomputes: from the configuration to the model's
//! forward mode.

use std::sync::Arc;

use config::{CheckpointPolicy, RunConfig};
use schedule::{Plan, Schedule};
use tch::Device;

use crate::compose;
use crate::error::{Error, Result};
use crate::model::{Checkpointing, ForwardMode, Unit};

/// The forward mode of training under `config` on `device`.
///
/// # Errors
/// If the policy is not chosen yet, or its plan belongs to another network.
pub fn training_mode(config: &RunConfig, device: Device) -> Result<ForwardMode> {
    let segments = |unit| Checkpointing::Segments {
        unit,
        use_reentrant: config.use_reentrant,
    };
    let checkpointing = match config.checkpoint_policy() {
        CheckpointPolicy::Off => Checkpointing::Off,
        CheckpointPolicy::Block => segments(Unit::Block),
        CheckpointPolicy::Stage => segments(Unit::Stage),
        CheckpointPolicy::Selective | CheckpointPolicy::Mixed => scheduled(config, device)?,
        CheckpointPolicy::Auto => return Err(Error::PolicyNotChosen),
    };
    Ok(ForwardMode {
        training: true,
        checkpointing,
        split_concat: config.split_concat,
    })
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

fn scheduled(config: &RunConfig, device: Device) -> Result<Checkpointing> {
    let network = config.network();
    let plan = match (&config.grad_checkpoint_plan, config.checkpoint_policy()) {
        (Some(stages), _) => Plan::new(stages.clone()),
        (None, CheckpointPolicy::Selective) => Plan::selective(&network),
        (None, _) => Plan::mixed(&network, config.split_concat),
    };
    let plan = plan.with_split_concat(config.split_concat);
    let schedule = Schedule::compile(&network, &plan, compose::schedule_target(device));
    Ok(Checkpointing::Scheduled(Arc::new(
        schedule.map_err(Error::Plan)?,
    )))
}
