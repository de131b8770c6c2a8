//! The Python programs that make and check a wheel, in a virtual environment of the checkout.

use std::path::{Path, PathBuf};
use std::process::Command;

use launcher::Python;

use crate::console::Console;
use crate::error::Error;
use crate::run;
use crate::setup;
use crate::workspace::Checkout;

/// The same version as in `pyproject.toml`.
pub(super) const MATURIN: &str = "maturin==1.16.0";
const MYPY: &str = "mypy==2.4.1";

/// A virtual environment.
#[derive(Debug)]
pub(super) struct Tools {
    bin: PathBuf,
}

impl Tools {
    /// Installs maturin and, if the wheel is to be checked, mypy.
    pub(super) fn install(
        workspace: &Checkout,
        checks: bool,
        console: &Console,
    ) -> Result<Self, Error> {
        let dir = workspace.root().join("target").join("wheel-tools");
        let tools = Self::make(&setup::python_with_pip()?, &dir)?;
        let mut requirements = vec![MATURIN];
        if checks {
            requirements.push(MYPY);
        }
        console.say(format_args!(
            "wheel: installing {} into `target/wheel-tools`",
            requirements.join(", ")
        ));
        tools.pip_install(&requirements)?;
        Ok(tools)
    }

    /// An environment with nothing but pip.
    pub(super) fn make(python: &Python, dir: &Path) -> Result<Self, Error> {
        let tools = Self {
            bin: dir.join("bin"),
        };
        // A Python that was removed since leaves links to nothing.
        if !tools.python().is_file() {
            let mut venv = python.command();
            run::stdout_of(venv.args(["-m", "venv", "--clear"]).arg(dir))?;
        }
        Ok(tools)
    }

    pub(super) fn python(&self) -> PathBuf {
        self.bin.join("python")
    }

    /// A program of the environment.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        // Nothing comes from another Python's folders.
        command.env_remove("PYTHONPATH").env_remove("PYTHONHOME");
        command
    }

    /// Arguments of `pip install`.
    pub(super) fn pip_install(&self, args: &[&str]) -> Result<(), Error> {
        let mut pip = self.command("python");
        pip.args(["-m", "pip", "install", "--quiet"])
            .args(args)
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .env("PIP_NO_INPUT", "1")
            .env("PIP_USER", "0");
        run::stdout_of(&mut pip).map(drop)
    }
}
