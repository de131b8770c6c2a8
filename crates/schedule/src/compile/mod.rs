//! Compiles a plan into a list of operations.
//!
//! The compiler tracks which tensors are alive. Forward frees a tensor that the plan does not keep
//! as soon as nothing later reads it; backward requests what it needs and rebuilds missing tensors
//! from those that are alive.
//!
//! Beyond the plan, these rules determine the peak:
//! * the gradient of a weight is computed before that of the input, so that the input can be freed
//!   first;
//! * a skip is held as its convolution's output, never together with its activation, and is rebuilt
//!   into the concatenation part by part;
//! * batch norm and ReLU compute their gradients in place.

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use config::{Keep, Network};

use crate::ScheduleError;
use crate::alive::Alive;
use crate::op::{Half, Nth, Op, Statistics, Value};
use crate::plan::Plan;

/// What the executing library can avoid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// It can run batch norm, forward and backward, in the bytes of the operand.
    pub in_place_norm: bool,
    /// It can compute the gradient of a convolution's input without a tensor of that input's shape.
    pub shapeless_input_grad: bool,
    /// It applies batch norm and ReLU inside the pass that pools or concatenates, so that the activation of a down's
    /// second convolution need not exist.
    pub fused: bool,
}

impl Target {
    /// libtorch on an x86-64 CPU, with our kernels.
    pub const CPU: Self = Self {
        in_place_norm: true,
        shapeless_input_grad: true,
        fused: true,
    };
}

/// A training step of one network under one plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    forward: Vec<Op>,
    backward: Vec<Op>,
    network: Network,
    target: Target,
}

impl Schedule {
    /// Compiles a plan for a network.
    ///
    /// # Errors
    /// [`ScheduleError::Stages`] if the plan is for another network.
    pub fn compile(network: &Network, plan: &Plan, target: Target) -> Result<Self, ScheduleError> {
        let mut ops = Listed::default();
        visit(network, plan, target, &mut ops)?;
        Ok(Self {
            forward: ops.forward,
            backward: ops.backward.unwrap_or_default(),
            network: *network,
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

    /// The stage whose output is this stage's skip; `None` for a stage without a skip.
    pub fn skip_of(&self, stage: usize) -> Option<usize> {
        self.network.stage(stage).skip
    }
}

/// Receives the operations of a step, in order, without a list being built.
pub trait Visitor {
    /// An operation begins with these tensors alive; an [`Op::Free`] has already ended.
    fn op(&mut self, op: Op, alive: &Alive);
    /// Forward has ended: the loss turns the logits into their gradient.
    fn loss(&mut self);
    /// Backward of a stage begins; backward of the last stage includes the head. A visitor that has
    /// seen enough breaks off.
    fn backward_of(&mut self, _stage: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Visits the operations of a plan's step, until the end or until the visitor breaks off.
///
/// # Errors
/// [`ScheduleError::Stages`] if the plan is for another network.
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
        network: *network,
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

struct Compiler<'a, V> {
    plan: &'a Plan,
    target: Target,
    network: Network,
    num_stages: usize,
    alive: Alive,
    visitor: &'a mut V,
    /// The stage whose backward is running.
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
            if stage < self.depth() && self.target.fused {
                self.emit(Op::Moments(stage, Nth::Second));
            } else {
                // The output of a down's second convolution serves as its skip until the concatenation.
                let last_use = stage >= self.depth() && keep == Keep::Nothing;
                self.norm(stage, Nth::Second, Statistics::Batch, last_use);
            }
            if stage + 1 < self.num_stages {
                self.enter(stage + 1);
            } else {
                self.emit(Op::Head);
                self.release(Value::Act(stage, Nth::Second));
            }
        }
    }

    /// Forward, from the previous stage's activation to the input of this stage's convolution.
    fn enter(&mut self, stage: usize) {
        let before = Value::Act(stage - 1, Nth::Second);
        let Some(skip) = self.skip_of(stage) else {
            self.emit(Op::Pool(stage));
            self.make(Value::Input(stage));
            self.release(before);
            return;
        };
        if self.plan.split_concat {
            self.upsample(stage);
        } else if self.keep(skip) == Keep::Nothing {
            // The skip is freed before the other half is allocated.
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

    /// The first convolution, whose input is alive (in forward) or rebuilt (in backward).
    fn first_conv(&mut self, stage: usize) {
        let Some(skip) = self.skip_of(stage).filter(|_| self.plan.split_concat) else {
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
            // ReLU's mask needs it once more, so only the largest is freed here.
            if self.level(stage) == 0 {
                self.release(Value::Act(stage, Nth::First));
            }
            // The next operation needs its shape.
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
        // In backward, pooling comes before the second norm of every down and applies the mask.
        let masked = nth == Nth::Second && stage < self.depth();
        self.emit(Op::NormBackward { stage, nth, masked });
        self.alive.remove(Value::GradAct(stage, nth));
        self.make(Value::GradConv(stage, nth));
        self.free(Value::Conv(stage, nth));
        self.free(Value::Act(stage, nth));
    }

    fn first_conv_backward(&mut self, stage: usize) {
        let grad = Value::GradConv(stage, Nth::First);
        match self.skip_of(stage) {
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
        // The gradient needs its shape.
        self.conv(stage - 1, Nth::Second);
        self.emit(Op::UpInput(stage));
        self.make(Value::GradAct(stage - 1, Nth::Second));
        self.free(Value::GradUp(stage));
    }

    /// Ensures that an activation is alive.
    fn act(&mut self, stage: usize, nth: Nth) {
        if self.is_alive(Value::Act(stage, nth)) {
            return;
        }
        self.conv(stage, nth);
        let last_use = match (nth, self.current) {
            (Nth::First, _) => !self.holds(stage),
            // This is forward's last use of a skip that the plan does not keep.
            (Nth::Second, None) => self.keep(stage) == Keep::Nothing,
            (Nth::Second, Some(_)) => false,
        };
        self.norm(stage, nth, Statistics::Saved, last_use);
    }

    /// Ensures that a stage's output is alive, or the tensor from which it is rebuilt in parts.
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
                // A pooled input is half as large as the output that is made from it, so it is
                // worth holding if the stage's own backward comes next. A concatenation is twice
                // as large as its output.
                if self.skip_of(stage).is_some() || !self.holds(stage) {
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

    /// Ensures that the input of the first convolution is alive.
    fn input(&mut self, stage: usize) {
        if stage == 0 || self.is_alive(Value::Input(stage)) {
            return;
        }
        let Some(skip) = self.skip_of(stage) else {
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

    /// Whether a first convolution's output stays alive once it exists: because the plan says so,
    /// or because the stage's own backward is running or comes next.
    fn holds(&self, stage: usize) -> bool {
        matches!(self.keep(stage), Keep::Everything | Keep::Convs)
            || self
                .current
                .is_some_and(|at| at == stage || at == stage + 1)
    }

    /// Frees the input of a transposed convolution. Backward of the stage needs it up to three
    /// times (to run again, for the weight, for ReLU's mask), so it stays alive if it is small.
    fn release_source(&mut self, stage: usize) {
        if self.current != Some(stage) || self.level(stage - 1) < 2 {
            self.release(Value::Act(stage - 1, Nth::Second));
        }
    }

    /// Whether the transposed convolution's output is kept for backward, which concatenates it
    /// again. For the last stage this costs nothing: backward holds the output at its peak anyway,
    /// and before that it holds other tensors in its place.
    fn keeps_up(&self, stage: usize) -> bool {
        let is_last = stage + 1 == self.num_stages;
        is_last && self.keep(stage) == Keep::Convs && !self.plan.split_concat
    }

    const fn depth(&self) -> usize {
        self.network.depth as usize
    }

    const fn skip_of(&self, stage: usize) -> Option<usize> {
        self.network.stage(stage).skip
    }

    /// How many times the image is halved at a stage.
    const fn level(&self, stage: usize) -> u32 {
        self.network.stage(stage).level
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
