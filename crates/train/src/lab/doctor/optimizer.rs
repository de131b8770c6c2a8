//! The gradient scaler skips a step that overflowed, and fused AdamW is independent of the memory format.

use tch::{Device, Kind, Tensor};
use torch_ext::ops::{MemoryFormat, contiguous_in, is_contiguous_in, one_value};

use super::Finding;
use super::tiny::{OFF, Tiny, config_of, copied, missing, relative_difference};
use crate::error::Result;
use config::Precision;
use engine::compose::{self, Scaler};
use engine::optimizer::AdamW;
use engine::trainer::all_finite;

/// PyTorch's initial scale.
const INIT_SCALE: f64 = 65_536.0;

/// With an infinity in one gradient, parameters and optimizer state stay unchanged bit for bit, the
/// scale is halved, and the next step works.
pub(super) fn scaler(device: Device, broken: bool) -> Result<Finding> {
    let mut tiny = Tiny::new(config_of(OFF, Precision::Fp32), device, Precision::Fp32)?;
    let batch = tiny.batch(31)?;
    // After this, the state is not all zeros.
    tiny.gradients(&batch)?;
    tiny.update()?;

    tiny.learner.scaler = Scaler::new(device, Precision::Fp16, INIT_SCALE)?;
    let before = snapshot(&tiny)?;
    tiny.gradients(&batch)?;
    let planted = tiny.learner.optimizer.defined_gradients();
    let planted = planted.last().ok_or_else(|| missing("a gradient"))?;
    let mut first = planted.f_flatten(0, -1)?.f_narrow(0, 0, 1)?;
    let infinity = one_value(f64::INFINITY, device)?;
    first.f_copy_(&infinity)?;
    if broken {
        tiny.learner.optimizer.fused_step(None, None)?;
    } else {
        let _is_skipped = tiny.learner.optimizer_step()?;
    }
    let scale = tiny.learner.scaler.current()?;
    let changed = num_differing(&before, &snapshot(&tiny)?)?;
    tiny.clear()?;
    if changed > 0 {
        return Ok(Finding::fail(format!(
            "an infinity in a gradient changed {changed} of {} tensors of parameters and \
             optimizer state",
            before.len()
        )));
    }
    if scale != Some(INIT_SCALE / 2.0) {
        return Ok(Finding::fail(format!(
            "the scale after an infinity is {scale:?}, not half of {INIT_SCALE}"
        )));
    }

    tiny.gradients(&batch)?;
    tiny.update()?;
    let after = snapshot(&tiny)?;
    let moved = num_differing(&before, &after)?;
    for tensor in &after {
        if !all_finite(tensor)? {
            return Ok(Finding::fail(
                "the step after the update produced a non-finite parameter",
            ));
        }
    }
    let detail = format!(
        "an infinity changed none of {} tensors and halved the scale; the next step changed {moved}",
        before.len()
    );
    // A gradient that happens to be zero leaves its moments unchanged.
    Ok(if moved > before.len() / 2 {
        Finding::ok(detail)
    } else {
        Finding::fail(detail)
    })
}

/// Copies of parameters and optimizer state.
fn snapshot(tiny: &Tiny) -> Result<Vec<Tensor>> {
    let parameters = tiny.learner.model.parameters().trainable();
    let state = tiny.learner.optimizer.state();
    parameters
        .into_iter()
        .chain(state)
        .map(|tensor| copied(&tensor))
        .collect()
}

fn num_differing(a: &[Tensor], b: &[Tensor]) -> Result<usize> {
    let mut num = 0;
    for (a, b) in a.iter().zip(b) {
        num += usize::from(!a.f_equal(b)?);
    }
    Ok(num)
}

/// The kernel's vectors see the elements in a different order, and the last elements of a tensor
/// round differently, by a few units in the last place.
const STEP_TOLERANCE: f64 = 1e-6;

/// Compares steps of fused AdamW on channels-last and on contiguous parameters. libtorch's kernel walks
/// memory in order: if the state's format differs from the parameter's, the result is silently wrong.
pub(super) fn formats(device: Device, broken: bool) -> Result<Finding> {
    const STEPS: i64 = 3;
    let float = (Kind::Float, device);
    tch::manual_seed(41);
    let start = Tensor::f_rand([8, 4, 3, 3], float)?;
    let gradients = (0..STEPS)
        .map(|_| Ok(Tensor::f_randn([8, 4, 3, 3], float)?))
        .collect::<Result<Vec<_>>>()?;
    let trained = |channels_last: bool, late: bool| -> Result<Tensor> {
        let mut parameter = copied(&start)?.f_set_requires_grad(true)?;
        if channels_last && !late {
            compose::convert_parameters([&mut parameter], true)?;
        }
        let mut optimizer = AdamW::new(vec![parameter.shallow_clone()], 1e-2, 0.01)?;
        if channels_last && late {
            // An easy mistake: creating the state before converting the format.
            compose::convert_parameters([&mut parameter], true)?;
        }
        if channels_last != is_contiguous_in(&parameter.f_detach()?, MemoryFormat::ChannelsLast) {
            return Err(missing(
                "a parameter in the memory format that was asked for",
            ));
        }
        for gradient in &gradients {
            let product = parameter.f_mul(gradient)?.f_sum(Kind::Float)?;
            torch_ext::backward(&product)?;
            optimizer.fused_step(None, None)?;
            optimizer.zero_grad()?;
        }
        Ok(contiguous_in(
            &parameter.f_detach()?,
            MemoryFormat::Contiguous,
        )?)
    };
    let difference = relative_difference(&trained(true, broken)?, &trained(false, false)?)?;
    Ok(if difference <= STEP_TOLERANCE {
        Finding::ok(format!(
            "{STEPS} steps of fused AdamW in channels-last within {difference:.1e} of contiguous"
        ))
    } else {
        Finding::fail(format!(
            "{STEPS} steps of fused AdamW in channels-last are {difference:.1e} off contiguous"
        ))
    })
}
