//! One batch of a validation outside a run, with the code of the training loop.

use config::{Precision, RunConfig};
use data::Batch;
use estimator::{Purpose, Resident};
use tch::Device;

use super::Peak;
use engine::Result;
use engine::batch::{Upload, noise};
use engine::device;
use engine::evaluation::Evaluator;
use engine::metrics::Counter;
use engine::model::{Kernels, UNet};
use engine::optimizer::AdamW;
use engine::predictor::Predictor;

/// A batch of a validation or of a prediction, to be measured.
#[derive(Debug)]
pub struct EvaluationProbe {
    upload: Upload,
    precision: Precision,
    kernels: Kernels,
    model: UNet,
    /// The optimizer, which `fit` holds during a validation and `evaluate` does not have.
    _optimizer: Option<AdamW>,
    batch: Batch,
    purpose: Purpose,
}

impl EvaluationProbe {
    /// Builds the model, the `resident` state, and a batch of noise for `config`.
    ///
    /// # Errors
    /// If memory runs out.
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
            upload: Upload::of(config, device),
            precision,
            kernels: engine::checkpointing::kernels(config, device),
            _optimizer: (resident == Resident::Training)
                .then(optimizer)
                .transpose()?,
            model,
            batch: noise(config, config.seed),
            purpose,
        })
    }

    /// Processes one batch, from bytes to scores or predictions.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn step(&self) -> Result<()> {
        let batch = &self.batch;
        let evaluator = Evaluator {
            model: &self.model,
            upload: self.upload,
            precision: self.precision,
            kernels: self.kernels,
        };
        match self.purpose {
            Purpose::Scores => {
                let mut counter = Counter::of(self.model.network());
                evaluator.score(batch, 0..batch.len, &mut counter)?;
            }
            Purpose::Answers(size) => {
                let original = (size.height as usize, size.width as usize);
                Predictor::new(evaluator, 0.5).try_predict(batch, original)?;
            }
        }
        Ok(())
    }

    /// Peak tensor bytes during one step, and tensor bytes before it.
    ///
    /// # Errors
    /// The errors of [`Self::step`].
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
