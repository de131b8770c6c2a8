//! The steps of a run on a GPU, and what the caching allocator takes for them.

use config::{Precision, RunConfig};
use data::Batch;
use tch::Device;
use torch_ext::cudnn;

use engine::Result;
use engine::batch::{micro_batches, noise, num_images};
use engine::device::{self, Peak};
use engine::learner::Learner;
use engine::metrics::Counter;

/// A run's learner with batches in host memory, on a GPU whose cache is empty at first. cuDNN takes the
/// algorithms that its heuristics offer first, instead of trying them.
#[derive(Debug)]
pub struct GpuProbe {
    learner: Learner,
    batches: Vec<Batch>,
}

impl GpuProbe {
    /// Builds the model, the optimizer's state and batches of noise for `config`.
    ///
    /// # Errors
    /// If memory runs out, or the checkpoint policy is not chosen yet.
    pub fn new(config: &RunConfig, device: Device, precision: Precision) -> Result<Self> {
        device::empty_cache(device)?;
        device::reset_peak(device);
        let learner = Learner::new(config, device, precision)?;
        cudnn::set(cudnn::Choice {
            deterministic: false,
            benchmark: false,
        })?;
        let seeds = (0..config.accumulation).map(|nth| config.seed + u64::from(nth));
        Ok(Self {
            learner,
            batches: seeds.map(|seed| noise(config, seed)).collect(),
        })
    }

    /// The peak of `body` alone.
    fn peak_of(&mut self, body: impl FnOnce(&mut Self) -> Result<()>) -> Result<Peak> {
        let device = self.learner.device();
        device::reset_peak(device);
        body(self)?;
        device::synchronize(device);
        Ok(device::peak(device))
    }

    /// The peak of a training step.
    ///
    /// # Errors
    /// If memory runs out, or a recompute fails.
    pub fn step(&mut self) -> Result<Peak> {
        self.peak_of(|probe| {
            let micro_batches = micro_batches(&probe.batches, u32::MAX, num_images(&probe.batches));
            let _is_skipped = probe.learner.step(micro_batches, &mut ())?;
            Ok(())
        })
    }

    /// The peak of a training step on one image less, which can be the last of an epoch.
    ///
    /// # Errors
    /// The errors of [`Self::step`].
    pub fn smaller_step(&mut self) -> Result<Peak> {
        self.peak_of(|probe| {
            let least = probe
                .batches
                .first()
                .map_or(1, |batch| batch.len.max(2) - 1);
            let least = u32::try_from(least).unwrap_or(u32::MAX);
            // The first part of the first batch is that batch.
            let images = num_images(&probe.batches);
            let micro_batches = micro_batches(&probe.batches, least, images).take(1);
            let _is_skipped = probe.learner.step(micro_batches, &mut ())?;
            Ok(())
        })
    }

    /// The peak of a batch of validation.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn validate(&mut self) -> Result<Peak> {
        self.peak_of(|probe| {
            let mut counter = Counter::of(probe.learner.model.network());
            if let Some(batch) = probe.batches.first() {
                let evaluator = probe.learner.evaluator();
                evaluator.score(batch, 0..batch.len, &mut counter)?;
            }
            Ok(())
        })
    }

    /// Uses the checkpoint policy of `config` from now on, as a rung of the ladder does.
    ///
    /// # Errors
    /// If the checkpoint policy is not chosen yet.
    pub fn adopt(&mut self, config: &RunConfig, precision: Precision) -> Result<()> {
        self.learner.adopt(config, precision)
    }
}
