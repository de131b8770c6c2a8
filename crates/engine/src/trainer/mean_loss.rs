//! The mean loss of an epoch, summed on the device and rarely read, because a read waits for the device.

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use crate::error::Result;

/// The mean loss of an epoch so far.
#[derive(Debug)]
pub(super) struct MeanLoss {
    pub(super) sum: Tensor,
    pub(super) count: u64,
    device: Device,
    read_at: Instant,
}

impl MeanLoss {
    pub(super) fn new(device: Device) -> Result<Self> {
        let scalar: [i64; 0] = [];
        let sum = Tensor::f_zeros(scalar.as_slice(), (Kind::Float, device))?;
        Ok(Self {
            sum,
            count: 0,
            device,
            read_at: Instant::now(),
        })
    }

    /// Begins another epoch. Allocates nothing.
    pub(super) fn begin(&mut self) -> Result<()> {
        let _zero = self.sum.f_zero_()?;
        self.count = 0;
        Ok(())
    }

    /// Adds the loss of a batch, which is finite. Allocates nothing: the step is done and cannot be undone.
    pub(super) fn add(&mut self, loss: &Tensor) -> Result<()> {
        let _sum = self.sum.f_add_(loss)?;
        self.count += 1;
        Ok(())
    }

    /// The mean so far: at every call on the CPU, and once a second on CUDA.
    pub(super) fn read_when_due(&mut self) -> Result<Option<f64>> {
        if self.device.is_cuda() && self.read_at.elapsed() < Duration::from_secs(1) {
            return Ok(None);
        }
        self.read_at = Instant::now();
        self.read().map(Some)
    }

    /// The mean so far, finite or not.
    pub(super) fn read(&self) -> Result<f64> {
        Ok(self.sum.f_double_value(&[])? / self.count.max(1) as f64)
    }
}
