//! A schedule's operations with sizes: the memory that `executor` allocates when it executes
//! them.

use std::collections::HashMap;

use schedule::{Alive, Half, Nth, Op, Schedule, Statistics, Value};

use super::books::Books;
use super::sizes::ConvSize;
use super::tape::{At, Held};
use crate::EstimateError;

/// The tensors of a schedule by name.
pub(super) struct Walk<'a> {
    books: &'a mut Books,
    values: HashMap<Value, Held>,
    /// Batch norm statistics, held until the step's end.
    statistics: Vec<Held>,
}

impl<'a> Walk<'a> {
    /// Walks forward, loss and backward.
    pub(super) fn run(books: &'a mut Books, schedule: &'a Schedule) -> Result<(), EstimateError> {
        let mut walk = Self::new(books);
        for &op in schedule.forward() {
            walk.enter(At::Forward, op);
            walk.op(op)?;
        }
        let logits = walk.take(Value::Logits)?;
        let loss = walk.books.loss(logits);
        let gradient = walk.books.loss_backward(loss);
        walk.values.insert(Value::GradLogits, gradient);
        for &op in schedule.backward() {
            walk.enter(At::Backward, op);
            walk.op(op)?;
        }
        for (_, held) in walk.values.drain() {
            walk.books.tape.release(held);
        }
        for held in walk.statistics {
            walk.books.tape.release(held);
        }
        Ok(())
    }

    pub(super) fn new(books: &'a mut Books) -> Self {
        Self {
            books,
            values: HashMap::new(),
            statistics: Vec::new(),
        }
    }

    /// Walks one operation, given the tensors that are alive before it. Returns the most that it
    /// adds to the level, and what it adds permanently.
    pub(super) fn alone(mut self, op: Op, alive: &Alive) -> Result<(i64, i64), EstimateError> {
        for value in alive.values() {
            self.make(value);
        }
        let before = self.books.tape.level();
        self.books.tape.forget_peak();
        self.op(op)?;
        let tape = &self.books.tape;
        let above = |bytes: u64| bytes.wrapping_sub(before).cast_signed();
        Ok((above(tape.peak_bytes()), above(tape.level())))
    }

    /// Begins a moment; an operation that only frees is not a separate moment.
    fn enter(&mut self, at: fn(Op) -> At, op: Op) {
        if !matches!(op, Op::Free(_)) {
            self.books.tape.enter(at(op));
        }
    }

    fn op(&mut self, op: Op) -> Result<(), EstimateError> {
        let sizes = self.books.sizes;
        match op {
            Op::Conv(s, n) => {
                let conv = sizes.conv(s, n);
                let cast = if s == 0 && n == Nth::First {
                    sizes.cast_images()
                } else {
                    0
                };
                let scratch = self.books.machine.convolution(&conv);
                let casts = [cast, self.cast(&conv)];
                self.made_from(casts, Value::Conv(s, n), scratch);
            }
            Op::ConvHalf(s, half) => {
                let conv = sizes.half_conv(s);
                let scratch = self.books.machine.convolution(&conv);
                let weight = self.slice(&conv);
                match half {
                    Half::Up => {
                        self.make(Value::Conv(s, Nth::First));
                        self.books.work(scratch);
                    }
                    // It is a separate tensor until it is added.
                    Half::Skip => self.touch_all([sizes.output_map(s)], scratch),
                }
                self.release_all(weight);
            }
            Op::Moments(stage, _) => {
                let held = self.books.statistics(stage);
                self.statistics.push(held);
            }
            Op::Norm {
                stage,
                nth,
                statistics,
                in_place,
            } => {
                // Ours come before the result.
                let is_batch = statistics == Statistics::Batch;
                let is_fused = self.books.machine.is_fused();
                if is_batch && is_fused {
                    let held = self.books.statistics(stage);
                    self.statistics.push(held);
                }
                if in_place {
                    let held = self.take(Value::Conv(stage, nth))?;
                    self.values.insert(Value::Act(stage, nth), held);
                } else {
                    self.make(Value::Act(stage, nth));
                }
                if is_batch && !is_fused {
                    let held = self.books.statistics(stage);
                    self.statistics.push(held);
                }
            }
            Op::Pool(s) => {
                self.make(Value::Input(s));
                let part = self.rebuilt_part(s - 1);
                let pooled = self.part(s - 1) / 4;
                self.touch_all([part, pooled, self.indices_of(pooled)], 0);
            }
            Op::Up(s) => {
                let conv = sizes.up(s);
                let scratch = self.books.machine.transposed(&conv);
                self.made_from([self.cast(&conv)], Value::Up(s), scratch);
            }
            Op::Concat(s) | Op::ConcatSkip(s) => {
                self.make(Value::Input(s));
                let part = self.rebuilt_part(self.skip(s));
                self.touch_all([part], 0);
            }
            Op::ConcatUp(_) => {}
            Op::Head => {
                self.make(Value::Logits);
                let head = sizes.head();
                let scratch = self.books.machine.convolution(&head);
                self.touch_all([], scratch);
            }
            Op::Free(value) => {
                let held = self.take(value)?;
                self.books.tape.release(held);
            }
            _ => self.gradient(op)?,
        }
        Ok(())
    }

    /// An operation that computes a gradient.
    fn gradient(&mut self, op: Op) -> Result<(), EstimateError> {
        let sizes = self.books.sizes;
        match op {
            Op::HeadWeight => {
                let turned = self.books.turned_gradient();
                self.weight(&sizes.head());
                self.books.tape.release(turned);
            }
            Op::HeadInput => {
                let last = sizes.num_stages() - 1;
                let turned = self.books.turned_gradient();
                self.input_gradient(&sizes.head(), Value::GradAct(last, Nth::Second));
                self.books.tape.release(turned);
            }
            Op::NormBackward { stage, nth, masked } => {
                let rebuilt = !masked && !self.values.contains_key(&Value::Act(stage, nth));
                let part = if rebuilt {
                    self.part_of(stage, true)
                } else {
                    0
                };
                self.touch_all([part], 0);
                let held = self.take(Value::GradAct(stage, nth))?;
                if self.books.machine.target().in_place_norm {
                    self.values.insert(Value::GradConv(stage, nth), held);
                    self.books.norm_gradients(stage);
                } else {
                    self.make(Value::GradConv(stage, nth));
                    self.books.norm_gradients(stage);
                    self.books.tape.release(held);
                }
            }
            Op::ConvWeight(s, n) => {
                let cast = if s == 0 && n == Nth::First {
                    sizes.cast_images()
                } else {
                    0
                };
                let cast = self.books.transient(cast);
                self.weight(&sizes.conv(s, n));
                self.books.tape.release(cast);
            }
            Op::ConvInput(s, n) => {
                let out = match n {
                    Nth::First => Value::GradInput(s),
                    Nth::Second => Value::GradAct(s, Nth::First),
                };
                self.input_gradient(&sizes.conv(s, n), out);
            }
            Op::ConvWeightHalf(s, half) => {
                let conv = sizes.half_conv(s);
                let shape = if self.books.tape.has_blocks() {
                    self.slice(&conv)
                } else {
                    vec![self.books.transient(self.cast(&conv))]
                };
                self.books.half_weight_gradient(&conv, half == Half::Up);
                self.release_all(shape);
            }
            Op::ConvInputHalf(s, half) => {
                let conv = sizes.half_conv(s);
                let weight = self.slice(&conv);
                self.make(match half {
                    Half::Up => Value::GradUp(s),
                    Half::Skip => Value::GradAct(self.skip(s), Nth::Second),
                });
                self.books.work(self.books.machine.input_gradient(&conv));
                self.release_all(weight);
            }
            Op::PoolBackward(s) => {
                let part = self.rebuilt_part(s - 1);
                let whole = self.part(s - 1);
                let indices = self.indices_of(whole / 4);
                if !self.books.tape.has_blocks() {
                    self.touch_all([part, indices, whole], 0);
                    return Ok(());
                }
                let held = [part, indices].map(|bytes| self.books.transient(bytes));
                self.touch_all([whole / 4], 0);
                self.touch_all([whole], 0);
                self.release_all(held.into());
            }
            Op::TakeUp(s) => self.make(Value::GradUp(s)),
            Op::TakeSkip(s) => self.make(Value::GradAct(self.skip(s), Nth::Second)),
            Op::UpWeight(s) => self.weight(&sizes.up(s)),
            Op::UpInput(s) => {
                self.input_gradient(&sizes.up(s), Value::GradAct(s - 1, Nth::Second));
            }
            // Forward operations are handled elsewhere.
            _ => return Err(EstimateError::Schedule),
        }
        Ok(())
    }

    /// A copy of a weight in half precision, which exists for the duration of an operation.
    fn cast(&self, conv: &ConvSize) -> u64 {
        if self.books.sizes.is_half() {
            conv.weight_bytes()
        } else {
            0
        }
    }

    fn weight(&mut self, conv: &ConvSize) {
        // A tensor with the weight's shape and the gradient's type.
        let shape = self.books.transient(self.cast(conv));
        self.books.weight_gradient(conv);
        self.books.tape.release(shape);
    }

    fn input_gradient(&mut self, conv: &ConvSize, out: Value) {
        let scratch = self.books.machine.input_gradient(conv);
        self.made_from([self.cast(conv)], out, scratch);
    }

    /// Half of a weight, in the type of the convolution. A GPU frees the half in fp32 once it is cast.
    fn slice(&mut self, conv: &ConvSize) -> Vec<Held> {
        let slice = self.books.transient(conv.parameter_bytes());
        if !self.books.sizes.is_half() {
            return vec![slice];
        }
        let cast = self.books.transient(conv.weight_bytes());
        if self.books.tape.has_blocks() {
            self.books.tape.release(slice);
            return vec![cast];
        }
        vec![slice, cast]
    }

    fn release_all(&mut self, all: Vec<Held>) {
        for held in all {
            self.books.tape.release(held);
        }
    }

    /// Makes a tensor with a library's workspace, from casts that exist until then.
    fn made_from<const N: usize>(&mut self, casts: [u64; N], value: Value, workspace: u64) {
        let casts = casts.map(|bytes| self.books.transient(bytes));
        self.make(value);
        self.books.work(workspace);
        for cast in casts {
            self.books.tape.release(cast);
        }
    }

    /// A part of a stage's output, if it has to be rebuilt.
    fn rebuilt_part(&self, stage: usize) -> u64 {
        if self.is_rebuilt(stage) {
            self.part(stage)
        } else {
            0
        }
    }

    fn is_rebuilt(&self, stage: usize) -> bool {
        !self.values.contains_key(&Value::Act(stage, Nth::Second))
    }

    /// A part in which a stage's output is processed.
    fn part(&self, stage: usize) -> u64 {
        self.part_of(stage, self.is_rebuilt(stage))
    }

    fn part_of(&self, stage: usize, is_rebuilt: bool) -> u64 {
        let sizes = &self.books.sizes;
        self.books.machine.part(sizes, stage, is_rebuilt)
    }

    /// Indices of a pooled part, with eight bytes per element.
    fn indices_of(&self, pooled_bytes: u64) -> u64 {
        (pooled_bytes / self.books.sizes.precision.activation_bytes()).saturating_mul(8)
    }

    fn skip(&self, stage: usize) -> usize {
        self.books.sizes.skip_of(stage)
    }

    fn make(&mut self, value: Value) {
        let held = self.books.map(self.books.sizes.of(value));
        self.values.insert(value, held);
    }

    fn take(&mut self, value: Value) -> Result<Held, EstimateError> {
        self.values.remove(&value).ok_or(EstimateError::Schedule)
    }

    fn touch_all<const N: usize>(&mut self, tensors: [u64; N], workspace: u64) {
        self.books.tape.touch_all(tensors, workspace);
    }
}
