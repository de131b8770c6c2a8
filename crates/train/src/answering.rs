//! Answers of a model without masks, and what is done where memory does not suffice for one.

use tch::Kind;

use crate::compose::Autocast;
use crate::device;
use crate::error::{Error, Result};
use crate::evaluation::Upload;
use crate::ladder::Means;
use crate::model::{ForwardMode, UNet};
use crate::outputs::samples::answers;
use crate::precision::Precision;
use data::Batch;

/// Answers images, and goes down the ladder of prediction where memory runs out: the same again, the
/// halves of concatenations apart, AMP. What was needed once is kept to.
#[derive(Debug)]
pub struct Answering<'a> {
    model: &'a UNet,
    upload: Upload,
    precision: Precision,
    /// Probability above which a pixel is foreground (one class).
    threshold: f64,
    mode: ForwardMode,
    is_retry_spent: bool,
}

impl<'a> Answering<'a> {
    /// By `model`, in the given precision; one class at `threshold`.
    pub fn new(model: &'a UNet, upload: Upload, precision: Precision, threshold: f64) -> Self {
        Self {
            model,
            upload,
            precision,
            threshold,
            mode: ForwardMode::EVALUATION,
            is_retry_spent: false,
        }
    }

    /// Classes of the pixels of `batch`, at the `original` height and width of its images: 0 and 1 for
    /// one class. `rung` is told what is changed.
    ///
    /// # Errors
    /// Where a tensor operation fails, or nothing is left to change.
    pub fn answer(
        &mut self,
        batch: &Batch,
        original: (usize, usize),
        rung: &mut dyn FnMut(&str),
    ) -> Result<Vec<u8>> {
        loop {
            match self.attempt(batch, original) {
                Err(Error::Tensor(error)) if error.is_out_of_memory() => {
                    device::empty_cache(self.upload.device)?;
                    let Some(words) = self.step_down() else {
                        return Err(Error::Tensor(error));
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

    /// The next way to answer, in words.
    fn step_down(&mut self) -> Option<&'static str> {
        if !self.is_retry_spent {
            self.is_retry_spent = true;
            return Some("once more as it is");
        }
        if !self.mode.split_concat {
            self.mode.split_concat = true;
            return Some("with the halves of concatenations apart: rounding differs");
        }
        let means = Means::of(self.upload.device);
        match means.amp.filter(|_| means.freedom.amp) {
            Some(amp) if self.precision == Precision::Fp32 => {
                self.precision = amp;
                Some("with AMP: rounding differs")
            }
            _ => None,
        }
    }

    /// Answers in the way that is taken now.
    ///
    /// # Errors
    /// Where a tensor operation fails.
    pub fn attempt(&self, batch: &Batch, original: (usize, usize)) -> Result<Vec<u8>> {
        let (images, _) = self.upload.batch(batch)?;
        let logits = {
            let _no_grad = tch::no_grad_guard();
            let _autocast = Autocast::enter(self.upload.device, self.precision)?;
            self.model.forward(&images, &self.mode)?
        };
        // Logits, not answers, are brought to the image's size: edges stay smooth.
        let [h, w] = [original.0, original.1].map(|d| d.cast_signed() as i64);
        let logits = logits.f_to_kind(Kind::Float)?.f_upsample_bilinear2d(
            [h, w].as_slice(),
            false,
            None::<f64>,
            None::<f64>,
        )?;
        Ok(Vec::<u8>::try_from(
            answers(&logits, self.threshold)?.f_flatten(0, -1)?,
        )?)
    }
}
