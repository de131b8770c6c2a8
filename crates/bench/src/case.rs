//! A case to measure: an implementation, a size of work and a recipe.

use std::fmt;

use config::{CheckpointPolicy, ImageSize, MemoryFormat, Precision};
use serde::{Deserialize, Serialize};

/// The program that computes the step. `bench/pytorch/README.md` describes each PyTorch variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Implementation {
    /// This program.
    Snug,
    /// This program, each step as one CUDA graph; only on a GPU.
    SnugGraph,
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
    pub const ALL: [Self; 8] = [
        Self::Snug,
        Self::SnugGraph,
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
            Self::SnugGraph => "snug-graph",
            Self::PytorchScript => "pytorch-script",
            Self::PytorchEager => "pytorch-eager",
            Self::PytorchEagerMalloc => "pytorch-eager-malloc",
            Self::PytorchCheckpoint => "pytorch-checkpoint",
            Self::PytorchCompile => "pytorch-compile",
            Self::PytorchCompileBudget => "pytorch-compile-budget",
        }
    }

    /// Whether it needs a Python.
    pub const fn is_pytorch(self) -> bool {
        !matches!(self, Self::Snug | Self::SnugGraph)
    }
}

/// The relative difference up to which the losses of two programs count as the same work. It
/// allows for rounding over a few steps in this precision. Different work (another loss, another
/// mask format, a missing batch) differs by more than a tenth.
pub(crate) const fn loss_tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::Fp32 => 2e-3,
        Precision::Tf32 => 1e-2,
        Precision::Fp16 | Precision::Bf16 => 3e-2,
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
    let mut text = format!("{precision} {memory_format}");
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
    }
}
