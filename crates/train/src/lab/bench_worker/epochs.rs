//! Epochs over files: the loop of `train fit`, timed.

use std::path::Path;
use std::time::Instant;

use bench::protocol::Epoch;
use config::{Precision, RunConfig};
use tch::Device;

use crate::error::Result;
use crate::run::run_data::RunData;
use crate::run::understood::{Asked, Understood};
use data::DEFAULT_CACHE_BYTES;
use engine::interrupt::Interrupt;
use engine::model::UNet;
use engine::team::Team;
use engine::trainer::{EpochReport, Observer, Trainer};

pub(super) struct Epochs {
    trainer: Trainer,
    data: RunData,
    interrupt: Interrupt,
}

impl Epochs {
    pub(super) fn new(
        folder: &Path,
        keep_decoded: bool,
        config: &RunConfig,
        device: Device,
        precision: Precision,
    ) -> Result<Self> {
        let cache_bytes = if keep_decoded { DEFAULT_CACHE_BYTES } else { 0 };
        let read = Understood::read(folder, config, Asked::all(config), None, |_, _| ())?;
        Ok(Self {
            data: RunData::of_folder(folder, read, config, cache_bytes)?,
            trainer: Trainer::new(config.clone(), device, precision)?,
            interrupt: Interrupt::listen(),
        })
    }

    pub(super) fn model(&self) -> &UNet {
        &self.trainer.learner.model
    }

    /// Mean validation loss of the present weights.
    pub(super) fn validate(&self) -> Result<f64> {
        let Self {
            trainer,
            data,
            interrupt,
        } = self;
        let mut at_a_time = usize::MAX;
        let evaluator = trainer.learner.evaluator();
        let scored =
            evaluator.evaluate(&data.val, &mut at_a_time, &mut Team::alone(), interrupt)?;
        Ok(scored.map_or(f64::NAN, |(_, loss)| loss))
    }

    /// One epoch, validation included.
    pub(super) fn epoch(&mut self) -> Result<Epoch> {
        let mut watch = LossWatch {
            begin: Instant::now(),
            trained: None,
            report: None,
        };
        let Self {
            trainer,
            data,
            interrupt,
        } = self;
        trainer.rewind();
        trainer.fit(&data.train, &data.val, &mut watch, interrupt)?;
        let end = Instant::now();
        let trained = watch.trained.unwrap_or(end);
        let train_s = (trained - watch.begin).as_secs_f64();
        let report = watch.report;
        let of = |pick: fn(&EpochReport) -> f64| report.as_ref().map_or(f64::NAN, pick);
        Ok(Epoch {
            train_s,
            val_s: (end - trained).as_secs_f64(),
            data_wait_s: of(|r| r.data_wait) * train_s,
            images: data.train.source().len() as u64,
            val_images: data.val.source().len() as u64,
            train_loss: of(|r| r.train_loss),
            val_loss: of(|r| r.val_loss),
            iou: of(|r| r.scores.iou),
        })
    }
}

/// Reads the clock during an epoch.
struct LossWatch {
    begin: Instant,
    trained: Option<Instant>,
    report: Option<EpochReport>,
}

impl Observer for LossWatch {
    fn validation_started(&mut self) {
        self.trained = Some(Instant::now());
    }

    fn epoch_done(&mut self, _trainer: &Trainer, report: &EpochReport) -> engine::Result<()> {
        self.report = Some(report.clone());
        Ok(())
    }
}
