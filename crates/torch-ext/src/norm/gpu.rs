//! [`Fused`](super::Fused) on a GPU: in fp32, fp16 or bf16. Coefficients are in a table on the device, so that the host
//! waits for nothing.

use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;

use kernels::cuda::{Elements, Kernel, Pass, Shape, TABLE_ROWS};
use tch::{Kind, Tensor};

use super::fused::{Input, Source};
use super::host::unfit;
use super::{BatchNorm, NormGradients, Together};
use crate::Result;
use crate::launch::launch;
use crate::ops::{MemoryFormat, contiguous_in};
use crate::rows::Rows;

/// The alignment of what a thread reads at once.
const ALIGNMENT: usize = 16;

#[derive(Debug)]
pub(super) struct Gpu {
    /// `[TABLE_ROWS, C]`; `None` for ReLU alone.
    table: Option<Tensor>,
    channels: usize,
    /// Those who have the rest of the batch, and how many rows all have.
    together: Option<(Arc<dyn Together>, u32)>,
}

impl Clone for Gpu {
    fn clone(&self) -> Self {
        Self {
            table: self.table.as_ref().map(Tensor::shallow_clone),
            channels: self.channels,
            together: self.together.clone(),
        }
    }
}

impl Gpu {
    /// Whether the kernels take such a tensor.
    pub(super) fn takes(norm: &BatchNorm, input: Input<'_>) -> bool {
        Self::operand(norm, input).is_some()
    }

    fn operand<'a>(norm: &BatchNorm, input: Input<'a>) -> Option<(Rows<'a>, Shape)> {
        let (x, shape) = rows_of(input.tensor)?;
        let all = [
            &norm.weight,
            &norm.bias,
            &norm.running_mean,
            &norm.running_var,
        ];
        let fit = all
            .into_iter()
            .chain(input.bias)
            .all(|it| is_of_channels(it, &x));
        fit.then_some((x, shape))
    }

    /// `None` if the kernels do not take such a tensor.
    pub(super) fn of(norm: &BatchNorm, input: Input<'_>, source: Source) -> Result<Option<Self>> {
        let Some((x, shape)) = Self::operand(norm, input) else {
            return Ok(None);
        };
        let mut pass = pass(&x);
        pass.input_bias = input
            .bias
            .map_or(ptr::null(), |it| numbers(it).cast_const());
        let mut together = None;
        // Held until the table is made.
        let _parts = match source {
            Source::Batch { update } => {
                let shared = norm.together.as_ref();
                let mut parts = sums(shape, Kernel::Moments, input.tensor)?;
                pass.parts = numbers(&parts);
                pass.num_parts = shape.parts();
                pass.update = update.into();
                // SAFETY: `x` is as `operand` has checked, and `parts` is as long as this kernel's sums.
                unsafe { launch(x.device, Kernel::Moments, shape, &pass) }?;
                if let Some(shared) = shared {
                    let images = usize::try_from(input.tensor.size()[0]).unwrap_or(1).max(1);
                    let rows = u32::try_from(x.num / images * shared.num_images());
                    pass.rows = rows.map_err(|_too_many| unfit(input.tensor))?;
                    together = Some((Arc::clone(shared), pass.rows));
                    parts = gathered(shared, &merged(&parts, x.channels)?, &mut pass)?;
                }
                Some(parts)
            }
            Source::Running => None,
        };
        let size = [i64::from(TABLE_ROWS), norm.weight.size1()?];
        let table = Tensor::f_empty(size, (Kind::Float, x.device))?;
        let pass = Pass {
            table: numbers(&table),
            weight: numbers(&norm.weight),
            bias: numbers(&norm.bias),
            running_mean: numbers(&norm.running_mean),
            running_variance: numbers(&norm.running_var),
            eps: norm.eps,
            momentum: norm.momentum,
            ..pass
        };
        // SAFETY: `operand` has checked the tensors of `norm` and the bias, and the table has a number for each channel.
        unsafe { launch(x.device, Kernel::Statistics, shape, &pass) }?;
        Ok(Some(Self {
            table: Some(table),
            channels: x.channels,
            together,
        }))
    }

    /// ReLU alone.
    pub(super) const fn identity(channels: usize) -> Self {
        Self {
            table: None,
            channels,
            together: None,
        }
    }

    pub(super) const fn channels(&self) -> usize {
        self.channels
    }

    fn table(&self) -> *mut f32 {
        self.table.as_ref().map_or(ptr::null_mut(), numbers)
    }

    pub(super) fn activate(&self, input: &Tensor, into: &Tensor) -> Result<()> {
        let (x, shape) = self.rows(input)?;
        let in_place = |y: &Rows<'_>| y.start == x.start && y.stride == x.stride;
        let y = Rows::of(into)
            .filter(|y| y.has_shape_of(&x) && is_aligned(y) && u32::try_from(y.stride).is_ok())
            .filter(|y| y.is_apart_from(&x) || in_place(y))
            .ok_or_else(|| unfit(into))?;
        let pass = Pass {
            y: y.start.cast(),
            stride: narrowed(y.stride),
            table: self.table(),
            ..pass(&x)
        };
        // SAFETY: `x` and `y` have been checked, and the table is this one's.
        unsafe { launch(x.device, Kernel::Activate, shape, &pass) }
    }

    pub(super) fn activate_pooled(&self, input: &Tensor, into: &Tensor) -> Result<()> {
        let (x, shape) = self.rows(input)?;
        let y = x
            .pooled(into)
            .filter(is_aligned)
            .ok_or_else(|| unfit(into))?;
        let pass = Pass {
            y: y.start.cast(),
            table: self.table(),
            ..pass(&x)
        };
        // SAFETY: as in `activate`.
        unsafe { launch(x.device, Kernel::ActivatePooled, shape, &pass) }
    }

    pub(super) fn unpool(&self, grad: &Tensor, input: &Tensor, pooled: &Tensor) -> Result<()> {
        let (x, shape) = self.rows(input)?;
        let dy = x
            .gradient(grad)
            .filter(is_aligned)
            .ok_or_else(|| unfit(grad))?;
        let of_pooled = x
            .pooled(pooled)
            .filter(|it| it.is_apart_from(&dy) && is_aligned(it))
            .ok_or_else(|| unfit(pooled))?;
        let pass = Pass {
            y: dy.start.cast(),
            pooled: of_pooled.start.cast(),
            table: self.table(),
            ..pass(&x)
        };
        // SAFETY: as in `activate`, and the gradient of pooling has been checked.
        unsafe { launch(x.device, Kernel::Unpool, shape, &pass) }
    }

    pub(super) fn backward(
        &self,
        grad: Tensor,
        input: &Tensor,
        masked: bool,
    ) -> Result<NormGradients> {
        let (x, shape) = self.rows(input)?;
        let grad = match x.gradient(&grad).filter(is_aligned) {
            Some(_) => grad,
            None => contiguous_in(&grad, MemoryFormat::ChannelsLast)?,
        };
        let dy = x
            .gradient(&grad)
            .filter(is_aligned)
            .ok_or_else(|| unfit(&grad))?;
        let table = self.table.as_ref().ok_or_else(|| unfit(input))?;
        let of_channels = || Tensor::f_empty([table.size()[1]], (Kind::Float, x.device));
        let (weight, bias) = (of_channels()?, of_channels()?);
        let mut parts = sums(shape, Kernel::Sums, input)?;
        let mut pass = Pass {
            y: dy.start.cast(),
            table: numbers(table),
            parts: numbers(&parts),
            num_parts: shape.parts(),
            weight_gradient: numbers(&weight),
            bias_gradient: numbers(&bias),
            is_masked: masked.into(),
            ..pass(&x)
        };
        // SAFETY: `x` and `dy` have been checked, the table is this one's, and the others were made for it.
        let run = |kernel, pass: &Pass| unsafe { launch(x.device, kernel, shape, pass) };
        run(Kernel::Sums, &pass)?;
        run(Kernel::Gradients, &pass)?;
        if let Some((shared, rows)) = &self.together {
            // The gradients above are those of this part; the table becomes that of the whole batch.
            let others = [of_channels()?, of_channels()?];
            let size = [-1, 2 * table.size()[1]];
            let own = parts
                .f_view(size)?
                .f_sum_dim_intlist(0, false, Kind::Float)?;
            parts = gathered(shared, &own, &mut pass)?;
            let whole = Pass {
                weight_gradient: numbers(&others[0]),
                bias_gradient: numbers(&others[1]),
                rows: *rows,
                ..pass
            };
            run(Kernel::Gradients, &whole)?;
        }
        run(Kernel::Differentiate, &pass)?;
        drop(parts);
        Ok(NormGradients {
            input: grad,
            weight,
            bias,
        })
    }

    fn rows<'a>(&self, tensor: &'a Tensor) -> Result<(Rows<'a>, Shape)> {
        let rows = rows_of(tensor).filter(|(rows, _)| rows.channels == self.channels);
        rows.ok_or_else(|| unfit(tensor))
    }
}

const fn elements(kind: Kind) -> Elements {
    match kind {
        Kind::Half => Elements::F16,
        Kind::BFloat16 => Elements::Bf16,
        _ => Elements::F32,
    }
}

/// Whether a thread can read its channels at once.
fn is_aligned(rows: &Rows<'_>) -> bool {
    let stride = rows.stride * rows.kind.elt_size_in_bytes();
    rows.start.addr().is_multiple_of(ALIGNMENT) && stride.is_multiple_of(ALIGNMENT)
}

/// The rows of a dense tensor that the kernels take.
fn rows_of(tensor: &Tensor) -> Option<(Rows<'_>, Shape)> {
    let rows = Rows::dense(tensor).filter(is_aligned)?;
    let shape = Shape::new(rows.num, rows.channels, elements(rows.kind))?;
    Some((rows, shape))
}

/// Whether a tensor has a number for each channel of `x`, such as the kernels take them.
fn is_of_channels(tensor: &Tensor, x: &Rows<'_>) -> bool {
    let is_fp32 = tensor.device() == x.device && tensor.kind() == Kind::Float;
    is_fp32 && tensor.stride() == [1] && tensor.numel() == x.channels
}

/// Memory for the sums of a kernel over the pixels of `x`.
fn sums(shape: Shape, kernel: Kernel, x: &Tensor) -> Result<Tensor> {
    let len = i64::try_from(shape.len_of_parts(kernel)).unwrap_or(i64::MAX);
    Ok(Tensor::f_empty([len], (Kind::Float, x.device()))?)
}

/// Merges the moments of parts to those of one: `[parts * 3 * C]` -> `[3 * C]`, each with count, mean and deviation.
fn merged(parts: &Tensor, channels: usize) -> Result<Tensor> {
    let channels = i64::try_from(channels).unwrap_or(i64::MAX);
    let parts = parts.f_to_kind(Kind::Double)?.f_view([-1, 3, channels])?;
    let [count, mean, deviation] = [0, 1, 2].map(|nth| parts.f_select(1, nth));
    let (count, mean) = (count?, mean?);
    let sum = |it: &Tensor| it.f_sum_dim_intlist(0, true, Kind::Double);
    let all = sum(&count)?;
    let centre = sum(&count.f_mul(&mean)?)?.f_div(&all)?;
    let between = mean.f_sub(&centre)?;
    let deviation = deviation?.f_add(&count.f_mul(&between)?.f_mul(&between)?)?;
    let one = Tensor::f_cat(&[all, centre, sum(&deviation)?], 0)?;
    Ok(one.f_view([-1])?.f_to_kind(Kind::Float)?)
}

/// The sums of all processes, of one part each, which `pass` reads from now on.
fn gathered(shared: &Arc<dyn Together>, own: &Tensor, pass: &mut Pass) -> Result<Tensor> {
    let all = shared.gather(own)?;
    pass.parts = numbers(&all);
    pass.num_parts = narrowed(all.numel() / own.numel().max(1));
    Ok(all)
}

fn numbers(tensor: &Tensor) -> *mut f32 {
    tensor.data_ptr().cast()
}

/// Of a number that fits, as has been checked.
fn narrowed(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A pass over dense rows.
fn pass(x: &Rows<'_>) -> Pass {
    let null = ptr::null_mut();
    Pass {
        x: x.start.cast::<c_void>().cast_const(),
        y: ptr::null_mut(),
        pooled: ptr::null(),
        table: null,
        parts: null,
        weight: null,
        bias: null,
        input_bias: null,
        running_mean: null,
        running_variance: null,
        weight_gradient: null,
        bias_gradient: null,
        eps: 0.0,
        momentum: 0.0,
        rows: narrowed(x.num),
        channels: narrowed(x.channels),
        stride: narrowed(x.channels),
        width: narrowed(x.width),
        num_parts: 0,
        update: 0,
        is_masked: 0,
    }
}
