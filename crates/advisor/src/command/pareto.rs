//! `advisor pareto`: shows memory against time over all checkpoint plans.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::pareto;
use config::cli::{KeyFlags, Pareto};
use machine::Device;

use super::device::{DeviceArgs, tuned};
use super::{log, print, refuse};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    pub(super) keys: KeyFlags<Pareto>,
    /// Also draw it, as an SVG picture
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Print everything as comma-separated values
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Args) -> ExitCode {
    let device = match arguments.device.or_found() {
        Ok(device) => device,
        Err(code) => return code,
    };
    let config = match arguments.keys.resolve() {
        Ok(resolved) => resolved.config,
        Err(error) => return refuse(&error.to_string(), error.hint().as_deref()),
    };
    let target = tuned(&device);
    let found = match pareto::pareto(&target, &config) {
        Ok(found) => found,
        Err(error) => {
            let hint = "a smaller `--batch`, `--img-size` or `--width`";
            return refuse(&error.to_string(), Some(hint));
        }
    };
    if let Some(file) = &arguments.svg {
        let picture = pareto::to_svg(&name(&device), &target, &found);
        if let Err(error) = fs::write(file, picture) {
            return refuse(
                &format!("cannot write `{}`: {error}", file.display()),
                Some("`--svg` takes a file in an existing folder"),
            );
        }
        log(&format!("picture: {}", file.display()));
    }
    print(&if arguments.csv {
        pareto::to_csv(&target, &found)
    } else if arguments.json {
        format!("{:#}\n", pareto::to_json(&device, &target, &found))
    } else {
        pareto::to_text(&device, &target, &found)
    })
}

fn name(device: &Device) -> String {
    match device {
        Device::Given {
            card: Some(card), ..
        } => card.name.to_owned(),
        Device::Given { memory, card: None } => format!("a card with {memory}"),
        Device::Found { gpu, .. } => gpu.name.clone(),
        Device::Cpu { .. } => "this CPU".to_owned(),
    }
}
