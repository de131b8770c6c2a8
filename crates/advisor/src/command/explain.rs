//! `advisor explain`: a step's memory before it runs, from its configuration alone.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::explain::{self, On};
use crate::{place, ranks};
use clap::Arg;
use config::CheckpointFlag;
use config::cli::{Explain, KeyFlags};
use estimator::{Cpu, EstimateError};
use machine::Device;

use super::device::{DeviceArgs, tuned};
use super::ranks::RanksArgs;
use super::{log, print, refuse};

#[derive(Debug, clap::Args)]
#[command(mut_arg("grad-checkpoint", policy))]
pub struct Args {
    #[command(flatten)]
    pub(super) keys: KeyFlags<Explain>,
    /// Where the step is to run: auto (the GPU found here, otherwise the CPU) or cpu
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = ["auto", "cpu"])]
    device: String,
    #[command(flatten)]
    card: DeviceArgs,
    #[command(flatten)]
    ranks: RanksArgs,
    /// Threads of libtorch, for which oneDNN takes scratch memory; this machine's by default
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(Cpu::MAX_THREADS)))]
    threads: Option<u32>,
    /// Also draw the step: its memory over time, as an SVG picture
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// With `--svg`, draw the step under each named policy, side by side
    #[arg(long, requires = "svg")]
    policies: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// This command does not choose a policy.
fn policy(arg: Arg) -> Arg {
    arg.help(
        "Gradient checkpointing: off, selective (keeps convolution outputs: half the memory for almost no time), \
         block (each double convolution, as in the guide), stage, mixed (the least memory), or nine letters (`mixed` \
         with that plan, as in NNNNNNLNC)",
    )
    .value_parser(CheckpointFlag::without_auto)
}

pub(super) fn run(arguments: &Args) -> ExitCode {
    let mut config = match arguments.keys.resolve() {
        Ok(resolved) => resolved.config,
        Err(error) => return refuse(&error.to_string(), error.hint().as_deref()),
    };
    let device = match device(arguments) {
        Ok(device) => device,
        Err(code) => return code,
    };
    let failed = |error: EstimateError| refuse(&error.to_string(), Some(explain::hint(&error)));
    let target = tuned(&device);
    let gpus = arguments.ranks.gpus();
    let together = match gpus.map(|gpus| gpus.together(&device, &config)).transpose() {
        Ok(together) => together,
        Err(error) => return refuse(&error.to_string(), error.hint().as_deref()),
    };
    if let Some(together) = &together {
        // One GPU's step.
        config = together.part(&config);
    }
    let (on, memory) = match On::predict(&config, &device, &target) {
        Ok(predicted) => predicted,
        Err(error) => return failed(error),
    };
    if let Some(file) = &arguments.svg {
        let picture = if arguments.policies {
            explain::policies_to_svg(&config, &on, &target)
        } else {
            let seconds = target.moment_seconds(&config, &memory);
            seconds.map(|seconds| explain::to_svg(&config, &on, &memory, &seconds))
        };
        let picture = match picture {
            Ok(picture) => picture,
            Err(error) => return failed(error),
        };
        if let Err(error) = fs::write(file, picture) {
            let message = format!("cannot write `{}`: {error}", file.display());
            return refuse(&message, Some("`--svg` takes a file in an existing folder"));
        }
        log(&format!("picture: {}", file.display()));
    }
    let together = together.as_ref();
    print(&if arguments.json {
        let mut value = explain::to_json(&config, &on, &memory);
        if let Some(together) = together {
            value["ranks"] = ranks::to_json(together, &target, &config, on.forecast());
        }
        format!("{value:#}\n")
    } else {
        let mut text = explain::to_text(&config, &on, &memory);
        if let Some(together) = together.filter(|it| it.ranks.num > 1) {
            text.push('\n');
            text.push_str(&ranks::to_text(together, &target, &config, on.forecast()));
        }
        text
    })
}

/// Where the step runs.
fn device(arguments: &Args) -> Result<Device, ExitCode> {
    let card = arguments.card.named()?;
    place::asked(card, arguments.device == "cpu", arguments.threads)
        .map_err(|error| refuse(&error.to_string(), error.hint().as_deref()))
}
