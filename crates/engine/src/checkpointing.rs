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

#[cfg(test)]
mod tests {
    use config::AmpDtype;

    use super::*;

    fn mode_of(change: impl FnOnce(&mut RunConfig)) -> ForwardMode {
        let mut config = RunConfig {
            use_amp: false,
            use_channels_last: true,
            ..RunConfig::default()
        }
        .without_checkpointing();
        change(&mut config);
        training_mode(&config, Device::Cpu).unwrap()
    }

    /// `off` is a plan where our own kernels take its tensors, and autograd's where they do not.
    #[test]
    fn off_is_a_plan_where_our_kernels_run() {
        let is_plan = |change: fn(&mut RunConfig)| {
            let mode = mode_of(change);
            matches!(mode.checkpointing, Checkpointing::Scheduled(_))
        };
        assert!(is_plan(|_| ()));
        assert!(is_plan(
            |it| *it = it.clone().with_precision(config::Precision::Bf16)
        ));
        assert!(is_plan(|it| it.width = 12), "the CPU takes any width");
        assert!(!is_plan(|it| it.exact_kernels = true));
        assert!(!is_plan(|it| it.use_channels_last = false));
        assert!(!is_plan(|it| {
            it.use_amp = true;
            it.amp_dtype = AmpDtype::Fp16;
        }));
        let exact = mode_of(|it| it.exact_kernels = true);
        assert_eq!(exact.kernels, Kernels::Library);
    }

    #[test]
    fn a_gpu_takes_channels_by_the_eight() {
        let config = RunConfig {
            use_channels_last: true,
            width: 24,
            ..RunConfig::default()
        };
        assert!(config.is_fused_on(Arithmetic::Cuda));
        for other in [
            RunConfig {
                width: 12,
                ..config.clone()
            },
            RunConfig {
                use_channels_last: false,
                ..config.clone()
            },
            RunConfig {
                exact_kernels: true,
                ..config
            },
        ] {
            assert!(!other.is_fused_on(Arithmetic::Cuda));
        }
    }
}
