//! The device's flag, shared by the subcommands. The keys' flags are `config`'s.

use clap::Args;

use engine::device::DeviceChoice;

/// Where to compute.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(super) struct DeviceFlag {
    /// Where to compute: auto, cpu or cuda[:N]
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub(super) device: DeviceChoice,
}
