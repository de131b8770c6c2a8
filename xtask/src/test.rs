//! `cargo xtask test`: every test of the workspace, with all three techniques.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::process::{Command, ExitCode};

use crate::console::Console;
use crate::error::Error;
use crate::files::unwritable;
use crate::workspace::Checkout;
use crate::{flags, run, setup};

pub(crate) fn run(
    workspace: &Checkout,
    flags: &flags::Test,
    console: &Console,
) -> Result<ExitCode, Error> {
    setup::ensure(workspace, console)?;
    let has_passed = succeeds(workspace, &flags.args, console)?;
    Ok(ExitCode::from(u8::from(!has_passed)))
}

/// Runs the tests, and says how many of them ran the CUDA half.
pub(crate) fn succeeds(
    workspace: &Checkout,
    args: &[OsString],
    console: &Console,
) -> Result<bool, Error> {
    let folder = tempfile::tempdir().map_err(|it| unwritable(&env::temp_dir(), it))?;
    let log = folder.path().join("stand-in-tests");
    let mut command = command(workspace);
    let has_passed = run::succeeds(
        command
            .args(args)
            // What programs say is compared in English.
            .env("LC_ALL", "C.UTF-8")
            .env("SNUG_STANDIN_TESTS", &log),
    )?;
    let on_the_stand_in = fs::read_to_string(&log).unwrap_or_default();
    let tests: BTreeSet<_> = on_the_stand_in.lines().collect();
    console.say(format!(
        "{} tests ran libtorch's CUDA half on the stand-in",
        tests.len()
    ));
    Ok(has_passed)
}

fn command(workspace: &Checkout) -> Command {
    let mut cargo = run::cargo(workspace);
    cargo.current_dir(workspace.root());
    cargo.args(["test", "--workspace", "--features", "train/full"]);
    cargo
}
