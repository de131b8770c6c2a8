//! Validation: the scores of a model over a set.

use tch::{Device, Kind, Tensor};

use crate::compose::{self, Autocast};
use crate::data::{Batch, Loader};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::loss::segmentation_loss;
use crate::metrics::{Counter, Scores};
use crate::model::{ForwardMode, UNet};
use crate::precision::Precision;

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
        let [n, h, w] = [batch.len, batch.height, batch.width].map(|d| d.cast_signed() as i64);
        let bytes = Tensor::f_from_data_size(&batch.images, &[n, h, w, 3], Kind::Uint8)?;
        let images = compose::images_to_device(&bytes, self.device, self.channels_last)?;
        let masks = Tensor::f_from_data_size(&batch.masks, &[n, h, w], Kind::Uint8)?;
        Ok((images, masks.f_to_device(self.device)?))
    }
}

/// Scores and mean loss of `model` over all of `loader`, in the given precision. `None` where
/// somebody interrupted.
///
/// # Errors
/// Where the data or a tensor operation fails.
pub fn evaluate(
    model: &UNet,
    loader: &Loader,
    upload: Upload,
    precision: Precision,
    interrupt: &Interrupt,
) -> Result<Option<(Scores, f64)>> {
    let mut counter = Counter::new(usize::try_from(model.network().classes).unwrap_or(usize::MAX));
    let (mut loss_sum, mut num_images) = (0.0, 0);
    let _no_grad = tch::no_grad_guard();
    for batch in loader.epoch(0) {
        if interrupt.requested() {
            return Ok(None);
        }
        let batch = batch?;
        let (images, masks) = upload.batch(&batch)?;
        let logits = {
            let _autocast = Autocast::enter(upload.device, precision)?;
            model.forward(&images, &ForwardMode::EVALUATION)?
        };
        loss_sum += segmentation_loss(&logits, &masks)?.f_double_value(&[])? * batch.len as f64;
        num_images += batch.len;
        counter.add(&logits, &masks)?;
    }
    Ok(Some((
        counter.scores(),
        loss_sum / num_images.max(1) as f64,
    )))
}
