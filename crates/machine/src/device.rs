//! The device that a run would use: a card that the user named, a GPU that was found, or the CPU.

use config::Bytes;

use crate::cards::Card;
use crate::cpu::Cpu;
use crate::gpu::Gpu;
use crate::ram;
use crate::select::{self, Environment};

/// The device that a run would use.
#[derive(Clone, Debug, PartialEq)]
pub enum Device {
    /// A card that the user named, or described only by its memory.
    Given {
        /// Free memory.
        memory: Bytes,
        /// The card, if it is known.
        card: Option<&'static Card>,
    },
    /// A GPU that was found.
    Found {
        /// The GPU that a run would use.
        gpu: Gpu,
        /// Further facts, in sentences.
        notes: Vec<String>,
    },
    /// The CPU, because no GPU can be used.
    Cpu {
        /// Why no GPU can be used, as a fragment after "no GPU: ".
        reason: String,
        /// The CPU.
        cpu: Cpu,
        /// Memory that programs can use without swapping, if the system reports it.
        available: Option<Bytes>,
    },
}

impl Device {
    /// The CPU of this machine, with the `reason` why no GPU is used.
    pub fn this_cpu(reason: String) -> Self {
        Self::Cpu {
            reason,
            cpu: Cpu::detect(),
            available: ram::read().map(|ram| ram.available),
        }
    }

    /// The name of the card, if it is known.
    pub fn name(&self) -> Option<String> {
        match self {
            Self::Given { card, .. } => card.map(|card| card.name.to_owned()),
            Self::Found { gpu, .. } => Some(gpu.name.clone()),
            Self::Cpu { .. } => None,
        }
    }

    /// Memory that a run can use, if it is known.
    pub fn memory(&self) -> Option<Bytes> {
        match self {
            Self::Given { memory, .. } => Some(*memory),
            Self::Found { gpu, .. } => Some(gpu.free),
            Self::Cpu { .. } => None,
        }
    }
}

/// The device that a CUDA program would see first; see [`select::choose`].
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
