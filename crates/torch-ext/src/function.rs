//! A graph node whose backward is a Rust closure: `torch.autograd.Function` for code that keeps
//! its own account of what backward needs.

use std::sync::Mutex;

use tch::Tensor;

use crate::error::check;
use crate::ops::raw;
use crate::segment::{Options, for_shim};
use crate::{BoxError, Error, Result, ffi};

/// `tensor` without its history, as the result of a node that backward runs once: `backward` gets
/// the gradient of `tensor`, with no graph recorded, and gives parameters theirs by
/// [`accumulate_grad`]. What it captured is dropped when it has run, or with the graph; without
/// grad mode, at once.
///
/// On CUDA it runs on the device's backward thread; its panic resumes at the caller of
/// [`crate::backward()`], its error comes out of it.
///
/// # Errors
/// Where `tensor` is not of a floating dtype.
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
                        "this backward runs once, on one gradient".to_owned(),
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

/// Adds `grad` to the gradient of `parameter` in place, or makes it its gradient.
///
/// # Errors
/// Where the shapes differ.
#[doc(alias = "AccumulateGrad")]
pub fn accumulate_grad(parameter: &Tensor, grad: &Tensor) -> Result<()> {
    // SAFETY: live tensors borrowed for the call.
    check(unsafe { ffi::snug_accumulate_grad(raw(parameter), raw(grad)) })
}

/// How often the bytes of `tensor` were written to in place, as autograd counts it.
#[doc(alias = "_version")]
pub fn version(tensor: &Tensor) -> u64 {
    // SAFETY: a live tensor borrowed for the call.
    unsafe { ffi::snug_version(raw(tensor)) }
}
