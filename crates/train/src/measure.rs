//! One training step outside of a run, for measurements: the same model, loss, scaler and
//! optimizer as the loop, on images that are there already.

use std::time::{Duration, Instant};

use config::{ImageSize, RunConfig};
use tch::{Device, Kind, Tensor};
use torch_ext::record::{Record, Recording};

use crate::checkpointing::training_mode;
use crate::compose::{self, Autocast, Scaler};
use crate::device;
use crate::error::Result;
use crate::loss::segmentation_loss;
use crate::model::{ForwardMode, UNet};
use crate::optimizer::AdamW;
use crate::precision::Precision;

/// What is measured: a model that trains on one batch.
#[derive(Debug)]
pub struct Subject {
    device: Device,
    precision: Precision,
    mode: ForwardMode,
    model: UNet,
    optimizer: AdamW,
    scaler: Scaler,
    batch: (Tensor, Tensor),
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
        // As the loop does.
        tch::Cuda::cudnn_set_benchmark(!config.deterministic);
        let channels_last = config.use_channels_last;
        let model = UNet::new(config.network(), device, config.seed, channels_last)?;
        let parameters = model.parameters().trainable();
        let optimizer = AdamW::new(parameters, config.lr, config.weight_decay)?;
        Ok(Self {
            device,
            precision,
            mode: training_mode(config, device)?,
            model,
            optimizer,
            scaler: Scaler::new(device, precision, config.init_scale)?,
            batch: noise(config, device)?,
        })
    }

    /// One step, gradients set to none at its end. `at` is told where it begins what.
    ///
    /// # Errors
    /// Where memory runs out, or a recompute fails.
    pub fn step(&mut self, mut at: impl FnMut(Phase)) -> Result<()> {
        at(Phase::Forward);
        let (images, masks) = &self.batch;
        let logits = {
            let _autocast = Autocast::enter(self.device, self.precision)?;
            self.model.forward(images, &self.mode)?
        };
        let loss = segmentation_loss(&logits, masks)?;
        drop(logits);
        at(Phase::Backward);
        torch_ext::backward(&self.scaler.scale(&loss)?)?;
        drop(loss);
        at(Phase::Update);
        self.scaler.step(&mut self.optimizer)?;
        self.optimizer.zero_grad()?;
        Ok(())
    }

    /// One step with every allocation recorded, on the CPU.
    ///
    /// # Errors
    /// As [`Self::step`], and where another record is open.
    pub fn recorded_step(&mut self) -> Result<Recorded> {
        let parameters = self.model.parameters().entries();
        let parameters_bytes = parameters.iter().map(|e| bytes_of(&e.tensor)).sum();
        let batch_bytes = bytes_of(&self.batch.0) + bytes_of(&self.batch.1);
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
