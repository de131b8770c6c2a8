//! Everything that only a real GPU can tell, in one run of a few minutes: each part is a process with its own
//! time limit, and what it leaves is kept before the next one starts.
//!
//! The parts are in the order of their worth, since a rented GPU is given back at any time. The result is one
//! file, an [`Archive`], which `cargo xtask gpu --take` turns into a page of `docs/measurements`.

mod page;
mod parts;
mod process;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::results::{Device, Results};

pub use page::page;
pub use parts::NAMES;
use parts::PartPlan;

/// The version of the archive's schema.
pub const SCHEMA_VERSION: u32 = 1;
/// The archive's name in the folder of a session.
pub const ARCHIVE: &str = "gpu.json";

/// A session on a GPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Archive {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The day, such as `2026-11-25`.
    pub date: String,
    /// The version of Snug and how it was compiled.
    pub snug: String,
    /// The version of libtorch.
    pub libtorch: String,
    /// The device.
    pub device: Device,
    /// The parts, in order.
    pub parts: Vec<Part>,
    /// What `train bench` measured.
    pub bench: Option<Results>,
}

/// One part of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// Its command line.
    pub command: String,
    /// The exit code that is right; any code if `null`.
    pub expected: Option<i32>,
    /// How it ended.
    pub ending: Ending,
    /// Wall-clock time.
    pub seconds: f64,
    /// The end of its output, stdout and then stderr.
    pub output: String,
    /// `summary.json` of a run.
    pub summary: Option<Value>,
    /// The line of a run in the ledger.
    pub ledger: Option<Value>,
    /// `events.jsonl` of a run.
    #[serde(default)]
    pub events: Vec<Value>,
}

/// How a part ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// With this exit code.
    Exit(i32),
    /// A signal ended it.
    Signal,
    /// It was killed at its time limit.
    TimedOut,
    /// It was not started, for this reason.
    NotStarted(String),
}

impl Part {
    /// Whether it ended as it should.
    pub fn is_as_expected(&self) -> bool {
        match (&self.ending, self.expected) {
            (Ending::Exit(code), Some(expected)) => *code == expected,
            (Ending::Exit(_), None) => true,
            _ => false,
        }
    }
}

impl Archive {
    /// Reads an archive.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::NotASession`] for another file.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        let refused = |message: String| Error::NotASession {
            path: path.to_path_buf(),
            message,
        };
        let archive: Self =
            serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
        if archive.schema_version != SCHEMA_VERSION {
            return Err(refused(format!(
                "its `schema_version` is {}, and {SCHEMA_VERSION} is read here",
                archive.schema_version
            )));
        }
        Ok(archive)
    }

    /// The text of the file.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// What to run, and where.
#[derive(Debug, Clone)]
pub struct Session {
    /// The program `train`.
    pub train: PathBuf,
    /// The device's name for `--device`.
    pub device_flag: String,
    /// A Python with torch, to compare with.
    pub python: Option<PathBuf>,
    /// The folder for everything.
    pub out: PathBuf,
    /// No part starts after this time.
    pub budget: Duration,
    /// Only parts of these names; all if empty.
    pub only: Vec<String>,
}

/// Runs the parts, and returns the archive with them. It is written after each part.
///
/// # Errors
/// [`Error::Io`] if the folder or the archive cannot be written.
pub fn run(session: &Session, mut archive: Archive, say: &mut dyn FnMut(&str)) -> Result<Archive> {
    let out = &session.out;
    std::fs::create_dir_all(out).map_err(Error::io("make", out))?;
    let begun = Instant::now();
    for plan in parts::all(session) {
        let is_wanted = session.only.is_empty() || session.only.iter().any(|it| it == plan.name);
        if !is_wanted && plan.name != parts::PAGES {
            continue;
        }
        let left = session.budget.saturating_sub(begun.elapsed());
        let part = if left.is_zero() {
            plan.not_started("no time left")
        } else {
            plan.run(session, left)?
        };
        say(&line(&part));
        archive.parts.push(part);
        let results = out.join(parts::BENCH).join("results.json");
        archive.bench = Results::read(&results).ok();
        write(out, &archive)?;
    }
    Ok(archive)
}

/// Written to another name first: a session may end at any time.
fn write(out: &Path, archive: &Archive) -> Result<()> {
    let (path, new) = (out.join(ARCHIVE), out.join("gpu.json.new"));
    std::fs::write(&new, archive.to_json()).map_err(Error::io("write", &new))?;
    std::fs::rename(&new, &path).map_err(Error::io("write", &path))
}

fn line(part: &Part) -> String {
    let Part { name, seconds, .. } = part;
    let wrong = match (&part.ending, part.expected) {
        (Ending::NotStarted(why), _) => return format!("{name}: not started: {why}"),
        (Ending::TimedOut, _) => "killed at its time limit".to_owned(),
        (Ending::Signal, _) => "ended by a signal".to_owned(),
        (Ending::Exit(code), Some(expected)) if *code != expected => {
            format!("exit code {code} where {expected} is right")
        }
        (Ending::Exit(code), _) => return format!("{name}: exit code {code}, {seconds:.1} s"),
    };
    format!("{name}: {wrong}, after {seconds:.1} s")
}
