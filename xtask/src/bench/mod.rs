//! `cargo xtask bench ARGS...`: runs `train bench ARGS...` with all three techniques, in the
//! profile of `cargo xtask train`, and on request against a Python that has torch.

mod record;

pub(crate) use record::{check, take_session};

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use crate::console::Console;
use crate::error::Error;
use crate::workspace::Checkout;
use crate::{flags, run, setup};

const AGAINST: &str = "--against-pytorch";
pub(crate) const PYTHON: &str = "--python";
pub(crate) const HELP: [&str; 2] = ["--help", "-h"];

pub(crate) fn run(
    workspace: &Checkout,
    flags: &flags::Bench,
    console: &Console,
) -> Result<ExitCode, Error> {
    if flags.refresh {
        record::refresh(workspace, console)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(file) = &flags.take {
        record::take(workspace, file, console)?;
        return Ok(ExitCode::SUCCESS);
    }
    setup::ensure(workspace, console)?;
    let mut cargo = run::cargo(workspace);
    cargo.args(["run", "--package", "train", "--features", "full", "--"]);
    cargo.arg("bench").args(&flags.args);
    let has = |name: &str| flags.args.iter().any(|arg| is_flag(arg, name));
    if has(AGAINST) && !has(PYTHON) && !HELP.into_iter().any(has) {
        add_python(&mut cargo, workspace, console)?;
    }
    if !flags.record {
        return run::replace_by(&mut cargo);
    }
    if !run::succeeds(&mut cargo)? {
        return Ok(ExitCode::FAILURE);
    }
    let file = out(&flags.args).join("results.json");
    record::take(workspace, &file, console)?;
    Ok(ExitCode::SUCCESS)
}

/// Adds the Python that has torch, which may have to be installed first.
pub(crate) fn add_python(
    cargo: &mut Command,
    workspace: &Checkout,
    console: &Console,
) -> Result<(), Error> {
    let python = setup::python_with_torch(workspace, console)?;
    cargo.arg(PYTHON).arg(python.program());
    if let Some(path) = python.path() {
        cargo.env("PYTHONPATH", path);
    }
    Ok(())
}

/// `--name` or `--name=VALUE`.
pub(crate) fn is_flag(arg: &OsStr, name: &str) -> bool {
    let arg = arg.to_string_lossy();
    arg.strip_prefix(name)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
}

/// The folder that `train bench` writes to: its `--out`, or the default.
fn out(args: &[OsString]) -> PathBuf {
    let mut out = PathBuf::from("runs/bench");
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        if let Some(value) = text.strip_prefix("--out=") {
            out = PathBuf::from(value);
        } else if text == "--out"
            && let Some(value) = args.next()
        {
            out = PathBuf::from(value);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_the_results_is_that_of_the_arguments() {
        let of = |args: &[&str]| {
            let args: Vec<OsString> = args.iter().map(OsString::from).collect();
            out(&args)
        };
        assert_eq!(of(&["--quick"]), PathBuf::from("runs/bench"));
        assert_eq!(of(&["--out", "a b", "--quick"]), PathBuf::from("a b"));
        assert_eq!(of(&["--out=c"]), PathBuf::from("c"));
    }

    #[test]
    fn flags_are_seen_with_and_without_a_value() {
        assert!(is_flag(OsStr::new("--python"), PYTHON));
        assert!(is_flag(OsStr::new("--python=python3"), PYTHON));
        assert!(!is_flag(OsStr::new("--pythonic"), PYTHON));
    }
}
