//! Chooses the plan to run: among all plans, the one with the least predicted time whose simulated
//! peak fits a budget.
//!
//! The search is exact, and it is fast because two bounds hold (tests try every plan of small
//! networks):
//! * time: a stage that keeps less costs at least what it costs if all other stages keep
//!   everything, because tensors that its neighbours do not keep can only add to what must be
//!   rebuilt;
//! * memory: a stage's backward holds everything that earlier stages keep and, in addition, at
//!   least what it holds if all other stages keep everything.
//!
//! Both bounds are sums over stages, so enumerating candidates in the order of their bounds costs
//! almost nothing, and few candidates are walked.

mod candidates;
mod fastest;
#[cfg(test)]
mod tests;

use schedule::{Keep, Plan};

use crate::EstimateError;
use crate::step::{Batch, Machine, Plans, TrainingStep};
use crate::time::Speed;
use candidates::{Bounds, Candidates};
use fastest::{Cheapest, Fastest};

/// A plan and what it costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// What each stage keeps.
    pub plan: Plan,
    /// The most bytes that a step holds in tensors: [`TrainingStep::peak`].
    pub peak_bytes: u64,
    /// Predicted time of a step, including all micro-batches and the update.
    pub seconds: f64,
}

/// Searches for plans of one step on one device.
#[derive(Debug)]
pub struct Planner {
    plans: Plans,
    bounds: Bounds,
    stages: Stages,
    /// The searches so far, as long as their budgets did not rise.
    fastest: Option<Fastest>,
    is_exact: bool,
    num_walks: usize,
}

/// What a stage can keep, from most to least.
const KEEPS: [Keep; 4] = [Keep::Everything, Keep::Convs, Keep::LastConv, Keep::Nothing];

/// The most plans that one search walks: more than five levels ever need, and a matter of some
/// hundredths of a second.
const MOST_WALKS: usize = 50_000;

impl Planner {
    /// A planner for the steps that equal `step` except for the plan.
    ///
    /// # Errors
    /// The same as [`TrainingStep::peak`].
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

    /// Whether every search so far examined all the plans that it had to; with more than five
    /// levels there can be too many.
    pub const fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// The number of possible plans for the step: each stage keeps one of four sets of tensors.
    pub fn num_plans(&self) -> u64 {
        let bits = 2 * self.plans.network().num_stages();
        u32::try_from(bits).map_or(u64::MAX, |bits| 1_u64.checked_shl(bits).unwrap_or(u64::MAX))
    }

    /// The number of plans that the searches so far have walked; the bounds ruled out all others.
    pub const fn num_walks(&self) -> usize {
        self.num_walks
    }

    /// The cost of a plan.
    ///
    /// # Errors
    /// [`EstimateError::Schedule`] if the plan is for another network.
    pub fn cost(&mut self, plan: Plan) -> Result<Planned, EstimateError> {
        let outcome = self.plans.outcome(&plan)?;
        Ok(Planned {
            plan,
            peak_bytes: outcome.peak_bytes,
            seconds: outcome.seconds,
        })
    }

    /// The fastest plan among those whose peak is at most `budget_bytes`; among equally fast plans,
    /// the one with the least peak. `None` if no plan fits. The search is quicker if the budget
    /// does not exceed that of the previous search.
    ///
    /// # Errors
    /// The same as [`Self::cost`].
    pub fn fastest_within(&mut self, budget_bytes: u64) -> Result<Option<Planned>, EstimateError> {
        let of_before = self.fastest.take();
        let mut fastest = of_before
            .filter(|fastest| !fastest.is_past(budget_bytes))
            .unwrap_or_else(|| Fastest::new(&self.bounds, budget_bytes));
        let (bounds, stages) = (&self.bounds, &mut self.stages);
        let Cheapest {
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
    /// The same as [`Self::cost`].
    pub fn smallest(&mut self) -> Result<Planned, EstimateError> {
        let network = *self.plans.network();
        let start = self.cost(Plan::mixed(&network, self.stages.0.split_concat))?;
        self.smaller_than(start, f64::INFINITY)
    }

    /// The plan with the least peak among those that take at most `slower` times as long as the
    /// fastest.
    ///
    /// # Errors
    /// The same as [`Self::cost`].
    pub fn smallest_within(&mut self, slower: f64) -> Result<Planned, EstimateError> {
        let network = *self.plans.network();
        let fastest =
            Plan::uniform(&network, Keep::Everything).with_split_concat(self.stages.0.split_concat);
        let start = self.cost(fastest)?;
        let limit = start.seconds * slower;
        // Starting from a plan that keeps less leaves fewer candidates.
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

    /// The Pareto front of memory against time, from the fastest plan to the smallest: no plan is
    /// both smaller and faster than a plan of the front. Each plan's peak is smaller than the
    /// previous one's by at least the share `step`; with 0, the front has all of its plans.
    ///
    /// # Errors
    /// The same as [`Self::cost`].
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

/// One plan that is reused for one candidate after another.
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
