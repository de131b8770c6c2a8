//! Counts operators and the memory formats of their outputs, and times them, through libtorch's own
//! operator callbacks.

use std::ffi::CStr;
use std::time::Duration;

use crate::{Result, error::check, ffi};

/// What one operator did while a [`Probe`] was counting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorCount {
    /// Name, such as `aten::convolution`; backward nodes have their own names.
    pub name: String,
    /// Calls.
    pub num_calls: u64,
    /// 4-D outputs whose strides determine the memory format.
    pub num_images: u64,
    /// How many of these outputs are not channels-last.
    pub num_not_channels_last: u64,
}

/// Counts operators of this thread, and of the backward passes it starts, until
/// [`Probe::finish`]. A process has at most one at a time.
#[derive(Debug)]
pub struct Probe(*mut ffi::RawProbe);

impl Probe {
    /// Starts counting.
    ///
    /// # Errors
    /// If another probe is already counting.
    pub fn begin() -> Result<Self> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: `raw` is valid for writes.
        check(unsafe { ffi::snug_probe_begin(&raw mut raw) })?;
        Ok(Self(raw))
    }

    /// Stops and returns the counts, sorted by name.
    ///
    /// # Errors
    /// If libtorch refuses to remove the callback.
    pub fn finish(self) -> Result<Vec<OperatorCount>> {
        // SAFETY: the pointer is live until `self` is dropped.
        check(unsafe { ffi::snug_probe_end(self.0) })?;
        // SAFETY: as above.
        let len = unsafe { ffi::snug_probe_len(self.0) };
        Ok((0..len).map(|i| self.row(i)).collect())
    }

    fn row(&self, index: usize) -> OperatorCount {
        let mut row = ffi::ProbeRow {
            name: std::ptr::null(),
            num_calls: 0,
            num_images: 0,
            num_not_channels_last: 0,
        };
        // SAFETY: `index` is in range, `row` valid for writes.
        unsafe { ffi::snug_probe_row(self.0, index, &raw mut row) };
        OperatorCount {
            // SAFETY: the shim's string lives as long as the probe.
            name: unsafe { CStr::from_ptr(row.name) }
                .to_string_lossy()
                .into_owned(),
            num_calls: row.num_calls,
            num_images: row.num_images,
            num_not_channels_last: row.num_not_channels_last,
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // SAFETY: made by `snug_probe_begin`, deleted once.
        unsafe { ffi::snug_probe_delete(self.0) }
    }
}

/// Times this thread's operators, including its backward's, until [`OperatorTime::finish`]. Only
/// the outermost operators are timed, so that nothing is counted twice. The rest of the wall-clock
/// time belongs to the surrounding program, to autograd's engine, and to work that its nodes do
/// outside of operators. On CUDA an operator's time is the time to launch its kernels. A process
/// has at most one such timer.
#[derive(Debug)]
pub struct OperatorTime(());

impl OperatorTime {
    /// Starts the timer.
    ///
    /// # Errors
    /// If operators are already being timed.
    pub fn begin() -> Result<Self> {
        // SAFETY: takes no arguments.
        check(unsafe { ffi::snug_busy_begin() })?;
        Ok(Self(()))
    }

    /// Stops the timer, on the thread that started it.
    ///
    /// # Errors
    /// If libtorch refuses to remove the callback.
    pub fn finish(self) -> Result<Duration> {
        let mut nanoseconds = 0;
        // SAFETY: `nanoseconds` is valid for writes.
        check(unsafe { ffi::snug_busy_end(&raw mut nanoseconds) })?;
        Ok(Duration::from_nanos(nanoseconds))
    }
}

impl Drop for OperatorTime {
    fn drop(&mut self) {
        let mut nanoseconds = 0;
        // SAFETY: as above; a second end does nothing.
        let _ended = unsafe { ffi::snug_busy_end(&raw mut nanoseconds) };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tch::{Device, Kind, Tensor};

    use super::*;

    #[test]
    fn operators_take_some_but_not_all_of_the_time() {
        crate::init().unwrap();
        let a = Tensor::rand([256, 256], (Kind::Float, Device::Cpu));
        let begun = Instant::now();
        let time = OperatorTime::begin().unwrap();
        assert!(OperatorTime::begin().is_err());
        // `matmul` calls `mm`: only the outer one counts.
        drop(a.f_matmul(&a).unwrap());
        std::thread::sleep(Duration::from_millis(20));
        let (operators, all) = (time.finish().unwrap(), begun.elapsed());
        assert!(operators > Duration::ZERO);
        assert!(operators + Duration::from_millis(20) <= all);
        // A node's own work belongs to no operator, though the engine records the node.
        let leaf = Tensor::rand([8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let slow = crate::function::attach_backward(&leaf.detach(), |_| {
            std::thread::sleep(Duration::from_millis(20));
            Ok(())
        });
        let loss = slow.unwrap().sum(Kind::Float);
        let time = OperatorTime::begin().unwrap();
        crate::backward(&loss).unwrap();
        assert!(time.finish().unwrap() < Duration::from_millis(20));
        let again = OperatorTime::begin().unwrap().finish().unwrap();
        assert!(again < all);
    }
}
