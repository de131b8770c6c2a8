//! `advisor ledger`: shows how far predictions were off on this machine. A missing ledger is an
//! answer, not a failure.

use std::process::ExitCode;

use crate::ledger::{LedgerPlace, to_json, to_text};
use config::cli::{Exit, console};

use super::print;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only devices with this in their name, such as `3060`
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Args) -> ExitCode {
    let place = LedgerPlace::of_environment();
    let contents = match place.read() {
        Ok(contents) => contents,
        Err(error) => {
            let hint = "`SNUG_LEDGER` names another file, or is `off`";
            console::error(&error.to_string(), Some(hint));
            return Exit::Failed.into();
        }
    };
    let like = arguments.device.as_deref();
    print(&if arguments.json {
        format!("{:#}\n", to_json(&place, &contents, like))
    } else {
        to_text(&place, &contents, like)
    })
}
