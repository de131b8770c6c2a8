//! The command lines of `train` and `snug`.

mod accuracy;
mod bench;
mod convert;
mod doctor;
mod evaluate;
mod fit;
mod flags;
mod gpu;
mod import;
mod inspect;
mod memory;
mod page;
mod predict;
mod scale;
mod shell;
pub mod snug;
mod synth;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use config::cli::{self, Exit, console};

use crate::error::Result;

/// Train a U-Net, evaluate it and predict with it
#[derive(Debug, Parser)]
#[command(name = "train", version, after_help = Exit::help(Exit::TRAIN), args_override_self = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train on a folder of images and masks, or on built-in pages
    ///
    /// When it ends, a run adds a line to a local ledger: its device, its settings, and its memory and
    /// speed as predicted and as measured. `SNUG_LEDGER` is the ledger's path, or `off`; the default is
    /// `snug/ledger.jsonl` in `XDG_DATA_HOME` or `~/.local/share`. None of it leaves this machine;
    /// `advisor ledger` reads it.
    #[command(allow_negative_numbers = true)]
    Fit(Box<fit::FitArgs>),
    #[command(flatten)]
    Tool(Box<Tool>),
}

/// What the programs have in common.
#[derive(Debug, Subcommand)]
enum Tool {
    /// Score saved weights on the validation (or test) images of a folder
    #[command(allow_negative_numbers = true)]
    Evaluate(evaluate::EvaluateArgs),
    /// Write the masks that saved weights predict for images
    #[command(allow_negative_numbers = true)]
    Predict(predict::PredictArgs),
    /// Say what a folder of images and masks holds and how training would read it
    #[command(allow_negative_numbers = true)]
    Inspect(inspect::InspectArgs),
    /// Turn annotations (COCO, `LabelMe`, YOLO, VOC, CVAT, Cityscapes) into a folder of images and masks
    Import(import::ImportArgs),
    /// Write the page of a run, or a page that compares several
    Report(page::ReportArgs),
    /// Turn the settings of a Python script, or the weights of another U-Net, into Snug's
    Convert(convert::ConvertArgs),
    /// Draw what holds memory during one training step on the CPU, and what each checkpoint policy saves
    #[command(allow_negative_numbers = true)]
    Memory(memory::MemoryArgs),
    /// Measure how far predicted memory is from what training steps take
    Accuracy(accuracy::AccuracyArgs),
    /// Measure training steps and epochs on this machine, and PyTorch's if asked
    #[command(allow_negative_numbers = true)]
    Bench(bench::BenchArgs),
    /// A worker of `bench`, which starts it by itself
    #[command(hide = true)]
    BenchWorker,
    /// Report what this machine has and try each technique on it: run it first on a new machine, and
    /// attach it to a bug report
    Doctor(doctor::DoctorArgs),
    /// Try everything that only a real GPU can tell, within minutes, and keep it in one file
    Gpu(gpu::GpuArgs),
    /// Write the built-in pages and their masks to a folder
    #[command(allow_negative_numbers = true)]
    Synth(synth::SynthArgs),
}

/// Runs `train`.
pub fn main() -> ExitCode {
    start(Cli::command(), |cli: Cli| match cli.command {
        Command::Fit(args) => fit::run(&args),
        Command::Tool(tool) => with_libtorch(|| tool.run()),
    })
}

/// Parses the command line, and runs what it asks for.
fn start<C: Parser>(command: clap::Command, run: impl FnOnce(C) -> Result<ExitCode>) -> ExitCode {
    let asked = match cli::parse(command) {
        Ok(asked) => asked,
        Err(exit) => return exit.into(),
    };
    match run(asked) {
        Ok(code) => code,
        Err(error) => {
            console::error(&error.message(), error.hint().as_deref());
            error.exit().into()
        }
    }
}

/// Runs what computes.
fn with_libtorch(run: impl FnOnce() -> Result<ExitCode>) -> Result<ExitCode> {
    torch_ext::init()?;
    run()
}

impl Tool {
    fn run(self) -> Result<ExitCode> {
        match self {
            Self::Evaluate(args) => evaluate::run(args)?,
            Self::Predict(args) => predict::run(&args)?,
            Self::Import(args) => import::run(&args)?,
            Self::Inspect(args) => inspect::run(&args)?,
            Self::Report(args) => page::run(&args)?,
            Self::Convert(args) => convert::run(&args)?,
            Self::Accuracy(args) => accuracy::run(&args)?,
            Self::Memory(args) => memory::run(&args)?,
            Self::Doctor(args) => return doctor::run(&args),
            Self::Bench(args) => bench::run(&args)?,
            Self::BenchWorker => bench::serve()?,
            Self::Gpu(args) => gpu::run(&args)?,
            Self::Synth(args) => synth::run(&args)?,
        }
        Ok(Exit::Done.into())
    }
}

#[cfg(test)]
mod tests {
    use config::RunConfig;
    use config::keys::Command as Keys;

    use super::*;

    fn parsed(name: &str, words: &[&str]) -> Option<RunConfig> {
        let needed: &[&str] = match name {
            "evaluate" => &["--weights", "w", "--data", "d"],
            "predict" => &["--weights", "w", "--input", "i", "--out", "o"],
            _ => &[],
        };
        let words = [&["train", name], needed, words].concat();
        let resolved = match Cli::try_parse_from(words).ok()?.command {
            Command::Fit(args) => args.keys.resolve(),
            Command::Tool(tool) => match *tool {
                Tool::Evaluate(args) => args.keys.resolve(),
                Tool::Predict(args) => args.keys.resolve(),
                Tool::Memory(args) => args.keys.resolve(),
                _ => return None,
            },
        };
        Some(resolved.ok()?.config)
    }

    /// `fit` takes every key. A key without a flag, or with one that does more, is named here.
    #[test]
    fn each_key_has_a_flag_that_changes_it_alone() {
        let commands = [
            ("fit", Keys::Fit),
            ("evaluate", Keys::Evaluate),
            ("predict", Keys::Evaluate),
            ("memory", Keys::Memory),
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
