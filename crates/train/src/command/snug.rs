//! The command line of `snug`: one program with everything that `train` and `advisor` do.

use std::process::ExitCode;

use advisor::command::Command as Advice;
use clap::{CommandFactory as _, Parser, Subcommand};
use config::cli::program::be_snug;
use config::cli::{Exit, console};

use super::{Tool, fit, shell, start, with_libtorch};

/// Train U-Nets for image segmentation, as large as this machine allows
#[derive(Debug, Parser)]
#[command(name = "snug", version, after_help = Exit::help(Exit::TRAIN), args_override_self = true, arg_required_else_help = true)]
struct Snug {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train on a folder of images and masks, or on built-in pages
    ///
    /// Without a preset or a file of settings, everything that is not given follows from the images and from
    /// this machine: image size, batch, checkpointing, epochs, learning rate. `--dry-run` shows it.
    ///
    /// When it ends, a run adds a line to a local ledger: its device, its settings, and its memory and
    /// speed as predicted and as measured. `SNUG_LEDGER` is the ledger's path, or `off`; the default is
    /// `snug/ledger.jsonl` in `XDG_DATA_HOME` or `~/.local/share`. None of it leaves this machine;
    /// `snug ledger` reads it.
    #[command(allow_negative_numbers = true)]
    Train(Box<fit::TrainArgs>),
    #[command(flatten)]
    Tool(Box<Tool>),
    #[command(flatten)]
    Advice(Advice),
    /// Print a script that completes commands and flags in a shell
    Completions(shell::CompletionsArgs),
    /// Write manual pages
    Man(shell::ManArgs),
}

/// The command line, in the program's own words.
fn program() -> clap::Command {
    console::reworded(Snug::command())
}

/// Runs `snug`.
pub fn main() -> ExitCode {
    be_snug();
    start(program(), |snug: Snug| match snug.command {
        Command::Train(args) => with_libtorch(|| fit::run_choosing(*args)),
        Command::Tool(tool) => with_libtorch(|| tool.run()),
        Command::Advice(advice) => Ok(advice.run()),
        Command::Completions(args) => {
            shell::completions(&args, program());
            Ok(Exit::Done.into())
        }
        Command::Man(args) => {
            shell::man(&args, program())?;
            Ok(Exit::Done.into())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        Snug::command().debug_assert();
    }
}
