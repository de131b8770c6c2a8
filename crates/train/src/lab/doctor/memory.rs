//! Memory figures agree with the memory in use.

use tch::{Device, Kind, Tensor};
use torch_ext::{cuda as cuda_allocator, meter};

use config::{Bytes, ImageSize, Precision, RunConfig};

use super::Finding;
use super::tiny::{OFF, Policy, config_of};
use crate::error::Result;
use crate::lab::measure::StepProbe;
use crate::lab::prediction;
use engine::{compose, device};

/// The counting allocator sees a tensor of known size, and sees it freed.
pub(super) fn meter(broken: bool) -> Result<Finding> {
    const SHAPE: [i64; 3] = [3, 457, 1021];
    const BYTES: u64 = 3 * 457 * 1021 * 4;
    let hidden = |wanted: bool| -> Result<Option<Tensor>> {
        let make = || Tensor::f_zeros([1], (Kind::Float, Device::Cpu));
        Ok(wanted.then(make).transpose()?)
    };
    let before = meter::read();
    let extra = hidden(broken)?;
    let tensor = Tensor::f_zeros(SHAPE, (Kind::Float, Device::Cpu))?;
    let with = meter::read();
    drop((tensor, extra));
    let after = meter::read();
    let grown = with.allocated_bytes - before.allocated_bytes;
    let returned = with.allocated_bytes.saturating_sub(after.allocated_bytes);
    Ok(if (grown, returned) == (BYTES, BYTES) {
        Finding::ok(format!(
            "a tensor of {BYTES} bytes was counted to the byte and given back"
        ))
    } else {
        Finding::fail(format!(
            "a tensor of {BYTES} bytes was counted as {grown}, and {returned} of them as given back"
        ))
    })
}

/// Compares the estimator's peaks with measured ones, under each policy of this build.
pub(super) fn prediction(broken: bool) -> Result<Finding> {
    let mut errors = Vec::new();
    let mut good = true;
    for policy in [OFF].into_iter().chain(Policy::all()) {
        let config = RunConfig {
            img_size: ImageSize::new(96, 128),
            use_channels_last: true,
            ..config_of(policy, Precision::Fp32)
        };
        if compose::missing_feature(&config).is_some() || config.use_reentrant {
            continue;
        }
        let predicted = prediction::peak(&config, Device::Cpu).ok();
        let tolerated = prediction::tolerated(&config, Device::Cpu);
        let (Some(predicted), Some(tolerated)) = (predicted, tolerated) else {
            return Ok(Finding::skipped("this CPU has neither AVX512 nor AVX2"));
        };
        let mut probe = StepProbe::new(&config, Device::Cpu, Precision::Fp32)?;
        probe.step()?;
        let measured = probe.peak_bytes()?.peak_bytes;
        let bytes = predicted.bytes / if broken { 2 } else { 1 };
        let error = 100.0 * (bytes as f64 / measured as f64 - 1.0);
        good &= tolerated.contains(&error);
        errors.push(error);
    }
    let least = errors.iter().copied().fold(f64::INFINITY, f64::min);
    let most = errors.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let detail = format!(
        "peaks of {} policies, on the CPU: predicted with an error of {least:+.2} to {most:+.2} %",
        errors.len()
    );
    Ok(if good {
        Finding::ok(detail)
    } else {
        Finding::fail(detail)
    })
}

/// Compares the CUDA allocator's statistics with a tensor of known size, and with NVML.
pub(super) fn cuda(device: Device, broken: bool) -> Result<Finding> {
    /// A multiple of the allocator's rounding, and too large for any block that it has cached.
    const BYTES: u64 = 256 * Bytes::MIB;
    /// The driver allocates pages of 2 MiB, and other programs keep running.
    const TOLERANCE: u64 = 32 * Bytes::MIB;
    let Device::Cuda(n) = device else {
        return Ok(Finding::skipped("no GPU"));
    };
    // The context must exist before the measurement.
    let _context = Tensor::f_zeros([1], (Kind::Float, device))?;
    device::synchronize(device);
    cuda_allocator::empty_cache()?;
    let (before, before_nvml) = (cuda_allocator::memory(n)?, device::bytes_in_use(device));
    let extra = if broken { 64 * Bytes::MIB } else { 0 };
    let bytes = BYTES + extra;
    let tensor = Tensor::f_zeros([bytes.cast_signed()], (Kind::Uint8, device))?;
    device::synchronize(device);
    let (with, with_nvml) = (cuda_allocator::memory(n)?, device::bytes_in_use(device));
    drop(tensor);

    let allocated = with.allocated_bytes.saturating_sub(before.allocated_bytes);
    let reserved = with.reserved_bytes.saturating_sub(before.reserved_bytes);
    if allocated != BYTES || reserved < BYTES {
        return Ok(Finding::fail(format!(
            "a tensor of {} MiB was counted as {allocated} bytes allocated, {reserved} reserved",
            BYTES / Bytes::MIB
        )));
    }
    let counted = format!("{} MiB allocated as counted", BYTES / Bytes::MIB);
    let (before, with) = match (before_nvml, with_nvml) {
        (Ok(before), Ok(with)) => (before, with),
        (Err(reason), _) | (_, Err(reason)) => {
            return Ok(Finding::warn(
                format!("{counted}; NVML does not say what is in use: {reason}"),
                "bytes outside of the allocator (context, libraries) are not reported then",
            ));
        }
    };
    let (whose, before, with) = match (before.process, with.process) {
        (Some(before), Some(with)) => ("this process", before.0, with.0),
        _ => ("the whole device", before.device.0, with.device.0),
    };
    let grown = with.saturating_sub(before);
    let detail = format!(
        "{counted}; reserved grew by {} MiB, NVML's figure for {whose} by {} MiB to {} MiB",
        reserved / Bytes::MIB,
        grown / Bytes::MIB,
        with / Bytes::MIB
    );
    Ok(if grown.abs_diff(reserved) <= TOLERANCE {
        Finding::ok(detail)
    } else if whose == "this process" {
        Finding::fail(detail)
    } else {
        Finding::warn(
            detail,
            "another process may have used the GPU meanwhile: run `train doctor` again",
        )
    })
}
