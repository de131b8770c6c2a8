//! Counts operators, and the memory format of what they return, and takes their time, through
//! libtorch's own operator callbacks.

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
    /// 4-D outputs whose strides tell the memory format.
    pub num_images: u64,
    /// Those of them that are not channels-last.
    pub num_not_channels_last: u64,
}

/// Counts operators of this thread, and of the backward passes it starts, until
/// [`Probe::finish`]. One at a time in a process.
#[derive(Debug)]
pub struct Probe(*mut ffi::RawProbe);

impl Probe {
    /// Starts counting.
    ///
    /// # Errors
    /// Where another probe counts already.
    pub fn begin() -> Result<Self> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: `raw` is valid for writes.
        check(unsafe { ffi::snug_probe_begin(&raw mut raw) })?;
        Ok(Self(raw))
    }

    /// Stops and returns the counts, sorted by name.
    ///
    /// # Errors
    /// Where libtorch refuses to remove the callback.
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

/// Takes the time that this thread's operators take, those of its backward included, until
/// [`OperatorTime::finish`]: of the outermost ones, so that none is counted twice. What is left of
/// the wall clock's time is that of the program around them, of autograd's engine and of what its
/// nodes do besides calling operators. On CUDA an operator's time is that of asking for its kernels.
/// One at a time in a process.
#[derive(Debug)]
pub struct OperatorTime(());

impl OperatorTime {
    /// Begins.
    ///
    /// # Errors
    /// Where the time is being taken already.
    pub fn begin() -> Result<Self> {
        // SAFETY: takes no arguments.
        check(unsafe { ffi::snug_busy_begin() })?;
        Ok(Self(()))
    }

    /// Ends, on the thread that began.
    ///
    /// # Errors
    /// Where libtorch refuses to remove the callback.
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
    fn operators_take_time_and_less_than_all_of_it() {
        crate::init().unwrap();
        let a = Tensor::rand([256, 256], (Kind::Float, Device::Cpu));
        let begun = Instant::now();
        let time = OperatorTime::begin().unwrap();
        assert!(OperatorTime::begin().is_err());
        // `matmul` calls `mm`: it is the outer one that counts.
        drop(a.f_matmul(&a).unwrap());
        std::thread::sleep(Duration::from_millis(20));
        let (operators, all) = (time.finish().unwrap(), begun.elapsed());
        assert!(operators > Duration::ZERO);
        assert!(operators + Duration::from_millis(20) <= all);
        // A node's own work is no operator's, though the engine records the node.
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
