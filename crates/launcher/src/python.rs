//! A Python, and the torch that it may have.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use crate::error::{Error, Result};
use crate::program;
use crate::torch::Flaw;

/// The folder that one starts in is no place to import from.
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

/// The name or path of a Python, which need not be there.
#[derive(Debug, Clone)]
pub struct Python {
    program: OsString,
}

/// What a Python says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The interpreter that answered.
    pub executable: PathBuf,
    /// Where its torch lies, if it has one.
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

    /// This Python, to be given arguments.
    pub fn command(&self) -> Command {
        Command::new(&self.program)
    }

    /// Asks where this Python's torch lies. It is not imported, which takes seconds.
    ///
    /// # Errors
    /// Where the Python is not there, or does not answer.
    pub fn ask(&self) -> Result<Answer> {
        let said = program::stdout_of(self.command().args(["-c", TORCH_SCRIPT]))?;
        Ok(parse_answer(&said))
    }

    /// Loads shared libraries, as a program linked to them would.
    ///
    /// # Errors
    /// [`Flaw::Load`] with the loader's words.
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

/// The Pythons worth asking, the likeliest first: that of the active virtual environment, then
/// those on `PATH`.
pub fn candidates() -> Vec<Python> {
    let in_venv = env::var_os("VIRTUAL_ENV")
        .filter(|it| !it.is_empty())
        .map(|it| {
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

/// The last two lines: a Python may be set up to greet.
fn parse_answer(said: &str) -> Answer {
    let said = said.strip_suffix('\n').unwrap_or(said);
    let mut lines = said.rsplit('\n').map(str::trim);
    let torch = lines.next().unwrap_or_default();
    Answer {
        executable: PathBuf::from(lines.next().unwrap_or_default()),
        torch: (!torch.is_empty()).then(|| PathBuf::from(torch)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let answer = |executable: &str, torch: Option<&str>| Answer {
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
