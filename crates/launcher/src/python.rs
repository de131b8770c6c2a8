//! A Python, and the torch that it may have installed.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use crate::error::{Error, Result};
use crate::program;
use crate::torch::Flaw;

/// The current folder comes off `sys.path`: nothing must be imported from it.
const TORCH_SCRIPT: &str = "\
import importlib.util, sys
sys.path = [it for it in sys.path if it not in ('', '.')]
spec = importlib.util.find_spec('torch')
print(sys.executable)
print(spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else '')
";
const LOAD_SCRIPT: &str = "\
import ctypes, sys
for path in sys.argv[1:]:
    ctypes.CDLL(path)
";

/// The name or path of a Python, which may not exist.
#[derive(Debug, Clone)]
pub struct Python {
    program: OsString,
}

/// What a Python reports about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonAnswer {
    /// The interpreter that answered.
    pub executable: PathBuf,
    /// The folder of its torch, if it has one.
    pub torch: Option<PathBuf>,
}

impl fmt::Display for Python {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.program.display().fmt(f)
    }
}

impl Python {
    /// The Python that `program` starts.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
        }
    }

    /// A command that runs this Python; add arguments.
    pub fn command(&self) -> Command {
        Command::new(&self.program)
    }

    /// Asks for the folder of this Python's torch, without importing it, which would take seconds.
    ///
    /// # Errors
    /// If the Python does not exist or does not answer.
    pub fn ask(&self) -> Result<PythonAnswer> {
        let said = program::stdout_of(self.command().args(["-c", TORCH_SCRIPT]))?;
        Ok(parse_answer(&said))
    }

    /// Loads shared libraries, as a program linked to them would.
    ///
    /// # Errors
    /// [`Flaw::Load`] with the loader's message.
    pub fn load(&self, libraries: &[PathBuf]) -> Result<(), Flaw> {
        let mut command = self.command();
        command.args(["-c", LOAD_SCRIPT]).args(libraries);
        match program::stdout_of(&mut command) {
            Ok(_) => Ok(()),
            Err(Error::Command { message, .. }) => {
                let reason = message.lines().last().unwrap_or_default();
                Err(Flaw::Load {
                    reason: reason.trim_start_matches("OSError: ").to_owned(),
                })
            }
            Err(other) => Err(Flaw::Load {
                reason: other.to_string(),
            }),
        }
    }
}

/// The Pythons to ask, most likely first: the active virtual environment's, then those on `PATH`. `SNUG_PYTHON`, with which a
/// Python says that it started this program, is the only one if it is set.
pub fn candidates() -> Vec<Python> {
    let named = |name: &str| env::var_os(name).filter(|it| !it.is_empty());
    if let Some(python) = named("SNUG_PYTHON") {
        return vec![Python::new(python)];
    }
    let in_venv = named("VIRTUAL_ENV").map(|it| {
        let dir = PathBuf::from(it);
        let python = if cfg!(windows) {
            "Scripts/python.exe"
        } else {
            "bin/python"
        };
        dir.join(python).into_os_string()
    });
    in_venv
        .into_iter()
        .chain(["python3", "python"].map(OsString::from))
        .map(Python::new)
        .collect()
}

/// Reads the last two lines, because a Python may be configured to print a greeting.
fn parse_answer(said: &str) -> PythonAnswer {
    let said = said.strip_suffix('\n').unwrap_or(said);
    let mut lines = said.rsplit('\n').map(str::trim);
    let torch = lines.next().unwrap_or_default();
    PythonAnswer {
        executable: PathBuf::from(lines.next().unwrap_or_default()),
        torch: (!torch.is_empty()).then(|| PathBuf::from(torch)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let answer = |executable: &str, torch: Option<&str>| PythonAnswer {
            executable: executable.into(),
            torch: torch.map(PathBuf::from),
        };
        assert_eq!(
            parse_answer("/v/bin/python3\n/v/lib/torch\n"),
            answer("/v/bin/python3", Some("/v/lib/torch"))
        );
        assert_eq!(
            parse_answer("welcome\n/a b/python\n\n"),
            answer("/a b/python", None)
        );
        assert_eq!(parse_answer(""), answer("", None));
    }
}
