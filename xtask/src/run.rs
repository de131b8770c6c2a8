//! Starts other programs: cargo with this checkout's environment, and other programs
//! through `launcher`, with xtask's error type.

use std::env;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

use launcher::program;

use crate::error::Error;
use crate::workspace::Checkout;

pub(crate) use launcher::program::last_lines;

/// The cargo that started xtask.
pub(crate) fn cargo(workspace: &Checkout) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    for name in workspace.cargo_env() {
        command.env_remove(name);
    }
    command
}

/// Ends xtask with `command`; the shell sees its exit code.
pub(crate) fn replace_by(command: &mut Command) -> Result<ExitCode, Error> {
    Ok(program::replace_by(command)?)
}

/// Runs a program whose output stays visible. Returns whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool, Error> {
    Ok(program::succeeds(command)?)
}

/// Runs a program and returns its stdout; if it fails, the error has the end of its stderr.
pub(crate) fn stdout_of(command: &mut Command) -> Result<String, Error> {
    Ok(program::stdout_of(command)?)
}
