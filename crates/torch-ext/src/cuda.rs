//! The CUDA caching allocator, as `torch.cuda.memory_stats` reports it.

use std::ffi::CString;
use std::sync::atomic::{AtomicU64, Ordering};

use tch::{Device, Kind, Tensor};

use crate::{Error, Result, device_info, error::check, ffi, graph};

/// Bytes of one CUDA device, as seen by this process's allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceMemory {
    /// Bytes of live tensors (rounded up by the allocator).
    pub allocated_bytes: u64,
    /// Its peak since [`reset_peak`].
    pub peak_allocated_bytes: u64,
    /// Bytes that the allocator holds from the driver.
    pub reserved_bytes: u64,
    /// Its peak since [`reset_peak`].
    pub peak_reserved_bytes: u64,
    /// Bytes of tensors before rounding.
    pub requested_bytes: u64,
    /// Its peak since [`reset_peak`].
    pub peak_requested_bytes: u64,
    /// How often the cache was flushed to satisfy a request.
    pub num_alloc_retries: u64,
    /// Allocations that failed.
    pub num_ooms: u64,
    /// Free bytes of the device, counting all processes.
    pub free_bytes: u64,
    /// Total bytes of the device.
    pub total_bytes: u64,
}

/// Whether tensors can be made on a CUDA device.
pub fn is_available() -> bool {
    tch::Cuda::is_available()
}

/// # Errors
/// If the device does not exist, or CUDA is not available.
#[doc(alias = "memory_stats")]
pub fn memory(device: usize) -> Result<DeviceMemory> {
    let mut raw = ffi::DeviceMemory::default();
    let index = index(device)?;
    // SAFETY: `raw` is valid for writes.
    check(unsafe { ffi::snug_cuda_memory(index, &raw mut raw) })?;
    Ok(DeviceMemory {
        allocated_bytes: raw.allocated_bytes,
        peak_allocated_bytes: raw.peak_allocated_bytes,
        reserved_bytes: raw.reserved_bytes,
        peak_reserved_bytes: raw.peak_reserved_bytes,
        requested_bytes: raw.requested_bytes,
        peak_requested_bytes: raw.peak_requested_bytes,
        num_alloc_retries: raw.num_alloc_retries,
        num_ooms: raw.num_ooms,
        free_bytes: raw.free_bytes,
        total_bytes: raw.total_bytes,
    })
}

/// Refused allocations that are accounted for.
static REFUSALS: AtomicU64 = AtomicU64::new(0);

/// Refused allocations of all devices so far.
fn refusals() -> u64 {
    if !is_available() {
        return 0;
    }
    let devices = 0..usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
    devices
        .filter_map(|it| memory(it).ok())
        .map(|it| it.num_ooms)
        .sum()
}

/// Starts to watch for refused allocations. libtorch hides some of them and reports that a convolution
/// has no algorithm; after this call such a report counts as out of memory if an allocation was
/// refused in between. Call it before each step.
pub fn watch_refusals() {
    // While a graph is recorded the device may not be asked.
    if graph::is_recording() {
        return;
    }
    REFUSALS.store(refusals(), Ordering::Relaxed);
}

/// Whether an allocation was refused since the last [`watch_refusals`].
pub(crate) fn has_refused() -> bool {
    refusals() > REFUSALS.load(Ordering::Relaxed)
}

/// Sets the peaks to the current levels.
///
/// # Errors
/// As [`memory`].
#[doc(alias = "reset_peak_memory_stats")]
pub fn reset_peak(device: usize) -> Result<()> {
    let index = index(device)?;
    // SAFETY: plain value.
    check(unsafe { ffi::snug_cuda_reset_peak(index) })
}

/// Returns cached blocks to the driver.
///
/// # Errors
/// If CUDA is not available.
pub fn empty_cache() -> Result<()> {
    // The allocator aborts instead of throwing if CUDA was never loaded.
    if !is_available() {
        return Err(Error::Torch("CUDA is not available".to_owned()));
    }
    // SAFETY: takes no arguments.
    check(unsafe { ffi::snug_cuda_empty_cache() })
}

/// Limits how many bytes of a device this process may reserve: an allocation beyond that fails as
/// on a full device. Call it before the first tensor is made there. The limit counts the
/// allocator's cache, not the CUDA context. It is tested before this returns; the answer is `false`
/// if less memory than the limit is free, so that it could not be tested.
///
/// # Errors
/// If the size of the device is unknown, or libtorch exceeds the limit anyway.
#[doc(alias = "set_per_process_memory_fraction")]
#[doc(alias = "memory_limit")]
pub fn set_limit(device: usize, bytes: u64) -> Result<bool> {
    index(device)?;
    let total = device_info::total_bytes(device)
        .ok_or_else(|| Error::Torch("CUDA does not report the size of the device".to_owned()))?;
    if bytes >= total {
        return Ok(true);
    }
    let fraction = bytes as f64 / total as f64;
    add_settings(&format!("per_process_memory_fraction:{fraction:.6}"))?;
    // Large enough to exceed the rounding of the fraction and of a segment.
    let beyond = bytes + total / 1000 + (32 << 20);
    if memory(device)?.free_bytes < beyond {
        return Ok(false);
    }
    let len = i64::try_from(beyond).unwrap_or(i64::MAX);
    match Tensor::f_empty([len], (Kind::Uint8, Device::Cuda(device))).map_err(Error::from) {
        Err(error) if error.is_out_of_memory() => empty_cache().map(|()| true),
        Err(error) => Err(error),
        Ok(_) => Err(Error::Torch(format!(
            "libtorch ignored the limit of {bytes} bytes and allocated {beyond} bytes: set \
             `PYTORCH_CUDA_ALLOC_CONF=per_process_memory_fraction:0.5` in the environment to limit \
             libtorch to half of the device"
        ))),
    }
}

/// Turns expandable segments on. Call it before the first tensor is made, and only where
/// [`device_info::maps_memory`].
///
/// # Errors
/// If the settings cannot be changed.
#[doc(alias = "expandable_segments")]
pub fn expand_segments() -> Result<()> {
    add_settings("expandable_segments:True")
}

/// Adds to the allocator's settings, in the form of `PYTORCH_ALLOC_CONF`.
fn add_settings(settings: &str) -> Result<()> {
    let settings = CString::new(settings).map_err(|error| Error::Torch(error.to_string()))?;
    // SAFETY: a NUL-terminated string, which is copied.
    check(unsafe { ffi::snug_cuda_add_settings(settings.as_ptr()) })
}

/// Sets whether convolutions and matrix products of fp32 tensors may use TF32, in cuDNN and cuBLAS.
/// By default libtorch uses it in convolutions. Without CUDA this has no effect.
///
/// # Errors
/// If libtorch refuses.
pub fn allow_tf32(allow: bool) -> Result<()> {
    // SAFETY: plain value.
    check(unsafe { ffi::snug_allow_tf32(i32::from(allow)) })
}

/// The shim's index of `device`, after the checks that libtorch omits.
fn index(device: usize) -> Result<i32> {
    if !is_available() {
        return Err(Error::Torch("CUDA is not available".to_owned()));
    }
    i32::try_from(device)
        .ok()
        .filter(|_| i64::try_from(device).is_ok_and(|d| d < tch::Cuda::device_count()))
        .ok_or_else(|| Error::InvalidArgument(format!("CUDA device {device} not found")))
}

#[cfg(test)]
mod tests {
    #[test]
    fn without_cuda_every_query_is_an_error() {
        if super::is_available() {
            eprintln!("skipped: this machine has a CUDA device");
            return;
        }
        assert!(super::memory(0).is_err());
        assert!(super::reset_peak(0).is_err());
        assert!(super::empty_cache().is_err());
        assert!(super::set_limit(0, 1 << 30).is_err());
        assert_eq!(crate::device_info::total_bytes(0), None);
    }
}
