//! The guide's figures ([`config::guide`]), each beside a prediction and, where there is one, a
//! measurement.

mod check;
mod json;
mod text;

pub use check::{Check, ClaimCheck, Measurements, Part, Row, check};
pub use json::to_json;
pub use text::to_text;
