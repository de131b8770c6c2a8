//! What a person reads, and what the binary does with bad input.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod binary;
mod calibrate;
mod explain;
mod gpus;
mod guide;
mod ledger;
mod outputs;
mod pareto;
