//! Where a program looks for libtorch: in `LIBTORCH`, in the active Python, in its own folder.

use std::env;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::loader;
use crate::python::{self, Python};
use crate::torch::{Flaw, Torch, Use, inspect};

/// Folders next to a program that may be a libtorch: the C++ archive unpacks to the first, a wheel
/// to the second.
const BESIDE: [&str; 2] = ["libtorch", "torch"];

/// Where to look, and for which program.
#[derive(Debug, Clone)]
pub struct LibtorchSearch {
    /// The program that needs libtorch.
    pub program: PathBuf,
    /// `LIBTORCH`. If it is set, the search looks nowhere else.
    pub libtorch: Option<PathBuf>,
    /// The Pythons to ask, in order.
    pub pythons: Vec<Python>,
    /// The program's own folder, which may contain a libtorch.
    pub folder: PathBuf,
}

/// A place that was tried, and why it was skipped.
#[derive(Debug)]
pub struct Tried {
    /// The place.
    pub place: SearchPlace,
    /// Why it was skipped.
    pub why: Why,
}

/// A place to look in.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SearchPlace {
    /// The environment variable `LIBTORCH`.
    Variable,
    /// The torch of a Python.
    Python(Python),
    /// A folder next to the program.
    Beside(PathBuf),
}

/// Why a place was skipped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// The variable is not set.
    #[error("not set")]
    NotSet,
    /// The program or folder does not exist.
    #[error("not found")]
    NotThere,
    /// The Python could not be asked.
    #[error("it failed to run: {0}")]
    NoAnswer(String),
    /// The Python has no torch.
    #[error("it has no torch installed (`{}`)", .executable.display())]
    NoTorch {
        /// The interpreter that answered.
        executable: PathBuf,
    },
    /// The Python's torch cannot be used.
    #[error("its torch cannot be used (`{}`): {flaw}", .dir.display())]
    Torch {
        /// The folder of that torch.
        dir: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The folder is not a usable libtorch.
    #[error("cannot be used: {0}")]
    Folder(Flaw),
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            SearchPlace::Variable => write!(f, "`LIBTORCH`: {}", self.why),
            SearchPlace::Python(python) => write!(f, "`{python}`: {}", self.why),
            SearchPlace::Beside(dir) => write!(f, "`{}`: {}", dir.display(), self.why),
        }
    }
}

impl LibtorchSearch {
    /// The places that this process's environment names.
    pub fn of_process(program: PathBuf, folder: PathBuf) -> Self {
        Self {
            program,
            libtorch: env::var_os("LIBTORCH")
                .filter(|it| !it.is_empty())
                .map(PathBuf::from),
            pythons: python::candidates(),
            folder,
        }
    }

    /// Finds the first usable libtorch.
    ///
    /// # Errors
    /// - [`Error::UnusableLibtorch`] if `LIBTORCH` is set to a libtorch that cannot be used: it was
    ///   set on purpose, so no other is tried.
    /// - [`Error::NotFound`] with every place and what is wrong with it.
    /// - [`Error::OldSystem`] if no libtorch could help.
    pub fn find(&self) -> Result<Torch> {
        if let Some(dir) = &self.libtorch {
            return self.judge(dir)?.map_err(|flaw| Error::UnusableLibtorch {
                dir: dir.clone(),
                flaw,
            });
        }
        let mut tried = vec![Tried {
            place: SearchPlace::Variable,
            why: Why::NotSet,
        }];
        for python in &self.pythons {
            match self.of_python(python)? {
                Ok(torch) => return Ok(torch),
                Err(why) => tried.push(Tried {
                    place: SearchPlace::Python(python.clone()),
                    why,
                }),
            }
        }
        for dir in BESIDE.map(|it| self.folder.join(it)) {
            let why = match self.judge(&dir)? {
                Ok(torch) => return Ok(torch),
                Err(Flaw::Missing(path)) if path == dir => Why::NotThere,
                Err(flaw) => Why::Folder(flaw),
            };
            tried.push(Tried {
                place: SearchPlace::Beside(dir),
                why,
            });
        }
        Err(Error::NotFound { tried })
    }

    fn of_python(&self, python: &Python) -> Result<Result<Torch, Why>> {
        let answer = match python.ask() {
            Ok(answer) => answer,
            Err(Error::Start { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(Err(Why::NotThere));
            }
            Err(error) => return Ok(Err(Why::NoAnswer(reason(&error)))),
        };
        let Some(dir) = answer.torch else {
            let executable = answer.executable;
            return Ok(Err(Why::NoTorch { executable }));
        };
        let judged = self.judge(&dir)?;
        Ok(judged.map_err(|flaw| Why::Torch { dir, flaw }))
    }

    /// The outer error is one that no other place can fix.
    fn judge(&self, dir: &Path) -> Result<Result<Torch, Flaw>> {
        let torch = match inspect(dir, Use::Run) {
            Ok(torch) => torch,
            Err(flaw) => return Ok(Err(flaw)),
        };
        let lacks = loader::lacks(&self.program, &torch);
        if !lacks.versions.is_empty() {
            return Err(Error::OldSystem {
                program: self.program.clone(),
                versions: lacks.versions,
            });
        }
        Ok(match lacks.reason() {
            None => Ok(torch),
            Some(reason) => Err(Flaw::Load { reason }),
        })
    }
}

/// The last line of the error: if a Python fails, this line names the exception.
fn reason(error: &Error) -> String {
    let text = match error {
        Error::Command { message, .. } => message.clone(),
        Error::Start { source, .. } => source.to_string(),
        other => other.to_string(),
    };
    text.lines().last().unwrap_or_default().to_owned()
}
