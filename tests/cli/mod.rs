//! Runs the real binary as a user would, in a temporary folder, on small data.

// `train bench`, with a fake and a real PyTorch.
mod bench;
// Windows cut from images at their own resolution.
mod crop;
// Layouts and kinds of data, and `train synth`.
mod data;
// `train doctor`, and every check of it broken on purpose.
mod doctor;
// Planted faults (`SNUG_FAULT`), and how the run ends.
mod faults;
// Files that a run writes, and flags that change its course.
mod fit;
// One forecast: `fit`, `memory`, `suggest` and `explain` say the same.
mod forecast;
// Runs on libtorch's CUDA half, on a stand-in for a GPU.
mod gpu;
// The memory guard: a run stops before the machine's memory is full.
mod guard;
// What folders as people have them hold, and `train inspect`.
mod inspect;
// Signals that end a run.
mod interrupt;
// Runs killed at every point of their writing, then resumed.
mod kills;
mod layouts;
// Lines that runs leave in the ledger.
mod ledger;
// `train memory`: the picture, the table and the figures.
mod memory;
// `--nproc`: several processes of one run.
mod nproc;
// The commands on the pages of the guide.
mod pages;
// Runs in too little memory: adapted, refused or forced.
mod plan;
// `train predict`.
mod predict;
// Weights exchanged with PyTorch, both ways.
mod pytorch;
// State dicts saved by PyTorch, read without it.
mod pytorch_files;
// Several processes that train one network.
mod ranks;
// Bad input of every kind, and the messages about it.
mod refusals;
// Runs that must give the same weights, bit for bit.
mod reproduce;
// Runs that are stopped and resumed.
mod resume;
// Folders that fill up, vanish or become read-only during a run.
mod resume_places;
// Snapshots and settings that a run refuses to resume with.
mod resume_refusals;
// A helper, not tests: a process that runs while a test watches.
mod running;
// Three classes in indexed masks.
mod several_classes;
// `snug`, and runs that nobody gave settings.
mod snug;
// Outputs that cannot be written.
mod storage;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ::data::synth::{Counts, write_dataset};
use serde_json::Value;
use tempfile::TempDir;

/// Flags of a short run in fp32, which a test may override.
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

/// A folder in which programs run. It is removed after the test.
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

    /// A sandbox with 8 + 4 + 2 pages of 64x64 in `data/`.
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

    /// `train`, ready to start in this folder. Each process gets one thread, because tests run in
    /// parallel, and waiting threads of libtorch spin. No test writes into the user's home folder.
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

    /// A short run on `data/` with more flags, which must succeed.
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

/// `fit` with these flags, and with those of [`SMALL`] that they do not override.
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

    /// The run itself, which must have succeeded.
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
