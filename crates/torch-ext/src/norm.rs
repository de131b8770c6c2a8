//! BatchNorm whose running statistics advance once per step.

use crate::ops::add_scalar_;
use crate::segment::Pass;
use crate::{Error, Result};
use tch::Tensor;

/// The tensors and settings of one `BatchNorm2d`, as shallow clones.
#[derive(Debug)]
pub struct BatchNorm {
    /// Scale, `[C]`.
    pub weight: Tensor,
    /// Shift, `[C]`.
    pub bias: Tensor,
    /// Running mean, `[C]`, updated in place in training.
    pub running_mean: Tensor,
    /// Running variance, `[C]`, updated in place in training.
    pub running_var: Tensor,
    /// Steps seen, one int64, updated in place in training.
    pub num_batches_tracked: Tensor,
    /// Weight of the new statistics.
    pub momentum: f64,
    /// Added to the variance.
    pub eps: f64,
}

impl BatchNorm {
    /// Another handle on the same tensors, for a segment to capture.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        Self {
            weight: self.weight.shallow_clone(),
            bias: self.bias.shallow_clone(),
            running_mean: self.running_mean.shallow_clone(),
            running_var: self.running_var.shallow_clone(),
            num_batches_tracked: self.num_batches_tracked.shallow_clone(),
            momentum: self.momentum,
            eps: self.eps,
        }
    }
}

/// `input`: `[N, C, H, W]`, any floating dtype; the result has its shape and dtype.
///
/// In training the forward pass advances the running statistics; a recompute works on
/// clones of them (a few KiB), so that they advance once per step (PyTorch issue 96136).
/// Undefined statistics would change what autograd saves, and `momentum = 0` writes NaN
/// into them when activations overflow.
///
/// # Errors
/// Where shapes or dtypes do not fit, or memory runs out.
pub fn batch_norm(input: &Tensor, norm: &BatchNorm, training: bool, pass: Pass) -> Result<Tensor> {
    let values = input.numel() / norm.weight.numel().max(1);
    if training && values <= 1 {
        // The unbiased variance of one value is no number, and would stay in the buffers.
        return Err(Error::InvalidArgument(format!(
            "batch norm in training needs more than one value per channel, and its input is {:?}: \
             take a larger image or batch",
            input.size()
        )));
    }
    // A segment inside a segment runs its forward again when the outer one is recomputed.
    let update = training && pass == Pass::Forward && crate::segment::stats().recompute_depth == 0;
    let clones = (training && !update)
        .then(|| -> Result<_> { Ok((copied(&norm.running_mean)?, copied(&norm.running_var)?)) })
        .transpose()?;
    let (mean, var) = match &clones {
        Some((mean, var)) => (mean, var),
        None => (&norm.running_mean, &norm.running_var),
    };
    if update {
        tch::no_grad(|| add_scalar_(&norm.num_batches_tracked, 1.0))?;
    }
    Ok(input.f_batch_norm(
        Some(&norm.weight),
        Some(&norm.bias),
        Some(mean),
        Some(var),
        training,
        norm.momentum,
        norm.eps,
        // As torch.backends.cudnn.enabled: cuDNN where it applies.
        true,
    )?)
}

fn copied(buffer: &Tensor) -> Result<Tensor> {
    let buffer = buffer.f_detach()?;
    let mut copy = buffer.f_empty_like()?;
    copy.f_copy_(&buffer)?;
    Ok(copy)
}
