//! A graph node whose backward is a Rust closure: `torch.autograd.Function` for code that keeps by
//! itself what backward needs.

use std::sync::Mutex;

use tch::Tensor;

use crate::error::check;
use crate::ops::raw;
use crate::segment::{Options, for_shim};
use crate::{BoxError, Error, Result, ffi};

/// Returns `tensor` without its history, as the result of a node that backward runs once. The
/// closure `backward` gets the gradient of `tensor`, records no graph, and gives parameters their
/// gradients by
/// [`accumulate_grad`]. Its captures are dropped after it has run or with the graph, and at once
/// without grad mode.
///
/// On CUDA the closure runs on the device's backward thread. [`crate::backward()`] returns its
/// error and resumes its panic.
///
/// # Errors
/// If `tensor` does not have a floating dtype.
#[doc(alias = "torch.autograd.Function")]
pub fn attach_backward<F>(tensor: &Tensor, backward: F) -> Result<Tensor>
where
    F: FnOnce(Tensor) -> std::result::Result<(), BoxError> + Send + 'static,
{
    let once = Mutex::new(Some(backward));
    let segment = for_shim(
        Options::default(),
        Box::new(move |gradients, _| {
            let backward = once.lock().ok().and_then(|mut once| once.take());
            match (backward, <[Tensor; 1]>::try_from(gradients)) {
                (Some(backward), Ok([gradient])) => backward(gradient)?,
                _ => {
                    return Err(Error::InvalidArgument(
                        "this backward runs once and takes one gradient".to_owned(),
                    )
                    .into());
                }
            }
            Ok(Vec::new())
        }),
    );
    let mut out = std::ptr::null_mut();
    // SAFETY: a live tensor borrowed for the call; the shim owns the closure from here on and
    // drops it once; `out` is valid for writes.
    check(unsafe { ffi::snug_attach_backward(&raw const segment, raw(tensor), &raw mut out) })?;
    // SAFETY: the shim made a new tensor, whose owner is now the caller.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Adds `grad` to the gradient of `parameter` in place. Without a gradient so far, `grad` becomes
/// it.
///
/// # Errors
/// If the shapes differ.
#[doc(alias = "AccumulateGrad")]
pub fn accumulate_grad(parameter: &Tensor, grad: &Tensor) -> Result<()> {
    // SAFETY: live tensors borrowed for the call.
    check(unsafe { ffi::snug_accumulate_grad(raw(parameter), raw(grad)) })
}

/// How often `tensor` was written to in place, as counted by autograd.
#[doc(alias = "_version")]
pub fn version(tensor: &Tensor) -> u64 {
    // SAFETY: a live tensor borrowed for the call.
    unsafe { ffi::snug_version(raw(tensor)) }
}
