//! The peak and the time of a plan's step, as sums of what each operation adds: the same figures as
//! [`super::scheduled`] without its tensors, quickly enough to examine thousands of plans.
//!
//! The effect of an operation on the level depends only on the operation and on whether one
//! activation is alive ([`asks_for`]). Each case is walked once, alone, and remembered.

use std::ops::ControlFlow;

use schedule::{Alive, Half, Nth, Op, Plan, Recompute, Statistics, Value, Visitor, visit};

use super::books::Books;
use super::scheduled::Walk;
use super::sizes::Sizes;
use super::work::{Costs, asks_for};
use super::{Batch, Machine, TrainingStep};
use crate::time::Speed;
use crate::{EstimateError, StaticBytes};

/// What an operation adds to the level of bytes, at most and permanently, and what it adds to the
/// time.
#[derive(Clone, Copy, Debug, Default)]
struct Effect {
    /// The highest level during the operation minus the level before it.
    rise: i64,
    /// The level after the operation minus the level before it.
    change: i64,
    seconds: f64,
}

/// An effect that is not known yet.
const UNKNOWN: Effect = Effect {
    rise: 0,
    change: 0,
    seconds: f64::NAN,
};

/// The effects in the first micro-batch and in later ones, which add to existing gradients.
type Effects = [Effect; 2];

/// A plan's figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) peak_bytes: u64,
    /// Time of all micro-batches and the update.
    pub(crate) seconds: f64,
    /// Bytes held at the end of the forward: static bytes, and the tensors that the plan keeps.
    pub(crate) kept_bytes: u64,
}

/// The plans of a step.
#[derive(Debug)]
pub(crate) struct Plans {
    step: TrainingStep,
    sizes: Sizes,
    machine: Machine,
    speed: Speed,
    batch: Batch,
    /// The effects, indexed by [`place`].
    effects: Vec<Effects>,
    loss: Effects,
    start_bytes: i64,
    gradient_bytes: i64,
    /// The most bytes held during the optimizer's step.
    update_bytes: i64,
    update_seconds: f64,
}

const OPS: usize = 40;
const VALUES: usize = 12;
const SLOTS: usize = 2 * (OPS + VALUES);

impl Plans {
    /// The plans of `step`, whose own plan is ignored.
    pub(crate) fn new(
        step: &TrainingStep,
        machine: Machine,
        batch: Batch,
        speed: Speed,
    ) -> Result<Self, EstimateError> {
        let step = TrainingStep {
            recompute: Recompute::Plan(Plan::selective(&step.network)),
            ..step.clone()
        };
        let mut plans = Self {
            sizes: step.sizes(),
            effects: vec![[UNKNOWN; 2]; SLOTS * step.network.num_stages()],
            machine,
            speed,
            batch,
            loss: Effects::default(),
            start_bytes: 0,
            gradient_bytes: 0,
            update_bytes: 0,
            update_seconds: speed.update_seconds(&step.network),
            step,
        };
        plans.loss = [plans.of_loss(false), plans.of_loss(true)];
        let (mut books, _schedule) = plans.step.begin(machine, batch)?;
        let held = books.take_batch(batch, false);
        plans.start_bytes = signed(books.tape.level());
        // A batch that was handed over is freed by then.
        let handed_over = std::mem::take(&mut books.handed_over);
        for held in held.into_iter().chain(handed_over) {
            books.tape.release(held);
        }
        books.tape.forget_peak();
        books.update();
        plans.gradient_bytes = signed(StaticBytes::of(&plans.step.network)?.parameters.0);
        plans.update_bytes = signed(books.tape.peak_bytes()) + plans.gradient_bytes;
        Ok(plans)
    }

    pub(crate) fn network(&self) -> &config::Network {
        &self.step.network
    }

    /// [`Self::outcome`], and the peak of each stage's backward, counted like
    /// [`Outcome::peak_bytes`].
    pub(crate) fn by_stage(&mut self, plan: &Plan) -> Result<(Outcome, Vec<i64>), EstimateError> {
        let num_stages = self.step.network.num_stages();
        let start = self.start_bytes;
        let mut stages = vec![0; num_stages];
        let outcome = self.walk(plan, NO_LIMIT, Some(&mut stages))?;
        for bytes in &mut stages {
            *bytes += start;
        }
        Ok((outcome, stages))
    }

    /// The figures of a plan, which also says whether concatenations are split.
    pub(crate) fn outcome(&mut self, plan: &Plan) -> Result<Outcome, EstimateError> {
        self.walk(plan, NO_LIMIT, None)
    }

    /// The same if the peak is at most this limit; `None` if it is higher, which takes less time to
    /// find out.
    pub(crate) fn outcome_within(
        &mut self,
        plan: &Plan,
        limit_bytes: u64,
    ) -> Result<Option<Outcome>, EstimateError> {
        let outcome = self.walk(plan, signed(limit_bytes), None)?;
        Ok((outcome.peak_bytes <= limit_bytes).then_some(outcome))
    }

    /// Walks to the end, or to the beginning of a stage's backward if the peak exceeds a limit by
    /// then; the figures cover the part that was walked.
    fn walk(
        &mut self,
        plan: &Plan,
        limit_bytes: i64,
        stages: Option<&mut Vec<i64>>,
    ) -> Result<Outcome, EstimateError> {
        let (network, accumulation) = (self.step.network, self.step.accumulation);
        let (start, target) = (self.start_bytes, self.machine.target());
        let mut walk = Total {
            plans: self,
            first: Level::default(),
            later: Level::default(),
            has_later: accumulation > 1,
            first_limit: limit_bytes.saturating_sub(start),
            stages,
            stage: None,
            kept: 0,
            seconds: 0.0,
            failed: false,
        };
        visit(&network, plan, target, &mut walk).map_err(|_other| EstimateError::Schedule)?;
        let Total {
            first,
            later,
            kept,
            seconds,
            failed,
            ..
        } = walk;
        if failed {
            return Err(EstimateError::Schedule);
        }
        let mut peak = start + first.peak;
        if accumulation > 1 {
            peak = peak.max(start + self.gradient_bytes + later.peak);
        }
        let passes = f64::from(accumulation.max(1));
        Ok(Outcome {
            peak_bytes: u64::try_from(peak.max(self.update_bytes)).unwrap_or(0),
            seconds: seconds * passes + self.update_seconds,
            kept_bytes: u64::try_from(start + kept).unwrap_or(0),
        })
    }

    /// The index of an operation's effects, which are computed the first time.
    fn place(&mut self, op: Op, alive: &Alive) -> Result<usize, EstimateError> {
        let is_there = asks_for(&self.sizes, op).is_some_and(|act| alive.contains(act));
        let place = SLOTS * stage_of(op) + 2 * place(op) + usize::from(is_there);
        if self.effects[place][0].seconds.is_nan() {
            self.effects[place] = [self.of_op(op, alive, false)?, self.of_op(op, alive, true)?];
        }
        Ok(place)
    }

    fn of_op(&self, op: Op, alive: &Alive, accumulates: bool) -> Result<Effect, EstimateError> {
        let mut books = Books::new(self.sizes, self.machine, None);
        books.accumulates = accumulates;
        let sizes = books.sizes;
        if let Op::Free(value) = op {
            let change = -signed(sizes.of(value));
            return Ok(Effect {
                rise: 0,
                change,
                seconds: 0.0,
            });
        }
        let seconds = self
            .speed
            .seconds(Costs::new(&sizes, self.machine).work(op, alive));
        let (rise, change) = Walk::new(&mut books).alone(op, alive)?;
        Ok(Effect {
            rise,
            change,
            seconds,
        })
    }

    fn of_loss(&self, accumulates: bool) -> Effect {
        let mut books = Books::new(self.sizes, self.machine, None);
        books.accumulates = accumulates;
        let _held = books.take_batch(self.batch, false);
        let logits = books.map(books.sizes.logits());
        let before = signed(books.tape.level());
        books.tape.forget_peak();
        let loss = books.loss(logits);
        let _gradient = books.loss_backward(loss);
        Effect {
            rise: signed(books.tape.peak_bytes()) - before,
            change: signed(books.tape.level()) - before,
            seconds: self.speed.loss_seconds(books.sizes.logits_fp32()),
        }
    }
}

/// A limit that no peak exceeds.
const NO_LIMIT: i64 = i64::MAX;

/// Figures past 63 bits are all equally too large.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX / 4)
}

/// A level and its maximum, relative to the beginning of the micro-batch.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    now: i64,
    peak: i64,
}

impl Level {
    fn take(&mut self, effect: Effect) {
        self.peak = self.peak.max(self.now.saturating_add(effect.rise));
        self.now = self.now.saturating_add(effect.change);
    }
}

struct Total<'a> {
    plans: &'a mut Plans,
    first: Level,
    later: Level,
    has_later: bool,
    /// If the first micro-batch exceeds this peak, the walk stops.
    first_limit: i64,
    /// The peak of each stage's backward, if it is requested.
    stages: Option<&'a mut Vec<i64>>,
    stage: Option<usize>,
    kept: i64,
    seconds: f64,
    failed: bool,
}

impl Total<'_> {
    fn take(&mut self, [first, later]: Effects) {
        if let (Some(stages), Some(stage)) = (&mut self.stages, self.stage) {
            stages[stage] = stages[stage].max(self.first.now.saturating_add(first.rise));
        }
        self.first.take(first);
        if self.has_later {
            self.later.take(later);
        }
        self.seconds += first.seconds;
    }
}

impl Visitor for Total<'_> {
    fn op(&mut self, op: Op, alive: &Alive) {
        match self.plans.place(op, alive) {
            Ok(place) => self.take(self.plans.effects[place]),
            Err(_) => self.failed = true,
        }
    }

    fn loss(&mut self) {
        self.kept = self.first.now;
        self.take(self.plans.loss);
    }

    fn backward_of(&mut self, stage: usize) -> ControlFlow<()> {
        self.stage = Some(stage);
        if self.first.peak > self.first_limit {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

const fn of_nth(nth: Nth) -> usize {
    match nth {
        Nth::First => 0,
        Nth::Second => 1,
    }
}

const fn of_half(half: Half) -> usize {
    match half {
        Half::Up => 0,
        Half::Skip => 1,
    }
}

/// A unique number for each operation of a stage.
const fn place(op: Op) -> usize {
    match op {
        Op::Conv(_, n) => of_nth(n),
        Op::ConvHalf(_, half) => 2 + of_half(half),
        Op::Norm {
            nth,
            statistics,
            in_place,
            ..
        } => {
            let saved = matches!(statistics, Statistics::Saved);
            4 + of_nth(nth) + 2 * saved as usize + 4 * in_place as usize
        }
        Op::NormBackward { nth, masked, .. } => 12 + of_nth(nth) + 2 * masked as usize,
        Op::ConvWeight(_, n) => 16 + of_nth(n),
        Op::ConvInput(_, n) => 18 + of_nth(n),
        Op::ConvWeightHalf(_, half) => 20 + of_half(half),
        Op::ConvInputHalf(_, half) => 22 + of_half(half),
        Op::Pool(_) => 24,
        Op::Up(_) => 25,
        Op::Concat(_) => 26,
        Op::ConcatSkip(_) => 27,
        Op::ConcatUp(_) => 28,
        Op::Head => 29,
        Op::HeadWeight => 30,
        Op::HeadInput => 31,
        Op::PoolBackward(_) => 32,
        Op::TakeUp(_) => 33,
        Op::TakeSkip(_) => 34,
        Op::UpWeight(_) => 35,
        Op::UpInput(_) => 36,
        Op::Moments(_, n) => 37 + of_nth(n),
        Op::Free(value) => {
            OPS + match value {
                Value::Input(_) => 0,
                Value::Up(_) => 1,
                Value::GradInput(_) => 2,
                Value::GradUp(_) => 3,
                Value::Conv(_, n) => 4 + of_nth(n),
                Value::Act(..) => 6,
                Value::GradConv(..) => 7,
                Value::GradAct(..) => 8,
                Value::Image => 9,
                Value::Logits => 10,
                Value::GradLogits => 11,
            }
        }
    }
}

const fn stage_of(op: Op) -> usize {
    match op {
        Op::Free(value) => match value {
            Value::Image | Value::Logits | Value::GradLogits => 0,
            Value::Input(s)
            | Value::Up(s)
            | Value::GradInput(s)
            | Value::GradUp(s)
            | Value::Conv(s, _)
            | Value::Act(s, _)
            | Value::GradConv(s, _)
            | Value::GradAct(s, _) => s,
        },
        // The head has a place in the first stage.
        _ => match op.stage() {
            Some(stage) => stage,
            None => 0,
        },
    }
}
