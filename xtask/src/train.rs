//! `cargo xtask train ARGS...`: `train fit ARGS...` with all three techniques.

use std::process::ExitCode;

use crate::console::Console;
use crate::error::Error;
use crate::workspace::Checkout;
use crate::{flags, run, setup};

pub(crate) fn run(
    workspace: &Checkout,
    flags: &flags::Train,
    console: &Console,
) -> Result<ExitCode, Error> {
    setup::ensure(workspace, console)?;
    // Runs in the caller's folder, so that relative paths in the arguments work.
    let mut cargo = run::cargo(workspace);
    cargo.args([
        "run",
        "--package",
        "train",
        "--features",
        "full",
        "--",
        "fit",
    ]);
    run::replace_by(cargo.args(&flags.args))
}
