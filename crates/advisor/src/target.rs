//! A device as the advisor sees it: what computes there, the memory that a run may take, and what
//! measurements on it have taught.

use config::{Bytes, Precision, RunConfig};
use estimator::{
    Batch, Cpu, Cuda, EstimateError, Forecast, Machine, Planner, Speed, StepMemory, Steps,
    TrainingStep,
};
use machine::{Device, Processor};

use crate::ledger::{self, Corrections, Fitted};
use crate::tuned::Tuned;

/// Where a run would take place.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    processor: Processor,
    /// What a run may take, all in all; `None` where nothing says.
    budget: Option<Bytes>,
    /// Images to train on and to validate on, where the data is known.
    images: Option<(usize, usize)>,
    /// Equal processes that share the batches of a step.
    ranks: u32,
    /// By measurements on this device.
    tuned: Tuned,
}

/// Share of the free memory that a recipe may be predicted to take. Room for what the prediction
/// may be wrong by: on CUDA its workspaces and context are not measured yet.
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
    /// The device of an advice, with the memory that is free there.
    pub fn of(device: &Device) -> Self {
        let free = match device {
            Device::Cpu { available, .. } => *available,
            _ => device.memory(),
        };
        Self::new(device.processor(), free)
    }

    /// A GPU or a CPU with this much free memory; without a figure everything fits.
    pub fn new(processor: Processor, free: Option<Bytes>) -> Self {
        let anywhere = Self {
            processor,
            budget: None,
            images: None,
            ranks: 1,
            tuned: Tuned::default(),
        };
        anywhere.with_free(free)
    }

    /// For a run on this many images to train on, and to validate on: no batch has more.
    #[must_use]
    pub fn with_images(self, training: usize, validation: usize) -> Self {
        Self {
            images: Some((training, validation)),
            ..self
        }
    }

    /// For one of several ranks, each on such a device. Steps are predicted as the one with the most batches computes them,
    /// without what ranks send each other.
    #[must_use]
    pub fn shared_by(self, ranks: u32) -> Self {
        Self {
            ranks: ranks.max(1),
            ..self
        }
    }

    /// What one rank computes of a step.
    fn share_of(&self, config: &RunConfig) -> RunConfig {
        RunConfig {
            accumulation: config.accumulation.div_ceil(self.ranks),
            ..config.clone()
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

    /// What the device takes of its memory for a program, besides tensors; nothing on a CPU.
    pub const fn context(&self) -> Bytes {
        match self.processor {
            Processor::Gpu {
                compute_capability, ..
            } => Bytes(Cuda::new(compute_capability).context_bytes()),
            Processor::Cpu(_) => Bytes(0),
        }
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

    /// Whether predicted times are of this device, or of one that is alike.
    pub fn speed_is_known(&self) -> bool {
        Speed::is_known(&self.processor)
    }

    /// What computes there.
    pub const fn processor(&self) -> &Processor {
        &self.processor
    }

    /// Whether the device is a GPU.
    pub const fn is_cuda(&self) -> bool {
        self.processor.is_gpu()
    }

    /// Whether mixed precision halves activations here, and what that takes is predicted.
    pub fn predicts_half(&self, config: &RunConfig) -> bool {
        let half = RunConfig {
            use_amp: true,
            ..config.clone()
        };
        self.precision(&half).is_half() && Machine::of(&self.processor, &half).is_ok()
    }

    /// The precision of a configuration here.
    pub const fn precision(&self, config: &RunConfig) -> Precision {
        config.precision_on(self.processor.arithmetic())
    }

    /// How fast the device computes a step of a configuration.
    pub(crate) fn speed(&self, config: &RunConfig) -> Speed {
        let precision = self.benchmarked(config);
        let speed = Speed::of(&self.processor, precision);
        (self.tuned).speed(precision, config.memory_format(), speed)
    }

    /// The precision that benchmarks list such a step under: by default libtorch allows TF32 for
    /// convolutions.
    pub(crate) const fn benchmarked(&self, config: &RunConfig) -> Precision {
        match self.precision(config) {
            Precision::Fp32 if self.is_cuda() => Precision::Tf32,
            precision => precision,
        }
    }

    /// Seconds of a step at a given speed. They are known for kernels, too, whose memory is not.
    pub(crate) fn seconds(&self, config: &RunConfig, speed: &Speed) -> Result<f64, EstimateError> {
        let step = TrainingStep::of(&self.share_of(config), self.precision(config));
        let step = step.ok_or(EstimateError::PolicyAuto)?;
        let exact_kernels = !config.is_fused_on(self.processor.arithmetic());
        let machine: Machine = match self.processor {
            Processor::Gpu {
                compute_capability, ..
            } => Cuda {
                exact_kernels,
                ..Cuda::new(compute_capability)
            }
            .into(),
            Processor::Cpu(cpu) => Cpu {
                memory_format: config.memory_format(),
                exact_kernels,
                ..Cpu::avx512(cpu.threads)
            }
            .into(),
        };
        step.seconds(machine, speed)
    }

    /// A run of a configuration here, step by step.
    ///
    /// # Errors
    /// As [`Steps::of`].
    pub fn steps(&self, config: &RunConfig) -> Result<Steps, EstimateError> {
        let steps = Steps::of(&self.share_of(config), &self.processor)?;
        Ok(match self.images {
            Some((training, validation)) => steps.on_images(training, validation),
            None => steps,
        })
    }

    /// What a configuration will cost, with what measurements here correct. `None` for the policy
    /// `auto`, which is not resolved yet.
    ///
    /// On CUDA the allocator caches freed memory as long as there is room. If that would exceed the
    /// budget, the figures describe an allocator that is limited to the budget and has to give
    /// memory back, since this decides whether a run goes out of memory.
    ///
    /// # Errors
    /// As [`Steps::of`] and [`TrainingStep::peak`].
    pub fn predict(&self, config: &RunConfig) -> Result<Option<Forecast>, EstimateError> {
        match self.forecast(config) {
            Ok((_, forecast)) => Ok(Some(forecast)),
            Err(EstimateError::PolicyAuto) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// As [`Self::predict`], with the steps that the figures are of.
    pub(crate) fn forecast(&self, config: &RunConfig) -> Result<(Steps, Forecast), EstimateError> {
        let mut steps = self.steps(config)?;
        let mut forecast = steps.forecast(&self.speed(config))?;
        if let Some(cap_bytes) = self.cap(&steps, &forecast) {
            forecast = steps.cap(forecast, cap_bytes)?;
        }
        let (precision, format) = (self.benchmarked(config), config.memory_format());
        let forecast = self.tuned.corrected(&forecast, precision, format);
        Ok((steps, forecast))
    }

    /// Predicted seconds of each moment of the step that [`Steps::memory`] or a policy's own walk gave.
    ///
    /// # Errors
    /// As [`Self::predict`].
    pub fn moment_seconds(
        &self,
        config: &RunConfig,
        memory: &StepMemory,
    ) -> Result<Vec<f64>, EstimateError> {
        let Steps {
            machine, training, ..
        } = self.steps(config)?;
        training.moment_seconds(machine, memory, &self.speed(config))
    }

    /// What the allocator may take, where it would like to hold more than the budget.
    fn cap(&self, steps: &Steps, forecast: &Forecast) -> Option<u64> {
        let (machine, budget) = (steps.machine, self.budget?);
        let corrected = |total: u64| self.tuned.corrections.total(Bytes(total)).0;
        let wanted = corrected(forecast.training.total_bytes(machine));
        let beside_tensors = corrected(machine.context_bytes());
        (wanted > budget.0).then(|| budget.0.saturating_sub(beside_tensors))
    }

    /// Of the steps that are like this configuration's but for its policy, which has to be `off`.
    pub(crate) fn planner(&self, off: &RunConfig) -> Result<Planner, EstimateError> {
        let Steps {
            machine, training, ..
        } = self.steps(off)?;
        Planner::new(&training, machine, Batch::HandedOver, self.speed(off))
    }

    /// Whether a prediction is within the budget; without one everything is.
    pub fn fits(&self, forecast: &Forecast) -> bool {
        self.budget
            .is_none_or(|budget| forecast.total_bytes <= budget.0)
    }
}
