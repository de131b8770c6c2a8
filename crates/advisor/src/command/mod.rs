//! The command line of `advisor`. Each command has its own module, which holds its arguments and its action.

mod calibrate;
mod device;
mod explain;
mod gpus;
mod guide;
mod ledger;
mod pareto;
mod ranks;
mod scale;
mod suggest;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use config::cli::console::{self, note as log};
use config::cli::{self, Exit};

/// Recommend what to run on this machine, and predict what it holds in memory
#[derive(Debug, Parser)]
#[command(
    name = "advisor",
    version,
    arg_required_else_help = true,
    args_override_self = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What `advisor` does, for another program to offer as well.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Recommend a recipe for the GPU found here, or for a given memory
    Suggest(Box<suggest::Args>),
    /// Predict what a training step will hold in memory, by kind, and during which operation it peaks: in
    /// words, as JSON, or as a picture
    #[command(allow_negative_numbers = true)]
    Explain(Box<explain::Args>),
    /// Check the guide: its examples, table, presets and claims, each with a prediction, for a typical
    /// card unless one is named
    Guide(guide::Args),
    /// Show memory against time: every checkpoint plan that no other beats in both, and the named
    /// policies, for the device found here unless a card is named; as a table, CSV, JSON or a picture
    Pareto(Box<pareto::Args>),
    /// Predict how well 1 to 64 GPUs train together, over every link that has a name, for a typical card
    /// unless one is named
    Scale(scale::Args),
    /// Fit predicted times to steps that `train bench` measured, and report the errors before and after;
    /// `--write` keeps the rates for `suggest` and `pareto`
    Calibrate(calibrate::Args),
    /// Show the GPUs found here, and which one a CUDA program would get
    Gpus(gpus::Args),
    /// Report how far predictions were off in the runs of this machine, and what corrects them
    ///
    /// `train fit` adds a line to the ledger at the end of a run. `SNUG_LEDGER` is its path, or `off`; the
    /// default is `snug/ledger.jsonl` in `XDG_DATA_HOME` or `~/.local/share`. None of it leaves this
    /// machine.
    Ledger(ledger::Args),
}

/// Where a benchmark's figures come from.
const A_BENCHMARK: &str =
    "`cargo xtask bench` writes `runs/bench/results.json`, and `train bench --json FILE` another";

/// Runs the program.
pub fn main() -> ExitCode {
    match cli::parse::<Cli>(Cli::command()) {
        Ok(program) => program.command.run(),
        Err(exit) => exit.into(),
    }
}

impl Command {
    /// Runs the command: data goes to stdout, everything else to stderr.
    pub fn run(self) -> ExitCode {
        match self {
            Self::Suggest(arguments) => suggest::run(&arguments),
            Self::Explain(arguments) => explain::run(&arguments),
            Self::Guide(arguments) => guide::run(&arguments),
            Self::Pareto(arguments) => pareto::run(&arguments),
            Self::Scale(arguments) => scale::run(&arguments),
            Self::Calibrate(arguments) => calibrate::run(&arguments),
            Self::Gpus(arguments) => gpus::run(&arguments),
            Self::Ledger(arguments) => ledger::run(&arguments),
        }
    }
}

/// Writes the data of a command to stdout.
fn print(text: &str) -> ExitCode {
    match io::stdout()
        .lock()
        .write_all(console::spoken(text).as_bytes())
    {
        Ok(()) => Exit::Done.into(),
        // The reader closed the pipe because it has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done.into(),
        Err(error) => {
            console::error(&format!("cannot write to stdout: {error}"), None);
            Exit::Failed.into()
        }
    }
}

/// Prints what is wrong and what to do about it.
fn refuse(message: &str, hint: Option<&str>) -> ExitCode {
    console::error(message, hint);
    Exit::Usage.into()
}

#[cfg(test)]
mod tests {
    use config::keys::Command as Keys;

    use super::*;

    fn parsed(name: &str, words: &[&str]) -> Option<config::RunConfig> {
        let words = [&["advisor", name], words].concat();
        let resolved = match Cli::try_parse_from(words).ok()?.command {
            Command::Explain(args) => args.keys.resolve(),
            Command::Pareto(args) => args.keys.resolve(),
            Command::Suggest(args) => args.keys.resolve(),
            _ => return None,
        };
        Some(resolved.ok()?.config)
    }

    /// Each command takes the keys whose rows name it: `explain` takes the keys that decide the
    /// memory of a step, `pareto` the keys that its picture holds fixed, `suggest` the keys of the
    /// network.
    #[test]
    fn each_key_has_a_flag_that_changes_it_alone() {
        let commands = [
            ("explain", Keys::Explain),
            ("pareto", Keys::Pareto),
            ("suggest", Keys::Suggest),
        ];
        for (name, keys) in commands {
            let faults = cli::faults(keys, |words| parsed(name, words));
            assert!(faults.is_empty(), "{name}: {faults:#?}");
        }
    }

    #[test]
    fn the_arguments_are_sound() {
        Cli::command().debug_assert();
    }
}
