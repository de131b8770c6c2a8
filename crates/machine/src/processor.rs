//! What computes a step: all of a device that decides about its kernels and its speed.

use config::Bytes;

use crate::cards::{Hardware, Rates};
use crate::cpu::Cpu;
use crate::device::Device;

/// A GPU or a CPU, as far as a prediction depends on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Processor {
    /// An NVIDIA GPU.
    Gpu {
        /// Compute capability, major and minor.
        compute_capability: (u32, u32),
        /// Peak rates, where they are known.
        rates: Option<Rates>,
    },
    /// A CPU.
    Cpu(Cpu),
}

/// Compute capability of a card of which it is not known: that of [`Hardware::typical`].
const TYPICAL_CAPABILITY: (u32, u32) = (8, 6);

impl Processor {
    /// A GPU; one of which the compute capability is not known is taken for a typical one.
    pub fn gpu(compute_capability: Option<(u32, u32)>, rates: Option<Rates>) -> Self {
        Self::Gpu {
            compute_capability: compute_capability.unwrap_or(TYPICAL_CAPABILITY),
            rates,
        }
    }

    /// A GPU by its name and memory, with the rates of the card that is sold under it.
    pub fn gpu_named(name: &str, memory: Bytes, compute_capability: Option<(u32, u32)>) -> Self {
        let card = Hardware::lookup_with_memory(name, memory);
        Self::gpu(compute_capability, card.map(|card| card.rates))
    }

    /// Whether it is a GPU.
    pub const fn is_gpu(&self) -> bool {
        matches!(self, Self::Gpu { .. })
    }
}

impl Device {
    /// What computes a step on it.
    pub fn processor(&self) -> Processor {
        match self {
            Self::Given { card, .. } => Processor::gpu(
                card.map(|card| card.compute_capability),
                card.map(|card| card.rates),
            ),
            Self::Found { gpu, .. } => Processor::gpu(
                gpu.facts.compute_capability,
                gpu.peak().map(|peak| peak.rates),
            ),
            Self::Cpu { cpu, .. } => Processor::Cpu(*cpu),
        }
    }
}
