//! Finds the ledger, appends lines to it one at a time, and reads them leniently.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, SCHEMA_VERSION};
use super::fitted::Fitted;

/// Where the ledger is. Two variables and a default need only `std`; a crate for standard folders
/// (`etcetera`, `directories`) would add nothing on Linux but support for other systems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerPlace {
    /// This file, whether it exists or not.
    File(PathBuf),
    /// Nowhere: `SNUG_LEDGER` is `off`.
    Off,
    /// Nowhere: there is no home folder.
    Homeless,
}

/// The result of appending a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept<'a> {
    /// The file that the line went to.
    pub path: &'a Path,
    /// Whether the file was new.
    pub is_new: bool,
}

/// The contents of the ledger.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents {
    /// The runs, oldest first.
    pub entries: Vec<Entry>,
    /// The fitted rates: the newest for each device, precision and memory format.
    pub rates: Vec<Fitted>,
    /// The number of lines with another schema.
    pub num_other_schema: usize,
    /// The number of lines that cannot be parsed, such as a line cut off by a full disk.
    pub num_not_understood: usize,
}

/// The file cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} `{}`: {source}", path.display())]
pub struct LedgerError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl LedgerPlace {
    /// `SNUG_LEDGER`, a path or `off`; otherwise `snug/ledger.jsonl` in `XDG_DATA_HOME`, or else in
    /// `~/.local/share`.
    pub fn of_environment() -> Self {
        Self::of(|name| env::var_os(name), env::home_dir())
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Self {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        match variable("SNUG_LEDGER") {
            Some(value) if value == "off" => return Self::Off,
            Some(path) => return Self::File(path.into()),
            None => {}
        }
        // The XDG specification says to ignore a relative path.
        let data = variable("XDG_DATA_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| Some(home?.join(".local/share")).filter(|path| path.is_absolute()));
        data.map_or(Self::Homeless, |data| {
            Self::File(data.join("snug").join("ledger.jsonl"))
        })
    }

    /// Appends a run. Returns `None` if there is no ledger to append to.
    ///
    /// # Errors
    /// Fails if the file cannot be written. Its previous contents stay.
    pub fn keep(&self, entry: &Entry) -> Result<Option<Kept<'_>>, LedgerError> {
        self.append(entry)
    }

    /// Appends fitted rates, which replace older ones. Returns `None` if there is no ledger to append to.
    ///
    /// # Errors
    /// Fails as [`Self::keep`] does.
    pub fn keep_rates(&self, rates: &Fitted) -> Result<Option<Kept<'_>>, LedgerError> {
        self.append(rates)
    }

    fn append(&self, line: &impl Serialize) -> Result<Option<Kept<'_>>, LedgerError> {
        let Self::File(path) = self else {
            return Ok(None);
        };
        let is_new = !path.exists();
        match append(path, line) {
            Ok(()) => Ok(Some(Kept { path, is_new })),
            Err(source) => Err(LedgerError {
                doing: "append to",
                path: path.clone(),
                source,
            }),
        }
    }

    /// Reads the ledger. A file that does not exist yet counts as empty.
    ///
    /// # Errors
    /// Fails if the file exists but cannot be read.
    pub fn read(&self) -> Result<Contents, LedgerError> {
        let Self::File(path) = self else {
            return Ok(Contents::default());
        };
        match fs::read(path) {
            Ok(bytes) => Ok(Contents::from_bytes(&bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Contents::default()),
            Err(source) => Err(LedgerError {
                doing: "read",
                path: path.clone(),
                source,
            }),
        }
    }
}

/// Appends in one write, so that the system orders it with what other runs append at the same time.
fn append(path: &Path, entry: &impl Serialize) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(path)?;
    let mut line = Vec::new();
    // A torn last line must not corrupt this one.
    if !ends_a_line(&mut file)? {
        line.push(b'\n');
    }
    serde_json::to_writer(&mut line, entry)?;
    line.push(b'\n');
    loop {
        match file.write(&line) {
            Ok(written) if written == line.len() => return Ok(()),
            Ok(_) => return Err(ErrorKind::StorageFull.into()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn ends_a_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

impl Contents {
    /// Parses the lines in `bytes`.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Versioned {
            schema_version: u32,
            source: Option<IgnoredAny>,
        }
        let mut all = Self::default();
        let lines = bytes.split(|byte| *byte == b'\n');
        for line in lines.filter(|line| !line.trim_ascii().is_empty()) {
            let understood = match serde_json::from_slice::<Versioned>(line) {
                Ok(it) if it.schema_version != SCHEMA_VERSION => {
                    all.num_other_schema += 1;
                    true
                }
                Ok(it) if it.source.is_some() => all.take_rates(line).is_some(),
                Ok(_) => all.take_run(line).is_some(),
                Err(_) => false,
            };
            all.num_not_understood += usize::from(!understood);
        }
        all
    }

    fn take_run(&mut self, line: &[u8]) -> Option<()> {
        self.entries.push(serde_json::from_slice(line).ok()?);
        Some(())
    }

    fn take_rates(&mut self, line: &[u8]) -> Option<()> {
        let rates: Fitted = serde_json::from_slice(line).ok()?;
        let rates = rates.is_usable().then_some(rates)?;
        self.rates.retain(|older| !rates.replaces(older));
        self.rates.push(rates);
        Some(())
    }

    /// The number of lines that were skipped.
    pub fn num_skipped(&self) -> usize {
        self.num_other_schema + self.num_not_understood
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::ledger::Device;
    use crate::ledger::fitted::tests::rates;
    use crate::ledger::statistics::tests::entry;

    fn place(variables: &[(&str, &str)], home: Option<&str>) -> LedgerPlace {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name);
        LedgerPlace::of(
            |name| find(name).map(|(_, value)| value.into()),
            home.map(PathBuf::from),
        )
    }

    #[test]
    fn places() {
        let file = |path: &str| LedgerPlace::File(path.into());
        let xdg = ("XDG_DATA_HOME", "/data");
        let home = Some("/home/x");
        assert_eq!(
            place(&[("SNUG_LEDGER", "off"), xdg], home),
            LedgerPlace::Off
        );
        assert_eq!(
            place(&[("SNUG_LEDGER", "a.jsonl"), xdg], home),
            file("a.jsonl")
        );
        assert_eq!(place(&[xdg], home), file("/data/snug/ledger.jsonl"));
        let default = file("/home/x/.local/share/snug/ledger.jsonl");
        for ignored in [
            ("SNUG_LEDGER", ""),
            ("XDG_DATA_HOME", ""),
            ("XDG_DATA_HOME", "x"),
        ] {
            assert_eq!(place(&[ignored], home), default);
        }
        assert_eq!(place(&[], None), LedgerPlace::Homeless);
        assert_eq!(place(&[], Some("")), LedgerPlace::Homeless);
    }

    #[test]
    fn runs_come_back_as_they_were_kept() {
        let dir = tempfile::tempdir().unwrap();
        let place = LedgerPlace::File(dir.path().join("a/b/ledger.jsonl"));
        assert_eq!(place.read().unwrap(), Contents::default());
        let (first, second) = (entry(100, 100), entry(200, 190));
        assert!(place.keep(&first).unwrap().unwrap().is_new);
        assert!(!place.keep(&second).unwrap().unwrap().is_new);
        assert_eq!(place.read().unwrap().entries, [first, second]);
        assert_eq!(LedgerPlace::Off.keep(&entry(1, 1)).unwrap(), None);
    }

    #[test]
    fn lines_that_are_not_understood_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let good = serde_json::to_string(&entry(100, 100)).unwrap();
        let more = good.replacen('{', "{\"of_a_later_version\":[1],", 1);
        let other = good.replacen(":1,", ":2,", 1);
        let mut bytes = format!("{good}\n\n{more}\r\n{other}\n[]\n{{}}\nnull\n").into_bytes();
        bytes.extend(b"\xff\xfe\n{\"schema_version\":1}\n");
        // A torn line, as a full disk leaves it at the end.
        bytes.extend(&good.as_bytes()[..good.len() / 2]);
        fs::write(&path, bytes).unwrap();
        let place = LedgerPlace::File(path);
        place.keep(&entry(7, 7)).unwrap();
        let contents = place.read().unwrap();
        assert_eq!(contents.entries.len(), 3);
        assert_eq!(contents.entries[2], entry(7, 7));
        assert_eq!(
            (contents.num_other_schema, contents.num_not_understood),
            (1, 6)
        );
    }

    #[test]
    fn newer_rates_replace_older_ones() {
        let dir = tempfile::tempdir().unwrap();
        let place = LedgerPlace::File(dir.path().join("ledger.jsonl"));
        place.keep(&entry(1, 1)).unwrap();
        let kept = [
            ("a", "fp16", 1.0),
            ("a", "tf32", 2.0),
            ("b", "fp16", 3.0),
            ("a", "fp16", 4.0),
        ]
        .map(|(name, precision, flops)| rates(Device::gpu(name), precision, flops));
        for rates in &kept {
            place.keep_rates(rates).unwrap();
        }
        let unusable = rates(Device::gpu("a"), "tf32", 0.0);
        place.keep_rates(&unusable).unwrap();
        let contents = place.read().unwrap();
        assert_eq!(contents.rates, kept[1..]);
        assert_eq!(
            (contents.entries.len(), contents.num_not_understood),
            (1, 1)
        );
    }

    #[test]
    fn runs_at_once_do_not_mix_lines() {
        let dir = tempfile::tempdir().unwrap();
        let place = LedgerPlace::File(dir.path().join("ledger.jsonl"));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        place.keep(&entry(3, 4)).unwrap();
                    }
                });
            }
        });
        let contents = place.read().unwrap();
        assert_eq!((contents.entries.len(), contents.num_skipped()), (400, 0));
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let message = |place: &LedgerPlace| place.keep(&entry(1, 1)).unwrap_err().to_string();
        let folder = LedgerPlace::File(dir.path().to_owned());
        assert!(message(&folder).starts_with("cannot append to `"));
        assert!(
            folder
                .read()
                .unwrap_err()
                .to_string()
                .starts_with("cannot read `")
        );
        let full = message(&LedgerPlace::File("/dev/full".into()));
        assert!(full.starts_with("cannot append to `/dev/full`"), "{full}");
        let under_a_file = dir.path().join("file");
        fs::write(&under_a_file, "").unwrap();
        message(&LedgerPlace::File(under_a_file.join("ledger.jsonl")));
    }
}
