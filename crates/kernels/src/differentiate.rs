//! The backward of batch norm and ReLU.

use crate::element::{Affine, Element, normalised, passed};
use crate::tiles::{self, Tile, load, store};

/// Sums of a gradient over all rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Of the gradient: the gradient of batch norm's bias.
    pub gradient: f64,
    /// Of its product with `x - mean`: over the deviation, the gradient of batch norm's weight.
    pub product: f64,
}

impl Sums {
    /// Merges blocks, in fp64. `blocks` has for each block the sums of the gradient and then those of the product that
    /// [`sums`](crate::sums) computed.
    pub fn merge(channels: usize, blocks: &[f32]) -> Vec<Self> {
        let mut merged = vec![Self::default(); channels];
        for block in blocks.chunks_exact(2 * channels.max(1)) {
            let (gradients, products) = block.split_at(channels);
            let block = gradients.iter().zip(products);
            for (merged, (gradient, product)) in merged.iter_mut().zip(block) {
                merged.gradient += f64::from(*gradient);
                merged.product += f64::from(*product);
            }
        }
        merged
    }
}

/// What the gradient of batch norm's input is computed from, per channel.
#[derive(Clone, Copy, Debug)]
pub struct Gradient<'a> {
    /// Mean of `x`.
    pub mean: &'a [f32],
    /// Mean of the gradient that ReLU passed.
    pub gradient: &'a [f32],
    /// Mean of its product with `x - mean`, over the variance with `eps`.
    pub slope: &'a [f32],
    /// `weight / sqrt(variance + eps)`.
    pub scale: &'a [f32],
}

struct Block<'a, T> {
    dy: &'a [T],
    x: &'a [T],
    mask: Option<Affine<'a>>,
    mean: &'a [f32],
    sums: &'a mut [f32],
    products: &'a mut [f32],
}

impl<T: Element> Tile for Block<'_, T> {
    #[inline(always)]
    fn run<const L: usize>(&mut self, from: usize) {
        let channels = self.mean.len();
        let mean = load::<f32, L>(self.mean, from);
        let (mut sums, mut products) = ([0.0_f32; L], [0.0_f32; L]);
        let mut add = |dy: [f32; L], x: [f32; L]| {
            for i in 0..L {
                sums[i] += dy[i];
                products[i] = dy[i].mul_add(x[i] - mean[i], products[i]);
            }
        };
        let rows = self
            .dy
            .chunks_exact(channels)
            .zip(self.x.chunks_exact(channels));
        if let Some(mask) = self.mask {
            let (scale, shift) = (
                load::<f32, L>(mask.scale, from),
                load::<f32, L>(mask.shift, from),
            );
            for (dy, x) in rows {
                let (mut dy, x) = (load::<T, L>(dy, from), load::<T, L>(x, from));
                for i in 0..L {
                    dy[i] = passed(dy[i], normalised::<T>(x[i], scale[i], shift[i]));
                }
                add(dy, x);
            }
        } else {
            for (dy, x) in rows {
                add(load::<T, L>(dy, from), load::<T, L>(x, from));
            }
        }
        store(self.sums, from, sums);
        store(self.products, from, products);
    }
}

#[inline(always)]
pub(crate) fn sums<T: Element>(
    dy: &[T],
    x: &[T],
    mask: Option<Affine<'_>>,
    mean: &[f32],
    sums: &mut [f32],
    products: &mut [f32],
) {
    let mut block = Block {
        dy,
        x,
        mask,
        mean,
        sums,
        products,
    };
    tiles::for_each(mean.len(), &mut block);
}

#[inline(always)]
pub(crate) fn differentiate<T: Element>(
    dy: &mut [T],
    x: &[T],
    mask: Option<Affine<'_>>,
    gradient: Gradient<'_>,
) {
    let channels = gradient.mean.len();
    if channels == 0 {
        return;
    }
    let rows = dy.chunks_exact_mut(channels).zip(x.chunks_exact(channels));
    if let Some(mask) = mask {
        for (dy, x) in rows {
            let coefficients = gradient.iter().zip(mask.iter());
            for ((dy, x), (of, (scale, shift))) in dy.iter_mut().zip(x).zip(coefficients) {
                let x = x.widen();
                let dz = passed(dy.widen(), normalised::<T>(x, scale, shift));
                *dy = T::narrow(of.input(dz, x));
            }
        }
    } else {
        for (dy, x) in rows {
            for ((dy, x), of) in dy.iter_mut().zip(x).zip(gradient.iter()) {
                *dy = T::narrow(of.input(dy.widen(), x.widen()));
            }
        }
    }
}

/// A channel of a [`Gradient`].
struct Channel {
    mean: f32,
    gradient: f32,
    slope: f32,
    scale: f32,
}

impl Gradient<'_> {
    #[inline(always)]
    fn iter(&self) -> impl Iterator<Item = Channel> {
        let means = self.mean.iter().zip(self.gradient);
        let slopes = self.slope.iter().zip(self.scale);
        means
            .zip(slopes)
            .map(|((mean, gradient), (slope, scale))| Channel {
                mean: *mean,
                gradient: *gradient,
                slope: *slope,
                scale: *scale,
            })
    }
}

impl Channel {
    #[inline(always)]
    fn input(&self, dz: f32, x: f32) -> f32 {
        (self.mean - x).mul_add(self.slope, dz - self.gradient) * self.scale
    }
}
