//! The U-Net, built from its description in `config::network`.

mod double_conv;
mod parameters;
mod stage;

use std::sync::Arc;

use config::{Block, Network};
use executor::{ConvTensors, LayerTensors, NetworkTensors, StageTensors};
use schedule::{Schedule, Segment};
use tch::{Device, Tensor};
use torch_ext::conv::Conv;
use torch_ext::function::grad_is_enabled;
use torch_ext::norm::{BatchNorm, Together};
use torch_ext::{Error, Result};

pub(crate) use double_conv::MOMENTUM;
pub use double_conv::{ConvLayer, DoubleConv};
pub use parameters::{Entry, Parameters};
pub use stage::{ConvHandles, Stage};
pub use torch_ext::norm::Kernels;

use crate::compose;

/// What a forward pass is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardMode {
    /// Batch statistics and their update, or running statistics.
    pub training: bool,
    /// Which parts backward recomputes.
    pub checkpointing: Checkpointing,
    /// Convolve the halves of `[up, skip]` separately instead of concatenating them. A schedule
    /// decides this itself.
    pub split_concat: bool,
    /// Whose code computes batch norm and ReLU.
    pub kernels: Kernels,
}

/// Which parts of the forward pass are recomputed in backward.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checkpointing {
    /// No part is recomputed.
    Off,
    /// Segments of autograd's graph.
    Segments {
        /// The extent of one segment.
        unit: Segment,
        /// Whether to use the reentrant form.
        use_reentrant: bool,
    },
    /// Forward and backward follow a schedule.
    Scheduled(Arc<Schedule>),
}

impl ForwardMode {
    /// Whether several processes can normalise a batch together: batch norm runs once, on our own kernels.
    pub const fn can_be_shared(&self) -> bool {
        matches!(self.checkpointing, Checkpointing::Scheduled(_))
            && matches!(self.kernels, Kernels::Fused)
    }

    /// Evaluation: running statistics, no recomputation.
    pub const fn evaluation(kernels: Kernels) -> Self {
        Self {
            training: false,
            checkpointing: Checkpointing::Off,
            split_concat: false,
            kernels,
        }
    }
}

/// A U-Net: `[N, 3, H, W]` in [0, 1] -> logits `[N, classes, H, W]`; H and W are multiples of 16.
#[derive(Debug)]
pub struct UNet {
    network: Network,
    parameters: Parameters,
    stages: Vec<Stage>,
    head: ConvHandles,
    /// Those with which this process shares the batches of steps that follow a schedule.
    together: Option<Arc<dyn Together>>,
}

impl UNet {
    /// The network with PyTorch's default initialisation, drawn from `seed`, on `device`;
    /// parameters in channels-last if requested.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn new(network: Network, device: Device, seed: u64, channels_last: bool) -> Result<Self> {
        let mut parameters = Parameters::initialised(&network, device, seed)?;
        compose::convert_parameters(parameters.tensors_mut(), channels_last)?;
        let blocks = network.blocks();
        let stages = blocks
            .iter()
            .filter_map(|block| Stage::new(block, &parameters))
            .collect();
        let head = blocks.iter().find_map(|block| match block {
            Block::Head { name, .. } => Some(ConvHandles::new(name, &parameters)),
            _ => None,
        });
        let head =
            head.ok_or_else(|| Error::InvalidArgument("a network without a head".to_owned()))?;
        Ok(Self {
            network,
            parameters,
            stages,
            head,
            together: None,
        })
    }

    /// The description of the network.
    pub fn network(&self) -> Network {
        self.network
    }

    /// Its tensors, by the names of the script's state dict.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Its stages, in the order in which they run.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// Its batch norms, in the order in which they run.
    pub fn norms(&self) -> impl Iterator<Item = &BatchNorm> {
        let layers = self.stages.iter().flat_map(|stage| stage.conv().layers());
        layers.map(|layer| &layer.norm)
    }

    /// Shares the batches of training with other processes.
    pub(crate) fn normalise(&mut self, together: Arc<dyn Together>) {
        self.together = Some(together);
    }

    /// Its 1x1 convolution.
    pub fn head(&self) -> &ConvHandles {
        &self.head
    }

    /// Logits of `images`.
    ///
    /// # Errors
    /// If the size does not fit, memory runs out, or a segment fails.
    pub fn forward(&self, images: &Tensor, mode: &ForwardMode) -> Result<Tensor> {
        if mode.training {
            self.parameters.count_batch()?;
        }
        match &mode.checkpointing {
            Checkpointing::Scheduled(schedule) if mode.training => {
                executor::forward(Arc::clone(schedule), self.lend(), images, mode.kernels)
            }
            // Without gradients it is no step.
            _ if mode.training && self.together.is_some() && grad_is_enabled() => {
                Err(Error::InvalidArgument(
                    "batch norm over several processes needs our own kernels and a checkpoint policy that follows a \
                     schedule"
                        .to_owned(),
                ))
            }
            _ => self.walk(images, mode),
        }
    }

    /// Handles on its parameters, for a step that follows a schedule.
    fn lend(&self) -> NetworkTensors {
        let conv = |weight: &Tensor, bias: &Tensor| ConvTensors {
            weight: weight.shallow_clone(),
            bias: bias.shallow_clone(),
        };
        let layers = |double: &DoubleConv| {
            double.layers().each_ref().map(|layer| LayerTensors {
                conv: conv(&layer.weight, &layer.bias),
                norm: BatchNorm {
                    together: self.together.clone(),
                    ..layer.norm.shallow_clone()
                },
            })
        };
        let stages = self.stages.iter().map(|stage| StageTensors {
            up: match stage {
                Stage::Up { up, .. } => Some(conv(&up.weight, &up.bias)),
                _ => None,
            },
            layers: layers(stage.conv()),
        });
        NetworkTensors {
            stages: stages.collect(),
            head: conv(&self.head.weight, &self.head.bias),
        }
    }

    /// The forward pass that autograd records.
    fn walk(&self, images: &Tensor, mode: &ForwardMode) -> Result<Tensor> {
        let mut x = images.shallow_clone();
        let mut skips = Vec::new();
        for stage in &self.stages {
            let skip = match stage {
                Stage::Up { .. } => Some(
                    skips
                        .pop()
                        .ok_or_else(|| Error::InvalidArgument("more ups than downs".to_owned()))?,
                ),
                _ => None,
            };
            let inputs = [x].into_iter().chain(skip).collect();
            let mut out = stage.forward(inputs, mode)?;
            x = out
                .pop()
                .ok_or_else(|| Error::InvalidArgument("a stage without an output".to_owned()))?;
            skips.append(&mut out);
        }
        self.head.run(Conv::POINTWISE, &x)
    }
}
