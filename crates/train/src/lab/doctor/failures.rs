//! Running out of memory gives a typed error and leaves nothing behind.

use tch::{Device, Kind, Tensor};
use torch_ext::{Error as TensorError, cuda, meter, segment};

use super::tiny::{Batch, Comparison, OFF, Policy, Tiny, config_of};
use super::{Finding, OneThread};
use crate::error::Result;
use config::Precision;

/// Fails each allocation of a step in turn, on the CPU: a typed error, the level as before to the
/// byte, and a retry that is equal bit for bit.
pub(super) fn every_allocation(policy: Policy, broken: bool) -> Result<Finding> {
    /// At least this share of allocations must fail the pass; a library may do without a buffer that it
    /// does not get.
    const FAILING_AT_LEAST: f64 = 0.9;
    let _one_thread = OneThread::begin();
    let mut config = config_of(policy, Precision::Fp32);
    (config.width, config.batch) = (1, 1);
    let mut tiny = Tiny::new(config, Device::Cpu, Precision::Fp32)?;
    let batch = tiny.batch(20)?;
    // Libraries cache on first use.
    tiny.gradients(&batch)?;
    let expected = tiny.named_gradients()?;
    tiny.clear()?;
    let before = meter::read().num_allocations;
    tiny.gradients(&batch)?;
    let num = meter::read().num_allocations - before;
    tiny.clear()?;

    let level = meter::read().allocated_bytes;
    let mut num_failed = 0_u64;
    let mut kept_alive = None;
    for k in 0..num {
        let outcome = failing(&tiny, &batch, u32::try_from(k).unwrap_or(u32::MAX));
        if let Err(error) = outcome {
            num_failed += 1;
            if !error.is_out_of_memory() {
                return Ok(Finding::fail(format!(
                    "allocation {k} of {num} failed as another error: {}",
                    crate::Error::from(error).message()
                )));
            }
            if broken && kept_alive.is_none() {
                kept_alive = Some(Tensor::f_zeros([16], (Kind::Float, Device::Cpu))?);
            }
        }
        tiny.clear()?;
        let now = meter::read().allocated_bytes;
        if now != level || segment::stats().depth != 0 {
            return Ok(Finding::fail(format!(
                "after allocation {k} of {num} failed, tensors hold {now} bytes instead of {level}"
            )));
        }
    }
    tiny.gradients(&batch)?;
    let retry = Comparison::of(&tiny.named_gradients()?, &expected)?;
    Ok(if !retry.all_equal() {
        Finding::fail(format!(
            "a step after {num_failed} failures equals in {} of {} gradients only",
            retry.num_equal, retry.num
        ))
    } else if (num_failed as f64) < FAILING_AT_LEAST * num as f64 {
        Finding::fail(format!(
            "only {num_failed} of {num} planted failures came out"
        ))
    } else {
        Finding::ok(format!(
            "{num_failed} of {num} allocations of a step failed and were caught, level restored to \
             the byte, retry equal bit for bit"
        ))
    })
}

/// A pass whose allocation after `countdown` others fails.
fn failing(tiny: &Tiny, batch: &Batch, countdown: u32) -> engine::Result<()> {
    meter::fail_after(Some(countdown));
    let outcome = tiny.gradients(batch);
    meter::fail_after(None);
    outcome
}

/// Requests more memory than the GPU has: this gives a typed error, and the step works as before.
pub(super) fn cuda(device: Device, broken: bool) -> Result<Finding> {
    let Device::Cuda(n) = device else {
        return Ok(Finding::skipped("no GPU"));
    };
    let mut tiny = Tiny::new(config_of(OFF, Precision::Fp32), device, Precision::Fp32)?;
    let batch = tiny.batch(20)?;
    tiny.gradients(&batch)?;
    let expected = tiny.named_gradients()?;
    tiny.clear()?;

    let before = cuda::memory(n)?;
    let (total_bytes, level) = (before.total_bytes, before.allocated_bytes);
    let asked = if broken { 16 } else { total_bytes + (1 << 30) };
    let asked_for = Tensor::f_empty([asked.cast_signed()], (Kind::Uint8, device));
    let error = match asked_for {
        Ok(tensor) => {
            drop(tensor);
            return Ok(Finding::fail(format!(
                "{asked} bytes were given of the {total_bytes} that the GPU has"
            ))
            .hinted("the driver may spill to system memory, which is slow instead of failing"));
        }
        Err(error) => TensorError::from(error),
    };
    if !error.is_out_of_memory() {
        return Ok(Finding::fail(format!(
            "too large a tensor failed as another error: {error}"
        )));
    }
    cuda::empty_cache()?;
    let after = cuda::memory(n)?.allocated_bytes;
    if after != level {
        return Ok(Finding::fail(format!(
            "{after} bytes are allocated after the failure, {level} were before"
        )));
    }
    tiny.gradients(&batch)?;
    let retry = Comparison::of(&tiny.named_gradients()?, &expected)?;
    let detail = format!(
        "more than the GPU has is a typed error; {} of {} gradients of the next step equal bit for \
         bit",
        retry.num_equal, retry.num
    );
    Ok(if retry.relative <= RETRY_TOLERANCE {
        Finding::ok(detail)
    } else {
        Finding::fail(format!(
            "{detail}; relative difference {:.1e}",
            retry.relative
        ))
    })
}

/// The same kernels run on the same numbers, but atomic additions may change the order.
const RETRY_TOLERANCE: f64 = 1e-4;
