//! The thread's autocast state, as a guard that restores it.

use std::marker::PhantomData;

use tch::{Device, Kind};

use crate::{Error, Result, error::check, ffi};

// Values of `c10::ScalarType`, part of libtorch's file formats and thus stable.
const HALF: i32 = 5;
const BFLOAT16: i32 = 15;

/// The autocast state of one device type on one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Whether operators cast.
    pub enabled: bool,
    /// The lower precision: [`Kind::Half`] or [`Kind::BFloat16`].
    pub dtype: Kind,
    /// Whether casts of leaves (weights) are kept until the outermost scope ends.
    pub cache_enabled: bool,
}

/// A scope with its own autocast state. Dropping it, also by a panic, restores the
/// earlier state; the outermost scope clears the cast cache.
#[derive(Debug)]
#[must_use = "the scope ends when this is dropped"]
pub struct AutocastGuard {
    previous: ffi::Autocast,
    /// The state belongs to the thread, so the guard may not leave it.
    not_send: PhantomData<*const ()>,
}

impl AutocastGuard {
    /// Enters a scope for the device type of `device`.
    ///
    /// # Errors
    /// For a device without autocast, or a dtype that is neither fp16 nor bf16.
    pub fn enter(device: Device, state: State) -> Result<Self> {
        let dtype = match state.dtype {
            Kind::Half => HALF,
            Kind::BFloat16 => BFLOAT16,
            other => {
                return Err(Error::InvalidArgument(format!(
                    "autocast casts to Half or BFloat16, not to {other:?}"
                )));
            }
        };
        let wanted = ffi::Autocast {
            device: code(device)?,
            enabled: i32::from(state.enabled),
            dtype,
            cache_enabled: i32::from(state.cache_enabled),
        };
        let mut previous = ffi::Autocast::default();
        // SAFETY: both structs are valid for the length of the call.
        check(unsafe { ffi::snug_autocast_enter(&raw const wanted, &raw mut previous) })?;
        Ok(Self {
            previous,
            not_send: PhantomData,
        })
    }
}

impl Drop for AutocastGuard {
    fn drop(&mut self) {
        // SAFETY: `previous` is what `enter` wrote. Restoring thread-local values
        // cannot fail, and a destructor could not report it.
        unsafe { ffi::snug_autocast_exit(&raw const self.previous) };
    }
}

/// The autocast state of this thread for the device type of `device`.
///
/// # Errors
/// For a device without autocast.
pub fn state(device: Device) -> Result<State> {
    let mut raw = ffi::Autocast::default();
    let code = code(device)?;
    // SAFETY: `raw` is valid for writes.
    check(unsafe { ffi::snug_autocast_read(code, &raw mut raw) })?;
    let dtype = if raw.dtype == BFLOAT16 {
        Kind::BFloat16
    } else {
        Kind::Half
    };
    Ok(State {
        enabled: raw.enabled != 0,
        dtype,
        cache_enabled: raw.cache_enabled != 0,
    })
}

fn code(device: Device) -> Result<i32> {
    match device {
        Device::Cpu => Ok(0),
        Device::Cuda(_) => Ok(1),
        other => Err(Error::InvalidArgument(format!("no autocast on {other:?}"))),
    }
}
