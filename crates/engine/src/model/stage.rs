//! A stage of the network with handles on its parameters: a segment of `stage` is one stage, and a
//! segment of `block` is a part of it.

use config::Block;
use schedule::Segment;
use tch::Tensor;
use torch_ext::conv::Conv;
use torch_ext::segment::Pass;
use torch_ext::{Error, Result};

use super::double_conv::How;
use super::{Checkpointing, DoubleConv, ForwardMode, Parameters};
use crate::compose;

/// A transposed or a pointwise convolution.
#[derive(Debug)]
pub struct ConvHandles {
    /// `[C_in, C_out, 2, 2]`, or `[C_out, C_in, 1, 1]`.
    pub weight: Tensor,
    /// `[C_out]`.
    pub bias: Tensor,
}

/// A step of the forward pass between two skips.
#[derive(Debug)]
pub enum Stage {
    /// `x` -> skip, pooled.
    Down(DoubleConv),
    /// `x` -> `y`.
    Bottleneck(DoubleConv),
    /// `x`, skip -> `y`.
    Up {
        /// The transposed convolution.
        up: ConvHandles,
        /// The double convolution over both halves.
        conv: DoubleConv,
    },
}

impl Stage {
    /// The stage of a block; `None` for the head, which is not a stage.
    pub(super) fn new(block: &Block, parameters: &Parameters) -> Option<Self> {
        Some(match block {
            Block::Down { conv, .. } => Self::Down(DoubleConv::new(&conv.name, parameters)),
            Block::Bottleneck { conv, .. } => {
                Self::Bottleneck(DoubleConv::new(&conv.name, parameters))
            }
            Block::Up {
                transpose, conv, ..
            } => Self::Up {
                up: ConvHandles::new(&transpose.name, parameters),
                conv: DoubleConv::new(&conv.name, parameters),
            },
            Block::Head { .. } => return None,
        })
    }

    /// Its double convolution.
    pub fn conv(&self) -> &DoubleConv {
        match self {
            Self::Down(conv) | Self::Bottleneck(conv) | Self::Up { conv, .. } => conv,
        }
    }

    /// Runs the stage, with its parts checkpointed as `mode` says. Inputs are freed after their use.
    pub(super) fn forward(&self, inputs: Vec<Tensor>, mode: &ForwardMode) -> Result<Vec<Tensor>> {
        let (training, kernels) = (mode.training, mode.kernels);
        let how = move |pass| How {
            training,
            pass,
            kernels,
        };
        let Checkpointing::Segments {
            unit,
            use_reentrant,
        } = mode.checkpointing
        else {
            return self.run(inputs, mode.split_concat, |conv, x| {
                conv.run(x, how(Pass::Forward))
            });
        };
        match unit {
            Segment::Block => self.run(inputs, mode.split_concat, |conv, x| {
                let handles = conv.shallow_clone();
                let inputs: Vec<&Tensor> = x.iter().collect();
                let mut out = compose::checkpointed(use_reentrant, &inputs, move |x, pass| {
                    Ok(vec![handles.run(cloned(x), how(pass))?])
                })?;
                out.pop().ok_or_else(no_output)
            }),
            Segment::Stage => {
                let (handles, split_concat) = (self.shallow_clone(), mode.split_concat);
                let inputs: Vec<&Tensor> = inputs.iter().collect();
                compose::checkpointed(use_reentrant, &inputs, move |inputs, pass| {
                    let conv = |conv: &DoubleConv, x| conv.run(x, how(pass));
                    Ok(handles.run(cloned(inputs), split_concat, conv)?)
                })
            }
        }
    }

    /// The stage around its double convolution, which `conv` runs.
    fn run(
        &self,
        inputs: Vec<Tensor>,
        split_concat: bool,
        conv: impl Fn(&DoubleConv, Vec<Tensor>) -> Result<Tensor>,
    ) -> Result<Vec<Tensor>> {
        let mut inputs = inputs.into_iter();
        let mut next = || {
            inputs.next().ok_or_else(|| {
                Error::InvalidArgument("a stage with fewer inputs than it has".to_owned())
            })
        };
        let x = next()?;
        match self {
            Self::Down(double) => {
                let skip = conv(double, vec![x])?;
                let pooled = skip.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
                Ok(vec![skip, pooled])
            }
            Self::Bottleneck(double) => Ok(vec![conv(double, vec![x])?]),
            Self::Up {
                up: transpose,
                conv: double,
            } => {
                let up = transpose.run(Conv::UP_2X2, &x)?;
                drop(x);
                let halves = vec![up, next()?];
                let joined = if split_concat {
                    halves
                } else {
                    let joined = Tensor::f_cat(&halves, 1)?;
                    drop(halves);
                    vec![joined]
                };
                Ok(vec![conv(double, joined)?])
            }
        }
    }

    fn shallow_clone(&self) -> Self {
        match self {
            Self::Down(conv) => Self::Down(conv.shallow_clone()),
            Self::Bottleneck(conv) => Self::Bottleneck(conv.shallow_clone()),
            Self::Up { up, conv } => Self::Up {
                up: up.shallow_clone(),
                conv: conv.shallow_clone(),
            },
        }
    }
}

impl ConvHandles {
    pub(super) fn new(name: &str, parameters: &Parameters) -> Self {
        Self {
            weight: parameters.handle(&format!("{name}.weight")),
            bias: parameters.handle(&format!("{name}.bias")),
        }
    }

    pub(super) fn run(&self, conv: Conv, x: &Tensor) -> Result<Tensor> {
        conv.forward(x, &self.weight, Some(&self.bias))
    }

    fn shallow_clone(&self) -> Self {
        Self {
            weight: self.weight.shallow_clone(),
            bias: self.bias.shallow_clone(),
        }
    }
}

fn cloned(tensors: &[Tensor]) -> Vec<Tensor> {
    tensors.iter().map(Tensor::shallow_clone).collect()
}

fn no_output() -> Error {
    Error::InvalidArgument("a segment without an output".to_owned())
}
