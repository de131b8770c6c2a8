//! The instruments: what proves, measures and predicts a step, with the engine that trains.

pub mod bench_worker;
pub mod doctor;
pub mod fault;
pub mod measure;
pub mod memory;
pub mod prediction;
