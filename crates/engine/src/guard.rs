//! The memory guard: it abandons a step before the GPU or the machine is full, while there is still
//! room to react.
//!
//! It checks between the forward and the backward pass, once every few steps. On the GPU it reads the
//! memory in use by all processes, as the driver counts it, less what this process's allocator has
//! cached. On the host it reads the memory in use on the machine or in the container, including the
//! loader's and other programs'. The predicted need of the rest of the step is added to the host's
//! memory; on a GPU the allocator still holds it from the previous step. A recorded step is
//! checked before it begins, with what an eager one held. Nothing waits for the device.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use config::Bytes;
use machine::ram::Ram;
use tch::Device;

use crate::device;
use crate::error::{Error, Result};

/// The share of a memory above which the guard steps in; above 1 it never does.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct FillLimit(f64);

impl FillLimit {
    /// The GPU threshold of the guide's script.
    pub const GPU: Self = Self(0.95);
    /// The threshold of the guide's script for the machine's memory.
    pub const RAM: Self = Self(0.90);
    /// The guard never steps in.
    pub const OFF: Self = Self(f64::INFINITY);

    /// The threshold in bytes of `total`, if it is on.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a size, between 0 and it"
    )]
    pub fn of(self, total: u64) -> Option<u64> {
        (self.0 <= 1.0).then_some((total as f64 * self.0) as u64)
    }
}

impl FromStr for FillLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::OFF);
        }
        let share: Option<f64> = text.parse().ok();
        share
            .filter(|share| *share > 0.0 && *share <= 1.0)
            .map(Self)
            .ok_or_else(|| format!("`{text}` is neither a share above 0 and up to 1 nor `off`"))
    }
}

/// Which memory is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryPlace {
    /// The run's GPU.
    Gpu,
    /// The memory of the machine or the container.
    Ram,
}

/// More memory is in use than allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pressure {
    /// Which memory is short.
    pub place: MemoryPlace,
    /// Bytes in use by all processes.
    pub used: Bytes,
    /// Total bytes of this memory.
    pub total: Bytes,
    /// The most bytes that may be in use.
    pub allowed: Bytes,
}

impl Pressure {
    fn of(place: MemoryPlace, free: u64, total: u64, threshold: FillLimit) -> Option<Self> {
        let allowed = threshold.of(total)?;
        let used = total.saturating_sub(free);
        (used > allowed).then_some(Self {
            place,
            used: Bytes(used),
            total: Bytes(total),
            allowed: Bytes(allowed),
        })
    }

    /// Bytes that have to be freed.
    pub fn excess_bytes(&self) -> u64 {
        self.used.0.saturating_sub(self.allowed.0)
    }
}

impl fmt::Display for MemoryPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gpu => "the GPU",
            Self::Ram => "this machine",
        })
    }
}

impl fmt::Display for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            used,
            total,
            allowed,
        } = self;
        write!(
            f,
            "the memory of {place} is nearly full: {used} of {total} in use, the guard allows \
             {allowed}"
        )
    }
}

/// Checks memory once every few steps.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// The threshold for the GPU's memory.
    pub gpu: FillLimit,
    /// The threshold for the machine's memory.
    pub ram: FillLimit,
    /// Steps from one check to the next.
    pub every: NonZeroU64,
    /// Reads the machine's memory: [`machine::ram::read`], except in tests.
    pub read_ram: fn() -> Option<Ram>,
}

impl Guard {
    /// Whether a check is due in the step that follows the first `steps` steps.
    pub(crate) const fn is_due(&self, steps: u64) -> bool {
        steps.is_multiple_of(self.every.get())
    }

    /// Checks memory; the rest of the step will take `still_to_come` bytes of the device's memory.
    ///
    /// # Errors
    /// [`Error::MemoryPressure`].
    pub(crate) fn look(&self, device: Device, still_to_come: u64) -> Result<()> {
        let on_gpu = || {
            let (free, total) = (
                device::obtainable_bytes(device)?.saturating_sub(still_to_come),
                device::total_bytes(device)?,
            );
            Pressure::of(MemoryPlace::Gpu, free, total, self.gpu)
        };
        let on_machine = || {
            let ram = (self.read_ram)()?;
            let still_to_come = if device.is_cuda() { 0 } else { still_to_come };
            let free = ram.available.0.saturating_sub(still_to_come);
            Pressure::of(MemoryPlace::Ram, free, ram.total.0, self.ram)
        };
        let gpu = device.is_cuda().then(on_gpu).flatten();
        match gpu.or_else(on_machine) {
            Some(pressure) => Err(Error::MemoryPressure(pressure)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use machine::ram;

    use super::*;

    #[test]
    fn thresholds_are_shares() {
        assert_eq!("0.9".parse(), Ok(FillLimit::RAM));
        assert_eq!("off".parse(), Ok(FillLimit::OFF));
        for wrong in ["0", "-1", "1.5", "90", "90%", "nan", "inf", ""] {
            assert!(wrong.parse::<FillLimit>().is_err(), "{wrong}");
        }
        assert_eq!(FillLimit::RAM.of(1000), Some(900));
        assert_eq!(FillLimit::OFF.of(1000), None);
    }

    #[test]
    fn pressure_begins_above_the_threshold() {
        let of = |free| Pressure::of(MemoryPlace::Ram, free, 1000, FillLimit::RAM);
        assert_eq!(of(100), None);
        let pressure = of(60).unwrap();
        assert_eq!(pressure.excess_bytes(), 40);
        assert_eq!(
            Pressure::of(MemoryPlace::Gpu, 0, 1000, FillLimit::OFF),
            None
        );
    }

    #[test]
    fn what_is_still_to_come_counts() {
        let guard = Guard {
            gpu: FillLimit::OFF,
            ram: FillLimit::RAM,
            every: NonZeroU64::MIN,
            read_ram: || {
                Some(Ram {
                    total: Bytes(1000),
                    available: Bytes(300),
                })
            },
        };
        assert!(guard.look(Device::Cpu, 200).is_ok());
        assert!(guard.look(Device::Cpu, 201).is_err());
        assert!(guard.look(Device::Cpu, u64::MAX).is_err());
    }

    #[test]
    fn a_machine_is_never_empty() {
        let guard = Guard {
            gpu: FillLimit::OFF,
            ram: FillLimit(1e-9),
            every: NonZeroU64::new(3).unwrap(),
            read_ram: ram::read,
        };
        if ram::read().is_none() {
            eprintln!("skipped: this system does not say how much memory it has");
            return;
        }
        assert!(guard.is_due(0) && !guard.is_due(2) && guard.is_due(3));
        let error = guard.look(Device::Cpu, 0).unwrap_err();
        assert!(matches!(error, Error::MemoryPressure(_)), "{error}");
    }
}
