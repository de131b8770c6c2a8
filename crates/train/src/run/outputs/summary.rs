//! `summary.json`, which other programs may rely on.

use std::path::PathBuf;

use advisor::Change;
use config::{Precision, RunConfig};
use serde::{Deserialize, Serialize};

use engine::ladder::Rung;
use engine::metrics::ClassScore;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// All epochs or steps are done.
    Completed,
    /// Validation stopped improving.
    EarlyStopped,
    /// The user ended the run after an epoch.
    Stopped,
    /// Ctrl-C or SIGTERM ended the run.
    Interrupted,
    /// The guard found memory nearly full, and the ladder had no rung left.
    EmergencyStop,
    /// An error ended the run.
    Failed,
}

/// The device of a run.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceInfo {
    /// `cpu` or `cuda`.
    pub kind: &'static str,
    /// The device's name for people.
    pub name: String,
    /// Bytes of its memory.
    pub total_bytes: Option<u64>,
}

/// Speed of a run.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Throughput {
    /// Median over steps of images divided by step time.
    pub images_per_second: Option<f64>,
    /// Median time of an optimizer step, without warm-up.
    pub step_ms_median: Option<f64>,
}

/// Memory of a run, in bytes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Memory {
    /// The predicted peak of tensor bytes, in a training step or in validation; `null` if the
    /// estimator does not know the kernels.
    pub predicted_peak_bytes: Option<u64>,
    /// The peak of tensor bytes.
    pub peak_allocated_bytes: Option<u64>,
    /// The peak of bytes held by the allocator; `null` on the CPU.
    pub peak_reserved_bytes: Option<u64>,
}

/// The best validation of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Validation {
    /// IoU at threshold 0.5, or the mean over classes.
    pub best_iou: Option<f64>,
    /// Dice, likewise.
    pub best_dice: Option<f64>,
    /// The best of 101 thresholds.
    pub best_threshold: Option<f64>,
    /// IoU at that threshold.
    pub best_threshold_iou: Option<f64>,
    /// Epoch of the best validation, from 1.
    pub best_epoch: Option<u32>,
    /// Scores by class.
    pub per_class: Vec<ClassScore>,
}

/// Files of a run, relative to its folder; files outside it have absolute paths.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Artifacts {
    /// The resolved configuration.
    pub config: Option<PathBuf>,
    /// Best weights.
    pub best: Option<PathBuf>,
    /// Weights of the last epoch.
    pub last: Option<PathBuf>,
    /// One line per epoch.
    pub metrics: Option<PathBuf>,
    /// The log of events.
    pub events: Option<PathBuf>,
    /// Pictures of predictions.
    pub samples: Option<PathBuf>,
    /// The copy in `--models-dir`.
    pub model: Option<PathBuf>,
}

/// One setting that a run changed, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// Optimizer steps done by then; 0 before the run.
    pub step: u64,
    /// The reason for the change.
    pub failure: String,
    /// The old setting, as `key = value` for a change before the run.
    pub from: String,
    /// The new setting.
    pub to: String,
}

impl Fallback {
    /// A change that the advisor made.
    pub(crate) fn before_the_run(change: &Change) -> Self {
        Self {
            step: 0,
            failure: change.why.clone(),
            from: format!("{} = {}", change.what, change.from),
            to: format!("{} = {}", change.what, change.to),
        }
    }

    /// A rung of the ladder.
    pub(crate) fn of(step: u64, failure: String, rung: &Rung) -> Self {
        Self {
            step,
            failure,
            from: rung.from.clone(),
            to: rung.to.clone(),
        }
    }
}

/// `summary.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Always 1.
    pub schema_version: u32,
    /// How the run ended.
    pub status: Status,
    /// The error, if any.
    pub error: Option<String>,
    /// The device.
    pub device: DeviceInfo,
    /// The final configuration.
    pub config: RunConfig,
    /// The precision of the run; `auto` is resolved.
    pub precision: Precision,
    /// Processes that trained together.
    pub ranks: usize,
    /// Epochs finished.
    pub epochs: u32,
    /// Optimizer steps done.
    pub steps: u64,
    /// Steps whose update was skipped because a gradient was not finite.
    pub skipped_updates: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Speed.
    pub throughput: Throughput,
    /// Memory.
    pub memory: Memory,
    /// Best validation.
    pub validation: Validation,
    /// Changes to the requested configuration.
    pub fallbacks: Vec<Fallback>,
    /// The files of the run.
    pub artifacts: Artifacts,
}
