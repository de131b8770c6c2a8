//! The part of a snapshot that is no tensor.

use serde::{Deserialize, Serialize};

use super::DataId;
use crate::outputs::Fallback;
use engine::trainer::{EpochReport, TrainerState};

/// Of the format. A snapshot of another version is refused: to guess what is missing would be no
/// exact continuation.
pub const VERSION: u32 = 1;

/// What a run is and how far it has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Version of Snug that wrote it.
    pub snug: String,
    /// Version of libtorch, of which bits depend.
    pub libtorch: String,
    /// `cpu` or `cuda`.
    pub device: String,
    /// `fp32`, `fp16` or `bf16`.
    pub precision: String,
    /// The configuration that it goes on with, as `config.toml` has it.
    pub config: String,
    /// What was asked for when it began, before the advisor and the ladder changed it: what is asked
    /// for again is no change.
    pub asked: String,
    /// What it trains on.
    pub data: DataId,
    /// Position, scaler.
    pub trainer: TrainerState,
    /// What is written down of it so far.
    pub record: Record,
}

/// More than any run counts, and far from where counting on would overflow.
const MAX_COUNT: u64 = 1 << 48;
const MAX_EPOCHS: u32 = u32::MAX - 1;
/// More built-in pages than are ever drawn; each has a place in memory.
const MAX_PAGES: u64 = 1 << 16;

impl State {
    /// Refuses figures that no run comes to: they were not written by one, and what counts on from
    /// them, or makes room for that many, would fail.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self {
            data,
            trainer,
            record,
            ..
        } = self;
        let position = &trainer.position;
        let counts = [
            position.steps,
            position.micro_batches,
            trainer.num_losses,
            record.metrics_rows,
            data.train,
            data.val,
        ];
        if let Some(count) = counts.into_iter().find(|it| *it > MAX_COUNT) {
            return Err(format!("it counts to {count}"));
        }
        let epochs = [position.epoch, position.epochs_without_gain, record.epochs];
        if let Some(epoch) = epochs.into_iter().find(|it| *it > MAX_EPOCHS) {
            return Err(format!("it counts {epoch} epochs"));
        }
        let pages = data.train.max(data.val);
        if data.folder.is_none() && pages > MAX_PAGES {
            return Err(format!("it has {pages} built-in pages"));
        }
        Ok(())
    }
}

/// What a run's folder and its summary hold at a position.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Lines of `metrics.jsonl`: those after it are of steps that are trained again.
    pub metrics_rows: u64,
    /// Epochs in the summary.
    pub epochs: u32,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// The most that tensors held.
    pub peak_allocated_bytes: u64,
    /// The most that the allocator held, on CUDA.
    pub peak_reserved_bytes: Option<u64>,
    /// Where a copy of the best weights is to go, absolute.
    pub models_dir: Option<String>,
    /// The best epoch.
    pub best: Option<EpochReport>,
    /// What was changed of what was asked for.
    pub fallbacks: Vec<Fallback>,
    /// Whether a rung of the run itself led to another recipe: its peak is that of no one recipe.
    #[serde(default)]
    pub is_changed: bool,
}
