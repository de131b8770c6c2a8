//! [`Fused`](super::Fused) on the CPU: in fp32 or bf16. Coefficients are in the host's memory.

use std::borrow::Cow;
use std::slice;
use std::sync::Arc;

use kernels::{Affine, Gradient, Grid, Moments, Sums, bf16, block_rows};
use tch::{Device, Kind, Tensor};

use super::fused::{Input, Source};
use super::{BatchNorm, NormGradients, Together};
use crate::ops::{MemoryFormat, contiguous_in};
use crate::rows::{Rows, by_kind, part};
use crate::{Error, Result, parallel};

#[derive(Clone, Debug)]
pub(super) struct Host {
    mean: Vec<f32>,
    inverse_deviation: Vec<f32>,
    scale: Vec<f32>,
    shift: Vec<f32>,
    /// Those who have the rest of the batch, and how many rows all have.
    together: Option<(Arc<dyn Together>, f64)>,
}

impl Host {
    /// `None` if the kernels do not take such a tensor.
    pub(super) fn of(norm: &BatchNorm, input: Input<'_>, source: Source) -> Result<Option<Self>> {
        let Some((x, parameters)) = Self::operands(norm, input) else {
            return Ok(None);
        };
        let Source::Batch { update } = source else {
            let running = parameters.running_mean.iter().zip(parameters.running_var);
            let statistics = running.map(|(mean, var)| (f64::from(*mean), f64::from(*var)));
            return Ok(Some(parameters.fuse(norm.eps, statistics)));
        };
        let per_block = x.per_block();
        let blocks = by_kind!(x.kind, T => {
            // SAFETY: `T` is its type, and it is only read.
            let values = unsafe { x.values::<T>() };
            by_block(&x, |i, mean, deviation| {
                kernels::moments(part(values, i, per_block), mean, deviation);
            })
        });
        let mut moments = Moments::merge(x.num, x.channels, &blocks);
        if let Some(together) = &norm.together {
            let numbers = gathered(together, moments.iter().flat_map(|it| it.numbers()))?;
            let (numbers, _) = numbers.as_chunks::<3>();
            let of_all = |channel| numbers.iter().skip(channel).step_by(x.channels).copied();
            moments = (0..x.channels)
                .map(|it| Moments::of_all(of_all(it)))
                .collect();
        }
        if update {
            advance(norm, &moments);
        }
        let statistics = moments.iter().map(|it| (it.mean(), it.variance()));
        let rows = moments.first().map_or(0.0, |it| it.numbers()[0]);
        let together = norm.together.clone().map(|it| (it, rows));
        Ok(Some(Self {
            together,
            ..parameters.fuse(norm.eps, statistics)
        }))
    }

    /// Whether the kernels take such a tensor.
    pub(super) fn takes(norm: &BatchNorm, input: Input<'_>) -> bool {
        Self::operands(norm, input).is_some()
    }

    fn operands<'a>(norm: &'a BatchNorm, input: Input<'a>) -> Option<(Rows<'a>, Parameters<'a>)> {
        // oneDNN adds the bias at no cost.
        let tensor = input.bias.is_none().then_some(input.tensor)?;
        let x = Rows::dense(tensor).filter(Rows::are_for_cpu)?;
        Some((x, Parameters::of(norm, x.channels)?))
    }

    pub(super) fn identity(channels: usize) -> Self {
        Self {
            mean: vec![0.0; channels],
            inverse_deviation: vec![1.0; channels],
            scale: vec![1.0; channels],
            shift: vec![0.0; channels],
            together: None,
        }
    }

    pub(super) fn channels(&self) -> usize {
        self.scale.len()
    }

    pub(super) fn activate(&self, input: &Tensor, into: &Tensor) -> Result<()> {
        let x = self.rows(input)?;
        let in_place = |y: &Rows<'_>| y.start == x.start;
        let y = Rows::of(into)
            .filter(|y| y.has_shape_of(&x))
            .filter(|y| y.is_apart_from(&x) || (in_place(y) && y.stride == x.stride))
            .ok_or_else(|| unfit(into))?;
        let (affine, stride) = (self.affine(), y.stride);
        let (per_block, per_block_out) = (x.per_block(), block_rows(x.channels) * stride);
        by_kind!(x.kind, T => {
            // SAFETY: `T` is its type, and nothing else uses it now.
            let out = unsafe { y.values_mut::<T>() };
            if in_place(&y) {
                parallel::chunks(out, per_block_out, |_, out| {
                    kernels::activate_in_place(out, affine);
                });
            } else {
                // SAFETY: `T` is its type, and it is only read.
                let values = unsafe { x.values::<T>() };
                parallel::chunks(out, per_block_out, |i, out| {
                    kernels::activate(part(values, i, per_block), affine, out, stride);
                });
            }
        });
        Ok(())
    }

    pub(super) fn activate_pooled(&self, input: &Tensor, into: &Tensor) -> Result<()> {
        let x = self.rows(input)?;
        let y = x.pooled(into).ok_or_else(|| unfit(into))?;
        let (affine, grid, two_lines) = (self.affine(), Grid { width: x.width }, 2 * x.per_line());
        by_kind!(x.kind, T => {
            // SAFETY: `T` is its type, and it is only read.
            let values = unsafe { x.values::<T>() };
            // SAFETY: `T` is its type, and nothing else uses it now.
            let out = unsafe { y.values_mut::<T>() };
            parallel::chunks(out, y.per_line(), |i, out| {
                kernels::activate_pooled(part(values, i, two_lines), affine, grid, out);
            });
        });
        Ok(())
    }

    pub(super) fn unpool(&self, grad: &Tensor, input: &Tensor, pooled: &Tensor) -> Result<()> {
        let x = self.rows(input)?;
        let dy = x.gradient(grad).ok_or_else(|| unfit(grad))?;
        let of_pooled = x
            .pooled(pooled)
            .filter(|it| it.is_apart_from(&dy))
            .ok_or_else(|| unfit(pooled))?;
        let (affine, grid) = (self.affine(), Grid { width: x.width });
        let (two_lines, line) = (2 * x.per_line(), of_pooled.per_line());
        by_kind!(x.kind, T => {
            // SAFETY: `T` is its type, and it is only read.
            let values = unsafe { x.values::<T>() };
            // SAFETY: as above.
            let pooled = unsafe { of_pooled.values::<T>() };
            // SAFETY: `T` is its type, and nothing else uses it now.
            let dy = unsafe { dy.values_mut::<T>() };
            parallel::chunks(dy, two_lines, |i, dy| {
                let x = part(values, i, two_lines);
                kernels::unpool(dy, x, affine, grid, part(pooled, i, line));
            });
        });
        Ok(())
    }

    pub(super) fn backward(
        &self,
        grad: Tensor,
        input: &Tensor,
        masked: bool,
    ) -> Result<NormGradients> {
        let x = self.rows(input)?;
        let grad = match x.gradient(&grad) {
            Some(_) => grad,
            None => contiguous_in(&grad, MemoryFormat::ChannelsLast)?,
        };
        let dy = x.gradient(&grad).ok_or_else(|| unfit(&grad))?;
        let mask = (!masked).then_some(self.affine());
        let per_block = x.per_block();
        let (weight, bias) = by_kind!(x.kind, T => {
            // SAFETY: `T` is its type, and it is only read.
            let values = unsafe { x.values::<T>() };
            // SAFETY: `T` is its type, and nothing else uses it now.
            let dy = unsafe { dy.values_mut::<T>() };
            let blocks = by_block(&x, |i, gradients, products| {
                let (dy, x) = (part(dy, i, per_block), part(values, i, per_block));
                kernels::sums(dy, x, mask, &self.mean, gradients, products);
            });
            let sums = Sums::merge(x.channels, &blocks);
            let (all, count) = self.of_all(&sums, x.num)?;
            let inverse = || self.inverse_deviation.iter().copied().map(f64::from);
            let slope = all.iter().map(|it| it.product).zip(inverse());
            let slope = slope.map(|(product, inverse)| product / count * inverse * inverse);
            let gradient = Gradient {
                mean: &self.mean,
                gradient: &narrowed(all.iter().map(|it| it.gradient / count)),
                slope: &narrowed(slope),
                scale: &self.scale,
            };
            parallel::chunks(dy, per_block, |i, dy| {
                kernels::differentiate(dy, part(values, i, per_block), mask, gradient);
            });
            let products = sums.iter().map(|it| it.product).zip(inverse());
            let weight = products.map(|(product, inverse)| product * inverse);
            (narrowed(weight), narrowed(sums.iter().map(|it| it.gradient)))
        });
        Ok(NormGradients {
            weight: Tensor::f_from_slice(&weight)?,
            bias: Tensor::f_from_slice(&bias)?,
            input: grad,
        })
    }

    /// Sums over the whole batch, and the number of its rows.
    fn of_all<'a>(&self, sums: &'a [Sums], rows: usize) -> Result<(Cow<'a, [Sums]>, f64)> {
        let Some((together, rows)) = &self.together else {
            return Ok((Cow::Borrowed(sums), rows as f64));
        };
        let numbers = gathered(
            together,
            sums.iter().flat_map(|it| [it.gradient, it.product]),
        )?;
        let mut all = vec![Sums::default(); sums.len()];
        for of_process in numbers.chunks_exact(2 * sums.len().max(1)) {
            for (all, [gradient, product]) in all.iter_mut().zip(of_process.as_chunks().0) {
                all.gradient += gradient;
                all.product += product;
            }
        }
        Ok((Cow::Owned(all), *rows))
    }

    fn affine(&self) -> Affine<'_> {
        Affine {
            scale: &self.scale,
            shift: &self.shift,
        }
    }

    fn rows<'a>(&self, tensor: &'a Tensor) -> Result<Rows<'a>> {
        let fits = |rows: &Rows<'_>| rows.are_for_cpu() && rows.channels == self.scale.len();
        let rows = Rows::dense(tensor).filter(fits);
        rows.ok_or_else(|| unfit(tensor))
    }
}

/// Two sums per channel for each block of rows, which `body` computes for the block of a number: of each block first
/// one sum of all channels, then the other.
fn by_block(rows: &Rows<'_>, body: impl Fn(usize, &mut [f32], &mut [f32]) + Sync) -> Vec<f32> {
    let channels = rows.channels;
    let blocks = rows.num.div_ceil(block_rows(channels));
    let mut sums = vec![0.0; 2 * blocks * channels];
    parallel::chunks(&mut sums, 2 * channels, |block, sums| {
        let (first, second) = sums.split_at_mut(channels);
        body(block, first, second);
    });
    sums
}

/// The values of a batch norm.
struct Parameters<'a> {
    weight: &'a [f32],
    bias: &'a [f32],
    running_mean: &'a [f32],
    running_var: &'a [f32],
}

impl<'a> Parameters<'a> {
    fn of(norm: &'a BatchNorm, channels: usize) -> Option<Self> {
        let all = [
            &norm.weight,
            &norm.bias,
            &norm.running_mean,
            &norm.running_var,
        ];
        let fits = |it: &&Tensor| {
            let is_dense = it.stride() == [1];
            let is_fp32 = it.device() == Device::Cpu && it.kind() == Kind::Float;
            is_fp32 && is_dense && it.numel() == channels
        };
        // A tensor of one channel is channels-first as well, and may be half of one that is.
        if channels == 1 || !all.iter().all(fits) {
            return None;
        }
        let [weight, bias, running_mean, running_var] = all.map(|it| {
            // SAFETY: `norm` keeps this dense fp32 tensor of `channels` numbers, and nothing writes to it while it is read.
            unsafe { slice::from_raw_parts(it.data_ptr().cast::<f32>(), channels) }
        });
        Some(Self {
            weight,
            bias,
            running_mean,
            running_var,
        })
    }

    /// Of statistics, mean and variance per channel.
    fn fuse(&self, eps: f64, statistics: impl Iterator<Item = (f64, f64)>) -> Host {
        let inverse = |var: f64| 1.0 / (var + eps).sqrt();
        let (means, inverses): (Vec<_>, Vec<_>) =
            statistics.map(|(mean, var)| (mean, inverse(var))).unzip();
        let weights = self.weight.iter().copied().map(f64::from);
        let scales: Vec<_> = inverses
            .iter()
            .zip(weights)
            .map(|(it, weight)| it * weight)
            .collect();
        let shifts = self.bias.iter().zip(means.iter().zip(&scales));
        Host {
            shift: narrowed(shifts.map(|(bias, (mean, scale))| f64::from(*bias) - mean * scale)),
            together: None,
            mean: narrowed(means),
            inverse_deviation: narrowed(inverses),
            scale: narrowed(scales),
        }
    }
}

/// Numbers of all processes, in their order.
fn gathered(together: &Arc<dyn Together>, own: impl Iterator<Item = f64>) -> Result<Vec<f64>> {
    let own: Vec<f64> = own.collect();
    Ok(together.gather(&Tensor::f_from_slice(&own)?)?.try_into()?)
}

/// Moves the running statistics, which [`Parameters::of`] has checked, towards those of a batch.
fn advance(norm: &BatchNorm, moments: &[Moments]) {
    let advance = |running: &Tensor, value: &dyn Fn(&Moments) -> f64| {
        // SAFETY: `norm` keeps this dense fp32 tensor, one number per channel, and nothing else uses it now.
        let running =
            unsafe { slice::from_raw_parts_mut(running.data_ptr().cast::<f32>(), moments.len()) };
        for (running, moments) in running.iter_mut().zip(moments) {
            let before = (1.0 - norm.momentum) * f64::from(*running);
            *running = narrow(before + norm.momentum * value(moments));
        }
    };
    advance(&norm.running_mean, &|it| it.mean());
    advance(&norm.running_var, &|it| it.unbiased_variance());
}

#[expect(clippy::cast_possible_truncation, reason = "rounded to the nearest")]
const fn narrow(value: f64) -> f32 {
    value as f32
}

fn narrowed(values: impl IntoIterator<Item = f64>) -> Vec<f32> {
    values.into_iter().map(narrow).collect()
}

pub(super) fn unfit(tensor: &Tensor) -> Error {
    Error::InvalidArgument(format!(
        "the kernels of batch norm do not take a tensor of {:?} with the shape {:?} and the strides {:?} here",
        tensor.kind(),
        tensor.size(),
        tensor.stride()
    ))
}
