//! BatchNorm whose running statistics advance once per step.

mod fused;
mod gpu;
mod host;
#[cfg(test)]
mod tests;
mod together;
mod trial;

use std::sync::{Arc, Mutex, PoisonError};

use tch::{Kind, Tensor};

use fused::Source;
pub use fused::{Fused, Input};
pub use together::{Together, nothing};
pub use trial::{is_tried, runs_on};

use crate::error::check;
use crate::function::{attach_saving, grad_is_enabled, is_exclusive};
use crate::launch::is_gpu;
use crate::ops::{MemoryFormat, is_contiguous_in, raw};
use crate::segment::{Pass, recompute_begins};
use crate::{Error, Result, ffi};

/// The tensors and settings of one `BatchNorm2d`, as shallow clones; its counter of batches is its owner's.
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
    /// Weight of the new statistics in the running ones.
    pub momentum: f64,
    /// Added to the variance.
    pub eps: f64,
    /// Those with which this process shares each batch, if it does. Running statistics are those of the whole batch then,
    /// and gradients of weight and bias those of its own part.
    pub together: Option<Arc<dyn Together>>,
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
            momentum: self.momentum,
            eps: self.eps,
            together: self.together.clone(),
        }
    }
}

/// `input`: `[N, C, H, W]`, any floating dtype; the result has its shape and dtype.
///
/// In training the forward pass advances the running statistics; a recompute works on
/// clones of them (a few KiB), so that they advance once per step (PyTorch issue 96136).
/// Passing undefined statistics would change what autograd saves, and `momentum = 0`
/// writes NaN into them when activations overflow.
///
/// # Errors
/// If shapes or dtypes do not fit, or memory runs out.
pub fn batch_norm(input: &Tensor, norm: &BatchNorm, training: bool, pass: Pass) -> Result<Tensor> {
    if training {
        refuse_single_values(input, norm)?;
        together::refuse(norm.together.as_ref())?;
    }
    let update = training && updates(pass);
    let clones = (training && !update)
        .then(|| -> Result<_> { Ok((copied(&norm.running_mean)?, copied(&norm.running_var)?)) })
        .transpose()?;
    let (mean, var) = match &clones {
        Some((mean, var)) => (mean, var),
        None => (&norm.running_mean, &norm.running_var),
    };
    Ok(input.f_batch_norm(
        Some(&norm.weight),
        Some(&norm.bias),
        Some(mean),
        Some(var),
        training,
        norm.momentum,
        norm.eps,
        // As with torch.backends.cudnn.enabled, cuDNN is used wherever it applies.
        true,
    )?)
}

/// Which code computes batch norm and ReLU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kernels {
    /// Kernels of our own where they take the tensors ([`Fused`]), otherwise libtorch's.
    Fused,
    /// libtorch's operators.
    Library,
}

/// Whether batch norm adds the bias of the convolution with this weight, which then need not: our kernels do so on a GPU,
/// where libtorch adds it, and sums its gradient, in passes of their own. The bias changes nothing but the running mean,
/// and its gradient is zero.
pub fn adds_bias(weight: &Tensor, kernels: Kernels) -> bool {
    let device = weight.device();
    kernels == Kernels::Fused
        && is_gpu(device)
        && weight.kind() == Kind::Float
        && weight.size()[0] % 8 == 0
        && is_contiguous_in(weight, MemoryFormat::ChannelsLast)
        && runs_on(device).is_ok()
}

/// [`batch_norm`] and ReLU. With [`Kernels::Fused`] they are one node, which saves only its input.
///
/// # Errors
/// As [`batch_norm`].
pub fn batch_norm_relu(
    input: Input<'_>,
    norm: &BatchNorm,
    training: bool,
    pass: Pass,
    kernels: Kernels,
) -> Result<Tensor> {
    if kernels == Kernels::Fused
        && let Some(out) = fused_relu(input, norm, training, pass)?
    {
        return Ok(out);
    }
    let mut tensor = input.tensor.shallow_clone();
    if let Some(bias) = input.bias {
        tensor = tensor.f_add(&per_channel(bias, &tensor)?)?;
    }
    // In place: batch norm saves its input, not its output.
    Ok(batch_norm(&tensor, norm, training, pass)?.f_relu_()?)
}

/// A bias in the shape and kind of `tensor`, `[1, C, 1, 1]`.
fn per_channel(bias: &Tensor, tensor: &Tensor) -> Result<Tensor> {
    Ok(bias.f_view([1, -1, 1, 1])?.f_to_kind(tensor.kind())?)
}

fn fused_relu(
    input: Input<'_>,
    norm: &BatchNorm,
    training: bool,
    pass: Pass,
) -> Result<Option<Tensor>> {
    let Input { tensor, bias } = input;
    let x = tensor.f_detach()?;
    let of_x = Input { tensor: &x, bias };
    if !Fused::takes(norm, of_x) {
        return Ok(None);
    }
    let mut inputs = vec![tensor, &norm.weight, &norm.bias];
    inputs.extend(bias);
    if !training {
        // A gradient would be that of batch statistics.
        if grad_is_enabled() && inputs.into_iter().any(Tensor::requires_grad) {
            return Ok(None);
        }
        let Some(fused) = Fused::of(norm, of_x, Source::Running)? else {
            return Ok(None);
        };
        let out = x.f_empty_like()?;
        fused.activate(&x, &out)?;
        return Ok(Some(out));
    }
    together::refuse(norm.together.as_ref())?;
    let out = x.f_empty_like()?;
    // Tensors may go to another thread, but not be in two.
    let statistics = Arc::new(Mutex::new(None::<Fused>));
    let of_node = Arc::clone(&statistics);
    // Backward does not read the weight, but must not run once it has changed.
    let saved = [tensor, &norm.weight];
    let zeros = bias.map(Tensor::f_detach).transpose()?;
    // A recompute ends here if this is the last that it must save: before anything is computed.
    let out = attach_saving(&out, &inputs, &saved, move |grad, saved| {
        let fused = of_node.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(fused), [input, ..]) = (fused.as_ref(), saved) else {
            return Err(Error::InvalidArgument("a backward without its forward".to_owned()).into());
        };
        let grad = if is_exclusive(&grad) {
            grad
        } else {
            copied(&grad)?
        };
        let gradients = fused.backward(grad, input, false)?;
        let mut all = vec![gradients.input, gradients.weight, gradients.bias];
        if let Some(bias) = &zeros {
            all.push(bias.f_zeros_like()?);
        }
        Ok(all)
    })?;
    let fused = norm.fuse(of_x, updates(pass))?.ok_or_else(|| {
        Error::InvalidArgument("batch norm's tensors changed while it ran".to_owned())
    })?;
    fused.activate(&x, &out.f_detach()?)?;
    *statistics.lock().unwrap_or_else(PoisonError::into_inner) = Some(fused);
    Ok(Some(out))
}

/// Whether a forward in training advances the running statistics. A nested segment runs its forward again when the
/// outer one is recomputed.
fn updates(pass: Pass) -> bool {
    pass == Pass::Forward && crate::segment::stats().recompute_depth == 0
}

/// The unbiased variance of a single value is NaN, which would stay in the buffers.
fn refuse_single_values(input: &Tensor, norm: &BatchNorm) -> Result<()> {
    if input.numel() / norm.weight.numel().max(1) > 1 {
        return Ok(());
    }
    Err(Error::InvalidArgument(format!(
        "batch norm in training needs more than one value per channel, but its input has the shape \
         {:?}: use a larger image or batch",
        input.size()
    )))
}

/// The statistics of one forward in training: enough to rebuild its output and to run its backward.
#[derive(Debug)]
pub struct Statistics {
    mean: Tensor,
    invstd: Tensor,
    reserve: Tensor,
    implementation: i64,
}

impl Statistics {
    fn lend(&self) -> ffi::NormSaved {
        ffi::NormSaved {
            mean: raw(&self.mean),
            invstd: raw(&self.invstd),
            reserve: raw(&self.reserve),
            implementation: self.implementation,
        }
    }

    /// Whether [`BatchNorm::rebuild`] may be called on a part of the batch.
    pub fn can_slice(&self, input: &Tensor) -> bool {
        let saved = self.lend();
        // SAFETY: live tensors borrowed for the call.
        unsafe { ffi::snug_norm_can_slice(raw(input), &raw const saved) != 0 }
    }
}

/// Gradients of one batch norm.
#[derive(Debug)]
pub struct NormGradients {
    /// Gradient of its input.
    pub input: Tensor,
    /// Gradient of its scale.
    pub weight: Tensor,
    /// Gradient of its shift.
    pub bias: Tensor,
}

/// Whether the parts of batch norm work in place on dense tensors of `device`. libtorch's own
/// kernels do on an x86-64 CPU; elsewhere the parts allocate.
pub fn works_in_place(device: tch::Device) -> bool {
    // SAFETY: takes no arguments.
    device == tch::Device::Cpu && unsafe { ffi::snug_norm_has_kernels() != 0 }
}

/// The parts of batch norm, which autograd's node does not offer one by one. They record no graph.
impl BatchNorm {
    fn lend(&self) -> ffi::Norm {
        ffi::Norm {
            weight: raw(&self.weight),
            bias: raw(&self.bias),
            running_mean: raw(&self.running_mean),
            running_var: raw(&self.running_var),
            momentum: self.momentum,
            eps: self.eps,
        }
    }

    /// The statistics of `input` in training; `update` advances the running ones. `None` if our kernels do not take
    /// such a tensor, which then gets the bias in place.
    ///
    /// # Errors
    /// As [`batch_norm`].
    pub fn fuse(&self, input: Input<'_>, update: bool) -> Result<Option<Fused>> {
        refuse_single_values(input.tensor, self)?;
        let fused = Fused::of(self, input, Source::Batch { update })?;
        if let (None, Some(bias)) = (&fused, input.bias) {
            let mut tensor = input.tensor.f_detach()?;
            let _sum = tensor.f_add_(&per_channel(&bias.f_detach()?, &tensor)?)?;
        }
        Ok(fused)
    }

    /// The training forward: returns the output and its statistics, and advances the running
    /// statistics. `in_place` overwrites `input` if the kernels can ([`works_in_place`]).
    ///
    /// # Errors
    /// As [`batch_norm`].
    pub fn forward(&self, input: &Tensor, in_place: bool) -> Result<(Tensor, Statistics)> {
        refuse_single_values(input, self)?;
        together::refuse(self.together.as_ref())?;
        let null = std::ptr::null_mut();
        let (mut out, mut saved) = (
            null,
            ffi::NormSaved {
                mean: null,
                invstd: null,
                reserve: null,
                implementation: 0,
            },
        );
        let norm = self.lend();
        // SAFETY: live tensors borrowed for the call; both outputs are valid for writes.
        check(unsafe {
            ffi::snug_norm_forward(
                raw(input),
                &raw const norm,
                i32::from(in_place),
                &raw mut out,
                &raw mut saved,
            )
        })?;
        let statistics = Statistics {
            // SAFETY: the shim made a new tensor, whose owner is now this one.
            mean: unsafe { Tensor::from_ptr(saved.mean) },
            // SAFETY: as above.
            invstd: unsafe { Tensor::from_ptr(saved.invstd) },
            // SAFETY: as above.
            reserve: unsafe { Tensor::from_ptr(saved.reserve) },
            implementation: saved.implementation,
        };
        // SAFETY: as above.
        Ok((unsafe { Tensor::from_ptr(out) }, statistics))
    }

    /// Rebuilds the output of [`Self::forward`], bit for bit, and leaves the running statistics
    /// unchanged. With [`Statistics::can_slice`], `input` may be a part of the batch, and the
    /// output goes into `into` if given, which has the input's shape and strides and may be `input`
    /// itself. Otherwise the output is a new tensor.
    ///
    /// # Errors
    /// If shapes do not fit, or memory runs out.
    pub fn rebuild(
        &self,
        input: &Tensor,
        statistics: &Statistics,
        into: Option<&Tensor>,
    ) -> Result<Tensor> {
        recompute_begins()?;
        let mut out = std::ptr::null_mut();
        let (norm, saved) = (self.lend(), statistics.lend());
        // SAFETY: live tensors, or null, borrowed for the call; `out` is valid for writes.
        check(unsafe {
            ffi::snug_norm_rebuild(
                raw(input),
                &raw const norm,
                &raw const saved,
                into.map_or(std::ptr::null_mut(), raw),
                &raw mut out,
            )
        })?;
        // SAFETY: the shim made a new handle, whose owner is now the caller.
        Ok(unsafe { Tensor::from_ptr(out) })
    }

    /// Gradients of [`Self::forward`], given the gradient of its output, which is overwritten if
    /// the kernels work in place.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn backward(
        &self,
        grad: Tensor,
        input: &Tensor,
        statistics: &Statistics,
    ) -> Result<NormGradients> {
        let null = std::ptr::null_mut();
        let (mut dx, mut dw, mut db) = (null, null, null);
        let (norm, saved) = (self.lend(), statistics.lend());
        // SAFETY: live tensors borrowed for the call; the outputs are valid for writes.
        check(unsafe {
            ffi::snug_norm_backward(
                raw(&grad),
                raw(input),
                &raw const norm,
                &raw const saved,
                &raw mut dx,
                &raw mut dw,
                &raw mut db,
            )
        })?;
        drop(grad);
        Ok(NormGradients {
            // SAFETY: the shim made a new tensor, whose owner is now this one.
            input: unsafe { Tensor::from_ptr(dx) },
            // SAFETY: as above.
            weight: unsafe { Tensor::from_ptr(dw) },
            // SAFETY: as above.
            bias: unsafe { Tensor::from_ptr(db) },
        })
    }
}

/// Writes ReLU of `input` to `out` in one pass. Shapes are equal; strides may differ.
///
/// # Errors
/// If shapes do not fit.
pub fn relu_to(input: &Tensor, out: &Tensor) -> Result<()> {
    // SAFETY: live tensors borrowed for the call.
    check(unsafe { ffi::snug_relu_to(raw(input), raw(out)) })
}

/// Sets elements of `grad` to zero where `result` is not positive, as ReLU's backward does.
/// `result` is ReLU's output or its input, which are positive at the same places.
///
/// # Errors
/// If shapes do not fit.
#[doc(alias = "threshold_backward")]
pub fn relu_backward_(grad: &Tensor, result: &Tensor) -> Result<()> {
    // SAFETY: live tensors borrowed for the call.
    check(unsafe { ffi::snug_relu_backward_(raw(grad), raw(result)) })
}

fn copied(buffer: &Tensor) -> Result<Tensor> {
    let buffer = buffer.f_detach()?;
    let mut copy = buffer.f_empty_like()?;
    copy.f_copy_(&buffer)?;
    Ok(copy)
}
