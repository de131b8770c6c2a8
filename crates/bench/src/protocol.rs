//! The protocol between driver and worker. The first line of a worker's stdin is a [`Spec`], each
//! further line is a [`WorkerRequest`], and each line of its stdout is an [`Answer`].
//! `bench/pytorch/worker.py` speaks the same protocol.

use std::path::PathBuf;

use config::{CheckpointPolicy, ConfigError, ImageSize, MemoryFormat, Precision, RunConfig};
use serde::{Deserialize, Serialize};

use crate::case::{Case, Implementation};

/// What a worker builds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The implementation.
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
    /// The precision.
    pub precision: Precision,
    /// The memory format.
    pub memory_format: MemoryFormat,
    /// A checkpoint policy of `config`.
    pub policy: String,
    /// Whether the halves of concatenations are convolved separately.
    pub split_concat: bool,
    /// Learning rate.
    pub lr: f64,
    /// Weight decay of AdamW.
    pub weight_decay: f64,
    /// Initial scale of the gradient scaler.
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
            // Ten times the presets' learning rate, so that a worker that skips a step has
            // different losses after the first.
            lr: 1e-3,
            weight_decay: 0.01,
            // No gradient of a fresh network overflows at this scale, so neither side skips a step
            // that the other takes.
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
    /// The configuration of a run with this spec.
    ///
    /// # Errors
    /// Fails with [`ConfigError`] if the policy is unknown.
    pub fn config(&self) -> Result<RunConfig, ConfigError> {
        let policy: CheckpointPolicy = self.policy.parse()?;
        Ok(RunConfig {
            img_size: ImageSize::new(self.img_size[0], self.img_size[1]),
            batch: self.batch,
            width: self.width,
            classes: 1,
            use_channels_last: self.memory_format.is_channels_last(),
            split_concat: self.split_concat,
            lr: self.lr,
            weight_decay: self.weight_decay,
            init_scale: self.init_scale,
            // A request trains one epoch, and the run does not end by itself.
            epochs: 1,
            patience: 0,
            workers: u32::try_from(self.workers).unwrap_or(u32::MAX),
            ..RunConfig::default().with_policy(policy)
        }
        .with_precision(self.precision))
    }
}

/// A request to a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum WorkerRequest {
    /// Train this many steps and report their losses.
    Losses {
        /// Steps.
        count: u32,
    },
    /// Train this many steps and report how long they took.
    Times {
        /// Steps.
        count: u32,
    },
    /// Train a step and report how much memory it took.
    Peak,
    /// Train an epoch over files, and validate.
    Epoch,
    /// Only validate, and report the mean loss.
    Validate,
    /// Write initial weights and batches (only Snug's worker).
    Export {
        /// Where to write the weights.
        weights: PathBuf,
        /// Where to write the batches.
        batches: PathBuf,
        /// The number of batches.
        count: u32,
    },
    /// Write a folder of pages to train on (only Snug's worker).
    Pages {
        /// The folder to write to.
        folder: PathBuf,
        /// The number of pages for training.
        train: u32,
        /// The number of pages for validation.
        val: u32,
    },
    /// Train this many steps and report how much of their time was spent outside of operators (only
    /// Snug's worker).
    Host {
        /// Steps.
        count: u32,
    },
}

/// An answer from a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Answer {
    /// The first answer: the case is built.
    Ready(Ready),
    /// The answer to [`WorkerRequest::Losses`] and [`WorkerRequest::Validate`].
    Losses {
        /// The loss of each step.
        losses: Vec<f64>,
    },
    /// The answer to [`WorkerRequest::Times`].
    Times {
        /// Milliseconds of each step on the CPU; on CUDA, their mean.
        step_ms: Vec<f64>,
    },
    /// The answer to [`WorkerRequest::Peak`].
    Peak(Peak),
    /// The answer to [`WorkerRequest::Epoch`].
    Epoch(Epoch),
    /// The answer to [`WorkerRequest::Host`].
    Host {
        /// The median milliseconds of a step.
        step_ms: f64,
        /// The part of these outside of every operator; on CUDA, the part before the last kernel was launched.
        host_ms: f64,
    },
    /// The request is done, and there is nothing to report.
    Done,
    /// Memory ran out.
    OutOfMemory {
        /// The library's message.
        message: String,
    },
    /// The request failed for another reason.
    Failed {
        /// The reason.
        message: String,
    },
}

/// The device and the libraries of a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The version of libtorch, or of torch.
    pub libtorch: String,
    /// The number of threads that it computes with.
    pub threads: usize,
    /// The name of the device, if the worker knows it.
    pub device_name: Option<String>,
    /// Memory of the device.
    pub total_bytes: Option<u64>,
    /// The bytes of it that were free when the worker asked.
    pub free_bytes: Option<u64>,
    /// Instruction set of libtorch's CPU kernels.
    pub cpu_capability: String,
    /// The precisions worth measuring on the device; only Snug's worker reports them.
    #[serde(default)]
    pub precisions: Vec<Precision>,
    /// The version of the device's driver, if it has one.
    #[serde(default)]
    pub driver: Option<String>,
    /// The device's PCI bus id, which identifies it to NVML.
    #[serde(default)]
    pub pci_bus_id: Option<String>,
    /// The compute capability of a GPU: major and minor.
    #[serde(default)]
    pub compute_capability: Option<(u32, u32)>,
    /// Whether the CPU has AMX for bf16; only Snug's worker reports it.
    #[serde(default)]
    pub amx_bf16: bool,
    /// Milliseconds spent on checking the data before the first epoch.
    #[serde(default)]
    pub prepare_ms: u64,
}

/// Memory of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peak {
    /// Tensor bytes before the step.
    pub held_bytes: u64,
    /// The peak of tensor bytes during the step.
    pub allocated_bytes: u64,
    /// The peak of the bytes that the allocator held; `None` if it caches nothing.
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
            line(WorkerRequest::Times { count: 5 }),
            r#"{"do":"times","count":5}"#
        );
        assert_eq!(line(WorkerRequest::Peak), r#"{"do":"peak"}"#);
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
