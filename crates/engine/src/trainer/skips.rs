//! Updates that were skipped because a gradient was not finite, counted on the device so that the host
//! need not wait for it.

use tch::{Device, Kind, Tensor};

use crate::error::Result;

/// This many in a row mean more than an initial scale that was too high.
const TOO_MANY: u32 = 5;

/// The counts of a run.
#[derive(Debug)]
pub(super) struct Skips {
    /// All of them, and those in a row up to now: fp32, 2 elements.
    counts: Tensor,
    total: Tensor,
    in_a_row: Tensor,
}

impl Skips {
    pub(super) fn new(device: Device) -> Result<Self> {
        let counts = Tensor::f_zeros([2], (Kind::Float, device))?;
        Ok(Self {
            total: counts.f_narrow(0, 0, 1)?,
            in_a_row: counts.f_narrow(0, 1, 1)?,
            counts,
        })
    }

    /// A handle on the counts.
    pub(super) fn tensor(&self) -> Tensor {
        self.counts.shallow_clone()
    }

    /// Counts an update; `is_skipped` is 1 or 0. Allocates nothing.
    pub(super) fn count(&mut self, is_skipped: &Tensor) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        let _sum = self.total.f_add_(is_skipped)?;
        let _sum = self.in_a_row.f_add_(is_skipped)?;
        let _row = self.in_a_row.f_mul_(is_skipped)?;
        Ok(())
    }

    /// Begins another row.
    pub(super) fn begin_row(&mut self) -> Result<()> {
        let _zero = tch::no_grad(|| self.in_a_row.f_zero_())?;
        Ok(())
    }

    /// Whether the last updates were skipped, more of them than the scaler can need. Waits for the device.
    pub(super) fn are_too_many(&self) -> Result<bool> {
        Ok(self.in_a_row.f_double_value(&[0])? >= f64::from(TOO_MANY))
    }

    /// All skipped updates, and those in a row up to now. Waits for the device.
    pub(super) fn read(&self) -> Result<(u64, u32)> {
        let counts = Vec::<i64>::try_from(self.counts.f_to_kind(Kind::Int64)?)?;
        let [total, in_a_row] = [0, 1].map(|index| counts.get(index).copied().unwrap_or(0));
        Ok((
            u64::try_from(total).unwrap_or(0),
            u32::try_from(in_a_row).unwrap_or(u32::MAX),
        ))
    }

    /// Continues from the counts of [`Self::read`].
    pub(super) fn restore(&mut self, total: u64, in_a_row: u32) -> Result<()> {
        let counts = Tensor::f_from_slice(&[total as f32, in_a_row as f32])?;
        tch::no_grad(|| self.counts.f_copy_(&counts))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_in_a_row_are_too_many() {
        let mut skips = Skips::new(Device::Cpu).unwrap();
        let count = |skips: &mut Skips, is_skipped: f32| {
            skips.count(&Tensor::from_slice(&[is_skipped])).unwrap();
            skips.are_too_many().unwrap()
        };
        for _step in 1..5 {
            assert!(!count(&mut skips, 1.0));
        }
        assert!(count(&mut skips, 1.0));
        // One update in between begins another row.
        assert!(!count(&mut skips, 0.0));
        assert!(!count(&mut skips, 1.0));
        assert_eq!(skips.read().unwrap(), (6, 1));
        let mut resumed = Skips::new(Device::Cpu).unwrap();
        resumed.restore(6, 4).unwrap();
        assert!(count(&mut resumed, 1.0));
        assert_eq!(resumed.read().unwrap(), (7, 5));
        resumed.begin_row().unwrap();
        assert_eq!(resumed.read().unwrap(), (7, 0));
    }
}
