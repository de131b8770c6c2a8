//! Reads a whole source once before a run, so that a bad file stops the run at the start and
//! not hours later. This also fills the source's cache.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::loader::panicked;
use super::parallel::{Merge, gather};
use super::{DataError, Source};

/// A summary of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Number of samples.
    pub samples: usize,
    /// Pixels of each class at the training size, by class; at least two entries.
    pub class_pixels: Vec<u64>,
    /// Number of samples whose mask is all background.
    pub empty_masks: usize,
    /// Lowest original height and lowest original width.
    pub min_size: (usize, usize),
    /// Highest original height and highest original width.
    pub max_size: (usize, usize),
}

impl Verified {
    /// Share of pixels that are not background, 0 to 1.
    pub fn foreground(&self) -> f64 {
        let all: u64 = self.class_pixels.iter().sum();
        let background = self.class_pixels.first().copied().unwrap_or(0);
        if all == 0 {
            0.0
        } else {
            (all - background) as f64 / all as f64
        }
    }

    fn add(&mut self, mask: &[u8], size: Option<(usize, usize)>) {
        let mut counts = [0_u64; 256];
        for &class in mask {
            counts[usize::from(class)] += 1;
        }
        let classes = counts
            .iter()
            .rposition(|&count| count > 0)
            .map_or(0, |last| last + 1);
        self.samples += 1;
        self.empty_masks += usize::from(classes <= 1);
        self.merge_pixels(&counts[..classes.max(2)]);
        if let Some((height, width)) = size {
            self.merge_sizes((height, width), (height, width));
        }
    }

    fn merge_pixels(&mut self, counts: &[u64]) {
        if self.class_pixels.len() < counts.len() {
            self.class_pixels.resize(counts.len(), 0);
        }
        for (sum, count) in self.class_pixels.iter_mut().zip(counts) {
            *sum += count;
        }
    }

    fn merge_sizes(&mut self, min: (usize, usize), max: (usize, usize)) {
        if max == (0, 0) {
            return;
        }
        if self.max_size == (0, 0) {
            (self.min_size, self.max_size) = (min, max);
        }
        self.min_size = (self.min_size.0.min(min.0), self.min_size.1.min(min.1));
        self.max_size = (self.max_size.0.max(max.0), self.max_size.1.max(max.1));
    }
}

impl Merge for Verified {
    fn merge(&mut self, other: Self) {
        self.samples += other.samples;
        self.empty_masks += other.empty_masks;
        self.merge_pixels(&other.class_pixels);
        self.merge_sizes(other.min_size, other.max_size);
    }
}

/// Loads every sample of `source` once on `workers` threads (0: [`default_workers`]) and
/// returns a summary. `progress` is called with (done, all) after each sample, from any of
/// the threads.
///
/// [`default_workers`]: super::default_workers
///
/// # Errors
/// The error of a single bad sample, or [`DataError::Several`]; a panic in the source becomes
/// [`DataError::WorkerPanicked`].
pub fn verify(
    source: &dyn Source,
    workers: usize,
    progress: impl Fn(usize, usize) + Sync,
) -> Result<Verified, DataError> {
    let look = |summary: &mut Verified, index| {
        match catch_unwind(AssertUnwindSafe(|| source.load(index))) {
            Ok(sample) => summary.add(&sample?.mask, source.original_size(index)),
            Err(panic) => return Err(panicked(source.name(index), panic.as_ref())),
        }
        Ok(())
    };
    let mut summary = gather(source.len(), workers, progress, look)?;
    summary.merge_pixels(&[0; 2]);
    Ok(summary)
}
