//! The training loop, in the canonical order, and its supporting parts.

mod divergence;
mod epoch;
mod mean_loss;
mod pace;
mod planted;
mod preflight;
mod recorder;
mod share;
mod skips;
mod state;
mod step;
mod warm_up;
mod watch;

use std::time::{Duration, Instant};

use config::{Precision, RunConfig};
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
use crate::team::{Overlap, Team};
use data::{Batch, Loader};
pub use divergence::Cause;
use divergence::LossWatch;
pub use divergence::all_finite;
pub use epoch::{EpochReport, Spent};
use mean_loss::MeanLoss;
use pace::Pace;
pub use preflight::Agreement;
use ranks::Epoch;
pub use recorder::Decided;
use recorder::Recorder;
use share::StepShare;
use skips::Skips;
pub use state::TrainerState;
use step::BeforeStep;
pub use warm_up::Clock;

/// Everything that one run trains with.
#[derive(Debug)]
pub struct Trainer {
    /// The configuration of the run.
    pub config: RunConfig,
    /// The model in training, with its device and precision.
    pub learner: Learner,
    pace: Pace,
    /// Images per forward pass.
    micro_batch: u32,
    /// The fallback ladder; without one, a failed step ends the run.
    ladder: Option<Ladder>,
    guard: Option<Guard>,
    team: Team,
    saved: BeforeStep,
    skips: Skips,
    recorder: Recorder,
    loss_watch: LossWatch,
    /// Whether a step failed half-way and could not be undone.
    is_poisoned: bool,
    /// Whether the process already holds the memory of a whole step of this recipe.
    is_peak_kept: bool,
    validation_at_a_time: usize,
    position: Position,
    losses: MeanLoss,
}

/// How far a run has come, at the end of an optimizer step. The order of the samples and their
/// augmentation are functions of seed, epoch and index, and nothing else is random after
/// initialisation: together with the tensors, this is all that a run needs to continue.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Optimizer steps done.
    pub steps: u64,
    /// The epoch under way, from 0.
    pub epoch: u32,
    /// Micro-batches of this epoch already trained on.
    pub micro_batches: u64,
    /// Whether the present weights have been validated.
    pub is_validated: bool,
    /// Best validation IoU so far.
    pub best_iou: Option<f64>,
    /// Epochs since the best validation IoU.
    pub epochs_without_gain: u32,
}

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All epochs or steps are done.
    Completed,
    /// Validation did not improve for `patience` epochs.
    EarlyStopped,
    /// The observer ended the run after an epoch.
    Asked,
}

/// An observer of a run, for progress and files. All callbacks have defaults. `E` is its own error.
pub trait Observer<E = Error> {
    /// An epoch with `num_batches` micro-batches begins.
    fn epoch_started(&mut self, _epoch: u32, _num_batches: usize) {}
    /// An optimizer step is done, and the position of `trainer` is after it; `is_last` means that
    /// `max_steps` is reached.
    fn step_done(&mut self, _trainer: &Trainer, _is_last: bool) {}
    /// A micro-batch of `images` was handed to the device; `loss` is the mean so far, if it was
    /// read.
    fn batch_done(&mut self, _images: usize, _loss: Option<f64>) {}
    /// A step failed and will be retried with `rung`, which `trainer` has not adopted yet.
    fn rung_taken(&mut self, _trainer: &Trainer, _failure: &Failure, _rung: &Rung) {}
    /// Whether the steps to come are recorded as CUDA graphs was decided.
    fn graph_decided(&mut self, _trainer: &Trainer, _decided: Decided) {}
    /// Whether gradients travel between ranks during backward was decided.
    fn overlap_decided(&mut self, _trainer: &Trainer, _overlap: Overlap) {}
    /// The loss has grown to `times` the first one. Reported once.
    fn loss_explodes(&mut self, _trainer: &Trainer, _times: f64) {}
    /// Validation begins.
    fn validation_started(&mut self) {}
    /// An epoch ended.
    ///
    /// # Errors
    /// If a file cannot be written; the run ends then.
    fn epoch_done(&mut self, _trainer: &Trainer, _report: &EpochReport) -> Result<(), E> {
        Ok(())
    }
    /// Whether the run ends here, after an epoch.
    fn ends_run(&self) -> bool {
        false
    }
}

impl Trainer {
    /// Builds model, optimizer and scaler; the optimizer's state exists before step 1.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn new(config: RunConfig, device: Device, precision: Precision) -> Result<Self> {
        let learner = Learner::new(&config, device, precision)?;
        let skips = Skips::new(device)?;
        Ok(Self {
            micro_batch: config.batch,
            ladder: None,
            guard: None,
            team: Team::alone(),
            saved: BeforeStep::of(&learner, &skips)?,
            skips,
            recorder: Recorder::default(),
            loss_watch: LossWatch::default(),
            is_poisoned: false,
            is_peak_kept: false,
            validation_at_a_time: usize::MAX,
            config,
            learner,
            pace: Pace::new(),
            position: Position::default(),
            losses: MeanLoss::new(device)?,
        })
    }

    /// Adds a ladder for failed steps.
    #[must_use]
    pub fn with_ladder(self, ladder: Ladder) -> Self {
        Self {
            ladder: Some(ladder),
            ..self
        }
    }

    /// Adds a guard, which ends a step before memory is full.
    #[must_use]
    pub fn with_guard(self, guard: Guard) -> Self {
        Self {
            guard: Some(guard),
            ..self
        }
    }

    /// Trains as one of these ranks. All of them have the same configuration.
    #[must_use]
    pub fn with_team(self, team: Team) -> Self {
        Self { team, ..self }
    }

    /// Several ranks normalise micro-batches together from now on, as `torch.nn.SyncBatchNorm` does. All ranks call this.
    ///
    /// # Errors
    /// If a rank is gone.
    pub fn normalise_together(&mut self) -> Result<()> {
        if let Some(ladder) = &mut self.ladder {
            ladder.keep_policy();
        }
        self.team.normalise_together(&mut self.learner)
    }

    /// The ranks that train together.
    pub const fn team(&self) -> &Team {
        &self.team
    }

    /// Trains on `train` from the present position, and validates on `val` after each epoch.
    ///
    /// # Errors
    /// If data, a tensor operation or a file fails, the loss becomes non-finite, or the run is
    /// interrupted: then the trainer is at the end of a step, unless it
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
            let (train_loss, spent) = self.train_epoch(train, observer, interrupt)?;
            self.refuse_spoilt_weights()?;

            observer.validation_started();
            let started = Instant::now();
            let steps = self.position.steps;
            let (scores, val_loss) = self.validate(val, observer, interrupt)?;
            let spent = Spent {
                validation: started.elapsed(),
                ..spent
            };
            // Never keep weights that predict NaN as the best ones.
            let best = self.position.best_iou;
            let is_best = val_loss.is_finite() && best.is_none_or(|b| scores.iou > b);
            let report = EpochReport {
                epoch,
                train_loss,
                val_loss,
                is_best,
                lr: self.learner.optimizer.lr(),
                scale: self.learner.scaler.current()?,
                skipped_updates: self.skipped_updates()?,
                data_wait: spent.wait_share(),
                steps,
                ranks: (self.team).compare(
                    spent.waiting,
                    device::peak(self.learner.device()).allocated_bytes,
                )?,
                spent,
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
            // An epoch cut short by `max_steps` continues from there if the run gets more steps.
            if position.micro_batches == train.num_batches() as u64 {
                position.epoch += 1;
                position.micro_batches = 0;
            }
            observer.epoch_done(self, &report)?;
            if self.team.told(|| observer.ends_run())? && self.ending().is_none() {
                return Ok(Ending::Asked);
            }
        }
    }

    /// Restarts at the first epoch; weights, optimizer and step count are kept.
    pub fn rewind(&mut self) {
        self.position = Position {
            steps: self.position.steps,
            ..Position::default()
        };
    }

    /// How the run ended, if it is finished.
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
        let scored = evaluator.evaluate(val, &mut at_a_time, &mut self.team, interrupt)?;
        let at_a_time = self.team.images_at_a_time(before, at_a_time)?;
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

    /// The rest of a pass over the training images. Returns the mean loss of the pass and where the time went.
    fn train_epoch<E>(
        &mut self,
        loader: &Loader,
        observer: &mut dyn Observer<E>,
        interrupt: &Interrupt,
    ) -> Result<(f64, Spent)> {
        let accumulation = self.config.accumulation.max(1) as usize;
        let device = self.learner.device();
        let started = Instant::now();
        if self.position.micro_batches == 0 {
            self.losses.begin()?;
        }
        let first = usize::try_from(self.position.micro_batches).unwrap_or(usize::MAX);
        let epoch = Epoch {
            samples: loader.num_samples(),
            batch: loader.config().batch,
            accumulation,
        };
        let shard = self.team.shard();
        let numbers = shard.micro_batches(epoch, first);
        let mut batches = loader.epoch_of(u64::from(self.position.epoch), numbers);
        self.pace.go_on();
        // The last step takes the micro-batches that are left.
        for group in epoch.groups(first) {
            if self.out_of_steps() {
                break;
            }
            let mine = batches.by_ref().take(shard.part(group.len()).len());
            let mine = mine.collect::<Result<Vec<Batch>, _>>();
            let share = |mine| StepShare::of(mine, shard, epoch, &group);
            let mine = mine.map_err(|error| self.leave(&share(&[]), error.into()))?;
            let share = share(&mine);
            let losses = self.step(&share, observer, interrupt)?;
            self.position.steps += 1;
            self.position.micro_batches += group.len() as u64;
            self.position.is_validated = false;
            for loss in &losses {
                self.losses.add(loss)?;
            }
            self.pace.step_done(share.images());
            if self.pace.is_warming_up() {
                device::synchronize(device);
                self.pace.device_done();
            }
            let steps = self.position.steps;
            let loss = self.losses.read_when_due()?;
            if let Some(mean) = loss {
                self.loss_watch.take(self.finite(mean)?);
                self.pace.device_done();
            }
            if let Some(decided) = self.take_decision() {
                observer.graph_decided(self, decided);
            }
            if let Some(overlap) = self.team.found() {
                observer.overlap_decided(self, overlap);
            }
            if let Some(times) = self.loss_watch.say_explosion() {
                observer.loss_explodes(self, times);
            }
            for images in &share.lens {
                observer.batch_done(*images, loss);
            }
            observer.step_done(self, self.out_of_steps());
            // A run can be continued exactly only between steps.
            if self.team.stops(interrupt) {
                return Err(Error::Interrupted { step: steps });
            }
            self.pace.go_on();
        }
        device::synchronize(device);
        self.pace.device_done();
        self.forget_recorded()?;
        let spent = Spent {
            training: started.elapsed(),
            waiting: batches.wait_time(),
            loading: batches.loading(),
            validation: Duration::ZERO,
        };
        Ok((self.finite(self.losses.read()?)?, spent))
    }

    /// Returns a finite loss, and for any other an error.
    fn finite(&self, loss: f64) -> Result<f64> {
        let (steps, model) = (self.steps(), &self.learner.model);
        self.loss_watch.finite(loss, steps, model)
    }

    /// Optimizer steps done.
    pub fn steps(&self) -> u64 {
        self.position.steps
    }

    /// Optimizer steps left with epochs of `num_batches` micro-batches; ignores early stopping.
    pub fn steps_left(&self, num_batches: usize) -> u64 {
        let group = u64::from(self.config.accumulation.max(1));
        let per_epoch = (num_batches as u64).div_ceil(group);
        let whole = per_epoch.saturating_mul(u64::from(self.config.epochs));
        let whole = self.config.max_steps.map_or(whole, |max| max.min(whole));
        whole.saturating_sub(self.position.steps)
    }

    /// Whether a step failed half-way and could not be undone: the run must not be continued from here.
    pub const fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }

    /// Updates so far that were skipped because a gradient was not finite. Waits for the device.
    ///
    /// # Errors
    /// If the device fails.
    pub fn skipped_updates(&self) -> Result<u64> {
        Ok(self.skips.read()?.0)
    }

    /// The present position of the run.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Median time of an optimizer step, without warm-up; `None` before the first timed step.
    pub fn step_time_median(&self) -> Option<Duration> {
        self.pace.time_median()
    }

    /// Median images per second of an optimizer step, with the steps of [`Self::step_time_median`].
    pub fn images_per_second_median(&self) -> Option<f64> {
        self.pace.rate_median()
    }

    fn out_of_steps(&self) -> bool {
        self.config
            .max_steps
            .is_some_and(|max| self.position.steps >= max)
    }
}
