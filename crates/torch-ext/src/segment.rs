//! Parts of the forward pass that backward runs again instead of keeping their saved
//! tensors: the mechanism of gradient checkpointing. Policies live in `checkpoint`.

use std::ffi::c_void;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tch::Tensor;

use crate::error::{Payload, check};
use crate::ops::{raw, raws};
use crate::{BoxError, Error, Result, ffi};

/// Which run of a closure this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// The forward pass: effects such as running statistics belong here.
    Forward,
    /// A recompute in backward: it must save the same tensors and have no effects.
    Recompute,
}

/// How a segment is recomputed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// `true`: the segment is one graph node that runs its own backward. `false`: saved
    /// tensors are dropped one by one, and recorded again when the first is needed.
    pub use_reentrant: bool,
    /// Whether a recompute gets the random numbers of its forward.
    pub preserve_rng_state: bool,
    /// Whether a non-reentrant recompute ends as soon as it has recorded all that it must.
    pub early_stop: bool,
}

impl Default for Options {
    /// As `torch.utils.checkpoint.checkpoint(use_reentrant=False)`.
    fn default() -> Self {
        Self {
            use_reentrant: false,
            preserve_rng_state: true,
            early_stop: true,
        }
    }
}

pub(crate) type Body =
    Box<dyn Fn(Vec<Tensor>, Pass) -> std::result::Result<Vec<Tensor>, BoxError> + Send>;

/// The closure, which the shim owns. It sits behind a lock because backward may run on
/// another thread (`Tensor` is `Send` but not `Sync`).
struct Closure {
    body: Mutex<Body>,
}

impl fmt::Debug for Closure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closure").finish_non_exhaustive()
    }
}

/// Runs `body` as a segment of the forward pass and returns its outputs.
///
/// `body` gets `inputs` followed by `received` in the forward pass, and `inputs` alone
/// in a recompute. `inputs` stays alive for backward; `received` does not: a segment that
/// receives a tensor rebuilds it from its inputs. `body` captures parameters as shallow
/// clones. `body` must use `f_` operators, because an early stop arrives there as an
/// error, which `?` passes on.
///
/// Without grad mode `body` just runs.
///
/// # Errors
/// The error of `body`, unchanged if it is an [`Error`], else as [`Error::Segment`]; a
/// panic of `body` resumes here. `received` with `use_reentrant` is refused.
/// [`crate::backward()`] returns failures of a recompute.
pub fn run<F>(
    options: Options,
    inputs: &[&Tensor],
    received: &[&Tensor],
    body: F,
) -> Result<Vec<Tensor>>
where
    F: Fn(&[Tensor], Pass) -> std::result::Result<Vec<Tensor>, BoxError> + Send + 'static,
{
    if options.use_reentrant && !received.is_empty() {
        return Err(Error::InvalidArgument(
            "a reentrant segment keeps all its inputs, so it cannot receive tensors for its \
             forward only"
                .to_owned(),
        ));
    }
    let segment = for_shim(
        options,
        Box::new(move |inputs: Vec<Tensor>, pass| body(&inputs, pass)),
    );
    let outputs = Outputs::new();
    let (inputs, received) = (raws(inputs), raws(received));
    // SAFETY: the arrays hold live tensors borrowed for the call; the shim owns the
    // closure from here on and drops it once; `outputs` is live.
    let status = unsafe {
        ffi::snug_segment_forward(
            &raw const segment,
            inputs.as_ptr(),
            inputs.len(),
            received.as_ptr(),
            received.len(),
            outputs.0,
        )
    };
    check(status)?;
    Ok(outputs.take())
}

/// Wraps `body` for the shim, which owns it from the first call that takes it.
pub(crate) fn for_shim(options: Options, body: Body) -> ffi::Segment {
    let closure = Box::new(Closure {
        body: Mutex::new(body),
    });
    ffi::Segment {
        closure: Box::into_raw(closure).cast(),
        run: run_closure,
        drop_closure,
        drop_payload,
        use_reentrant: i32::from(options.use_reentrant),
        preserve_rng_state: i32::from(options.preserve_rng_state),
        early_stop: i32::from(options.early_stop),
    }
}

/// A vector of tensors on the C++ side.
struct Outputs(*mut c_void);

impl Outputs {
    fn new() -> Self {
        // SAFETY: takes no arguments.
        Self(unsafe { ffi::snug_outputs_new() })
    }

    fn take(&self) -> Vec<Tensor> {
        // SAFETY: the vector lives as long as `self`.
        let len = unsafe { ffi::snug_outputs_len(self.0) };
        (0..len)
            .map(|i| {
                // SAFETY: `i` is in range and taken only once.
                let pointer = unsafe { ffi::snug_outputs_take(self.0, i) };
                // SAFETY: the shim made a new tensor, whose owner is now this one.
                unsafe { Tensor::from_ptr(pointer) }
            })
            .collect()
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        // SAFETY: made by `snug_outputs_new`, deleted once.
        unsafe { ffi::snug_outputs_delete(self.0) }
    }
}

/// The shim calls this in forward and in backward. No panic leaves it.
unsafe extern "C" fn run_closure(
    closure: *mut c_void,
    inputs: *const *mut ffi::RawTensor,
    num_inputs: usize,
    recompute: i32,
    outputs: *mut c_void,
) -> *mut c_void {
    // An empty array may be null.
    let pointers: &[_] = if num_inputs == 0 {
        &[]
    } else {
        // SAFETY: the shim passes an array of `num_inputs` pointers, alive for the call.
        unsafe { std::slice::from_raw_parts(inputs, num_inputs) }
    };
    // SAFETY: each is a new tensor that belongs to the callee.
    let owned = |&pointer: &*mut ffi::RawTensor| unsafe { Tensor::from_ptr(pointer) };
    let inputs: Vec<Tensor> = pointers.iter().map(owned).collect();
    // SAFETY: the shim passes the pointer made in `run`, alive until `drop_closure`.
    let closure = unsafe { &*closure.cast::<Closure>() };
    let pass = if recompute != 0 {
        Pass::Recompute
    } else {
        Pass::Forward
    };
    let result = catch_unwind(AssertUnwindSafe(move || {
        if pass == Pass::Recompute {
            recompute_begins()?;
        }
        // A panic in an earlier run cannot have broken the closure, which is `Fn`.
        let body = closure.body.lock().unwrap_or_else(PoisonError::into_inner);
        body(inputs, pass)
    }));
    let payload = match result {
        Ok(Ok(tensors)) => {
            for tensor in tensors {
                // SAFETY: clones the handle; the shim owns the clone.
                let owned = unsafe { torch_sys::at_shallow_clone(raw(&tensor)) };
                // SAFETY: `outputs` is the vector that the shim passed.
                unsafe { ffi::snug_outputs_push(outputs, owned) };
            }
            return std::ptr::null_mut();
        }
        Ok(Err(error)) => Payload::Error(into_error(error)),
        Err(panic) => Payload::Panic(panic),
    };
    Box::into_raw(Box::new(payload)).cast()
}

/// Keeps our own errors and types those of libtorch.
fn into_error(error: BoxError) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => *own,
        Err(error) => match error.downcast::<tch::TchError>() {
            Ok(torch) => Error::from(*torch),
            Err(other) => Error::Segment(other),
        },
    }
}

unsafe extern "C" fn drop_closure(closure: *mut c_void) {
    // SAFETY: made by `Box::into_raw` in `run`, dropped once.
    let closure = unsafe { Box::from_raw(closure.cast::<Closure>()) };
    drop_quietly(closure);
}

unsafe extern "C" fn drop_payload(payload: *mut c_void) {
    // SAFETY: made by `Box::into_raw` in `run_closure`, dropped once.
    let payload = unsafe { Box::from_raw(payload.cast::<Payload>()) };
    drop_quietly(payload);
}

/// A panic in a destructor must not cross into C++.
fn drop_quietly<T>(value: T) {
    drop(catch_unwind(AssertUnwindSafe(move || drop(value))));
}

/// Whether the next recompute fails.
static FAILS_NEXT: AtomicBool = AtomicBool::new(false);

/// Fails the next recompute, once, on whichever thread makes it; `false` disarms. For tests of
/// recovery.
pub fn fail_next_recompute(fails: bool) {
    FAILS_NEXT.store(fails, Ordering::SeqCst);
}

/// Every recompute calls this first.
///
/// # Errors
/// [`Error::Segment`] if a failure was planted.
pub fn recompute_begins() -> Result<()> {
    if FAILS_NEXT.load(Ordering::Relaxed) && FAILS_NEXT.swap(false, Ordering::SeqCst) {
        return Err(Error::Segment("a recompute failed on purpose".into()));
    }
    Ok(())
}

/// Counters of the segment machinery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Recomputes since the start of the process.
    pub num_recomputes: u64,
    /// How many of them ended early.
    pub num_early_stops: u64,
    /// Recomputes in progress on this thread.
    pub recompute_depth: u64,
    /// Segments open on this thread: 0 outside of every segment, also after a failure.
    pub depth: u64,
}

/// Makes autograd use the engine that segments need.
pub(crate) fn install_engine() {
    // SAFETY: takes no arguments; libtorch only stores a pointer to a function.
    unsafe { ffi::snug_install_engine() }
}

/// Reads the counters.
pub fn stats() -> Stats {
    let mut raw = ffi::SegmentStats::default();
    // SAFETY: `raw` is valid for writes.
    unsafe { ffi::snug_segment_stats(&raw mut raw) };
    Stats {
        num_recomputes: raw.num_recomputes,
        num_early_stops: raw.num_early_stops,
        recompute_depth: raw.recompute_depth,
        depth: raw.depth,
    }
}
