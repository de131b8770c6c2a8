//! A case to measure: an implementation, a size of work and a recipe.

use std::fmt;

use config::{CheckpointPolicy, ImageSize};
use serde::{Deserialize, Serialize};

/// The program that computes the step. `bench/pytorch/README.md` describes each PyTorch variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Implementation {
    /// This program.
    Snug,
    /// The guide's script.
    PytorchScript,
    /// Tuned eager PyTorch.
    PytorchEager,
    /// Tuned eager PyTorch with Snug's settings of glibc's malloc; only on the CPU.
    PytorchEagerMalloc,
    /// Tuned PyTorch with `torch.utils.checkpoint` around each double convolution.
    PytorchCheckpoint,
    /// `torch.compile`.
    PytorchCompile,
    /// `torch.compile` with half the activation memory budget.
    PytorchCompileBudget,
}

impl Implementation {
    /// All implementations.
    pub const ALL: [Self; 7] = [
        Self::Snug,
        Self::PytorchScript,
        Self::PytorchEager,
        Self::PytorchEagerMalloc,
        Self::PytorchCheckpoint,
        Self::PytorchCompile,
        Self::PytorchCompileBudget,
    ];

    /// Its name in files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Snug => "snug",
            Self::PytorchScript => "pytorch-script",
            Self::PytorchEager => "pytorch-eager",
            Self::PytorchEagerMalloc => "pytorch-eager-malloc",
            Self::PytorchCheckpoint => "pytorch-checkpoint",
            Self::PytorchCompile => "pytorch-compile",
            Self::PytorchCompileBudget => "pytorch-compile-budget",
        }
    }

    /// Whether it needs a Python.
    pub fn is_pytorch(self) -> bool {
        self != Self::Snug
    }
}

/// The precision in which convolutions are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// fp32, with TF32 switched off.
    Fp32,
    /// fp32 tensors with products in TF32; only on CUDA.
    Tf32,
    /// Autocast to fp16 with a gradient scaler.
    Fp16,
    /// Autocast to bf16.
    Bf16,
}

impl Precision {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Tf32 => "tf32",
            Self::Fp16 => "fp16",
            Self::Bf16 => "bf16",
        }
    }

    /// Whether autocast is on.
    pub const fn is_amp(self) -> bool {
        matches!(self, Self::Fp16 | Self::Bf16)
    }

    /// The relative difference up to which the losses of two programs count as the same work. It
    /// allows for rounding over a few steps in this precision. Different work (another loss, another
    /// mask format, a missing batch) differs by more than a tenth.
    pub const fn loss_tolerance(self) -> f64 {
        match self {
            Self::Fp32 => 2e-3,
            Self::Tf32 => 1e-2,
            Self::Fp16 | Self::Bf16 => 3e-2,
        }
    }
}

/// The layout of images in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryFormat {
    /// NHWC.
    ChannelsLast,
    /// NCHW.
    ChannelsFirst,
}

impl MemoryFormat {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ChannelsLast => "channels-last",
            Self::ChannelsFirst => "channels-first",
        }
    }
}

/// One row of a benchmark, before it is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Case {
    /// The implementation.
    pub implementation: Implementation,
    /// The size of the images.
    pub img_size: ImageSize,
    /// Channels of the first level.
    pub width: u32,
    /// Images per step.
    pub batch: u32,
    /// The precision.
    pub precision: Precision,
    /// The memory format.
    pub memory_format: MemoryFormat,
    /// The checkpoint policy; PyTorch's variants have their own.
    pub policy: CheckpointPolicy,
    /// Whether the halves of concatenations are convolved separately.
    pub split_concat: bool,
}

impl Case {
    /// What two cases must share to be comparable: the batches that they train on.
    pub fn work(&self) -> (ImageSize, u32, u32) {
        (self.img_size, self.width, self.batch)
    }

    /// Its recipe in a few words, without the size of the work.
    pub fn recipe(&self) -> String {
        let policy = self.policy.as_str();
        recipe(
            self.precision,
            self.memory_format,
            policy,
            self.split_concat,
        )
    }
}

/// A recipe in a few words; `policy` is the policy's name.
pub(crate) fn recipe(
    precision: Precision,
    memory_format: MemoryFormat,
    policy: &str,
    split_concat: bool,
) -> String {
    let mut text = format!("{} {}", precision.name(), memory_format.name());
    if policy != CheckpointPolicy::Off.as_str() {
        text.push(' ');
        text.push_str(policy);
    }
    if split_concat {
        text.push_str("+split");
    }
    text
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {}, {} x {}, width {}",
            self.implementation.name(),
            self.recipe(),
            self.batch,
            self.img_size,
            self.width
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_files() {
        for implementation in Implementation::ALL {
            let json = serde_json::to_string(&implementation).unwrap();
            assert_eq!(json, format!("\"{}\"", implementation.name()));
        }
        for precision in [
            Precision::Fp32,
            Precision::Tf32,
            Precision::Fp16,
            Precision::Bf16,
        ] {
            let json = serde_json::to_string(&precision).unwrap();
            assert_eq!(json, format!("\"{}\"", precision.name()));
        }
        for format in [MemoryFormat::ChannelsLast, MemoryFormat::ChannelsFirst] {
            let json = serde_json::to_string(&format).unwrap();
            assert_eq!(json, format!("\"{}\"", format.name()));
        }
    }
}
