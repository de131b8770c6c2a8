//! `advisor gpus`: shows what NVML sees. Finding no GPU is an answer, not a failure.

use std::process::ExitCode;

use crate::{gpus, place};
use machine::nvml;

use super::print;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Args) -> ExitCode {
    let environment = nvml::environment(place::visible_devices().as_deref());
    let found = nvml::inventory(&environment);
    let text = if arguments.json {
        format!("{:#}\n", gpus::to_json(&found, &environment))
    } else {
        gpus::to_text(&found, &environment)
    };
    print(&text)
}
