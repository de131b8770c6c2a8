//! One training step: a model with its optimizer and its gradient scaler, and the order of operations on
//! them. Runs, benchmarks, `train memory`, `train doctor` and the tests all step with it, so the code
//! that is measured and proved is the code that trains.
//!
//! It knows nothing of epochs and retries, which belong to the [trainer](crate::trainer), or of files.

use config::{Precision, RunConfig};
use tch::{Device, Tensor};
use torch_ext::ops::{MemoryFormat, contiguous_in, mul_scalar};
use torch_ext::record::mark;
use torch_ext::{cuda, cudnn};

use crate::batch::{MicroBatch, Upload};
use crate::checkpointing;
use crate::compose::{Autocast, Scaler};
use crate::device;
use crate::error::Result;
use crate::evaluation::Evaluator;
use crate::loss::{PixelWeight, segmentation_loss};
use crate::model::{ForwardMode, UNet};
use crate::optimizer::AdamW;

/// A model in training, and how it computes.
#[derive(Debug)]
pub struct Learner {
    /// The model in training.
    pub model: UNet,
    /// Updates the model's parameters. Its state exists before the first step.
    pub optimizer: AdamW,
    /// Scales the loss in fp16, and does nothing in other precisions.
    pub scaler: Scaler,
    /// What backward recomputes.
    pub mode: ForwardMode,
    /// The precision of convolutions.
    pub precision: Precision,
    /// How its batches become tensors: the device and the memory format.
    pub upload: Upload,
}

/// A part of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// From image bytes to the loss of a micro-batch.
    Forward,
    /// From the loss to gradients.
    Backward,
    /// From gradients to new parameters.
    Update,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Self; 3] = [Self::Forward, Self::Backward, Self::Update];

    /// Its name, with which its beginning is marked in an open record.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Update => "update",
        }
    }
}

/// Callbacks within a step: a run checks losses and memory, and a test plants faults. By default nothing happens.
pub trait StepHooks {
    /// Takes the loss of a micro-batch and returns the loss to call backward on.
    ///
    /// # Errors
    /// Ends the step.
    fn before_backward(&mut self, _learner: &Learner, loss: Tensor) -> Result<Tensor> {
        Ok(loss)
    }

    /// Calls backward. Several ranks send gradients meanwhile.
    ///
    /// # Errors
    /// The errors of [`Learner::backward`].
    fn backward(&mut self, learner: &Learner, loss: &Tensor) -> Result<()> {
        learner.backward(loss)
    }

    /// The gradients of a micro-batch have been added to the step's gradients.
    ///
    /// # Errors
    /// Ends the step.
    fn after_backward(
        &mut self,
        _learner: &Learner,
        _micro: &MicroBatch<'_>,
        _loss: &Tensor,
    ) -> Result<()> {
        Ok(())
    }

    /// The gradients of all micro-batches exist, and no parameter has been updated: several ranks add up their gradients
    /// here.
    ///
    /// # Errors
    /// Ends the step.
    fn before_update(&mut self, _learner: &Learner) -> Result<()> {
        Ok(())
    }

    /// Whether a step whose update fails before a parameter has changed can be undone. It cannot where other ranks have
    /// updated theirs.
    fn may_undo_update(&self) -> bool {
        true
    }
}

/// Plain training, without callbacks.
impl StepHooks for () {}

impl Learner {
    /// A fresh model with its optimizer and scaler.
    ///
    /// # Errors
    /// If memory runs out, or the checkpoint policy is not chosen yet.
    pub fn new(config: &RunConfig, device: Device, precision: Precision) -> Result<Self> {
        cudnn::set(cudnn::Choice {
            deterministic: config.deterministic,
            benchmark: !config.deterministic,
        })?;
        let channels_last = config.use_channels_last;
        let model = UNet::new(config.network(), device, config.seed, channels_last)?;
        let parameters = model.parameters().trainable();
        Ok(Self {
            optimizer: AdamW::new(parameters, config.lr, config.weight_decay)?,
            scaler: Scaler::new(device, precision, config.init_scale)?,
            mode: checkpointing::training_mode(config, device)?,
            model,
            precision,
            upload: Upload::of(config, device),
        })
    }

    /// One optimizer step over these micro-batches. A step that fails leaves gradients and statistics
    /// of batch norm behind. Returns what [`Self::optimizer_step`] returns.
    ///
    /// # Errors
    /// If memory runs out, a recompute fails, or a hook ends the step.
    pub fn step<'a>(
        &mut self,
        micro_batches: impl IntoIterator<Item = MicroBatch<'a>>,
        hooks: &mut impl StepHooks,
    ) -> Result<Tensor> {
        self.accumulate_gradients(micro_batches, hooks)?;
        hooks.before_update(self)?;
        mark(Phase::Update.name());
        let is_skipped = self.update(hooks.may_undo_update())?;
        self.zero_grad()?;
        Ok(is_skipped)
    }

    /// Forward and backward of every micro-batch.
    ///
    /// # Errors
    /// The errors of [`Self::step`].
    pub fn accumulate_gradients<'a>(
        &self,
        micro_batches: impl IntoIterator<Item = MicroBatch<'a>>,
        hooks: &mut impl StepHooks,
    ) -> Result<()> {
        cuda::watch_refusals();
        for micro in micro_batches {
            mark(Phase::Forward.name());
            let pixels = self.upload.pixels(&micro.pixels)?;
            let loss = self.forward(pixels, micro.share, micro.ignoring)?;
            let loss = hooks.before_backward(self, loss)?;
            mark(Phase::Backward.name());
            hooks.backward(self, &loss)?;
            hooks.after_backward(self, &micro, &loss)?;
        }
        Ok(())
    }

    /// The loss of these images with their masks times `share`, by [`segmentation_loss`]. It takes
    /// ownership of images and masks, so that the backward pass holds only what it needs.
    ///
    /// # Errors
    /// If the size does not fit, memory runs out, or a segment fails.
    pub fn forward(
        &self,
        (images, masks): (Tensor, Tensor),
        share: f64,
        ignoring: Option<PixelWeight>,
    ) -> Result<Tensor> {
        let logits = self.logits(&images)?;
        let loss = mul_scalar(&segmentation_loss(&logits, &masks, ignoring)?, share)?;
        drop((logits, images, masks));
        Ok(loss)
    }

    /// Logits of `images` in training, under autocast.
    ///
    /// # Errors
    /// The errors of [`Self::forward`].
    pub fn logits(&self, images: &Tensor) -> Result<Tensor> {
        let _autocast = Autocast::enter(self.device(), self.precision)?;
        Ok(self.model.forward(images, &self.mode)?)
    }

    /// Adds the gradients of the scaled `loss`.
    ///
    /// # Errors
    /// If memory runs out, or a recompute fails.
    pub fn backward(&self, loss: &Tensor) -> Result<()> {
        Ok(torch_ext::backward(&self.scaler.scale(loss)?)?)
    }

    /// Unscales the gradients, updates the parameters unless a gradient is not finite, and updates the
    /// scale. Returns 1 (fp32, one element, on the device) if the update was skipped, otherwise 0; the host
    /// does not wait for the device. Statistics of batch norm are not restored after a skipped update.
    ///
    /// A parameter update that fails half-way cannot be undone; it needs a few bytes for each parameter,
    /// and retries their allocation several times.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn optimizer_step(&mut self) -> Result<Tensor> {
        self.update(true)
    }

    /// As [`Self::optimizer_step`]. An update that may not be undone is retried as well if it failed before it changed
    /// anything.
    fn update(&mut self, may_undo: bool) -> Result<Tensor> {
        const TRIES: u32 = 3;
        for _try in 1..TRIES {
            match self.scaler.step(&mut self.optimizer) {
                Err(error)
                    if error.is_out_of_memory() && (!may_undo || self.optimizer.is_under_way()) =>
                {
                    device::empty_cache(self.device())?;
                }
                outcome => return outcome,
            }
        }
        self.scaler.step(&mut self.optimizer)
    }

    /// Sets all gradients to none.
    ///
    /// # Errors
    /// Never in practice.
    pub fn zero_grad(&mut self) -> Result<()> {
        Ok(self.optimizer.zero_grad()?)
    }

    /// Uses the checkpoint policy and the memory format of `config` from now on.
    ///
    /// # Errors
    /// The errors of [`Self::new`].
    pub fn adopt(&mut self, config: &RunConfig, precision: Precision) -> Result<()> {
        let device = self.device();
        let upload = Upload::of(config, device);
        if upload.channels_last != self.upload.channels_last {
            self.convert_tensors(if upload.channels_last {
                MemoryFormat::ChannelsLast
            } else {
                MemoryFormat::Contiguous
            })?;
        }
        self.upload = upload;
        self.mode = checkpointing::training_mode(config, device)?;
        self.precision = precision;
        Ok(())
    }

    /// Converts weights and the optimizer's state in place: every handle on them sees the change.
    fn convert_tensors(&self, format: MemoryFormat) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let tensors = self.tensors().into_iter().map(|(_, tensor)| tensor);
        for mut tensor in tensors.filter(|tensor| tensor.dim() == 4) {
            let data: Tensor = contiguous_in(&tensor.f_detach()?, format)?;
            tensor.f_set_data(&data)?;
        }
        Ok(())
    }

    /// An evaluator of the model, in the precision of training.
    pub const fn evaluator(&self) -> Evaluator<'_> {
        Evaluator {
            model: &self.model,
            upload: self.upload,
            precision: self.precision,
            kernels: self.mode.kernels,
        }
    }

    /// The device that it computes on.
    pub const fn device(&self) -> Device {
        self.upload.device
    }

    /// Handles on all tensors, by name: parameters and buffers, and both moments and the step count of
    /// each parameter.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let entries = self.model.parameters().entries();
        let mut tensors: Vec<_> = entries
            .iter()
            .map(|e| (format!("model.{}", e.spec.name), e.tensor.shallow_clone()))
            .collect();
        let trainable = entries.iter().filter(|e| e.spec.role.is_trainable());
        let names: Vec<_> = trainable.map(|e| e.spec.name.as_str()).collect();
        for (kind, list) in self.optimizer.state_by_kind() {
            let named = names.iter().zip(list);
            tensors.extend(named.map(|(name, t)| (format!("{kind}.{name}"), t.shallow_clone())));
        }
        tensors
    }
}
