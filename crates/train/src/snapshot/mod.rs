//! Snapshots: everything that a run continues from, in one file that is whole or not there.
//!
//! `RUN/last/snapshot.safetensors` is a safetensors file (`file`): tensors by name, the rest of the
//! state ([`State`]) as TOML in its metadata, because TOML keeps every bit of a float and knows NaN,
//! and a SHA-256 of all of it at the end. [`Store`] replaces it so that at every moment a valid one
//! is found, the one before it kept as `previous.safetensors`. `agree` says which
//! settings a run may be continued with.
//!
//! What is not here: when one is written (`command::fit`), and bare weights (`weights`).

mod agree;
mod data_id;
mod file;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub use agree::merged;
pub use data_id::DataId;
pub use file::{Snapshot, is_snapshot};
pub use state::{Record, State, VERSION};
pub use store::{Found, PREVIOUS, SNAPSHOT, Store, find};
