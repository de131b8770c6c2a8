//! Batch norm over the micro-batches that ranks compute at the same time.
//!
//! It puts operations between ranks into forward and backward. All ranks begin equally many in each attempt at a step: one
//! without images, or one that fails, takes part with nothing (ADR 21).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ranks::Shard;
use tch::{Device, Kind, Tensor};
use torch_ext::Result;
use torch_ext::norm::{Together, nothing};

use super::transport::Transport;

/// What ranks have gathered in this attempt at a step.
#[derive(Debug)]
pub(super) struct Norms {
    transport: Transport,
    shard: Shard,
    progress: Mutex<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// Operations of this attempt so far.
    done: usize,
    /// Images in the micro-batches that all ranks compute at present.
    images: usize,
}

impl Norms {
    /// Among all ranks, of which this is one. All ranks call this.
    pub(super) fn new(transport: Transport, shard: Shard, device: Device) -> Result<Arc<Self>> {
        let norms = Self {
            transport,
            shard,
            progress: Mutex::default(),
        };
        // NCCL connects in the first operation, and takes memory for that.
        drop(norms.gather(&Tensor::f_zeros([1], (Kind::Float, device))?)?);
        norms.begin();
        Ok(Arc::new(norms))
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts anew, at the beginning of an attempt and after its exchange: a rank that leaves between steps has gathered
    /// nothing.
    pub(super) fn begin(&self) {
        self.progress().done = 0;
    }

    /// Sets how many images all ranks together have in the micro-batches that come next.
    pub(super) fn expect(&self, images: usize) {
        self.progress().images = images;
    }

    /// Takes part in what is left of `micro_batches`, with nothing. `weights` are those of all batch norms, in their order.
    pub(super) fn complete(&self, micro_batches: usize, weights: &[Tensor]) -> Result<()> {
        let num = weights.len();
        loop {
            let done = self.progress().done;
            if done >= 2 * num * micro_batches {
                return Ok(());
            }
            let (nth, is_backward) = match done % (2 * num) {
                forward if forward < num => (forward, false),
                // The last comes first.
                backward => (2 * num - 1 - backward, true),
            };
            drop(self.gather(&nothing(&weights[nth], is_backward)?)?);
        }
    }
}

impl Together for Norms {
    fn gather(&self, numbers: &Tensor) -> Result<Tensor> {
        let len = i64::try_from(numbers.numel()).unwrap_or(i64::MAX);
        let [rank, size] =
            [self.shard.rank(), self.shard.size()].map(|it| i64::try_from(it).unwrap_or(i64::MAX));
        // A sum with zeros: a gather of Gloo allocates while others wait. Nothing here does once it has begun.
        let mut all = Tensor::f_zeros([size * len], (numbers.kind(), numbers.device()))?;
        all.f_narrow(0, rank * len, len)?.f_copy_(numbers)?;
        self.transport.sum(&mut all)?.wait()?;
        self.progress().done += 1;
        Ok(all)
    }

    fn num_images(&self) -> usize {
        self.progress().images
    }
}
