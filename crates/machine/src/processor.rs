//! The processor of a step: the properties of a device that determine its kernels and its speed.

use config::{Arithmetic, Bytes};

use crate::cards::{Hardware, Rates};
use crate::cpu::Cpu;
use crate::device::Device;
use crate::segments::Segments;

/// The properties of a GPU or a CPU that a prediction depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Processor {
    /// An NVIDIA GPU.
    Gpu {
        /// Compute capability, major and minor.
        compute_capability: (u32, u32),
        /// Peak rates, if they are known.
        rates: Option<Rates>,
        /// How the allocator takes memory.
        segments: Segments,
    },
    /// A CPU.
    Cpu(Cpu),
}

/// Compute capability to assume if a card's is unknown: that of [`Hardware::typical`].
const TYPICAL_CAPABILITY: (u32, u32) = (8, 6);

/// The major compute capability from which a GPU multiplies bf16 and TF32.
pub const BF16_FROM: u32 = 8;

impl Processor {
    /// A GPU. If its compute capability is unknown, that of a typical card is assumed.
    pub fn gpu(compute_capability: Option<(u32, u32)>, rates: Option<Rates>) -> Self {
        Self::Gpu {
            compute_capability: compute_capability.unwrap_or(TYPICAL_CAPABILITY),
            rates,
            segments: Segments::default(),
        }
    }

    /// The same GPU with another kind of segments; a CPU has none.
    #[must_use]
    pub const fn with_segments(mut self, kind: Segments) -> Self {
        if let Self::Gpu { segments, .. } = &mut self {
            *segments = kind;
        }
        self
    }

    /// A GPU with this name and memory, and the rates of the card that is sold under the name.
    pub fn gpu_named(name: &str, memory: Bytes, compute_capability: Option<(u32, u32)>) -> Self {
        let card = Hardware::lookup_with_memory(name, memory);
        Self::gpu(compute_capability, card.map(|card| card.rates))
    }

    /// Whether it is a GPU.
    pub const fn is_gpu(&self) -> bool {
        matches!(self, Self::Gpu { .. })
    }

    /// The arithmetic by which AMP chooses a precision here.
    pub const fn arithmetic(&self) -> Arithmetic {
        match self {
            Self::Gpu { .. } => Arithmetic::Cuda,
            Self::Cpu(Cpu { bf16, fp16, .. }) => Arithmetic::Cpu {
                bf16: *bf16,
                fp16: *fp16,
            },
        }
    }

    /// Whether it multiplies bf16 in hardware.
    pub const fn multiplies_bf16(&self) -> bool {
        match self {
            Self::Gpu {
                compute_capability: (major, _),
                ..
            } => *major >= BF16_FROM,
            Self::Cpu(cpu) => cpu.bf16,
        }
    }
}

impl Device {
    /// The processor that computes a step on this device.
    pub fn processor(&self) -> Processor {
        let processor = match self {
            Self::Given { card, .. } => Processor::gpu(
                card.map(|card| card.compute_capability),
                card.map(|card| card.rates),
            ),
            Self::Found { gpu, .. } => Processor::gpu(
                gpu.facts.compute_capability,
                gpu.peak().map(|peak| peak.rates),
            ),
            Self::Cpu { cpu, .. } => Processor::Cpu(*cpu),
        };
        processor.with_segments(Segments::of_environment().unwrap_or_default())
    }
}
