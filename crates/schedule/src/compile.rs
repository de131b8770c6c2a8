//! From a plan to a list of operations.
//!
//! The compiler keeps book of what is alive. Forward frees what the plan does not keep as soon as
//! nothing later reads it; backward asks for what it needs and rebuilds what is not there, from
//! what is.
//!
//! The rules that make the peak what it is, beyond the plan:
//! * the gradient of a weight is taken before that of the input, so that the input can go first;
//! * a skip is held as its convolution's output, never beside its activation, and is rebuilt into
//!   the concatenation part by part;
//! * batch norm and ReLU pass gradients back in place.

use std::ops::ControlFlow;

use config::{Keep, Network};

use crate::ScheduleError;
use crate::alive::Alive;
use crate::op::{Half, Nth, Op, Statistics, Value};
use crate::plan::Plan;

/// What the executing library can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Batch norm, forward and backward, in the bytes of its operand.
    pub in_place_norm: bool,
    /// The gradient of a convolution's input without a tensor of that input's shape.
    pub shapeless_input_grad: bool,
}

impl Target {
    /// libtorch on an x86-64 CPU.
    pub const CPU: Self = Self {
        in_place_norm: true,
        shapeless_input_grad: true,
    };
    /// Operators alone, as on CUDA.
    pub const OPERATORS: Self = Self {
        in_place_norm: false,
        shapeless_input_grad: false,
    };
}

/// A training step of one network under one plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub(crate) forward: Vec<Op>,
    pub(crate) backward: Vec<Op>,
    pub(crate) depth: usize,
    pub(crate) target: Target,
}

impl Schedule {
    /// Compiles a plan for a network.
    ///
    /// # Errors
    /// [`ScheduleError::Stages`] where the plan is for another network.
    pub fn compile(network: &Network, plan: &Plan, target: Target) -> Result<Self, ScheduleError> {
        let mut ops = Listed::default();
        visit(network, plan, target, &mut ops)?;
        Ok(Self {
            forward: ops.forward,
            backward: ops.backward.unwrap_or_default(),
            depth: network.depth as usize,
            target,
        })
    }

    /// Operations of the forward, in order.
    pub fn forward(&self) -> &[Op] {
        &self.forward
    }

    /// Operations of the backward, in order.
    pub fn backward(&self) -> &[Op] {
        &self.backward
    }

    /// The stage whose output a stage's skip is; `None` for a stage without one.
    pub fn skip_of(&self, stage: usize) -> Option<usize> {
        skip_of(self.depth, stage)
    }
}

/// What is told of the operations of a step, in order, without a list of them.
pub trait Visitor {
    /// An operation that begins with these tensors; of [`Op::Free`], that has ended.
    fn op(&mut self, op: Op, alive: &Alive);
    /// Forward has ended: the loss turns the logits into their gradient.
    fn loss(&mut self);
    /// Backward of a stage begins; that of the last one takes the head's with it. Whoever has seen
    /// enough breaks off.
    fn backward_of(&mut self, _stage: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Goes through the operations of a plan's step, to their end or to where the visitor breaks off.
///
/// # Errors
/// [`ScheduleError::Stages`] where the plan is for another network.
pub fn visit(
    network: &Network,
    plan: &Plan,
    target: Target,
    visitor: &mut impl Visitor,
) -> Result<(), ScheduleError> {
    plan.check(network)?;
    let mut compiler = Compiler {
        plan,
        target,
        depth: network.depth as usize,
        num_stages: network.num_stages(),
        alive: Alive::new(network.num_stages()),
        visitor,
        current: None,
    };
    compiler.forward();
    compiler.visitor.loss();
    let _seen_enough = compiler.backward();
    Ok(())
}

#[derive(Default)]
struct Listed {
    forward: Vec<Op>,
    backward: Option<Vec<Op>>,
}

impl Visitor for Listed {
    fn op(&mut self, op: Op, _alive: &Alive) {
        self.backward.as_mut().unwrap_or(&mut self.forward).push(op);
    }

    fn loss(&mut self) {
        self.backward = Some(Vec::new());
    }
}

pub(crate) fn skip_of(depth: usize, stage: usize) -> Option<usize> {
    (stage > depth).then(|| 2 * depth - stage)
}

struct Compiler<'a, V> {
    plan: &'a Plan,
    target: Target,
    depth: usize,
    num_stages: usize,
    alive: Alive,
    visitor: &'a mut V,
    /// The stage whose backward runs.
    current: Option<usize>,
}

impl<V: Visitor> Compiler<'_, V> {
    fn forward(&mut self) {
        for stage in 0..self.num_stages {
            let keep = self.keep(stage);
            self.first_conv(stage);
            if keep != Keep::Everything {
                self.free(Value::Input(stage));
            }
            let keeps_first = matches!(keep, Keep::Everything | Keep::Convs);
            self.norm(stage, Nth::First, Statistics::Batch, !keeps_first);
            self.emit(Op::Conv(stage, Nth::Second));
            self.make(Value::Conv(stage, Nth::Second));
            self.release(Value::Act(stage, Nth::First));
            // A down's second convolution is its skip until the concatenation is made.
            let last_use = stage >= self.depth && keep == Keep::Nothing;
            self.norm(stage, Nth::Second, Statistics::Batch, last_use);
            if stage + 1 < self.num_stages {
                self.enter(stage + 1);
            } else {
                self.emit(Op::Head);
                self.release(Value::Act(stage, Nth::Second));
            }
        }
    }

    /// Forward: from the activation of the stage before to what the stage's convolution reads.
    fn enter(&mut self, stage: usize) {
        let before = Value::Act(stage - 1, Nth::Second);
        let Some(skip) = skip_of(self.depth, stage) else {
            self.emit(Op::Pool(stage));
            self.make(Value::Input(stage));
            self.release(before);
            return;
        };
        if self.plan.split_concat {
            self.upsample(stage);
        } else if self.keep(skip) == Keep::Nothing {
            // The skip's bytes go before those of the other half come.
            self.emit(Op::ConcatSkip(stage));
            self.make(Value::Input(stage));
            self.free(Value::Conv(skip, Nth::Second));
            self.upsample(stage);
            self.emit(Op::ConcatUp(stage));
            self.release_up(stage);
        } else {
            self.upsample(stage);
            self.concat(stage);
        }
    }

    fn upsample(&mut self, stage: usize) {
        if self.is_alive(Value::Up(stage)) {
            return;
        }
        self.act(stage - 1, Nth::Second);
        self.emit(Op::Up(stage));
        self.make(Value::Up(stage));
        self.release_source(stage);
    }

    fn concat(&mut self, stage: usize) {
        self.emit(Op::Concat(stage));
        self.make(Value::Input(stage));
        self.release_up(stage);
    }

    fn release_up(&mut self, stage: usize) {
        if self.current.is_some() || !self.keeps_up(stage) {
            self.free(Value::Up(stage));
        }
    }

    /// The first convolution, whose input is there (forward) or rebuilt (backward).
    fn first_conv(&mut self, stage: usize) {
        let Some(skip) = skip_of(self.depth, stage).filter(|_| self.plan.split_concat) else {
            self.input(stage);
            self.emit(Op::Conv(stage, Nth::First));
            self.make(Value::Conv(stage, Nth::First));
            return;
        };
        self.upsample(stage);
        self.emit(Op::ConvHalf(stage, Half::Up));
        self.make(Value::Conv(stage, Nth::First));
        self.release_of(stage, Value::Up(stage));
        self.act(skip, Nth::Second);
        self.emit(Op::ConvHalf(stage, Half::Skip));
        self.release(Value::Act(skip, Nth::Second));
        if self.current.is_none() && self.keep(skip) == Keep::Nothing {
            self.free(Value::Conv(skip, Nth::Second));
        }
    }

    fn backward(&mut self) -> ControlFlow<()> {
        let last = self.num_stages - 1;
        self.current = Some(last);
        self.visitor.backward_of(last)?;
        self.make(Value::GradLogits);
        self.act(last, Nth::Second);
        self.emit(Op::HeadWeight);
        self.release(Value::Act(last, Nth::Second));
        self.conv(last, Nth::Second);
        self.emit(Op::HeadInput);
        self.make(Value::GradAct(last, Nth::Second));
        self.free(Value::GradLogits);
        for stage in (0..self.num_stages).rev() {
            self.current = Some(stage);
            if stage != last {
                self.visitor.backward_of(stage)?;
            }
            self.norm_backward(stage, Nth::Second);
            self.act(stage, Nth::First);
            self.emit(Op::ConvWeight(stage, Nth::Second));
            // ReLU's mask asks for it once more.
            if self.level(stage) == 0 {
                self.release(Value::Act(stage, Nth::First));
            }
            // It lends its shape to what follows.
            self.conv(stage, Nth::First);
            self.emit(Op::ConvInput(stage, Nth::Second));
            self.make(Value::GradAct(stage, Nth::First));
            self.free(Value::GradConv(stage, Nth::Second));
            self.norm_backward(stage, Nth::First);
            self.first_conv_backward(stage);
        }
        ControlFlow::Continue(())
    }

    fn norm_backward(&mut self, stage: usize, nth: Nth) {
        self.conv(stage, nth);
        // Pooling comes before the second norm of every down.
        let masked = nth == Nth::Second && stage < self.depth;
        self.emit(Op::NormBackward { stage, nth, masked });
        self.alive.remove(Value::GradAct(stage, nth));
        self.make(Value::GradConv(stage, nth));
        self.free(Value::Conv(stage, nth));
        self.free(Value::Act(stage, nth));
    }

    fn first_conv_backward(&mut self, stage: usize) {
        let grad = Value::GradConv(stage, Nth::First);
        match skip_of(self.depth, stage) {
            _ if stage == 0 => {
                self.emit(Op::ConvWeight(0, Nth::First));
                self.free(grad);
            }
            Some(skip) if self.plan.split_concat => {
                self.upsample(stage);
                self.emit(Op::ConvWeightHalf(stage, Half::Up));
                self.free(Value::Up(stage));
                self.emit(Op::ConvInputHalf(stage, Half::Up));
                self.make(Value::GradUp(stage));
                self.up_backward(stage);
                self.act(skip, Nth::Second);
                self.emit(Op::ConvWeightHalf(stage, Half::Skip));
                self.release(Value::Act(skip, Nth::Second));
                self.emit(Op::ConvInputHalf(stage, Half::Skip));
                self.make(Value::GradAct(skip, Nth::Second));
                self.free(grad);
            }
            skip => {
                self.input(stage);
                self.emit(Op::ConvWeight(stage, Nth::First));
                if self.target.shapeless_input_grad {
                    self.free(Value::Input(stage));
                }
                self.emit(Op::ConvInput(stage, Nth::First));
                self.make(Value::GradInput(stage));
                self.free(Value::Input(stage));
                self.free(grad);
                if let Some(skip) = skip {
                    self.emit(Op::TakeUp(stage));
                    self.make(Value::GradUp(stage));
                    self.up_backward(stage);
                    self.emit(Op::TakeSkip(stage));
                    self.make(Value::GradAct(skip, Nth::Second));
                } else {
                    self.act_or_conv(stage - 1);
                    self.emit(Op::PoolBackward(stage));
                }
                self.free(Value::GradInput(stage));
            }
        }
    }

    fn up_backward(&mut self, stage: usize) {
        self.act(stage - 1, Nth::Second);
        self.emit(Op::UpWeight(stage));
        self.release_source(stage);
        // It lends its shape to the gradient.
        self.conv(stage - 1, Nth::Second);
        self.emit(Op::UpInput(stage));
        self.make(Value::GradAct(stage - 1, Nth::Second));
        self.free(Value::GradUp(stage));
    }

    /// Sees to it that an activation is there.
    fn act(&mut self, stage: usize, nth: Nth) {
        if self.is_alive(Value::Act(stage, nth)) {
            return;
        }
        self.conv(stage, nth);
        let last_use = match (nth, self.current) {
            (Nth::First, _) => !self.holds(stage),
            // The last that forward has of a skip which the plan does not keep.
            (Nth::Second, None) => self.keep(stage) == Keep::Nothing,
            (Nth::Second, Some(_)) => false,
        };
        self.norm(stage, nth, Statistics::Saved, last_use);
    }

    /// Sees to it that what a stage hands on is there, or what it is rebuilt from in parts.
    fn act_or_conv(&mut self, stage: usize) {
        if !self.is_alive(Value::Act(stage, Nth::Second)) {
            self.conv(stage, Nth::Second);
        }
    }

    fn conv(&mut self, stage: usize, nth: Nth) {
        if self.is_alive(Value::Conv(stage, nth)) {
            return;
        }
        match nth {
            Nth::First => {
                self.first_conv(stage);
                // Pooled inputs are half of what is made of them: worth holding where the stage's
                // own backward comes next. A concatenation is twice as large.
                if skip_of(self.depth, stage).is_some() || !self.holds(stage) {
                    self.release_of(stage, Value::Input(stage));
                }
            }
            Nth::Second => {
                self.act(stage, Nth::First);
                self.emit(Op::Conv(stage, Nth::Second));
                self.make(Value::Conv(stage, Nth::Second));
                self.release(Value::Act(stage, Nth::First));
            }
        }
    }

    /// Sees to it that what the first convolution reads is there.
    fn input(&mut self, stage: usize) {
        if stage == 0 || self.is_alive(Value::Input(stage)) {
            return;
        }
        let Some(skip) = skip_of(self.depth, stage) else {
            self.act_or_conv(stage - 1);
            self.emit(Op::Pool(stage));
            self.make(Value::Input(stage));
            return;
        };
        self.act_or_conv(skip);
        self.upsample(stage);
        self.concat(stage);
    }

    fn norm(&mut self, stage: usize, nth: Nth, statistics: Statistics, last_use: bool) {
        let in_place = last_use && self.target.in_place_norm;
        self.emit(Op::Norm {
            stage,
            nth,
            statistics,
            in_place,
        });
        self.make(Value::Act(stage, nth));
        if in_place {
            self.alive.remove(Value::Conv(stage, nth));
        } else if last_use {
            self.free(Value::Conv(stage, nth));
        }
    }

    /// Whether a first convolution's output stays once it is there: by plan, or because the
    /// stage's own backward is under way or comes next.
    fn holds(&self, stage: usize) -> bool {
        matches!(self.keep(stage), Keep::Everything | Keep::Convs)
            || self
                .current
                .is_some_and(|at| at == stage || at == stage + 1)
    }

    /// Frees what a transposed convolution read. Backward of the stage asks for it up to three
    /// times (to run again, for the weight, for ReLU's mask): it stays where it is small.
    fn release_source(&mut self, stage: usize) {
        if self.current != Some(stage) || self.level(stage - 1) < 2 {
            self.release(Value::Act(stage - 1, Nth::Second));
        }
    }

    /// Whether the transposed convolution's output stays for backward, which concatenates it
    /// again: for the last stage that is free, since at its peak backward holds it anyway, and
    /// before that, what it holds instead.
    fn keeps_up(&self, stage: usize) -> bool {
        let is_last = stage + 1 == self.num_stages;
        is_last && self.keep(stage) == Keep::Convs && !self.plan.split_concat
    }

    /// Halvings of the image.
    fn level(&self, stage: usize) -> usize {
        skip_of(self.depth, stage).unwrap_or(stage)
    }

    fn keep(&self, stage: usize) -> Keep {
        self.plan.stages[stage]
    }

    fn is_alive(&self, value: Value) -> bool {
        self.alive.contains(value)
    }

    fn emit(&mut self, op: Op) {
        self.visitor.op(op, &self.alive);
    }

    fn make(&mut self, value: Value) {
        self.alive.insert(value);
    }

    fn free(&mut self, value: Value) {
        if self.alive.remove(value) {
            self.emit(Op::Free(value));
        }
    }

    /// Frees an activation that its stage does not keep.
    fn release(&mut self, value: Value) {
        if let Value::Act(stage, _) = value {
            self.release_of(stage, value);
        }
    }

    fn release_of(&mut self, stage: usize, value: Value) {
        if self.keep(stage) != Keep::Everything {
            self.free(value);
        }
    }
}
