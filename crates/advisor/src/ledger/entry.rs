//! A line of the ledger: one training run.

use config::{MemoryFormat, Precision, RunConfig};
use serde::{Deserialize, Serialize};

/// The schema of the lines that are written and understood.
pub const SCHEMA_VERSION: u32 = 1;

/// The memory and speed of one training run. A figure that was not predicted or not measured is
/// `null`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// When the run ended: RFC 3339, UTC.
    pub date: String,
    /// The device that it ran on.
    pub device: Device,
    /// The version of libtorch.
    pub libtorch: String,
    /// The settings that decide its memory.
    pub shape: Shape,
    /// Predictions from before the run.
    pub predicted: Predicted,
    /// Measurements from during the run.
    pub measured: Measured,
    /// The number of optimizer steps.
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
    /// For a CPU: the instruction set of libtorch's kernels, such as `AVX512`.
    pub instruction_set: Option<String>,
    /// For a CPU: the number of libtorch's threads.
    pub threads: Option<u32>,
}

/// The settings that decide how much memory a step takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Height and width.
    pub img_size: [u32; 2],
    /// Channels of the images.
    #[serde(default = "rgb")]
    pub in_channels: u32,
    /// Channels of the first level.
    pub width: u32,
    /// Output channels.
    pub classes: u32,
    /// Images per forward, as configured.
    pub batch: u32,
    /// Forwards per optimizer step.
    pub accumulation: u32,
    /// The precision of convolutions and activations.
    pub precision: Precision,
    /// The memory format of images, weights and activations.
    pub memory_format: MemoryFormat,
    /// The checkpoint policy.
    pub policy: String,
    /// What each stage keeps under the policy `mixed`; `null` is the built-in plan.
    pub plan: Option<Vec<String>>,
    /// Whether the halves of concatenations are convolved separately.
    pub split_concat: bool,
    /// Whether batch norm, ReLU and pooling were libtorch's operators, as they were before there were others.
    #[serde(default = "before")]
    pub exact_kernels: bool,
    /// The largest batch that the run had.
    pub largest_batch: LargestBatch,
}

/// The channels of images in entries that do not name them.
const fn rgb() -> u32 {
    3
}

/// The kernels of entries that do not name them.
const fn before() -> bool {
    true
}

/// The largest number of images in one forward. It is smaller than configured if the data set has fewer images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargestBatch {
    /// While training.
    pub train: u32,
    /// While validating.
    pub validation: u32,
}

/// The predicted figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Predicted {
    /// The peak of tensor bytes.
    pub allocated_bytes: Option<u64>,
    /// The peak of the bytes that the allocator holds.
    pub reserved_bytes: Option<u64>,
    /// The peak of the bytes that the process holds on the device.
    pub total_bytes: Option<u64>,
    /// The speed of a step.
    pub images_per_second: Option<f64>,
}

/// The measured figures, with the same fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are documented at `Predicted`")]
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
    /// The device as runs on it are recorded; `None` for a card of which only the size is known.
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

    /// A GPU or a MIG instance, by its product name.
    pub fn gpu(name: &str) -> Self {
        Self {
            kind: "cuda".to_owned(),
            name: name.to_owned(),
            total_bytes: None,
            instruction_set: None,
            threads: None,
        }
    }

    /// A CPU. With another instruction set or another number of threads it counts as another device.
    pub fn cpu(name: &str, instruction_set: &str, threads: u32) -> Self {
        Self {
            kind: "cpu".to_owned(),
            name: name.to_owned(),
            total_bytes: None,
            instruction_set: Some(instruction_set.to_owned()),
            threads: Some(threads),
        }
    }

    /// Whether measurements on one device hold for the other. The memory size is not compared,
    /// since programs count it differently.
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
    /// The shape of a configuration whose precision is already chosen.
    pub fn of(config: &RunConfig, precision: Precision, largest_batch: LargestBatch) -> Self {
        let plan = config.grad_checkpoint_plan.as_ref();
        Self {
            img_size: [config.img_size.height, config.img_size.width],
            in_channels: config.in_channels,
            width: config.width,
            classes: config.classes,
            batch: config.batch,
            accumulation: config.accumulation,
            precision,
            memory_format: config.memory_format(),
            policy: config.checkpoint_policy().to_string(),
            plan: plan.map(|stages| stages.iter().map(ToString::to_string).collect()),
            split_concat: config.split_concat,
            exact_kernels: config.exact_kernels,
            largest_batch,
        }
    }
}

impl LargestBatch {
    /// The largest batches, of up to `batch` images, that these numbers of images yield.
    pub fn of(batch: u32, train_images: usize, validation_images: usize) -> Self {
        let most = |images: usize| u32::try_from(images).unwrap_or(u32::MAX).min(batch);
        Self {
            train: most(train_images),
            validation: most(validation_images),
        }
    }
}
