//! The device's flag, shared by the subcommands. The keys' flags are `config`'s.

use clap::Args;
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

    /// The device; a GPU that the user did not get is named.
    ///
    /// # Errors
    /// As [`DeviceChoice::resolve`].
    pub(super) fn resolve(self) -> Result<Device> {
        let device = self.device.resolve()?;
        if self.device == DeviceChoice::Auto
            && !device.is_cuda()
            && let Some(note) = device::unused_gpu()
        {
            console::note(&note);
        }
        Ok(device)
    }
}
