//! (conv 3x3 + BatchNorm + ReLU) twice.

use tch::Tensor;
use torch_ext::Result;
use torch_ext::norm::{BatchNorm, batch_norm};
use torch_ext::segment::Pass;

use super::{Checkpointing, ForwardMode, PLAIN, Parameters};
use crate::compose;

/// PyTorch's defaults of `nn.BatchNorm2d`.
const MOMENTUM: f64 = 0.1;
const EPS: f64 = 1e-5;

/// Handles on the tensors of one DoubleConv.
#[derive(Debug)]
pub struct DoubleConv {
    layers: [Layer; 2],
}

#[derive(Debug)]
struct Layer {
    weight: Tensor,
    bias: Tensor,
    norm: BatchNorm,
}

impl DoubleConv {
    pub(super) fn new(name: &str, parameters: &Parameters) -> Self {
        let layer = |conv: usize, norm: usize| {
            let of = |i: usize, member: &str| parameters.handle(&format!("{name}.{i}.{member}"));
            Layer {
                weight: of(conv, "weight"),
                bias: of(conv, "bias"),
                norm: BatchNorm {
                    weight: of(norm, "weight"),
                    bias: of(norm, "bias"),
                    running_mean: of(norm, "running_mean"),
                    running_var: of(norm, "running_var"),
                    num_batches_tracked: of(norm, "num_batches_tracked"),
                    momentum: MOMENTUM,
                    eps: EPS,
                },
            }
        };
        Self {
            layers: [layer(0, 1), layer(3, 4)],
        }
    }

    /// `x`: `[N, C_in, H, W]` -> `[N, C_out, H, W]`.
    pub(super) fn forward(&self, x: &Tensor, mode: ForwardMode) -> Result<Tensor> {
        match mode.checkpointing {
            Checkpointing::Off => self.run(x, mode.training, PLAIN),
            Checkpointing::Block { use_reentrant } => {
                let handles = self.shallow_clone();
                let mut out = compose::checkpointed(use_reentrant, x, move |inputs, pass| {
                    Ok(vec![handles.run(&inputs[0], mode.training, pass)?])
                })?;
                out.pop().ok_or_else(|| {
                    torch_ext::Error::InvalidArgument("a segment without an output".to_owned())
                })
            }
        }
    }

    fn run(&self, x: &Tensor, training: bool, pass: Pass) -> Result<Tensor> {
        let [first, second] = &self.layers;
        let hidden = first.run(x, training, pass)?;
        second.run(&hidden, training, pass)
    }

    fn shallow_clone(&self) -> Self {
        Self {
            layers: [
                self.layers[0].shallow_clone(),
                self.layers[1].shallow_clone(),
            ],
        }
    }
}

impl Layer {
    fn run(&self, x: &Tensor, training: bool, pass: Pass) -> Result<Tensor> {
        let y = x.f_conv2d(&self.weight, Some(&self.bias), [1, 1], [1, 1], [1, 1], 1)?;
        let mut y = batch_norm(&y, &self.norm, training, pass)?;
        // In place: BatchNorm saved its input, not its output.
        Ok(y.f_relu_()?)
    }

    fn shallow_clone(&self) -> Self {
        Self {
            weight: self.weight.shallow_clone(),
            bias: self.bias.shallow_clone(),
            norm: self.norm.shallow_clone(),
        }
    }
}
