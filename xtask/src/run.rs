//! Starting other programs: cargo in the way that this checkout wants it, and those
//! that `launcher` starts as well, with xtask's error.

use std::env;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

use launcher::program;

use crate::error::Error;
use crate::workspace::Workspace;

pub(crate) use launcher::program::last_lines;

/// cargo, the same one that started xtask.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    for name in workspace.cargo_env() {
        command.env_remove(name);
    }
    command
}

/// Ends xtask with `command`, whose exit code the shell sees.
pub(crate) fn replace_by(command: &mut Command) -> Result<ExitCode, Error> {
    Ok(program::replace_by(command)?)
}

/// Runs a program with its output in the open; whether it ended well.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool, Error> {
    Ok(program::succeeds(command)?)
}

/// What a program wrote on stdout, or why there is nothing: its stderr's end.
pub(crate) fn stdout_of(command: &mut Command) -> Result<String, Error> {
    Ok(program::stdout_of(command)?)
}
