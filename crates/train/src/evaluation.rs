//! Validation: the scores of a model over a set.

use std::ops::Range;

use tch::{Device, Kind, Tensor};

use crate::compose::{self, Autocast};
use crate::device;
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::loss::segmentation_loss;
use crate::metrics::{Counter, Scores};
use crate::model::{ForwardMode, UNet};
use crate::precision::Precision;
use data::{Batch, Loader};

/// How batches become tensors.
#[derive(Debug, Clone, Copy)]
pub struct Upload {
    /// Where to.
    pub device: Device,
    /// In which memory format.
    pub channels_last: bool,
}

impl Upload {
    /// Images `[N, 3, H, W]` in fp32 and masks `[N, H, W]` in u8 on the device.
    ///
    /// # Errors
    /// Where memory runs out.
    pub fn batch(&self, batch: &Batch) -> Result<(Tensor, Tensor)> {
        self.part(batch, 0..batch.len)
    }

    /// The same of some of its images.
    ///
    /// # Errors
    /// Where memory runs out.
    pub fn part(&self, batch: &Batch, part: Range<usize>) -> Result<(Tensor, Tensor)> {
        let pixels = batch.height * batch.width;
        let of = |pixels: usize| part.start * pixels..part.end * pixels;
        let (images, masks) = (&batch.images[of(3 * pixels)], &batch.masks[of(pixels)]);
        let [n, h, w] = [part.len(), batch.height, batch.width].map(|d| d.cast_signed() as i64);
        let bytes = Tensor::f_from_data_size(images, &[n, h, w, 3], Kind::Uint8)?;
        let images = compose::images_to_device(&bytes, self.device, self.channels_last)?;
        let masks = Tensor::f_from_data_size(masks, &[n, h, w], Kind::Uint8)?;
        Ok((images, masks.f_to_device(self.device)?))
    }
}

/// Scores and mean loss of `model` over all of `loader`, in the given precision. `None` where
/// somebody interrupted.
///
/// Where memory runs out, the same images are tried again in parts: `at_a_time` is how many there are
/// in a part at the most, and becomes less. Scores are of images, whatever their parts.
///
/// # Errors
/// Where the data or a tensor operation fails, or one image is too much.
pub fn evaluate(
    model: &UNet,
    loader: &Loader,
    upload: Upload,
    precision: Precision,
    at_a_time: &mut usize,
    interrupt: &Interrupt,
) -> Result<Option<(Scores, f64)>> {
    let mut counter = Counter::of(model.network());
    let (mut loss_sum, mut num_images) = (0.0, 0);
    for batch in loader.epoch(0) {
        if interrupt.requested() {
            return Ok(None);
        }
        let batch = batch?;
        let mut done = 0;
        while done < batch.len {
            let part = done..batch.len.min(done.saturating_add(*at_a_time));
            let num = part.len();
            match score(model, &batch, part, upload, precision, &mut counter) {
                Ok(loss) => {
                    loss_sum += loss * num as f64;
                    done += num;
                }
                Err(Error::Tensor(error)) if error.is_out_of_memory() && num > 1 => {
                    *at_a_time = num.div_ceil(2);
                    device::empty_cache(upload.device)?;
                }
                Err(error) => return Err(error),
            }
        }
        num_images += batch.len;
    }
    Ok(Some((
        counter.scores(),
        loss_sum / num_images.max(1) as f64,
    )))
}

/// Adds the scores of a part of `batch` to `counter`. Returns its mean loss.
///
/// # Errors
/// Where a tensor operation fails: nothing is counted then.
pub fn score(
    model: &UNet,
    batch: &Batch,
    part: Range<usize>,
    upload: Upload,
    precision: Precision,
    counter: &mut Counter,
) -> Result<f64> {
    let _no_grad = tch::no_grad_guard();
    let (images, masks) = upload.part(batch, part)?;
    let logits = {
        let _autocast = Autocast::enter(upload.device, precision)?;
        model.forward(&images, &ForwardMode::EVALUATION)?
    };
    let loss = segmentation_loss(&logits, &masks)?.f_double_value(&[])?;
    counter.add(&logits, &masks)?;
    Ok(loss)
}
