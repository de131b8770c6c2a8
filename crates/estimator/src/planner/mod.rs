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
mod fastest;
#[cfg(test)]
mod tests;

use schedule::{Keep, Plan};

use crate::EstimateError;
use crate::step::{Batch, Machine, Plans, TrainingStep};
use crate::time::Speed;
use candidates::{Bounds, Candidates};
use fastest::{Fastest, Found};

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
    stages: Stages,
    /// The searches so far whose budgets did not rise.
    fastest: Option<Fastest>,
    is_exact: bool,
    num_walks: usize,
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
        let everything = Plan::uniform(&step.network, Keep::Everything);
        let everything = everything.with_split_concat(step.split_concat);
        let bounds = Bounds::of(&mut plans, &everything)?;
        Ok(Self {
            plans,
            bounds,
            stages: Stages(everything),
            fastest: None,
            is_exact: true,
            num_walks: 0,
        })
    }

    /// Whether every search so far has seen all that it had to: with more than five levels there
    /// can be too many plans.
    pub const fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Plans that there are of the step: each stage keeps one of four things.
    pub fn num_plans(&self) -> u64 {
        let bits = 2 * self.plans.network().num_stages();
        u32::try_from(bits).map_or(u64::MAX, |bits| 1_u64.checked_shl(bits).unwrap_or(u64::MAX))
    }

    /// Plans that the searches so far have walked; the bounds have ruled out all others.
    pub const fn num_walks(&self) -> usize {
        self.num_walks
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
    /// with that time the one with the least peak. `None` where no plan fits. Quicker where the
    /// budget is no larger than that of the search before.
    ///
    /// # Errors
    /// None but those of [`Self::cost`].
    pub fn fastest_within(&mut self, budget_bytes: u64) -> Result<Option<Planned>, EstimateError> {
        let of_before = self.fastest.take();
        let mut fastest = of_before
            .filter(|fastest| !fastest.is_past(budget_bytes))
            .unwrap_or_else(|| Fastest::new(&self.bounds, budget_bytes));
        let (bounds, stages) = (&self.bounds, &mut self.stages);
        let Found {
            best,
            is_exact,
            num_walks,
        } = fastest.within(budget_bytes, bounds, &mut self.plans, stages)?;
        self.fastest = Some(fastest);
        self.is_exact &= is_exact;
        self.num_walks += num_walks;
        Ok(best.map(|best| Planned {
            plan: self.stages.plan(best.keeps).clone(),
            peak_bytes: best.peak_bytes,
            seconds: best.seconds,
        }))
    }

    /// The plan with the least peak.
    ///
    /// # Errors
    /// None but those of [`Self::cost`].
    pub fn smallest(&mut self) -> Result<Planned, EstimateError> {
        let network = *self.plans.network();
        let start = self.cost(Plan::mixed(&network, self.stages.0.split_concat))?;
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
            Plan::uniform(&network, Keep::Everything).with_split_concat(self.stages.0.split_concat);
        let start = self.cost(fastest)?;
        let limit = start.seconds * slower;
        // What it keeps less makes for fewer candidates.
        let selective = Plan::selective(&network).with_split_concat(self.stages.0.split_concat);
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
            self.num_walks += 1;
            let plan = self.stages.plan(candidate.keeps);
            let smaller = best.peak_bytes - 1;
            if let Some(found) = self.plans.outcome_within(plan, smaller)?
                && found.seconds <= seconds
            {
                best = Planned {
                    plan: plan.clone(),
                    peak_bytes: found.peak_bytes,
                    seconds: found.seconds,
                };
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
}

/// A plan that becomes one candidate after another.
#[derive(Debug)]
struct Stages(Plan);

impl Stages {
    fn plan(&mut self, keeps: u64) -> &Plan {
        for (stage, keep) in self.0.stages.iter_mut().enumerate() {
            *keep = KEEPS[candidates::choice(keeps, stage)];
        }
        &self.0
    }
}
