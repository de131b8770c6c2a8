//! `advisor guide`: shows the guide's own figures, each next to a prediction.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::Target;
use crate::guide::{self, Measurements};
use bench::results::Results;

use super::device::DeviceArgs;
use super::{A_BENCHMARK, log, print, refuse};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: DeviceArgs,
    /// Channels of the first level; 64 is the guide's network
    #[arg(long, value_name = "N", default_value_t = 64)]
    width: u32,
    /// Also show what `train bench` measured for the same work: its `results.json`
    #[arg(long, value_name = "FILE")]
    measured: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Args) -> ExitCode {
    let device = match arguments.device.or_typical() {
        Ok(device) => device,
        Err(code) => return code,
    };
    if !arguments.device.is_named() {
        log("note: for a typical card; `--gpu NAME` or `--vram SIZE` names another");
    }
    let results = match arguments.measured.as_deref().map(Results::read).transpose() {
        Ok(results) => results,
        Err(error) => return refuse(&error.to_string(), Some(A_BENCHMARK)),
    };
    let target = Target::of(&device);
    let check = match guide::check(&target, arguments.width, results.as_ref()) {
        Ok(check) => check,
        Err(error) => return refuse(&error.to_string(), error.hint().as_deref()),
    };
    let name = arguments
        .measured
        .as_deref()
        .map(|path| path.display().to_string());
    let measured = name
        .as_deref()
        .zip(results.as_ref())
        .map(|(name, results)| Measurements { name, results });
    print(&if arguments.json {
        format!("{:#}\n", guide::to_json(&device, &target, &check, measured))
    } else {
        guide::to_text(&device, &target, &check, measured)
    })
}
