//! The part of a snapshot besides its tensors.

use serde::{Deserialize, Serialize};

use super::DataId;
use crate::run::outputs::Fallback;
use engine::trainer::{EpochReport, TrainerState};

/// The version of the format. A snapshot of another version is refused: with missing state guessed,
/// the run would not continue exactly.
pub const VERSION: u32 = 1;

/// A run's identity and its progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Version of Snug that wrote it.
    pub snug: String,
    /// Version of libtorch, on which bit-identical results depend.
    pub libtorch: String,
    /// `cpu` or `cuda`.
    pub device: String,
    /// `fp32`, `fp16` or `bf16`.
    pub precision: String,
    /// The configuration to continue with, in the form of `config.toml`.
    pub config: String,
    /// The configuration requested at the start, before the advisor and the ladder changed it: repeating
    /// a requested setting is not a change.
    pub asked: String,
    /// The data that the run trains on.
    pub data: DataId,
    /// The trainer's position and scaler.
    pub trainer: TrainerState,
    /// The record of the run so far.
    pub record: Record,
}

/// More than any run counts, and far below the point where counting further would overflow.
const MAX_COUNT: u64 = 1 << 48;
const MAX_EPOCHS: u32 = u32::MAX - 1;
/// More built-in pages than are ever drawn; each takes space in memory.
const MAX_PAGES: u64 = 1 << 16;

impl State {
    /// Refuses numbers that no run reaches: no run wrote them, and code that counts on from them or
    /// allocates by them would fail.
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
            trainer.skipped_updates,
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

/// The contents of a run's folder and summary at a position.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Lines of `metrics.jsonl`; any further lines describe steps that are trained again.
    pub metrics_rows: u64,
    /// Epochs in the summary.
    pub epochs: u32,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// The peak of tensor bytes.
    pub peak_allocated_bytes: u64,
    /// The peak of bytes held by the allocator, on CUDA.
    pub peak_reserved_bytes: Option<u64>,
    /// The folder for a copy of the best weights, absolute.
    pub models_dir: Option<String>,
    /// The best epoch.
    pub best: Option<EpochReport>,
    /// The best threshold in the last validation, with one class.
    #[serde(default)]
    pub threshold: Option<f64>,
    /// Changes to the requested configuration.
    pub fallbacks: Vec<Fallback>,
    /// Whether a rung of the run itself led to another recipe: its peak does not belong to one recipe.
    #[serde(default)]
    pub is_changed: bool,
    /// Whether several ranks normalise their batches together.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_together: bool,
}
