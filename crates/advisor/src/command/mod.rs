//! The commands: a module each, with its arguments and what it does.

mod calibrate;
mod device;
mod explain;
mod gpus;
mod guide;
mod ledger;
mod network;
mod pareto;
mod suggest;

use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Says what to run on this machine, what a training step will hold, and how far off that was.
#[derive(Debug, Parser)]
#[command(name = "advisor", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Recommend a recipe for the GPU found here, or for a given memory.
    Suggest(Box<suggest::Args>),
    /// Say what a training step will hold in memory, of what, and during which operation the most: in
    /// words, as JSON, and drawn.
    #[command(allow_negative_numbers = true)]
    Explain(Box<explain::Args>),
    /// Check the guide: its examples, table, presets and claims, each beside a prediction, for a
    /// typical card unless one is named.
    Guide(guide::Args),
    /// Show memory against time: every checkpoint plan that nothing beats in both, with the named
    /// policies beside them; as a table, for programs, and drawn. For what is found here unless a card
    /// is named.
    Pareto(pareto::Args),
    /// Fit predicted times to steps that `train bench` measured, and say how far off they were before
    /// and are after; `--write` keeps the rates for `suggest` and `pareto`.
    Calibrate(calibrate::Args),
    /// Show the GPUs found here, and which one a CUDA program would get.
    Gpus(gpus::Args),
    /// Say how far predictions were off in the runs of this machine, and what corrects them.
    ///
    /// `train fit` adds a line to the ledger at the end of a run: `SNUG_LEDGER`, a path or `off`;
    /// by default `snug/ledger.jsonl` in `XDG_DATA_HOME` or `~/.local/share`. Nothing of it leaves
    /// this machine.
    Ledger(ledger::Args),
}

/// Exit code of a usage or configuration error.
pub(crate) const USAGE: u8 = 2;

/// Exit code where no configuration fits.
pub(crate) const NOTHING_FITS: u8 = 3;

impl Cli {
    pub(crate) fn run(self) -> ExitCode {
        match self.command {
            Command::Suggest(arguments) => suggest::run(&arguments),
            Command::Explain(arguments) => explain::run(&arguments),
            Command::Guide(arguments) => guide::run(&arguments),
            Command::Pareto(arguments) => pareto::run(&arguments),
            Command::Calibrate(arguments) => calibrate::run(&arguments),
            Command::Gpus(arguments) => gpus::run(&arguments),
            Command::Ledger(arguments) => ledger::run(&arguments),
        }
    }
}

/// What CUDA programs are told to see; text that is not Unicode names no device.
fn visible_devices() -> Option<String> {
    let value = env::var_os("CUDA_VISIBLE_DEVICES")?;
    Some(value.to_string_lossy().into_owned())
}

/// Writes the data of a command to stdout.
fn print(text: &str) -> ExitCode {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever closed the pipe has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            log(&format!("error: cannot write to stdout: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Says what is wrong and what to do about it.
fn refuse(message: &str, hint: Option<&str>) -> ExitCode {
    log(&format!("error: {message}"));
    if let Some(hint) = hint {
        log(&format!("  hint: {hint}"));
    }
    ExitCode::from(USAGE)
}

fn log(line: &str) {
    // Nowhere is left to report that stderr is closed.
    drop(writeln!(io::stderr().lock(), "{line}"));
}
