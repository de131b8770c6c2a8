//! Where a loss that is no number comes from, and a loss that grows.
//!
//! Pixels are none of the causes: they are bytes until they are on the device, and what a file cannot
//! give as such is refused when it is decoded, with the file's name.

use std::fmt;

use tch::Tensor;

use crate::error::{Error, Result};
use crate::model::UNet;

/// A loss so many times the first one explodes: it began near 1, and falls when all is well.
const EXPLODES_AT: f64 = 10.0;

/// What made a loss no number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cause {
    /// Weights, or running statistics, are no numbers: an earlier step made them so.
    Weights,
    /// It had grown before, to so many times the first loss.
    Explosion {
        /// That many.
        times: f64,
    },
    /// Weights are numbers and the loss had not grown: the forward pass made it.
    Forward,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weights => f.write_str("the weights are no numbers any more"),
            Self::Explosion { times } => {
                write!(f, "it had grown to {times:.0} times what it was at first")
            }
            Self::Forward => f.write_str("made in the forward pass, of weights that are numbers"),
        }
    }
}

/// The losses of a run, as far as they are read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LossWatch {
    first: Option<f64>,
    last: f64,
    is_said: bool,
}

impl LossWatch {
    /// Takes a loss that is a number.
    pub(super) fn take(&mut self, loss: f64) {
        self.first.get_or_insert(loss);
        self.last = loss;
    }

    /// How many times the first loss the last one is, where that is an explosion.
    fn explosion(&self) -> Option<f64> {
        // Where a run goes on, the first one seen may be small.
        let times = self.last / self.first?.max(1.0);
        (times >= EXPLODES_AT).then_some(times)
    }

    /// The same, once.
    pub(super) fn say_explosion(&mut self) -> Option<f64> {
        let times = self.explosion().filter(|_| !self.is_said)?;
        self.is_said = true;
        Some(times)
    }

    /// A loss, where it is finite; an error with its cause where it is not.
    pub(super) fn finite(&self, loss: f64, step: u64, model: &UNet) -> Result<f64> {
        if loss.is_finite() {
            return Ok(loss);
        }
        let cause = self.cause(model);
        Err(Error::NonFiniteLoss { step, cause })
    }

    /// What made a loss no number.
    fn cause(&self, model: &UNet) -> Cause {
        // Where there is no memory to look with, the weights are taken to be well.
        if !are_numbers(model).unwrap_or(true) {
            return Cause::Weights;
        }
        self.explosion()
            .map_or(Cause::Forward, |times| Cause::Explosion { times })
    }
}

/// Whether every weight and running statistic is a number. Waits for the device.
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
/// Where a tensor operation fails.
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
