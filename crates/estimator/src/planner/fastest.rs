//! The fastest plan within a budget, then within smaller budgets: a search does not walk plans that
//! an earlier one has walked.

use super::candidates::{Bounds, Candidate, Candidates};
use super::{MOST_WALKS, Stages};
use crate::EstimateError;
use crate::step::Plans;

/// A series of searches whose budgets never rise.
#[derive(Debug)]
pub(super) struct Fastest {
    budget_bytes: u64,
    candidates: Candidates,
    /// Candidates that are not walked yet, the fastest last.
    waiting: Vec<Candidate>,
    /// Walked plans that are within the budget.
    walked: Vec<Walked>,
}

/// A plan and its figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Walked {
    /// As in [`Candidate`].
    pub(super) keeps: u64,
    pub(super) seconds: f64,
    pub(super) peak_bytes: u64,
}

/// The result of a search.
pub(super) struct Cheapest {
    pub(super) best: Option<Walked>,
    /// Whether it examined every plan that it had to.
    pub(super) is_exact: bool,
    /// Number of plans walked.
    pub(super) num_walks: usize,
}

impl Fastest {
    pub(super) fn new(bounds: &Bounds, budget_bytes: u64) -> Self {
        Self {
            budget_bytes,
            candidates: Candidates::new(bounds, budget_bytes),
            waiting: Vec::new(),
            walked: Vec::new(),
        }
    }

    /// Whether a budget exceeds that of the previous search.
    pub(super) const fn is_past(&self, budget_bytes: u64) -> bool {
        budget_bytes > self.budget_bytes
    }

    /// The plan with the least time within a budget and, among equally fast plans, the least peak.
    pub(super) fn within(
        &mut self,
        budget_bytes: u64,
        bounds: &Bounds,
        plans: &mut Plans,
        stages: &mut Stages,
    ) -> Result<Cheapest, EstimateError> {
        self.lower(budget_bytes);
        let mut best = None;
        for walked in &self.walked {
            take_better(&mut best, *walked);
        }
        let mut num_walks = 0;
        while let Some(candidate) = self.next(bounds) {
            let is_slower = best.is_some_and(|best| candidate.seconds > best.seconds);
            if is_slower || num_walks == MOST_WALKS {
                self.waiting.push(candidate);
                return Ok(Cheapest {
                    best,
                    is_exact: is_slower,
                    num_walks,
                });
            }
            num_walks += 1;
            let plan = stages.plan(candidate.keeps);
            if let Some(outcome) = plans.outcome_within(plan, budget_bytes)? {
                let walked = Walked {
                    keeps: candidate.keeps,
                    seconds: outcome.seconds,
                    peak_bytes: outcome.peak_bytes,
                };
                self.walked.push(walked);
                take_better(&mut best, walked);
            }
        }
        Ok(Cheapest {
            best,
            is_exact: true,
            num_walks,
        })
    }

    /// Lowers the budget: plans that exceed it now will exceed it in all later searches.
    fn lower(&mut self, budget_bytes: u64) {
        self.budget_bytes = budget_bytes;
        self.candidates.lower(budget_bytes);
        self.walked
            .retain(|walked| walked.peak_bytes <= budget_bytes);
        let fits = |candidate: &Candidate| self.candidates.may_fit(candidate);
        self.waiting.retain(fits);
    }

    fn next(&mut self, bounds: &Bounds) -> Option<Candidate> {
        while self.waiting.is_empty() {
            self.waiting = self.candidates.next_batch(bounds)?;
            self.waiting.reverse();
        }
        self.waiting.pop()
    }
}

/// Takes the better plan; with equal figures the earlier one stays.
fn take_better(best: &mut Option<Walked>, walked: Walked) {
    let is_better = best
        .is_none_or(|best| (walked.seconds, walked.peak_bytes) < (best.seconds, best.peak_bytes));
    if is_better {
        *best = Some(walked);
    }
}
