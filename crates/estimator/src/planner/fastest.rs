//! The fastest plan within a budget, and then within smaller ones: what one search has walked is not
//! walked again by the next.

use super::candidates::{Bounds, Candidate, Candidates};
use super::{MOST_WALKS, Stages};
use crate::EstimateError;
use crate::step::Plans;

/// Searches whose budgets never rise.
#[derive(Debug)]
pub(super) struct Fastest {
    budget_bytes: u64,
    candidates: Candidates,
    /// Not walked yet, the fastest last.
    waiting: Vec<Candidate>,
    /// Those within the budget.
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

/// What a search has found.
pub(super) struct Found {
    pub(super) best: Option<Walked>,
    /// Whether it has seen all that it had to.
    pub(super) is_exact: bool,
    /// Plans walked.
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

    /// Whether a budget is none of a search before.
    pub(super) const fn is_past(&self, budget_bytes: u64) -> bool {
        budget_bytes > self.budget_bytes
    }

    /// The least time within a budget, and of those with that time the least peak.
    pub(super) fn within(
        &mut self,
        budget_bytes: u64,
        bounds: &Bounds,
        plans: &mut Plans,
        stages: &mut Stages,
    ) -> Result<Found, EstimateError> {
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
                return Ok(Found {
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
        Ok(Found {
            best,
            is_exact: true,
            num_walks,
        })
    }

    /// What is past a budget now will be so in all searches to come.
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

/// The one that was first where both have the same figures.
fn take_better(best: &mut Option<Walked>, walked: Walked) {
    let is_better = best
        .is_none_or(|best| (walked.seconds, walked.peak_bytes) < (best.seconds, best.peak_bytes));
    if is_better {
        *best = Some(walked);
    }
}
