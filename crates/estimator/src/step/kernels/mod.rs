//! The memory that the kernels of a device allocate inside an operation, in addition to its result.

mod cpu;
mod cuda;

pub use cpu::{Cpu, Isa};
pub use cuda::{Cuda, Workspace};

use config::Precision;
use schedule::Target;

use super::sizes::{ConvSize, Sizes};
use crate::CachingAllocator;

/// The device that a step runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Machine {
    /// A CPU, on which libtorch uses oneDNN.
    Cpu(Cpu),
    /// An NVIDIA GPU, on which libtorch uses cuDNN.
    Cuda(Cuda),
}

/// What batch norm holds in addition to its results.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NormBytes {
    /// From forward to backward.
    pub(super) statistics: u64,
    /// While the statistics are computed.
    pub(super) forward_sums: u64,
    /// While the gradient is computed.
    pub(super) backward_sums: u64,
}

impl From<Cpu> for Machine {
    fn from(cpu: Cpu) -> Self {
        Self::Cpu(cpu)
    }
}

impl From<Cuda> for Machine {
    fn from(cuda: Cuda) -> Self {
        Self::Cuda(cuda)
    }
}

impl Machine {
    /// Device memory that a process takes in addition to its tensors.
    pub const fn context_bytes(self) -> u64 {
        match self {
            Self::Cpu(_) => 0,
            Self::Cuda(cuda) => cuda.context_bytes(),
        }
    }

    /// The target for which plans are compiled.
    pub(super) const fn target(self) -> Target {
        match self {
            Self::Cpu(_) => Target {
                fused: self.is_fused(),
                ..Target::CPU
            },
            Self::Cuda(_) => Target {
                in_place_norm: self.is_fused(),
                shapeless_input_grad: true,
                fused: self.is_fused(),
            },
        }
    }

    /// The caching allocator, if the device's tensors are blocks of one.
    pub(super) fn allocator(self) -> Option<CachingAllocator> {
        match self {
            Self::Cpu(_) => None,
            Self::Cuda(cuda) => Some(CachingAllocator::new(cuda.segments, cuda.cap_bytes)),
        }
    }

    /// Whether batch norm, ReLU and pooling are our own kernels. They hold little but their results.
    pub(super) const fn is_fused(self) -> bool {
        match self {
            Self::Cpu(cpu) => cpu.memory_format.is_channels_last() && !cpu.exact_kernels,
            Self::Cuda(cuda) => cuda.memory_format.is_channels_last() && !cuda.exact_kernels,
        }
    }

    /// What batch norm holds in addition to its results.
    pub(super) fn norm(self, sizes: &Sizes, stage: usize) -> NormBytes {
        let channels = sizes.channels(stage);
        match self {
            // Statistics and sums are not libtorch's tensors.
            Self::Cpu(_) if self.is_fused() => NormBytes::default(),
            Self::Cuda(_) if self.is_fused() => cuda::fused_norm(sizes, stage),
            _ => NormBytes {
                // Mean and deviation.
                statistics: channels.saturating_mul(8),
                ..NormBytes::default()
            },
        }
    }

    /// The size of a part in which a stage's output is processed or rebuilt.
    pub(super) fn part(self, sizes: &Sizes, stage: usize, is_rebuilt: bool) -> u64 {
        const CPU_PART_BYTES: u64 = 16 << 20;
        match self {
            _ if self.is_fused() => 0,
            Self::Cpu(_) => sizes.part(stage, CPU_PART_BYTES),
            Self::Cuda(cuda) => cuda.part(sizes, stage, is_rebuilt),
        }
    }

    /// The backward of batch norm in autograd, before the gradient that stays is held: on the CPU
    /// it needs two maps, of which one stays.
    pub(super) const fn norm_backward(self, map: u64) -> u64 {
        match self {
            Self::Cpu(_) => map.saturating_mul(2),
            Self::Cuda(_) => 0,
        }
    }

    /// The optimizer's step, given the largest weight: on the CPU it copies the weight if strides
    /// differ; on CUDA all parameters are updated in place (`_fused_adamw_`).
    pub(super) const fn update(self, largest: u64) -> u64 {
        match self {
            Self::Cpu(_) => largest,
            Self::Cuda(_) => 0,
        }
    }

    /// Whether images are channels-last.
    pub(super) const fn is_channels_last(self) -> bool {
        match self {
            Self::Cpu(cpu) => cpu.memory_format.is_channels_last(),
            Self::Cuda(cuda) => cuda.memory_format.is_channels_last(),
        }
    }

    /// Whether the memory of the kernels in this precision is known.
    pub(super) const fn knows(self, precision: Precision) -> bool {
        match self {
            Self::Cpu(cpu) => cpu.knows(precision),
            Self::Cuda(_) => true,
        }
    }

    /// Bytes of a step that are not counted one by one.
    pub(super) fn uncounted(self) -> u64 {
        match self {
            Self::Cpu(cpu) => cpu.uncounted(),
            Self::Cuda(_) => 0,
        }
    }

    /// Forward of a convolution.
    pub(super) fn convolution(self, conv: &ConvSize) -> u64 {
        match self {
            Self::Cpu(cpu) => cpu.convolution(conv),
            Self::Cuda(cuda) => cuda.convolution(conv),
        }
    }

    /// The gradient of a convolution's input.
    pub(super) fn input_gradient(self, conv: &ConvSize) -> u64 {
        match self {
            Self::Cpu(cpu) => cpu.input_gradient(conv),
            Self::Cuda(cuda) => cuda.input_gradient(conv),
        }
    }

    /// The bytes that a weight gradient needs while it is brought into the parameter's order.
    pub(super) fn reordered(self, conv: &ConvSize) -> u64 {
        match self {
            Self::Cpu(cpu) => cpu.reordered(conv),
            Self::Cuda(_) => 0,
        }
    }

    /// The gradient of a weight if libtorch's own kernels compute it; `None` if they do not.
    pub(super) fn columns(self, conv: &ConvSize) -> Option<u64> {
        match self {
            Self::Cpu(cpu) => conv.is_small().then(|| cpu.unfolded_small(conv)),
            Self::Cuda(_) => None,
        }
    }

    /// Forward of a transposed convolution.
    pub(super) fn transposed(self, conv: &ConvSize) -> u64 {
        match self {
            Self::Cpu(cpu) => cpu.transposed(conv),
            Self::Cuda(cuda) => cuda.transposed(conv),
        }
    }

    /// Gradient of a weight, in addition to the gradient itself. `conv` describes the forward.
    pub(super) fn weight_gradient(self, conv: &ConvSize) -> u64 {
        match self {
            Self::Cpu(cpu) => cpu.weight_gradient(conv),
            Self::Cuda(cuda) => cuda.weight_gradient(conv),
        }
    }
}
