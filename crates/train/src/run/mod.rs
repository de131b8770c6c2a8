//! A run: its data, the recipe that it was proposed, and the files that it reads and leaves.

pub(crate) mod chosen;
pub(crate) mod limit;
pub(crate) mod outlook;
pub mod outputs;
pub mod proposal;
pub mod run_data;
pub mod snapshot;
pub(crate) mod understood;
pub mod weights;
