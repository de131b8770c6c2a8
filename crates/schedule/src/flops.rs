//! The floating-point operations of a schedule.

use config::{ImageSize, Network};

use crate::ScheduleError;
use crate::compile::{Schedule, skip_of};
use crate::op::{Half, Nth, Op};

/// Floating-point operations of the convolutions of one step, for one image; a multiplication and
/// an addition count as two. The rest of a step is bound by bandwidth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepFlops {
    /// Forward.
    pub forward: u64,
    /// Gradients of weights and inputs.
    pub backward: u64,
    /// Convolutions that backward runs again.
    pub recompute: u64,
    /// How many of these are 3x3 convolutions; a split convolution counts once.
    pub num_recomputed_convs: u64,
}

impl StepFlops {
    /// The operations of the whole step divided by those of the step without recomputation.
    pub fn ratio(&self) -> f64 {
        let plain = (self.forward + self.backward) as f64;
        (plain + self.recompute as f64) / plain
    }
}

impl Schedule {
    /// Counts the operations of the convolutions.
    ///
    /// # Errors
    /// [`ScheduleError::TooLarge`] if a figure exceeds 64 bits.
    pub fn flops(&self, network: &Network, size: ImageSize) -> Result<StepFlops, ScheduleError> {
        self.count(network, size)
            .ok_or(ScheduleError::TooLarge { what: "operations" })
    }

    fn count(&self, network: &Network, size: ImageSize) -> Option<StepFlops> {
        let mut flops = StepFlops::default();
        for &op in &self.forward {
            let cost = self.cost(network, size, op)?;
            flops.forward = flops.forward.checked_add(cost)?;
        }
        for &op in &self.backward {
            let cost = self.cost(network, size, op)?;
            let sum = match op {
                Op::Conv(..) | Op::ConvHalf(..) | Op::Up(_) | Op::Head => &mut flops.recompute,
                _ => &mut flops.backward,
            };
            *sum = sum.checked_add(cost)?;
            let is_3x3 = matches!(op, Op::Conv(..) | Op::ConvHalf(_, Half::Up));
            flops.num_recomputed_convs += u64::from(is_3x3);
        }
        Some(flops)
    }

    fn cost(&self, network: &Network, size: ImageSize, op: Op) -> Option<u64> {
        let level = |stage: usize| u32::try_from(skip_of(self.depth, stage).unwrap_or(stage)).ok();
        let channels = |stage| Some(u64::from(network.channels(level(stage)?)));
        let conv = |stage: usize, taps: u64, inputs: u64, outputs: u64| {
            inputs
                .checked_mul(outputs)?
                .checked_mul(2 * taps)?
                .checked_mul(size.pixels().checked_shr(2 * level(stage)?)?)
        };
        let inputs = |stage, nth| {
            let here = channels(stage)?;
            match nth {
                Nth::Second => Some(here),
                Nth::First if stage == 0 => Some(u64::from(network.in_channels)),
                Nth::First if stage <= self.depth => channels(stage - 1),
                Nth::First => here.checked_mul(2),
            }
        };
        match op {
            Op::Conv(s, n) | Op::ConvWeight(s, n) | Op::ConvInput(s, n) => {
                conv(s, 9, inputs(s, n)?, channels(s)?)
            }
            Op::ConvHalf(s, Half::Up | Half::Skip)
            | Op::ConvWeightHalf(s, _)
            | Op::ConvInputHalf(s, _) => conv(s, 9, channels(s)?, channels(s)?),
            // The stride equals the kernel size, so each output pixel sees one tap.
            Op::Up(s) | Op::UpWeight(s) | Op::UpInput(s) => {
                conv(s, 1, channels(s)?.checked_mul(2)?, channels(s)?)
            }
            Op::Head | Op::HeadWeight | Op::HeadInput => {
                conv(0, 1, channels(0)?, u64::from(network.classes))
            }
            _ => Some(0),
        }
    }
}
