//! The bytes that a schedule holds, operation by operation.
//!
//! The count covers the tensors that the schedule names, with exactly the bytes that each requests.
//! It leaves out parameters, their gradients and optimizer state, the images, the logits and their
//! loss, what a library allocates inside an operation, the parts in which skips and masks are
//! rebuilt (16 MiB on the CPU; whole tensors where batch norm cannot be rebuilt in parts, as with
//! cuDNN), and the statistics of batch norm (a few KiB).

use config::{ImageSize, Network};

use crate::ScheduleError;
use crate::alive::Alive;
use crate::compile::{Schedule, skip_of};
use crate::op::{Half, Nth, Op, Value};

/// Type of activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    /// fp32.
    Single,
    /// fp16 or bf16, under autocast.
    Half,
}

impl Element {
    /// Bytes of one number.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Single => 4,
            Self::Half => 2,
        }
    }
}

/// The size of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Images.
    pub batch: u32,
    /// Their size.
    pub size: ImageSize,
    /// Type of activations.
    pub element: Element,
}

/// The most bytes that are held during one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The operation.
    pub op: Op,
    /// Whether it runs in backward.
    pub in_backward: bool,
    /// Bytes of named tensors while it runs.
    pub bytes: u64,
}

/// All operations of a step, without frees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    points: Vec<Point>,
}

impl Timeline {
    /// The operations, in order.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The first operation that holds the most.
    pub fn peak(&self) -> Point {
        let nothing = Point {
            op: Op::Head,
            in_backward: false,
            bytes: 0,
        };
        self.points.iter().fold(nothing, |most, point| {
            if point.bytes > most.bytes {
                *point
            } else {
                most
            }
        })
    }
}

impl Schedule {
    /// Walks the schedule and adds up sizes.
    ///
    /// # Errors
    /// [`ScheduleError::TooLarge`] if a figure exceeds 64 bits.
    pub fn bytes(&self, network: &Network, shape: Shape) -> Result<Timeline, ScheduleError> {
        let size = |value| {
            bytes_of(network, shape, self.depth, value)
                .ok_or(ScheduleError::TooLarge { what: "bytes" })
        };
        let mut alive = Alive::new(2 * self.depth + 1);
        let mut held = 0_u64;
        let mut points = Vec::new();
        let ops = self.forward.iter().map(|op| (op, false));
        for (&op, in_backward) in ops.chain(self.backward.iter().map(|op| (op, true))) {
            if in_backward && points.last().is_some_and(|p: &Point| !p.in_backward) {
                alive.insert(Value::GradLogits);
                held = add(held, size(Value::GradLogits)?)?;
            }
            let effect = self.effect(op, &alive);
            for &value in &effect.makes {
                if alive.insert(value) {
                    held = add(held, size(value)?)?;
                }
            }
            let moved = effect.moves.map(size).transpose()?.unwrap_or(0);
            if let Op::Free(value) = op {
                alive.remove(value);
                held -= size(value)?;
                continue;
            }
            let during = match op {
                // The second half is a separate tensor until it is added to the first.
                Op::ConvHalf(stage, Half::Skip) => {
                    add(held, size(Value::Conv(stage, Nth::First))?)?
                }
                _ => held - moved,
            };
            points.push(Point {
                op,
                in_backward,
                bytes: during,
            });
            for value in effect.takes {
                alive.remove(value);
                held -= size(value)?;
            }
        }
        Ok(Timeline { points })
    }

    /// What an operation does to the tensors that are alive.
    pub(crate) fn effect(&self, op: Op, alive: &Alive) -> Effect {
        use Value::{Act, Conv, GradAct, GradConv, GradInput, GradUp, Input, Up};
        let skip = |stage| skip_of(self.depth, stage).unwrap_or(0);
        let one_of = |a: Value, b: Value| if alive.contains(a) { a } else { b };
        let source = |stage| one_of(Act(stage, Nth::Second), Conv(stage, Nth::Second));
        let last = 2 * self.depth;
        let input = |stage, nth| match (stage, nth) {
            (0, Nth::First) => Value::Image,
            (_, Nth::First) => Input(stage),
            (_, Nth::Second) => Act(stage, Nth::First),
        };
        let half = |stage, half| match half {
            Half::Up => Up(stage),
            Half::Skip => Act(skip(stage), Nth::Second),
        };
        match op {
            Op::Conv(s, n) => Effect::new([input(s, n)]).makes(Conv(s, n)),
            Op::ConvHalf(s, h @ Half::Up) => Effect::new([half(s, h)]).makes(Conv(s, Nth::First)),
            Op::ConvHalf(s, h @ Half::Skip) => Effect::new([half(s, h), Conv(s, Nth::First)]),
            Op::Norm {
                stage,
                nth,
                in_place,
                ..
            } => {
                let effect = Effect::new([Conv(stage, nth)]).makes(Act(stage, nth));
                if in_place {
                    effect.takes(Conv(stage, nth)).moves(Conv(stage, nth))
                } else {
                    effect
                }
            }
            Op::Pool(s) => Effect::new([source(s - 1)]).makes(Input(s)),
            Op::Up(s) => Effect::new([Act(s - 1, Nth::Second)]).makes(Up(s)),
            Op::Concat(s) => Effect::new([Up(s), source(skip(s))]).makes(Input(s)),
            Op::ConcatSkip(s) => Effect::new([source(skip(s))]).makes(Input(s)),
            Op::ConcatUp(s) => Effect::new([Up(s), Input(s)]),
            Op::Head => Effect::new([Act(last, Nth::Second)]).makes(Value::Logits),
            Op::HeadWeight => Effect::new([Act(last, Nth::Second), Value::GradLogits]),
            Op::HeadInput => Effect::new([Conv(last, Nth::Second), Value::GradLogits])
                .makes(GradAct(last, Nth::Second)),
            Op::NormBackward {
                stage: s, nth: n, ..
            } => {
                let effect = Effect::new([GradAct(s, n), Conv(s, n)])
                    .makes(GradConv(s, n))
                    .takes(GradAct(s, n));
                if self.target.in_place_norm {
                    effect.moves(GradAct(s, n))
                } else {
                    effect
                }
            }
            Op::ConvWeight(s, n) => Effect::new([input(s, n), GradConv(s, n)]),
            Op::ConvInput(s, Nth::Second) => {
                Effect::new([GradConv(s, Nth::Second), Conv(s, Nth::First)])
                    .makes(GradAct(s, Nth::First))
            }
            Op::ConvInput(s, Nth::First) => {
                let effect = Effect::new([GradConv(s, Nth::First)]).makes(GradInput(s));
                if self.target.shapeless_input_grad {
                    effect
                } else {
                    effect.reads(Input(s))
                }
            }
            Op::ConvWeightHalf(s, h) => Effect::new([half(s, h), GradConv(s, Nth::First)]),
            Op::ConvInputHalf(s, h) => {
                let grad = match h {
                    Half::Up => GradUp(s),
                    Half::Skip => GradAct(skip(s), Nth::Second),
                };
                Effect::new([GradConv(s, Nth::First)]).makes(grad)
            }
            Op::PoolBackward(s) => {
                Effect::new([GradInput(s), source(s - 1), GradAct(s - 1, Nth::Second)])
            }
            Op::TakeUp(s) => Effect::new([GradInput(s)]).makes(GradUp(s)),
            Op::TakeSkip(s) => Effect::new([GradInput(s)]).makes(GradAct(skip(s), Nth::Second)),
            Op::UpWeight(s) => Effect::new([GradUp(s), Act(s - 1, Nth::Second)]),
            Op::UpInput(s) => Effect::new([GradUp(s), Conv(s - 1, Nth::Second)])
                .makes(GradAct(s - 1, Nth::Second)),
            Op::Free(value) => Effect::new([value]),
        }
    }
}

/// What an operation needs and changes.
#[derive(Debug, Default)]
pub(crate) struct Effect {
    /// Tensors that must be alive before it.
    pub(crate) reads: Vec<Value>,
    /// Tensors that are alive from here on.
    pub(crate) makes: Vec<Value>,
    /// Tensors that are no longer alive after it.
    pub(crate) takes: Vec<Value>,
    /// The tensor whose bytes the new tensor takes over.
    moves: Option<Value>,
}

impl Effect {
    fn new<const N: usize>(reads: [Value; N]) -> Self {
        Self {
            reads: reads.to_vec(),
            ..Self::default()
        }
    }

    fn reads(mut self, value: Value) -> Self {
        self.reads.push(value);
        self
    }

    fn makes(mut self, value: Value) -> Self {
        self.makes.push(value);
        self
    }

    fn takes(mut self, value: Value) -> Self {
        self.takes.push(value);
        self
    }

    fn moves(mut self, value: Value) -> Self {
        self.moves = Some(value);
        self
    }
}

fn add(a: u64, b: u64) -> Result<u64, ScheduleError> {
    a.checked_add(b)
        .ok_or(ScheduleError::TooLarge { what: "bytes" })
}

/// Bytes of a tensor; tensors that belong to the caller count as 0.
fn bytes_of(network: &Network, shape: Shape, depth: usize, value: Value) -> Option<u64> {
    let level_of = |stage: usize| skip_of(depth, stage).unwrap_or(stage);
    let (stage, factor) = match value {
        Value::Image | Value::Logits => return Some(0),
        Value::GradLogits => {
            return u64::from(shape.batch)
                .checked_mul(u64::from(network.classes))?
                .checked_mul(shape.size.pixels())?
                .checked_mul(shape.element.bytes());
        }
        // A pooled input has the channels of the level above, which has half as many.
        Value::Input(s) | Value::GradInput(s) if s <= depth => (s, None),
        Value::Input(s) | Value::GradInput(s) => (s, Some(2)),
        Value::Up(s)
        | Value::GradUp(s)
        | Value::Conv(s, _)
        | Value::Act(s, _)
        | Value::GradConv(s, _)
        | Value::GradAct(s, _) => (s, Some(1)),
    };
    let level = u32::try_from(level_of(stage)).ok()?;
    let channels = match factor {
        Some(factor) => u64::from(network.channels(level)).checked_mul(factor)?,
        None => u64::from(network.channels(level.checked_sub(1)?)),
    };
    let pixels = shape.size.pixels().checked_shr(2 * level)?;
    u64::from(shape.batch)
        .checked_mul(channels)?
        .checked_mul(pixels)?
        .checked_mul(shape.element.bytes())
}

#[cfg(test)]
mod tests;
