//! The outputs of a run: its folder, its summary, its sample pictures, its progress.

pub(crate) mod live;
mod lock;
mod progress;
mod run_dir;
pub mod samples;
pub mod sheet;
mod summary;
pub mod tensorboard;
mod unwritten;

pub use progress::{Progress, count};
pub use run_dir::{RunDir, prepare_models_dir, save_to_models_dir};
pub use summary::{
    Artifacts, DeviceInfo, Fallback, Memory, Status, Summary, Throughput, Validation,
};
