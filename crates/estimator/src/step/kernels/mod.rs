//! What the kernels of a device allocate inside of an operation, and beside its result.

mod cpu;

pub use cpu::Cpu;

use schedule::Target;

use super::sizes::ConvSize;

/// The device that a step runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Machine {
    /// libtorch's CPU half, with oneDNN.
    Cpu(Cpu),
}

impl From<Cpu> for Machine {
    fn from(cpu: Cpu) -> Self {
        Self::Cpu(cpu)
    }
}

impl Machine {
    /// What its kernels can do without.
    pub(super) const fn target(self) -> Target {
        match self {
            Self::Cpu(_) => Target::CPU,
        }
    }

    /// Forward of a convolution, or the gradient of its input.
    pub(super) fn convolution(self, conv: &ConvSize) -> u64 {
        match self {
            Self::Cpu(_) => Cpu::convolution(conv),
        }
    }

    /// The gradient of a weight where the library's own kernels take it.
    pub(super) fn columns(self, conv: &ConvSize) -> u64 {
        match self {
            Self::Cpu(_) => Cpu::columns(conv),
        }
    }

    /// Forward of a transposed convolution.
    pub(super) fn transposed(self, conv: &ConvSize) -> u64 {
        match self {
            Self::Cpu(cpu) => cpu.transposed(conv),
        }
    }

    /// Gradient of a weight, beside the gradient itself. `conv` is of the forward.
    pub(super) fn weight_gradient(self, conv: &ConvSize) -> u64 {
        match self {
            Self::Cpu(cpu) => cpu.weight_gradient(conv),
        }
    }
}
