//! The device that a run would get: a card that is named, a GPU that was found, or the CPU.

use config::Bytes;

use crate::cards::Card;
use crate::cpu::Cpu;
use crate::gpu::Gpu;
use crate::ram;
use crate::select::{self, Environment};

/// The device that a run would get.
#[derive(Clone, Debug, PartialEq)]
pub enum Device {
    /// A card that somebody named, or described by its memory alone.
    Given {
        /// Memory that is free.
        memory: Bytes,
        /// Which card.
        card: Option<&'static Card>,
    },
    /// A GPU that was found.
    Found {
        /// The one that a run would get.
        gpu: Gpu,
        /// What else there is to know, in sentences.
        notes: Vec<String>,
    },
    /// No GPU: the CPU.
    Cpu {
        /// Why no GPU, as a fragment after "no GPU: ".
        reason: String,
        /// The CPU.
        cpu: Cpu,
        /// Memory that programs can have without swapping, where the system says.
        available: Option<Bytes>,
    },
}

impl Device {
    /// The CPU of this machine, and the `reason` why it is not a GPU.
    pub fn this_cpu(reason: String) -> Self {
        Self::Cpu {
            reason,
            cpu: Cpu::detect(),
            available: ram::read().map(|ram| ram.available),
        }
    }

    /// The name of the card, where it is known.
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Given { card, .. } => card.map(|card| card.name.to_owned()),
            Self::Found { gpu, .. } => Some(gpu.name.clone()),
            Self::Cpu { .. } => None,
        }
    }

    /// Memory that a run can have, where it is known.
    pub fn memory(&self) -> Option<Bytes> {
        match self {
            Self::Given { memory, .. } => Some(*memory),
            Self::Found { gpu, .. } => Some(gpu.free),
            Self::Cpu { .. } => None,
        }
    }
}

/// The device that a CUDA program would see first: see [`select::choose`].
pub fn select(gpus: &[Gpu], environment: &Environment) -> Device {
    match select::choose(gpus, environment) {
        Ok(choice) => {
            let gpu = choice.device();
            let mut notes = choice.notes;
            notes.extend(gpu.held_by_others());
            Device::Found { gpu, notes }
        }
        Err(reason) => Device::this_cpu(reason),
    }
}
