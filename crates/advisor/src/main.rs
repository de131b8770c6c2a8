//! `advisor`: what to run on this machine. Data on stdout, the rest on stderr.

mod command;

use std::process::ExitCode;

use clap::Parser as _;
use command::Cli;

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => cli.run(),
        Err(error) => {
            // Help and version are such errors too, printed to stdout.
            drop(error.print());
            let code = u8::try_from(error.exit_code()).unwrap_or(command::USAGE);
            ExitCode::from(code)
        }
    }
}
