//! The Pythons of the machine, and the torch that one of them may have.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::run;

use super::verify::Flaw;

const OLDEST: (u32, u32) = (3, 10);

/// The folder that one starts in is no place to import from.
const VERSION_SCRIPT: &str = "\
import sys
print(sys.version_info[0], sys.version_info[1], sys.executable)
";
const TORCH_SCRIPT: &str = "\
import importlib.util, sys
sys.path = [it for it in sys.path if it not in ('', '.')]
spec = importlib.util.find_spec('torch')
print(spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else '')
";
const LOAD_SCRIPT: &str = "\
import ctypes, sys
for path in sys.argv[1:]:
    ctypes.CDLL(path)
";

/// A Python that is new enough.
#[derive(Debug, Clone)]
pub(crate) struct Python {
    program: OsString,
}

impl fmt::Display for Python {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.program.display().fmt(f)
    }
}

impl Python {
    pub(crate) fn command(&self) -> Command {
        Command::new(&self.program)
    }

    /// Where this Python's torch lies. It is not imported, which takes seconds.
    pub(crate) fn torch(&self) -> Option<PathBuf> {
        let said = run::stdout_of(self.command().args(["-c", TORCH_SCRIPT])).ok()?;
        let dir = said.trim();
        (!dir.is_empty()).then(|| PathBuf::from(dir))
    }

    /// Loads shared libraries, as a program linked to them would.
    pub(crate) fn load(&self, libraries: &[PathBuf]) -> Result<(), Flaw> {
        let mut command = self.command();
        command.args(["-c", LOAD_SCRIPT]).args(libraries);
        match run::stdout_of(&mut command) {
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

    fn has_pip(&self) -> bool {
        run::stdout_of(self.command().args(["-m", "pip", "--version"])).is_ok()
    }
}

/// Every Python that is new enough, the likeliest first; an error if there is none.
pub(crate) fn pythons() -> Result<Vec<Python>, Error> {
    let mut found = Vec::new();
    let mut executables = Vec::new();
    let mut too_old = None;
    let candidates = candidates();
    for program in &candidates {
        let mut command = Command::new(program);
        let Ok(said) = run::stdout_of(command.args(["-c", VERSION_SCRIPT])) else {
            continue;
        };
        let Some(((major, minor), executable)) = parse_version(&said) else {
            continue;
        };
        if (major, minor) < OLDEST {
            too_old.get_or_insert(format!("`{executable}` ({major}.{minor})"));
        } else if !executables.contains(&executable) {
            executables.push(executable);
            found.push(Python {
                program: program.clone(),
            });
        }
    }
    if found.is_empty() {
        let tried: Vec<String> = candidates
            .iter()
            .map(|it| format!("`{}`", Path::new(it).display()))
            .collect();
        return Err(Error::NoPython {
            tried: tried.join(", "),
            too_old,
        });
    }
    Ok(found)
}

/// The first Python that has pip: a virtual environment may lack it.
pub(crate) fn python_with_pip() -> Result<Python, Error> {
    let pythons = pythons()?;
    if let Some(python) = pythons.iter().find(|it| it.has_pip()) {
        return Ok(python.clone());
    }
    let names: Vec<String> = pythons.iter().map(Python::to_string).collect();
    Err(Error::NoPip {
        python: names.join("`, `"),
    })
}

fn candidates() -> Vec<OsString> {
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
        .collect()
}

fn parse_version(said: &str) -> Option<((u32, u32), String)> {
    let mut words = said.trim().splitn(3, ' ');
    let major = words.next()?.parse().ok()?;
    let minor = words.next()?.parse().ok()?;
    Some(((major, minor), words.next()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_line() {
        let parsed = parse_version("3 11 /a b/python\n");
        assert_eq!(parsed, Some(((3, 11), "/a b/python".to_owned())));
        assert_eq!(parse_version("Python 2.7"), None);
        assert_eq!(parse_version(""), None);
        assert!((3, 9) < OLDEST && (3, 10) >= OLDEST && (4, 0) >= OLDEST);
    }
}
