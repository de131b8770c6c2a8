//! The workspace's only integration target. `techniques` proves the promises of the three
//! techniques on the real network, `ladder` makes steps of a run fail, and `cli` runs the
//! real binary as a user would.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "tests and their helpers fail by panicking"
)]

mod cli;
mod ladder;
mod ranks;
mod techniques;
