//! `advisor` recommends what to run on this machine. Data goes to stdout, everything else to stderr.

mod command;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use command::Cli;
use config::cli::{self, console};

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(program) => {
            for line in cli::repeats(&Cli::command(), std::env::args_os()) {
                console::note(&line);
            }
            program.run()
        }
        Err(error) => console::refuse_usage(&error).into(),
    }
}
