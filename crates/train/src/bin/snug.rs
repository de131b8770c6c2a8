//! The `snug` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    train::command::snug::main()
}
