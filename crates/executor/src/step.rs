//! One step in progress: its tensors by name, and each operation on them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use schedule::{Half, Nth, Op, Schedule, Statistics, Value};
use tch::{Kind, Tensor};
use torch_ext::conv::Conv;
use torch_ext::norm::{self, Fused, Kernels, relu_backward_, relu_to};
use torch_ext::ops::{MemoryFormat, contiguous_in, copy};
use torch_ext::record::Labels;
use torch_ext::segment::recompute_begins;
use torch_ext::{Error, Result};

use super::lookup::{accumulate, empty, format_of_step, input, missing};
use super::parts::Parts;
use super::{ConvTensors, NetworkTensors, cast};

/// Kernel and stride of the pooling.
const POOL: [i64; 2] = [2, 2];

/// The statistics of a batch norm, by the kernels that compute with them.
pub(super) enum Saved {
    Fused(Fused),
    Library(norm::Statistics),
}

pub(super) struct Step {
    pub(super) schedule: Arc<Schedule>,
    pub(super) tensors: NetworkTensors,
    /// Autocast's dtype.
    pub(super) compute: Option<Kind>,
    /// Memory format of every activation.
    pub(super) format: MemoryFormat,
    pub(super) values: HashMap<Value, Tensor>,
    pub(super) kernels: Kernels,
    pub(super) statistics: HashMap<(usize, Nth), Saved>,
    /// Versions of the parameters and the images when the forward began.
    pub(super) versions: Vec<u64>,
    in_backward: bool,
}

impl Step {
    /// Runs the forward. Returns the logits, and the step for its backward.
    pub(super) fn forward(
        schedule: Arc<Schedule>,
        tensors: NetworkTensors,
        images: &Tensor,
        (compute, kernels): (Option<Kind>, Kernels),
    ) -> Result<(Tensor, Self)> {
        let format = format_of_step(images, &tensors);
        let mut step = Self {
            versions: tensors.versions(images),
            schedule,
            tensors,
            compute,
            format,
            kernels,
            values: HashMap::from([(Value::Image, images.shallow_clone())]),
            statistics: HashMap::new(),
            in_backward: false,
        };
        let schedule = Arc::clone(&step.schedule);
        let labels = Labels::begin();
        for &op in schedule.forward() {
            step.run(op, &labels)?;
        }
        let logits = step.take(Value::Logits)?;
        Ok((logits, step))
    }

    /// Runs the backward from the gradient of the logits.
    pub(super) fn backward(mut self, gradient: Tensor) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        self.refuse_changed()?;
        self.in_backward = true;
        self.put(Value::GradLogits, gradient);
        let schedule = Arc::clone(&self.schedule);
        let labels = Labels::begin();
        let mut ops = schedule.backward().iter();
        ops.try_for_each(|&op| self.run(op, &labels))
    }

    /// Refuses values that changed since the forward: their gradients would be wrong.
    fn refuse_changed(&self) -> Result<()> {
        let images = self.get(Value::Image)?;
        if self.tensors.versions(images) == self.versions {
            return Ok(());
        }
        Err(Error::RecomputeMismatch(
            "a parameter or the images were modified in place between forward and backward: run \
             the optimizer's step after backward"
                .to_owned(),
        ))
    }

    fn run(&mut self, op: Op, labels: &Labels) -> Result<()> {
        if !matches!(op, Op::Free(_)) {
            labels.set(|| op.to_string());
        }
        match op {
            Op::Conv(s, n) => {
                let layer = self.layer(s, n)?;
                let input = cast(self.get(input(s, n))?, self.compute)?;
                let has_bias = !self.norm_adds_bias(s, n)?;
                let out = self.convolve(Conv::SAME_3X3, &input, &layer.conv, has_bias)?;
                self.put(Value::Conv(s, n), out);
            }
            Op::ConvHalf(s, half) => self.conv_half(s, half)?,
            Op::Moments(stage, nth) => {
                let input = self.get(Value::Conv(stage, nth))?;
                let saved = match self.fuse(stage, nth)? {
                    Some(fused) => Saved::Fused(fused),
                    None => Saved::Library(self.layer(stage, nth)?.norm.forward(input, false)?.1),
                };
                self.statistics.insert((stage, nth), saved);
            }
            Op::Norm {
                stage,
                nth,
                statistics,
                in_place,
            } => self.norm(stage, nth, statistics, in_place)?,
            Op::Pool(s) => self.pool(s)?,
            Op::Up(s) => {
                let input = cast(self.get(Value::Act(s - 1, Nth::Second))?, self.compute)?;
                let out = self.convolve(Conv::UP_2X2, &input, self.up(s)?, true)?;
                self.put(Value::Up(s), out);
            }
            Op::Concat(s) => {
                self.new_concat(s)?;
                self.concat_up(s)?;
                self.concat_skip(s)?;
            }
            Op::ConcatSkip(s) => {
                self.new_concat(s)?;
                self.concat_skip(s)?;
            }
            Op::ConcatUp(s) => self.concat_up(s)?,
            Op::Head => {
                let input = cast(self.get(self.last_act())?, self.compute)?;
                let out = self.convolve(Conv::POINTWISE, &input, &self.tensors.head, true)?;
                self.put(Value::Logits, out);
            }
            Op::HeadWeight => {
                let input = self.last_act();
                let head = &self.tensors.head;
                self.weight_gradients(Conv::POINTWISE, Value::GradLogits, input, (head, true))?;
            }
            Op::HeadInput => {
                let last = self.last_stage();
                let shape = self.get(Value::Conv(last, Nth::Second))?;
                let weight = cast(&self.tensors.head.weight, self.compute)?;
                let grad = self.get(Value::GradLogits)?;
                let out = Conv::POINTWISE.backward_input(grad, Some(shape), &weight)?;
                self.put(Value::GradAct(last, Nth::Second), out);
            }
            Op::NormBackward { stage, nth, masked } => self.norm_backward(stage, nth, masked)?,
            Op::ConvWeight(s, n) => {
                let layer = &self.layer(s, n)?.conv;
                let has_bias = !self.norm_adds_bias(s, n)?;
                let grad = Value::GradConv(s, n);
                self.weight_gradients(Conv::SAME_3X3, grad, input(s, n), (layer, has_bias))?;
            }
            Op::ConvInput(s, n) => self.conv_input(s, n)?,
            Op::ConvWeightHalf(s, half) => self.conv_weight_half(s, half)?,
            Op::ConvInputHalf(s, half) => {
                let grad = self.get(Value::GradConv(s, Nth::First))?;
                let weight = self.half_weight(s, half)?;
                // A half has as many channels as the convolution's output, and so the same shape.
                let out = Conv::SAME_3X3.backward_input(grad, Some(grad), &weight)?;
                self.put(self.half_grad(s, half)?, out);
            }
            Op::PoolBackward(s) => self.pool_backward(s)?,
            Op::TakeUp(s) => {
                let half = self.half_of_grad(s, Half::Up)?;
                self.put(Value::GradUp(s), half);
            }
            Op::TakeSkip(s) => {
                let half = self.half_of_grad(s, Half::Skip)?;
                self.put(self.half_grad(s, Half::Skip)?, half);
            }
            Op::UpWeight(s) => {
                let input = Value::Act(s - 1, Nth::Second);
                let up = (self.up(s)?, true);
                self.weight_gradients(Conv::UP_2X2, Value::GradUp(s), input, up)?;
            }
            Op::UpInput(s) => {
                let shape = self.get(Value::Conv(s - 1, Nth::Second))?;
                let weight = cast(&self.up(s)?.weight, self.compute)?;
                let grad = self.get(Value::GradUp(s))?;
                let out = Conv::UP_2X2.backward_input(grad, Some(shape), &weight)?;
                self.put(Value::GradAct(s - 1, Nth::Second), out);
            }
            Op::Free(value) => drop(self.take(value)?),
        }
        Ok(())
    }

    fn convolve(
        &self,
        conv: Conv,
        input: &Tensor,
        tensors: &ConvTensors,
        has_bias: bool,
    ) -> Result<Tensor> {
        let weight = cast(&tensors.weight, self.compute)?;
        let bias = has_bias.then(|| cast(&tensors.bias, self.compute));
        conv.forward(input, &weight, bias.transpose()?.as_ref())
    }

    /// Whether the batch norm after a convolution adds its bias, as it did in the forward.
    fn norm_adds_bias(&self, stage: usize, nth: Nth) -> Result<bool> {
        Ok(match self.statistics.get(&(stage, nth)) {
            Some(Saved::Library(_)) => false,
            _ => norm::adds_bias(&self.layer(stage, nth)?.conv.weight, self.kernels),
        })
    }

    fn conv_half(&mut self, stage: usize, half: Half) -> Result<()> {
        let weight = self.half_weight(stage, half)?;
        let input = cast(self.get(self.half_input(stage, half)?)?, self.compute)?;
        let key = Value::Conv(stage, Nth::First);
        match half {
            Half::Up => {
                let conv = &self.layer(stage, Nth::First)?.conv;
                let has_bias = !self.norm_adds_bias(stage, Nth::First)?;
                let bias = has_bias.then(|| cast(&conv.bias, self.compute));
                let bias = bias.transpose()?;
                let out = Conv::SAME_3X3.forward(&input, &weight, bias.as_ref())?;
                self.put(key, out);
            }
            Half::Skip => {
                let more = Conv::SAME_3X3.forward(&input, &weight, None)?;
                let mut sum = self.get(key)?.shallow_clone();
                let _sum = sum.f_add_(&more)?;
            }
        }
        Ok(())
    }

    fn norm(
        &mut self,
        stage: usize,
        nth: Nth,
        statistics: Statistics,
        in_place: bool,
    ) -> Result<()> {
        let input = self.get(Value::Conv(stage, nth))?;
        let norm = &self.layer(stage, nth)?.norm;
        let place = || {
            if in_place {
                Ok(input.shallow_clone())
            } else {
                input.f_empty_like()
            }
        };
        let out = match statistics {
            Statistics::Batch => {
                let (saved, out) = if let Some(fused) = self.fuse(stage, nth)? {
                    let out = place()?;
                    fused.activate(input, &out)?;
                    (Saved::Fused(fused), out)
                } else {
                    let (mut out, taken) = norm.forward(input, in_place)?;
                    let _out = out.f_relu_()?;
                    (Saved::Library(taken), out)
                };
                self.statistics.insert((stage, nth), saved);
                out
            }
            Statistics::Saved => match self.saved(stage, nth)? {
                Saved::Fused(fused) => {
                    self.rebuilds()?;
                    let out = place()?;
                    fused.activate(input, &out)?;
                    out
                }
                Saved::Library(saved) if saved.can_slice(input) => {
                    let out = place()?;
                    let parts = Parts::of(input, self.format);
                    for i in 0..parts.num(input) {
                        let part = parts.view(&out, i, false)?;
                        let input = parts.view(input, i, false)?;
                        let mut act = norm.rebuild(&input, saved, Some(&part))?;
                        let _act = act.f_relu_()?;
                    }
                    out
                }
                Saved::Library(saved) => {
                    let mut out = norm.rebuild(input, saved, None)?;
                    let _out = out.f_relu_()?;
                    out
                }
            },
        };
        if in_place {
            self.values.remove(&Value::Conv(stage, nth));
        }
        self.put(Value::Act(stage, nth), out);
        Ok(())
    }

    /// The statistics of this batch, if our own kernels take the tensor.
    fn fuse(&self, stage: usize, nth: Nth) -> Result<Option<Fused>> {
        match self.kernels {
            Kernels::Fused => {
                let layer = self.layer(stage, nth)?;
                let bias = self.norm_adds_bias(stage, nth)?;
                let input = norm::Input {
                    tensor: self.get(Value::Conv(stage, nth))?,
                    bias: bias.then_some(&layer.conv.bias),
                };
                layer.norm.fuse(input, true)
            }
            Kernels::Library => Ok(None),
        }
    }

    fn pool(&mut self, stage: usize) -> Result<()> {
        let before = stage - 1;
        let model = self.act_or_conv(before)?;
        let size = model.size();
        let size = [size[0], size[1], size[2] / 2, size[3] / 2];
        let out = empty(size, self.format, (model.kind(), model.device()))?;
        if let Some((x, fused)) = self.fused(before)? {
            self.rebuilds()?;
            fused.activate_pooled(x, &out)?;
            self.put(Value::Input(stage), out);
            return Ok(());
        }
        self.each_pre_act(before, Nth::Second, |parts, index, pre_act| {
            let (pooled, _) =
                pre_act.f_max_pool2d_with_indices(POOL, POOL, [0, 0], [1, 1], false)?;
            // The maximum of four values is positive if any of them is.
            relu_to(&pooled, &parts.view(&out, index, true)?)
        })?;
        self.put(Value::Input(stage), out);
        Ok(())
    }

    /// A tensor with the shape of a stage's output: the activation, or the convolution before it.
    fn act_or_conv(&self, stage: usize) -> Result<&Tensor> {
        match self.values.get(&Value::Act(stage, Nth::Second)) {
            Some(act) => Ok(act),
            None => self.get(Value::Conv(stage, Nth::Second)),
        }
    }

    fn new_concat(&mut self, stage: usize) -> Result<()> {
        let skip = self.skip(stage)?;
        let half = self.act_or_conv(skip)?;
        let size = half.size();
        let size = [size[0], 2 * size[1], size[2], size[3]];
        let out = empty(size, self.format, (half.kind(), half.device()))?;
        self.put(Value::Input(stage), out);
        Ok(())
    }

    fn concat_up(&mut self, stage: usize) -> Result<()> {
        let up = self.get(Value::Up(stage))?;
        let channels = up.size()[1];
        copy(
            up,
            &self.get(Value::Input(stage))?.f_narrow(1, 0, channels)?,
        )
    }

    fn concat_skip(&mut self, stage: usize) -> Result<()> {
        let skip = self.skip(stage)?;
        let concat = self.get(Value::Input(stage))?;
        let channels = concat.size()[1] / 2;
        if let Some((x, fused)) = self.fused(skip)? {
            self.rebuilds()?;
            return fused.activate(x, &concat.f_narrow(1, channels, channels)?);
        }
        self.each_pre_act(skip, Nth::Second, |parts, index, pre_act| {
            let half = parts.view(concat, index, false)?;
            relu_to(pre_act, &half.f_narrow(1, channels, channels)?)
        })
    }

    fn norm_backward(&mut self, stage: usize, nth: Nth, masked: bool) -> Result<()> {
        let mut grad = self.take(Value::GradAct(stage, nth))?;
        let input = self.get(Value::Conv(stage, nth))?;
        let norm = &self.layer(stage, nth)?.norm;
        let gradients = match self.saved(stage, nth)? {
            Saved::Fused(fused) => fused.backward(grad, input, masked)?,
            Saved::Library(saved) => {
                if grad.stride() != input.stride() {
                    grad = contiguous_in(&grad, self.format)?;
                }
                if !masked {
                    self.each_pre_act(stage, nth, |parts, index, pre_act| {
                        relu_backward_(&parts.view(&grad, index, false)?, pre_act)
                    })?;
                }
                norm.backward(grad, input, saved)?
            }
        };
        accumulate(&norm.weight, &gradients.weight)?;
        accumulate(&norm.bias, &gradients.bias)?;
        self.put(Value::GradConv(stage, nth), gradients.input);
        Ok(())
    }

    fn weight_gradients(
        &self,
        conv: Conv,
        grad: Value,
        input: Value,
        (tensors, has_bias): (&ConvTensors, bool),
    ) -> Result<()> {
        let input = cast(self.get(input)?, self.compute)?;
        let weight = self.shape_of_weight(&tensors.weight)?;
        let (dw, db) = conv.backward_weight(self.get(grad)?, &input, &weight, has_bias)?;
        accumulate(&tensors.weight, &dw)?;
        accumulate_bias(&tensors.bias, db)
    }

    fn conv_input(&mut self, stage: usize, nth: Nth) -> Result<()> {
        let weight = cast(&self.layer(stage, nth)?.conv.weight, self.compute)?;
        let grad = self.get(Value::GradConv(stage, nth))?;
        let (shape, out) = match nth {
            // The activation between the convolutions has the shape of the first one's output.
            Nth::Second => (
                Some(self.get(Value::Conv(stage, Nth::First))?),
                Value::GradAct(stage, Nth::First),
            ),
            Nth::First => (
                self.values.get(&Value::Input(stage)),
                Value::GradInput(stage),
            ),
        };
        let gradient = Conv::SAME_3X3.backward_input(grad, shape, &weight)?;
        self.put(out, gradient);
        Ok(())
    }

    fn conv_weight_half(&mut self, stage: usize, half: Half) -> Result<()> {
        let weight = self.shape_of_weight(&self.half_slice(stage, half)?)?;
        let input = cast(self.get(self.half_input(stage, half)?)?, self.compute)?;
        let grad = self.get(Value::GradConv(stage, Nth::First))?;
        let conv = &self.layer(stage, Nth::First)?.conv;
        let has_bias = half == Half::Up && !self.norm_adds_bias(stage, Nth::First)?;
        let (dw, db) = Conv::SAME_3X3.backward_weight(grad, &input, &weight, has_bias)?;
        // Both halves write to one gradient, which starts as zeros.
        let channels = conv.weight.size()[1] / 2;
        let whole = conv.weight.f_detach()?.f_zeros_like()?;
        let from = if half == Half::Up { 0 } else { channels };
        whole.f_narrow(1, from, channels)?.f_copy_(&dw)?;
        accumulate(&conv.weight, &whole)?;
        if half == Half::Up {
            accumulate_bias(&conv.bias, db)?;
        }
        Ok(())
    }

    fn pool_backward(&mut self, stage: usize) -> Result<()> {
        let grad = contiguous_in(self.get(Value::GradInput(stage))?, self.format)?;
        let sum = contiguous_in(
            &self.take(Value::GradAct(stage - 1, Nth::Second))?,
            self.format,
        )?;
        if let Some((x, fused)) = self.fused(stage - 1)? {
            fused.unpool(&sum, x, &grad)?;
            self.put(Value::GradAct(stage - 1, Nth::Second), sum);
            return Ok(());
        }
        // If none of the four values is positive, ReLU passes nothing back, whichever pooling
        // chose.
        self.each_pre_act(stage - 1, Nth::Second, |parts, index, pre_act| {
            let (_, indices) =
                pre_act.f_max_pool2d_with_indices(POOL, POOL, [0, 0], [1, 1], false)?;
            let passed = pre_act.f_max_pool2d_with_indices_backward(
                &parts.view(&grad, index, true)?,
                POOL,
                POOL,
                [0, 0],
                [1, 1],
                false,
                &indices,
            )?;
            let mut sum = parts.view(&sum, index, false)?;
            let _sum = sum.f_add_(&passed)?;
            relu_backward_(&sum, pre_act)
        })?;
        self.put(Value::GradAct(stage - 1, Nth::Second), sum);
        Ok(())
    }

    /// The output of a stage for our own kernels, if they take it: its activation if that is alive, else the convolution
    /// that they rebuild it from.
    fn fused(&self, stage: usize) -> Result<Option<(&Tensor, Cow<'_, Fused>)>> {
        let Saved::Fused(fused) = self.saved(stage, Nth::Second)? else {
            return Ok(None);
        };
        if let Some(act) = self.values.get(&Value::Act(stage, Nth::Second)) {
            return Ok(Some((act, Cow::Owned(fused.identity()))));
        }
        let conv = self.get(Value::Conv(stage, Nth::Second))?;
        Ok(Some((conv, Cow::Borrowed(fused))))
    }

    /// Our own kernels are about to compute what forward has computed before, if this is the backward.
    fn rebuilds(&self) -> Result<()> {
        if self.in_backward {
            recompute_begins()
        } else {
            Ok(())
        }
    }

    /// Calls `body` with each part of an activation: after ReLU if that tensor exists, else before
    /// ReLU, rebuilt from its convolution. `body` must treat both alike.
    fn each_pre_act(
        &self,
        stage: usize,
        nth: Nth,
        body: impl Fn(Parts, i64, &Tensor) -> Result<()>,
    ) -> Result<()> {
        if let Some(act) = self.values.get(&Value::Act(stage, nth)) {
            let parts = Parts::of(act, self.format);
            return (0..parts.num(act))
                .try_for_each(|i| body(parts, i, &parts.view(act, i, false)?));
        }
        let input = self.get(Value::Conv(stage, nth))?;
        let norm = &self.layer(stage, nth)?.norm;
        let Saved::Library(saved) = self.saved(stage, nth)? else {
            return Err(missing("statistics"));
        };
        let parts = if saved.can_slice(input) {
            Parts::of(input, self.format)
        } else {
            Parts::Whole
        };
        (0..parts.num(input)).try_for_each(|i| {
            let pre_act = norm.rebuild(&parts.view(input, i, false)?, saved, None)?;
            body(parts, i, &pre_act)
        })
    }
}

/// Adds the gradient of a bias: zero where batch norm takes the bias away again.
fn accumulate_bias(bias: &Tensor, grad: Option<Tensor>) -> Result<()> {
    let grad = match grad {
        Some(grad) => grad,
        None => bias.f_detach()?.f_zeros_like()?,
    };
    accumulate(bias, &grad)
}
