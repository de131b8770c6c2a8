//! One epoch in progress: its worker threads, and the iterator that the step reads.
//!
//! Batch numbers go to the workers through one channel. Batches come back through another
//! in any order, and the iterator sorts them. It hands out one number for each batch that
//! it takes, so that at most `prefetch + workers` batches are made ahead.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::iter::FusedIterator;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::batch::{Batch, Pool};
use super::loading::{Loading, LoadingSums};
use crate::augment::Augmentation;
use crate::{DataError, Source};

/// The content of an epoch.
pub(super) struct EpochPlan {
    /// Indices of the samples of each batch.
    pub(super) batches: Vec<Vec<usize>>,
    pub(super) seed: u64,
    pub(super) epoch: u64,
    /// Whether samples are varied.
    pub(super) augment: bool,
    pub(super) pool: Pool,
}

type Made = (usize, Result<Batch, DataError>);

struct WorkerShare {
    source: Arc<dyn Source>,
    plan: EpochPlan,
    stop: AtomicBool,
    loading: LoadingSums,
}

/// The batches of one epoch, in order. It ends after an error. Dropping it stops each worker
/// after its current sample, and waits for them.
pub struct EpochIter {
    shared: Arc<WorkerShare>,
    numbers: Option<Sender<usize>>,
    made: Receiver<Made>,
    waiting: BTreeMap<usize, Result<Batch, DataError>>,
    workers: Vec<JoinHandle<()>>,
    failed_start: Option<DataError>,
    next_to_send: usize,
    next: usize,
    wait_time: Duration,
}

impl EpochIter {
    pub(super) fn start(
        source: Arc<dyn Source>,
        plan: EpochPlan,
        workers: usize,
        prefetch: usize,
    ) -> Self {
        let (numbers, tasks) = unbounded();
        let (results, made) = unbounded();
        let num_batches = plan.batches.len();
        let shared = Arc::new(WorkerShare {
            source,
            plan,
            stop: AtomicBool::new(false),
            loading: LoadingSums::default(),
        });
        let mut epoch = Self {
            shared,
            numbers: Some(numbers),
            made,
            waiting: BTreeMap::new(),
            workers: Vec::new(),
            failed_start: None,
            next_to_send: 0,
            next: 0,
            wait_time: Duration::ZERO,
        };
        for worker in 0..workers.min(num_batches) {
            let shared = Arc::clone(&epoch.shared);
            let (tasks, results) = (tasks.clone(), results.clone());
            let thread = thread::Builder::new().name(format!("data-{worker}"));
            match thread.spawn(move || shared.work(&tasks, &results)) {
                Ok(handle) => epoch.workers.push(handle),
                // One worker is enough to continue.
                Err(error) => epoch.failed_start = Some(DataError::Spawn(error)),
            }
        }
        for _ in 0..prefetch + workers {
            epoch.send_next();
        }
        epoch
    }

    /// How long `next` has waited for data so far, which is time that the step lost.
    pub fn wait_time(&self) -> Duration {
        self.wait_time
    }

    /// What loading has taken so far, of all workers together.
    pub fn loading(&self) -> Loading {
        self.shared.loading.sum()
    }

    fn num_batches(&self) -> usize {
        self.shared.plan.batches.len()
    }

    fn send_next(&mut self) {
        if self.next_to_send < self.num_batches()
            && let Some(numbers) = &self.numbers
            && numbers.send(self.next_to_send).is_ok()
        {
            self.next_to_send += 1;
        }
    }

    /// Waits for batch `self.next`.
    fn take_next(&mut self) -> Result<Batch, DataError> {
        loop {
            if let Some(result) = self.waiting.remove(&self.next) {
                return result;
            }
            // The channel closes only when no worker is left, but all live while numbers may come.
            let Ok((number, result)) = self.made.recv() else {
                return Err(self.failed_start.take().unwrap_or_else(|| {
                    DataError::WorkerPanicked {
                        name: String::new(),
                        message: "no worker is left".to_owned(),
                    }
                }));
            };
            self.waiting.insert(number, result);
        }
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.numbers = None;
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its source, so joining it cannot fail.
            let _ended = worker.join();
        }
    }
}

impl Iterator for EpochIter {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.num_batches() {
            return None;
        }
        let start = Instant::now();
        let result = self.take_next();
        self.wait_time += start.elapsed();
        if result.is_ok() {
            self.next += 1;
            self.send_next();
        } else {
            self.next = self.num_batches();
            self.stop();
        }
        Some(result)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.num_batches() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for EpochIter {}
impl FusedIterator for EpochIter {}

impl Drop for EpochIter {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for EpochIter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochIter")
            .field("next", &self.next)
            .field("num_batches", &self.num_batches())
            .field("wait_time", &self.wait_time)
            .finish_non_exhaustive()
    }
}

impl WorkerShare {
    fn work(&self, tasks: &Receiver<usize>, results: &Sender<Made>) {
        while let Ok(number) = tasks.recv() {
            let Some(result) = self.make(number) else {
                return;
            };
            if results.send((number, result)).is_err() {
                return;
            }
        }
    }

    /// The batch at `number`, or nothing if the epoch was abandoned.
    fn make(&self, number: usize) -> Option<Result<Batch, DataError>> {
        let indices = &self.plan.batches[number];
        let (height, width) = self.source.size();
        let mut batch =
            self.plan
                .pool
                .batch(indices.len(), self.source.channels(), (height, width));
        for &index in indices {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            let added = catch_unwind(AssertUnwindSafe(|| self.add(&mut batch, index)));
            let error = match added {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                Err(panic) => panicked(self.source.name(index), panic.as_ref()),
            };
            return Some(Err(error));
        }
        Some(Ok(batch))
    }

    fn add(&self, batch: &mut Batch, index: usize) -> Result<(), DataError> {
        let begun = Instant::now();
        let EpochPlan { seed, epoch, .. } = self.plan;
        let mut sample = self.source.load_in_epoch(index, seed, epoch)?;
        if self.plan.augment {
            let (height, width) = (batch.height, batch.width);
            Augmentation::draw(seed, epoch, index, height, width).apply(&mut sample, height, width);
        }
        batch.push_of(self.source.image_of(index), &sample, index);
        self.loading.add_since(begun);
        Ok(())
    }
}

/// The error for a panic while loading the sample with this name.
pub(crate) fn panicked(name: String, panic: &(dyn Any + Send)) -> DataError {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let message = text
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    DataError::WorkerPanicked { name, message }
}
