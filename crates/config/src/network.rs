//! The U-Net of the guide's script as data: its blocks in the order in which
//! they run, and its tensors in the order of the script's state dict.
//!
//! The network has five levels. A level's double convolution is (3x3 convolution with bias,
//! batch norm, `ReLU`) twice, at stride 1 and padding 1. Going down, a 2x2 max
//! pooling follows; going up, a 2x2 transposed convolution of stride 2 comes
//! first and the skip is appended to its output (`[up, skip]`). A 1x1
//! convolution ends it.

use serde::Serialize;

/// The network, before any weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Network {
    /// Channels of the image.
    pub in_channels: u32,
    /// Channels of the first level.
    pub width: u32,
    /// Channels of the output; 1 means a binary mask.
    pub classes: u32,
    /// How many times the image is halved: 4.
    pub depth: u32,
}

/// The sizes of a stage: a double convolution with the operations that lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StageShape {
    /// Halvings of the image; 0 is full resolution.
    pub level: u32,
    /// The stage whose output is concatenated to this one's input, if it is an up.
    pub skip: Option<usize>,
    /// Channels that the first convolution reads.
    pub in_channels: u32,
    /// Channels of both convolutions' outputs.
    pub channels: u32,
}

/// One step of the forward pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// Double convolution whose output is the skip of its level, then a 2x2 max pooling.
    Down {
        /// Halvings before the convolution; 0 is full resolution.
        level: u32,
        /// The double convolution.
        conv: DoubleConv,
    },
    /// Double convolution at the lowest resolution.
    Bottleneck {
        /// Halvings before the convolution: [`Network::depth`].
        level: u32,
        /// The double convolution.
        conv: DoubleConv,
    },
    /// Transposed convolution, concatenation `[up, skip]`, double convolution.
    Up {
        /// Level of the output and of the skip; the deepest comes first.
        level: u32,
        /// Doubles the resolution, halves the channels.
        transpose: ConvTranspose,
        /// The double convolution over both halves.
        conv: DoubleConv,
    },
    /// 1x1 convolution to the logits.
    Head {
        /// Name in the state dict.
        name: String,
        /// Channels in.
        in_channels: u32,
        /// Channels out: the number of classes.
        out_channels: u32,
    },
}

/// (3x3 convolution, batch norm, `ReLU`) twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoubleConv {
    /// Prefix in the state dict, such as `downs.0.conv`; the members are `.0`, `.1`, `.3`, `.4`.
    pub name: String,
    /// Channels in.
    pub in_channels: u32,
    /// Channels between the convolutions and out.
    pub out_channels: u32,
}

/// 2x2 transposed convolution of stride 2, with bias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvTranspose {
    /// Name in the state dict, such as `ups_tr.0`.
    pub name: String,
    /// Channels in.
    pub in_channels: u32,
    /// Channels out.
    pub out_channels: u32,
}

/// One tensor of the state dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// Name in the state dict.
    pub name: String,
    /// Shape; empty for a scalar.
    pub shape: Vec<u64>,
    /// Its role.
    pub role: Role,
}

/// The role of a tensor in the state dict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Role {
    ConvWeight,
    ConvBias,
    BnWeight,
    BnBias,
    BnRunningMean,
    BnRunningVar,
    BnNumBatchesTracked,
    TransposeWeight,
    TransposeBias,
}

impl Role {
    /// Whether the optimizer updates it; the other tensors are batch norm buffers.
    pub const fn is_trainable(self) -> bool {
        !matches!(
            self,
            Self::BnRunningMean | Self::BnRunningVar | Self::BnNumBatchesTracked
        )
    }
}

impl ParameterSpec {
    /// Number of elements; 1 for a scalar. The product saturates far outside the validated range.
    pub fn elements(&self) -> u64 {
        self.shape
            .iter()
            .fold(1, |product, side| product.saturating_mul(*side))
    }
}

impl Network {
    /// The guide's network, for RGB, with `width` channels at the first level.
    pub const fn new(width: u32, classes: u32) -> Self {
        Self {
            in_channels: 3,
            width,
            classes,
            depth: 4,
        }
    }

    /// Number of stages: downs, bottleneck and ups, in the order in which they run. The head is not
    /// a stage.
    pub const fn num_stages(&self) -> usize {
        2 * self.depth as usize + 1
    }

    /// Channels at a level: the width, doubled per halving of the image.
    ///
    /// The result saturates far outside the validated range.
    pub const fn channels(&self, level: u32) -> u32 {
        self.width.saturating_mul(2_u32.saturating_pow(level))
    }

    /// The sizes of a stage, by its number in the order in which stages run.
    pub const fn stage(&self, stage: usize) -> StageShape {
        let depth = self.depth as usize;
        let skip = if stage > depth {
            Some((2 * depth).saturating_sub(stage))
        } else {
            None
        };
        #[expect(clippy::cast_possible_truncation, reason = "at most the depth")]
        let level = match skip {
            Some(skip) => skip as u32,
            None => stage as u32,
        };
        let channels = self.channels(level);
        let in_channels = match (skip, level) {
            (Some(_), _) => channels.saturating_mul(2),
            (None, 0) => self.in_channels,
            (None, _) => self.channels(level - 1),
        };
        StageShape {
            level,
            skip,
            in_channels,
            channels,
        }
    }

    /// The blocks in the order in which they run.
    pub fn blocks(&self) -> Vec<Block> {
        let double = |name: String, stage: StageShape| DoubleConv {
            name,
            in_channels: stage.in_channels,
            out_channels: stage.channels,
        };
        let depth = self.depth as usize;
        let downs = (0..depth).map(|index| Block::Down {
            level: self.stage(index).level,
            conv: double(format!("downs.{index}.conv"), self.stage(index)),
        });
        let bottleneck = Block::Bottleneck {
            level: self.depth,
            conv: double("bottleneck.conv".to_owned(), self.stage(depth)),
        };
        let ups = (0..depth).map(|index| {
            let stage = self.stage(depth + 1 + index);
            Block::Up {
                level: stage.level,
                transpose: ConvTranspose {
                    name: format!("ups_tr.{index}"),
                    in_channels: self.stage(depth + index).channels,
                    out_channels: stage.channels,
                },
                conv: double(format!("up_convs.{index}.conv"), stage),
            }
        });
        let head = Block::Head {
            name: "out_conv".to_owned(),
            in_channels: self.channels(0),
            out_channels: self.classes,
        };
        downs.chain([bottleneck]).chain(ups).chain([head]).collect()
    }

    /// Every tensor of the state dict, in the order in which the script's
    /// modules register them: all `ups_tr` come before all `up_convs`.
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        let (mut body, mut transposes, mut up_convs, mut head) = (vec![], vec![], vec![], vec![]);
        for block in self.blocks() {
            match block {
                Block::Down { conv, .. } | Block::Bottleneck { conv, .. } => {
                    body.extend(conv.parameters());
                }
                Block::Up {
                    transpose, conv, ..
                } => {
                    transposes.extend(transpose.parameters());
                    up_convs.extend(conv.parameters());
                }
                Block::Head {
                    name,
                    in_channels,
                    out_channels,
                } => {
                    head.extend(conv_parameters(&name, in_channels, out_channels, 1));
                }
            }
        }
        body.into_iter()
            .chain(transposes)
            .chain(up_convs)
            .chain(head)
            .collect()
    }
}

impl DoubleConv {
    /// Its tensors: two convolutions, each with its batch norm.
    pub fn parameters(&self) -> Vec<ParameterSpec> {
        let mut all = Vec::new();
        for (conv, norm, in_channels) in [(0, 1, self.in_channels), (3, 4, self.out_channels)] {
            let name = format!("{}.{conv}", self.name);
            all.extend(conv_parameters(&name, in_channels, self.out_channels, 3));
            all.extend(norm_parameters(
                &format!("{}.{norm}", self.name),
                self.out_channels,
            ));
        }
        all
    }
}

impl ConvTranspose {
    /// Its weight, `[in, out, 2, 2]`, and its bias.
    pub fn parameters(&self) -> [ParameterSpec; 2] {
        let (inputs, outputs) = (u64::from(self.in_channels), u64::from(self.out_channels));
        [
            spec(
                &self.name,
                "weight",
                &[inputs, outputs, 2, 2],
                Role::TransposeWeight,
            ),
            spec(&self.name, "bias", &[outputs], Role::TransposeBias),
        ]
    }
}

fn conv_parameters(name: &str, inputs: u32, outputs: u32, kernel: u64) -> [ParameterSpec; 2] {
    let (inputs, outputs) = (u64::from(inputs), u64::from(outputs));
    [
        spec(
            name,
            "weight",
            &[outputs, inputs, kernel, kernel],
            Role::ConvWeight,
        ),
        spec(name, "bias", &[outputs], Role::ConvBias),
    ]
}

fn norm_parameters(name: &str, channels: u32) -> [ParameterSpec; 5] {
    let shape = &[u64::from(channels)];
    [
        spec(name, "weight", shape, Role::BnWeight),
        spec(name, "bias", shape, Role::BnBias),
        spec(name, "running_mean", shape, Role::BnRunningMean),
        spec(name, "running_var", shape, Role::BnRunningVar),
        spec(name, "num_batches_tracked", &[], Role::BnNumBatchesTracked),
    ]
}

fn spec(module: &str, member: &str, shape: &[u64], role: Role) -> ParameterSpec {
    ParameterSpec {
        name: format!("{module}.{member}"),
        shape: shape.to_vec(),
        role,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guides_network() {
        let parameters = Network::new(64, 1).parameters();
        let trainable: Vec<_> = parameters
            .iter()
            .filter(|p| p.role.is_trainable())
            .collect();
        assert_eq!(trainable.len(), 82);
        assert_eq!(
            trainable.iter().map(|p| p.elements()).sum::<u64>(),
            31_043_521
        );
        // There are 18 batch norms with three buffers each.
        assert_eq!(parameters.len(), 82 + 18 * 3);
    }
}
