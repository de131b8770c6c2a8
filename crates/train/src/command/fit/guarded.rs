//! The flags of the memory guard.

use std::num::NonZeroU64;

use clap::Args;
use machine::ram;
use tch::Device;

use crate::command::console;
use engine::device;
use engine::guard::{FillLimit, Guard};

#[derive(Debug, Args)]
pub(super) struct GuardFlags {
    /// Use less memory before more than this share of the GPU's is taken, by any program; if nothing
    /// smaller is left, save a state for `--resume` and stop with exit code 4
    #[arg(long = "guard-gpu", value_name = "SHARE|off", default_value = "0.95")]
    gpu: FillLimit,
    /// The same for the memory of this machine, or of the container
    #[arg(long = "guard-ram", value_name = "SHARE|off", default_value = "0.9")]
    ram: FillLimit,
    /// Look at memory every this many steps
    #[arg(long = "guard-every", value_name = "STEPS", default_value = "10")]
    every: NonZeroU64,
}

impl GuardFlags {
    pub(super) fn guard(&self) -> Guard {
        Guard {
            gpu: self.gpu,
            ram: self.ram,
            every: self.every,
            read_ram: ram::read,
        }
    }
}

/// Reports the temperature of the GPU, if it is known.
pub(super) fn say_temperature(device: Device) {
    if let Some(celsius) = device::temperature(device) {
        console::note(&format!("GPU temperature: {celsius} \u{b0}C"));
    }
}
