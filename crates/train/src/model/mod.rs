//! The U-Net, built from its description in `config::network`.

mod double_conv;
mod parameters;

use config::{Block, Network};
use tch::{Device, Tensor};
use torch_ext::Result;
use torch_ext::segment::Pass;

pub use double_conv::DoubleConv;
pub use parameters::{Entry, Parameters};

use crate::compose;

/// What a forward pass is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardMode {
    /// Batch statistics and their update, or running statistics.
    pub training: bool,
    /// Which parts backward recomputes.
    pub checkpointing: Checkpointing,
}

/// Which parts of the forward pass are recomputed in backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpointing {
    /// None.
    Off,
    /// Each DoubleConv, as in the guide.
    Block {
        /// The reentrant form of it.
        use_reentrant: bool,
    },
}

impl ForwardMode {
    /// Evaluation: running statistics, nothing to recompute.
    pub const EVALUATION: Self = Self {
        training: false,
        checkpointing: Checkpointing::Off,
    };
}

/// A stage, with handles on its parameters.
#[derive(Debug)]
enum Stage {
    Down(DoubleConv),
    Bottleneck(DoubleConv),
    Up {
        weight: Tensor,
        bias: Tensor,
        conv: DoubleConv,
    },
    Head {
        weight: Tensor,
        bias: Tensor,
    },
}

/// A U-Net: `[N, 3, H, W]` in [0, 1] -> logits `[N, classes, H, W]`; H and W are multiples of 16.
#[derive(Debug)]
pub struct UNet {
    network: Network,
    parameters: Parameters,
    stages: Vec<Stage>,
}

impl UNet {
    /// The network with PyTorch's default initialisation, drawn from `seed`, on `device`;
    /// parameters in channels-last where asked.
    ///
    /// # Errors
    /// Where memory runs out.
    pub fn new(network: Network, device: Device, seed: u64, channels_last: bool) -> Result<Self> {
        let mut parameters = Parameters::initialised(&network, device, seed)?;
        compose::convert_parameters(parameters.tensors_mut(), channels_last)?;
        let stages = network
            .blocks()
            .iter()
            .map(|b| Stage::new(b, &parameters))
            .collect();
        Ok(Self {
            network,
            parameters,
            stages,
        })
    }

    /// What was built.
    pub fn network(&self) -> Network {
        self.network
    }

    /// Its tensors, by the names of the script's state dict.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Logits of `images`.
    ///
    /// # Errors
    /// Where the size does not fit, memory runs out, or a segment fails.
    pub fn forward(&self, images: &Tensor, mode: ForwardMode) -> Result<Tensor> {
        let mut x = images.shallow_clone();
        let mut skips = Vec::new();
        for stage in &self.stages {
            x = match stage {
                Stage::Down(conv) => {
                    let skip = conv.forward(&x, mode)?;
                    let pooled = skip.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false)?;
                    skips.push(skip);
                    pooled
                }
                Stage::Bottleneck(conv) => conv.forward(&x, mode)?,
                Stage::Up { weight, bias, conv } => {
                    let up = x.f_conv_transpose2d(
                        weight,
                        Some(bias),
                        [2, 2],
                        [0, 0],
                        [0, 0],
                        1,
                        [1, 1],
                    )?;
                    drop(x);
                    let skip = skips.pop().ok_or_else(|| {
                        torch_ext::Error::InvalidArgument("more ups than downs".to_owned())
                    })?;
                    let joined = Tensor::f_cat(&[up, skip], 1)?;
                    conv.forward(&joined, mode)?
                }
                Stage::Head { weight, bias } => {
                    x.f_conv2d(weight, Some(bias), [1, 1], [0, 0], [1, 1], 1)?
                }
            };
        }
        Ok(x)
    }
}

impl Stage {
    fn new(block: &Block, parameters: &Parameters) -> Self {
        let named = |name: &str, member: &str| parameters.handle(&format!("{name}.{member}"));
        match block {
            Block::Down { conv, .. } => Self::Down(DoubleConv::new(&conv.name, parameters)),
            Block::Bottleneck { conv, .. } => {
                Self::Bottleneck(DoubleConv::new(&conv.name, parameters))
            }
            Block::Up {
                transpose, conv, ..
            } => Self::Up {
                weight: named(&transpose.name, "weight"),
                bias: named(&transpose.name, "bias"),
                conv: DoubleConv::new(&conv.name, parameters),
            },
            Block::Head { name, .. } => Self::Head {
                weight: named(name, "weight"),
                bias: named(name, "bias"),
            },
        }
    }
}

/// The pass of a forward that nothing recomputes.
const PLAIN: Pass = Pass::Forward;
