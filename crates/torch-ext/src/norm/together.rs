//! Batch norm of a batch that several processes share: `torch.nn.SyncBatchNorm`.

use std::fmt;
use std::sync::Arc;

use tch::{Kind, Tensor};

use crate::launch::is_gpu;
use crate::{Error, Result};

/// The processes that share a batch, as one of them sees them.
///
/// Each forward of a batch norm in training gathers numbers once, and each of its backwards once. All processes do so in the
/// same order. One without images of the batch gathers [`nothing`].
pub trait Together: fmt::Debug + Send + Sync {
    /// Numbers of all processes, in their order: `[n]` -> `[processes * n]`, of the same dtype and on the same device.
    ///
    /// # Errors
    /// If another process is gone, or memory runs out.
    fn gather(&self, numbers: &Tensor) -> Result<Tensor>;

    /// Images of the batch in all processes.
    fn num_images(&self) -> usize;
}

/// What a process without images gathers for a batch norm with this weight, in forward or in backward.
///
/// # Errors
/// If memory runs out.
pub fn nothing(weight: &Tensor, is_backward: bool) -> Result<Tensor> {
    // Of each channel: count, mean and deviation, or two sums.
    let numbers = if is_backward { 2 } else { 3 };
    let len = i64::try_from(numbers * weight.numel()).unwrap_or(i64::MAX);
    let kind = if is_gpu(weight.device()) {
        Kind::Float
    } else {
        Kind::Double
    };
    Ok(Tensor::f_zeros([len], (kind, weight.device()))?)
}

/// Refuses batch norm over several processes where it is not computed by our kernels in one forward.
pub(super) fn refuse(together: Option<&Arc<dyn Together>>) -> Result<()> {
    match together {
        None => Ok(()),
        Some(_) => Err(Error::InvalidArgument(
            "batch norm over several processes needs our own kernels, and tensors that these take"
                .to_owned(),
        )),
    }
}
