//! Backward with typed errors that leaves nothing behind when it fails.

use tch::Tensor;

use crate::{Result, error::check, ffi, ops::raw};

/// Runs backward from `root` (one element), as `root.backward()` does.
///
/// # Errors
/// Errors are typed, also those of a segment's recompute; a panic in a recompute
/// resumes here, on the calling thread. Nodes that the failed pass left in
/// libtorch's thread-local queue are released before the return.
pub fn backward(root: &Tensor) -> Result<()> {
    run(root, None, false)
}

/// As [`backward`], but takes the gradient of `root` (same shape), and keeps the graph
/// for another pass if `retain_graph`.
///
/// # Errors
/// As [`backward`].
pub fn backward_with(root: &Tensor, gradient: Option<&Tensor>, retain_graph: bool) -> Result<()> {
    run(root, gradient, retain_graph)
}

fn run(root: &Tensor, gradient: Option<&Tensor>, retain_graph: bool) -> Result<()> {
    let gradient = gradient.map_or(std::ptr::null_mut(), raw);
    // SAFETY: both pointers are live tensors (or null) borrowed for the call.
    let status = unsafe { ffi::snug_backward(raw(root), gradient, i32::from(retain_graph)) };
    if status == ffi::OK {
        return Ok(());
    }
    // A panic carried in the error resumes inside `check`: drain in that case too.
    let _drain = Drain;
    check(status)
}

/// Runs an empty backward when dropped.
struct Drain;

impl Drop for Drain {
    fn drop(&mut self) {
        // SAFETY: takes no arguments. A failure would change nothing: the next
        // backward drains as well.
        unsafe { ffi::snug_drain() };
    }
}
