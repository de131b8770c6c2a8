//! `advisor suggest`: a recipe for a device.

use std::process::ExitCode;

use advisor::{Device, advise, detect, to_json, to_text};
use estimator::SizeArg;

use super::{log, print, refuse, visible_devices};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Advise for a card with this memory, such as `8GiB`, instead of looking for one.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    vram: Option<SizeArg>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: Args) -> ExitCode {
    let device = match arguments.vram {
        Some(size) => {
            if let Some(note) = &size.note {
                log(&format!("note: {note}"));
            }
            Device::Given { memory: size.bytes }
        }
        None => detect(visible_devices().as_deref()),
    };
    let advice = match advise(&device) {
        Ok(advice) => advice,
        Err(error) => return refuse(&error.to_string(), error.hint().as_deref()),
    };
    let text = if arguments.json {
        format!("{:#}\n", to_json(&device, &advice))
    } else {
        to_text(&device, &advice)
    };
    print(&text)
}
