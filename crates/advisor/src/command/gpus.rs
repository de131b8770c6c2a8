//! `advisor gpus`: what NVML sees. That there is no GPU is an answer, not a failure.

use std::process::ExitCode;

use advisor::{gpus, nvml};

use super::{print, visible_devices};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Args) -> ExitCode {
    let environment = nvml::environment(visible_devices().as_deref());
    let machine = nvml::machine(&environment);
    let text = if arguments.json {
        format!("{:#}\n", gpus::to_json(&machine, &environment))
    } else {
        gpus::to_text(&machine, &environment)
    };
    print(&text)
}
