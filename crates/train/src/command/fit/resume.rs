//! `--resume`: the starting point of a run, determined before anything is read or written.

use std::path::{Path, PathBuf};

use config::keys::{KEYS, Resume};
use config::{Precision, Resolved, RunConfig};

use super::FitArgs;
use crate::command::console;
use crate::error::{Error, Result};
use crate::run::outputs::RunDir;
use crate::run::run_data::{self, Pages};
use crate::run::snapshot::{self, DataId, PREVIOUS, Snapshot, State, Store, is_snapshot};
use crate::run::weights::{self, Contract, WeightsFile};
use crate::usage::UsageError;
use engine::trainer::Trainer;

/// The starting point of a run.
#[derive(Debug)]
pub(super) enum Start {
    /// New weights.
    New,
    /// `--resume auto` with nothing to continue: new weights, in a folder that may hold a run that barely
    /// started.
    Again,
    /// A new run from these weights.
    Warm(WeightsFile),
    /// A run to be continued.
    Exact(Box<Exact>),
}

/// A run to be continued.
#[derive(Debug)]
pub(super) struct Exact {
    /// Its folder.
    pub(super) run: PathBuf,
    snapshot: Snapshot,
}

/// The long help of `--resume`; the rows of the keys say which settings may differ.
pub(super) fn help() -> String {
    let mut flags: Vec<String> = Vec::new();
    for key in KEYS.iter().filter(|key| key.resume != Resume::Fixed) {
        let flag = format!("`{}`", key.flag);
        if !flags.contains(&flag) {
            flags.push(flag);
        }
    }
    format!(
        "Continue a run where it stopped, in its folder and with its settings: `auto` takes \
         `--run-dir` or `--run-name`, or else the newest run of this data under `runs/`, whatever its name, and starts \
         a new run if there is none. Or start a new run from the weights in a FILE: safetensors, or a state dict saved \
         by PyTorch (.pt, .pth).\n\n\
         A run on the CPU in fp32 continues bit for bit. These settings may differ from the run's: {}. \
         (`--epochs` stretches the cosine from there on.) Any other setting must be the run's own; the number of \
         processes (`--nproc`) need not.",
        flags.join(", ")
    )
}

/// Resolves `--resume`.
pub(super) fn start(args: &FitArgs) -> Result<Start> {
    let Some(resume) = &args.resume else {
        return Ok(Start::New);
    };
    if resume == Path::new("auto") && !resume.exists() {
        return newest(args);
    }
    let (run, snapshot) = if resume.is_dir() {
        // `RUN/last` means the same as `RUN`.
        let run = match resume.parent() {
            Some(parent) if resume.ends_with("last") => parent,
            _ => resume,
        };
        let found = snapshot::find(run)?.ok_or_else(|| UsageError::NoSnapshot {
            folder: resume.clone(),
        })?;
        found.note.iter().for_each(|line| console::note(line));
        (run, found.snapshot)
    } else if is_snapshot(resume) {
        let last = resume.parent().filter(|p| p.ends_with("last"));
        let run = last
            .and_then(Path::parent)
            .ok_or_else(|| UsageError::SnapshotOutsideRun {
                path: resume.clone(),
            })?;
        (run, Snapshot::open(resume)?)
    } else {
        return Ok(Start::Warm(WeightsFile::open(resume)?));
    };
    let run = if run.as_os_str().is_empty() {
        Path::new(".")
    } else {
        run
    };
    if folder_asked_for(args).is_some_and(|folder| !is_same(&folder, run)) {
        let run = run.to_owned();
        return Err(UsageError::RunKeepsFolder { run }.into());
    }
    Ok(exact(run, snapshot))
}

fn exact(run: &Path, snapshot: Snapshot) -> Start {
    Start::Exact(Box::new(Exact {
        run: run.to_owned(),
        snapshot,
    }))
}

fn folder_asked_for(args: &FitArgs) -> Option<PathBuf> {
    let named = args.run_name.as_ref();
    let named = named.map(|name| Path::new("runs").join(name));
    args.run_dir.clone().or(named)
}

fn is_same(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(a) == real(b)
}

/// The requested folder, or else the newest run of this data that has a snapshot.
fn newest(args: &FitArgs) -> Result<Start> {
    let run = folder_asked_for(args).or_else(|| newest_of_data(args));
    if let Some(run) = run
        && let Some(found) = snapshot::find(&run)?
    {
        found.note.iter().for_each(|line| console::note(line));
        return Ok(exact(&run, found.snapshot));
    }
    console::note("resume: no snapshot to continue from; this is a new run");
    Ok(Start::Again)
}

/// The run in `runs/`, whatever its name, that was the last to write a snapshot of this data. Of numbered runs, the
/// one with the highest number counts, because clocks can be set back.
fn newest_of_data(args: &FitArgs) -> Option<PathBuf> {
    let given = args.dataset.clone();
    let dataset = given.unwrap_or_else(|| run_data::name_of(args.data.as_deref()));
    let number = |run: &Path| -> Option<u64> {
        let name = run.file_name()?.to_str()?;
        let digits = name.strip_prefix(&dataset)?.strip_prefix('-')?;
        digits.parse().ok()
    };
    let runs = std::fs::read_dir("runs").into_iter().flatten().flatten();
    let runs = runs.filter_map(|entry| {
        let run = entry.path();
        let (number, (written, data)) = (number(&run), snapshot::glance(&run)?);
        // A snapshot that cannot be read is refused later, with its fault.
        let is_wanted = data.map_or(number.is_some(), |data| {
            data.name == dataset && is_in(&data, args.data.as_deref())
        });
        is_wanted.then_some((number, written, run))
    });
    let (numbered, named): (Vec<_>, Vec<_>) = runs.partition(|(number, ..)| number.is_some());
    let newest = [numbered, named]
        .into_iter()
        .filter_map(|it| it.into_iter().max());
    let newest = newest.max_by_key(|(_, written, _)| *written);
    newest.map(|(_, _, run)| run)
}

/// Whether a run's data is in `folder`, or may have been moved there.
fn is_in(data: &DataId, folder: Option<&Path>) -> bool {
    match (&data.folder, folder) {
        (Some(before), Some(now)) => {
            let before = Path::new(before);
            !before.exists() || is_same(before, now)
        }
        (None, None) => true,
        _ => false,
    }
}

/// Why a finished run has nothing left to do.
pub(super) fn why_finished(trainer: &Trainer) -> String {
    let (steps, config) = (trainer.steps(), &trainer.config);
    if config.max_steps.is_some_and(|max| steps >= max) && trainer.position().epoch < config.epochs
    {
        return format!(
            "resume: the run has done {steps} steps, and `--max-steps` wants no more; a higher one continues it"
        );
    }
    "resume: the run is finished; nothing is left to do".to_owned()
}

impl Exact {
    /// The state that the run continues from, without tensors.
    pub(super) fn state(&self) -> &State {
        self.snapshot.state()
    }

    /// The run's configuration, with the settings given now as far as they may change.
    pub(super) fn config(&self, given: &Resolved) -> Result<RunConfig> {
        let (config, changes) = snapshot::merged(&self.snapshot, given)?;
        let position = &self.state().trainer.position;
        console::note(&format!(
            "resume: `{}`, step {}, epoch {}{}",
            self.run.display(),
            position.steps,
            position.epoch + 1,
            if changes.is_empty() {
                String::new()
            } else {
                format!("; changed: {}", changes.join(", "))
            }
        ));
        Ok(config)
    }

    pub(super) fn pages(&self) -> Pages {
        self.state().data.pages()
    }

    /// The folder of its data.
    pub(super) fn data_folder(&self) -> Option<PathBuf> {
        self.state().data.folder.as_ref().map(PathBuf::from)
    }

    /// Refuses a precision or data that differ from the run so far; an epoch has `num_batches`.
    pub(super) fn refuse_others(
        &self,
        precision: Precision,
        data: &DataId,
        num_batches: usize,
    ) -> Result<()> {
        let state = self.state();
        let wrong = |message: String, hint: &str| {
            Err(Error::Snapshot {
                path: self.snapshot.path().to_owned(),
                message,
                hint: hint.to_owned(),
            })
        };
        if state.precision != precision.as_str() {
            return wrong(
                format!(
                    "the run is in {}, this machine would go on in {}",
                    state.precision,
                    precision.as_str()
                ),
                "`--resume FILE` starts a new run from its weights",
            );
        }
        if let Some(difference) = state.data.differs_from(data) {
            return wrong(
                difference,
                "give it the data that it had with `--data DIR`, or start a new run from its \
                 weights: `--resume FILE`",
            );
        }
        let done = state.trainer.position.micro_batches;
        if done > num_batches as u64 {
            return wrong(
                format!("damaged: it is at batch {done} of an epoch of {num_batches}"),
                "`--resume FILE` starts a new run from its weights",
            );
        }
        Ok(())
    }

    /// Restores the state into `trainer`.
    pub(super) fn restore(&self, trainer: &mut Trainer) -> Result<()> {
        trainer.restore(&self.state().trainer, |name, like| {
            self.snapshot.tensor(name, like)
        })
    }

    /// Whether the run is finished and its summary says so.
    pub(super) fn is_finished(&self, trainer: &Trainer) -> bool {
        let text = std::fs::read_to_string(self.run.join("summary.json")).unwrap_or_default();
        let summary: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let status = summary["status"].as_str().unwrap_or_default();
        trainer.ending().is_some() && ["completed", "early-stopped"].contains(&status)
    }

    /// Opens the run's folder, and rewrites the weights files to match the snapshot: the process may have
    /// ended between writing the two.
    pub(super) fn open(&self, trainer: &Trainer, best: &str, last: &str) -> Result<RunDir> {
        let record = &self.state().record;
        let mut dir = RunDir::reopen(&self.run)?;
        // Another process may have continued the run before this one took the lock.
        if !self.snapshot.is_current()? {
            let run = self.run.clone();
            return Err(UsageError::ContinuedElsewhere { run }.into());
        }
        let missing = dir.keep_lines(record.metrics_rows)?;
        if missing > 0 {
            console::warn(&format!(
                "`{}` lacks {missing} line(s) of epochs that are done",
                dir.file("metrics.jsonl").display()
            ));
        }
        if self.snapshot.path().ends_with(PREVIOUS)
            && self.run.join("last/snapshot.safetensors").exists()
        {
            Store::of_run(&self.run).step_back()?;
        }
        let position = &self.state().trainer.position;
        if position.is_validated {
            let reading = self.state().data.reading.as_ref();
            let contract = Contract::of(&trainer.config, reading, record.threshold);
            let bytes = weights::to_bytes(&trainer.learner.model, Some(&contract))?;
            dir.write(last, bytes.clone())?;
            if record
                .best
                .as_ref()
                .is_some_and(|b| b.steps == position.steps)
            {
                dir.write(best, bytes)?;
            }
        }
        Ok(dir)
    }
}
