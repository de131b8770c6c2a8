//! How a step's operations get their operands: tensors by name, halves of weights and gradients,
//! new tensors.

use schedule::{Half, Nth, Value};
use tch::{Device, Kind, Tensor};
use torch_ext::function::accumulate_grad;
use torch_ext::ops::{MemoryFormat, contiguous_in, copy, is_contiguous_in};
use torch_ext::{Error, Result};

use super::step::{Saved, Step};
use super::{ConvTensors, LayerTensors, NetworkTensors, StageTensors, cast};

impl Step {
    /// A tensor of a weight's shape in autocast's dtype, for a gradient that does not read the
    /// weight's values. So nothing is cast.
    pub(super) fn shape_of_weight(&self, weight: &Tensor) -> Result<Tensor> {
        match (self.compute, weight.size().as_slice()) {
            (Some(kind), &[o, i, h, w]) if kind != weight.kind() => {
                empty([o, i, h, w], self.format, (kind, weight.device()))
            }
            _ => Ok(weight.shallow_clone()),
        }
    }

    /// The weight for one half of a concatenation, in autocast's dtype.
    pub(super) fn half_weight(&self, stage: usize, half: Half) -> Result<Tensor> {
        cast(&self.half_slice(stage, half)?, self.compute)
    }

    pub(super) fn half_slice(&self, stage: usize, half: Half) -> Result<Tensor> {
        let weight = &self.layer(stage, Nth::First)?.conv.weight;
        let channels = weight.size()[1] / 2;
        let from = if half == Half::Up { 0 } else { channels };
        contiguous_in(&weight.f_narrow(1, from, channels)?, self.format)
    }

    pub(super) fn half_input(&self, stage: usize, half: Half) -> Result<Value> {
        Ok(match half {
            Half::Up => Value::Up(stage),
            Half::Skip => Value::Act(self.skip(stage)?, Nth::Second),
        })
    }

    pub(super) fn half_grad(&self, stage: usize, half: Half) -> Result<Value> {
        Ok(match half {
            Half::Up => Value::GradUp(stage),
            Half::Skip => Value::GradAct(self.skip(stage)?, Nth::Second),
        })
    }

    pub(super) fn half_of_grad(&self, stage: usize, half: Half) -> Result<Tensor> {
        let grad = self.get(Value::GradInput(stage))?;
        let channels = grad.size()[1] / 2;
        let from = if half == Half::Up { 0 } else { channels };
        let size = grad.size();
        let size = [size[0], channels, size[2], size[3]];
        // A copy, even if the half is dense already, because the whole will be freed.
        let out = empty(size, self.format, (grad.kind(), grad.device()))?;
        copy(&grad.f_narrow(1, from, channels)?, &out)?;
        Ok(out)
    }

    pub(super) fn last_act(&self) -> Value {
        Value::Act(self.last_stage(), Nth::Second)
    }

    pub(super) fn last_stage(&self) -> usize {
        self.tensors.stages.len().saturating_sub(1)
    }

    pub(super) fn stage(&self, stage: usize) -> Result<&StageTensors> {
        self.tensors.stages.get(stage).ok_or_else(other_network)
    }

    pub(super) fn layer(&self, stage: usize, nth: Nth) -> Result<&LayerTensors> {
        let [first, second] = &self.stage(stage)?.layers;
        Ok(match nth {
            Nth::First => first,
            Nth::Second => second,
        })
    }

    pub(super) fn up(&self, stage: usize) -> Result<&ConvTensors> {
        self.stage(stage)?.up.as_ref().ok_or_else(other_network)
    }

    pub(super) fn skip(&self, stage: usize) -> Result<usize> {
        self.schedule.skip_of(stage).ok_or_else(other_network)
    }

    pub(super) fn saved(&self, stage: usize, nth: Nth) -> Result<&Saved> {
        self.statistics
            .get(&(stage, nth))
            .ok_or_else(|| missing("statistics"))
    }

    pub(super) fn get(&self, value: Value) -> Result<&Tensor> {
        self.values.get(&value).ok_or_else(|| missing(value))
    }

    pub(super) fn take(&mut self, value: Value) -> Result<Tensor> {
        self.values.remove(&value).ok_or_else(|| missing(value))
    }

    pub(super) fn put(&mut self, value: Value, tensor: Tensor) {
        self.values.insert(value, tensor);
    }
}

pub(super) fn input(stage: usize, nth: Nth) -> Value {
    match (stage, nth) {
        (0, Nth::First) => Value::Image,
        (_, Nth::First) => Value::Input(stage),
        (_, Nth::Second) => Value::Act(stage, Nth::First),
    }
}

pub(super) fn empty(
    [n, c, h, w]: [i64; 4],
    format: MemoryFormat,
    options: (Kind, Device),
) -> Result<Tensor> {
    Ok(match format {
        MemoryFormat::ChannelsLast => {
            Tensor::f_empty([n, h, w, c], options)?.f_permute([0, 3, 1, 2])?
        }
        MemoryFormat::Contiguous => Tensor::f_empty([n, c, h, w], options)?,
    })
}

/// Adds a gradient in the parameter's own dtype.
pub(super) fn accumulate(parameter: &Tensor, gradient: &Tensor) -> Result<()> {
    accumulate_grad(parameter, &gradient.f_to_kind(parameter.kind())?)
}

/// The memory format of a convolution's output: channels-last if the images or a weight are.
pub(super) fn format_of_step(images: &Tensor, tensors: &NetworkTensors) -> MemoryFormat {
    let is_channels_last = |t: &Tensor| {
        is_contiguous_in(t, MemoryFormat::ChannelsLast)
            && !is_contiguous_in(t, MemoryFormat::Contiguous)
    };
    let weights = tensors.stages.iter().flat_map(|stage| &stage.layers);
    if is_channels_last(images)
        || weights
            .into_iter()
            .any(|l| is_channels_last(&l.conv.weight))
    {
        MemoryFormat::ChannelsLast
    } else {
        MemoryFormat::Contiguous
    }
}

pub(super) fn missing(value: impl std::fmt::Debug) -> Error {
    Error::InvalidArgument(format!(
        "the schedule uses {value:?}, which does not exist at that point"
    ))
}

pub(super) fn other_network() -> Error {
    Error::InvalidArgument("the schedule and the tensors belong to different networks".to_owned())
}
