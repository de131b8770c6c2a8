//! A model in evaluation: logits without gradients, and scores over a set.

use std::ops::Range;

use tch::Tensor;
use torch_ext::cuda;

use crate::batch::Upload;
use crate::compose::Autocast;
use crate::device;
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::loss::{PixelWeight, segmentation_loss};
use crate::metrics::{Counter, Scores};
use crate::model::{ForwardMode, Kernels, UNet};
use config::Precision;
use data::{Batch, Loader};

/// A model in evaluation, in one precision on one device.
#[derive(Debug, Clone, Copy)]
pub struct Evaluator<'a> {
    /// The model.
    pub model: &'a UNet,
    /// How its batches become tensors: the device and the memory format.
    pub upload: Upload,
    /// The precision of convolutions.
    pub precision: Precision,
    /// Whose code computes batch norm and ReLU.
    pub kernels: Kernels,
}

impl Evaluator<'_> {
    /// How the model runs in evaluation.
    pub const fn mode(&self) -> ForwardMode {
        ForwardMode::evaluation(self.kernels)
    }

    /// Logits of `images` without gradients, under autocast.
    ///
    /// # Errors
    /// If the size does not fit, or memory runs out.
    pub fn logits(&self, images: &Tensor, mode: &ForwardMode) -> Result<Tensor> {
        let _no_grad = tch::no_grad_guard();
        let _autocast = Autocast::enter(self.upload.device, self.precision)?;
        Ok(self.model.forward(images, mode)?)
    }

    /// Scores and mean loss over all of `loader`. `None` after an interrupt.
    ///
    /// If memory runs out, the same images are retried in parts: a part has at most `at_a_time` images,
    /// and that number shrinks. The parts affect neither scores, which are averaged over images, nor the loss,
    /// which is averaged over samples: where samples are windows of images, the pixels of all windows of an image
    /// make one score, and each window has its own loss.
    ///
    /// # Errors
    /// If the data or a tensor operation fails, or a single image does not fit in memory.
    pub fn evaluate(
        &self,
        loader: &Loader,
        at_a_time: &mut usize,
        interrupt: &Interrupt,
    ) -> Result<Option<(Scores, f64)>> {
        let counted = self.count(loader, at_a_time, interrupt)?;
        Ok(counted.map(|(counter, loss)| (counter.scores(), loss)))
    }

    /// As [`Self::evaluate`], with everything that was counted.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub fn count(
        &self,
        loader: &Loader,
        at_a_time: &mut usize,
        interrupt: &Interrupt,
    ) -> Result<Option<(Counter, f64)>> {
        let mut counter = Counter::of(self.model.network());
        let (mut loss_sum, mut num_samples) = (0.0, 0);
        for batch in loader.epoch(0) {
            if interrupt.requested() {
                return Ok(None);
            }
            let batch = batch?;
            let mut done = 0;
            while done < batch.len {
                let part = done..batch.len.min(done.saturating_add(*at_a_time));
                let num = part.len();
                cuda::watch_refusals();
                match self.score(&batch, part, &mut counter) {
                    Ok(loss) => {
                        loss_sum += loss * num as f64;
                        done += num;
                    }
                    Err(error) if error.is_out_of_memory() && num > 1 => {
                        *at_a_time = num.div_ceil(2);
                        device::empty_cache(self.upload.device)?;
                    }
                    Err(error) => return Err(error),
                }
            }
            num_samples += batch.len;
        }
        counter.end_image();
        let loss = loss_sum / num_samples.max(1) as f64;
        Ok(Some((counter, loss)))
    }

    /// Adds the scores of a part of `batch` to `counter`, whose last image stays open for more of its windows.
    /// Returns its mean loss.
    ///
    /// # Errors
    /// If a tensor operation fails; nothing is counted then.
    pub fn score(&self, batch: &Batch, part: Range<usize>, counter: &mut Counter) -> Result<f64> {
        let _no_grad = tch::no_grad_guard();
        let ignoring = PixelWeight::of(batch).map(|it| it.of_part(part.len(), batch.len));
        let of_images = &batch.image_indices[part.clone()];
        let (images, masks) = self.upload.part(batch, part)?;
        let logits = self.logits(&images, &self.mode())?;
        let loss = segmentation_loss(&logits, &masks, ignoring)?.f_double_value(&[])?;
        counter.add_windows(&logits, &masks, of_images)?;
        Ok(loss)
    }
}
