//! Predictions: the classes of an image's pixels, and the fallbacks if memory does not suffice.

use data::Batch;
use tch::{Device, Kind, Tensor};
use torch_ext::ops::one_value;

use crate::device;
use crate::error::Result;
use crate::evaluation::Evaluator;
use crate::ladder::Means;
use crate::model::ForwardMode;

/// Predicts images, and descends a ladder of its own if memory runs out: a retry, separate halves of
/// concatenations, AMP. A rung stays in effect once taken.
#[derive(Debug)]
pub struct Predictor<'a> {
    evaluator: Evaluator<'a>,
    /// Probability above which a pixel is foreground (one class).
    threshold: f64,
    mode: ForwardMode,
    is_retry_spent: bool,
}

impl<'a> Predictor<'a> {
    /// Predicts with `evaluator`; one class at `threshold`.
    pub const fn new(evaluator: Evaluator<'a>, threshold: f64) -> Self {
        Self {
            evaluator,
            threshold,
            mode: evaluator.mode(),
            is_retry_spent: false,
        }
    }

    /// Classes of the pixels of `batch`, at the `original` height and width of its images: 0 and 1 for
    /// one class. `rung` receives each change.
    ///
    /// # Errors
    /// If a tensor operation fails and no rung is left.
    pub fn predict(
        &mut self,
        batch: &Batch,
        original: (usize, usize),
        rung: &mut dyn FnMut(&str),
    ) -> Result<Vec<u8>> {
        loop {
            match self.try_predict(batch, original) {
                Err(error) if error.is_out_of_memory() => {
                    device::empty_cache(self.evaluator.upload.device)?;
                    let Some(words) = self.step_down() else {
                        return Err(error);
                    };
                    rung(words);
                }
                outcome => {
                    self.is_retry_spent = false;
                    return outcome;
                }
            }
        }
    }

    /// The next way to predict, in words.
    fn step_down(&mut self) -> Option<&'static str> {
        if !self.is_retry_spent {
            self.is_retry_spent = true;
            return Some("again, unchanged");
        }
        if !self.mode.split_concat {
            self.mode.split_concat = true;
            return Some("with split concatenations, which changes rounding");
        }
        let means = Means::of(self.evaluator.upload.device);
        match means.amp.filter(|_| means.freedom.amp) {
            Some(amp) if !self.evaluator.precision.is_half() => {
                self.evaluator.precision = amp;
                Some("with AMP: rounding differs")
            }
            _ => None,
        }
    }

    /// Makes one attempt with the present settings.
    ///
    /// # Errors
    /// If a tensor operation fails.
    pub fn try_predict(&self, batch: &Batch, original: (usize, usize)) -> Result<Vec<u8>> {
        let (images, _) = self.evaluator.upload.batch(batch)?;
        let logits = self.evaluator.logits(&images, &self.mode)?;
        // Logits, not classes, are resized to the image's size, so that edges stay smooth.
        let [h, w] = [original.0, original.1].map(|d| d.cast_signed() as i64);
        let logits = logits.f_to_kind(Kind::Float)?.f_upsample_bilinear2d(
            [h, w].as_slice(),
            false,
            None::<f64>,
            None::<f64>,
        )?;
        let classes = classes(&logits, self.threshold)?;
        Ok(Vec::<u8>::try_from(classes.f_flatten(0, -1)?)?)
    }
}

/// Classes that `logits` `[N, C, H, W]` predict: `[N, H, W]` u8 on the CPU, one class at `threshold`.
///
/// # Errors
/// If memory runs out.
pub fn classes(logits: &Tensor, threshold: f64) -> Result<Tensor> {
    let logits = logits.f_to_kind(Kind::Float)?;
    let classes = if logits.size()[1] == 1 {
        let threshold = one_value(threshold, logits.device())?;
        logits
            .f_sigmoid()?
            .f_squeeze_dim(1)?
            .f_gt_tensor(&threshold)?
    } else {
        logits.f_argmax(1, false)?
    };
    Ok(classes.f_to_kind(Kind::Uint8)?.f_to_device(Device::Cpu)?)
}
