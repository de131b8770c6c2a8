//! What is under a run: the GPUs that NVML sees and the one that a program would get, the CPU, the
//! memory that is free, and what NVIDIA's cards can do at best.
//!
//! This crate states facts about machines. What a run costs on one is the business of `estimator`;
//! what to run on it is that of `advisor`. No libtorch is needed, and NVML is opened at run time.
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
pub mod nvml;
pub mod ram;
pub mod select;

pub use cards::{Card, Hardware, Observed, Rates, cores_per_sm};
pub use cpu::{Cpu, InstructionSet};
pub use device::{Device, select};
pub use gpu::{Facts, Gpu, Instance, Inventory, PeakRates, Process};
