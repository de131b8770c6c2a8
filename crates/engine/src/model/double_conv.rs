//! (conv 3x3 + BatchNorm + ReLU) twice.

use tch::Tensor;
use torch_ext::conv::Conv;
use torch_ext::norm::{BatchNorm, Input, Kernels, adds_bias, batch_norm_relu};
use torch_ext::segment::Pass;
use torch_ext::{Error, Result};

use super::Parameters;

/// PyTorch's default of `nn.BatchNorm2d`, as is `EPS`.
pub(crate) const MOMENTUM: f64 = 0.1;
const EPS: f64 = 1e-5;

/// Handles on the tensors of one DoubleConv.
#[derive(Debug)]
pub struct DoubleConv {
    layers: [ConvLayer; 2],
}

/// A convolution with its batch norm.
#[derive(Debug)]
pub struct ConvLayer {
    /// `[C_out, C_in, 3, 3]`.
    pub weight: Tensor,
    /// `[C_out]`.
    pub bias: Tensor,
    /// The batch norm after the convolution.
    pub norm: BatchNorm,
}

/// How batch norm and ReLU run.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    /// Batch statistics and their update, or running statistics.
    pub(super) training: bool,
    /// Whether backward runs it again.
    pub(super) pass: Pass,
    /// Whose code computes them.
    pub(super) kernels: Kernels,
}

impl DoubleConv {
    pub(super) fn new(name: &str, parameters: &Parameters) -> Self {
        let layer = |conv: usize, norm: usize| {
            let of = |i: usize, member: &str| parameters.handle(&format!("{name}.{i}.{member}"));
            ConvLayer {
                weight: of(conv, "weight"),
                bias: of(conv, "bias"),
                norm: BatchNorm {
                    weight: of(norm, "weight"),
                    bias: of(norm, "bias"),
                    running_mean: of(norm, "running_mean"),
                    running_var: of(norm, "running_var"),
                    momentum: MOMENTUM,
                    eps: EPS,
                    together: None,
                },
            }
        };
        Self {
            layers: [layer(0, 1), layer(3, 4)],
        }
    }

    /// `[N, C_in, H, W]` -> `[N, C_out, H, W]`. The input is one tensor, or the two halves of one
    /// that was never concatenated.
    pub(super) fn run(&self, inputs: Vec<Tensor>, how: How) -> Result<Tensor> {
        let [first, second] = &self.layers;
        let hidden = first.run(&inputs, how)?;
        drop(inputs);
        second.run(&[hidden], how)
    }

    /// Its two layers.
    pub fn layers(&self) -> &[ConvLayer; 2] {
        &self.layers
    }

    pub(super) fn shallow_clone(&self) -> Self {
        Self {
            layers: [
                self.layers[0].shallow_clone(),
                self.layers[1].shallow_clone(),
            ],
        }
    }
}

impl ConvLayer {
    fn run(&self, inputs: &[Tensor], how: How) -> Result<Tensor> {
        let norm_adds_bias = adds_bias(&self.weight, how.kernels);
        let y = self.convolve(inputs, (!norm_adds_bias).then_some(&self.bias))?;
        let input = Input {
            tensor: &y,
            bias: norm_adds_bias.then_some(&self.bias),
        };
        batch_norm_relu(input, &self.norm, how.training, how.pass, how.kernels)
    }

    /// For several inputs: the sum of convolutions with slices of the weight. This equals the
    /// convolution of their concatenation, except for the rounding order of the sums.
    fn convolve(&self, inputs: &[Tensor], bias: Option<&Tensor>) -> Result<Tensor> {
        let conv = Conv::SAME_3X3;
        let [first, rest @ ..] = inputs else {
            return Err(Error::InvalidArgument(
                "a convolution without input".to_owned(),
            ));
        };
        if rest.is_empty() {
            return conv.forward(first, &self.weight, bias);
        }
        let mut from = first.size()[1];
        let mut sum = conv.forward(first, &self.weight.f_narrow(1, 0, from)?, bias)?;
        for input in rest {
            let channels = input.size()[1];
            let weight = self.weight.f_narrow(1, from, channels)?;
            sum = sum.f_add_(&conv.forward(input, &weight, None)?)?;
            from += channels;
        }
        Ok(sum)
    }

    pub(crate) fn shallow_clone(&self) -> Self {
        Self {
            weight: self.weight.shallow_clone(),
            bias: self.bias.shallow_clone(),
            norm: self.norm.shallow_clone(),
        }
    }
}
