//! Which plan to run: of all that keep this or that of each stage, the one with the least predicted
//! time whose simulated peak fits a budget.
//!
//! Exact, and quick because two bounds hold (tests go over every plan of small networks):
//! * time: a stage that keeps less costs at least what it costs where all others keep everything,
//!   since what its neighbours do not keep can only add to what has to be rebuilt;
//! * memory: backward of a stage holds all that the stages before it keep, and beside it at least what
//!   it holds where all others keep everything.
//!
//! Both come of sums over stages, so that candidates come in the order of their bounds for next to
//! nothing, and few of them are walked.

mod candidates;
#[cfg(test)]
mod tests;

use schedule::{Keep, Plan};

use crate::EstimateError;
use crate::step::{Batch, Machine, Plans, TrainingStep};
use crate::time::Speed;
use candidates::{Bounds, Candidates};

/// A plan and what it costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// What each stage keeps.
    pub plan: Plan,
    /// The most that a step holds in tensors, all of it: [`TrainingStep::peak`].
    pub peak_bytes: u64,
    /// Predicted for a step, all micro-batches and the update.
    pub seconds: f64,
}

/// Looks for plans of one step on one device.
#[derive(Debug)]
pub struct Planner {
    plans: Plans,
    bounds: Bounds,
    split_concat: bool,
    is_exact: bool,
}

/// From much to little.
const KEEPS: [Keep; 4] = [Keep::Everything, Keep::Convs, Keep::LastConv, Keep::Nothing];

/// Plans to walk at the most, in one search: more than five levels ever need, some hundredths of a
/// second.
const MOST_WALKS: usize = 50_000;

impl Planner {
    /// For the steps that are like `step` but for its plan.
    ///
    /// # Errors
    /// As [`TrainingStep::peak`].
    pub fn new(
        step: &TrainingStep,
        machine: impl Into<Machine>,
        batch: Batch,
        speed: Speed,
    ) -> Result<Self, EstimateError> {
        let mut plans = Plans::new(step, machine.into(), batch, speed)?;
        let bounds = Bounds::of(&mut plans, step.split_concat)?;
        Ok(Self {
            plans,
            bounds,
            split_concat: step.split_concat,
            is_exact: true,
        })
    }

    /// Whether every search so far has seen all that it had to: with more than five levels there
    /// can be too many plans.
    pub const fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// What a plan costs.
    ///
    /// # Errors
    /// [`EstimateError::Schedule`] for a plan of another network.
    pub fn cost(&mut self, plan: Plan) -> Result<Planned, EstimateError> {
        let outcome = self.plans.outcome(&plan)?;
        Ok(Planned {
            plan,
            peak_bytes: outcome.peak_bytes,
            seconds: outcome.seconds,
        })
    }

    /// The plan with the least time among those whose peak is at most `budget_bytes`, and of those
    /// with that time the one with the least peak. `None` where no plan fits.
    ///
    /// # Errors
    /// None but those of [`Self::cost`].
    pub fn fastest_within(&mut self, budget_bytes: u64) -> Result<Option<Planned>, EstimateError> {
        let mut best: Option<Planned> = None;
        let mut num_walks = 0;
        let mut candidates = Candidates::new(&self.bounds, budget_bytes);
        while let Some(batch) = candidates.next_batch(&self.bounds) {
            for candidate in batch {
                if best.as_ref().is_some_and(|b| candidate.seconds > b.seconds) {
                    return Ok(best);
                }
                if num_walks == MOST_WALKS {
                    self.is_exact = false;
                    return Ok(best);
                }
                num_walks += 1;
                let found = self.cost(self.plan(candidate.keeps))?;
                let is_better = best.as_ref().is_none_or(|best| {
                    (found.seconds, found.peak_bytes) < (best.seconds, best.peak_bytes)
                });
                if found.peak_bytes <= budget_bytes && is_better {
                    best = Some(found);
                }
            }
        }
        Ok(best)
    }

    /// The plan with the least peak.
    ///
    /// # Errors
    /// None but those of [`Self::cost`].
    pub fn smallest(&mut self) -> Result<Planned, EstimateError> {
        let network = *self.plans.network();
        let start = self.cost(Plan::mixed(&network, self.split_concat))?;
        self.smaller_than(start, f64::INFINITY)
    }

    /// The plan with the least peak among those that take at most `slower` times as long as the
    /// fastest.
    ///
    /// # Errors
    /// None but those of [`Self::cost`].
    pub fn smallest_within(&mut self, slower: f64) -> Result<Planned, EstimateError> {
        let network = *self.plans.network();
        let fastest =
            Plan::uniform(&network, Keep::Everything).with_split_concat(self.split_concat);
        let start = self.cost(fastest)?;
        let limit = start.seconds * slower;
        // What it keeps less makes for fewer candidates.
        let selective = Plan::selective(&network).with_split_concat(self.split_concat);
        let selective = self.cost(selective)?;
        let start = if selective.seconds <= limit {
            selective
        } else {
            start
        };
        self.smaller_than(start, limit)
    }

    fn smaller_than(&mut self, start: Planned, seconds: f64) -> Result<Planned, EstimateError> {
        let mut best = start;
        let candidates = Candidates::new(&self.bounds, best.peak_bytes);
        let mut candidates = candidates.up_to(&self.bounds, seconds);
        candidates.sort_by_key(|candidate| candidate.bytes);
        for (num_walks, candidate) in candidates.into_iter().enumerate() {
            let bytes = u64::try_from(candidate.bytes).unwrap_or(0);
            if bytes >= best.peak_bytes {
                break;
            }
            if num_walks == MOST_WALKS {
                self.is_exact = false;
                break;
            }
            let found = self.cost(self.plan(candidate.keeps))?;
            if found.peak_bytes < best.peak_bytes && found.seconds <= seconds {
                best = found;
            }
        }
        Ok(best)
    }

    /// Memory against time: plans of which none has another beside it that is both smaller and
    /// faster, from the fastest to the smallest. A next one is at least `step` smaller, as a share
    /// of the peak; 0 for all of them.
    ///
    /// # Errors
    /// None but those of [`Self::cost`].
    pub fn front(&mut self, step: f64) -> Result<Vec<Planned>, EstimateError> {
        let mut front: Vec<Planned> = Vec::new();
        let mut budget_bytes = u64::MAX;
        while let Some(next) = self.fastest_within(budget_bytes)? {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share of a peak, which saturates"
            )]
            let less = (next.peak_bytes as f64 * step.clamp(0.0, 1.0)) as u64;
            budget_bytes = next.peak_bytes - less.clamp(1, next.peak_bytes.max(1));
            front.push(next);
        }
        Ok(front)
    }

    fn plan(&self, keeps: u64) -> Plan {
        let num_stages = self.plans.network().num_stages();
        let stages = (0..num_stages).map(|stage| KEEPS[candidates::choice(keeps, stage)]);
        Plan::new(stages.collect()).with_split_concat(self.split_concat)
    }
}
