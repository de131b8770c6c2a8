//! The one integration target of the workspace: `techniques` proves what the three
//! techniques promise on the real network, `cli` runs the real binary as a user would.

mod cli;
mod techniques;
