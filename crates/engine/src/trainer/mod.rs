//! The training loop, in the canonical order, and what it needs around it.

mod divergence;
mod mean_loss;
mod planted;
mod preflight;
mod state;
mod step;
mod warm_up;
mod watch;

use std::time::{Duration, Instant};

use config::RunConfig;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::device;
use crate::error::{Error, Result};
use crate::guard::Guard;
use crate::interrupt::Interrupt;
use crate::ladder::{Failure, Ladder, Rung};
use crate::learner::Learner;
use crate::metrics::Scores;
use crate::optimizer::cosine_lr;
use crate::precision::Precision;
use data::{Batch, Loader};
pub use divergence::Cause;
use divergence::LossWatch;
pub use divergence::all_finite;
use mean_loss::MeanLoss;
pub use preflight::Agreement;
pub use state::TrainerState;
use step::Saved;
pub use warm_up::Clock;
use watch::ScaleWatch;

/// Steps that are not timed: libraries choose and allocate in them.
const WARM_UP_STEPS: usize = 3;

/// Everything that one run trains with.
#[derive(Debug)]
pub struct Trainer {
    /// What to do.
    pub config: RunConfig,
    /// What is trained, where, and in which precision.
    pub learner: Learner,
    step_times: Vec<Duration>,
    /// Images per second of each step.
    step_rates: Vec<f64>,
    /// Images of a forward.
    micro_batch: u32,
    /// Without one, a step that fails ends the run.
    ladder: Option<Ladder>,
    guard: Option<Guard>,
    saved: Saved,
    scale_watch: ScaleWatch,
    loss_watch: LossWatch,
    /// Whether a step failed half-way and could not be undone.
    is_poisoned: bool,
    /// Whether the memory of a whole step of this recipe is held, used or not.
    is_peak_kept: bool,
    validation_at_a_time: usize,
    position: Position,
    losses: MeanLoss,
}

/// How far a run has come, at the end of an optimizer step. The order of the samples and what is
/// varied of each are functions of seed, epoch and index, and nothing else draws by chance once the
/// weights are made: with the tensors, this is all that a run continues from.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Optimizer steps done.
    pub steps: u64,
    /// The epoch under way, from 0.
    pub epoch: u32,
    /// Micro-batches of it that are trained.
    pub micro_batches: u64,
    /// Whether validation has seen the weights as they are.
    pub is_validated: bool,
    /// Best validation IoU so far.
    pub best_iou: Option<f64>,
    /// Epochs since then.
    pub epochs_without_gain: u32,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

/// Who watches a run: progress, files. What it does not ask for is nothing to it. `E` is its own error.
pub trait Observer<E = Error> {
    /// An epoch begins with that many micro-batches.
    fn epoch_started(&mut self, _epoch: u32, _num_batches: usize) {}
    /// An optimizer step is done and the position of `trainer` is behind it; at `is_last`
    /// `max_steps` is reached.
    fn step_done(&mut self, _trainer: &Trainer, _is_last: bool) {}
    /// A micro-batch of `images` was handed to the device; `loss` is the mean so far, where it
    /// was read.
    fn batch_done(&mut self, _images: usize, _loss: Option<f64>) {}
    /// A step failed, and is tried again by a rung of the ladder that `trainer` has not taken yet.
    fn rung_taken(&mut self, _trainer: &Trainer, _failure: &Failure, _rung: &Rung) {}
    /// The loss is so many times the first one. Said once.
    fn loss_explodes(&mut self, _trainer: &Trainer, _times: f64) {}
    /// Validation begins.
    fn validation_started(&mut self) {}
    /// An epoch ended.
    ///
    /// # Errors
    /// Where a file cannot be written: the run ends.
    fn epoch_done(&mut self, _trainer: &Trainer, _report: &EpochReport) -> Result<(), E> {
        Ok(())
    }
}

impl Trainer {
    /// Builds model, optimizer and scaler; the optimizer's state is there before step 1.
    ///
    /// # Errors
    /// Where memory runs out.
    pub fn new(config: RunConfig, device: Device, precision: Precision) -> Result<Self> {
        let learner = Learner::new(&config, device, precision)?;
        Ok(Self {
            micro_batch: config.batch,
            ladder: None,
            guard: None,
            saved: Saved::of(&learner)?,
            scale_watch: ScaleWatch::new(config.init_scale, 0),
            loss_watch: LossWatch::default(),
            is_poisoned: false,
            is_peak_kept: false,
            validation_at_a_time: usize::MAX,
            config,
            learner,
            step_times: Vec::new(),
            step_rates: Vec::new(),
            position: Position::default(),
            losses: MeanLoss::new(device)?,
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

    /// The same under a guard, which ends a step before memory is full.
    #[must_use]
    pub fn with_guard(self, guard: Guard) -> Self {
        Self {
            guard: Some(guard),
            ..self
        }
    }

    /// Trains on `train`, validating on `val` after each epoch, from where it stands.
    ///
    /// # Errors
    /// Where data, a tensor operation or a file fails, the loss stops being a number, or
    /// somebody interrupts: then the trainer stands at the end of a step, unless it
    /// [`is_poisoned`](Self::is_poisoned).
    pub fn fit<E: From<Error>>(
        &mut self,
        train: &Loader,
        val: &Loader,
        observer: &mut dyn Observer<E>,
        interrupt: &Interrupt,
    ) -> Result<Ending, E> {
        loop {
            if let Some(ending) = self.ending() {
                return Ok(ending);
            }
            let epoch = self.position.epoch;
            let lr = cosine_lr(self.config.lr, epoch, self.config.epochs);
            self.learner.optimizer.set_lr(lr);
            let left = train.num_batches() as u64 - self.position.micro_batches;
            observer.epoch_started(epoch, usize::try_from(left).unwrap_or(usize::MAX));
            let (train_loss, data_wait) = self.train_epoch(train, observer, interrupt)?;
            self.refuse_spoilt_weights()?;

            observer.validation_started();
            let steps = self.position.steps;
            let (scores, val_loss) = self.validate(val, observer, interrupt)?;
            // Weights whose answers are no numbers are never the best ones.
            let best = self.position.best_iou;
            let is_best = val_loss.is_finite() && best.is_none_or(|b| scores.iou > b);
            let report = EpochReport {
                epoch,
                train_loss,
                val_loss,
                is_best,
                lr: self.learner.optimizer.lr(),
                scale: self.learner.scaler.current()?,
                data_wait,
                steps,
                scores,
            };
            let position = &mut self.position;
            position.is_validated = true;
            if is_best {
                position.best_iou = Some(report.scores.iou);
                position.epochs_without_gain = 0;
            } else {
                position.epochs_without_gain += 1;
            }
            // An epoch that `max_steps` cut goes on where it was cut, should the run get more.
            if position.micro_batches == train.num_batches() as u64 {
                position.epoch += 1;
                position.micro_batches = 0;
            }
            observer.epoch_done(self, &report)?;
        }
    }

    /// Begins with the first epoch again; weights, optimizer and count of steps stay.
    pub fn rewind(&mut self) {
        self.position = Position {
            steps: self.position.steps,
            ..Position::default()
        };
    }

    /// How the run ended, where nothing is left to do.
    pub fn ending(&self) -> Option<Ending> {
        let Position {
            epoch,
            is_validated,
            epochs_without_gain,
            ..
        } = self.position;
        let patience = self.config.patience;
        if epoch >= self.config.epochs || (self.out_of_steps() && is_validated) {
            Some(Ending::Completed)
        } else if is_validated && patience > 0 && epochs_without_gain >= patience {
            Some(Ending::EarlyStopped)
        } else {
            None
        }
    }

    fn validate<E>(
        &mut self,
        val: &Loader,
        observer: &mut dyn Observer<E>,
        interrupt: &Interrupt,
    ) -> Result<(Scores, f64)> {
        let before = self.validation_at_a_time.min(self.config.batch as usize);
        let mut at_a_time = before;
        let evaluator = self.learner.evaluator();
        let scored = evaluator.evaluate(val, &mut at_a_time, interrupt)?;
        if at_a_time < before {
            self.validation_at_a_time = at_a_time;
            let failure = Failure::OutOfMemory {
                shortfall_bytes: None,
            };
            let rung = Rung::of_validation(self.recipe(), before, at_a_time);
            observer.rung_taken(self, &failure, &rung);
        }
        scored.ok_or(Error::Interrupted { step: self.steps() })
    }

    /// The rest of a pass over the training images. Returns the mean loss of the pass and the share
    /// of the time spent waiting for data.
    fn train_epoch<E>(
        &mut self,
        loader: &Loader,
        observer: &mut dyn Observer<E>,
        interrupt: &Interrupt,
    ) -> Result<(f64, f64)> {
        let accumulation = self.config.accumulation.max(1) as usize;
        let device = self.learner.device();
        let started = Instant::now();
        if self.position.micro_batches == 0 {
            self.losses = MeanLoss::new(device)?;
        }
        let first = usize::try_from(self.position.micro_batches).unwrap_or(usize::MAX);
        let mut batches = loader.epoch_from(u64::from(self.position.epoch), first);
        let mut step_started = Instant::now();
        while !self.out_of_steps() {
            // Those of the last step are as many as there are.
            let group = batches.by_ref().take(accumulation);
            let group = group.collect::<Result<Vec<Batch>, _>>()?;
            if group.is_empty() {
                break;
            }
            let losses = self.step(&group, observer)?;
            self.position.steps += 1;
            self.position.micro_batches += group.len() as u64;
            self.position.is_validated = false;
            // There the scaler skips a step whose loss is no number, and nobody waits to see it.
            let skips = device.is_cuda() && self.learner.precision == Precision::Fp16;
            for loss in &losses {
                self.losses.add(loss, skips)?;
            }
            let images: usize = group.iter().map(|batch| batch.len).sum();
            let time = step_started.elapsed();
            self.step_times.push(time);
            self.step_rates
                .push(images as f64 / time.as_secs_f64().max(1e-9));
            let steps = self.position.steps;
            let loss = self.losses.read_when_due()?;
            if let Some(mean) = loss {
                self.loss_watch.take(self.finite(mean)?);
            }
            if let Some(times) = self.loss_watch.say_explosion() {
                observer.loss_explodes(self, times);
            }
            for batch in &group {
                observer.batch_done(batch.len, loss);
            }
            observer.step_done(self, self.out_of_steps());
            // Between steps alone can a run be continued exactly.
            if interrupt.requested() {
                return Err(Error::Interrupted { step: steps });
            }
            step_started = Instant::now();
        }
        device::synchronize(device);
        let wait = batches.wait_time().as_secs_f64() / started.elapsed().as_secs_f64().max(1e-9);
        Ok((self.finite(self.losses.read()?)?, wait))
    }

    /// A loss, where it is a number.
    fn finite(&self, loss: f64) -> Result<f64> {
        let (steps, model) = (self.steps(), &self.learner.model);
        self.loss_watch.finite(loss, steps, model)
    }

    /// Optimizer steps done.
    pub fn steps(&self) -> u64 {
        self.position.steps
    }

    /// Optimizer steps that are left, of epochs of so many micro-batches; early stopping left out.
    pub fn steps_left(&self, num_batches: usize) -> u64 {
        let group = u64::from(self.config.accumulation.max(1));
        let per_epoch = (num_batches as u64).div_ceil(group);
        let whole = per_epoch.saturating_mul(u64::from(self.config.epochs));
        let whole = self.config.max_steps.map_or(whole, |max| max.min(whole));
        whole.saturating_sub(self.position.steps)
    }

    /// Whether a step failed half-way and could not be undone: nothing is to be continued from here.
    pub const fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }

    /// Where the run stands.
    pub fn position(&self) -> &Position {
        &self.position
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
        self.config
            .max_steps
            .is_some_and(|max| self.position.steps >= max)
    }
}
