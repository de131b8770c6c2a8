//! Records what is already measured. If a machine vanishes in the middle of a benchmark, only the
//! group in progress is lost: repeating the command continues after the last line.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use config::files::write_whole;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::results::{EpochRow, GroupInfo, HostRow, Row};

/// A part of a benchmark. The journal holds the parts that were measured completely.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "kebab-case")]
pub enum Part {
    /// A group of steps.
    Group {
        /// The group's name and title.
        info: GroupInfo,
        /// Its rows.
        rows: Vec<Row>,
        /// The cases that the time budget did not reach.
        #[serde(default)]
        num_left_out: usize,
    },
    /// Epochs over files.
    Epochs {
        /// Its rows.
        rows: Vec<EpochRow>,
    },
    /// Host work.
    Host {
        /// Its rows.
        rows: Vec<HostRow>,
        /// What could not be measured.
        left_out: Vec<String>,
    },
}

impl Part {
    /// Its name among the parts.
    pub fn name(&self) -> &str {
        match self {
            Self::Group { info, .. } => &info.name,
            Self::Epochs { .. } => "epochs",
            Self::Host { .. } => "host",
        }
    }

    /// The number of its cases that the time budget did not reach.
    pub const fn num_left_out(&self) -> usize {
        match self {
            Self::Group { num_left_out, .. } => *num_left_out,
            Self::Epochs { .. } | Self::Host { .. } => 0,
        }
    }
}

/// The file of parts. Its first line identifies the benchmark.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens `path`. If it belongs to the benchmark `key`, its parts are returned; otherwise it
    /// starts empty. A truncated last line is dropped.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(path: &Path, key: &str) -> Result<(Self, Vec<Part>)> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.lines();
        let parts: Vec<Part> = if lines.next() == Some(key) {
            lines
                .map_while(|line| serde_json::from_str(line).ok())
                .collect()
        } else {
            Vec::new()
        };
        // A truncated line must not precede the next one, so a complete new file replaces the old
        // one.
        let mut lines = vec![key.to_owned()];
        lines.extend(parts.iter().map(line_of));
        let text = lines.join("\n") + "\n";
        write_whole(path, text.as_bytes()).map_err(Error::io("write", path))?;
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(Error::io("write", path))?;
        let journal = Self {
            path: path.to_owned(),
            file,
        };
        Ok((journal, parts))
    }

    /// Adds a part; it is on disk when this returns.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn append(&mut self, part: &Part) -> Result<()> {
        writeln!(self.file, "{}", line_of(part))
            .and_then(|()| self.file.sync_data())
            .map_err(Error::io("write", &self.path))
    }
}

fn line_of(part: &Part) -> String {
    // Strings, numbers and lists can always be written as JSON.
    serde_json::to_string(part).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str) -> Part {
        Part::Group {
            info: GroupInfo {
                name: name.to_owned(),
                title: "a title".to_owned(),
                together: true,
            },
            rows: Vec::new(),
            num_left_out: 0,
        }
    }

    #[test]
    fn a_run_that_was_cut_off_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let (mut journal, parts) = Journal::open(&path, "key").unwrap();
        assert!(parts.is_empty());
        journal.append(&part("a")).unwrap();
        journal.append(&part("b")).unwrap();
        drop(journal);
        // The machine vanished while the third part was being written.
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{whole}{{\"part\":\"gro")).unwrap();

        let (mut journal, parts) = Journal::open(&path, "key").unwrap();
        assert_eq!(parts, [part("a"), part("b")]);
        journal.append(&part("c")).unwrap();
        drop(journal);
        let (_, parts) = Journal::open(&path, "key").unwrap();
        assert_eq!(parts, [part("a"), part("b"), part("c")]);
    }

    #[test]
    fn another_benchmark_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let (mut journal, _) = Journal::open(&path, "one").unwrap();
        journal.append(&part("a")).unwrap();
        drop(journal);
        let (_, parts) = Journal::open(&path, "other").unwrap();
        assert!(parts.is_empty());
    }
}
