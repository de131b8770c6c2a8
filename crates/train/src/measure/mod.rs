//! One training step outside of a run, for measurements: the same model, loss, scaler and
//! optimizer as the loop, on images that are there already, or on bytes in turn. And one of
//! validation.

mod evaluation;

use std::time::{Duration, Instant};

use config::{ImageSize, RunConfig};
use tch::{Device, Kind, Tensor};
use torch_ext::ops::mul_scalar;
use torch_ext::probe::OperatorTime;
use torch_ext::record::{Record, Recording};

use crate::checkpointing::training_mode;
use crate::compose::{self, Autocast, Scaler};
use crate::device;
use crate::error::Result;
use crate::loss::segmentation_loss;
use crate::model::{ForwardMode, UNet};
use crate::optimizer::AdamW;
use crate::precision::Precision;

pub use evaluation::Evaluation;

/// What is measured: a model that trains.
#[derive(Debug)]
pub struct Subject {
    device: Device,
    precision: Precision,
    channels_last: bool,
    mode: ForwardMode,
    model: UNet,
    optimizer: AdamW,
    scaler: Scaler,
    accumulation: u32,
    input: Input,
}

/// What it trains on.
#[derive(Debug)]
enum Input {
    /// Images `[N, 3, H, W]` in fp32 and masks, the same at each step.
    Images(Tensor, Tensor),
    /// Bytes `[N, H, W, 3]` and masks on the device, one batch after the other, as the loop gets
    /// them: becoming images is part of the step.
    Bytes {
        batches: Vec<(Tensor, Tensor)>,
        next: usize,
    },
}

/// Where in a step something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Phase {
    Forward,
    Backward,
    Update,
}

impl Subject {
    /// Model, optimizer state and a batch of noise for `config`.
    ///
    /// # Errors
    /// Where memory runs out, or the policy is not there.
    pub fn new(config: &RunConfig, device: Device, precision: Precision) -> Result<Self> {
        let (images, masks) = noise(config, device)?;
        Self::on(config, device, precision, Input::Images(images, masks))
    }

    /// The same, on batches in turn: bytes `[N, H, W, 3]` and masks `[N, H, W]`.
    ///
    /// # Errors
    /// As [`Self::new`], and without a batch.
    pub fn on_bytes(
        config: &RunConfig,
        device: Device,
        precision: Precision,
        batches: Vec<(Tensor, Tensor)>,
    ) -> Result<Self> {
        if batches.is_empty() {
            return Err(torch_ext::Error::InvalidArgument("no batches".to_owned()).into());
        }
        Self::on(config, device, precision, Input::Bytes { batches, next: 0 })
    }

    fn on(config: &RunConfig, device: Device, precision: Precision, input: Input) -> Result<Self> {
        // As the loop does.
        tch::Cuda::cudnn_set_benchmark(!config.deterministic);
        let channels_last = config.use_channels_last;
        let model = UNet::new(config.network(), device, config.seed, channels_last)?;
        let parameters = model.parameters().trainable();
        let optimizer = AdamW::new(parameters, config.lr, config.weight_decay)?;
        Ok(Self {
            device,
            precision,
            channels_last,
            mode: training_mode(config, device)?,
            model,
            optimizer,
            scaler: Scaler::new(device, precision, config.init_scale)?,
            accumulation: config.accumulation,
            input,
        })
    }

    /// The model.
    pub fn model(&self) -> &UNet {
        &self.model
    }

    /// One step, gradients set to none at its end. `at` is told where it begins what.
    ///
    /// # Errors
    /// Where memory runs out, or a recompute fails.
    pub fn step(&mut self, at: impl FnMut(Phase)) -> Result<()> {
        self.run(at, |_| Ok(()))
    }

    /// One step, and its loss, for which it waits.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn step_with_loss(&mut self) -> Result<f64> {
        let mut value = f64::NAN;
        self.run(
            |_| (),
            |loss| {
                value = loss.f_double_value(&[])?;
                Ok(())
            },
        )?;
        Ok(value)
    }

    fn run(
        &mut self,
        mut at: impl FnMut(Phase),
        mut look_at: impl FnMut(&Tensor) -> Result<()>,
    ) -> Result<()> {
        for _ in 0..self.accumulation {
            at(Phase::Forward);
            let (images, masks) = self.next_batch()?;
            let logits = {
                let _autocast = Autocast::enter(self.device, self.precision)?;
                self.model.forward(&images, &self.mode)?
            };
            let loss = segmentation_loss(&logits, &masks)?;
            let loss = mul_scalar(&loss, 1.0 / f64::from(self.accumulation))?;
            drop((logits, images, masks));
            at(Phase::Backward);
            torch_ext::backward(&self.scaler.scale(&loss)?)?;
            look_at(&loss)?;
        }
        at(Phase::Update);
        self.scaler.step(&mut self.optimizer)?;
        self.optimizer.zero_grad()?;
        Ok(())
    }

    fn next_batch(&mut self) -> Result<(Tensor, Tensor)> {
        match &mut self.input {
            Input::Images(images, masks) => Ok((images.shallow_clone(), masks.shallow_clone())),
            Input::Bytes { batches, next } => {
                let (bytes, masks) = &batches[*next];
                *next = (*next + 1) % batches.len();
                let images = compose::images_to_device(bytes, self.device, self.channels_last)?;
                Ok((images, masks.shallow_clone()))
            }
        }
    }

    /// Milliseconds of each of `count` steps on the CPU; on CUDA, where nobody waits between them,
    /// their mean.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn timed_steps(&mut self, count: u32) -> Result<Vec<f64>> {
        if !self.device.is_cuda() {
            let times = (0..count).map(|_| Ok(self.timed_step()?.as_secs_f64() * 1e3));
            return times.collect();
        }
        device::synchronize(self.device);
        let started = Instant::now();
        for _ in 0..count {
            self.step(|_| ())?;
        }
        device::synchronize(self.device);
        Ok(vec![
            started.elapsed().as_secs_f64() * 1e3 / f64::from(count.max(1)),
        ])
    }

    /// Time of one step, and of it: on the CPU what passes outside of every operator, on CUDA what
    /// passes until the last kernel was asked for.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn host_time(&mut self) -> Result<(Duration, Duration)> {
        device::synchronize(self.device);
        if self.device.is_cuda() {
            let started = Instant::now();
            self.step(|_| ())?;
            let asked = started.elapsed();
            device::synchronize(self.device);
            return Ok((started.elapsed(), asked));
        }
        let operators = OperatorTime::begin()?;
        let started = Instant::now();
        self.step(|_| ())?;
        let all = started.elapsed();
        Ok((all, all.saturating_sub(operators.finish()?)))
    }

    /// One step with every allocation recorded, on the CPU.
    ///
    /// # Errors
    /// As [`Self::step`], and where another record is open.
    pub fn recorded_step(&mut self) -> Result<Recorded> {
        let parameters = self.model.parameters().entries();
        let parameters_bytes = parameters.iter().map(|e| bytes_of(&e.tensor)).sum();
        let batch_bytes = self.input.bytes();
        let held = Held {
            parameters_bytes,
            batch_bytes,
            optimizer_bytes: device::allocated_bytes(self.device)
                .saturating_sub(parameters_bytes + batch_bytes),
        };
        let recording = Recording::begin()?;
        let mut marks = Vec::new();
        self.step(|phase| marks.push((phase, recording.len())))?;
        Ok(Recorded {
            held,
            marks,
            record: recording.finish()?,
        })
    }

    /// Time of one step, the device's work included.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn timed_step(&mut self) -> Result<Duration> {
        device::synchronize(self.device);
        let started = Instant::now();
        self.step(|_| ())?;
        device::synchronize(self.device);
        Ok(started.elapsed())
    }

    /// The most that tensors hold during one step, and what they hold before it.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn peak_bytes(&mut self) -> Result<Peak> {
        let held_bytes = device::allocated_bytes(self.device);
        device::reset_peak(self.device);
        self.step(|_| ())?;
        device::synchronize(self.device);
        Ok(Peak {
            held_bytes,
            peak_bytes: device::peak(self.device).allocated_bytes,
        })
    }
}

/// What is there before a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Weights and the buffers of batch norm.
    pub parameters_bytes: u64,
    /// All else: moments and step counts of the optimizer, and the scaler.
    pub optimizer_bytes: u64,
    /// Images and masks.
    pub batch_bytes: u64,
}

/// A step and all its allocations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Before it.
    pub held: Held,
    /// Each phase with the number of events before it.
    pub marks: Vec<(Phase, usize)>,
    /// The events.
    pub record: Record,
}

impl Input {
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
    /// Before and after it: parameters, optimizer state, the batch.
    pub held_bytes: u64,
    /// The most during it.
    pub peak_bytes: u64,
}

/// Images `[N, 3, H, W]` and masks `[N, H, W]`, the same for a seed.
fn noise(config: &RunConfig, device: Device) -> Result<(Tensor, Tensor)> {
    let ImageSize { height, width } = config.img_size;
    let size = [i64::from(config.batch), i64::from(height), i64::from(width)];
    tch::manual_seed(config.seed.cast_signed());
    let bytes = Tensor::f_randint(
        256,
        [size[0], size[1], size[2], 3],
        (Kind::Uint8, Device::Cpu),
    )?;
    let images = compose::images_to_device(&bytes, device, config.use_channels_last)?;
    let masks = Tensor::f_randint(2, size, (Kind::Uint8, Device::Cpu))?.f_to_device(device)?;
    Ok((images, masks))
}
