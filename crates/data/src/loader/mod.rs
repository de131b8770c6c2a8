//! Batches in a fixed order, which worker threads make ahead of the step.

mod batch;
mod epoch;
mod loading;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::thread;

use rand::seq::SliceRandom as _;

pub use batch::Batch;
pub use epoch::EpochIter;
pub(crate) use epoch::panicked;
pub use loading::Loading;
pub(crate) use loading::reading;

use super::random::{RandomUse, stream};
use super::{DataError, Source};
use batch::Pool;

/// How a [`Loader`] makes batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoaderConfig {
    /// Samples per batch, at least 1.
    pub batch: usize,
    /// Worker threads; 0 means [`default_workers`].
    pub workers: usize,
    /// Number of finished batches that may wait for the step, in addition to the one that
    /// each worker is making. Memory is `prefetch + workers` batches.
    pub prefetch: usize,
    /// Whether to shuffle the samples in each epoch; otherwise the source's order is used.
    pub shuffle: bool,
    /// Seed of the order and of the augmentation.
    pub seed: u64,
    /// Whether to vary each sample at random, see [`augment`](super::augment).
    pub augment: bool,
    /// Whether to leave out the last batch of an epoch if it is not full.
    pub drop_last: bool,
}

impl Default for LoaderConfig {
    /// The configuration for validation: every sample once, in order, without variation.
    fn default() -> Self {
        Self {
            batch: 1,
            workers: 0,
            prefetch: 2,
            shuffle: false,
            seed: 42,
            augment: false,
            drop_last: false,
        }
    }
}

/// The default number of worker threads: one less than the number of cores, so that the step
/// keeps one, and between 1 and 8.
pub fn default_workers() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    cores.saturating_sub(1).clamp(1, 8)
}

/// The indices of `len` samples in the order of `epoch`: a permutation that
/// depends on (`seed`, `epoch`, `len`) only, or 0 to `len - 1` without `shuffle`.
pub fn sample_order(seed: u64, epoch: u64, len: usize, shuffle: bool) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    if shuffle {
        order.shuffle(&mut stream(RandomUse::Order, seed, epoch, 0));
    }
    order
}

/// Makes the batches of each epoch from a [`Source`].
pub struct Loader {
    source: Arc<dyn Source>,
    config: LoaderConfig,
    pool: Pool,
}

impl Loader {
    /// Makes a loader of `source`. Threads start with each epoch, not here.
    ///
    /// # Errors
    /// [`DataError::EmptyBatch`] if `config.batch` is 0.
    pub fn new(source: Arc<dyn Source>, config: LoaderConfig) -> Result<Self, DataError> {
        if config.batch == 0 {
            return Err(DataError::EmptyBatch);
        }
        let workers = if config.workers == 0 {
            default_workers()
        } else {
            config.workers
        };
        let config = LoaderConfig { workers, ..config };
        // The step holds one more batch, and the one before it has just come back.
        let pool = Pool::new(config.prefetch + workers + 2);
        Ok(Self {
            source,
            config,
            pool,
        })
    }

    /// The source of the samples.
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// The configuration, with the actual number of workers.
    pub fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// Number of batches in an epoch.
    pub fn num_batches(&self) -> usize {
        let (samples, batch) = (self.source.len(), self.config.batch);
        if self.config.drop_last {
            samples / batch
        } else {
            samples.div_ceil(batch)
        }
    }

    /// Number of samples in an epoch.
    pub fn num_samples(&self) -> usize {
        let samples = self.source.len();
        samples.min(self.num_batches() * self.config.batch)
    }

    /// The batches of `epoch`, which do not depend on the number of workers.
    pub fn epoch(&self, epoch: u64) -> EpochIter {
        self.epoch_from(epoch, 0)
    }

    /// The batches of `epoch` from the one at `first` on, for a run that stopped inside an
    /// epoch. Earlier batches are not loaded.
    pub fn epoch_from(&self, epoch: u64, first: usize) -> EpochIter {
        self.epoch_of(epoch, first..self.num_batches())
    }

    /// These batches of `epoch`, by their numbers: the part of one of several processes. Others are not loaded.
    pub fn epoch_of(&self, epoch: u64, numbers: impl IntoIterator<Item = usize>) -> EpochIter {
        let order = sample_order(
            self.config.seed,
            epoch,
            self.source.len(),
            self.config.shuffle,
        );
        let all: Vec<&[usize]> = order
            .chunks(self.config.batch)
            .take(self.num_batches())
            .collect();
        let numbers = numbers.into_iter();
        let batches = numbers.filter_map(|number| all.get(number).map(|it| it.to_vec()));
        let plan = epoch::EpochPlan {
            batches: batches.collect(),
            seed: self.config.seed,
            epoch,
            augment: self.config.augment,
            pool: self.pool.clone(),
        };
        EpochIter::start(
            Arc::clone(&self.source),
            plan,
            self.config.workers,
            self.config.prefetch,
        )
    }
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("samples", &self.source.len())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
