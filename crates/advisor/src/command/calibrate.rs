//! `advisor calibrate`: the rates of a device from a benchmark.

use std::path::PathBuf;
use std::process::ExitCode;

use advisor::calibrate;
use advisor::calibration::{self, Calibration};
use advisor::ledger::Place;
use advisor::measured::{Results, ResultsError};

use super::{log, print, refuse};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The `results.json` of one or more runs of `train bench`
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Keep the rates for predictions on the same device, in the file that `SNUG_CALIBRATION` names (a path
    /// or `off`); the default is `calibration.json` next to the ledger
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
        Err(error) => return refuse(&error.to_string(), Some(ResultsError::hint())),
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
        return refuse(&message, Some(ResultsError::hint()));
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
    let place = calibration::place();
    let Place::File(path) = &place else {
        let hint = "`SNUG_CALIBRATION=FILE` names one";
        return Err(refuse("there is no place for a calibration", Some(hint)));
    };
    let hint = Some("`SNUG_CALIBRATION` names another file; this one may be removed");
    // What is not understood is somebody's: it is not written over.
    let mut calibration =
        Calibration::read(&place).map_err(|error| refuse(&error.to_string(), hint))?;
    for group in groups {
        calibration.take(group.fitted.clone());
    }
    let written = calibration.write(path);
    written.map_err(|error| refuse(&error.to_string(), hint))?;
    log(&format!("calibration: `{}`", path.display()));
    Ok(())
}
