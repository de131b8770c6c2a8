//! Tests what a person reads, and how the binary handles bad input.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod binary;
mod calibrate;
mod explain;
mod forecast;
mod gpus;
mod guide;
mod ledger;
mod outputs;
mod pareto;
mod ranks;
