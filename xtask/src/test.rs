//! `cargo xtask test`: every test of the workspace, with all three techniques.

use std::process::{Command, ExitCode};

use crate::console::Console;
use crate::error::Error;
use crate::workspace::Checkout;
use crate::{flags, run, setup};

pub(crate) fn run(
    workspace: &Checkout,
    flags: &flags::Test,
    console: &Console,
) -> Result<ExitCode, Error> {
    setup::ensure(workspace, console)?;
    run::replace_by(command(workspace).args(&flags.args))
}

pub(crate) fn command(workspace: &Checkout) -> Command {
    let mut cargo = run::cargo(workspace);
    cargo.current_dir(workspace.root());
    cargo.args(["test", "--workspace", "--features", "train/full"]);
    cargo
}
