//! Runs the real binary as a user would, in a folder of its own, on small data.

mod bench;
mod data;
mod doctor;
mod faults;
mod fit;
mod guard;
mod interrupt;
mod kills;
mod ledger;
mod memory;
mod plan;
mod predict;
mod pytorch;
mod pytorch_files;
mod refusals;
mod reproduce;
mod resume;
mod resume_places;
mod resume_refusals;
mod running;
mod several_classes;
mod storage;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ::data::synth::{Counts, write_dataset};
use serde_json::Value;
use tempfile::TempDir;

/// A short run in fp32, as far as a test says nothing else.
const SMALL: &[[&str; 2]] = &[
    ["--device", "cpu"],
    ["--width", "4"],
    ["--img-size", "64x64"],
    ["--batch", "4"],
    ["--lr", "1e-3"],
    ["--amp", "off"],
];

/// The ledger of the runs of a sandbox.
const LEDGER: &str = "ledger.jsonl";

/// A folder that programs are started in; it goes away with the test.
struct Sandbox {
    dir: TempDir,
}

/// How a program ended.
#[derive(Debug)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Sandbox {
    fn empty() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// With 8 + 4 + 2 pages of 64x64 in `data/`.
    fn with_pages() -> Self {
        let sandbox = Self::empty();
        let counts = Counts {
            train: 8,
            val: 4,
            test: 2,
        };
        write_dataset(&sandbox.path("data"), counts, (64, 64), 3, |_, _| ()).unwrap();
        sandbox
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// Each line of a `.jsonl` file.
    fn rows(&self, name: &str) -> Vec<Value> {
        let text = String::from_utf8(self.read(name)).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// `train`, ready to start here. One thread each: tests run beside each other, and threads
    /// of libtorch that wait spin. No test writes into the home of whoever runs it.
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_train"));
        command
            .current_dir(self.dir.path())
            .env("OMP_NUM_THREADS", "1")
            .env("LC_ALL", "C")
            .env("SNUG_LEDGER", LEDGER)
            .stdin(Stdio::null());
        command
    }

    fn train(&self, args: &[&str]) -> Run {
        Run::of(self.command().args(args))
    }

    /// A short run on `data/` with more flags, which must end well.
    fn fit(&self, more: &[&str]) -> Run {
        self.train(&small(&[&["--data", "data"], more].concat()))
            .ok()
    }

    /// Every file, with its bytes, and every folder.
    fn tree(&self) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut tree = BTreeMap::new();
        collect(self.dir.path(), &mut tree);
        tree
    }
}

/// `fit` with these flags, and with those of [`SMALL`] that are not among them.
fn small<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    let rest = SMALL
        .iter()
        .filter(|[name, _]| !flags.contains(name))
        .flatten();
    [&["fit"], flags]
        .concat()
        .into_iter()
        .chain(rest.copied())
        .collect()
}

impl Run {
    fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Itself, which must have ended well.
    fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.stdout, self.stderr);
        self
    }

    /// The lines from `error:` on.
    fn complaint(&self) -> &str {
        let start = self
            .stderr
            .find("error:")
            .unwrap_or_else(|| panic!("no error: {self:?}"));
        self.stderr[start..].trim_end()
    }
}

fn collect(dir: &Path, tree: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, tree);
            tree.insert(path, None);
        } else {
            let bytes = fs::read(&path).unwrap();
            tree.insert(path, Some(bytes));
        }
    }
}
