//! Before a long run: whether checkpointing and channels-last pay, measured on steps that are undone.
//! The guide's Q3 and Q4.

use std::time::{Duration, Instant};

use super::{Observer, Trainer};
use crate::device;
use crate::error::Result;
use crate::ladder::{Failure, Ladder, Recipe, Rung};
use data::Batch;

/// Tries of each way, after one that is not counted; the fastest counts.
const TRIES: u32 = 2;
/// Runs of fewer steps, or of less time, are over before it pays to look.
const LEAST_STEPS: u64 = 200;
const LEAST_TIME: Duration = Duration::from_secs(180);
/// What has to be gained, as a share of a step's time: less is noise.
const WORTH_IT: f64 = 0.1;

/// What may be dropped, in this order.
const WAYS: [fn(&Ladder, &Recipe) -> Option<Rung>; 2] =
    [Ladder::without_checkpointing, Ladder::without_channels_last];

/// Says how long a step takes as the trainer does it now.
pub type Clock<'a> = dyn FnMut(&mut Trainer, &[Batch]) -> Result<Duration> + 'a;

impl Trainer {
    /// Whether a warm-up would look at anything, of a run that is so many steps long.
    pub fn may_warm_up(&self, num_steps: u64) -> bool {
        let recipe = self.recipe();
        let has_other = |ladder: &Ladder| {
            // Without a prediction the machine's memory would be tried out, which nobody survives.
            let is_known =
                self.learner.device().is_cuda() || ladder.predicted_bytes(&recipe).is_some();
            is_known && WAYS.iter().any(|drop| drop(ladder, &recipe).is_some())
        };
        num_steps >= LEAST_STEPS
            && !self.config.deterministic
            && self.ladder.as_ref().is_some_and(has_other)
    }

    /// Drops what does not pay, of a run that is so many steps long: each technique that only costs
    /// time here, where the run fits without. `clock` is [`Self::time_of_step`], but in tests.
    /// Weights, statistics and scaler are as before. A step that the ladder has rungs for is left to
    /// it.
    ///
    /// # Errors
    /// Where a step fails otherwise.
    pub fn warm_up<E>(
        &mut self,
        batches: &[Batch],
        num_steps: u64,
        clock: &mut Clock<'_>,
        observer: &mut dyn Observer<E>,
    ) -> Result<()> {
        if !self.may_warm_up(num_steps) {
            return Ok(());
        }
        for drop in WAYS {
            let recipe = self.recipe();
            let other = self
                .ladder
                .as_ref()
                .and_then(|ladder| drop(ladder, &recipe));
            let Some(other) = other else { continue };
            let Some(now) = self.fastest(batches, 1, clock)? else {
                return Ok(());
            };
            let whole = now.checked_mul(u32::try_from(num_steps).unwrap_or(u32::MAX));
            if whole.is_some_and(|whole| whole < LEAST_TIME) {
                return Ok(());
            }
            let Some(gain) = self.gain_of(&other.recipe, batches, clock)? else {
                continue;
            };
            if gain > WORTH_IT {
                observer.rung_taken(self, &Failure::Slow { gain }, &other);
                self.adopt_anew(other.recipe)?;
            }
        }
        Ok(())
    }

    /// By what share of a step's time `other` is faster. `None` where it does not fit.
    fn gain_of(
        &mut self,
        other: &Recipe,
        batches: &[Batch],
        clock: &mut Clock<'_>,
    ) -> Result<Option<f64>> {
        let before = self.recipe();
        let now = self.fastest(batches, TRIES, clock)?;
        self.adopt_anew(other.clone())?;
        let then = self.fastest(batches, 1 + TRIES, clock);
        self.adopt_anew(before)?;
        Ok(now
            .zip(then?)
            .map(|(now, then)| 1.0 - then.as_secs_f64() / now.as_secs_f64().max(1e-9)))
    }

    /// The shortest of some tries; `None` where one fails as steps of a run may.
    fn fastest(
        &mut self,
        batches: &[Batch],
        tries: u32,
        clock: &mut Clock<'_>,
    ) -> Result<Option<Duration>> {
        let mut fastest: Option<Duration> = None;
        for _try in 0..tries {
            match clock(self, batches) {
                Ok(time) => fastest = Some(fastest.map_or(time, |fastest| fastest.min(time))),
                Err(error) if error.failure().is_some() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(fastest)
    }

    /// Time of the forward and backward passes of a step, which are undone. What the optimizer takes is
    /// the same in every way.
    ///
    /// # Errors
    /// As a step.
    pub fn time_of_step(&mut self, batches: &[Batch]) -> Result<Duration> {
        self.saved.save()?;
        device::synchronize(self.learner.device());
        let begun = Instant::now();
        let outcome = self.accumulate_gradients(batches);
        device::synchronize(self.learner.device());
        let time = begun.elapsed();
        // What the allocator keeps is kept, as from step to step of a run.
        match outcome {
            Ok(losses) => {
                drop(losses);
                self.restore_saved()?;
                Ok(time)
            }
            Err(error) => {
                self.undo()?;
                Err(error)
            }
        }
    }

    /// Computes by another recipe, without the memory that the allocator keeps for the present one.
    fn adopt_anew(&mut self, recipe: Recipe) -> Result<()> {
        device::empty_cache(self.learner.device())?;
        self.adopt(recipe, None)
    }
}
