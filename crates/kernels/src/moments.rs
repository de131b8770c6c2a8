//! Mean and variance, from blocks.

use crate::element::relu;
use crate::tiles::{self, Tile, load, store};
use crate::{Element, block_rows};

/// Mean and sum of squared deviations of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    rows: f64,
    mean: f64,
    deviation: f64,
}

impl Moments {
    /// Merges blocks of [`block_rows`] to `rows` rows. `blocks` has for each block the means and then the deviations
    /// that [`moments`](crate::moments) computed. In fp64, and so that nothing cancels, whatever the mean.
    pub fn merge(rows: usize, channels: usize, blocks: &[f32]) -> Vec<Self> {
        let per_block = block_rows(channels);
        let rows_of = |block: usize| per_block.min(rows.saturating_sub(block * per_block)) as f64;
        let blocks = || {
            let blocks = blocks.chunks_exact(2 * channels.max(1)).enumerate();
            blocks.map(|(block, of)| (rows_of(block), of.split_at(channels)))
        };
        let rows = rows as f64;
        let mut merged = vec![
            Self {
                rows,
                ..Self::default()
            };
            channels
        ];
        for (of_block, (means, _)) in blocks() {
            let share = of_block / rows;
            for (merged, mean) in merged.iter_mut().zip(means) {
                merged.mean += share * f64::from(*mean);
            }
        }
        for (of_block, (means, deviations)) in blocks() {
            for (merged, (mean, deviation)) in merged.iter_mut().zip(means.iter().zip(deviations)) {
                let between = f64::from(*mean) - merged.mean;
                merged.deviation += f64::from(*deviation) + of_block * between * between;
            }
        }
        merged
    }

    /// How many rows there are, their mean, and the sum of squared deviations.
    pub const fn numbers(self) -> [f64; 3] {
        [self.rows, self.mean, self.deviation]
    }

    /// Of all rows of several parts, given as [`Self::numbers`]; a part may have no rows.
    pub fn of_all(parts: impl Iterator<Item = [f64; 3]> + Clone) -> Self {
        let rows: f64 = parts.clone().map(|[rows, ..]| rows).sum();
        let parts = parts.filter(|[rows, ..]| *rows > 0.0);
        let mean = parts.clone().map(|[of, mean, _]| of / rows * mean).sum();
        let deviation = parts.map(|[of, of_part, deviation]| {
            let between: f64 = of_part - mean;
            deviation + of * between * between
        });
        Self {
            rows,
            mean,
            deviation: deviation.sum(),
        }
    }

    /// The mean.
    pub const fn mean(self) -> f64 {
        self.mean
    }

    /// The variance of these values themselves; not a number without any.
    pub fn variance(self) -> f64 {
        self.deviation / self.rows
    }

    /// The variance of what they were drawn from; not a number for a single value.
    pub fn unbiased_variance(self) -> f64 {
        self.deviation / (self.rows - 1.0)
    }
}

struct Block<'a, T> {
    x: &'a [T],
    channels: usize,
    mean: &'a mut [f32],
    deviation: &'a mut [f32],
}

impl<T: Element> Tile for Block<'_, T> {
    #[inline(always)]
    fn run<const L: usize>(&mut self, from: usize) {
        let rows = self.x.chunks_exact(self.channels);
        let count = rows.len() as f32;
        let mut sum = [0.0_f32; L];
        for row in rows.clone() {
            let x = load::<T, L>(row, from);
            for i in 0..L {
                sum[i] += x[i];
            }
        }
        let mut mean = sum.map(|it| it / count);
        // The deviations sum to 0 if the mean is exact.
        let (mut rest, mut deviation) = ([0.0_f32; L], [0.0_f32; L]);
        for row in rows {
            let x = load::<T, L>(row, from);
            for i in 0..L {
                let difference = x[i] - mean[i];
                rest[i] += difference;
                deviation[i] = difference.mul_add(difference, deviation[i]);
            }
        }
        for i in 0..L {
            let correction = rest[i] / count;
            mean[i] += correction;
            deviation[i] = (-rest[i]).mul_add(correction, deviation[i]);
            // Rounding must not make it negative, and what is not a number stays so.
            deviation[i] = relu(deviation[i]);
        }
        store(self.mean, from, mean);
        store(self.deviation, from, deviation);
    }
}

#[inline(always)]
pub(crate) fn moments<T: Element>(x: &[T], mean: &mut [f32], deviation: &mut [f32]) {
    let channels = mean.len();
    tiles::for_each(
        channels,
        &mut Block {
            x,
            channels,
            mean,
            deviation,
        },
    );
}
