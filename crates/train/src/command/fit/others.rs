//! What the ranks do that are not the first: they train what rank 0 decided, write no file, and say nothing.
//!
//! Rank 0 alone reads the settings, asks the advisor, keeps the run's folder and talks to the user. It then tells the
//! others its plan, and gives them its state; so other machines need neither its files nor its flags, but the data.

use std::path::{Path, PathBuf};
use std::time::Duration;

use config::cli::Exit;
use config::{Bytes, Precision, RunConfig};
use data::DEFAULT_CACHE_BYTES;
use engine::Error as Engine;
use engine::interrupt::Interrupt;
use engine::team::{Peers, Team};
use engine::trainer::{Observer, Trainer};
use serde::{Deserialize, Serialize};
use tch::Device;
use torch_ext::meter;

use super::decide::data_as_decided;
use super::rank::Deadline;
use super::{FitArgs, absolute};
use crate::error::{Error, Result};
use crate::run::proposal::{Limits, ladder};
use crate::run::run_data::{Pages, RunData};
use crate::run::snapshot::DataId;
use crate::usage::UsageError;

const PLAN: &str = "plan";
const READY: &str = "ready";
/// How long to wait for the slowest rank at the end.
const PARTING: Duration = Duration::from_secs(60);

/// What rank 0 decided.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    config: String,
    precision: Precision,
    /// Whether failed steps are repaired.
    has_ladder: bool,
    /// Whether they normalise together.
    is_together: bool,
    folder: Option<PathBuf>,
    data: DataId,
}

/// Tells the plan to all others if there are any, waits until they have the data, and gives them the state of `trainer`.
pub(super) fn begin(
    trainer: &mut Trainer,
    (has_ladder, is_together): (bool, bool),
    folder: Option<&Path>,
    data: &DataId,
    peers: Option<&Peers>,
) -> Result<()> {
    let Some(peers) = peers else {
        return Ok(());
    };
    let plan = Plan {
        config: trainer.config.to_toml(),
        precision: trainer.learner.precision,
        has_ladder,
        is_together,
        folder: folder.map(|it| absolute(it).into()),
        data: data.clone(),
    };
    say(peers, Some(&plan))?;
    for rank in 1..peers.shard().size() {
        peers.hear(&format!("{READY}/{rank}"))?;
    }
    follow_first(trainer, is_together)
}

/// Starts from the state of rank 0, on all ranks.
fn follow_first(trainer: &mut Trainer, is_together: bool) -> Result<()> {
    trainer.follow_first()?;
    if is_together {
        // Our own kernels may fail their trial on the device of one rank.
        if !trainer.learner.mode.can_be_shared() {
            return Err(UsageError::NotTogether.into());
        }
        trainer.normalise_together()?;
    }
    Ok(())
}

/// Lets the others go: there is nothing to train.
pub(super) fn dismiss(peers: Option<&Peers>) -> Result<()> {
    peers.map_or(Ok(()), |peers| say(peers, None))?;
    part(peers, &Ok(()));
    Ok(())
}

fn say(peers: &Peers, plan: Option<&Plan>) -> Result<()> {
    let text = serde_json::to_string(&plan).map_err(Engine::told)?;
    Ok(peers.say(PLAN, &text)?)
}

/// Leaves the others, if training ended alike on all ranks. After a failure, [`rank::end`](super::rank::end) does it.
pub(super) fn part<T>(peers: Option<&Peers>, outcome: &Result<T>) {
    let is_agreed = matches!(
        outcome,
        Ok(_) | Err(Error::Engine(Engine::Interrupted { .. }))
    );
    if let Some(peers) = peers.filter(|_| is_agreed) {
        let code = outcome.as_ref().err().map_or(Exit::Done, Error::exit);
        // Rank 0 has more to do, and waits for nobody else.
        let _deadline =
            (peers.shard().rank() > 0).then(|| Deadline::start(2 * PARTING, code.code(), None));
        peers.part(PARTING);
    }
}

/// Trains as a rank that is not the first, to the end of the run.
pub(super) fn follow(args: &FitArgs, device: Device, peers: &Peers, team: Team) -> Result<()> {
    args.plan.limit_gpu(device)?;
    let plan: Option<Plan> = serde_json::from_str(&peers.hear(PLAN)?).map_err(Engine::told)?;
    let Some(plan) = plan else {
        part(Some(peers), &Ok(()));
        return Ok(());
    };
    let config = RunConfig::from_toml(&plan.config).map_err(Engine::told)?;
    let data = plan.data(&config, peers.launch().local_size)?;
    let limit = args.plan.memory_limit();
    if let Some(limit) = limit.filter(|_| !device.is_cuda()) {
        meter::set_limit(Some(limit));
    }
    let guard = args.guard.guard();
    let limits = Limits {
        tensors: limit.map(Bytes),
        guard: Some(guard),
        // Rank 0 chooses the rungs.
        rank: None,
        ranks: team.shard().size(),
    };
    let images = data.images(team.shard().size());
    let ladder = ladder(&config, device, images, limits);
    let mut trainer = Trainer::new(config, device, plan.precision)?
        .with_guard(guard)
        .with_team(team);
    if plan.has_ladder {
        trainer = trainer.with_ladder(ladder);
    }
    let interrupt = Interrupt::listen();
    peers.say(&format!("{READY}/{}", peers.shard().rank()), "")?;
    follow_first(&mut trainer, plan.is_together)?;
    let outcome = trainer.fit(&data.train, &data.val, &mut Silent, &interrupt);
    part(Some(peers), &outcome);
    outcome.map(drop)
}

impl Plan {
    /// The data that rank 0 has, where this rank finds it; `local_size` ranks share the memory of this machine.
    fn data(&self, config: &RunConfig, local_size: usize) -> Result<RunData> {
        let cache_bytes = DEFAULT_CACHE_BYTES / local_size.max(1) as u64;
        let pages: Pages = self.data.pages();
        let data = data_as_decided(self.folder.as_deref(), config, pages, cache_bytes)?;
        let folder = self.data.folder.clone();
        let here = DataId::of(&data, &self.data.name, folder);
        if self.data.differs_from(&here).is_some() {
            let folder = self.folder.clone().unwrap_or_default();
            return Err(UsageError::OtherData { folder }.into());
        }
        Ok(data)
    }
}

/// Rank 0 tells what happens.
struct Silent;

impl Observer<Error> for Silent {}
