//! Installs a wheel in a fresh virtual environment and tries it there. Every step runs, whatever fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::console::Console;
use crate::error::Error;
use crate::files::{unreadable, unwritable};
use crate::run;
use crate::setup;
use crate::workspace::Checkout;

use super::project::CRATE;
use super::tools::Tools;

pub(super) fn run(
    wheel: &Path,
    workspace: &Checkout,
    tools: &Tools,
    console: &Console,
) -> Result<ExitCode, Error> {
    let dir = tempfile::tempdir().map_err(|it| unwritable(&std::env::temp_dir(), it))?;
    let wheel = wheel.canonicalize().map_err(|it| unreadable(wheel, it))?;
    let fresh = Tools::make(&setup::python_with_pip()?, &dir.path().join("venv"))?;
    fresh.pip_install(&["--no-deps", "--no-index", &wheel.display().to_string()])?;
    borrow_torch(&fresh, &folder_of_torch(workspace))?;

    let mut steps = Vec::new();
    let mut step = |name: &'static str, command: &mut Command| -> Result<(), Error> {
        console.say(format_args!("\n== wheel: {name}"));
        // The checkout must not be found by accident.
        command.current_dir(dir.path()).env_remove("LIBTORCH");
        steps.push((name, run::succeeds(command)?));
        Ok(())
    };
    let tests = workspace.root().join(CRATE).join("tests/test_snug.py");
    step(
        "tests",
        fresh
            .command("python")
            .arg(tests)
            .env("SNUG_MYPY", tools.python()),
    )?;
    let snug = |args: &[&str]| {
        let mut command = fresh.command("python");
        command.args(["-m", "snug"]).args(args);
        command
    };
    step("version", &mut snug(&["--version"]))?;
    step("script", fresh.command("snug").arg("--version"))?;
    step("doctor", &mut snug(&["doctor"]))?;

    console.result("");
    for (name, ok) in &steps {
        let verdict = if *ok { "ok" } else { "FAILED" };
        console.result(format_args!("{name:<12}{verdict}"));
    }
    let all_ok = steps.iter().all(|(_, ok)| *ok);
    Ok(ExitCode::from(u8::from(!all_ok)))
}

/// The folder that has a `torch`: that of the checkout, which spares a download of gigabytes.
fn folder_of_torch(workspace: &Checkout) -> PathBuf {
    let torch = workspace.user_libtorch().unwrap_or(workspace.torch());
    torch.parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Makes an environment find the packages of `folder` too, by a `.pth` file.
fn borrow_torch(fresh: &Tools, folder: &Path) -> Result<(), Error> {
    let script = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let packages = run::stdout_of(fresh.command("python").args(["-c", script]))?;
    let file = Path::new(packages.trim()).join("torch-of-the-checkout.pth");
    fs::write(&file, format!("{}\n", folder.display())).map_err(|it| unwritable(&file, it))
}
