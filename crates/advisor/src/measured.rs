//! What `train bench` measured (`results.json`), as far as predictions can be held against it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use config::{CheckpointPolicy, ImageSize, RunConfig};
use serde::Deserialize;

/// Of the files that are understood.
const SCHEMA_VERSION: u32 = 1;

/// A file of `train bench`. Keys that are of no use here are passed over.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Results {
    schema_version: u32,
    /// Where it was measured.
    pub device: Device,
    /// Day, as `2026-11-25`.
    pub date: String,
    /// Steps.
    pub rows: Vec<Row>,
}

/// The device of a benchmark.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Device {
    /// `cpu` or `cuda`.
    pub kind: String,
    /// Product name.
    pub name: String,
    /// Instruction set of libtorch's CPU kernels.
    pub cpu_capability: String,
    /// Threads of a worker.
    pub threads: u32,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[expect(missing_docs, reason = "those of `bench::Row`, which writes them")]
pub struct Row {
    pub implementation: String,
    pub img_size: [u32; 2],
    pub width: u32,
    pub batch: u32,
    pub precision: String,
    pub memory_format: String,
    pub policy: String,
    pub split_concat: bool,
    pub status: String,
    pub step_ms_median: Option<f64>,
    pub peak_allocated_bytes: Option<u64>,
}

/// A file that is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultsError {
    /// It cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("`{}` is no benchmark of `train bench`: {message}", path.display())]
    NotABenchmark {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

impl ResultsError {
    /// How to mend it.
    pub const fn hint() -> &'static str {
        "`cargo xtask bench` writes `runs/bench/results.json`, and `train bench --json FILE` another"
    }
}

impl Results {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ResultsError`].
    pub fn read(path: &Path) -> Result<Self, ResultsError> {
        let text = fs::read_to_string(path).map_err(|source| ResultsError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::from_json(path, &text)
    }

    /// The same of `text`, the contents of `path`.
    ///
    /// # Errors
    /// [`ResultsError::NotABenchmark`].
    pub fn from_json(path: &Path, text: &str) -> Result<Self, ResultsError> {
        let not = |message: String| ResultsError::NotABenchmark {
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

    /// Snug's own rows that ended well.
    pub fn good(&self) -> impl Iterator<Item = &Row> {
        let ok = |row: &&Row| row.implementation == "snug" && row.status == "ok";
        self.rows.iter().filter(ok)
    }
}

impl Row {
    /// Whether activations are in half precision.
    pub fn is_half(&self) -> bool {
        matches!(self.precision.as_str(), "fp16" | "bf16")
    }

    /// Whether it is of this configuration, of either half precision.
    pub fn is_of(&self, config: &RunConfig) -> bool {
        self.config().is_some_and(|own| {
            let key = |it: &RunConfig| {
                let work = (it.img_size, it.width, it.batch, it.use_amp);
                (
                    work,
                    it.use_channels_last,
                    it.checkpoint_policy(),
                    it.split_concat,
                )
            };
            key(&own) == key(config)
        })
    }

    /// What was run; `None` for a policy that has no name here, or none of its own.
    pub fn config(&self) -> Option<RunConfig> {
        let policy: CheckpointPolicy = self.policy.parse().ok()?;
        let is_on = policy != CheckpointPolicy::Off;
        (policy != CheckpointPolicy::Auto).then(|| RunConfig {
            img_size: ImageSize::new(self.img_size[0], self.img_size[1]),
            width: self.width,
            batch: self.batch,
            use_amp: self.is_half(),
            use_channels_last: self.memory_format == "channels-last",
            use_grad_checkpoint: is_on,
            grad_checkpoint_policy: is_on.then_some(policy),
            split_concat: self.split_concat,
            ..RunConfig::default()
        })
    }
}
