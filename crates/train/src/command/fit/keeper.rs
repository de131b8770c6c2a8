//! When a snapshot is written, and what happens if that fails: the run continues.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::SIGUSR1;
use signal_hook::flag;
use torch_ext::library;

use crate::command::console;
use crate::error::Result;
use crate::run::snapshot::{DataId, Record, State, Store};
use crate::run::weights::{self, Contract};
use engine::device;
use engine::trainer::{Position, Trainer};

/// Keeps a run's snapshots.
#[derive(Debug)]
pub(super) struct Keeper {
    store: Store,
    data: DataId,
    /// The requested configuration.
    asked: String,
    /// The interval; `None` means only at epochs and at the end.
    every: Option<Duration>,
    /// The time of the last attempt. The clock is monotonic.
    tried_at: Instant,
    written: Option<Position>,
    is_failing: bool,
    /// Whether a signal asked for a snapshot.
    is_asked: Arc<AtomicBool>,
}

impl Keeper {
    /// A keeper for the run in the folder `run`, with a snapshot every `interval` unless that is 0.
    pub(super) fn new(run: &Path, data: DataId, asked: String, interval: Duration) -> Self {
        Self {
            store: Store::of_run(run),
            data,
            asked,
            every: (!interval.is_zero()).then_some(interval),
            tried_at: Instant::now(),
            written: None,
            is_failing: false,
            is_asked: Arc::default(),
        }
    }

    /// Also writes a snapshot after the step in which SIGUSR1 arrives. If no handler can be set, it never does.
    #[must_use]
    pub(super) fn listening(self) -> Self {
        drop(flag::register(SIGUSR1, Arc::clone(&self.is_asked)));
        self
    }

    /// The weights file of the network as it is now, which is best at `threshold`.
    pub(super) fn weights(&self, trainer: &Trainer, threshold: Option<f64>) -> Result<Vec<u8>> {
        let contract = Contract::of(&trainer.config, self.data.reading.as_ref(), threshold);
        weights::to_bytes(&trainer.learner.model, Some(&contract))
    }

    /// Whether a snapshot between epochs is due.
    pub(super) fn is_due(&self) -> bool {
        let is_time = |every| self.tried_at.elapsed() >= every;
        self.is_asked.load(Ordering::Relaxed) || self.every.is_some_and(is_time)
    }

    /// Writes a snapshot, or warns: the previous one stays, and the next attempt comes at its usual time.
    pub(super) fn try_write(&mut self, trainer: &Trainer, record: Record) {
        let was_asked = self.is_asked.swap(false, Ordering::Relaxed);
        let written = self.write(trainer, record);
        if was_asked && written.is_ok() {
            console::note(&format!(
                "snapshot: step {}, as SIGUSR1 asked",
                trainer.steps()
            ));
        }
        match written {
            Ok(()) if self.is_failing => {
                console::note("snapshots are written again");
                self.is_failing = false;
            }
            Err(error) if !self.is_failing => {
                console::warn(&format!(
                    "no snapshot: {}; the run goes on and tries again{}",
                    error.message(),
                    error.hint().map_or_else(String::new, |h| format!(" ({h})"))
                ));
                self.is_failing = true;
            }
            _ => {}
        }
    }

    /// Writes a snapshot, unless the position has not changed since the last one.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub(super) fn write(&mut self, trainer: &Trainer, record: Record) -> Result<()> {
        self.tried_at = Instant::now();
        if self.written == Some(*trainer.position()) && self.store.path().exists() {
            return Ok(());
        }
        let state = State {
            snug: env!("CARGO_PKG_VERSION").to_owned(),
            libtorch: library::runtime_version(),
            device: device::kind(trainer.learner.device()).to_owned(),
            precision: trainer.learner.precision.as_str().to_owned(),
            config: trainer.config.to_toml(),
            asked: self.asked.clone(),
            data: self.data.clone(),
            trainer: trainer.state()?,
            record,
        };
        self.store.write(&state, &trainer.tensors())?;
        self.written = Some(*trainer.position());
        Ok(())
    }
}
