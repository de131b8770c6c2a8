//! One optimizer step, undone and tried again where it fails.
//!
//! What a step changes before the optimizer moves the parameters: gradients, which are cleared; the
//! buffers of batch norm, and on a failure within the optimizer the counts of its steps, which are
//! kept in copies made once. Its batches are bytes on the host until the step is done.

use std::ops::Range;

use tch::Tensor;
use torch_ext::ops::mul_scalar;

use super::planted::Planted;
use super::{Observer, Trainer};
use crate::checkpointing;
use crate::compose::{Autocast, Scaler};
use crate::device;
use crate::error::{Error, Result};
use crate::ladder::{Failure, Ladder, Recipe};
use crate::loss::segmentation_loss;
use crate::model::UNet;
use crate::optimizer::AdamW;
use data::Batch;

/// So many steps skipped one after the other are more than a scale that was chosen too high.
const MOST_SKIPS: u32 = 5;
/// Reading a loss or a scale waits for the device: on CUDA it is done in one of so many steps.
const LOOK_EVERY: u64 = 10;

/// Tensors that a step changes in place, with copies from before it.
#[derive(Debug)]
pub(super) struct Saved {
    live: Vec<Tensor>,
    copies: Vec<Tensor>,
}

impl Saved {
    /// Of the buffers of `model` and the step counts of `optimizer`. Allocates once.
    pub(super) fn of(model: &UNet, optimizer: &AdamW) -> Result<Self> {
        let entries = model.parameters().entries().iter();
        let buffers = entries.filter(|entry| !entry.spec.role.is_trainable());
        let live: Vec<_> = buffers
            .map(|entry| entry.tensor.shallow_clone())
            .chain(optimizer.step_counts())
            .collect();
        let copies = live.iter().map(Tensor::f_empty_like);
        Ok(Self {
            copies: copies.collect::<Result<_, _>>()?,
            live,
        })
    }

    pub(super) fn save(&mut self) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        for (copy, live) in self.copies.iter_mut().zip(&self.live) {
            copy.f_copy_(live)?;
        }
        Ok(())
    }

    fn restore(&mut self) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        for (live, copy) in self.live.iter_mut().zip(&self.copies) {
            live.f_copy_(copy)?;
        }
        Ok(())
    }
}

/// Counts steps that the scaler skips one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScaleWatch {
    last: f64,
    num_skips: u32,
}

impl ScaleWatch {
    /// Of a scale that so many steps before it were skipped for.
    pub(super) const fn new(scale: f64, num_skips: u32) -> Self {
        Self {
            last: scale,
            num_skips,
        }
    }

    pub(super) const fn num_skips(self) -> u32 {
        self.num_skips
    }

    /// Takes the scale after some steps, each of which halves it where it was skipped. Whether it
    /// collapses.
    fn is_collapse(&mut self, scale: f64) -> bool {
        let mut num_halvings = 0;
        while num_halvings < MOST_SKIPS && self.last > scale * 1.5 {
            self.last /= 2.0;
            num_halvings += 1;
        }
        self.num_skips = match num_halvings {
            0 => 0,
            more => self.num_skips.saturating_add(more),
        };
        self.last = scale;
        self.num_skips >= MOST_SKIPS
    }
}

impl Trainer {
    /// Takes one step on these batches: as it is, or by the first rung of the ladder with which it
    /// succeeds. Returns the loss of each batch.
    ///
    /// # Errors
    /// What no rung mends.
    pub(super) fn step(
        &mut self,
        batches: &[Batch],
        observer: &mut dyn Observer,
    ) -> Result<Vec<Tensor>> {
        if self.ladder.is_none() && self.guard.is_none() {
            let outcome = self.attempt(batches);
            self.is_torn = outcome.is_err();
            return outcome;
        }
        self.saved.save()?;
        loop {
            let moves = self.optimizer.num_moves();
            let error = match self.attempt(batches) {
                Ok(losses) => {
                    self.ladder.iter_mut().for_each(Ladder::step_done);
                    return Ok(losses);
                }
                Err(error) => error,
            };
            // A step that the scaler skipped has moved nothing.
            let has_moved = self.optimizer.num_moves() != moves
                && !matches!(error, Error::GradientOverflow { .. });
            self.is_torn = has_moved || self.optimizer.is_under_way();
            if self.is_torn {
                return Err(error);
            }
            self.undo().inspect_err(|_| self.is_torn = true)?;
            let Some(failure) = Failure::of(&error) else {
                return Err(error);
            };
            // A snapshot from before the rung knows nothing of it.
            let (recipe, mut ladder) = (self.recipe(), self.ladder.clone());
            let next = ladder.as_mut();
            let Some(rung) = next.and_then(|ladder| ladder.next(&failure, &recipe)) else {
                return Err(error);
            };
            observer.rung_taken(self, &failure, &rung);
            self.ladder = ladder;
            self.take(rung.recipe, rung.scale)?;
        }
    }

    fn attempt(&mut self, batches: &[Batch]) -> Result<Vec<Tensor>> {
        let planted = Planted::in_step(self.position.steps + 1);
        let losses = self.gradients(batches, &planted)?;
        let before = if self.is_looked_at() {
            self.scaler.current()?
        } else {
            None
        };
        self.update()?;
        self.optimizer.zero_grad()?;
        self.is_peak_kept = cfg!(target_env = "gnu");
        if let Some(before) = before
            && let Some(scale) = self.scaler.current()?
            && self.scale_watch.is_collapse(scale)
            // Else this step has moved the parameters, and is not the one to undo.
            && scale < before
        {
            return Err(Error::GradientOverflow { scale });
        }
        Ok(losses)
    }

    /// Whether the numbers of this step are read.
    fn is_looked_at(&self) -> bool {
        !self.device.is_cuda() || self.position.steps.is_multiple_of(LOOK_EVERY)
    }

    /// Forward and backward of every batch. Returns the loss of each.
    pub(super) fn gradients(
        &mut self,
        batches: &[Batch],
        planted: &Planted,
    ) -> Result<Vec<Tensor>> {
        let group = batches.len();
        let mut losses = Vec::with_capacity(group);
        for batch in batches {
            let loss = self.accumulate(batch, group, planted)?;
            losses.push(mul_scalar(&loss, group as f64)?);
        }
        planted.gradients(&self.optimizer)?;
        Ok(losses)
    }

    /// Moves the parameters. Where memory runs out in the middle of it, nothing can be undone; what is
    /// asked for there are a few bytes for each parameter, and asked for again.
    fn update(&mut self) -> Result<()> {
        const TRIES: u32 = 3;
        for _try in 1..TRIES {
            match self.scaler.step(&mut self.optimizer) {
                Err(Error::Tensor(error))
                    if error.is_out_of_memory() && self.optimizer.is_under_way() => {}
                outcome => return outcome,
            }
        }
        self.scaler.step(&mut self.optimizer)
    }

    /// Adds the gradients of a batch, micro-batch by micro-batch. Returns its part of the loss.
    fn accumulate(&mut self, batch: &Batch, group: usize, planted: &Planted) -> Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        for part in parts(batch.len, self.micro_batch as usize) {
            let share = part.len() as f64 / (batch.len * group) as f64;
            let loss = self.backward(batch, part, share, planted)?;
            sum = Some(match sum {
                Some(sum) => sum.f_add(&loss)?,
                None => loss,
            });
        }
        sum.ok_or_else(|| {
            Error::Tensor(torch_ext::Error::InvalidArgument(
                "an empty batch".to_owned(),
            ))
        })
    }

    /// Forward and backward of a part of a batch. Returns its loss times `share`.
    fn backward(
        &mut self,
        batch: &Batch,
        part: Range<usize>,
        share: f64,
        planted: &Planted,
    ) -> Result<Tensor> {
        let (images, masks) = self.upload().part(batch, part)?;
        let autocast = Autocast::enter(self.device, self.precision)?;
        let logits = self.model.forward(&images, &self.mode)?;
        drop(autocast);
        let loss = mul_scalar(&segmentation_loss(&logits, &masks)?, share)?;
        let loss = planted.loss(loss)?;
        drop((logits, images, masks));
        if self.is_looked_at() {
            self.finite(loss.f_double_value(&[])?)?;
        }
        if let Some(guard) = self.guard.filter(|guard| guard.is_due(self.position.steps)) {
            guard.look(self.device, self.still_to_come())?;
        }
        torch_ext::backward(&self.scaler.scale(&loss)?)?;
        Ok(loss.f_detach()?)
    }

    /// Bytes that the rest of the step is predicted to take in the machine's memory.
    fn still_to_come(&self) -> u64 {
        // What an earlier step took is kept by the C library, and in use as the system sees it.
        if self.device.is_cuda() || self.is_peak_kept {
            return 0;
        }
        let ladder = self.ladder.as_ref();
        let peak = ladder.and_then(|ladder| ladder.predicted_bytes(&self.recipe()));
        peak.map_or(0, |peak| {
            peak.saturating_sub(device::allocated_bytes(self.device))
        })
    }

    /// As if the step had not begun, with all memory that is not needed given back.
    pub(super) fn undo(&mut self) -> Result<()> {
        self.restore_saved()?;
        self.is_peak_kept = false;
        device::empty_cache(self.device)
    }

    /// As if the step had not begun.
    pub(super) fn restore_saved(&mut self) -> Result<()> {
        self.optimizer.zero_grad()?;
        self.saved.restore()
    }

    /// Computes in this way from now on, with a new scaler where there is a `scale` for it.
    pub(super) fn take(&mut self, recipe: Recipe, scale: Option<f64>) -> Result<()> {
        let Recipe {
            config,
            precision,
            micro_batch,
        } = recipe;
        if scale.is_some() || precision != self.precision {
            let scale = scale.unwrap_or(config.init_scale);
            self.scaler = Scaler::new(self.device, precision, scale)?;
            self.scale_watch = ScaleWatch::new(scale, 0);
        }
        self.mode = checkpointing::training_mode(&config, self.device)?;
        self.config = config;
        self.precision = precision;
        self.micro_batch = micro_batch;
        Ok(())
    }

    /// How it computes.
    pub fn recipe(&self) -> Recipe {
        Recipe {
            config: self.config.clone(),
            precision: self.precision,
            micro_batch: self.micro_batch,
        }
    }
}

/// Parts of `len` images, `most` at a time.
fn parts(len: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let most = most.max(1);
    (0..len)
        .step_by(most)
        .map(move |from| from..len.min(from + most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_batch() {
        let all: Vec<_> = parts(7, 3).collect();
        assert_eq!(all, [0..3, 3..6, 6..7]);
        assert_eq!(parts(4, 0).count(), 4);
        assert_eq!(parts(0, 3).count(), 0);
    }

    #[test]
    fn five_skips_in_a_row_are_a_collapse() {
        let mut watch = ScaleWatch::new(65_536.0, 0);
        let mut scale = 65_536.0;
        for _step in 1..5 {
            scale /= 2.0;
            assert!(!watch.is_collapse(scale));
        }
        assert!(watch.is_collapse(scale / 2.0));
        // With a good step between them they are none.
        watch = ScaleWatch::new(1024.0, 0);
        for scale in [512.0, 256.0, 256.0, 128.0, 64.0, 32.0, 16.0] {
            assert!(!watch.is_collapse(scale));
        }
        // Seen only now and then, and gone on with from a snapshot.
        assert!(!ScaleWatch::new(1024.0, 0).is_collapse(64.0));
        assert!(ScaleWatch::new(1024.0, 0).is_collapse(32.0));
        assert!(ScaleWatch::new(64.0, 4).is_collapse(32.0));
        assert!(!ScaleWatch::new(64.0, 4).is_collapse(128.0));
        assert!(ScaleWatch::new(64.0, 0).is_collapse(0.0));
    }
}
