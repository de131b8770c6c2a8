//! Batch norm and ReLU by the kernels of the crate `kernels`: of channels-last tensors, on the CPU or on a GPU.

use tch::Tensor;

use super::gpu::Gpu;
use super::host::Host;
use super::trial::runs_on;
use super::{BatchNorm, NormGradients};
use crate::Result;
use crate::launch::is_gpu;

/// Batch norm with ReLU for one tensor: its statistics, and what follows from them. It does not see later changes of
/// weight and bias.
#[derive(Clone, Debug)]
pub struct Fused(Place);

/// What batch norm reads.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The output of a convolution, `[N, C, H, W]`.
    pub tensor: &'a Tensor,
    /// The convolution's bias, if it has not added that ([`adds_bias`](super::adds_bias)).
    pub bias: Option<&'a Tensor>,
}

impl<'a> From<&'a Tensor> for Input<'a> {
    fn from(tensor: &'a Tensor) -> Self {
        Self { tensor, bias: None }
    }
}

/// Where mean and variance come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// From the input, in training; `update` advances the running ones.
    Batch { update: bool },
    /// From the running ones, in evaluation.
    Running,
}

#[derive(Clone, Debug)]
enum Place {
    Host(Host),
    Gpu(Gpu),
}

impl Fused {
    /// `None` if the kernels do not take such a tensor, or do not run on its device.
    pub(super) fn of(norm: &BatchNorm, input: Input<'_>, source: Source) -> Result<Option<Self>> {
        let device = input.tensor.device();
        let is_gpu = is_gpu(device);
        if is_gpu && runs_on(device).is_err() {
            return Ok(None);
        }
        Self::by(is_gpu, norm, input, source)
    }

    /// Whether the kernels take such a tensor, and run on its device.
    pub(super) fn takes(norm: &BatchNorm, input: Input<'_>) -> bool {
        let device = input.tensor.device();
        if is_gpu(device) {
            return Gpu::takes(norm, input) && runs_on(device).is_ok();
        }
        Host::takes(norm, input)
    }

    /// As [`Self::of`], by the kernels of a GPU or of the CPU, without a look at the device.
    pub(super) fn by(
        is_gpu: bool,
        norm: &BatchNorm,
        input: Input<'_>,
        source: Source,
    ) -> Result<Option<Self>> {
        let place = if is_gpu {
            Gpu::of(norm, input, source)?.map(Place::Gpu)
        } else {
            Host::of(norm, input, source)?.map(Place::Host)
        };
        Ok(place.map(Self))
    }

    /// ReLU alone, for a tensor that is normalised already.
    #[must_use]
    pub fn identity(&self) -> Self {
        Self(match &self.0 {
            Place::Host(host) => Place::Host(Host::identity(host.channels())),
            Place::Gpu(gpu) => Place::Gpu(Gpu::identity(gpu.channels())),
        })
    }

    /// Writes batch norm's output after ReLU to `into`: to `input` itself, to another tensor of its shape, or to some
    /// channels of one.
    ///
    /// # Errors
    /// If the tensors do not fit.
    pub fn activate(&self, input: &Tensor, into: &Tensor) -> Result<()> {
        match &self.0 {
            Place::Host(host) => host.activate(input, into),
            Place::Gpu(gpu) => gpu.activate(input, into),
        }
    }

    /// Writes the output after ReLU and 2x2 max pooling to `into`: `[N, C, H, W]` -> `[N, C, H / 2, W / 2]`.
    ///
    /// # Errors
    /// If the tensors do not fit.
    pub fn activate_pooled(&self, input: &Tensor, into: &Tensor) -> Result<()> {
        match &self.0 {
            Place::Host(host) => host.activate_pooled(input, into),
            Place::Gpu(gpu) => gpu.activate_pooled(input, into),
        }
    }

    /// Adds the gradient of [`Self::activate_pooled`]'s output to `grad`, that of the same activation elsewhere, and
    /// applies ReLU's mask to the sum.
    ///
    /// # Errors
    /// If the tensors do not fit.
    pub fn unpool(&self, grad: &Tensor, input: &Tensor, pooled: &Tensor) -> Result<()> {
        match &self.0 {
            Place::Host(host) => host.unpool(grad, input, pooled),
            Place::Gpu(gpu) => gpu.unpool(grad, input, pooled),
        }
    }

    /// Gradients, given that of ReLU's output, or with `masked` of its input. The gradient of `input` takes the bytes
    /// of `grad`.
    ///
    /// # Errors
    /// If the tensors do not fit, or memory runs out.
    pub fn backward(&self, grad: Tensor, input: &Tensor, masked: bool) -> Result<NormGradients> {
        match &self.0 {
            Place::Host(host) => host.backward(grad, input, masked),
            Place::Gpu(gpu) => gpu.backward(grad, input, masked),
        }
    }
}
