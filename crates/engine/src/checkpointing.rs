//! Which parts of a run's forward pass backward recomputes: from the configuration to the model's
//! forward mode.

use std::sync::Arc;

use config::{Arithmetic, CheckpointPolicy, RunConfig};
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
    let kernels = kernels(config, device);
    let fused = kernels == Kernels::Fused && config.is_fused_on(arithmetic(device));
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
        kernels,
    })
}

/// As far as it decides who computes batch norm: `auto` is fp16 on no CPU.
const fn arithmetic(device: Device) -> Arithmetic {
    match device {
        Device::Cuda(_) => Arithmetic::Cuda,
        _ => Arithmetic::Cpu {
            bf16: false,
            fp16: false,
        },
    }
}

/// Whose code computes batch norm and ReLU. On a GPU all stages agree, since predictions do not tell them apart.
pub fn kernels(config: &RunConfig, device: Device) -> Kernels {
    let is_left_out = device.is_cuda()
        && !(config.is_fused_on(Arithmetic::Cuda) && torch_ext::norm::runs_on(device).is_ok());
    if config.exact_kernels || is_left_out {
        Kernels::Library
    } else {
        Kernels::Fused
    }
}

/// Turns to libtorch's operators on a device that fails the trial of our kernels. Returns what to tell the user.
pub fn exact_where_ours_fail(config: &mut RunConfig, device: Device) -> Option<String> {
    if !config.is_fused_on(arithmetic(device)) {
        return None;
    }
    let why = torch_ext::norm::runs_on(device).err()?;
    config.exact_kernels = true;
    Some(format!(
        "kernels: our own failed their trial on this device ({why}), so libtorch's run instead, as with \
         `--exact-kernels on`"
    ))
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
