//! The `advisor` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    advisor::command::main()
}
