//! A check before a run in half precision: do its predictions agree with fp32?

use std::fmt;

use tch::{Kind, Tensor};

use super::Trainer;
use super::divergence::all_finite;
use crate::error::Result;
use crate::evaluation::Evaluator;
use crate::model::ForwardMode;
use config::Precision;
use data::Batch;

/// This many images are enough for the comparison.
const MOST_IMAGES: usize = 2;

/// A mean difference of probabilities above this is not rounding: on a fresh network bf16 is off by a
/// few thousandths.
const TOO_MUCH: f64 = 0.02;

/// How far probabilities in half precision differ from those in fp32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// Mean absolute difference.
    pub mean: f64,
    /// Largest absolute difference.
    pub largest: f64,
    /// Whether fp32 gives finite values.
    pub fp32_is_finite: bool,
    /// Whether half precision gives finite values.
    pub half_is_finite: bool,
}

impl Agreement {
    /// Whether half precision can replace fp32.
    pub fn holds(&self) -> bool {
        self.fp32_is_finite && self.half_is_finite && self.mean <= TOO_MUCH
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.fp32_is_finite, self.half_is_finite) {
            (false, _) => {
                f.write_str("even in fp32 the outputs for the first images are not finite")
            }
            (true, false) => {
                f.write_str("its outputs for the first images are not finite; those in fp32 are")
            }
            (true, true) => write!(
                f,
                "probabilities on the first images differ from fp32 by {:.4} on average, {:.4} at the \
                 most",
                self.mean, self.largest
            ),
        }
    }
}

impl Trainer {
    /// Compares both on a few images of `batch`; `None` for a run in fp32. The trainer stays unchanged.
    ///
    /// # Errors
    /// If memory runs out, or a tensor operation fails.
    pub fn preflight(&mut self, batch: &Batch) -> Result<Option<Agreement>> {
        if !self.learner.precision.is_half() {
            return Ok(None);
        }
        self.saved.save()?;
        let compared = self.compare(batch);
        self.undo()?;
        compared.map(Some)
    }

    fn compare(&self, batch: &Batch) -> Result<Agreement> {
        let fp32 = self.probabilities(batch, Precision::Fp32)?;
        let half = self.probabilities(batch, self.learner.precision)?;
        let difference = half.f_sub(&fp32)?.f_abs()?;
        Ok(Agreement {
            mean: difference.f_mean(Kind::Float)?.f_double_value(&[])?,
            largest: difference.f_max()?.f_double_value(&[])?,
            fp32_is_finite: all_finite(&fp32)?,
            half_is_finite: all_finite(&half)?,
        })
    }

    fn probabilities(&self, batch: &Batch, precision: Precision) -> Result<Tensor> {
        let _no_grad = tch::no_grad_guard();
        let some = 0..batch.len.min(MOST_IMAGES);
        let evaluator = Evaluator {
            precision,
            ..self.learner.evaluator()
        };
        // Batch norm uses the statistics of these images, as in training.
        let mode = ForwardMode {
            training: true,
            ..evaluator.mode()
        };
        let (images, _) = evaluator.upload.part(batch, some)?;
        let logits = evaluator.logits(&images, &mode)?;
        let logits = logits.f_to_kind(Kind::Float)?;
        Ok(if logits.size()[1] == 1 {
            logits.f_sigmoid()?
        } else {
            logits.f_softmax(1, Kind::Float)?
        })
    }
}
