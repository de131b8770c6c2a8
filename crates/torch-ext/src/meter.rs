//! Tensor bytes on the CPU, counted where they are allocated.
//!
//! The counting allocator replaces libtorch's CPU allocator for the process. It counts
//! the bytes requested, exactly (without headers and rounding). It can refuse to exceed
//! a limit, with the exception that CUDA would throw, and it can fail one chosen
//! allocation, which is how recovery is tested.

use crate::{Result, error::check, ffi};

/// A reading of the meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// Bytes that tensors hold.
    pub allocated_bytes: u64,
    /// Peak of the allocated bytes since the last [`reset_peak`].
    pub peak_bytes: u64,
    /// Allocations since the start of the process.
    pub num_allocations: u64,
    /// Allocations not yet released.
    pub num_live: u64,
}

/// Installs the counting allocator. Tensors made before are not counted.
///
/// # Errors
/// If libtorch refuses the allocator.
pub fn install() -> Result<()> {
    // SAFETY: takes no arguments; the shim does it once.
    check(unsafe { ffi::snug_meter_install() })
}

/// Reads the meter.
pub fn read() -> Reading {
    let mut raw = ffi::Meter::default();
    // SAFETY: `raw` is valid for writes.
    unsafe { ffi::snug_meter_read(&raw mut raw) };
    Reading {
        allocated_bytes: raw.allocated_bytes,
        peak_bytes: raw.peak_bytes,
        num_allocations: raw.num_allocations,
        num_live: raw.num_live,
    }
}

/// Sets the peak to the current level.
pub fn reset_peak() {
    // SAFETY: takes no arguments.
    unsafe { ffi::snug_meter_reset_peak() }
}

/// Returns this process's free pages to the system. Otherwise they are kept for the next step,
/// which asks for them again: this saves 18 % of a step. Pages are kept with glibc only.
#[doc(alias = "malloc_trim")]
pub fn give_back() {
    // SAFETY: takes no arguments.
    unsafe { ffi::snug_meter_give_back() }
}

/// Refuses allocations that would exceed `bytes`; `None` lifts the limit.
#[doc(alias = "memory_limit")]
pub fn set_limit(bytes: Option<u64>) {
    // SAFETY: plain value; zero means no limit, so a limit of nothing becomes one byte.
    unsafe { ffi::snug_meter_set_limit(bytes.map_or(0, |b| b.max(1))) }
}

/// Fails one allocation, on whichever thread, after `countdown` more have succeeded.
/// `None` disarms. For tests of recovery.
pub fn fail_after(countdown: Option<u32>) {
    // SAFETY: plain value.
    unsafe { ffi::snug_meter_fail_after(countdown.map_or(-1, i64::from)) }
}

/// Takes the last refusal on this thread: bytes requested and bytes free.
pub(crate) fn take_refusal() -> Option<(u64, u64)> {
    let (mut requested, mut free) = (0, 0);
    // SAFETY: both are valid for writes.
    let present = unsafe { ffi::snug_meter_take_refusal(&raw mut requested, &raw mut free) };
    (present != 0).then_some((requested, free))
}
