//! The device's flag, and what reads numbers of flags, shared by the subcommands. The keys' flags are `config`'s.

use std::time::Duration;

use clap::Args;
use machine::nvml;
use ranks::Launch;
use tch::Device;

use super::console;
use crate::error::Result;
use engine::device::{self, DeviceChoice};

/// Reads a number from `min` to `max`.
pub(super) fn number(text: &str, min: f64, max: f64) -> Result<f64, String> {
    let value: Option<f64> = text.parse().ok();
    value
        .filter(|it| (min..=max).contains(it))
        .ok_or_else(|| format!("must be a number from {min} to {max}"))
}

/// Reads a number of minutes, `min` or more.
pub(super) fn minutes(text: &str, min: f64) -> Result<Duration, String> {
    /// Longer than any run, and well within the range of a `Duration`.
    const MAX: f64 = 1e6;
    number(text, min, MAX).map(|it| Duration::from_secs_f64(it * 60.0))
}

/// Reads the minutes in which parts of a measurement may begin. None would begin in 0, which is not "no limit" either.
pub(super) fn budget(text: &str) -> Result<Duration, String> {
    minutes(text, 1e-4)
}

/// Where to compute.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct DeviceFlag {
    /// Where to compute: auto, cpu or cuda[:N]
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceChoice,
}

impl DeviceFlag {
    /// As it is typed, if it was given.
    pub(super) fn given(self) -> Option<String> {
        match self.device {
            DeviceChoice::Auto => None,
            DeviceChoice::Cpu => Some("cpu".to_owned()),
            DeviceChoice::Cuda(None) => Some("cuda".to_owned()),
            DeviceChoice::Cuda(Some(index)) => Some(format!("cuda:{index}")),
        }
    }

    /// Whether this may become a GPU, as far as that is known without CUDA.
    pub(super) fn may_take_gpu(self) -> bool {
        match self.device {
            DeviceChoice::Cpu => false,
            DeviceChoice::Cuda(_) => true,
            DeviceChoice::Auto => {
                let found = nvml::inventory(&nvml::environment(None));
                found.is_ok_and(|it| !it.gpus.is_empty())
            }
        }
    }

    /// The device; a GPU that the user did not get is named.
    ///
    /// # Errors
    /// As [`DeviceChoice::resolve`].
    pub(super) fn resolve(self) -> Result<Device> {
        self.resolve_for(None)
    }

    /// As [`Self::resolve`], for a rank of a run of several processes: each takes a GPU of its own.
    ///
    /// # Errors
    /// As there, and those of [`DeviceChoice::of_rank`].
    pub(super) fn resolve_for(self, launch: Option<&Launch>) -> Result<Device> {
        let choice = launch.map_or(Ok(self.device), |launch| self.device.of_rank(launch))?;
        let device = choice.resolve()?;
        if self.device == DeviceChoice::Auto
            && !device.is_cuda()
            && let Some(note) = device::unused_gpu()
        {
            console::note(&note);
        }
        Ok(device)
    }
}
