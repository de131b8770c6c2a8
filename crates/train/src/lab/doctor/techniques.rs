//! Mixed precision lowers the precision of convolutions only; channels-last is kept.

use config::{CheckpointPolicy, ImageSize, Precision};
use tch::{Device, Kind, Tensor};
use torch_ext::autocast;
use torch_ext::conv::Conv;

use super::Finding;
use super::tiny::{OFF, Policy, Tiny, config_of, relative_difference};
use crate::error::Result;
use engine::compose::{self, Autocast};
use engine::trainer::all_finite;

/// Largest difference of logits from fp32, relative to the largest logit: a few tens of rounding steps
/// of either precision (2^-11, 2^-9), to which one step grows over 23 layers.
const fn logits_tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::Fp32 | Precision::Tf32 => 0.0,
        Precision::Fp16 => 0.02,
        Precision::Bf16 => 0.1,
    }
}

/// Autocast casts convolutions and leaves no trace; logits are close to fp32's; gradients are
/// finite.
pub(super) fn amp(device: Device, precision: Precision, broken: bool) -> Result<Finding> {
    let entered = if broken { Precision::Fp32 } else { precision };
    let before = autocast::state(device)?;
    let images = Tensor::f_ones([1, 3, 6, 8], (Kind::Float, device))?;
    let weight = Tensor::f_ones([2, 3, 3, 3], (Kind::Float, device))?;
    let out = {
        let _autocast = Autocast::enter(device, entered)?;
        Conv::SAME_3X3.forward(&images, &weight, None)?
    };
    if Some(out.kind()) != compose::autocast_kind(precision) {
        return Ok(Finding::fail(format!(
            "a convolution computed in {:?}",
            out.kind()
        )));
    }
    if autocast::state(device)? != before {
        return Ok(Finding::fail("the state of autocast was not put back"));
    }

    let tiny = Tiny::new(config_of(OFF, precision), device, precision)?;
    let plain = Tiny::new(config_of(OFF, Precision::Fp32), device, Precision::Fp32)?;
    let batch = tiny.batch(11)?;
    let difference = {
        let _no_grad = tch::no_grad_guard();
        relative_difference(
            &tiny.learner.logits(&batch.0)?,
            &plain.learner.logits(&batch.0)?,
        )?
    };
    tiny.gradients(&batch)?;
    let gradients = tiny.named_gradients()?;
    for (name, gradient) in &gradients {
        if !all_finite(gradient)? {
            return Ok(Finding::fail(format!(
                "the gradient of `{name}` is not finite"
            )));
        }
    }
    let detail = format!(
        "convolutions in {}, logits within {difference:.1e} of fp32's, {} gradients finite",
        precision.as_str(),
        gradients.len()
    );
    Ok(if difference <= logits_tolerance(precision) {
        Finding::ok(detail)
    } else {
        Finding::fail(format!(
            "logits are {difference:.1e} off fp32's, more than {:.1e}",
            logits_tolerance(precision)
        ))
    })
}

/// If an image is smaller than the kernel, the backward pass of a convolution copies the weight to
/// channels-first on CPUs without AVX512. Four halvings of this size leave 3x4 pixels.
const LOWEST_LEVEL_3X4: ImageSize = ImageSize::new(48, 64);

/// Every 4-D tensor of a step, forward and backward, is channels-last.
pub(super) fn channels_last(device: Device, precision: Precision, broken: bool) -> Result<Finding> {
    // Enough tensors to show that the step was watched: 23 convolutions and their backward passes.
    const AT_LEAST: u64 = 100;
    let watched = [
        CheckpointPolicy::Off,
        CheckpointPolicy::Selective,
        CheckpointPolicy::Block,
        CheckpointPolicy::Mixed,
    ];
    let mut num_images = 0;
    for policy in watched.map(Policy::of) {
        // Without the feature nothing is watched.
        if policy != OFF && compose::missing_feature(&config_of(policy, precision)).is_some() {
            continue;
        }
        let mut config = config_of(policy, precision);
        config.use_channels_last = !broken;
        config.img_size = LOWEST_LEVEL_3X4;
        let tiny = Tiny::new(config, device, precision)?;
        let batch = tiny.batch(8)?;
        let seen = compose::watch_format(|| tiny.gradients(&batch))?;
        if let Some((operator, num)) = seen.offenders.first() {
            return Ok(Finding::fail(format!(
                "under `{}` {num} outputs of `{operator}` are not channels-last ({} operators in \
                 all)",
                policy,
                seen.offenders.len()
            ))
            .hinted("`--channels-last off` trains without it"));
        }
        if seen.num_images < AT_LEAST {
            return Ok(Finding::fail(format!(
                "only {} tensors were seen under `{}`",
                seen.num_images, policy
            )));
        }
        num_images += seen.num_images;
    }
    Ok(Finding::ok(format!(
        "kept by all {num_images} tensors of a step under `off`, `selective`, `block` and `mixed`"
    )))
}
