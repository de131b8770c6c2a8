//! `advisor suggest`: recommends a recipe for a device.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::ranks::advise_together;
use crate::{Advice, Goal, Request, advise, to_json, to_text};
use config::cli::{Exit, KeyFlags, Suggest};

use super::device::{DeviceArgs, tuned};
use super::ranks::RanksArgs;
use super::{print, refuse};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    ranks: RanksArgs,
    /// Goal: balance (the guide's batch, as fast as fits), memory (the guide's batch in the least memory,
    /// at most a third slower) or speed (the most images per second)
    #[arg(long, value_name = "GOAL", default_value = "balance")]
    goal: Goal,
    /// The largest batch that fits, instead of the guide's
    #[arg(long, conflicts_with = "target_batch")]
    max_batch: bool,
    /// Images for each optimizer step; accumulates if they do not fit at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    target_batch: Option<u32>,
    #[command(flatten)]
    pub(super) keys: KeyFlags<Suggest>,
    /// Write the recipe to a new file, for `train fit --config`
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Args) -> ExitCode {
    let device = match arguments.device.or_found() {
        Ok(device) => device,
        Err(code) => return code,
    };
    let keys = &arguments.keys.overrides;
    let request = Request {
        goal: arguments.goal,
        max_batch: arguments.max_batch,
        target_batch: arguments.target_batch,
        img_size: keys.img_size,
        width: keys.width,
        in_channels: keys.in_channels,
        classes: keys.classes,
        exact_kernels: false,
    };
    let target = tuned(&device);
    let advised = match arguments.ranks.gpus() {
        Some(gpus) => advise_together(&device, &target, &request, &gpus),
        None => advise(&device, &target, &request).map(|advice| (advice, target)),
    };
    let (advice, target) = match advised {
        Ok(advised) => advised,
        Err(error) => return refuse(&error.to_string(), error.hint().as_deref()),
    };
    if let Some(path) = &arguments.write
        && let Err(code) = write(path, &advice)
    {
        return code;
    }
    let text = if arguments.json {
        format!("{:#}\n", to_json(&device, &target, &advice))
    } else {
        to_text(&device, &target, &advice)
    };
    let printed = print(&text);
    if advice.recommended.is_none() {
        return Exit::NothingFits.into();
    }
    printed
}

fn write(path: &Path, advice: &Advice) -> Result<(), ExitCode> {
    let Some(fit) = &advice.recommended else {
        return Ok(());
    };
    let config = match &advice.together {
        Some(together) => together.whole(&fit.config),
        None => fit.config.clone(),
    };
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| file.write_all(config.to_toml().as_bytes()));
    written.map_err(|error| {
        let name = path.display();
        let (message, hint) = if error.kind() == io::ErrorKind::AlreadyExists {
            (
                format!("`{name}` already exists"),
                "`--write` never overwrites a file",
            )
        } else {
            (
                format!("cannot write `{name}`: {error}"),
                "`--write` takes a path in an existing folder",
            )
        };
        refuse(&message, Some(hint))
    })
}
