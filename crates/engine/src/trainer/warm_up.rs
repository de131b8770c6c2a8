//! Before a long run: whether checkpointing and channels-last pay off, measured on steps that are
//! undone. The guide's Q3 and Q4.

use std::time::{Duration, Instant};

use super::{Observer, StepShare, Trainer};
use crate::device;
use crate::error::Result;
use crate::ladder::{Failure, Ladder, Rung, StepRecipe};
use data::Batch;

/// Timed tries of each recipe, after an untimed one; the fastest counts.
const TRIES: u32 = 2;
/// Shorter runs end before a measurement pays off.
const LEAST_STEPS: u64 = 200;
const LEAST_TIME: Duration = Duration::from_secs(180);
/// The least gain, as a share of a step's time: anything less is noise.
const WORTH_IT: f64 = 0.1;

/// The techniques that may be dropped, in this order.
const WAYS: [fn(&Ladder, &StepRecipe) -> Option<Rung>; 2] =
    [Ladder::without_checkpointing, Ladder::without_channels_last];

/// Measures the time of a step with the trainer's present recipe.
pub type Clock<'a> = dyn FnMut(&mut Trainer, &[Batch]) -> Result<Duration> + 'a;

impl Trainer {
    /// Whether a warm-up would measure anything in a run of `num_steps` steps.
    pub fn may_warm_up(&self, num_steps: u64) -> bool {
        let recipe = self.recipe();
        let has_other = |ladder: &Ladder| {
            // Without a prediction a trial could exhaust the machine's memory, which no process survives.
            let is_known =
                self.learner.device().is_cuda() || ladder.predicted_bytes(&recipe).is_some();
            is_known && WAYS.iter().any(|drop| drop(ladder, &recipe).is_some())
        };
        num_steps >= LEAST_STEPS
            && !self.config.deterministic
            && self.team.is_alone()
            && self.ladder.as_ref().is_some_and(has_other)
    }

    /// In a run of `num_steps` steps, drops each technique that only costs time here, if the run fits
    /// without it. `clock` is [`Self::time_of_step`], except in tests. Weights, statistics and scaler
    /// are unchanged afterwards. A failure that the ladder has rungs for is left to the ladder.
    ///
    /// # Errors
    /// If a step fails in a way that the ladder has no rungs for.
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

    /// By what share of a step's time `other` is faster. `None` if it does not fit.
    fn gain_of(
        &mut self,
        other: &StepRecipe,
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

    /// The shortest of several tries; `None` if one fails with a failure that the ladder handles. On
    /// CUDA one more comes first that does not count, since cuDNN searches for algorithms in it.
    fn fastest(
        &mut self,
        batches: &[Batch],
        tries: u32,
        clock: &mut Clock<'_>,
    ) -> Result<Option<Duration>> {
        let mut fastest: Option<Duration> = None;
        let num_searches = u32::from(self.learner.device().is_cuda());
        for number in 0..num_searches + tries {
            match clock(self, batches) {
                Ok(_) if number < num_searches => {}
                Ok(time) => fastest = Some(fastest.map_or(time, |fastest| fastest.min(time))),
                Err(error) if error.failure().is_some() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(fastest)
    }

    /// Time of the forward and backward passes of a step, which are undone. The optimizer takes the same
    /// time with every recipe.
    ///
    /// # Errors
    /// The errors of a step.
    pub fn time_of_step(&mut self, batches: &[Batch]) -> Result<Duration> {
        self.saved.save()?;
        device::synchronize(self.learner.device());
        let begun = Instant::now();
        let outcome = self.accumulate_gradients(&StepShare::whole(batches));
        device::synchronize(self.learner.device());
        let time = begun.elapsed();
        // The allocator keeps its cache, as it does between the steps of a run.
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

    /// Switches to another recipe, and releases the memory that the allocator has cached for this one.
    fn adopt_anew(&mut self, recipe: StepRecipe) -> Result<()> {
        device::empty_cache(self.learner.device())?;
        self.adopt(recipe, None)
    }
}
