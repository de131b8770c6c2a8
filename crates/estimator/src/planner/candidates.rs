//! Plans by bounds that are sums over stages, in the order of their time.

use schedule::Plan;

use super::KEEPS;
use crate::EstimateError;
use crate::step::Plans;

/// What each stage adds to the bounds by what it keeps, beside the plan that keeps everything.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    seconds: f64,
    stages: Vec<[Choice; KEEPS.len()]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Choice {
    /// More than the plan that keeps everything takes.
    seconds: f64,
    /// What it keeps less: at most 0.
    kept_bytes: i64,
    /// The most that backward of the stage holds, where all others keep everything.
    backward_bytes: i64,
}

/// A plan that may fit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Two bits for each stage.
    pub(super) keeps: u64,
    /// It takes at least so long.
    pub(super) seconds: f64,
    /// It holds at least so much.
    pub(super) bytes: i64,
}

/// More stages than two bits each leave room for in a word: past that every plan is taken to keep
/// the same of them.
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
    /// Beside the plan that keeps everything.
    pub(super) fn of(plans: &mut Plans, everything: &Plan) -> Result<Self, EstimateError> {
        let all = plans.outcome(everything)?;
        let mut bounds = Self {
            seconds: all.seconds,
            stages: vec![[Choice::default(); KEEPS.len()]; everything.stages.len()],
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

/// The bounds of the stages from one on to the last.
#[derive(Clone, Copy, Debug)]
struct Sum {
    seconds: f64,
    kept_bytes: i64,
    /// The most of any backward, were all that is kept by these stages kept before it.
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

    /// With the stage before.
    fn and(self, choice: Choice) -> Self {
        let kept_bytes = self.kept_bytes + choice.kept_bytes;
        Self {
            seconds: self.seconds + choice.seconds,
            kept_bytes,
            // What the stage and those after it keep is not held any more then, or is counted.
            backward_bytes: self.backward_bytes.max(choice.backward_bytes - kept_bytes),
        }
    }

    /// With what the stages before keep.
    const fn bytes(self, kept_before: i64) -> i64 {
        self.backward_bytes
            .saturating_add(self.kept_bytes)
            .saturating_add(kept_before)
    }
}

/// How much longer a step the next candidates may have, as a share of the fastest plan's: to begin
/// with, and each time by so much more.
const FIRST_STEP: f64 = 0.01;
const GROWTH: f64 = 1.25;
/// From here on all that are left.
const LAST_STEP: f64 = 1.0;

/// Candidates, some at a time.
#[derive(Debug)]
pub(super) struct Candidates {
    budget_bytes: i64,
    /// All up to here have been handed out.
    seconds: Option<f64>,
    step: f64,
    /// The most that the stages from here on add to the time.
    most_seconds: Vec<f64>,
    /// The least that the stages from here on keep, beside the plan that keeps everything.
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

    /// From now on within less.
    pub(super) fn lower(&mut self, budget_bytes: u64) {
        self.budget_bytes = signed(budget_bytes);
    }

    /// Whether a candidate is within the budget by its bound.
    pub(super) const fn may_fit(&self, candidate: &Candidate) -> bool {
        candidate.bytes <= self.budget_bytes
    }

    /// Those that come next in the order of time, sorted; `None` after the last.
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

    /// Every one that takes no longer, in no order.
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
    /// Decides the stages before `stage`, from the last one on.
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
