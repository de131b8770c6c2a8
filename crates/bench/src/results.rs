//! The results of a benchmark, and the file that holds them.

use std::path::Path;

use config::{CheckpointPolicy, ImageSize, MemoryFormat, Precision, RunConfig};
use figures::numbers::{median, quantile};
use serde::{Deserialize, Serialize};

use crate::case::{Case, Implementation, recipe};
use crate::error::{Error, Result};
use crate::protocol::Epoch;
use crate::statistics::Ratio;

/// The version of the file's schema.
pub const SCHEMA_VERSION: u32 = 1;

/// A whole benchmark. Keys of other versions are passed over, and steps alone are enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The device that was measured.
    pub device: Device,
    /// The version of Snug's libtorch.
    #[serde(default)]
    pub libtorch: String,
    /// The version of torch in the Python that was compared with, if any.
    pub pytorch: Option<String>,
    /// The version of Snug and how it was compiled.
    #[serde(default)]
    pub snug: String,
    /// The day, such as `2026-11-25`.
    pub date: String,
    /// The command line.
    #[serde(default)]
    pub command: String,
    /// The groups, in order, with what each compares.
    #[serde(default)]
    pub groups: Vec<GroupInfo>,
    /// The rows of measured steps.
    pub rows: Vec<Row>,
    /// Epochs over files.
    #[serde(default)]
    pub epochs: Vec<EpochRow>,
    /// Host work of a step.
    #[serde(default)]
    pub host: Vec<HostRow>,
    /// What was left out, and why.
    #[serde(default)]
    pub left_out: Vec<String>,
}

/// A device, in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// `cpu` or `cuda`.
    pub kind: String,
    /// The name for people.
    pub name: String,
    /// The size of its memory.
    pub total_bytes: Option<u64>,
    /// The version of its driver.
    pub driver: Option<String>,
    /// Instruction set of libtorch's CPU kernels.
    pub cpu_capability: String,
    /// The number of threads of each worker.
    pub threads: usize,
}

/// A group of rows that were timed in turns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupInfo {
    /// Its name in rows.
    pub name: String,
    /// The title for people.
    pub title: String,
    /// Whether all its workers ran at once; if memory was too small for that, they ran one at a time.
    pub together: bool,
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The case was measured.
    Ok,
    /// The case ran out of memory.
    Oom,
    /// The case failed for another reason.
    Failed,
}

impl Status {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Oom => "oom",
            Self::Failed => "failed",
        }
    }
}

/// One case, measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The group that it was timed in.
    #[serde(default)]
    pub group: String,
    /// The implementation.
    pub implementation: Implementation,
    /// Height and width.
    pub img_size: [u32; 2],
    /// Channels of the first level.
    pub width: u32,
    /// Images per step.
    pub batch: u32,
    /// The precision.
    pub precision: Precision,
    /// The memory format.
    pub memory_format: MemoryFormat,
    /// Checkpoint policy.
    pub policy: String,
    /// Whether the halves of concatenations are convolved separately.
    pub split_concat: bool,
    /// Whether batch norm, ReLU and pooling were libtorch's operators, as they are in files from before there were
    /// others.
    #[serde(default = "before")]
    pub exact_kernels: bool,
    /// How it ended.
    pub status: Status,
    /// Why, where it did not end well.
    pub message: Option<String>,
    /// The median step time of each round, in the order of the rounds.
    #[serde(default)]
    pub step_ms: Vec<f64>,
    /// The median of these times.
    pub step_ms_median: Option<f64>,
    /// The lower and upper quartiles of these times.
    pub step_ms_quartiles: Option<[f64; 2]>,
    /// Images per second at the median.
    pub images_per_second: Option<f64>,
    /// Tensor bytes before the step.
    pub held_bytes: Option<u64>,
    /// Peak of tensor bytes.
    pub peak_allocated_bytes: Option<u64>,
    /// The peak of the bytes that the allocator held; `None` on the CPU, whose allocator caches nothing.
    pub peak_reserved_bytes: Option<u64>,
    /// The memory that the process held on the device, as NVML reports it.
    pub device_total_bytes: Option<u64>,
    /// The prediction for `peak_allocated_bytes`, for Snug's steps on kernels that the estimator knows.
    pub predicted_peak_bytes: Option<u64>,
    /// The time per image relative to the group's first row, round by round.
    pub ratio_to_baseline: Option<Ratio>,
    /// The first losses, from the common weights.
    #[serde(default)]
    pub losses: Vec<f64>,
}

/// The kernels of rows that do not name them.
const fn before() -> bool {
    true
}

impl Row {
    /// The row of a case that is not measured yet.
    pub fn new(group: &str, case: &Case) -> Self {
        Self {
            group: group.to_owned(),
            implementation: case.implementation,
            img_size: [case.img_size.height, case.img_size.width],
            width: case.width,
            batch: case.batch,
            precision: case.precision,
            memory_format: case.memory_format,
            policy: case.policy.to_string(),
            split_concat: case.split_concat,
            exact_kernels: case.implementation.is_pytorch(),
            status: Status::Failed,
            message: None,
            step_ms: Vec::new(),
            step_ms_median: None,
            step_ms_quartiles: None,
            images_per_second: None,
            held_bytes: None,
            peak_allocated_bytes: None,
            peak_reserved_bytes: None,
            device_total_bytes: None,
            predicted_peak_bytes: None,
            ratio_to_baseline: None,
            losses: Vec::new(),
        }
    }

    /// Sets the step times and the figures derived from them.
    pub fn set_times(&mut self, step_ms: Vec<f64>) {
        self.step_ms_median = median(&step_ms);
        self.step_ms_quartiles = quantile(&step_ms, 0.25)
            .zip(quantile(&step_ms, 0.75))
            .map(|(low, high)| [low, high]);
        self.images_per_second = self
            .step_ms_median
            .map(|ms| f64::from(self.batch) * 1e3 / ms);
        self.step_ms = step_ms;
    }

    /// The error of the prediction as a share of the measurement; it is negative if the prediction is too low.
    pub fn prediction_error(&self) -> Option<f64> {
        let (predicted, measured) = self.predicted_peak_bytes.zip(self.peak_allocated_bytes)?;
        (measured > 0).then(|| predicted as f64 / measured as f64 - 1.0)
    }

    /// The milliseconds per image in each round.
    pub fn ms_per_image(&self) -> Vec<f64> {
        let batch = f64::from(self.batch.max(1));
        self.step_ms.iter().map(|ms| ms / batch).collect()
    }

    /// The size of the images.
    pub fn size(&self) -> ImageSize {
        ImageSize::new(self.img_size[0], self.img_size[1])
    }

    /// What was run; `None` for a policy without a plan of its own.
    pub fn config(&self) -> Option<RunConfig> {
        let policy: CheckpointPolicy = self.policy.parse().ok()?;
        let is_on = policy != CheckpointPolicy::Off;
        (policy != CheckpointPolicy::Auto).then(|| RunConfig {
            img_size: self.size(),
            width: self.width,
            batch: self.batch,
            use_amp: self.precision.is_half(),
            use_channels_last: self.memory_format == MemoryFormat::ChannelsLast,
            use_grad_checkpoint: is_on,
            grad_checkpoint_policy: is_on.then_some(policy),
            split_concat: self.split_concat,
            exact_kernels: self.exact_kernels,
            ..RunConfig::default()
        })
    }

    /// Whether the row is of this configuration, in either half precision.
    pub fn is_of(&self, config: &RunConfig) -> bool {
        let key = |it: &RunConfig| {
            let work = (it.img_size, it.width, it.batch, it.use_amp);
            let policy = it.checkpoint_policy();
            (work, it.use_channels_last, policy, it.split_concat)
        };
        self.config().is_some_and(|own| key(&own) == key(config))
    }

    /// Its recipe in a few words.
    pub fn recipe(&self) -> String {
        let (format, policy) = (self.memory_format, &self.policy);
        recipe(self.precision, format, policy, self.split_concat)
    }
}

/// Epochs over files by one implementation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// The implementation.
    pub implementation: Implementation,
    /// The number of threads or processes that read files; with 0, the step itself reads.
    pub workers: usize,
    /// Whether decoded images were kept in memory.
    pub keeps_decoded: bool,
    /// Recipe, in a few words.
    pub recipe: String,
    /// Size of the work, in a few words.
    pub work: String,
    /// How it ended.
    pub status: Status,
    /// Why, where it did not end well.
    pub message: Option<String>,
    /// Milliseconds spent on checking the data before the first epoch.
    pub prepare_ms: u64,
    /// The first epoch, with cold caches.
    pub first: Option<Epoch>,
    /// The epochs after it.
    pub epochs: Vec<Epoch>,
    /// The time of an epoch, validation included, relative to Snug's, epoch by epoch.
    pub ratio_to_snug: Option<Ratio>,
}

/// Host work of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostRow {
    /// Channels of the first level.
    pub width: u32,
    /// Height and width.
    pub img_size: [u32; 2],
    /// Images per step.
    pub batch: u32,
    /// Recipe, in a few words.
    pub recipe: String,
    /// The median milliseconds of a step.
    pub step_ms: f64,
    /// On the CPU, its milliseconds outside of every operator; on CUDA, its milliseconds before the
    /// last kernel was launched.
    pub host_ms: f64,
    /// The step time of the same recipe on images of 16x16 at width 8, where kernels have next to
    /// nothing to do. It is slightly more than what operators cost besides their kernels.
    pub smallest_step_ms: f64,
}

impl Results {
    /// Reads a file that [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotABenchmark`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        Self::from_json(path, &text)
    }

    /// Reads `text`, the contents of `path`.
    ///
    /// # Errors
    /// [`Error::NotABenchmark`].
    pub fn from_json(path: &Path, text: &str) -> Result<Self> {
        let not = |message: String| Error::NotABenchmark {
            path: path.to_owned(),
            message,
        };
        let results: Self = serde_json::from_str(text).map_err(|error| not(error.to_string()))?;
        if results.schema_version != SCHEMA_VERSION {
            let found = results.schema_version;
            let message = format!("its `schema_version` is {found}, not {SCHEMA_VERSION}");
            return Err(not(message));
        }
        Ok(results)
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        // Strings, numbers and lists can always be written as JSON.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Pairs each successful PyTorch row of a group with the Snug row that it is compared with:
    /// `selective` if the PyTorch row trades time for memory, otherwise the first.
    pub fn pairs<'a>(&'a self, group: &str) -> Vec<(&'a Row, &'a Row)> {
        let ok: Vec<&Row> = self
            .group(group)
            .filter(|row| row.status == Status::Ok)
            .collect();
        let snug = |policy: Option<CheckpointPolicy>| {
            ok.iter().copied().find(|row| {
                row.implementation == Implementation::Snug
                    && policy.is_none_or(|policy| row.policy == policy.as_str())
            })
        };
        let mut pairs = Vec::new();
        for row in ok.iter().copied() {
            let ours = match row.implementation {
                Implementation::Snug | Implementation::SnugGraph => continue,
                Implementation::PytorchCheckpoint | Implementation::PytorchCompileBudget => {
                    snug(Some(CheckpointPolicy::Selective)).or(snug(None))
                }
                _ => snug(None),
            };
            pairs.extend(ours.map(|ours| (row, ours)));
        }
        pairs
    }

    /// Snug's own rows that ended well.
    pub fn good(&self) -> impl Iterator<Item = &Row> {
        let ok =
            |row: &&Row| row.implementation == Implementation::Snug && row.status == Status::Ok;
        self.rows.iter().filter(ok)
    }

    /// The rows of a group.
    pub fn group(&self, name: &str) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.group == name)
    }
}
