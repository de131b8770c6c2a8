//! One batch of a validation outside of a run, by the code of the loop.

use config::RunConfig;
use estimator::{Purpose, Resident};
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tch::Device;

use super::Peak;
use crate::answering::Answering;
use crate::device;
use crate::error::Result;
use crate::evaluation::{Upload, score};
use crate::metrics::Counter;
use crate::model::UNet;
use crate::optimizer::AdamW;
use crate::precision::Precision;
use crate::run_data::size_of;
use data::{Batch, Sample};

/// What is measured: a model that answers.
#[derive(Debug)]
pub struct Evaluation {
    upload: Upload,
    precision: Precision,
    model: UNet,
    /// Held through a validation in `fit`, absent in `evaluate`.
    _optimizer: Option<AdamW>,
    batch: Batch,
    purpose: Purpose,
}

impl Evaluation {
    /// Model, what is `resident` with it, and a batch of noise for `config`.
    ///
    /// # Errors
    /// Where memory runs out.
    pub fn new(
        config: &RunConfig,
        device: Device,
        precision: Precision,
        purpose: Purpose,
        resident: Resident,
    ) -> Result<Self> {
        let channels_last = config.use_channels_last;
        let model = UNet::new(config.network(), device, config.seed, channels_last)?;
        let optimizer = || {
            let parameters = model.parameters().trainable();
            AdamW::new(parameters, config.lr, config.weight_decay)
        };
        Ok(Self {
            upload: Upload {
                device,
                channels_last,
            },
            precision,
            _optimizer: (resident == Resident::Training)
                .then(optimizer)
                .transpose()?,
            model,
            batch: noise(config),
            purpose,
        })
    }

    /// One batch, from bytes to scores or answers.
    ///
    /// # Errors
    /// Where memory runs out.
    pub fn step(&self) -> Result<()> {
        let (model, batch) = (&self.model, &self.batch);
        let (upload, precision) = (self.upload, self.precision);
        match self.purpose {
            Purpose::Scores => {
                let mut counter = Counter::of(model.network());
                score(model, batch, 0..batch.len, upload, precision, &mut counter)?;
            }
            Purpose::Answers(size) => {
                let original = (size.height as usize, size.width as usize);
                Answering::new(model, upload, precision, 0.5).attempt(batch, original)?;
            }
        }
        Ok(())
    }

    /// The most that tensors hold during one step, and what they hold before it.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn peak_bytes(&self) -> Result<Peak> {
        let device = self.upload.device;
        let held_bytes = device::allocated_bytes(device);
        device::reset_peak(device);
        self.step()?;
        device::synchronize(device);
        Ok(Peak {
            held_bytes,
            peak_bytes: device::peak(device).allocated_bytes,
        })
    }
}

/// Images and masks, the same for a seed.
fn noise(config: &RunConfig) -> Batch {
    let (height, width) = size_of(config);
    let mut random = ChaCha8Rng::seed_from_u64(config.seed);
    let mut batch = Batch::new(height, width);
    for index in 0..config.batch as usize {
        let mut sample = Sample {
            image: vec![0; height * width * 3],
            mask: vec![0; height * width],
        };
        random.fill_bytes(&mut sample.image);
        for class in &mut sample.mask {
            *class = random.random_range(0..2);
        }
        batch.push(&sample, index);
    }
    batch
}
