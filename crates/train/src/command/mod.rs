//! The command line of `train`.

mod accuracy;
mod bench;
mod console;
mod doctor;
mod evaluate;
mod fit;
mod flags;
mod memory;
mod predict;
mod scale;
mod synth;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Result;

/// Exit codes, for `--help` and the README.
const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, configuration or data, \
                          3 predicted not to fit, 4 stopped since memory was nearly full, 130 \
                          interrupted; after 4 and 130 `--resume` goes on.";

/// Trains a U-Net, evaluates it and predicts with it.
#[derive(Debug, Parser)]
#[command(name = "train", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train on a folder of images and masks, or on built-in pages.
    ///
    /// At its end a run adds a line to a local ledger, with its device, its settings and its predicted
    /// and measured memory and speed: `SNUG_LEDGER`, a path or `off`; by default
    /// `snug/ledger.jsonl` in `XDG_DATA_HOME` or `~/.local/share`. Nothing of it leaves this machine;
    /// `advisor ledger` reads it.
    #[command(allow_negative_numbers = true)]
    Fit(Box<fit::FitArgs>),
    /// Score saved weights on the validation (or test) images of a folder.
    #[command(allow_negative_numbers = true)]
    Evaluate(evaluate::EvaluateArgs),
    /// Write the masks that saved weights answer for images.
    #[command(allow_negative_numbers = true)]
    Predict(predict::PredictArgs),
    /// Draw what holds memory during one training step, on the CPU, and what each checkpoint policy
    /// would take away.
    #[command(allow_negative_numbers = true)]
    Memory(memory::MemoryArgs),
    /// Measure how far the predicted memory of training steps is from what they take, on the CPU.
    Accuracy(accuracy::AccuracyArgs),
    /// Measure training steps and epochs on this machine, beside PyTorch where asked.
    #[command(allow_negative_numbers = true)]
    Bench(bench::BenchArgs),
    /// A worker of `bench`, which starts it by itself.
    #[command(hide = true)]
    BenchWorker,
    /// Say what this machine has, and try each technique on it: what to run first on a new machine,
    /// and what belongs in a bug report.
    Doctor(doctor::DoctorArgs),
    /// Write the built-in pages and their masks to a folder.
    #[command(allow_negative_numbers = true)]
    Synth(synth::SynthArgs),
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse_usage(&error),
    };
    match run(cli.command) {
        Ok(code) => code,
        Err(error) => {
            console::error(&error.message(), error.hint().as_deref());
            ExitCode::from(error.exit_code())
        }
    }
}

/// Prints help as `clap` does, and errors in our form: what it calls a tip is a hint.
fn refuse_usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // A reader that went away is no reason to fail.
        drop(error.print());
        return ExitCode::SUCCESS;
    }
    let text = error.render().to_string();
    let paragraphs = text
        .split("\n\n")
        .map(str::trim)
        .filter(|p| !p.starts_with("Usage:"));
    let (tips, rest): (Vec<_>, Vec<_>) = paragraphs.partition(|p| p.starts_with("tip:"));
    let hint = tips
        .first()
        .map_or("`--help` lists the flags", |tip| tip["tip:".len()..].trim());
    let help = "For more information, try '--help'.";
    for paragraph in rest.iter().filter(|p| **p != help && !p.is_empty()) {
        console::note(paragraph);
    }
    if rest.contains(&help) {
        console::note(&format!("hint: {hint}"));
    }
    ExitCode::from(2)
}

fn run(command: Command) -> Result<ExitCode> {
    torch_ext::init()?;
    match command {
        Command::Fit(args) => fit::run(&args)?,
        Command::Evaluate(args) => evaluate::run(args)?,
        Command::Predict(args) => predict::run(&args)?,
        Command::Accuracy(args) => accuracy::run(&args)?,
        Command::Memory(args) => memory::run(&args)?,
        Command::Doctor(args) => return doctor::run(&args),
        Command::Bench(args) => bench::run(&args)?,
        Command::BenchWorker => bench::serve()?,
        Command::Synth(args) => synth::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
