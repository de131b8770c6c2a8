//! The cost of a run on a device: the figure that every program shows.
//!
//! A [`Steps`] describes a configuration on a device for the estimator: the kernels, a training
//! step and a validation batch. Only this file builds one from a device, so that all code that
//! predicts, plans or explains a run uses the same steps, or gives the same reason why it cannot.

use config::{Precision, RunConfig};
use machine::{InstructionSet, Processor};

use crate::step::{Batch, Cpu, Cuda, Isa, Machine, Purpose, Resident};
use crate::{EstimateError, EvaluationStep, Peak, Speed, StepMemory, TrainingStep};

/// Why memory is not predicted: the kernels have not been measured. The message is a fragment after
/// "because ".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unknown {
    /// The CPU has no instruction set for which libtorch has vector kernels.
    #[error("this CPU has neither AVX512 nor AVX2")]
    InstructionSet,
    /// fp16 on a CPU.
    #[error("the kernels for fp16 on a CPU have not been measured")]
    Fp16,
    /// bf16 on a CPU that cannot multiply it, or whose kernels are restricted to AVX2.
    #[error("the kernels that emulate bf16 on a CPU have not been measured")]
    EmulatedBf16,
}

impl Machine {
    /// Whether peaks are upper bounds rather than the measured figures.
    pub const fn is_bounded(self) -> bool {
        match self {
            Self::Cpu(cpu) => cpu.is_bounded(),
            Self::Cuda(_) => false,
        }
    }

    /// The device as a step of the configuration uses it.
    ///
    /// # Errors
    /// [`Unknown`] if the memory that the kernels allocate has not been measured.
    pub fn of(on: &Processor, config: &RunConfig) -> Result<Self, Unknown> {
        let memory_format = config.memory_format();
        let exact_kernels = !config.is_fused_on(on.arithmetic());
        let cpu = match on {
            Processor::Gpu {
                compute_capability,
                segments,
                ..
            } => {
                return Ok(Self::Cuda(Cuda {
                    memory_format,
                    segments: *segments,
                    exact_kernels,
                    is_deterministic: config.deterministic,
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
        match config.precision_on(on.arithmetic()) {
            Precision::Fp16 => Err(Unknown::Fp16),
            Precision::Bf16 if emulates_bf16 => Err(Unknown::EmulatedBf16),
            precision => Ok(Self::Cpu(Cpu {
                threads: cpu.threads,
                isa: if precision == Precision::Bf16 && cpu.amx_bf16 {
                    Isa::Amx
                } else {
                    isa
                },
                memory_format,
                exact_kernels,
            })),
        }
    }
}

/// The steps of a run on a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// The device, as the estimator models it.
    pub machine: Machine,
    /// A training step, to which the batch is handed over ([`Batch::HandedOver`]).
    pub training: TrainingStep,
    /// A validation batch between epochs.
    pub validation: EvaluationStep,
}

/// The predicted cost of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// The peak of a training step.
    pub training: Peak,
    /// The peak of a validation batch. It is the higher one if a training step keeps little.
    pub validation: Peak,
    /// Tensor bytes at the higher of the two peaks; on CUDA, bytes of the allocator's blocks.
    pub allocated_bytes: u64,
    /// Bytes that the CUDA caching allocator holds; `None` on a CPU.
    pub reserved_bytes: Option<u64>,
    /// Whether the memory figures are upper bounds rather than the measured figures, as on a CPU
    /// with AVX2 or channels-first.
    pub is_bound: bool,
    /// The memory that the device must have, including the CUDA context. On a CPU, the same as
    /// allocated.
    pub total_bytes: u64,
    /// Seconds of an optimizer step with all its micro-batches. If the speed of the device is
    /// unknown ([`Speed::is_known`]), this serves only to compare recipes.
    pub step_seconds: f64,
    /// Images per second while training.
    pub images_per_second: f64,
}

impl Steps {
    /// The steps of a run of a configuration on a device.
    ///
    /// # Errors
    /// [`EstimateError::Unknown`] if the kernels have not been measured, and
    /// [`EstimateError::PolicyAuto`] for the policy `auto`, for which a policy must be chosen
    /// first.
    pub fn of(config: &RunConfig, on: &Processor) -> Result<Self, EstimateError> {
        let machine = Machine::of(on, config)?;
        let precision = config.precision_on(on.arithmetic());
        let training = TrainingStep::of(config, precision).ok_or(EstimateError::PolicyAuto)?;
        let validation = EvaluationStep {
            network: training.network,
            size: training.size,
            batch: training.batch,
            precision,
            purpose: Purpose::Scores,
            resident: Resident::Training,
            // Where windows overlap, pixels are ignored in all but one.
            ignores: training.ignores || config.crop,
        };
        Ok(Self {
            machine,
            training,
            validation,
        })
    }

    /// The same steps with this many images available: no batch has more images than that.
    #[must_use]
    pub fn on_images(mut self, training: usize, validation: usize) -> Self {
        let most = |batch: u32, images: usize| batch.min(u32::try_from(images).unwrap_or(u32::MAX));
        self.training.batch = most(self.training.batch, training);
        self.validation.batch = most(self.validation.batch, validation);
        self
    }

    /// The cost at the speed of a device.
    ///
    /// # Errors
    /// The same as [`TrainingStep::peak`].
    pub fn forecast(&self, speed: &Speed) -> Result<Forecast, EstimateError> {
        let (training, validation) = self.training.peaks_with(&self.validation, self.machine)?;
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

    /// Limits the CUDA allocator to `cap_bytes` while training, so that it has to release its
    /// cache. The forecast stays unchanged if a step runs out of memory with this cap.
    ///
    /// # Errors
    /// The same as [`TrainingStep::peak`].
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
    /// The same as [`TrainingStep::memory`].
    pub fn memory(&self, forecast: &Forecast) -> Result<StepMemory, EstimateError> {
        if !forecast.is_of_validation() {
            return self.training.memory(self.machine, Batch::HandedOver);
        }
        // A cap applies only to training.
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
    /// The cost of a run of a configuration on a device, before any measurement there corrects it.
    ///
    /// # Errors
    /// The same as [`Steps::of`] and [`TrainingStep::peak`].
    pub fn of(config: &RunConfig, on: &Processor) -> Result<Self, EstimateError> {
        let steps = Steps::of(config, on)?;
        steps.forecast(&Speed::of(on, steps.training.precision))
    }

    /// The higher of the two peaks.
    pub const fn peak(&self) -> &Peak {
        if self.is_of_validation() {
            &self.validation
        } else {
            &self.training
        }
    }

    /// Whether a validation batch takes more memory than a training step.
    pub const fn is_of_validation(&self) -> bool {
        self.validation.bytes > self.training.bytes
    }

    /// Fills in the figures that follow from the two peaks.
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
