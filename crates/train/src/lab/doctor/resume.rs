//! A run stopped in the middle of an epoch and continued from its snapshot equals an uninterrupted run.

use std::path::Path;

use config::{ImageSize, Precision, RunConfig};
use tch::{Device, Tensor};

use super::Finding;
use super::files::folder;
use super::tiny::{Comparison, OFF, config_of, copied, missing};
use crate::error::Result;
use crate::run::run_data::{Pages, RunData};
use crate::run::snapshot::{DataId, Record, Snapshot, State, Store};
use engine::interrupt::Interrupt;
use engine::trainer::{Observer, Trainer};

/// The step to stop at, of two epochs with three steps each.
const STOP_AT: u64 = 4;

/// How far two runs on a GPU may differ: its sums have no fixed order.
const TOLERANCE: f64 = 1e-3;

pub(super) fn exact(device: Device, broken: bool) -> Result<Finding> {
    let config = RunConfig {
        img_size: ImageSize::new(64, 96),
        epochs: 2,
        workers: 1,
        ..config_of(OFF, Precision::Fp32)
    };
    let pages = Pages { train: 6, val: 2 };
    let data = RunData::built_in(&config, pages)?;
    let new = || Trainer::new(config.clone(), device, Precision::Fp32);
    let go_on = |trainer: &mut Trainer, stop_at| {
        let mut until = Until {
            stop_at,
            interrupt: Interrupt::default(),
        };
        let interrupt = until.interrupt.clone();
        match trainer.fit(&data.train, &data.val, &mut until, &interrupt) {
            Ok(_) | Err(engine::Error::Interrupted { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    };
    let mut whole = new()?;
    go_on(&mut whole, None)?;

    let mut stopped = new()?;
    go_on(&mut stopped, Some(STOP_AT))?;
    let folder = folder()?;
    let snapshot = saved(&stopped, &data, folder.path())?;
    let mut resumed = new()?;
    resumed.restore(&snapshot.state().trainer, |name, like| {
        snapshot.tensor(name, like)
    })?;
    let loaded = Comparison::of(&copies(&stopped)?, &copies(&resumed)?)?;
    if broken {
        // A run that continues with wrong moments is close to the right one, but not equal.
        let moments = resumed.tensors().into_iter();
        let mut moments = moments.filter(|(name, _)| name.starts_with("exp_avg_sq."));
        let (_, mut moment) = moments.next().ok_or_else(|| missing("a moment"))?;
        drop(moment.f_zero_()?);
    }
    go_on(&mut resumed, None)?;
    let ended = Comparison::of(&copies(&whole)?, &copies(&resumed)?)?;
    let same_position = whole.position() == resumed.position();
    let counts = format!(
        "stopped at step {STOP_AT} of {} and continued: {} of {} tensors are those of the run that \
         was not stopped",
        whole.steps(),
        ended.num_equal,
        ended.num
    );
    let near = device.is_cuda() && ended.relative < TOLERANCE;
    Ok(
        if loaded.all_equal() && same_position && (ended.all_equal() || near) {
            Finding::ok(counts)
        } else {
            Finding::fail(counts)
        },
    )
}

/// Writes a snapshot of `trainer` and reads it back.
fn saved(trainer: &Trainer, data: &RunData, run: &Path) -> Result<Snapshot> {
    let state = State {
        asked: String::new(),
        snug: env!("CARGO_PKG_VERSION").to_owned(),
        libtorch: torch_ext::library::runtime_version(),
        device: engine::device::kind(trainer.learner.device()).to_owned(),
        precision: trainer.learner.precision.as_str().to_owned(),
        config: trainer.config.to_toml(),
        data: DataId::of(data, &data.name, None),
        trainer: trainer.state()?,
        record: Record::default(),
    };
    let store = Store::of_run(run);
    store.write(&state, &trainer.tensors())?;
    Snapshot::open(&store.path())
}

pub(super) fn copies(trainer: &Trainer) -> Result<Vec<(String, Tensor)>> {
    let tensors = trainer.tensors().into_iter();
    tensors.map(|(name, t)| Ok((name, copied(&t)?))).collect()
}

/// Stops a run at a step, like a signal.
struct Until {
    stop_at: Option<u64>,
    interrupt: Interrupt,
}

impl Observer for Until {
    fn step_done(&mut self, trainer: &Trainer, _is_last: bool) {
        if self.stop_at == Some(trainer.steps()) {
            self.interrupt.request();
        }
    }
}
