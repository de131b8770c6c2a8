//! Operators that `tch` does not bind.

use tch::{Device, Kind, Tensor};

use crate::{Error, Result, error::check, ffi};

pub use crate::rows::copy;

/// The pointer to lend to the shim. It never writes through the handle itself, only
/// through the tensor's storage, as every in-place operator does.
pub(crate) fn raw(tensor: &Tensor) -> *mut ffi::RawTensor {
    tensor.as_ptr().cast_mut()
}

pub(crate) fn raws<T: std::borrow::Borrow<Tensor>>(tensors: &[T]) -> Vec<*mut ffi::RawTensor> {
    tensors.iter().map(|t| raw(t.borrow())).collect()
}

/// Multiplies each of `grads` by `inv_scale` in place and sets `found_inf` to 1 if any of
/// them holds an infinity or a NaN. `found_inf` and `inv_scale` are fp32 tensors of one
/// element on the gradients' device. The host does not wait for the device.
///
/// # Errors
/// If shapes, dtypes or devices do not fit.
#[doc(alias = "_amp_foreach_non_finite_check_and_unscale_")]
pub fn amp_non_finite_check_and_unscale(
    grads: &[Tensor],
    found_inf: &Tensor,
    inv_scale: &Tensor,
) -> Result<()> {
    if grads.is_empty() {
        return Ok(());
    }
    let list = raws(grads);
    // SAFETY: the pointers are live tensors borrowed for the call.
    check(unsafe {
        ffi::snug_amp_non_finite_check_and_unscale(
            list.as_ptr(),
            list.len(),
            raw(found_inf),
            raw(inv_scale),
        )
    })
}

/// Hyper-parameters of `torch.optim.AdamW`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Added to the denominator.
    pub eps: f64,
}

/// The tensors of a fused step: five lists of one length, one entry per parameter.
#[derive(Debug)]
pub struct AdamWTensors<'a> {
    /// fp32 parameters.
    pub params: &'a [Tensor],
    /// Their gradients, all defined.
    pub grads: &'a [Tensor],
    /// First moments, with the strides of the parameters.
    pub exp_avgs: &'a [Tensor],
    /// Second moments, with the strides of the parameters.
    pub exp_avg_sqs: &'a [Tensor],
    /// Step counts: fp32, one element, on the parameters' device.
    pub steps: &'a [Tensor],
}

/// One step of `torch.optim.AdamW(fused=True)`. Gradients are divided by `grad_scale` if it
/// is given; if `found_inf` is 1 nothing changes, not even the step counts. The host does
/// not wait for the device.
///
/// # Errors
/// If the lists differ in length, or if a moment does not have the strides of its
/// parameter: libtorch's kernel walks memory in order and would be silently wrong.
#[doc(alias = "_fused_adamw_")]
pub fn fused_adamw(
    tensors: &AdamWTensors<'_>,
    hyper: AdamW,
    grad_scale: Option<&Tensor>,
    found_inf: Option<&Tensor>,
) -> Result<()> {
    let AdamWTensors {
        params,
        grads,
        exp_avgs,
        exp_avg_sqs,
        steps,
    } = tensors;
    let num = params.len();
    if [grads.len(), exp_avgs.len(), exp_avg_sqs.len(), steps.len()] != [num; 4] {
        return Err(Error::InvalidArgument(format!(
            "fused AdamW needs {num} gradients, moments and step counts"
        )));
    }
    for (i, param) in params.iter().enumerate() {
        if exp_avgs[i].stride() != param.stride() || exp_avg_sqs[i].stride() != param.stride() {
            return Err(Error::InvalidArgument(format!(
                "the AdamW state of parameter {i} does not have the parameter's strides {:?}",
                param.stride()
            )));
        }
    }
    // A gradient's strides may differ from its parameter's.
    let grads: Vec<Tensor> = grads
        .iter()
        .zip(*params)
        .map(|(grad, param)| with_strides_of(grad, param))
        .collect::<Result<_>>()?;
    let hyper = ffi::AdamW {
        lr: hyper.lr,
        beta1: hyper.beta1,
        beta2: hyper.beta2,
        weight_decay: hyper.weight_decay,
        eps: hyper.eps,
    };
    let lists = [
        raws(params),
        raws(&grads),
        raws(exp_avgs),
        raws(exp_avg_sqs),
        raws(steps),
    ];
    // SAFETY: five arrays of `num` live tensors, two live tensors or null, all borrowed
    // for the call.
    check(unsafe {
        ffi::snug_fused_adamw(
            lists[0].as_ptr(),
            lists[1].as_ptr(),
            lists[2].as_ptr(),
            lists[3].as_ptr(),
            lists[4].as_ptr(),
            num,
            &raw const hyper,
            grad_scale.map_or(std::ptr::null_mut(), raw),
            found_inf.map_or(std::ptr::null_mut(), raw),
        )
    })
}

fn with_strides_of(grad: &Tensor, param: &Tensor) -> Result<Tensor> {
    if grad.stride() == param.stride() {
        return Ok(grad.shallow_clone());
    }
    let mut out = param.detach().f_empty_like()?;
    out.f_copy_(grad)?;
    Ok(out)
}

/// Sets the gradient of `tensor` to none and releases its bytes
/// (`zero_grad(set_to_none=True)`).
///
/// # Errors
/// If `tensor` cannot hold a gradient.
pub fn clear_grad(tensor: &Tensor) -> Result<()> {
    // SAFETY: a live tensor borrowed for the call.
    check(unsafe { ffi::snug_clear_grad(raw(tensor)) })
}

const MUL: i32 = 0;
const ADD: i32 = 1;

/// `tensor * value`. tch's operators that take a scalar panic when libtorch reports an
/// error, such as out of memory; this one and its siblings return it.
///
/// # Errors
/// If memory runs out.
pub fn mul_scalar(tensor: &Tensor, value: f64) -> Result<Tensor> {
    scalar_op(tensor, MUL, value)
}

/// `tensor + value`.
///
/// # Errors
/// If memory runs out.
pub fn add_scalar(tensor: &Tensor, value: f64) -> Result<Tensor> {
    scalar_op(tensor, ADD, value)
}

/// `tensor *= value`.
///
/// # Errors
/// If autograd forbids it.
pub fn mul_scalar_(tensor: &Tensor, value: f64) -> Result<()> {
    scalar_op_(tensor, MUL, value)
}

/// `tensor += value`.
///
/// # Errors
/// If autograd forbids it.
pub fn add_scalar_(tensor: &Tensor, value: f64) -> Result<()> {
    scalar_op_(tensor, ADD, value)
}

/// A tensor of shape `[1]` that holds `value`, for operators that take a tensor where tch would
/// panic on a scalar.
///
/// # Errors
/// If memory runs out.
pub fn one_value(value: f64, device: Device) -> Result<Tensor> {
    one_value_of(Kind::Float, value, device)
}

/// Like [`one_value`], with the dtype `kind`.
///
/// # Errors
/// If memory runs out.
pub fn one_value_of(kind: Kind, value: f64, device: Device) -> Result<Tensor> {
    let tensor = Tensor::f_ones([1], (kind, device))?;
    mul_scalar_(&tensor, value)?;
    Ok(tensor)
}

/// 0 to `num` - 1 as int64, made on the device: a copy from the host would make the host wait.
///
/// # Errors
/// If memory runs out.
pub fn indices(num: i64, device: Device) -> Result<Tensor> {
    let ones = Tensor::f_ones([num], (Kind::Int64, device))?;
    Ok(ones.f_cumsum(0, Kind::Int64)?.f_sub(&ones)?)
}

fn scalar_op(tensor: &Tensor, op: i32, value: f64) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    // SAFETY: a live tensor borrowed for the call; `out` is valid for writes.
    check(unsafe { ffi::snug_scalar_op(raw(tensor), op, value, &raw mut out) })?;
    // SAFETY: the shim made a new tensor, whose owner is now the caller.
    Ok(unsafe { Tensor::from_ptr(out) })
}

fn scalar_op_(tensor: &Tensor, op: i32, value: f64) -> Result<()> {
    // SAFETY: a live tensor borrowed for the call; null asks for the in-place form.
    check(unsafe { ffi::snug_scalar_op(raw(tensor), op, value, std::ptr::null_mut()) })
}

/// The memory format of a 4-D tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemoryFormat {
    /// `[N, C, H, W]` in memory.
    Contiguous,
    /// `[N, H, W, C]` in memory, seen as `[N, C, H, W]`.
    ChannelsLast,
}

impl MemoryFormat {
    const fn code(self) -> i32 {
        match self {
            Self::Contiguous => 0,
            Self::ChannelsLast => 1,
        }
    }
}

/// Whether `tensor` is dense in `format`. The strides of a tensor with one channel, or
/// 1x1 in space, fit both formats.
#[doc(alias = "is_contiguous")]
pub fn is_contiguous_in(tensor: &Tensor, format: MemoryFormat) -> bool {
    // SAFETY: a live tensor borrowed for the call.
    unsafe { ffi::snug_is_contiguous_in(raw(tensor), format.code()) != 0 }
}

/// `tensor.pin_memory()`: a copy in host memory from which a GPU reads while the host goes on.
///
/// # Errors
/// Without CUDA, or if the system pins no more memory.
#[doc(alias = "pin_memory")]
pub fn pinned(tensor: &Tensor) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    // SAFETY: a live tensor borrowed for the call; `out` is valid for writes.
    check(unsafe { ffi::snug_pinned(raw(tensor), &raw mut out) })?;
    // SAFETY: the shim made a new tensor, whose owner is now the caller.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// `tensor.contiguous(memory_format=format)`: shares the storage if `tensor` already has
/// this format.
///
/// # Errors
/// If channels-last is asked of a tensor that is not 4-D, or memory runs out.
pub fn contiguous_in(tensor: &Tensor, format: MemoryFormat) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    // SAFETY: a live tensor borrowed for the call; `out` is valid for writes.
    check(unsafe { ffi::snug_to_memory_format(raw(tensor), format.code(), &raw mut out) })?;
    // SAFETY: the shim made a new tensor, whose owner is now the caller.
    Ok(unsafe { Tensor::from_ptr(out) })
}
