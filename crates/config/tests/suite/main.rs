//! Tests of the public interface: what it prints, and which value wins.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail as tests do"
)]

mod messages;
mod outputs;
mod precedence;
