//! Enumerates plans in the order of their time, with bounds that are sums over stages.

use schedule::Plan;

use super::KEEPS;
use crate::EstimateError;
use crate::step::Plans;

/// What each stage adds to the bounds, by what it keeps, relative to the plan that keeps
/// everything.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    seconds: f64,
    stages: Vec<[StageChoice; KEEPS.len()]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct StageChoice {
    /// Additional time, relative to the plan that keeps everything.
    seconds: f64,
    /// Change in the bytes that the stage keeps: at most 0.
    kept_bytes: i64,
    /// The most that the stage's backward holds if all other stages keep everything.
    backward_bytes: i64,
}

/// A plan that may fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// What each stage keeps, in two bits per stage.
    pub(super) keeps: u64,
    /// A lower bound on its time.
    pub(super) seconds: f64,
    /// A lower bound on its peak.
    pub(super) bytes: i64,
}

/// The most stages that fit a word at two bits each; all plans are assumed to keep the same in any
/// further stage.
const MOST_STAGES: usize = 32;

pub(super) const fn choice(keeps: u64, stage: usize) -> usize {
    if stage < MOST_STAGES {
        (keeps >> (2 * stage) & 3) as usize
    } else {
        0
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Bounds {
    /// The bounds, relative to the plan that keeps everything.
    pub(super) fn of(plans: &mut Plans, everything: &Plan) -> Result<Self, EstimateError> {
        let all = plans.outcome(everything)?;
        let mut bounds = Self {
            seconds: all.seconds,
            stages: vec![[StageChoice::default(); KEEPS.len()]; everything.stages.len()],
        };
        for (stage, choices) in bounds.stages.iter_mut().enumerate() {
            for (choice, keep) in choices.iter_mut().zip(KEEPS) {
                let mut plan = everything.clone();
                plan.stages[stage] = keep;
                let (one, backward) = plans.by_stage(&plan)?;
                choice.seconds = one.seconds - all.seconds;
                choice.kept_bytes = signed(one.kept_bytes) - signed(all.kept_bytes);
                choice.backward_bytes = backward[stage];
            }
        }
        Ok(bounds)
    }

    /// The bounds of one plan: seconds and bytes.
    #[cfg(test)]
    pub(super) fn sum(&self, keeps: u64) -> (f64, i64) {
        let mut sum = Sum::new(self.seconds);
        for (stage, choices) in self.stages.iter().enumerate().rev() {
            sum = sum.and(choices[choice(keeps, stage)]);
        }
        (sum.seconds, sum.bytes(0))
    }
}

/// The bounds of the stages from a given one to the last.
#[derive(Clone, Copy, Debug)]
struct Sum {
    seconds: f64,
    kept_bytes: i64,
    /// The most that any backward holds, if everything that these stages keep were kept before it.
    backward_bytes: i64,
}

impl Sum {
    const fn new(seconds: f64) -> Self {
        Self {
            seconds,
            kept_bytes: 0,
            backward_bytes: i64::MIN / 4,
        }
    }

    /// Adds the previous stage.
    fn and(self, choice: StageChoice) -> Self {
        let kept_bytes = self.kept_bytes + choice.kept_bytes;
        Self {
            seconds: self.seconds + choice.seconds,
            kept_bytes,
            // Tensors kept by this stage and later ones are freed by then, or are counted already.
            backward_bytes: self.backward_bytes.max(choice.backward_bytes - kept_bytes),
        }
    }

    /// The bound on the peak, given the bytes that earlier stages keep.
    const fn bytes(self, kept_before: i64) -> i64 {
        self.backward_bytes
            .saturating_add(self.kept_bytes)
            .saturating_add(kept_before)
    }
}

/// How much longer the next candidates' steps may be, as a share of the fastest plan's step: the
/// first increment, and the factor by which it grows each time.
const FIRST_STEP: f64 = 0.01;
const GROWTH: f64 = 1.25;
/// From this increment on, all remaining candidates are taken.
const LAST_STEP: f64 = 1.0;

/// Candidates, in batches.
#[derive(Debug)]
pub(super) struct Candidates {
    budget_bytes: i64,
    /// All candidates up to this time have been returned.
    seconds: Option<f64>,
    step: f64,
    /// The most time that the stages from each one on can add.
    most_seconds: Vec<f64>,
    /// The fewest bytes that the stages from each one on can keep, relative to the plan that keeps
    /// everything.
    least_bytes: Vec<i64>,
}

impl Candidates {
    pub(super) fn new(bounds: &Bounds, budget_bytes: u64) -> Self {
        let mut least_bytes = vec![0; bounds.stages.len() + 1];
        let mut most_seconds = vec![0.0; bounds.stages.len() + 1];
        for (stage, choices) in bounds.stages.iter().enumerate() {
            let least = choices.iter().map(|choice| choice.kept_bytes).min();
            least_bytes[stage + 1] = least_bytes[stage] + least.unwrap_or(0);
            let most = choices.iter().map(|c| c.seconds).fold(0.0, f64::max);
            most_seconds[stage + 1] = most_seconds[stage] + most;
        }
        Self {
            budget_bytes: signed(budget_bytes),
            seconds: None,
            step: FIRST_STEP,
            most_seconds,
            least_bytes,
        }
    }

    /// Lowers the budget for all further candidates.
    pub(super) fn lower(&mut self, budget_bytes: u64) {
        self.budget_bytes = signed(budget_bytes);
    }

    /// Whether a candidate's bound is within the budget.
    pub(super) const fn may_fit(&self, candidate: &Candidate) -> bool {
        candidate.bytes <= self.budget_bytes
    }

    /// The next candidates in order of time, sorted; `None` after the last.
    pub(super) fn next_batch(&mut self, bounds: &Bounds) -> Option<Vec<Candidate>> {
        if self.seconds == Some(f64::INFINITY) {
            return None;
        }
        let after = self.seconds.unwrap_or(f64::NEG_INFINITY);
        let mut up_to = after.max(bounds.seconds) + self.step * bounds.seconds;
        if self.step > LAST_STEP {
            up_to = f64::INFINITY;
        }
        self.step *= GROWTH;
        self.seconds = Some(up_to);
        let mut found = self.between(bounds, after, up_to);
        found.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        Some(found)
    }

    /// Every candidate that takes at most this long, in no particular order.
    pub(super) fn up_to(&self, bounds: &Bounds, seconds: f64) -> Vec<Candidate> {
        self.between(bounds, f64::NEG_INFINITY, seconds)
    }

    fn between(&self, bounds: &Bounds, after: f64, up_to: f64) -> Vec<Candidate> {
        let mut search = Search {
            bounds,
            least_bytes: &self.least_bytes,
            most_seconds: &self.most_seconds,
            budget_bytes: self.budget_bytes,
            after,
            up_to,
            found: Vec::new(),
        };
        search.descend(bounds.stages.len(), 0, Sum::new(bounds.seconds));
        search.found
    }
}

struct Search<'a> {
    bounds: &'a Bounds,
    least_bytes: &'a [i64],
    most_seconds: &'a [f64],
    budget_bytes: i64,
    after: f64,
    up_to: f64,
    found: Vec<Candidate>,
}

impl Search<'_> {
    /// Decides what the stages before `stage` keep, starting with the last of them.
    fn descend(&mut self, stage: usize, keeps: u64, sum: Sum) {
        let is_another_time =
            sum.seconds > self.up_to || sum.seconds + self.most_seconds[stage] <= self.after;
        if is_another_time || sum.bytes(self.least_bytes[stage]) > self.budget_bytes {
            return;
        }
        let Some(stage) = stage.checked_sub(1) else {
            self.found.push(Candidate {
                keeps,
                seconds: sum.seconds,
                bytes: sum.bytes(0),
            });
            return;
        };
        for (index, choice) in self.bounds.stages[stage].iter().enumerate() {
            if stage >= MOST_STAGES && index > 0 {
                return;
            }
            let keep = (index as u64) << (2 * stage.min(MOST_STAGES - 1));
            self.descend(stage, keeps | keep, sum.and(*choice));
        }
    }
}
