//! What a driver and a worker say to each other: the first line of a worker's stdin is a [`Spec`],
//! each further one a [`Request`]; each line of its stdout is an [`Answer`]. `bench/pytorch/worker.py`
//! speaks the same.

use std::path::PathBuf;

use config::{AmpDtype, CheckpointPolicy, ConfigError, ImageSize, RunConfig};
use serde::{Deserialize, Serialize};

use crate::case::{Case, Implementation, MemoryFormat, Precision};

/// What a worker builds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Who.
    pub implementation: Implementation,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Threads to compute with.
    pub threads: usize,
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
    /// A checkpoint policy of `config`.
    pub policy: String,
    /// Whether the halves of concatenations are convolved apart.
    pub split_concat: bool,
    /// Learning rate.
    pub lr: f64,
    /// Weight decay of AdamW.
    pub weight_decay: f64,
    /// First scale of the gradient scaler.
    pub init_scale: f64,
    /// Initial weights, in safetensors; `None` for the worker that makes them.
    pub weights: Option<PathBuf>,
    /// Batches `images.N` `[N, H, W, 3]` and `masks.N` `[N, H, W]` of bytes, in safetensors.
    pub batches: Option<PathBuf>,
    /// A folder with `train/` and `val/`: the worker trains epochs over its files.
    pub data: Option<PathBuf>,
    /// Threads or processes that read files.
    pub workers: usize,
    /// Whether decoded images may be kept from epoch to epoch, as Snug does.
    pub keep_decoded: bool,
}

impl Spec {
    /// The spec of `case` on `device`, without weights, batches and data.
    pub fn new(case: &Case, device: &str, threads: usize) -> Self {
        Self {
            implementation: case.implementation,
            device: device.to_owned(),
            threads,
            img_size: [case.img_size.height, case.img_size.width],
            width: case.width,
            batch: case.batch,
            precision: case.precision,
            memory_format: case.memory_format,
            policy: case.policy.to_string(),
            split_concat: case.split_concat,
            // Ten times the presets': whoever leaves a step out has other losses after the first.
            lr: 1e-3,
            weight_decay: 0.01,
            // No gradient of a fresh network overflows, so no side skips a step that the other takes.
            init_scale: 1024.0,
            weights: None,
            batches: None,
            data: None,
            workers: 0,
            keep_decoded: true,
        }
    }
}

impl Spec {
    /// What a run with these figures is told.
    ///
    /// # Errors
    /// [`ConfigError`] where the policy is none.
    pub fn config(&self) -> Result<RunConfig, ConfigError> {
        let policy: CheckpointPolicy = self.policy.parse()?;
        Ok(RunConfig {
            img_size: ImageSize::new(self.img_size[0], self.img_size[1]),
            batch: self.batch,
            width: self.width,
            classes: 1,
            use_amp: self.precision.is_amp(),
            amp_dtype: match self.precision {
                Precision::Fp16 => AmpDtype::Fp16,
                _ => AmpDtype::Bf16,
            },
            use_channels_last: self.memory_format == MemoryFormat::ChannelsLast,
            use_grad_checkpoint: policy != CheckpointPolicy::Off,
            grad_checkpoint_policy: Some(policy),
            split_concat: self.split_concat,
            lr: self.lr,
            weight_decay: self.weight_decay,
            init_scale: self.init_scale,
            // An epoch at a time, and no end by itself.
            epochs: 1,
            patience: 0,
            workers: u32::try_from(self.workers).unwrap_or(u32::MAX),
            ..RunConfig::default()
        })
    }
}

/// What is asked of a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Train that many steps and say their losses.
    Losses {
        /// Steps.
        count: u32,
    },
    /// Train that many steps and say how long they took.
    Times {
        /// Steps.
        count: u32,
    },
    /// Train a step and say how much memory it took.
    Peak,
    /// Train an epoch over files, and validate.
    Epoch,
    /// Validate alone, and say the mean loss.
    Validate,
    /// Write initial weights and batches (Snug's worker alone).
    Export {
        /// Where to write the weights.
        weights: PathBuf,
        /// Where to write the batches.
        batches: PathBuf,
        /// How many.
        count: u32,
    },
    /// Write a folder of pages to train on (Snug's worker alone).
    Pages {
        /// Where to.
        folder: PathBuf,
        /// For training.
        train: u32,
        /// For validation.
        val: u32,
    },
    /// Train that many steps and say how much of their time no operator took (Snug's worker alone).
    Host {
        /// Steps.
        count: u32,
    },
}

/// What a worker answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Answer {
    /// The first: it is built.
    Ready(Ready),
    /// To [`Request::Losses`] and [`Request::Validate`].
    Losses {
        /// Of each step.
        losses: Vec<f64>,
    },
    /// To [`Request::Times`].
    Times {
        /// Milliseconds of each step on the CPU; on CUDA their mean.
        step_ms: Vec<f64>,
    },
    /// To [`Request::Peak`].
    Peak(Peak),
    /// To [`Request::Epoch`].
    Epoch(Epoch),
    /// To [`Request::Host`].
    Host {
        /// Median milliseconds of a step.
        step_ms: f64,
        /// Of these, outside of every operator; on CUDA, before the last kernel was asked for.
        host_ms: f64,
    },
    /// Done; nothing to say.
    Done,
    /// Memory ran out.
    OutOfMemory {
        /// The library's word.
        message: String,
    },
    /// Something else.
    Failed {
        /// What.
        message: String,
    },
}

/// What a worker runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Version of libtorch, or of torch.
    pub libtorch: String,
    /// Threads that it computes with.
    pub threads: usize,
    /// Name of the device, where it knows.
    pub device_name: Option<String>,
    /// Memory of the device.
    pub total_bytes: Option<u64>,
    /// What of it was free when the worker asked.
    pub free_bytes: Option<u64>,
    /// Instruction set of libtorch's CPU kernels.
    pub cpu_capability: String,
    /// Precisions that are worth measuring there; Snug's worker alone says so.
    #[serde(default)]
    pub precisions: Vec<Precision>,
    /// The driver of the device, where there is one.
    #[serde(default)]
    pub driver: Option<String>,
    /// The device's PCI bus id, by which NVML knows it.
    #[serde(default)]
    pub pci_bus_id: Option<String>,
    /// Compute capability of the device, where it is a GPU: major and minor.
    #[serde(default)]
    pub compute_capability: Option<(u32, u32)>,
    /// Whether the CPU has AMX for bf16; Snug's worker alone says so.
    #[serde(default)]
    pub amx_bf16: bool,
    /// Milliseconds that went to checking the data before the first epoch.
    #[serde(default)]
    pub prepare_ms: u64,
}

/// Memory of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    /// Tensor bytes before it.
    pub held_bytes: u64,
    /// The most tensor bytes during it.
    pub allocated_bytes: u64,
    /// The most that the allocator held; `None` where it holds nothing back.
    pub reserved_bytes: Option<u64>,
}

/// One epoch over files.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Seconds of training.
    pub train_s: f64,
    /// Seconds of validation.
    pub val_s: f64,
    /// Seconds of training that were spent waiting for data.
    pub data_wait_s: f64,
    /// Images trained on.
    pub images: u64,
    /// Images validated on.
    pub val_images: u64,
    /// Mean training loss.
    pub train_loss: f64,
    /// Mean validation loss.
    pub val_loss: f64,
    /// Validation IoU at 0.5.
    pub iou: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_lines_that_python_reads() {
        let line = |request| serde_json::to_string(&request).unwrap();
        assert_eq!(
            line(Request::Times { count: 5 }),
            r#"{"do":"times","count":5}"#
        );
        assert_eq!(line(Request::Peak), r#"{"do":"peak"}"#);
    }

    #[test]
    fn answers_of_python_are_read() {
        let read = |line| serde_json::from_str::<Answer>(line).unwrap();
        let peak =
            r#"{"is": "peak", "held_bytes": 1, "allocated_bytes": 2, "reserved_bytes": null}"#;
        assert_eq!(
            read(peak),
            Answer::Peak(Peak {
                held_bytes: 1,
                allocated_bytes: 2,
                reserved_bytes: None,
            })
        );
        assert!(matches!(
            read(r#"{"is": "out-of-memory", "message": "m"}"#),
            Answer::OutOfMemory { .. }
        ));
    }
}
