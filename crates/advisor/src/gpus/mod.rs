//! The output of `advisor gpus`: what NVML sees of a machine, as text and as JSON.

mod json;
mod text;

pub use json::to_json;
pub use text::to_text;
