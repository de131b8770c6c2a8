//! The one integration target of the workspace: `techniques` proves what the three
//! techniques promise on the real network, `cli` runs the real binary as a user would.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "that is how a test fails, in its helpers as well"
)]

mod chance;
mod cli;
mod ladder;
mod techniques;
