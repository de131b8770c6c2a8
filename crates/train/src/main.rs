//! The `train` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    train::command::main()
}
