//! The training loop, in the canonical order, and what it needs around it.

use std::time::{Duration, Instant};

use config::RunConfig;
use tch::{Device, Kind, Tensor};

use crate::checkpointing;
use crate::compose::Scaler;
use crate::data::{Batch, Loader};
use crate::device;
use crate::error::{Error, Result};
use crate::evaluation::{Upload, evaluate};
use crate::interrupt::Interrupt;
use crate::ladder::{Failure, Ladder, Rung};
use crate::metrics::Scores;
use crate::model::{ForwardMode, UNet};
use crate::optimizer::{AdamW, cosine_lr};
use crate::precision::Precision;

mod step;

use step::{Saved, ScaleWatch};

/// Steps that are not timed: libraries choose and allocate in them.
const WARM_UP_STEPS: usize = 3;

/// Everything that one run trains with.
#[derive(Debug)]
pub struct Trainer {
    /// What to do.
    pub config: RunConfig,
    /// Where.
    pub device: Device,
    /// In which precision.
    pub precision: Precision,
    /// What is trained.
    pub model: UNet,
    mode: ForwardMode,
    optimizer: AdamW,
    scaler: Scaler,
    step_times: Vec<Duration>,
    /// Images per second of each step.
    step_rates: Vec<f64>,
    steps: u64,
    /// Images of a forward.
    micro_batch: u32,
    /// Without one, a step that fails ends the run.
    ladder: Option<Ladder>,
    saved: Saved,
    scale_watch: ScaleWatch,
    validation_at_a_time: usize,
}

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All epochs or steps are done.
    Completed,
    /// Validation did not improve for `patience` epochs.
    EarlyStopped,
}

/// One finished epoch.
#[derive(Debug, Clone)]
pub struct EpochReport {
    /// From 0.
    pub epoch: u32,
    /// Mean training loss.
    pub train_loss: f64,
    /// Mean validation loss.
    pub val_loss: f64,
    /// Validation scores.
    pub scores: Scores,
    /// Whether they are the best so far.
    pub is_best: bool,
    /// Learning rate of its steps.
    pub lr: f64,
    /// Scale of the gradient scaler after it, where one is active.
    pub scale: Option<f64>,
    /// Share of the epoch's training time spent waiting for data.
    pub data_wait: f64,
    /// Optimizer steps so far.
    pub steps: u64,
}

/// Who watches a run: progress, files.
pub trait Observer {
    /// An epoch begins with that many micro-batches.
    fn epoch_started(&mut self, epoch: u32, num_batches: usize);
    /// A micro-batch of `images` was handed to the device; `loss` is the mean so far, where it
    /// was read.
    fn batch_done(&mut self, images: usize, loss: Option<f64>);
    /// A step failed, and is tried again by a rung of the ladder that `trainer` has not taken yet.
    ///
    /// # Errors
    /// Where a file cannot be written: the run ends.
    fn rung_taken(&mut self, _trainer: &Trainer, _failure: &Failure, _rung: &Rung) -> Result<()> {
        Ok(())
    }
    /// Validation begins.
    fn validation_started(&mut self);
    /// An epoch ended.
    ///
    /// # Errors
    /// Where a file cannot be written: the run ends.
    fn epoch_done(&mut self, trainer: &Trainer, report: &EpochReport) -> Result<()>;
}

impl Trainer {
    /// Builds model, optimizer and scaler; the optimizer's state is there before step 1.
    ///
    /// # Errors
    /// Where memory runs out.
    pub fn new(config: RunConfig, device: Device, precision: Precision) -> Result<Self> {
        tch::Cuda::cudnn_set_benchmark(!config.deterministic);
        let model = UNet::new(
            config.network(),
            device,
            config.seed,
            config.use_channels_last,
        )?;
        let optimizer = AdamW::new(
            model.parameters().trainable(),
            config.lr,
            config.weight_decay,
        )?;
        let scaler = Scaler::new(device, precision, config.init_scale)?;
        let mode = checkpointing::training_mode(&config, device)?;
        Ok(Self {
            micro_batch: config.batch,
            ladder: None,
            saved: Saved::of(&model, &optimizer)?,
            scale_watch: ScaleWatch::new(config.init_scale),
            validation_at_a_time: usize::MAX,
            config,
            device,
            precision,
            model,
            mode,
            optimizer,
            scaler,
            step_times: Vec::new(),
            step_rates: Vec::new(),
            steps: 0,
        })
    }

    /// The same with a ladder, for steps that fail.
    #[must_use]
    pub fn with_ladder(self, ladder: Ladder) -> Self {
        Self {
            ladder: Some(ladder),
            ..self
        }
    }

    /// Trains on `train`, validating on `val` after each epoch.
    ///
    /// # Errors
    /// Where data, a tensor operation or a file fails, the loss stops being a number, or
    /// somebody interrupts.
    pub fn fit(
        &mut self,
        train: &Loader,
        val: &Loader,
        observer: &mut dyn Observer,
        interrupt: &Interrupt,
    ) -> Result<Ending> {
        let mut best: Option<f64> = None;
        let mut epochs_without_gain = 0;
        for epoch in 0..self.config.epochs {
            self.optimizer
                .set_lr(cosine_lr(self.config.lr, epoch, self.config.epochs));
            observer.epoch_started(epoch, train.num_batches());
            let (train_loss, data_wait) = self.train_epoch(train, epoch, observer, interrupt)?;

            observer.validation_started();
            let (scores, val_loss) = self.validate(val, observer, interrupt)?;
            // Weights whose answers are no numbers are never the best ones.
            let is_best = val_loss.is_finite() && best.is_none_or(|b| scores.iou > b);
            let report = EpochReport {
                epoch,
                train_loss,
                val_loss,
                is_best,
                lr: self.optimizer.lr(),
                scale: self.scaler.current()?,
                data_wait,
                steps: self.steps,
                scores,
            };
            if is_best {
                best = Some(report.scores.iou);
                epochs_without_gain = 0;
            } else {
                epochs_without_gain += 1;
            }
            observer.epoch_done(self, &report)?;
            if self.out_of_steps() {
                break;
            }
            let more = epoch + 1 < self.config.epochs;
            let patience = self.config.patience;
            if more && patience > 0 && epochs_without_gain >= patience {
                return Ok(Ending::EarlyStopped);
            }
        }
        Ok(Ending::Completed)
    }

    fn validate(
        &mut self,
        val: &Loader,
        observer: &mut dyn Observer,
        interrupt: &Interrupt,
    ) -> Result<(Scores, f64)> {
        let before = self.validation_at_a_time.min(self.config.batch as usize);
        let mut at_a_time = before;
        let (upload, precision) = (self.upload(), self.precision);
        let scored = evaluate(
            &self.model,
            val,
            upload,
            precision,
            &mut at_a_time,
            interrupt,
        )?;
        if at_a_time < before {
            self.validation_at_a_time = at_a_time;
            let failure = Failure::OutOfMemory {
                shortfall_bytes: None,
            };
            let rung = Rung::of_validation(self.recipe(), before, at_a_time);
            observer.rung_taken(self, &failure, &rung)?;
        }
        scored.ok_or(Error::Interrupted { step: self.steps })
    }

    /// One pass over the training images. Returns the mean loss and the share of the time
    /// spent waiting for data.
    fn train_epoch(
        &mut self,
        loader: &Loader,
        epoch: u32,
        observer: &mut dyn Observer,
        interrupt: &Interrupt,
    ) -> Result<(f64, f64)> {
        let accumulation = self.config.accumulation.max(1) as usize;
        let started = Instant::now();
        let mut losses = MeanLoss::new(self.device)?;
        let mut batches = loader.epoch(u64::from(epoch));
        let mut step_started = Instant::now();
        while !self.out_of_steps() {
            // Those of the last step are as many as there are.
            let group = batches.by_ref().take(accumulation);
            let group = group.collect::<Result<Vec<Batch>, _>>()?;
            if group.is_empty() {
                break;
            }
            let step = self.step(&group, observer)?;
            self.steps += 1;
            for loss in &step.0 {
                losses.add(loss)?;
            }
            let images: usize = group.iter().map(|batch| batch.len).sum();
            let time = step_started.elapsed();
            self.step_times.push(time);
            self.step_rates
                .push(images as f64 / time.as_secs_f64().max(1e-9));
            step_started = Instant::now();
            let loss = losses.read_when_due(self.steps)?;
            for batch in &group {
                observer.batch_done(batch.len, loss);
            }
            if interrupt.requested() {
                return Err(Error::Interrupted { step: self.steps });
            }
        }
        device::synchronize(self.device);
        let wait = batches.wait_time().as_secs_f64() / started.elapsed().as_secs_f64().max(1e-9);
        Ok((losses.read(self.steps)?, wait))
    }

    /// How this run's batches become tensors.
    pub fn upload(&self) -> Upload {
        Upload {
            device: self.device,
            channels_last: self.config.use_channels_last,
        }
    }

    /// Handles on the optimizer's state.
    pub fn optimizer_state(&self) -> impl Iterator<Item = Tensor> {
        self.optimizer.state()
    }

    /// Optimizer steps done.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Median time of an optimizer step, warm-up left out; `None` before the first such step.
    pub fn step_time_median(&self) -> Option<Duration> {
        let mut times = self.step_times.get(WARM_UP_STEPS..)?.to_vec();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }

    /// Median images per second of an optimizer step, as [`Self::step_time_median`].
    pub fn images_per_second_median(&self) -> Option<f64> {
        let mut rates = self.step_rates.get(WARM_UP_STEPS..)?.to_vec();
        rates.sort_unstable_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied()
    }

    fn out_of_steps(&self) -> bool {
        self.config.max_steps.is_some_and(|max| self.steps >= max)
    }
}

/// The mean loss of an epoch, summed on the device and read seldom: reading waits for it.
struct MeanLoss {
    sum: Tensor,
    count: u64,
    device: Device,
    read_at: Instant,
}

impl MeanLoss {
    fn new(device: Device) -> Result<Self> {
        let scalar: [i64; 0] = [];
        let sum = Tensor::f_zeros(scalar.as_slice(), (Kind::Float, device))?;
        Ok(Self {
            sum,
            count: 0,
            device,
            read_at: Instant::now(),
        })
    }

    /// Adds the loss of a batch, in place: nothing can run out of memory here.
    fn add(&mut self, loss: &Tensor) -> Result<()> {
        let _sum = self.sum.f_add_(loss)?;
        self.count += 1;
        Ok(())
    }

    /// The mean so far on the CPU, and on CUDA once a second.
    fn read_when_due(&mut self, step: u64) -> Result<Option<f64>> {
        if self.device.is_cuda() && self.read_at.elapsed() < Duration::from_secs(1) {
            return Ok(None);
        }
        self.read_at = Instant::now();
        self.read(step).map(Some)
    }

    fn read(&self, step: u64) -> Result<f64> {
        let mean = self.sum.f_double_value(&[])? / self.count.max(1) as f64;
        if mean.is_finite() {
            Ok(mean)
        } else {
            Err(Error::NonFiniteLoss { step })
        }
    }
}
