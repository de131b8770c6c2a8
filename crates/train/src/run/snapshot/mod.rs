//! Snapshots: everything that a run continues from, in one file that is either complete or absent.
//!
//! `RUN/last/snapshot.safetensors` is a safetensors file (`file`): tensors by name, the rest of the
//! state ([`State`]) as TOML in its metadata, because TOML keeps every bit of a float and knows NaN,
//! and a SHA-256 of the whole file at the end. [`Store`] replaces it so that a valid snapshot exists at
//! every moment, and keeps the one before it as `previous.safetensors`. `agree` decides which settings
//! may change when a run is continued.
//!
//! Elsewhere: when a snapshot is written (`command::fit`), and bare weights (`weights`).

mod agree;
mod data_id;
mod file;
mod state;
mod store;
#[cfg(test)]
mod tests;

pub use agree::merged;
pub use data_id::DataId;
pub use file::{Snapshot, claims_to_be_snapshot, is_snapshot};
pub use state::{Record, State, VERSION};
pub use store::{FoundSnapshot, PREVIOUS, SNAPSHOT, Store, find, glance};
