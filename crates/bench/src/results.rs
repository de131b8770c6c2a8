//! What was measured, and the file that holds it.

use std::path::Path;

use config::{CheckpointPolicy, ImageSize, RunConfig};
use figures::numbers::{median, quantile};
use serde::{Deserialize, Serialize};

use crate::case::{Case, Implementation, MemoryFormat, Precision, recipe};
use crate::error::{Error, Result};
use crate::protocol::Epoch;
use crate::statistics::Ratio;

/// Version of the file.
pub const SCHEMA_VERSION: u32 = 1;

/// A whole benchmark. Keys of other versions are passed over, and steps alone are enough.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Where it was measured.
    pub device: Device,
    /// libtorch of Snug.
    #[serde(default)]
    pub libtorch: String,
    /// torch of the Python beside it, where there was one.
    pub pytorch: Option<String>,
    /// Version of Snug and how it was compiled.
    #[serde(default)]
    pub snug: String,
    /// Day, as `2026-11-25`.
    pub date: String,
    /// The command line.
    #[serde(default)]
    pub command: String,
    /// The groups, in order, with what each compares.
    #[serde(default)]
    pub groups: Vec<GroupInfo>,
    /// Steps.
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
    /// What a person would call it.
    pub name: String,
    /// Its memory.
    pub total_bytes: Option<u64>,
    /// Version of its driver.
    pub driver: Option<String>,
    /// Instruction set of libtorch's CPU kernels.
    pub cpu_capability: String,
    /// Threads of each worker.
    pub threads: usize,
}

/// A group of rows that were timed in turns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupInfo {
    /// Its name in rows.
    pub name: String,
    /// For people.
    pub title: String,
    /// Whether all its workers were alive at once, or one at a time for want of memory.
    pub together: bool,
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Measured.
    Ok,
    /// It does not fit.
    Oom,
    /// Something else.
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
    /// The group it was timed in.
    #[serde(default)]
    pub group: String,
    /// Who.
    pub implementation: Implementation,
    /// Height and width.
    pub img_size: [u32; 2],
    /// Channels of the first level.
    pub width: u32,
    /// Images per step.
    pub batch: u32,
    /// In which precision.
    pub precision: Precision,
    /// In which memory format.
    pub memory_format: MemoryFormat,
    /// Checkpoint policy.
    pub policy: String,
    /// Whether the halves of concatenations are convolved apart.
    pub split_concat: bool,
    /// How it ended.
    pub status: Status,
    /// Why, where it did not end well.
    pub message: Option<String>,
    /// Median step time of each round, in the order of the rounds.
    #[serde(default)]
    pub step_ms: Vec<f64>,
    /// Median of these.
    pub step_ms_median: Option<f64>,
    /// Their lower and upper quartile.
    pub step_ms_quartiles: Option<[f64; 2]>,
    /// Images per second at the median.
    pub images_per_second: Option<f64>,
    /// Tensor bytes before the step.
    pub held_bytes: Option<u64>,
    /// Peak of tensor bytes.
    pub peak_allocated_bytes: Option<u64>,
    /// Peak of what the allocator held; `None` on the CPU, whose allocator holds nothing back.
    pub peak_reserved_bytes: Option<u64>,
    /// What the process had of the device, as NVML tells.
    pub device_total_bytes: Option<u64>,
    /// What the estimator says of `peak_allocated_bytes`, for Snug's steps on kernels that it knows.
    pub predicted_peak_bytes: Option<u64>,
    /// Time per image against the group's first row, round by round.
    pub ratio_to_baseline: Option<Ratio>,
    /// The first losses, from the common weights.
    #[serde(default)]
    pub losses: Vec<f64>,
}

impl Row {
    /// The row of a case about which nothing is known yet.
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

    /// Takes the step times in and what follows from them.
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

    /// How far the prediction is off, as a share of what was measured: below zero where it is too low.
    pub fn prediction_error(&self) -> Option<f64> {
        let (predicted, measured) = self.predicted_peak_bytes.zip(self.peak_allocated_bytes)?;
        (measured > 0).then(|| predicted as f64 / measured as f64 - 1.0)
    }

    /// Milliseconds per image of each round.
    pub fn ms_per_image(&self) -> Vec<f64> {
        let batch = f64::from(self.batch.max(1));
        self.step_ms.iter().map(|ms| ms / batch).collect()
    }

    /// Size of the images.
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
            use_amp: self.precision.is_amp(),
            use_channels_last: self.memory_format == MemoryFormat::ChannelsLast,
            use_grad_checkpoint: is_on,
            grad_checkpoint_policy: is_on.then_some(policy),
            split_concat: self.split_concat,
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
    /// Who.
    pub implementation: Implementation,
    /// Readers of files beside the step; 0: the step itself reads.
    pub workers: usize,
    /// Whether images that were decoded once were kept in memory.
    pub keeps_decoded: bool,
    /// Recipe, in a few words.
    pub recipe: String,
    /// Size of the work, in a few words.
    pub work: String,
    /// How it ended.
    pub status: Status,
    /// Why, where it did not end well.
    pub message: Option<String>,
    /// Milliseconds before the first epoch that go to checking the data.
    pub prepare_ms: u64,
    /// The first epoch, in which caches are cold.
    pub first: Option<Epoch>,
    /// The epochs after it.
    pub epochs: Vec<Epoch>,
    /// Time of an epoch, validation included, against Snug's, epoch by epoch.
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
    /// Median milliseconds of a step.
    pub step_ms: f64,
    /// On the CPU, milliseconds of it outside of every operator; on CUDA, those before the last
    /// kernel was asked for.
    pub host_ms: f64,
    /// Step time of the same recipe on images of 16x16 at width 8, where kernels have next to
    /// nothing to do: all that operators cost besides their kernels, and a little more.
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
        // Strings, numbers and lists always have a form in JSON.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Each good row of PyTorch in a group with the row of Snug that it is compared with: `selective`
    /// where it saves memory at the price of time, else the first.
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
                Implementation::Snug => continue,
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
