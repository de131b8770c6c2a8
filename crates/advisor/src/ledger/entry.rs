//! A line of the ledger: one training run.

use config::RunConfig;
use serde::{Deserialize, Serialize};

/// Of the lines that are written and understood.
pub const SCHEMA_VERSION: u32 = 1;

/// One training run, as far as memory and speed go. A figure that nobody predicted or measured is
/// `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When the run ended: RFC 3339, UTC.
    pub date: String,
    /// Where it ran.
    pub device: Device,
    /// Version of libtorch.
    pub libtorch: String,
    /// What decides its memory.
    pub shape: Shape,
    /// Before it ran.
    pub predicted: Predicted,
    /// While it ran.
    pub measured: Measured,
    /// Optimizer steps.
    pub steps: u64,
    /// `completed`, `early-stopped` or `interrupted`.
    pub status: String,
}

/// The device of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// `cpu` or `cuda`.
    pub kind: String,
    /// Product name.
    pub name: String,
    /// Bytes of its memory; the machine's for a CPU.
    pub total_bytes: Option<u64>,
    /// Of a CPU: the instruction set of libtorch's kernels, such as `AVX512`.
    pub instruction_set: Option<String>,
    /// Of a CPU: libtorch's threads.
    pub threads: Option<u32>,
}

/// What decides how much memory a step takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Height and width.
    pub img_size: [u32; 2],
    /// Channels of the first level.
    pub width: u32,
    /// Output channels.
    pub classes: u32,
    /// Images of a forward, as configured.
    pub batch: u32,
    /// Forwards per optimizer step.
    pub accumulation: u32,
    /// `fp32`, `fp16` or `bf16`.
    pub precision: String,
    /// `channels-last` or `channels-first`.
    pub memory_format: String,
    /// What gradient checkpointing recomputes.
    pub policy: String,
    /// What each stage keeps under the policy `mixed`; `null` is the built-in plan.
    pub plan: Option<Vec<String>>,
    /// Whether the halves of concatenations are convolved apart.
    pub split_concat: bool,
    /// The most images that there were at once.
    pub largest_batch: LargestBatch,
}

/// The most images of a forward: fewer than configured where there are not so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargestBatch {
    /// While training.
    pub train: u32,
    /// While validating.
    pub validation: u32,
}

/// What was predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// Peak of tensor bytes.
    pub allocated_bytes: Option<u64>,
    /// Peak of what the allocator holds.
    pub reserved_bytes: Option<u64>,
    /// Peak of what the process holds of the device.
    pub total_bytes: Option<u64>,
    /// Speed of a step.
    pub images_per_second: Option<f64>,
}

/// What was measured, in the same words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "those of `Predicted` say it")]
pub struct Measured {
    pub allocated_bytes: Option<u64>,
    pub reserved_bytes: Option<u64>,
    pub total_bytes: Option<u64>,
    pub images_per_second: Option<f64>,
}

impl Entry {
    /// Whether a figure was both predicted and measured.
    pub fn is_compared(&self) -> bool {
        let (predicted, measured) = (&self.predicted, &self.measured);
        let bytes = [
            (predicted.allocated_bytes, measured.allocated_bytes),
            (predicted.reserved_bytes, measured.reserved_bytes),
            (predicted.total_bytes, measured.total_bytes),
        ];
        let speed = predicted.images_per_second.zip(measured.images_per_second);
        speed.is_some() || bytes.iter().any(|(a, b)| a.zip(*b).is_some())
    }
}

impl Device {
    /// As runs on a device are entered; `None` for a card of which only the size is known.
    pub fn of(device: &machine::Device) -> Option<Self> {
        match device {
            machine::Device::Given { card, .. } => card.map(|card| Self::gpu(card.name)),
            machine::Device::Found { gpu, .. } => Some(Self::gpu(&gpu.name)),
            machine::Device::Cpu { cpu, .. } => {
                let name = machine::Cpu::name();
                let name = name.as_deref().unwrap_or("CPU");
                Some(Self::cpu(
                    name,
                    &cpu.instruction_set.to_string(),
                    cpu.threads,
                ))
            }
        }
    }

    /// A GPU, or a MIG instance, by its product name.
    pub fn gpu(name: &str) -> Self {
        Self {
            kind: "cuda".to_owned(),
            name: name.to_owned(),
            total_bytes: None,
            instruction_set: None,
            threads: None,
        }
    }

    /// A CPU: other instructions, or another number of threads, make another device of it.
    pub fn cpu(name: &str, instruction_set: &str, threads: u32) -> Self {
        Self {
            kind: "cpu".to_owned(),
            name: name.to_owned(),
            total_bytes: None,
            instruction_set: Some(instruction_set.to_owned()),
            threads: Some(threads),
        }
    }

    /// Whether what is learnt of one holds for the other. Memory is not compared: programs count
    /// it differently.
    pub fn is_like(&self, other: &Self) -> bool {
        let key = |it: &Self| {
            (
                it.kind.clone(),
                it.name.clone(),
                it.instruction_set.clone(),
                it.threads,
            )
        };
        key(self) == key(other)
    }
}

impl Shape {
    /// Of a configuration whose precision is chosen.
    pub fn of(config: &RunConfig, precision: &str, largest_batch: LargestBatch) -> Self {
        let memory_format = if config.use_channels_last {
            "channels-last"
        } else {
            "channels-first"
        };
        let plan = config.grad_checkpoint_plan.as_ref();
        Self {
            img_size: [config.img_size.height, config.img_size.width],
            width: config.width,
            classes: config.classes,
            batch: config.batch,
            accumulation: config.accumulation,
            precision: precision.to_owned(),
            memory_format: memory_format.to_owned(),
            policy: config.checkpoint_policy().to_string(),
            plan: plan.map(|stages| stages.iter().map(ToString::to_string).collect()),
            split_concat: config.split_concat,
            largest_batch,
        }
    }
}

impl LargestBatch {
    /// Of batches of up to `batch`, taken from so many images.
    pub fn of(batch: u32, train_images: usize, validation_images: usize) -> Self {
        let most = |images: usize| u32::try_from(images).unwrap_or(u32::MAX).min(batch);
        Self {
            train: most(train_images),
            validation: most(validation_images),
        }
    }
}
