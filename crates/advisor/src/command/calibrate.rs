//! `advisor calibrate`: fits the rates of a device to a benchmark.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::calibrate;
use crate::ledger::{LedgerError, LedgerPlace};
use bench::results::Results;

use super::{A_BENCHMARK, log, print, refuse};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The `results.json` of one or more runs of `train bench`
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Add the rates to the ledger, for predictions on the same device
    #[arg(long)]
    write: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Args) -> ExitCode {
    let read = arguments.files.iter().map(|file| Results::read(file));
    let files: Vec<Results> = match read.collect::<Result<_, _>>() {
        Ok(files) => files,
        Err(error) => return refuse(&error.to_string(), Some(A_BENCHMARK)),
    };
    let groups = match calibrate::calibrate(&files) {
        Ok(groups) => groups,
        Err(error) => return refuse(&error.to_string(), None),
    };
    if groups.is_empty() {
        let names: Vec<_> = arguments
            .files
            .iter()
            .map(|it| format!("`{}`", it.display()))
            .collect();
        let message = format!("no step of Snug was timed in {}", names.join(", "));
        return refuse(&message, Some(A_BENCHMARK));
    }
    if arguments.write
        && let Err(code) = write(&groups)
    {
        return code;
    }
    print(&if arguments.json {
        format!("{:#}\n", calibrate::to_json(&groups))
    } else {
        calibrate::to_text(&groups)
    })
}

fn write(groups: &[calibrate::Group]) -> Result<(), ExitCode> {
    let place = LedgerPlace::of_environment();
    let LedgerPlace::File(path) = &place else {
        let hint = "`SNUG_LEDGER=FILE` names one";
        return Err(refuse(
            "there is no ledger to keep the rates in",
            Some(hint),
        ));
    };
    let refused =
        |error: LedgerError| refuse(&error.to_string(), Some("`SNUG_LEDGER` names another file"));
    let known = place.read().map_err(refused)?.rates;
    for group in groups.iter().filter(|it| !known.contains(&it.fitted)) {
        place.keep_rates(&group.fitted).map_err(refused)?;
    }
    log(&format!("ledger: `{}`", path.display()));
    Ok(())
}
