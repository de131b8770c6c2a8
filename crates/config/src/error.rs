//! Errors in a configuration, described so that the user can correct them.
//!
//! The message states the place, the key, what is accepted and what was found; the
//! remedy is separate, in [`ConfigError::hint`].

use std::fmt;
use std::path::PathBuf;

use crate::nearest::nearest;

/// A configuration that cannot be used, with the place and the reason.
///
/// The message is complete; there is no further source to print.
#[derive(Debug, thiserror::Error)]
#[error("{place}{kind}")]
pub struct ConfigError {
    place: Place,
    kind: Box<ConfigErrorKind>,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A TOML file and, if known, the line, counted from 1.
    File {
        /// The file as it was given.
        path: PathBuf,
        /// The line of the key or of the syntax error.
        line: Option<usize>,
    },
    /// A preset that comes with Snug.
    Preset(String),
    /// A flag, which the message names.
    Flag(&'static str),
    /// No single place: a value that is being parsed, or several sources together.
    Unknown,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                path,
                line: Some(line),
            } => write!(f, "`{}` line {line}: ", path.display()),
            Self::File { path, line: None } => write!(f, "`{}`: ", path.display()),
            Self::Preset(name) => write!(f, "preset `{name}`: "),
            Self::Flag(_) | Self::Unknown => Ok(()),
        }
    }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// A value of the wrong type or outside its range.
    #[error("`{subject}` must be {accepts}, found `{found}`")]
    Value {
        /// The key or the flag.
        subject: String,
        /// The accepted range.
        accepts: &'static str,
        /// The value as it was written.
        found: String,
        /// The remedy, if it is obvious.
        hint: Option<String>,
    },
    /// A key that does not exist.
    #[error("unknown key `{key}`")]
    UnknownKey {
        /// The key as it was written.
        key: String,
        /// The key that was probably meant.
        nearest: Option<&'static str>,
        /// Every known key.
        known: Vec<&'static str>,
    },
    /// A preset that does not exist.
    #[error("unknown preset `{name}`, expected one of {list}")]
    UnknownPreset {
        /// The name as it was written.
        name: String,
        /// The names of all presets.
        list: String,
        /// The preset that was probably meant.
        nearest: Option<&'static str>,
    },
    /// Text that does not parse as its type; the caller knows the flag.
    #[error("{what} must be {accepts}, found `{found}`")]
    Text {
        /// What was being read.
        what: &'static str,
        /// The accepted forms.
        accepts: &'static str,
        /// The text as it was written.
        found: String,
        /// The choice that was probably meant.
        nearest: Option<&'static str>,
    },
    /// Two keys that exclude each other.
    #[error("{detail}")]
    Contradiction {
        /// The keys, with the reason.
        detail: String,
        /// The remedy.
        hint: String,
    },
    /// A file with a newer schema.
    #[error("`schema_version` {found} is not supported, this build reads {known}")]
    SchemaVersion {
        /// The version in the file.
        found: i64,
        /// The version that this build reads.
        known: i64,
    },
    /// Text that is not TOML.
    #[error("not valid TOML: {message}")]
    Syntax {
        /// The parser's message.
        message: String,
    },
    /// A file that cannot be read.
    #[error("cannot be read: {source}")]
    Unreadable {
        /// The system's error.
        source: std::io::Error,
    },
}

impl ConfigError {
    /// Where the value came from.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// What is wrong with the value.
    pub fn kind(&self) -> &ConfigErrorKind {
        &self.kind
    }

    /// One sentence that states the remedy, without the word `hint`.
    pub fn hint(&self) -> Option<String> {
        let did_you_mean = |name: &&str| format!("did you mean `{name}`?");
        match &*self.kind {
            ConfigErrorKind::Value { hint, .. } => hint.clone(),
            ConfigErrorKind::UnknownKey {
                nearest: None,
                known,
                ..
            } => Some(format!("the keys are `{}`", known.join("`, `"))),
            ConfigErrorKind::UnknownKey { nearest, .. }
            | ConfigErrorKind::UnknownPreset { nearest, .. }
            | ConfigErrorKind::Text { nearest, .. } => nearest.as_ref().map(did_you_mean),
            ConfigErrorKind::Contradiction { hint, .. } => Some(hint.clone()),
            ConfigErrorKind::SchemaVersion { known, .. } => Some(format!(
                "write `schema_version = {known}`, or use the version of Snug that wrote the file"
            )),
            ConfigErrorKind::Syntax { .. } => None,
            ConfigErrorKind::Unreadable { source } => match source.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::IsADirectory => {
                    Some("`--config` takes a TOML file; `--preset` takes a name".to_owned())
                }
                std::io::ErrorKind::InvalidData => Some("save the file as UTF-8".to_owned()),
                _ => None,
            },
        }
    }

    pub(crate) fn new(place: Place, kind: ConfigErrorKind) -> Self {
        Self {
            place,
            kind: Box::new(kind),
        }
    }

    pub(crate) fn not_a_value(what: &'static str, accepts: &'static str, found: &str) -> Self {
        Self::not_a_choice(what, accepts, found, std::iter::empty())
    }

    pub(crate) fn not_a_choice(
        what: &'static str,
        accepts: &'static str,
        found: &str,
        choices: impl Iterator<Item = &'static str>,
    ) -> Self {
        let nearest = nearest(found, choices);
        let found = found.to_owned();
        Self::new(
            Place::Unknown,
            ConfigErrorKind::Text {
                what,
                accepts,
                found,
                nearest,
            },
        )
    }
}
