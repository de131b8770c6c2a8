//! Why the loss became NaN or infinite, and detection of a loss that blows up.
//!
//! Pixels cannot be the cause: they are bytes until they reach the device, and the decoder refuses a
//! file that cannot be converted to bytes, and names it.

use std::fmt;

use tch::Tensor;

use crate::error::{Error, Result};
use crate::model::UNet;

/// A loss this many times the first one has exploded: it starts near 1, and falls in a healthy run.
const EXPLODES_AT: f64 = 10.0;

/// What made a loss non-finite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cause {
    /// An earlier step made weights or running statistics non-finite.
    Weights,
    /// The loss had already grown to a multiple of the first loss.
    Explosion {
        /// The multiple.
        times: f64,
    },
    /// The forward pass, since weights are finite and the loss had not grown.
    Forward,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weights => f.write_str("the weights are no longer finite"),
            Self::Explosion { times } => {
                write!(f, "it had grown to {times:.0} times what it was at first")
            }
            Self::Forward => f.write_str("made in the forward pass, of weights that are numbers"),
        }
    }
}

/// The losses of a run that were read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LossWatch {
    first: Option<f64>,
    last: f64,
    is_said: bool,
}

impl LossWatch {
    /// Takes a finite loss.
    pub(super) fn take(&mut self, loss: f64) {
        self.first.get_or_insert(loss);
        self.last = loss;
    }

    /// The ratio of the last loss to the first, if it counts as an explosion.
    fn explosion(&self) -> Option<f64> {
        // In a resumed run the first loss seen may be small.
        let times = self.last / self.first?.max(1.0);
        (times >= EXPLODES_AT).then_some(times)
    }

    /// Like `explosion`, but only once.
    pub(super) fn say_explosion(&mut self) -> Option<f64> {
        let times = self.explosion().filter(|_| !self.is_said)?;
        self.is_said = true;
        Some(times)
    }

    /// Returns a finite loss, and for any other an error with the cause.
    pub(super) fn finite(&self, loss: f64, step: u64, model: &UNet) -> Result<f64> {
        if loss.is_finite() {
            return Ok(loss);
        }
        let cause = self.cause(model);
        Err(Error::NonFiniteLoss { step, cause })
    }

    /// What made a loss non-finite.
    fn cause(&self, model: &UNet) -> Cause {
        // If there is no memory left for the check, the weights are assumed to be finite.
        if !are_numbers(model).unwrap_or(true) {
            return Cause::Weights;
        }
        self.explosion()
            .map_or(Cause::Forward, |times| Cause::Explosion { times })
    }
}

/// Whether every weight and running statistic is finite. Waits for the device.
pub(super) fn are_numbers(model: &UNet) -> Result<bool> {
    let _no_grad = tch::no_grad_guard();
    for entry in model.parameters().entries() {
        if !all_finite(&entry.tensor)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether every value is finite. Waits for the device.
///
/// # Errors
/// If a tensor operation fails.
pub fn all_finite(tensor: &Tensor) -> Result<bool> {
    Ok(tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_explodes_beside_the_first_one() {
        let mut watch = LossWatch::default();
        for loss in [0.9, 0.1, 1.2, 8.9] {
            watch.take(loss);
            assert_eq!(watch.say_explosion(), None, "{loss}");
        }
        watch.take(90.0);
        assert_eq!(watch.say_explosion(), Some(90.0));
        assert_eq!(watch.say_explosion(), None, "said once");
        assert_eq!(watch.explosion(), Some(90.0));
    }
}
