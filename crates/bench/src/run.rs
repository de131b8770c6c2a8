//! A whole benchmark: what is on the device, and part after part.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use config::{CheckpointPolicy, ImageSize};

use crate::case::{Case, Implementation, MemoryFormat, Precision};
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

/// What to measure.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Snug's program and the arguments that make a worker of it.
    pub snug: (PathBuf, Vec<OsString>),
    /// Version of Snug and how it was compiled.
    pub version: String,
    /// A Python that has torch; `None`: Snug alone.
    pub python: Option<PathBuf>,
    /// PyTorch's variants.
    pub variants: Vec<Implementation>,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Threads of each worker.
    pub threads: usize,
    /// Size of the work.
    pub work: Work,
    /// Names of [`NAMES`]; empty: all.
    pub groups: Vec<String>,
    /// Rounds of a group.
    pub rounds: usize,
    /// How long a turn should take, in milliseconds.
    pub turn_ms: f64,
    /// No part begins after it.
    pub budget: Option<Duration>,
    /// Files for the epochs.
    pub data: Option<PathBuf>,
    /// Where the journal is, and the files that workers share while they work.
    pub out: PathBuf,
    /// Day, as `2026-11-25`.
    pub date: String,
    /// The command line, for the file.
    pub command: String,
}

impl Settings {
    fn wants(&self, group: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|g| g == group)
    }

    /// What must be the same for a journal to be of this benchmark: all but when and where it is
    /// written, and how much time there is.
    fn key(&self, ready: &Ready) -> String {
        let Self {
            snug,
            version,
            python,
            variants,
            device,
            threads,
            work,
            groups,
            rounds,
            turn_ms,
            data,
            budget: _,
            out: _,
            date: _,
            command: _,
        } = self;
        let device = (device, &ready.device_name, threads);
        let what = (work, groups, rounds, turn_ms, variants, python, data);
        format!("{version} {snug:?} {device:?} {what:?}").replace('\n', " ")
    }
}

/// Measures. `say` is told what is going on.
///
/// # Errors
/// Where a file cannot be written, a name is unknown, or Snug's own worker cannot work at all.
/// What befalls a single case is in its row.
pub fn run(settings: &Settings, say: &mut dyn FnMut(&str)) -> Result<Results> {
    if let Some(unknown) = settings
        .groups
        .iter()
        .find(|g| !NAMES.contains(&g.as_str()))
    {
        return Err(Error::Usage {
            message: format!("there is no group `{unknown}`"),
            hint: format!("choose of {}", NAMES.join(", ")),
        });
    }
    let deadline = settings.budget.map(|budget| Instant::now() + budget);
    std::fs::create_dir_all(&settings.out).map_err(Error::io("make", &settings.out))?;
    let folder = WorkFolder::make(&settings.out.join("work"))?;
    let python = match &settings.python {
        Some(python) => Some((python.clone(), pytorch::unpack(&folder.0)?)),
        None => None,
    };
    let programs = Programs {
        snug: settings.snug.clone(),
        python,
        logs: logs(&settings.out)?,
    };
    let ready = describe(&programs, settings)?;
    let matrix = Matrix {
        work: settings.work,
        precisions: ready.precisions.clone(),
        cuda: settings.device != "cpu",
        variants: if programs.python.is_some() {
            settings.variants.clone()
        } else {
            Vec::new()
        },
    };
    let path = settings.out.join(JOURNAL);
    let (mut journal, mut parts) = Journal::open(&path, &settings.key(&ready))?;
    if !parts.is_empty() {
        let names: Vec<&str> = parts.iter().map(Part::name).collect();
        say(&format!(
            "going on with `{}`, which has: {}",
            path.display(),
            names.join(", ")
        ));
    }
    let mut bench = Bench {
        settings,
        shared: Shared::new(&folder.0, &programs, settings.threads),
        programs: &programs,
        groups: matrix.groups(),
        free_bytes: free_bytes(&ready),
        matrix,
        deadline,
        say,
    };
    let mut left_out = Vec::new();
    if bench.matrix.half().is_none() {
        left_out.push(
            "mixed precision: this CPU has neither AVX512-BF16 nor AMX, half precision would be \
             emulated"
                .to_owned(),
        );
    }
    for name in NAMES.iter().filter(|name| settings.wants(name)) {
        if parts.iter().any(|part| part.name() == *name) {
            continue;
        }
        if bench.deadline.is_some_and(|end| Instant::now() >= end) {
            left_out.push(format!("{name}: no time left"));
            continue;
        }
        // None: beside PyTorch, and there is none, or in a precision that the device lacks.
        if let Some(part) = bench.measure(name)? {
            journal.append(&part)?;
            parts.push(part);
        }
    }
    let results = collect(settings, &ready, parts, left_out);
    // Whole: the next run with these settings is a new one.
    std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    Ok(results)
}

/// A benchmark under way.
struct Bench<'a> {
    settings: &'a Settings,
    programs: &'a Programs,
    shared: Shared,
    matrix: Matrix,
    groups: Vec<Group>,
    free_bytes: u64,
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
            free_bytes: self.free_bytes,
            rounds: self.settings.rounds,
            turn_ms: self.settings.turn_ms,
            deadline: self.deadline,
            say: self.say,
        };
        Ok(match name {
            "epochs" => {
                let cases = epochs::cases(&self.matrix);
                let data = match (&self.settings.data, cases.first()) {
                    (Some(data), _) => data.clone(),
                    (None, Some(case)) => session.shared.pages(case)?,
                    (None, None) => return Ok(None),
                };
                let rows = epochs::measure(&mut session, &cases, &data)?;
                Some(Part::Epochs { rows })
            }
            "host" => Some(Part::Host {
                rows: host::measure(&mut session, &self.matrix)?,
            }),
            _ => match self.groups.iter().find(|group| group.name == name) {
                Some(group) => Some(session.measure(group)?),
                None => None,
            },
        })
    }
}

fn collect(settings: &Settings, ready: &Ready, parts: Vec<Part>, left_out: Vec<String>) -> Results {
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
        pytorch: python_version(settings),
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
            Part::Group { info, rows } => {
                results.groups.push(info);
                results.rows.extend(rows);
            }
            Part::Epochs { rows } => results.epochs.extend(rows),
            Part::Host { rows } => results.host.extend(rows),
        }
    }
    results
}

/// What workers share while they work, on the disk of the results: the system's temporary folder
/// may lie in memory. It goes in the end, or when the next run begins.
struct WorkFolder(PathBuf);

impl WorkFolder {
    fn make(path: &Path) -> Result<Self> {
        if path.exists() {
            std::fs::remove_dir_all(path).map_err(Error::io("remove", path))?;
        }
        std::fs::create_dir(path).map_err(Error::io("make", path))?;
        // Programs are started with it, and a relative path may mean another folder to them.
        let path = path.canonicalize().map_err(Error::io("find", path))?;
        Ok(Self(path))
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // What stays is removed by the next run.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// The folder of what workers say on stderr, emptied.
fn logs(out: &Path) -> Result<PathBuf> {
    let logs = out.join("logs");
    if logs.exists() {
        std::fs::remove_dir_all(&logs).map_err(Error::io("remove", &logs))?;
    }
    std::fs::create_dir(&logs).map_err(Error::io("make", &logs))?;
    Ok(logs)
}

/// What a worker of Snug says of the device.
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

/// The version of the Python's torch. Without one that serves, the reason is in the rows.
fn python_version(settings: &Settings) -> Option<String> {
    let mut python = Command::new(settings.python.as_ref()?);
    python.args(["-c", "import torch; print(torch.__version__)"]);
    let output = python.output().ok().filter(|out| out.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Memory that workers can have: the device's, or what the system says is available.
fn free_bytes(ready: &Ready) -> u64 {
    /// Where nobody says: one worker at a time.
    const UNKNOWN: u64 = 0;
    ready.free_bytes.unwrap_or(UNKNOWN)
}
