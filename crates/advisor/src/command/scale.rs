//! `advisor scale`: how well GPUs train together, by their number and by what connects them.

use std::process::ExitCode;

use crate::scale::Scale;

use super::device::{DeviceArgs, tuned};
use super::{print, refuse};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: DeviceArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Args) -> ExitCode {
    let device = match arguments.device.or_typical() {
        Ok(device) => device,
        Err(code) => return code,
    };
    let target = tuned(&device);
    match Scale::of(&device, &target) {
        Ok(scale) if arguments.json => print(&format!("{:#}\n", scale.to_json(&device, &target))),
        Ok(scale) => print(&scale.to_text(&device, &target)),
        Err(error) => refuse(&error.to_string(), error.hint().as_deref()),
    }
}
