//! One optimizer step, undone and retried if it fails.
//!
//! Before the optimizer updates the parameters, a step changes the gradients, which are cleared on
//! failure, and the buffers of batch norm. These buffers, and the optimizer's step counts for a failure
//! within the optimizer, are restored from copies allocated once. The batches stay on the host as bytes
//! until the step is done.
//!
//! An update that is skipped because a gradient is not finite leaves no trace either: the device restores
//! the buffers by itself, so that the host need not wait for it.

use ranks::Verdict;
use tch::{Kind, Tensor};

use super::planted::PlantedFaults;
use super::share::StepShare;
use super::skips::Skips;
use super::watch::StepWatch;
use super::{Observer, Trainer};
use crate::batch::MicroBatch;
use crate::compose::Scaler;
use crate::device;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::ladder::{ChosenRung, Failure, Ladder, Rung, StepRecipe};
use crate::learner::{Learner, StepHooks};
use crate::team::{Places, Report, Team};

/// Tensors that a step changes in place, with copies from before the step.
#[derive(Debug)]
pub(super) struct BeforeStep {
    live: [Tensor; 4],
    copies: [Tensor; 4],
    /// Whether the update was skipped: bool, one element.
    is_skipped: Tensor,
    zero: Tensor,
}

/// The first of the tensors in [`BeforeStep`] are the model's buffers.
const NUM_BUFFERS: usize = 2;

impl BeforeStep {
    /// Copies the buffers of the model, the step counts of the optimizer and the counts of skipped
    /// updates. Allocates once.
    pub(super) fn of(learner: &Learner, skips: &Skips) -> Result<Self> {
        let [statistics, counters] = learner.model.parameters().buffers();
        let zero = Tensor::f_zeros([1], (Kind::Float, learner.device()))?;
        let live = [
            statistics,
            counters,
            learner.optimizer.step_counts(),
            skips.tensor(),
        ];
        let [a, b, c, d] = live.each_ref().map(Tensor::f_empty_like);
        Ok(Self {
            copies: [a?, b?, c?, d?],
            live,
            is_skipped: zero.f_to_kind(Kind::Bool)?,
            zero,
        })
    }

    pub(super) fn save(&mut self) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        for (copy, live) in self.copies.iter_mut().zip(&self.live) {
            copy.f_copy_(live)?;
        }
        Ok(())
    }

    /// Restores the model's buffers on the device if `is_skipped` is 1. Allocates nothing: the parameters
    /// may be updated already, and a failure could not be undone.
    pub(super) fn restore_buffers_if(&self, is_skipped: &Tensor) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let is_skipped = is_skipped.f_ne_tensor_out(&self.is_skipped, &self.zero)?;
        for (live, copy) in self.live.iter().zip(&self.copies).take(NUM_BUFFERS) {
            let _restored = copy.f_where_self_out(live, &is_skipped, live)?;
        }
        Ok(())
    }

    fn restore(&mut self) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        for (live, copy) in self.live.iter_mut().zip(&self.copies) {
            live.f_copy_(copy)?;
        }
        Ok(())
    }
}

/// The hooks of one attempt at a step, of a rank with its team.
struct Attempt<'a> {
    watch: &'a mut StepWatch,
    team: &'a mut Team,
    places: &'a Places,
    report: Report,
}

impl StepHooks for Attempt<'_> {
    fn before_backward(&mut self, learner: &Learner, loss: Tensor) -> Result<Tensor> {
        self.watch.before_backward(learner, loss)
    }

    fn backward(&mut self, learner: &Learner, loss: &Tensor) -> Result<()> {
        self.team.backward(learner, self.places, loss)
    }

    fn after_backward(
        &mut self,
        learner: &Learner,
        micro: &MicroBatch<'_>,
        loss: &Tensor,
    ) -> Result<()> {
        self.watch.after_backward(learner, micro, loss)?;
        self.team.micro_batch_done(learner, self.places)
    }

    fn before_update(&mut self, learner: &Learner) -> Result<()> {
        self.watch.before_update(learner)?;
        self.team
            .prepare_exchange(learner, self.places, &self.watch.losses)?;
        self.team.agree_to_go_on(&self.report)?;
        self.team
            .exchange(learner, self.places, &mut self.watch.losses)
    }

    fn may_undo_update(&self) -> bool {
        self.team.is_alone()
    }
}

impl Trainer {
    /// Takes one step: with the recipe unchanged, or with the first rung of the ladder that makes the step succeed on all
    /// ranks. Returns the loss of each batch of all ranks.
    ///
    /// # Errors
    /// If no rung repairs the failure.
    pub(super) fn step<E>(
        &mut self,
        share: &StepShare<'_>,
        observer: &mut dyn Observer<E>,
        interrupt: &Interrupt,
    ) -> Result<Vec<Tensor>> {
        self.saved.save()?;
        if self.ladder.is_none() && self.guard.is_none() && self.team.is_alone() {
            let outcome = self.try_step(share, interrupt);
            self.is_poisoned = outcome.is_err();
            return outcome;
        }
        loop {
            let moves = self.learner.optimizer.num_moves();
            let error = match self.try_step(share, interrupt) {
                Ok(losses) => {
                    self.ladder.iter_mut().for_each(Ladder::step_done);
                    return Ok(losses);
                }
                Err(error) => error,
            };
            let optimizer = &self.learner.optimizer;
            // A skipped update left the parameters untouched.
            let has_moved =
                optimizer.num_moves() != moves && !matches!(error, Error::GradientOverflow { .. });
            let have_others_moved =
                self.team.has_exchanged() && !matches!(error, Error::GradientOverflow { .. });
            self.is_poisoned = has_moved || optimizer.is_under_way() || have_others_moved;
            if self.is_poisoned {
                return Err(error);
            }
            self.undo().inspect_err(|_| self.is_poisoned = true)?;
            if self.team.is_alone() && interrupt.requested() {
                // The undone step is the one that a resumed run takes next.
                return Err(Error::Interrupted {
                    step: self.position.steps,
                });
            }
            let Some(failure) = self.failure_of_all(share, &error)? else {
                return Err(error);
            };
            // A snapshot from before the rung does not contain it.
            let (recipe, mut ladder) = (self.recipe(), self.ladder.clone());
            let is_of_graph = self.was_recorded() && matches!(failure, Failure::OutOfMemory { .. });
            let chosen = self.team.told(|| {
                let rung = match &mut ladder {
                    // Its memory was its own, and nothing else may have to change.
                    Some(_) if is_of_graph => Some(Rung::without_graph(recipe)),
                    Some(ladder) => ladder.next(&failure, &recipe),
                    None => None,
                };
                rung.map(ChosenRung::from)
            })?;
            let Some(rung) = chosen.map(Rung::try_from).transpose()? else {
                return Err(error);
            };
            observer.rung_taken(self, &failure, &rung);
            self.ladder = ladder;
            self.adopt(rung.recipe, rung.scale)?;
        }
    }

    /// The failure of an attempt that all ranks take a rung for; `None` if they leave.
    fn failure_of_all(&mut self, share: &StepShare<'_>, error: &Error) -> Result<Option<Failure>> {
        let objection = self.team.objection();
        if objection.is_none() && error.is_peer_lost() {
            // There is nobody left to agree with.
            return Ok(None);
        }
        // An update that is skipped comes after it.
        if !self.team.has_exchanged() {
            let places = share.places(self.team.shard(), self.micro_batch);
            self.team.give_up_step(&self.learner, &places)?;
        }
        let verdict = match objection {
            Some(verdict) => verdict,
            None => self.team.agree(&self.report(Some(error), false))?,
        };
        let Verdict::Undo {
            what,
            missing_bytes,
            ..
        } = verdict
        else {
            return Ok(None);
        };
        let scale = self.learner.scaler.current()?;
        Ok(Failure::of_ranks(what, missing_bytes, scale))
    }

    /// What this rank says of an attempt at a step.
    fn report(&self, error: Option<&Error>, interrupt: bool) -> Report {
        let is_alone = self.team.is_alone();
        Report {
            interrupt,
            recipe: if is_alone {
                0
            } else {
                self.recipe().fingerprint()
            },
            ..Report::of(self.position.steps, error)
        }
    }

    /// Tells the other ranks that this one cannot go on. Returns the reason.
    pub(super) fn leave(&mut self, share: &StepShare<'_>, error: Error) -> Error {
        // They have begun the step, or are about to.
        let places = share.places(self.team.shard(), self.micro_batch);
        if self.team.give_up_step(&self.learner, &places).is_err() {
            return error;
        }
        let report = self.report(Some(&error), false);
        self.team.leave(report, error)
    }

    fn try_step(&mut self, share: &StepShare<'_>, interrupt: &Interrupt) -> Result<Vec<Tensor>> {
        let planted = PlantedFaults::in_step(self.position.steps + 1);
        let mut watch = StepWatch::new(self, share, planted);
        self.step_by_any_way(share, &mut watch, interrupt)?;
        self.is_peak_kept = cfg!(target_env = "gnu");
        if watch.is_looked_at() && self.skips.are_too_many()? {
            let scale = self.learner.scaler.current()?;
            return Err(Error::GradientOverflow { scale });
        }
        Ok(watch.losses)
    }

    pub(super) fn eager_step(
        &mut self,
        share: &StepShare<'_>,
        watch: &mut StepWatch,
        interrupt: &Interrupt,
    ) -> Result<()> {
        let micro_batches = share.micro_batches(self.micro_batch);
        let places = share.places(self.team.shard(), self.micro_batch);
        let report = self.report(None, interrupt.requested());
        self.team
            .begin_step(&self.learner, &places, report.recipe)?;
        let mut attempt = Attempt {
            watch,
            team: &mut self.team,
            places: &places,
            report,
        };
        let is_skipped = self.learner.step(micro_batches, &mut attempt)?;
        self.saved.restore_buffers_if(&is_skipped)?;
        self.skips.count(&is_skipped)
    }

    /// Only the forward and backward passes of a step, without other ranks. Returns the loss of each batch.
    pub(super) fn accumulate_gradients(&mut self, share: &StepShare<'_>) -> Result<Vec<Tensor>> {
        let mut watch = StepWatch::new(self, share, PlantedFaults::default());
        let micro_batches = share.micro_batches(self.micro_batch);
        self.learner
            .accumulate_gradients(micro_batches, &mut watch)?;
        Ok(watch.losses)
    }

    /// Restores the state from before the step, and releases all memory that is not needed.
    pub(super) fn undo(&mut self) -> Result<()> {
        self.restore_saved()?;
        self.forget_recorded()?;
        self.is_peak_kept = false;
        device::empty_cache(self.learner.device())
    }

    /// Restores the state from before the step.
    pub(super) fn restore_saved(&mut self) -> Result<()> {
        self.learner.zero_grad()?;
        self.saved.restore()
    }

    /// Uses this recipe from now on, with a new scaler if `scale` is given.
    pub(super) fn adopt(&mut self, recipe: StepRecipe, scale: Option<f64>) -> Result<()> {
        let StepRecipe {
            config,
            precision,
            micro_batch,
        } = recipe;
        self.begin_recording_anew()?;
        let learner = &mut self.learner;
        if scale.is_some() || precision != learner.precision {
            let scale = scale.unwrap_or(config.init_scale);
            learner.scaler = Scaler::new(learner.device(), precision, scale)?;
            self.skips.begin_row()?;
        }
        learner.adopt(&config, precision)?;
        self.config = config;
        self.micro_batch = micro_batch;
        Ok(())
    }

    /// How the trainer computes at present.
    pub fn recipe(&self) -> StepRecipe {
        StepRecipe {
            config: self.config.clone(),
            precision: self.learner.precision,
            micro_batch: self.micro_batch,
        }
    }
}
