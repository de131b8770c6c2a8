//! The output of `advisor gpus`: what NVML sees of a machine, for people and as JSON.

mod json;
mod text;

pub use json::to_json;
pub use text::to_text;
