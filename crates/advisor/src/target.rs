//! A device as the estimator sees it: its kernels, its speed, and the memory that a run may take.

use config::{AmpDtype, Bytes, RunConfig};
use estimator::{
    Batch, Cuda, EstimateError, EvaluationStep, HalfPrecision, Isa, Machine, MemoryFormat, Purpose,
    Resident, Speed, TrainingStep,
};
use machine::{Card, Cpu, Device, Hardware, InstructionSet, Rates};
use schedule::Element;

use crate::ledger::{self, Corrections, Fitted};
use crate::tuned::Tuned;

/// The predicted cost of a configuration on a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Tensor bytes at the peak of training or validation; on CUDA, the bytes of the allocator's blocks.
    pub allocated_bytes: u64,
    /// The bytes that CUDA's caching allocator reserves; `None` on a CPU.
    pub reserved_bytes: Option<u64>,
    /// The bytes that the device needs, including the CUDA context. On a CPU, the tensor bytes.
    pub total_bytes: u64,
    /// The time of an optimizer step with all its micro-batches. If [`Target::speed_is_known`] is
    /// false, it only serves to compare recipes.
    pub step_seconds: f64,
    /// The training speed.
    pub images_per_second: f64,
}

/// The device that a run would use.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    kind: Kind,
    /// The total memory that a run may take; `None` if unknown.
    budget: Option<Bytes>,
    speed_is_known: bool,
    /// Adjustments from measurements on this device.
    tuned: Tuned,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Cuda {
        compute_capability: (u32, u32),
        rates: Rates,
    },
    Cpu(Cpu),
}

/// The card assumed if only the memory is known. It is from the oldest generation with all types of
/// tensor cores. Its rates only serve to compare recipes.
const TYPICAL: &str = "RTX 3060";
/// The architecture assumed for a card that reports none.
const TYPICAL_CAPABILITY: (u32, u32) = (8, 6);

/// The share of free memory that a recipe may be predicted to take. The rest is a margin for
/// prediction error: on CUDA, workspaces and context are not measured yet.
const SHARE_OF_FREE: f64 = 0.92;
/// The same share for a CPU, whose memory other programs use too.
const SHARE_OF_AVAILABLE: f64 = 0.8;

fn share(bytes: Bytes, share: f64) -> Bytes {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a size, between 0 and it"
    )]
    Bytes((bytes.0 as f64 * share) as u64)
}

impl Target {
    /// The target for a device.
    pub fn of(device: &Device) -> Self {
        let (memory, rates, capability) = match device {
            Device::Cpu { cpu, available, .. } => return Self::of_cpu(*cpu).with_free(*available),
            Device::Given { memory, card } => (
                *memory,
                card.map(|card| card.rates),
                card.map(|card| card.compute_capability),
            ),
            Device::Found { gpu, .. } => (
                gpu.free,
                gpu.peak().map(|peak| peak.rates),
                gpu.facts.compute_capability,
            ),
        };
        Self::of_cuda(memory, capability, rates)
    }

    /// A GPU with this much free memory.
    pub fn of_cuda(
        free: Bytes,
        compute_capability: Option<(u32, u32)>,
        rates: Option<Rates>,
    ) -> Self {
        Self {
            kind: Kind::Cuda {
                compute_capability: compute_capability.unwrap_or(TYPICAL_CAPABILITY),
                rates: rates.unwrap_or_else(typical_rates),
            },
            budget: Some(share(free, SHARE_OF_FREE)),
            speed_is_known: rates.is_some(),
            tuned: Tuned::default(),
        }
    }

    /// A CPU, on which everything fits until [`Self::with_free`] says what is free.
    pub fn of_cpu(cpu: Cpu) -> Self {
        Self {
            kind: Kind::Cpu(cpu),
            budget: None,
            // The rates were measured on one machine with AVX512.
            speed_is_known: cpu.instruction_set == InstructionSet::Avx512,
            tuned: Tuned::default(),
        }
    }

    /// Returns the target with another budget.
    #[must_use]
    pub fn with_budget(self, budget: Bytes) -> Self {
        Self {
            budget: Some(budget),
            ..self
        }
    }

    /// The memory that a program takes on the device besides tensors; nothing on a CPU.
    pub fn context(&self, config: &RunConfig) -> Bytes {
        Bytes(self.machine(config).context_bytes())
    }

    /// The card that is assumed if only the memory is known; see also `--gpu`.
    pub fn typical_card() -> Option<&'static Card> {
        Hardware::lookup(TYPICAL)
    }

    /// Returns the target with this much free memory. With `None`, everything fits.
    #[must_use]
    pub fn with_free(&self, free: Option<Bytes>) -> Self {
        let share_of_free = if self.is_cuda() {
            SHARE_OF_FREE
        } else {
            SHARE_OF_AVAILABLE
        };
        Self {
            budget: free.map(|free| share(free, share_of_free)),
            ..self.clone()
        }
    }

    /// Returns the target with the rates that were fitted on such a device, if there are any.
    #[must_use]
    pub fn with_rates(mut self, rates: &[Fitted], device: &ledger::Device) -> Self {
        self.tuned.take(rates, device);
        self
    }

    /// Returns the target with the corrections from the runs on the device.
    #[must_use]
    pub const fn with_corrections(mut self, corrections: Corrections) -> Self {
        self.tuned.corrections = corrections;
        self
    }

    /// What measurements on the device change, one line per change.
    pub fn notes(&self) -> Vec<String> {
        self.tuned.notes()
    }

    /// Whether predictions for the device were compared with measurements on it, either by a run in
    /// the ledger or by a calibration.
    pub const fn is_compared(&self) -> bool {
        self.tuned.is_compared()
    }

    /// The total memory that a run may take.
    pub const fn budget(&self) -> Option<Bytes> {
        self.budget
    }

    /// Whether predicted times are for this device or a similar one.
    pub const fn speed_is_known(&self) -> bool {
        self.speed_is_known
    }

    /// Whether the device is a GPU.
    pub const fn is_cuda(&self) -> bool {
        matches!(self.kind, Kind::Cuda { .. })
    }

    /// Whether mixed precision halves activations here. On a CPU that cannot multiply bf16, `auto`
    /// stays with fp32.
    pub const fn has_half(&self) -> bool {
        match self.kind {
            Kind::Cuda { .. } => true,
            Kind::Cpu(cpu) => cpu.bf16,
        }
    }

    /// The type of the activations.
    pub fn element(&self, config: &RunConfig) -> Element {
        let is_half = config.use_amp && (self.has_half() || config.amp_dtype != AmpDtype::Auto);
        if is_half {
            Element::Half
        } else {
            Element::Single
        }
    }

    /// The device as the estimator describes it for a configuration.
    pub fn machine(&self, config: &RunConfig) -> Machine {
        match self.kind {
            Kind::Cuda {
                compute_capability, ..
            } => {
                let mut cuda = Cuda::new(compute_capability);
                cuda.channels_last = config.use_channels_last;
                if config.amp_dtype == AmpDtype::Bf16 {
                    cuda.half = HalfPrecision::Bf16;
                }
                cuda.into()
            }
            Kind::Cpu(cpu) => estimator::Cpu {
                threads: cpu.threads,
                isa: match cpu.instruction_set {
                    InstructionSet::Avx512 => Isa::Avx512,
                    InstructionSet::Avx2 | InstructionSet::Other => Isa::Avx2,
                },
                memory_format: if config.use_channels_last {
                    MemoryFormat::ChannelsLast
                } else {
                    MemoryFormat::ChannelsFirst
                },
            }
            .into(),
        }
    }

    /// How fast the device computes a step of a configuration.
    pub fn speed(&self, config: &RunConfig) -> Speed {
        let element = self.element(config);
        let speed = match &self.kind {
            Kind::Cuda { rates, .. } => Speed::of_gpu(rates, element),
            Kind::Cpu(cpu) => Speed::of_cpu(cpu.threads, element),
        };
        let precision = self.precision(config);
        self.tuned.speed(precision, config.use_channels_last, speed)
    }

    /// The precision under the name that benchmarks use.
    pub(crate) fn precision(&self, config: &RunConfig) -> &'static str {
        match (self.element(config), self.is_cuda()) {
            // libtorch allows TF32 for convolutions by default.
            (Element::Single, true) => "tf32",
            (Element::Single, false) => "fp32",
            (Element::Half, true) if config.amp_dtype != AmpDtype::Bf16 => "fp16",
            (Element::Half, false) if config.amp_dtype == AmpDtype::Fp16 => "fp16",
            (Element::Half, _) => "bf16",
        }
    }

    /// The seconds of a step at a given speed.
    pub(crate) fn seconds(&self, config: &RunConfig, speed: &Speed) -> Result<f64, EstimateError> {
        let step = self.step(config).ok_or(EstimateError::Schedule)?;
        step.seconds(self.machine(config), speed)
    }

    /// The step of a configuration; `None` for the policy `auto`.
    pub(crate) fn step(&self, config: &RunConfig) -> Option<TrainingStep> {
        TrainingStep::of(config, self.element(config))
    }

    /// Predicts the cost of a configuration. Returns `None` for the policy `auto`, which is not resolved yet.
    ///
    /// On CUDA the allocator caches freed memory as long as there is room. If that would exceed the
    /// budget, the figures describe an allocator that is limited to the budget and has to give
    /// memory back, since this decides whether a run goes out of memory.
    ///
    /// # Errors
    /// Fails as [`TrainingStep::peak`] does.
    pub fn predict(&self, config: &RunConfig) -> Result<Option<Prediction>, EstimateError> {
        let Some(step) = self.step(config) else {
            return Ok(None);
        };
        let machine = self.machine(config);
        let mut peak = step.peak(machine, Batch::HandedOver)?;
        if let (Machine::Cuda(cuda), Some(budget)) = (machine, self.budget)
            && self.corrected_bytes(peak.total_bytes(machine)) > budget.0
        {
            let beside_tensors = self.corrected_bytes(machine.context_bytes());
            let cap_bytes = Some(budget.0.saturating_sub(beside_tensors));
            let capped = Cuda { cap_bytes, ..cuda };
            match step.peak(capped, Batch::HandedOver) {
                Ok(within) => peak = within,
                Err(EstimateError::OutOfMemory(_)) => {}
                Err(error) => return Err(error),
            }
        }
        // If a training step keeps little, a validation step can take more.
        let validation = EvaluationStep {
            network: step.network,
            size: step.size,
            batch: step.batch,
            element: step.element,
            purpose: Purpose::Scores,
            resident: Resident::Training,
        };
        let validation = validation.peak(machine)?;
        let step_seconds = step.seconds(machine, &self.speed(config))?;
        let prediction = Prediction {
            allocated_bytes: peak.bytes.max(validation.bytes),
            reserved_bytes: peak.reserved_bytes.max(validation.reserved_bytes),
            total_bytes: (peak.total_bytes(machine)).max(validation.total_bytes(machine)),
            step_seconds,
            images_per_second: config.effective_batch() as f64 / step_seconds,
        };
        let (precision, channels_last) = (self.precision(config), config.use_channels_last);
        let tuned = &self.tuned;
        Ok(Some(tuned.corrected(prediction, precision, channels_last)))
    }

    fn corrected_bytes(&self, total: u64) -> u64 {
        self.tuned.corrections.total(Bytes(total)).0
    }

    /// Whether a prediction is within the budget. Without a budget, everything is.
    pub fn fits(&self, prediction: &Prediction) -> bool {
        self.budget
            .is_none_or(|budget| prediction.total_bytes <= budget.0)
    }
}

fn typical_rates() -> Rates {
    Target::typical_card()
        .or_else(|| Hardware::cards().first())
        .map_or(
            Rates {
                memory_bytes_per_second: 360e9,
                fp32_flops: 12.7e12,
                tf32_flops: None,
                fp16_flops: None,
                bf16_flops: None,
            },
            |card| card.rates,
        )
}
