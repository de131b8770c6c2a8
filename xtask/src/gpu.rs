//! `cargo xtask gpu ARGS...`: runs `train gpu ARGS...` with all three techniques and a Python that has torch.

use std::path::Path;
use std::process::ExitCode;

use crate::bench::{self, HELP, PYTHON, is_flag};
use crate::console::Console;
use crate::error::Error;
use crate::workspace::Checkout;
use crate::{flags, run, setup};

pub(crate) fn run(
    workspace: &Checkout,
    flags: &flags::Gpu,
    console: &Console,
) -> Result<ExitCode, Error> {
    if let Some(file) = &flags.take {
        return take(workspace, file, console);
    }
    setup::ensure(workspace, console)?;
    let mut cargo = run::cargo(workspace);
    cargo.args(["run", "--package", "train", "--features", "full", "--"]);
    cargo.arg("gpu").args(&flags.args);
    let has = |name: &str| flags.args.iter().any(|arg| is_flag(arg, name));
    if !has(PYTHON) && !HELP.into_iter().any(has) {
        bench::add_python(&mut cargo, workspace, console)?;
    }
    run::replace_by(&mut cargo)
}

fn take(workspace: &Checkout, file: &Path, console: &Console) -> Result<ExitCode, Error> {
    bench::take_session(workspace, file, console)?;
    Ok(ExitCode::SUCCESS)
}
