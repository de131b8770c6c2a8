//! Finds the Pythons of the machine that are new enough for pip to install torch.

use launcher::{Python, candidates};

use crate::error::Error;
use crate::run;

const OLDEST: (u32, u32) = (3, 10);

const VERSION_SCRIPT: &str = "\
import sys
print(sys.version_info[0], sys.version_info[1], sys.executable)
";

/// Every Python that is new enough, most likely first; an error if there is none.
pub(crate) fn pythons() -> Result<Vec<Python>, Error> {
    let mut found = Vec::new();
    let mut executables = Vec::new();
    let mut too_old = None;
    let candidates = candidates();
    for python in &candidates {
        let Ok(said) = run::stdout_of(python.command().args(["-c", VERSION_SCRIPT])) else {
            continue;
        };
        let Some(((major, minor), executable)) = parse_version(&said) else {
            continue;
        };
        if (major, minor) < OLDEST {
            too_old.get_or_insert(format!("`{executable}` ({major}.{minor})"));
        } else if !executables.contains(&executable) {
            executables.push(executable);
            found.push(python.clone());
        }
    }
    if found.is_empty() {
        let tried: Vec<String> = candidates.iter().map(|it| format!("`{it}`")).collect();
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
    if let Some(python) = pythons.iter().find(|it| has_pip(it)) {
        return Ok(python.clone());
    }
    let names: Vec<String> = pythons.iter().map(Python::to_string).collect();
    Err(Error::NoPip {
        python: names.join("`, `"),
    })
}

pub(crate) fn has_pip(python: &Python) -> bool {
    run::stdout_of(python.command().args(["-m", "pip", "--version"])).is_ok()
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
