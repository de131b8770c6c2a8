//! `advisor`: what to run on this machine. Data on stdout, the rest on stderr.

use std::io::{self, Write as _};
use std::process::ExitCode;

use advisor::{Device, advise, detect, to_json, to_text};
use clap::{Args, Parser, Subcommand};
use estimator::SizeArg;

/// Proposes batch and switches for the detected GPU.
#[derive(Debug, Parser)]
#[command(name = "advisor", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Recommend a recipe for the GPU found here, or for a given memory.
    Suggest(Suggest),
}

#[derive(Debug, Args)]
struct Suggest {
    /// Advise for a card with this memory, such as `8GiB`, instead of looking for one.
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    vram: Option<SizeArg>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Exit code of a usage or configuration error.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are such errors too, printed to stdout.
            drop(error.print());
            let code = u8::try_from(error.exit_code()).unwrap_or(USAGE);
            return ExitCode::from(code);
        }
    };
    match cli.command {
        Command::Suggest(arguments) => suggest(arguments),
    }
}

fn suggest(arguments: Suggest) -> ExitCode {
    let device = match arguments.vram {
        Some(size) => {
            if let Some(note) = &size.note {
                log(&format!("note: {note}"));
            }
            Device::Given { memory: size.bytes }
        }
        None => detect(std::env::var("CUDA_VISIBLE_DEVICES").ok().as_deref()),
    };
    let advice = match advise(&device) {
        Ok(advice) => advice,
        Err(error) => {
            log(&format!("error: {error}"));
            if let Some(hint) = error.hint() {
                log(&format!("  hint: {hint}"));
            }
            return ExitCode::from(USAGE);
        }
    };
    let text = if arguments.json {
        format!("{:#}\n", to_json(&device, &advice))
    } else {
        to_text(&device, &advice)
    };
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

fn log(line: &str) {
    // Nowhere is left to report that stderr is closed.
    drop(writeln!(io::stderr().lock(), "{line}"));
}
