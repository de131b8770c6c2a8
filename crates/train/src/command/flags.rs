//! The device's flag, shared by the subcommands. The keys' flags are `config`'s.

use clap::Args;
use machine::nvml;
use ranks::Launch;
use tch::Device;

use super::console;
use crate::error::Result;
use engine::device::{self, DeviceChoice};

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
