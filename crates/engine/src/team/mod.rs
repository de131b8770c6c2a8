//! Runs of several processes.

mod peers;

pub use peers::{Patience, Peers};
