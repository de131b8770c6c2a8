//! The interface through which the scaler drives an optimizer.

use std::sync::atomic::{AtomicU64, Ordering};

use tch::Tensor;
use torch_ext::Result;

/// Tells optimizers apart, as `id(optimizer)` does in PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OptimizerId(u64);

impl OptimizerId {
    /// Makes an id that is unique in this process.
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// An optimizer that [`crate::GradScaler`] can drive.
pub trait Optimizer {
    /// Its id, which never changes.
    fn id(&self) -> OptimizerId;

    /// The defined gradients of its parameters, as handles on the same storage.
    fn gradients(&self) -> Vec<Tensor>;

    /// Takes one step. Gradients are first divided by `grad_scale` (fp32, one element); if
    /// `found_inf` is 1 nothing changes. Both are `None` for a plain step.
    ///
    /// # Errors
    /// If the step fails.
    fn step(&mut self, grad_scale: Option<&Tensor>, found_inf: Option<&Tensor>) -> Result<()>;

    /// Whether [`Optimizer::step`] accepts `grad_scale` and `found_inf`, so that the host
    /// need not wait for the device (`_step_supports_amp_scaling` in PyTorch).
    fn step_supports_amp_scaling(&self) -> bool {
        false
    }
}
