//! Each checkpoint policy computes the same as `off`, and holds less memory.

use config::{ImageSize, Precision};
use schedule::{Op, Statistics};
use tch::Device;
use torch_ext::ops::mul_scalar_;
use torch_ext::segment;

use super::tiny::{Comparison, FP16_SCALE, OFF, OFF_SPLIT, Policy, Tiny, config_of, zeros_among};
use super::{Finding, OneThread};
use crate::error::Result;
use crate::lab::measure::StepProbe;
use engine::model::{Checkpointing, ForwardMode};

/// Passes that are compared.
const PASSES: u64 = 2;

/// The difference that another order of additions explains in fp32, relative to the norm of all
/// gradients: a few units in the last place (6e-8) for each of 23 layers, forward and backward.
const FP32_ROUNDING: f64 = 1e-4;

/// The error of a broken policy's weight: for a comparison of bits, and for one where rounding hides
/// small errors.
const ALTERED: f64 = 1e-3;
const ALTERED_BEYOND_ROUNDING: f64 = 1.0;

/// Compares gradients and BatchNorm's buffers with a plain step, over several passes. On the CPU they
/// are equal bit for bit. Split concatenation changes the order of additions: `off` with it must equal
/// `off` within rounding, and the other policies are compared with `off` with it.
pub(super) fn equal(
    device: Device,
    policy: Policy,
    precision: Precision,
    broken: bool,
) -> Result<Finding> {
    let reference = if policy.split_concat && policy != OFF_SPLIT {
        OFF_SPLIT
    } else {
        OFF
    };
    let exact = policy != OFF_SPLIT && !device.is_cuda();
    let mut ours = Tiny::new(config_of(policy, precision), device, precision)?;
    let mut plain = Tiny::new(config_of(reference, precision), device, precision)?;
    if broken {
        ours.alter(if exact {
            ALTERED
        } else {
            ALTERED_BEYOND_ROUNDING
        })?;
    }
    let before = segment::stats().num_recomputes;
    let mut compared = Vec::new();
    for pass in 0..PASSES {
        let batch = ours.batch(100 + pass)?;
        plain.gradients(&batch)?;
        ours.gradients(&batch)?;
        let (mine, theirs) = (ours.named_gradients()?, plain.named_gradients()?);
        if let Some(name) = zeros_among(&mine)?.first() {
            return Ok(Finding::fail(format!("the gradient of `{name}` is zero")));
        }
        let gradients = Comparison::of(&mine, &theirs)?;
        compared.push(gradients);
        if gradients.all_equal() {
            ours.update()?;
            plain.update()?;
        } else {
            // An update would turn the rounding of gradients near zero into whole steps of the weights.
            ours.clear()?;
            plain.clear()?;
        }
    }
    let Some(gradients) = compared.into_iter().reduce(Comparison::worse) else {
        return Ok(Finding::fail("nothing was compared"));
    };
    let buffers = Comparison::of(&ours.named_state(false)?, &plain.named_state(false)?)?;
    let num_segments = (segment::stats().num_recomputes - before) / PASSES;
    let recomputed = recomputed(&ours.learner.mode, num_segments);
    let counts = format!(
        "{} of {} gradients and {} of {} buffers equal bit for bit to `{}`",
        gradients.num_equal, gradients.num, buffers.num_equal, buffers.num, reference
    );
    if gradients.all_equal() && buffers.all_equal() {
        return Ok(if policy == OFF_SPLIT {
            Finding::fail(format!("{counts}: nothing was split"))
        } else {
            Finding::ok(format!("{counts}{recomputed}"))
        });
    }
    let worst = gradients.worse(buffers).relative;
    let difference = format!("relative difference {worst:.1e}");
    if exact {
        return Ok(Finding::fail(format!("{counts}; {difference}")));
    }
    let rounding = rounding(device, precision)?;
    Ok(if worst <= rounding {
        Finding::ok(format!(
            "equal to `{reference}` within rounding: {difference}, {rounding:.1e} allowed{recomputed}"
        ))
    } else {
        Finding::fail(format!(
            "{counts}; {difference}, more than the {rounding:.1e} of rounding"
        ))
    })
}

/// The largest relative difference of gradients that counts as rounding. In fp16 and bf16 it is the
/// plain step's own difference from fp32: another order of additions rounds fewer numbers.
fn rounding(device: Device, precision: Precision) -> Result<f64> {
    if precision == Precision::Fp32 {
        return Ok(FP32_ROUNDING);
    }
    let gradients = |precision| {
        let tiny = Tiny::new(config_of(OFF, precision), device, precision)?;
        tiny.gradients(&tiny.batch(100)?)?;
        tiny.named_gradients()
    };
    let (rounded, plain) = (gradients(precision)?, gradients(Precision::Fp32)?);
    // The scaled loss of fp16 has scaled gradients.
    let scale = if precision == Precision::Fp16 {
        FP16_SCALE
    } else {
        1.0
    };
    for (_, gradient) in &plain {
        mul_scalar_(gradient, scale)?;
    }
    Ok(Comparison::of(&rounded, &plain)?.relative)
}

/// The parts that one backward pass recomputes, for the end of a sentence.
fn recomputed(mode: &ForwardMode, num_segments: u64) -> String {
    match &mode.checkpointing {
        Checkpointing::Off => String::new(),
        Checkpointing::Segments { .. } => format!("; {num_segments} segments recomputed"),
        Checkpointing::Scheduled(schedule) => {
            let count = |is: fn(&&Op) -> bool| schedule.backward().iter().filter(is).count();
            let convs = count(|op| matches!(op, Op::Conv(..) | Op::ConvHalf(..) | Op::Up(_)));
            let norms = count(|op| {
                matches!(
                    op,
                    Op::Norm {
                        statistics: Statistics::Saved,
                        ..
                    }
                )
            });
            if convs + norms == 0 {
                return String::new();
            }
            format!("; {convs} convolutions and {norms} batch norms recomputed")
        }
    }
}

/// Peak bytes of a step under each policy, which must be below the peak under `off`. The network is
/// large enough that activations, not gradients, dominate the peak.
pub(super) fn peak(device: Device, precision: Precision, broken: bool) -> Result<Finding> {
    let _one_thread = OneThread::begin();
    let of = |policy: Policy| -> Result<u64> {
        let mut config = config_of(policy, precision);
        // cuDNN's workspace is part of the peak: activations must outweigh it.
        (config.width, config.batch, config.img_size) = if device.is_cuda() {
            (16, 4, ImageSize::new(256, 320))
        } else {
            (4, 2, ImageSize::new(128, 160))
        };
        let mut probe = StepProbe::new(&config, device, precision)?;
        probe.step()?;
        let peak = probe.peak_bytes()?;
        Ok(peak.peak_bytes.saturating_sub(peak.held_bytes))
    };
    let plain = of(OFF)?;
    let mut ratios = Vec::new();
    let mut too_high = Vec::new();
    for policy in Policy::all().filter(|p| !p.split_concat) {
        let bytes = of(if broken { OFF } else { policy })?;
        ratios.push(format!("{policy} {:.2}", bytes as f64 / plain as f64));
        if bytes >= plain {
            too_high.push(policy.to_string());
        }
    }
    let plain_mib = plain as f64 / f64::from(1 << 20);
    let detail = format!(
        "of the {plain_mib:.1} MiB that a step of `off` adds: {}",
        ratios.join(", ")
    );
    Ok(if too_high.is_empty() {
        Finding::ok(detail)
    } else {
        Finding::fail(format!("not lower: {}; {detail}", too_high.join(", ")))
    })
}
