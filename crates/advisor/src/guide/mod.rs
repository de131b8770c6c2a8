//! Compares the guide's figures ([`config::guide`]) with predictions and, where available, with
//! measurements.

mod check;
mod json;
mod text;

pub use check::{ClaimCheck, GuideCheck, GuidePart, GuideRow, Measurements, check};
pub use json::to_json;
pub use text::to_text;
