//! Starts other programs, and reads the output of short-lived ones.

use std::ffi::OsStr;
use std::process::{Command, ExitCode, Stdio};

use crate::error::{Error, Result};

/// Ends this process with `command`. On Unix the command replaces this process, so that
/// Ctrl-C reaches it and the shell sees its exit code directly.
///
/// # Errors
/// [`Error::Start`] if the program cannot be started.
pub fn replace_by(command: &mut Command) -> Result<ExitCode> {
    #[cfg(unix)]
    {
        use std::os::unix::process::CommandExt as _;
        let source = command.exec();
        Err(Error::Start {
            program: name_of(command),
            source,
        })
    }
    #[cfg(not(unix))]
    {
        let status = command.status().map_err(|source| Error::Start {
            program: name_of(command),
            source,
        })?;
        Ok(status
            .code()
            .and_then(|it| u8::try_from(it).ok())
            .map_or(ExitCode::FAILURE, ExitCode::from))
    }
}

/// Runs a program whose output stays visible. Returns whether it succeeded.
///
/// # Errors
/// [`Error::Start`] if the program cannot be started.
pub fn succeeds(command: &mut Command) -> Result<bool> {
    match command.status() {
        Ok(status) => Ok(status.success()),
        Err(source) => Err(Error::Start {
            program: name_of(command),
            source,
        }),
    }
}

/// Runs a program and returns its stdout.
///
/// # Errors
/// [`Error::Start`] if the program cannot be started, [`Error::Command`] with the end of its
/// stderr if it fails.
pub fn stdout_of(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Start {
            program: name_of(command),
            source,
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let message = match last_lines(&stderr, 3).as_str() {
        "" => output.status.to_string(),
        lines => lines.to_owned(),
    };
    Err(Error::Command {
        command: name_of(command),
        message,
    })
}

/// The last `num_lines` lines that are not blank.
pub fn last_lines(text: &str, num_lines: usize) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(num_lines)..].join("\n")
}

fn name_of(command: &Command) -> String {
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    // A script passed on the command line (`python -c`) would drown the name.
    let words = words
        .map(OsStr::to_string_lossy)
        .take_while(|word| !word.contains('\n'));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_skips_blank_lines() {
        assert_eq!(last_lines("a\nb\n\n c\n\n", 2), "b\n c");
        assert_eq!(last_lines("a", 5), "a");
        assert_eq!(last_lines("\n", 5), "");
    }
}
