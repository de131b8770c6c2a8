//! Runs a whole benchmark: describes the device, then measures part after part.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use config::{CheckpointPolicy, ImageSize, MemoryFormat, Precision};
use tempfile::TempDir;

use crate::case::{Case, Implementation};
use crate::error::{Error, Result};
use crate::journal::{Journal, Part};
use crate::matrix::{Group, Matrix, NAMES, Work};
use crate::protocol::{Ready, Spec};
use crate::results::{Device, Results, SCHEMA_VERSION};
use crate::session::Session;
use crate::shared::{Shared, own};
use crate::worker::{Programs, Worker};
use crate::{epochs, host, pytorch};

const JOURNAL: &str = "journal.jsonl";

/// The settings of a benchmark.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Snug's program and the arguments that start it as a worker.
    pub snug: (PathBuf, Vec<OsString>),
    /// The version of Snug and how it was compiled.
    pub version: String,
    /// A Python that has torch. With `None`, only Snug is measured.
    pub python: Option<PathBuf>,
    /// A folder that is in `LD_LIBRARY_PATH` only for Snug.
    pub own_libraries: Option<PathBuf>,
    /// PyTorch's variants.
    pub variants: Vec<Implementation>,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// The number of threads of each worker.
    pub threads: usize,
    /// The size of the work.
    pub work: Work,
    /// Batches of the group `policies`.
    pub batches: Vec<u32>,
    /// The names of groups to measure, from [`NAMES`]. If empty, all are measured.
    pub groups: Vec<String>,
    /// The number of rounds of a group. With 0, only memory is measured.
    pub rounds: usize,
    /// How long a turn should take, in milliseconds.
    pub turn_ms: f64,
    /// The time after which no part begins.
    pub budget: Option<Duration>,
    /// Files for the epochs.
    pub data: Option<PathBuf>,
    /// The folder of the journal and of the files that workers share.
    pub out: PathBuf,
    /// The day, such as `2026-11-25`.
    pub date: String,
    /// The command line, to be recorded in the file.
    pub command: String,
}

impl Settings {
    fn wants(&self, group: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|g| g == group)
    }

    /// Everything that must match for a journal to belong to this benchmark. The time and place of
    /// writing and the time budget may differ.
    fn key(&self, ready: &Ready, torch: Option<&str>) -> String {
        let Self {
            snug,
            version,
            python,
            variants,
            device,
            threads,
            work,
            batches,
            groups,
            rounds,
            turn_ms,
            data,
            own_libraries: _,
            budget: _,
            out: _,
            date: _,
            command: _,
        } = self;
        // Another build counts as another program.
        let build = std::fs::metadata(&snug.0).ok();
        let build = build.map(|it| (it.len(), it.modified().ok()));
        let device = (device, &ready.device_name, threads);
        let what = (
            work, batches, groups, rounds, turn_ms, variants, python, data,
        );
        let libraries = (&ready.libtorch, torch);
        format!("{version} {build:?} {libraries:?} {device:?} {what:?}").replace('\n', " ")
    }
}

/// The results and their journal, which [`Finished::done`] removes.
#[derive(Debug)]
pub struct Finished {
    /// The results.
    pub results: Results,
    journal: PathBuf,
    /// Whether nothing was left out for lack of time.
    whole: bool,
    _lock: File,
}

impl Finished {
    /// Call this once the results are on disk. The next run with these settings then starts afresh,
    /// unless this one was cut short by its time budget and can be continued.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn done(self) -> Result<()> {
        if self.whole {
            std::fs::remove_file(&self.journal).map_err(Error::io("remove", &self.journal))?;
        }
        Ok(())
    }
}

/// Runs the benchmark and reports progress to `say`.
///
/// # Errors
/// Fails if a file cannot be written, a name is unknown, the Python has no torch, or Snug's own
/// worker cannot work at all. The failure of a single case goes into its row.
pub fn run(settings: &Settings, say: &mut dyn FnMut(&str)) -> Result<Finished> {
    if let Some(unknown) = settings
        .groups
        .iter()
        .find(|g| !NAMES.contains(&g.as_str()))
    {
        return Err(Error::Usage {
            message: format!("unknown group `{unknown}`"),
            hint: format!("choose from {}", NAMES.join(", ")),
        });
    }
    let deadline = settings.budget.map(|budget| Instant::now() + budget);
    let torch = settings.python.as_deref().map(torch_of).transpose()?;
    std::fs::create_dir_all(&settings.out).map_err(Error::io("make", &settings.out))?;
    let lock = lock(&settings.out)?;
    let folder = work_folder(&settings.out)?;
    let logs = settings.out.join("logs");
    std::fs::create_dir_all(&logs).map_err(Error::io("make", &logs))?;
    let python = match &settings.python {
        Some(python) => Some((python.clone(), pytorch::unpack(folder.path())?)),
        None => None,
    };
    let programs = Programs {
        snug: settings.snug.clone(),
        python,
        own_libraries: settings.own_libraries.clone(),
        logs,
    };
    let ready = describe(&programs, settings)?;
    let matrix = Matrix {
        work: settings.work,
        batches: settings.batches.clone(),
        precisions: ready.precisions.clone(),
        cuda: settings.device != "cpu",
        variants: if programs.python.is_some() {
            settings.variants.clone()
        } else {
            Vec::new()
        },
    };
    let path = settings.out.join(JOURNAL);
    let (mut journal, mut parts) = Journal::open(&path, &settings.key(&ready, torch.as_deref()))?;
    if !parts.is_empty() {
        let names: Vec<&str> = parts.iter().map(Part::name).collect();
        say(&format!(
            "going on with `{}`, which has: {}",
            path.display(),
            names.join(", ")
        ));
    }
    let mut left_out = Vec::new();
    if matrix.half().is_none() {
        left_out.push(
            "mixed precision: this CPU has neither AVX512-BF16 nor AMX, half precision would be \
             emulated"
                .to_owned(),
        );
    }
    let mut bench = Bench {
        settings,
        shared: Shared::new(folder.path(), &programs, settings.threads),
        programs: &programs,
        groups: matrix.groups(),
        ready: &ready,
        matrix,
        deadline,
        say,
    };
    let mut whole = true;
    for name in NAMES.iter().filter(|name| settings.wants(name)) {
        if parts.iter().any(|part| part.name() == *name) {
            continue;
        }
        if deadline.is_some_and(|end| Instant::now() >= end) {
            left_out.push(format!("{name}: no time left"));
            whole = false;
            continue;
        }
        // A group is `None` if it compares with PyTorch and PyTorch is absent, or if the device
        // lacks its precision.
        if let Some(part) = bench.measure(name)? {
            match part.num_left_out() {
                0 => journal.append(&part)?,
                num => {
                    left_out.push(format!("{name}: {num} rows: no time left"));
                    whole = false;
                }
            }
            parts.push(part);
        }
    }
    Ok(Finished {
        results: collect(settings, &ready, torch, parts, left_out),
        journal: path,
        whole,
        _lock: lock,
    })
}

/// A benchmark in progress.
struct Bench<'a> {
    settings: &'a Settings,
    programs: &'a Programs,
    shared: Shared,
    matrix: Matrix,
    groups: Vec<Group>,
    ready: &'a Ready,
    deadline: Option<Instant>,
    say: &'a mut dyn FnMut(&str),
}

impl Bench<'_> {
    fn measure(&mut self, name: &str) -> Result<Option<Part>> {
        let mut session = Session {
            programs: self.programs,
            shared: &mut self.shared,
            device: &self.settings.device,
            threads: self.settings.threads,
            ready: self.ready,
            rounds: self.settings.rounds,
            turn_ms: self.settings.turn_ms,
            deadline: self.deadline,
            say: self.say,
        };
        Ok(match name {
            "epochs" => {
                let data = self.settings.data.as_deref();
                let rows = epochs::measure(&mut session, &epochs::cases(&self.matrix), data)?;
                Some(Part::Epochs { rows })
            }
            "host" => {
                let (rows, left_out) = host::measure(&mut session, &self.matrix)?;
                Some(Part::Host { rows, left_out })
            }
            _ => match self.groups.iter().find(|group| group.name == name) {
                Some(group) => Some(session.measure(group)?),
                None => None,
            },
        })
    }
}

fn collect(
    settings: &Settings,
    ready: &Ready,
    torch: Option<String>,
    parts: Vec<Part>,
    left_out: Vec<String>,
) -> Results {
    let kind = if settings.device == "cpu" {
        "cpu"
    } else {
        "cuda"
    };
    let name = ready.device_name.as_ref().unwrap_or(&settings.device);
    let mut results = Results {
        schema_version: SCHEMA_VERSION,
        device: Device {
            kind: kind.to_owned(),
            name: name.clone(),
            total_bytes: ready.total_bytes,
            driver: ready.driver.clone(),
            cpu_capability: ready.cpu_capability.clone(),
            threads: ready.threads,
        },
        libtorch: ready.libtorch.clone(),
        pytorch: torch,
        snug: settings.version.clone(),
        date: settings.date.clone(),
        command: settings.command.clone(),
        groups: Vec::new(),
        rows: Vec::new(),
        epochs: Vec::new(),
        host: Vec::new(),
        left_out,
    };
    for part in parts {
        match part {
            Part::Group { info, rows, .. } => {
                results.groups.push(info);
                results.rows.extend(rows);
            }
            Part::Epochs { rows } => results.epochs.extend(rows),
            Part::Host { rows, left_out } => {
                results.host.extend(rows);
                results.left_out.extend(left_out);
            }
        }
    }
    results
}

/// Creates the folder of files that workers share, on the disk of the results, since the system's
/// temporary folder may lie in memory. It is removed at the end; leftovers of an interrupted run
/// are removed now.
fn work_folder(out: &Path) -> Result<TempDir> {
    const PREFIX: &str = ".snug-bench-";
    let entries = std::fs::read_dir(out).map_err(Error::io("read", out))?;
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            let path = entry.path();
            std::fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
        }
    }
    // The path is passed to programs for which a relative path may mean another folder.
    let out = out.canonicalize().map_err(Error::io("find", out))?;
    let mut builder = tempfile::Builder::new();
    let folder = builder.prefix(PREFIX).tempdir_in(&out);
    folder.map_err(Error::io("write to", &out))
}

/// Two benchmarks at once would delete each other's files.
fn lock(out: &Path) -> Result<File> {
    let path = out.join("lock");
    let file = File::create(&path).map_err(Error::io("write", &path))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(Error::Usage {
            message: format!("another benchmark is at work in `{}`", out.display()),
            hint: "wait for it, or name another folder with `--out`; two at once would measure \
                   each other"
                .to_owned(),
        }),
        // A file system without locks is not a reason to stop.
        _ => Ok(file),
    }
}

/// Asks a worker of Snug to describe the device.
fn describe(programs: &Programs, settings: &Settings) -> Result<Ready> {
    let smallest = Case {
        implementation: Implementation::Snug,
        img_size: ImageSize::new(16, 16),
        width: 8,
        batch: 2,
        precision: Precision::Fp32,
        memory_format: MemoryFormat::ChannelsFirst,
        policy: CheckpointPolicy::Off,
        split_concat: false,
    };
    let spec = Spec::new(&smallest, &settings.device, settings.threads);
    let worker = Worker::start(programs, &spec)?.map_err(|f| own(&f))?;
    Ok(worker.ready().clone())
}

/// The version of torch in the Python.
fn torch_of(python: &Path) -> Result<String> {
    let asked = Command::new(python)
        .args(["-c", "import torch; print(torch.__version__)"])
        .output()
        .map_err(Error::io("start", python))?;
    if asked.status.success() {
        return Ok(String::from_utf8_lossy(&asked.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&asked.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    Err(Error::Usage {
        message: format!(
            "`{}` does not import torch: {}",
            python.display(),
            last.unwrap_or("no word")
        ),
        hint: "name a Python that has torch 2.11 with `--python`; `cargo xtask bench \
               --against-pytorch` brings one"
            .to_owned(),
    })
}
