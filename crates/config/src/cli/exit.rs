//! The exit codes of the programs.

use std::fmt::Write as _;
use std::process::ExitCode;

/// How a program ended, for the process that started it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything that was requested is done.
    Done = 0,
    /// Something failed during the run.
    Failed = 1,
    /// The command line, the configuration or the data is wrong; nothing was started.
    Usage = 2,
    /// No configuration that may be run is predicted to fit; nothing was started.
    NothingFits = 3,
    /// Memory was almost full: the run stopped and saved a snapshot to resume from.
    EmergencyStop = 4,
    /// Another process of this run failed. Its own exit code says how.
    PeerFailed = 5,
    /// Ctrl-C or SIGTERM: the run stopped and saved a snapshot to resume from.
    Interrupted = 130,
}

impl Exit {
    /// Every exit code of `train`.
    pub const TRAIN: &[Self] = &[
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::NothingFits,
        Self::EmergencyStop,
        Self::PeerFailed,
        Self::Interrupted,
    ];
    /// Every exit code of `advisor`.
    pub const ADVISOR: &[Self] = &[Self::Done, Self::Failed, Self::Usage, Self::NothingFits];

    /// The number that the process returns to the system.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Its meaning, for `--help` and the table in the documentation.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Usage => "wrong usage, configuration or data",
            Self::NothingFits => "predicted not to fit: nothing was started",
            Self::EmergencyStop => "stopped because memory was almost full; `--resume` continues",
            Self::PeerFailed => "another rank of this run failed",
            Self::Interrupted => "interrupted; `--resume` continues",
        }
    }

    /// The table for `--help`.
    pub fn help(codes: &[Self]) -> String {
        let mut text = String::from("Exit codes:");
        for exit in codes {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "\n  {:>3}  {}", exit.code(), exit.meaning());
        }
        text
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The documentation contains every row of this table.
    #[test]
    fn the_documentation_has_them_all() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut pages = fs::read_to_string(root.join("README.md")).unwrap();
        let guide = fs::read_dir(root.join("docs/guide")).into_iter().flatten();
        for page in guide.flatten() {
            pages.push_str(&fs::read_to_string(page.path()).unwrap_or_default());
        }
        for exit in Exit::TRAIN {
            let row = format!("| {} | {} |", exit.code(), exit.meaning());
            assert!(pages.contains(&row), "{row}");
        }
    }
}
