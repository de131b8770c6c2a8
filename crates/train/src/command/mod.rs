//! The command line of `train`.

mod console;
mod evaluate;
mod fit;
mod flags;
mod predict;
mod scale;
mod synth;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Result;

/// Exit codes, for `--help` and the README.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, configuration or data, \
                          130 interrupted with the weights so far saved.";

/// Trains a U-Net, evaluates it and predicts with it.
#[derive(Debug, Parser)]
#[command(name = "train", version, about, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train on a folder of images and masks, or on built-in pages.
    Fit(fit::FitArgs),
    /// Score saved weights on the validation (or test) images of a folder.
    Evaluate(evaluate::EvaluateArgs),
    /// Write the masks that saved weights answer for images.
    Predict(predict::PredictArgs),
    /// Write the built-in pages and their masks to a folder.
    Synth(synth::SynthArgs),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console::error(&error.to_string(), error.hint().as_deref());
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command) -> Result<()> {
    torch_ext::init()?;
    match command {
        Command::Fit(args) => fit::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Predict(args) => predict::run(args),
        Command::Synth(args) => synth::run(&args),
    }
}
