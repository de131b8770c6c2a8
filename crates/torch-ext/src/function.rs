//! Graph nodes whose backward is a Rust closure: `torch.autograd.Function`, and one for code that keeps by itself
//! what backward needs.

use std::sync::Mutex;

use tch::Tensor;

use crate::error::check;
use crate::ops::{raw, raws};
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

/// Returns `tensor` without its history, as the result of a node with the history of `inputs`. The closure
/// `backward` gets the gradient of `tensor` and the tensors of `saved`, which must not have been modified in between,
/// and returns a gradient for each of `inputs`. It records no graph. A segment that backward runs again drops saved
/// tensors, as it does for libtorch's own nodes. Without grad mode there is no node.
///
/// # Errors
/// If `tensor` does not have a floating dtype.
#[doc(alias = "torch.autograd.Function")]
pub fn attach_saving<F>(
    tensor: &Tensor,
    inputs: &[&Tensor],
    saved: &[&Tensor],
    backward: F,
) -> Result<Tensor>
where
    F: Fn(Tensor, &[Tensor]) -> std::result::Result<Vec<Tensor>, BoxError> + Send + 'static,
{
    let segment = for_shim(
        Options::default(),
        Box::new(move |mut tensors, _| {
            if tensors.is_empty() {
                return Err(
                    Error::InvalidArgument("a backward without a gradient".to_owned()).into(),
                );
            }
            let gradient = tensors.remove(0);
            backward(gradient, &tensors)
        }),
    );
    let (inputs, saved) = (raws(inputs), raws(saved));
    let mut out = std::ptr::null_mut();
    // SAFETY: live tensors borrowed for the call; the shim owns the closure from here on and drops it once; `out` is
    // valid for writes.
    check(unsafe {
        ffi::snug_attach_saving(
            &raw const segment,
            raw(tensor),
            inputs.as_ptr(),
            inputs.len(),
            saved.as_ptr(),
            saved.len(),
            &raw mut out,
        )
    })?;
    // SAFETY: the shim made a new tensor, whose owner is now the caller.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Calls `hook` each time a gradient has been added to `parameter`, by autograd or by [`accumulate_grad`]. Its error
/// ends that. It replaces an earlier hook, and lives as long as the parameter, of which it may therefore hold no handle.
///
/// # Errors
/// If `parameter` is undefined.
#[doc(alias = "register_post_accumulate_grad_hook")]
pub fn on_gradient<F>(parameter: &Tensor, hook: F) -> Result<()>
where
    F: Fn() -> std::result::Result<(), BoxError> + Send + 'static,
{
    let body = move |_nothing, _pass| hook().map(|()| Vec::new());
    let segment = for_shim(Options::default(), Box::new(body));
    // SAFETY: a live tensor borrowed for the call; the shim owns the closure from here on and drops it once.
    check(unsafe { ffi::snug_on_gradient(&raw const segment, raw(parameter)) })
}

/// Whether grad mode is on in this thread.
pub fn grad_is_enabled() -> bool {
    // SAFETY: takes no arguments.
    unsafe { ffi::snug_grad_is_enabled() != 0 }
}

/// Whether nothing else reads the bytes of `tensor`: neither another handle nor a view.
pub fn is_exclusive(tensor: &Tensor) -> bool {
    // SAFETY: a live tensor borrowed for the call.
    unsafe { ffi::snug_is_exclusive(raw(tensor)) != 0 }
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
