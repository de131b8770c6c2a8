//! The hardware that a run uses: the GPUs that NVML reports and the one that a program would get,
//! the CPU, the free memory, and the peak rates of NVIDIA cards.
//!
//! This crate states facts about machines. `estimator` says what a run costs on a machine;
//! `advisor` says what to run on it. The crate does not need libtorch, and it opens NVML at run
//! time.
//!
//! ```
//! use machine::{Cpu, Hardware};
//!
//! let card = Hardware::lookup("rtx 3060").expect("in the table");
//! assert_eq!(card.compute_capability, (8, 6));
//! assert!(Cpu::detect().threads > 0);
//! ```

mod cards;
mod cpu;
mod device;
mod gpu;
pub mod load;
pub mod nvml;
mod processor;
pub mod ram;
mod segments;
pub mod select;

pub use cards::{Card, Hardware, Observed, Rates, cores_per_sm};
pub use cpu::{Cpu, InstructionSet};
pub use device::{Device, select};
pub use gpu::{Facts, Gpu, Instance, Inventory, PeakRates, Process, STAND_IN, is_stand_in};
pub use processor::{BF16_FROM, Processor};
pub use segments::Segments;
