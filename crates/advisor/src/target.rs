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

/// What a configuration will cost on a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Tensor bytes at the peak of training or validation; on CUDA those of the allocator's blocks.
    pub allocated_bytes: u64,
    /// What the caching allocator of CUDA holds; `None` on a CPU.
    pub reserved_bytes: Option<u64>,
    /// With the CUDA context: what the device has to have. On a CPU that of tensors.
    pub total_bytes: u64,
    /// Of an optimizer step, all micro-batches. Of use to compare recipes where
    /// [`Target::speed_is_known`] is false.
    pub step_seconds: f64,
    /// While training.
    pub images_per_second: f64,
}

/// Where a run would take place.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    kind: Kind,
    /// What a run may take, all in all; `None` where nothing says.
    budget: Option<Bytes>,
    speed_is_known: bool,
    /// By measurements on this device.
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

/// A card where only its memory is known: that of the smallest generation with all types of tensor
/// cores. Rates serve to compare recipes alone.
const TYPICAL: &str = "RTX 3060";
/// Architecture of a card that says none.
const TYPICAL_CAPABILITY: (u32, u32) = (8, 6);

/// Share of the free memory that a recipe may be predicted to take. Room for what the prediction
/// may be wrong by: on CUDA its workspaces and context are not measured yet.
const SHARE_OF_FREE: f64 = 0.92;
/// The same of a CPU's memory, which other programs ask for too.
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
    /// The device of an advice.
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

    /// A GPU with so much free memory.
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
            // Rates of one machine, with AVX512.
            speed_is_known: cpu.instruction_set == InstructionSet::Avx512,
            tuned: Tuned::default(),
        }
    }

    /// The same with another budget.
    #[must_use]
    pub fn with_budget(self, budget: Bytes) -> Self {
        Self {
            budget: Some(budget),
            ..self
        }
    }

    /// What the device takes of its memory for a program, beside tensors; nothing on a CPU.
    pub fn context(&self, config: &RunConfig) -> Bytes {
        Bytes(self.machine(config).context_bytes())
    }

    /// The card where only memory is known; see also `--gpu`.
    pub fn typical_card() -> Option<&'static Card> {
        Hardware::lookup(TYPICAL)
    }

    /// The same device with so much free memory; without a figure everything fits.
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

    /// With the rates that were fitted on such a device, where there are some.
    #[must_use]
    pub fn with_rates(mut self, rates: &[Fitted], device: &ledger::Device) -> Self {
        self.tuned.take(rates, device);
        self
    }

    /// With what the device's runs teach.
    #[must_use]
    pub const fn with_corrections(mut self, corrections: Corrections) -> Self {
        self.tuned.corrections = corrections;
        self
    }

    /// What measurements on the device change, a line each.
    pub fn notes(&self) -> Vec<String> {
        self.tuned.notes()
    }

    /// Whether predictions for the device were compared with measurements on it, by a run that the
    /// ledger has or by a calibration.
    pub const fn is_compared(&self) -> bool {
        self.tuned.is_compared()
    }

    /// What a run may take, all in all.
    pub const fn budget(&self) -> Option<Bytes> {
        self.budget
    }

    /// Whether predicted times are of this device, or of one that is alike.
    pub const fn speed_is_known(&self) -> bool {
        self.speed_is_known
    }

    /// Whether it is a GPU.
    pub const fn is_cuda(&self) -> bool {
        matches!(self.kind, Kind::Cuda { .. })
    }

    /// Whether mixed precision halves activations here; on a CPU that cannot multiply bf16 `auto`
    /// stays with fp32.
    pub const fn has_half(&self) -> bool {
        match self.kind {
            Kind::Cuda { .. } => true,
            Kind::Cpu(cpu) => cpu.bf16,
        }
    }

    /// In which type activations are.
    pub fn element(&self, config: &RunConfig) -> Element {
        let is_half = config.use_amp && (self.has_half() || config.amp_dtype != AmpDtype::Auto);
        if is_half {
            Element::Half
        } else {
            Element::Single
        }
    }

    /// The device as the estimator knows it, for a configuration.
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

    /// As benchmarks name it.
    pub(crate) fn precision(&self, config: &RunConfig) -> &'static str {
        match (self.element(config), self.is_cuda()) {
            // libtorch allows it convolutions by itself.
            (Element::Single, true) => "tf32",
            (Element::Single, false) => "fp32",
            (Element::Half, true) if config.amp_dtype != AmpDtype::Bf16 => "fp16",
            (Element::Half, false) if config.amp_dtype == AmpDtype::Fp16 => "fp16",
            (Element::Half, _) => "bf16",
        }
    }

    /// Seconds of a step at a given speed.
    pub(crate) fn seconds(&self, config: &RunConfig, speed: &Speed) -> Result<f64, EstimateError> {
        let step = self.step(config).ok_or(EstimateError::Schedule)?;
        step.seconds(self.machine(config), speed)
    }

    /// The step of a configuration; `None` for the policy `auto`.
    pub(crate) fn step(&self, config: &RunConfig) -> Option<TrainingStep> {
        TrainingStep::of(config, self.element(config))
    }

    /// What a configuration will cost. `None` for the policy `auto`, which is none yet.
    ///
    /// On CUDA the allocator keeps what tensors leave as long as there is room. Where that is more
    /// than the budget, the figures are of an allocator that may not take more, and so has to give
    /// back: that is what decides whether a run goes out of memory.
    ///
    /// # Errors
    /// As [`TrainingStep::peak`].
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
        // Where a step of training keeps little, one of validation can take more.
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

    /// Whether a prediction is within the budget; without one everything is.
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
