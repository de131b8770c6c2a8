//! Before our kernels run on a GPU, they are tried there on a few numbers: their images were compiled elsewhere, for a
//! card that may not have been seen.

use std::sync::OnceLock;

use tch::{Device, Kind, Tensor};

use super::fused::{Input, Source};
use super::host::unfit;
use super::{BatchNorm, Fused, copied};
use crate::launch::DEVICES;
use crate::ops::{add_scalar, mul_scalar};
use crate::{Error, Result};

/// `off` takes them as they are: for a GPU that only pretends to compute.
const SWITCH: &str = "SNUG_KERNELS_TRIAL";
/// `[N, C, H, W]` of the trial: several groups of channels, several parts of a sum, and more pixels than a block's lines.
const SIZE: [i64; 4] = [2, 264, 10, 8];

/// Whether our kernels run on a device: if not, why.
///
/// # Errors
/// The reason.
pub fn runs_on(device: Device) -> std::result::Result<(), &'static str> {
    static OF_GPUS: [OnceLock<std::result::Result<(), String>>; DEVICES] =
        [const { OnceLock::new() }; DEVICES];
    match device {
        Device::Cpu => Ok(()),
        Device::Cuda(index) => {
            let place = OF_GPUS.get(index).ok_or("its number is too large")?;
            if let Some(tried) = place.get() {
                return tried.as_ref().copied().map_err(String::as_str);
            }
            let tried = if is_tried() {
                compare(device)
            } else {
                Ok(None)
            };
            let outcome = match tried {
                Ok(None) => Ok(()),
                Ok(Some(difference)) => Err(difference),
                // Later there may be more.
                Err(error) if error.is_out_of_memory() => return Err("the GPU is full"),
                Err(error) => Err(describe(&error, device)),
            };
            let outcome = place.get_or_init(|| outcome);
            outcome.as_ref().copied().map_err(String::as_str)
        }
        _ => Err("they are for CPUs and NVIDIA GPUs"),
    }
}

/// Whether there is a trial.
pub fn is_tried() -> bool {
    std::env::var_os(SWITCH).is_none_or(|it| it != "off")
}

/// Why the trial failed. An error of a kernel can leave a device unusable.
fn describe(error: &Error, device: Device) -> String {
    let answer =
        Tensor::f_zeros([1], (Kind::Float, device)).and_then(|it| it.f_to_device(Device::Cpu));
    match answer {
        Ok(_) => error.to_string(),
        Err(_) => format!(
            "{error}; the GPU does not answer any more: start again with `--exact-kernels on`"
        ),
    }
}

/// Runs each kernel on `device`, and compares with the CPU's. Returns the first difference.
pub(super) fn compare(device: Device) -> Result<Option<String>> {
    tch::no_grad(|| {
        let expected = run(false, Device::Cpu, Kind::Float)?;
        for (kind, named, tolerance) in [
            (Kind::Float, "fp32", 1e-5),
            (Kind::BFloat16, "bf16", 2e-2),
            (Kind::Half, "fp16", 2e-3),
        ] {
            for ((name, expected), (_, found)) in expected.iter().zip(run(true, device, kind)?) {
                let largest = |it: &Tensor| Ok(it.f_abs()?.f_max()?.f_double_value(&[])?);
                let difference: Result<f64> = largest(&found.f_sub(expected)?);
                let error = difference? / largest(expected).map(|it: f64| it.max(1.0))?;
                // What is not a number is no agreement either.
                if error.partial_cmp(&tolerance) != Some(std::cmp::Ordering::Less) {
                    return Ok(Some(format!(
                        "in {named}, {name} differs from the CPU's by {error:.1e} of its largest"
                    )));
                }
            }
        }
        Ok(None)
    })
}

/// What each kernel of a GPU or of the CPU computes, in fp64 on the CPU.
fn run(is_gpu: bool, device: Device, kind: Kind) -> Result<Vec<(&'static str, Tensor)>> {
    let [_, channels, ..] = SIZE;
    let of_channels = |seed, from| -> Result<Tensor> {
        let values = mul_scalar(&numbers(&[channels], seed)?, 0.125)?;
        Ok(add_scalar(&values, from)?.f_to_device(device)?)
    };
    let norm = BatchNorm {
        weight: of_channels(1, 1.0)?,
        bias: of_channels(2, 0.0)?,
        running_mean: of_channels(3, 0.0)?,
        running_var: of_channels(4, 1.0)?,
        momentum: 0.1,
        eps: 1e-5,
        together: None,
    };
    let image = |halved: i64, seed| -> Result<Tensor> {
        let [n, c, h, w] = SIZE;
        let rows = numbers(&[n, h / halved, w / halved, c], seed)?.f_to_kind(kind)?;
        Ok(rows.f_permute([0, 3, 1, 2])?.f_to_device(device)?)
    };
    let mut x = image(1, 5)?;
    if !is_gpu {
        x = x.f_add(&of_channels(8, 0.0)?.f_view([1, channels, 1, 1])?)?;
    }
    // The CPU's kernels take what oneDNN has added a bias to.
    let bias = of_channels(8, 0.0)?;
    let input = Input {
        tensor: &x,
        bias: is_gpu.then_some(&bias),
    };
    let made = |source| {
        let fused = Fused::by(is_gpu, &norm, input, source)?;
        fused.ok_or_else(|| unfit(&x))
    };
    let running = made(Source::Running)?;
    let fused = made(Source::Batch { update: true })?;
    let [evaluated, clipped] = [x.f_empty_like()?, x.f_empty_like()?];
    running.activate(&x, &evaluated)?;
    // Half of a concatenation.
    let whole = Tensor::f_cat(&[&x, &x], 1)?;
    let half = |whole: &Tensor| whole.f_narrow(1, channels, channels);
    fused.activate(&x, &half(&whole)?)?;
    // Copied as a whole: to take a half may need a kernel of libtorch.
    let out = half(&whole.f_to_device(Device::Cpu)?)?;
    let (dy, of_pooled) = (image(1, 6)?, image(2, 7)?);
    fused.identity().activate(&dy, &clipped)?;
    let pooled = of_pooled.f_empty_like()?;
    fused.activate_pooled(&x, &pooled)?;
    let whole = fused.backward(copied(&dy)?, &x, false)?;
    fused.unpool(&dy, &x, &of_pooled)?;
    let sum = copied(&dy)?;
    let masked = fused.backward(dy, &x, true)?;
    let all = [
        ("batch norm in evaluation", evaluated),
        ("batch norm in training", out),
        ("ReLU", clipped),
        ("pooling", pooled),
        ("the gradient of batch norm's input", whole.input),
        ("the gradient of batch norm's weight", whole.weight),
        ("the gradient of batch norm's bias", whole.bias),
        ("the gradient of pooling's input", sum),
        ("the gradient of a masked input", masked.input),
        ("the running mean", norm.running_mean),
        ("the running variance", norm.running_var),
    ];
    let on_cpu = |(name, it): (_, Tensor)| {
        let it = it.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double)?;
        Ok((name, it))
    };
    all.into_iter().map(on_cpu).collect()
}

/// Numbers from -1.25 to 2.5, which each kind holds exactly; made on the CPU.
fn numbers(size: &[i64], seed: i64) -> Result<Tensor> {
    let len: i64 = size.iter().product();
    let values: Vec<f32> = (0..len)
        .map(|i| ((i * 37 + seed * 13) % 61 - 20) as f32 / 16.0)
        .collect();
    Ok(Tensor::f_from_slice(&values)?.f_view(size)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_of_a_gpu_pass_by_emulation() {
        crate::init().unwrap();
        let _gpu = crate::emulate(standin::emulated::launch);
        assert_eq!(compare(Device::Cpu).unwrap(), None);
        assert_eq!(runs_on(Device::Cpu), Ok(()));
        assert!(runs_on(Device::Mps).unwrap_err().contains("NVIDIA"));
    }
}
