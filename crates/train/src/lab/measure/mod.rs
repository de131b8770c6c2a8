//! One training step outside a run, for measurements: a run's [`Learner`], on images that already exist
//! or on batches of bytes in turn. Also one batch of a validation, and all of them on a GPU.

mod evaluation;
mod on_gpu;

use std::time::{Duration, Instant};

use config::{Precision, RunConfig};
use tch::{Device, Tensor};
use torch_ext::probe::OperatorTime;
use torch_ext::record::{Record, Recording};

use engine::Result;
use engine::batch::{MicroBatch, Pixels, noise};
use engine::device;
use engine::graph::{EAGER_STEPS, StepGraph};
use engine::learner::{Learner, Phase, StepHooks};
use engine::loss::PixelWeight;
use engine::model::UNet;

pub use evaluation::EvaluationProbe;
pub use on_gpu::GpuProbe;

/// A training step to be measured.
#[derive(Debug)]
pub struct StepProbe {
    learner: Learner,
    accumulation: u32,
    input: Input,
    /// As in [`MicroBatch`].
    ignoring: Option<PixelWeight>,
    /// Eager steps up to now, and a recorded one after [`EAGER_STEPS`] of them, if steps are to be CUDA graphs.
    graph: Option<(u32, Option<StepGraph>)>,
}

/// The input of a measured step.
#[derive(Debug)]
enum Input {
    /// Images `[N, C, H, W]` in fp32 and masks, the same at each step.
    Images(Tensor, Tensor),
    /// Bytes `[N, H, W, C]` and masks on the device, one batch after the other, as in the training
    /// loop: the conversion to images is part of the step.
    Bytes {
        batches: Vec<(Tensor, Tensor)>,
        next: usize,
    },
}

impl StepProbe {
    /// Builds the model, the optimizer state and a batch of noise for `config`.
    ///
    /// # Errors
    /// If memory runs out, or the checkpoint policy is not chosen yet.
    pub fn new(config: &RunConfig, device: Device, precision: Precision) -> Result<Self> {
        let learner = Learner::new(config, device, precision)?;
        let batch = noise(config, config.seed);
        let (images, masks) = learner.upload.batch(&batch)?;
        Ok(Self {
            ignoring: PixelWeight::of(&batch),
            ..Self::on(learner, config, Input::Images(images, masks))
        })
    }

    /// A step on batches in turn: bytes `[N, H, W, C]` and masks `[N, H, W]`. All pixels count.
    ///
    /// # Errors
    /// The errors of [`Self::new`], and if there is no batch.
    pub fn on_bytes(
        config: &RunConfig,
        device: Device,
        precision: Precision,
        batches: Vec<(Tensor, Tensor)>,
    ) -> Result<Self> {
        if batches.is_empty() {
            return Err(torch_ext::Error::InvalidArgument("no batches".to_owned()).into());
        }
        let learner = Learner::new(config, device, precision)?;
        Ok(Self::on(learner, config, Input::Bytes { batches, next: 0 }))
    }

    const fn on(learner: Learner, config: &RunConfig, input: Input) -> Self {
        Self {
            learner,
            accumulation: config.accumulation,
            input,
            ignoring: None,
            graph: None,
        }
    }

    /// Takes steps as CUDA graphs, as soon as there were enough eager ones.
    #[must_use]
    pub fn recorded(self) -> Self {
        Self {
            graph: Some((0, None)),
            ..self
        }
    }

    /// The model.
    pub const fn model(&self) -> &UNet {
        &self.learner.model
    }

    /// One step, gradients set to none at its end.
    ///
    /// # Errors
    /// If memory runs out, or a recompute fails.
    pub fn step(&mut self) -> Result<()> {
        let Some((eager, recorded)) = &mut self.graph else {
            return self.step_with(&mut ());
        };
        if *eager < EAGER_STEPS {
            *eager += 1;
            return self.step_with(&mut ());
        }
        let micro_batches = self.input.micro_batches(self.accumulation, self.ignoring);
        let micro_batches: Vec<_> = micro_batches.collect();
        let recorded = if let Some(recorded) = recorded {
            recorded
        } else {
            let all = micro_batches.clone();
            recorded.insert(StepGraph::of(&mut self.learner, all, &mut (), |_| Ok(()))?)
        };
        recorded.replay(&mut self.learner, micro_batches)
    }

    /// One step, and the loss of its last micro-batch, for which it waits.
    ///
    /// # Errors
    /// The errors of [`Self::step`].
    pub fn step_with_loss(&mut self) -> Result<f64> {
        let mut loss = LastLoss(f64::NAN);
        if let Some((eager, _)) = &mut self.graph {
            *eager += 1;
        }
        self.step_with(&mut loss)?;
        Ok(loss.0)
    }

    fn step_with(&mut self, hooks: &mut impl StepHooks) -> Result<()> {
        let micro_batches = self.input.micro_batches(self.accumulation, self.ignoring);
        let _is_skipped = self.learner.step(micro_batches, hooks)?;
        Ok(())
    }

    /// Milliseconds of each of `count` steps on the CPU; on CUDA, where the host does not wait between
    /// steps, their mean.
    ///
    /// # Errors
    /// The errors of [`Self::step`].
    pub fn timed_steps(&mut self, count: u32) -> Result<Vec<f64>> {
        if !self.learner.device().is_cuda() {
            let times = (0..count).map(|_| Ok(self.timed_step()?.as_secs_f64() * 1e3));
            return times.collect();
        }
        device::synchronize(self.learner.device());
        let started = Instant::now();
        for _ in 0..count {
            self.step()?;
        }
        device::synchronize(self.learner.device());
        Ok(vec![
            started.elapsed().as_secs_f64() * 1e3 / f64::from(count.max(1)),
        ])
    }

    /// Time of one step, and the host's part of it: on the CPU the time outside all operators, on CUDA the
    /// time until the last kernel was launched.
    ///
    /// # Errors
    /// The errors of [`Self::step`].
    pub fn host_time(&mut self) -> Result<(Duration, Duration)> {
        device::synchronize(self.learner.device());
        if self.learner.device().is_cuda() {
            let started = Instant::now();
            self.step()?;
            let asked = started.elapsed();
            device::synchronize(self.learner.device());
            return Ok((started.elapsed(), asked));
        }
        let operators = OperatorTime::begin()?;
        let started = Instant::now();
        self.step()?;
        let all = started.elapsed();
        Ok((all, all.saturating_sub(operators.finish()?)))
    }

    /// One step with every allocation recorded, on the CPU.
    ///
    /// # Errors
    /// The errors of [`Self::step`], and if another record is open.
    pub fn recorded_step(&mut self) -> Result<Recorded> {
        let held = HeldBytes::of(&self.learner, self.input.bytes());
        let recording = Recording::begin()?;
        self.step()?;
        Ok(Recorded::of(held, recording.finish()?))
    }

    /// Time of one step, the device's work included.
    ///
    /// # Errors
    /// The errors of [`Self::step`].
    pub fn timed_step(&mut self) -> Result<Duration> {
        device::synchronize(self.learner.device());
        let started = Instant::now();
        self.step()?;
        device::synchronize(self.learner.device());
        Ok(started.elapsed())
    }

    /// Peak tensor bytes during one step, and tensor bytes before it.
    ///
    /// # Errors
    /// The errors of [`Self::step`].
    pub fn peak_bytes(&mut self) -> Result<Peak> {
        // A replay allocates nothing: the peak of a graph is that of recording it.
        if let Some((_, recorded)) = &mut self.graph
            && recorded.take().is_some()
        {
            device::empty_cache(self.learner.device())?;
        }
        let held_bytes = device::allocated_bytes(self.learner.device());
        device::reset_peak(self.learner.device());
        self.step()?;
        device::synchronize(self.learner.device());
        Ok(Peak {
            held_bytes,
            peak_bytes: device::peak(self.learner.device()).allocated_bytes,
        })
    }
}

/// Reads the loss of each micro-batch and keeps the last.
struct LastLoss(f64);

impl StepHooks for LastLoss {
    fn after_backward(
        &mut self,
        _learner: &Learner,
        _micro: &MicroBatch<'_>,
        loss: &Tensor,
    ) -> Result<()> {
        self.0 = loss.f_double_value(&[])?;
        Ok(())
    }
}

/// Bytes held before a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBytes {
    /// Weights and the buffers of batch norm.
    pub parameters_bytes: u64,
    /// Everything else: moments and step counts of the optimizer, and the scaler.
    pub optimizer_bytes: u64,
    /// Images and masks.
    pub batch_bytes: u64,
}

impl HeldBytes {
    /// What is held now, of which images and masks take `batch_bytes`.
    pub fn of(learner: &Learner, batch_bytes: u64) -> Self {
        let parameters = learner.model.parameters().entries();
        let parameters_bytes = parameters.iter().map(|e| bytes_of(&e.tensor)).sum();
        let others_bytes = parameters_bytes + batch_bytes;
        Self {
            parameters_bytes,
            optimizer_bytes: device::allocated_bytes(learner.device()).saturating_sub(others_bytes),
            batch_bytes,
        }
    }
}

/// A step and all its allocations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Bytes held before the step.
    pub held: HeldBytes,
    /// Each phase with the number of events before it.
    pub marks: Vec<(Phase, usize)>,
    /// The events.
    pub record: Record,
}

impl Recorded {
    /// The record of a step.
    pub fn of(held: HeldBytes, record: Record) -> Self {
        let phase = |name| Phase::ALL.into_iter().find(|it| it.name() == name);
        let marks = record.marks.iter();
        Self {
            held,
            marks: marks
                .filter_map(|(name, before)| Some((phase(*name)?, *before)))
                .collect(),
            record,
        }
    }
}

impl Input {
    /// The micro-batches of a step, one for each batch; the next step continues after them.
    fn micro_batches(
        &mut self,
        num: u32,
        ignoring: Option<PixelWeight>,
    ) -> impl Iterator<Item = MicroBatch<'_>> {
        let pixels = self.turns(num as usize).enumerate();
        pixels.map(move |(batch, pixels)| MicroBatch {
            pixels,
            batch,
            share: 1.0 / f64::from(num),
            ignoring,
        })
    }

    fn turns(&mut self, num: usize) -> impl Iterator<Item = Pixels<'_>> {
        let first = match self {
            Self::Images(..) => 0,
            Self::Bytes { batches, next } => {
                let first = *next;
                *next = (first + num) % batches.len();
                first
            }
        };
        let input = &*self;
        (first..first + num).map(move |turn| match input {
            Self::Images(images, masks) => Pixels::Images(images, masks),
            Self::Bytes { batches, .. } => {
                let (bytes, masks) = &batches[turn % batches.len()];
                Pixels::Bytes(bytes, masks)
            }
        })
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Images(images, masks) => bytes_of(images) + bytes_of(masks),
            Self::Bytes { batches, .. } => {
                batches.iter().map(|(a, b)| bytes_of(a) + bytes_of(b)).sum()
            }
        }
    }
}

fn bytes_of(tensor: &Tensor) -> u64 {
    tensor.numel() as u64 * tensor.kind().elt_size_in_bytes() as u64
}

/// Tensor bytes of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peak {
    /// Bytes held before and after the step: parameters, optimizer state, the batch.
    pub held_bytes: u64,
    /// The peak during the step.
    pub peak_bytes: u64,
}
