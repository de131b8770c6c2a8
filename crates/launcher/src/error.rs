//! Everything that can go wrong here, with what the reader can do about it.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use locale::{Language, translated};

use crate::search::{SearchPlace, Tried};
use crate::torch::{Flaw, VERSION};

/// `std`'s `Result` with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a program was not started, or gave no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program could not be started.
    #[error("cannot start `{program}`")]
    Start {
        /// The program with its arguments.
        program: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },

    /// A program failed.
    #[error("`{command}` failed: {message}")]
    Command {
        /// The program with its arguments.
        command: String,
        /// The end of its stderr, or its exit status if it printed nothing.
        message: String,
    },

    /// `LIBTORCH` is set, but it names a libtorch that cannot be used.
    #[error("`LIBTORCH={}` cannot be used", .dir.display())]
    UnusableLibtorch {
        /// The value of `LIBTORCH`.
        dir: PathBuf,
        /// What is wrong with it.
        #[source]
        flaw: Flaw,
    },

    /// No place has a usable libtorch.
    #[error("no libtorch {VERSION} found; these places were tried:{}", lines(.tried))]
    NotFound {
        /// Each place, and why it was skipped.
        tried: Vec<Tried>,
    },

    /// The C or C++ library of this system is older than those that the program was built with.
    #[error("this system is too old for `{}`: it lacks {}", .program.display(), quoted(.versions))]
    OldSystem {
        /// The program that needs them.
        program: PathBuf,
        /// Versions of symbols, such as `GLIBC_2.36`.
        versions: Vec<String>,
    },

    /// The program to start is missing.
    #[error("`{}`, which this program starts, is missing", .path.display())]
    NoProgram {
        /// Where it should be.
        path: PathBuf,
    },

    /// The system does not report the launcher's own path.
    #[error("cannot find the path of this program")]
    NoOwnPath(#[source] io::Error),
}

impl Error {
    /// What to do about it, for the `hint:` line.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::UnusableLibtorch { flaw, .. } => match flaw {
                Flaw::Version { .. } => {
                    format!("Snug needs libtorch {VERSION}: {UNSET}")
                }
                Flaw::Load { .. } => format!("install the libraries that it needs, or {UNSET}"),
                _ => format!(
                    "set it to the folder that holds `lib` and `version.py` or `build-version`, or \
                     {UNSET}"
                ),
            },
            Self::NotFound { tried } => format!(
                "run {}, or set `LIBTORCH` to the folder of a libtorch {VERSION}",
                install(tried)
            ),
            Self::OldSystem { .. } => {
                "build Snug on this system with `cargo xtask dist`, or use a newer system"
                    .to_owned()
            }
            Self::NoProgram { .. } => {
                "keep all files of the archive in its folder (a link to this program may be \
                 anywhere), or reinstall the wheel with `pip install --force-reinstall`"
                    .to_owned()
            }
            Self::Start { .. } | Self::Command { .. } | Self::NoOwnPath(_) => return None,
        })
    }
}

const UNSET: &str = "unset `LIBTORCH` to use the torch of the active Python";

/// An error and its causes, in one line: `a: b: c`.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// What a person reads of an error: a line with its causes, and one with the hint.
pub fn said(error: &dyn std::error::Error, hint: Option<&str>) -> String {
    let with_causes = with_causes(error);
    let word = |text| Language::spoken().word("", text);
    let mut said = format!("{}{}", word("error: "), translated(&with_causes));
    if let Some(hint) = hint {
        // Writing to a `String` cannot fail.
        let _ = write!(said, "\n{}{}", word("hint: "), translated(hint));
    }
    said
}

/// The command that installs torch, in the only Python that counts if there is one.
fn install(tried: &[Tried]) -> String {
    let mut pythons = tried.iter().filter_map(|it| match &it.place {
        SearchPlace::Python(python) => Some(python),
        _ => None,
    });
    match (pythons.next(), pythons.next()) {
        (Some(python), None) => format!("`{python} -m pip install torch=={VERSION}`"),
        _ => format!("`python3 -m pip install torch=={VERSION}` in a virtual environment"),
    }
}

fn lines(tried: &[Tried]) -> String {
    tried.iter().fold(String::new(), |mut text, it| {
        // Writing to a string does not fail.
        write!(text, "\n  {it}").ok();
        text
    })
}

fn quoted(names: &[String]) -> String {
    format!("`{}`", names.join("`, `"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_go_on_one_line() {
        let error = Error::UnusableLibtorch {
            dir: "/opt/torch".into(),
            flaw: Flaw::Version {
                found: "2.9.1".to_owned(),
            },
        };
        assert_eq!(
            with_causes(&error),
            "`LIBTORCH=/opt/torch` cannot be used: its version is 2.9.1, not 2.11.0"
        );
    }

    #[test]
    fn an_old_system_is_told_what_it_lacks() {
        let error = Error::OldSystem {
            program: "libexec/train".into(),
            versions: vec!["GLIBC_2.36".to_owned(), "GLIBCXX_3.4.30".to_owned()],
        };
        assert_eq!(
            error.to_string(),
            "this system is too old for `libexec/train`: it lacks `GLIBC_2.36`, `GLIBCXX_3.4.30`"
        );
    }
}
