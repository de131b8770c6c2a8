//! What a run costs on a device: the one figure that every program shows.
//!
//! A [`Steps`] is a configuration on a device as the estimator sees it: the kernels, a step of
//! training and a batch of validation. Only this file makes one of a device, so that everybody who
//! predicts, plans or explains a run speaks of the same steps, or gives the same reason for silence.

use config::{AmpDtype, RunConfig};
use machine::{InstructionSet, Processor};
use schedule::Element;

use crate::step::{Batch, Cpu, Cuda, HalfPrecision, Isa, Machine, MemoryFormat, Purpose, Resident};
use crate::{EstimateError, EvaluationStep, Peak, Speed, StepMemory, TrainingStep};

/// Why memory is not predicted: kernels that nobody has measured. A fragment after "because ".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unknown {
    /// No instruction set that libtorch has vector kernels for.
    #[error("this CPU has neither AVX512 nor AVX2")]
    InstructionSet,
    /// fp16 on a CPU.
    #[error("the kernels for fp16 on a CPU have not been measured")]
    Fp16,
    /// bf16 on a CPU that does not multiply it, or whose kernels are held to AVX2.
    #[error("the kernels that emulate bf16 on a CPU have not been measured")]
    EmulatedBf16,
    /// bf16 on a CPU with AMX, for which oneDNN has other kernels.
    #[error("the kernels for bf16 on a CPU with AMX have not been measured")]
    Amx,
}

/// The type that AMP computes in on a device; `None` without AMP, and where `auto` stays with fp32
/// because a CPU cannot multiply bf16.
pub fn half(config: &RunConfig, on: &Processor) -> Option<HalfPrecision> {
    match (config.use_amp, config.amp_dtype, on) {
        (false, ..) => None,
        (true, AmpDtype::Fp16, _) | (true, AmpDtype::Auto, Processor::Gpu { .. }) => {
            Some(HalfPrecision::Fp16)
        }
        (true, AmpDtype::Auto, Processor::Cpu(cpu)) if !cpu.bf16 => None,
        (true, AmpDtype::Bf16 | AmpDtype::Auto, _) => Some(HalfPrecision::Bf16),
    }
}

impl Machine {
    /// Whether peaks are upper bounds, and not what is measured.
    pub const fn is_bounded(self) -> bool {
        match self {
            Self::Cpu(cpu) => cpu.is_bounded(),
            Self::Cuda(_) => false,
        }
    }

    /// A device as a step of the configuration finds it.
    ///
    /// # Errors
    /// [`Unknown`] where nobody has measured what the kernels allocate.
    pub fn of(on: &Processor, config: &RunConfig) -> Result<Self, Unknown> {
        let half = half(config, on);
        let cpu = match on {
            Processor::Gpu {
                compute_capability, ..
            } => {
                return Ok(Self::Cuda(Cuda {
                    half: half.unwrap_or(HalfPrecision::Fp16),
                    channels_last: config.use_channels_last,
                    ..Cuda::new(*compute_capability)
                }));
            }
            Processor::Cpu(cpu) => cpu,
        };
        let isa = match cpu.instruction_set {
            InstructionSet::Avx512 => Isa::Avx512,
            InstructionSet::Avx2 => Isa::Avx2,
            InstructionSet::Other => return Err(Unknown::InstructionSet),
        };
        let emulates_bf16 = !cpu.bf16 || isa == Isa::Avx2;
        match half {
            Some(HalfPrecision::Fp16) => Err(Unknown::Fp16),
            Some(HalfPrecision::Bf16) if cpu.amx_bf16 => Err(Unknown::Amx),
            Some(HalfPrecision::Bf16) if emulates_bf16 => Err(Unknown::EmulatedBf16),
            Some(HalfPrecision::Bf16) | None => Ok(Self::Cpu(Cpu {
                threads: cpu.threads,
                isa,
                memory_format: if config.use_channels_last {
                    MemoryFormat::ChannelsLast
                } else {
                    MemoryFormat::ChannelsFirst
                },
            })),
        }
    }
}

/// What a run does on a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// The device as the estimator knows it.
    pub machine: Machine,
    /// A step of training, which is handed its batch ([`Batch::HandedOver`]).
    pub training: TrainingStep,
    /// A batch of validation between epochs.
    pub validation: EvaluationStep,
}

/// What a run costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// The peak of a training step.
    pub training: Peak,
    /// The peak of a validation. It is the higher one where a training step keeps little.
    pub validation: Peak,
    /// Tensor bytes at the higher of the two; on CUDA those of the allocator's blocks.
    pub allocated_bytes: u64,
    /// What the caching allocator of CUDA holds; `None` on a CPU.
    pub reserved_bytes: Option<u64>,
    /// Whether the figures of memory are upper bounds, and not what is measured: on a CPU with AVX2,
    /// and channels-first.
    pub is_bound: bool,
    /// With the CUDA context: what the device has to have. On a CPU the same as allocated.
    pub total_bytes: u64,
    /// Of an optimizer step, all micro-batches. It serves to compare recipes where the speed of the
    /// device is not known ([`Speed::is_known`]).
    pub step_seconds: f64,
    /// While training.
    pub images_per_second: f64,
}

impl Steps {
    /// A run of a configuration on a device.
    ///
    /// # Errors
    /// [`EstimateError::Unknown`] where the kernels have not been measured, and
    /// [`EstimateError::PolicyAuto`] for the policy `auto`, which is none until one is chosen.
    pub fn of(config: &RunConfig, on: &Processor) -> Result<Self, EstimateError> {
        let machine = Machine::of(on, config)?;
        let element = match half(config, on) {
            Some(_) => Element::Half,
            None => Element::Single,
        };
        let training = TrainingStep::of(config, element).ok_or(EstimateError::PolicyAuto)?;
        let validation = EvaluationStep {
            network: training.network,
            size: training.size,
            batch: training.batch,
            element,
            purpose: Purpose::Scores,
            resident: Resident::Training,
        };
        Ok(Self {
            machine,
            training,
            validation,
        })
    }

    /// On this many images: no batch has more than there are.
    #[must_use]
    pub fn on_images(mut self, training: usize, validation: usize) -> Self {
        let most = |batch: u32, images: usize| batch.min(u32::try_from(images).unwrap_or(u32::MAX));
        self.training.batch = most(self.training.batch, training);
        self.validation.batch = most(self.validation.batch, validation);
        self
    }

    /// What it costs at the speed of a device.
    ///
    /// # Errors
    /// As [`TrainingStep::peak`].
    pub fn forecast(&self, speed: &Speed) -> Result<Forecast, EstimateError> {
        let training = self.training.peak(self.machine, Batch::HandedOver)?;
        let validation = self.validation.peak(self.machine)?;
        let step_seconds = self.training.seconds(self.machine, speed)?;
        let images = f64::from(self.training.batch) * f64::from(self.training.accumulation);
        let of_steps = Forecast {
            training,
            validation,
            allocated_bytes: 0,
            reserved_bytes: None,
            total_bytes: 0,
            is_bound: self.machine.is_bounded(),
            step_seconds,
            images_per_second: images / step_seconds,
        };
        Ok(of_steps.summed(self.machine))
    }

    /// Lets the allocator of CUDA hold no more than `cap_bytes` while training, so that it has to give
    /// back what it caches. Unchanged where a step goes out of memory with it.
    ///
    /// # Errors
    /// As [`TrainingStep::peak`].
    pub fn cap(&mut self, forecast: Forecast, cap_bytes: u64) -> Result<Forecast, EstimateError> {
        let Machine::Cuda(cuda) = self.machine else {
            return Ok(forecast);
        };
        let capped = Cuda {
            cap_bytes: Some(cap_bytes),
            ..cuda
        };
        match self.training.peak(capped, Batch::HandedOver) {
            Ok(training) => {
                self.machine = capped.into();
                let within = Forecast {
                    training,
                    ..forecast
                };
                Ok(within.summed(self.machine))
            }
            Err(EstimateError::OutOfMemory(_)) => Ok(forecast),
            Err(error) => Err(error),
        }
    }

    /// The step with the higher peak, operation by operation.
    ///
    /// # Errors
    /// As [`TrainingStep::memory`].
    pub fn memory(&self, forecast: &Forecast) -> Result<StepMemory, EstimateError> {
        if !forecast.is_of_validation() {
            return self.training.memory(self.machine, Batch::HandedOver);
        }
        // A cap is for training.
        self.validation.memory(match self.machine {
            Machine::Cuda(cuda) => Machine::Cuda(Cuda {
                cap_bytes: None,
                ..cuda
            }),
            cpu @ Machine::Cpu(_) => cpu,
        })
    }
}

impl Forecast {
    /// What a run of a configuration costs on a device, before any measurement there corrects it.
    ///
    /// # Errors
    /// As [`Steps::of`] and [`TrainingStep::peak`].
    pub fn of(config: &RunConfig, on: &Processor) -> Result<Self, EstimateError> {
        let steps = Steps::of(config, on)?;
        steps.forecast(&Speed::of(on, steps.training.element))
    }

    /// The higher of the two peaks.
    pub const fn peak(&self) -> &Peak {
        if self.is_of_validation() {
            &self.validation
        } else {
            &self.training
        }
    }

    /// Whether a batch of validation takes more than a step of training.
    pub const fn is_of_validation(&self) -> bool {
        self.validation.bytes > self.training.bytes
    }

    /// With what follows from the two peaks.
    fn summed(self, machine: Machine) -> Self {
        let (training, validation) = (&self.training, &self.validation);
        Self {
            allocated_bytes: training.bytes.max(validation.bytes),
            reserved_bytes: training.reserved_bytes.max(validation.reserved_bytes),
            total_bytes: training
                .total_bytes(machine)
                .max(validation.total_bytes(machine)),
            ..self
        }
    }
}
