//! What the scaler needs to know about an optimizer.

use std::sync::atomic::{AtomicU64, Ordering};

use tch::Tensor;
use torch_ext::Result;

/// Tells optimizers apart, as `id(optimizer)` does in PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OptimizerId(u64);

impl OptimizerId {
    /// An id that no other optimizer of this process has.
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// An optimizer that [`crate::GradScaler`] can drive.
pub trait Optimizer {
    /// Its identity, the same for its whole life.
    fn id(&self) -> OptimizerId;

    /// The defined gradients of its parameters, as handles on the same storage.
    fn gradients(&self) -> Vec<Tensor>;

    /// One step. With `grad_scale` (fp32, one element) the gradients are divided by it
    /// first; with `found_inf` = 1 nothing changes. Both are `None` for a plain step.
    ///
    /// # Errors
    /// Where the step fails.
    fn step(&mut self, grad_scale: Option<&Tensor>, found_inf: Option<&Tensor>) -> Result<()>;

    /// Whether [`Optimizer::step`] takes `grad_scale` and `found_inf`, which saves the
    /// host synchronisation (`_step_supports_amp_scaling` in PyTorch).
    fn step_supports_amp_scaling(&self) -> bool {
        false
    }
}
