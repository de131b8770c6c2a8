//! What to run for a request: the configuration itself if it is predicted to fit, the nearest one that
//! fits, or the fastest.

use advisor::ledger::Predicted;
use advisor::{Change, Fit, Freedom, Target, changes, explain};
use config::{Bytes, CheckpointPolicy, RunConfig};
use estimator::{Forecast, Machine, Speed};
use serde_json::Value;
use tch::Device;

use super::limit::PolicyCost;
use crate::error::{Error, Result};
use engine::guard::Guard;
use engine::ladder::{Ladder, Means};
use engine::{checkpointing, compose, device};

/// What may be done with a configuration before it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consent {
    /// Adapt it if it is predicted not to fit.
    #[default]
    Adapt,
    /// Take the fastest way to run it.
    Auto,
    /// Refuse it if it is predicted not to fit.
    Strict,
    /// Run it unchanged.
    Force,
}

/// The configuration to run, and what to tell the user about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// The configuration to run.
    pub config: RunConfig,
    /// The changes to the requested configuration.
    pub changes: Vec<Change>,
    /// Notes for the user.
    pub notes: Vec<String>,
}

/// Limits on a run in addition to the free memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Upper bound on tensor bytes.
    pub tensors: Option<Bytes>,
    /// The memory guard; plans stay below its threshold.
    pub guard: Option<Guard>,
    /// Of several ranks, what the one with the least has for its steps.
    pub rank: Option<Bytes>,
    /// Processes that train together, if there are several.
    pub ranks: usize,
}

/// The images of a run, and the ranks that share them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Images {
    /// Training images.
    pub training: usize,
    /// Validation images.
    pub validation: usize,
    /// Processes that train together.
    pub ranks: u32,
}

/// One part in this many of a limit is left free.
const LEFT_OF_LIMIT: u64 = 100;

/// A speed-up of at least this share is worth a line.
const WORTH_A_WORD: f64 = 0.05;

/// Decides what to run on `device`, with this many images.
///
/// # Errors
/// [`Error::NothingFits`] if no permitted configuration is predicted to fit.
pub fn propose(
    asked: RunConfig,
    device: Device,
    images: Images,
    limits: Limits,
    consent: Consent,
) -> Result<Proposal> {
    let is_auto = asked.checkpoint_policy() == CheckpointPolicy::Auto;
    let Some(target) = target(&asked, device, images, limits) else {
        return without_prediction(asked, is_auto);
    };
    let real = widest(&asked, images);
    let cost = target.predict(&real).ok().flatten();
    let cost = cost.as_ref();
    let fits = cost.is_some_and(|cost| target.fits(cost));
    let freedom = freedom(consent);
    let fit = match consent {
        Consent::Force if !is_auto => return Ok(Proposal::as_asked(asked, &target, cost)),
        Consent::Auto => target.fastest_of(&real, freedom),
        _ if is_auto => target.fastest_of(&real, freedom),
        Consent::Strict if !fits => Ok(None),
        Consent::Adapt | Consent::Strict | Consent::Force => target.nearest(&real, freedom),
    };
    // Numbers beyond 64 bits fit on no device.
    match fit.unwrap_or(None) {
        Some(fit) => {
            let mut proposal = Proposal::of(&target, &real, cost, fit);
            if proposal.config.batch == real.batch {
                proposal.config.batch = asked.batch;
            }
            Ok(proposal)
        }
        None if consent == Consent::Force => without_prediction(asked, is_auto),
        None => {
            let mut error = nothing_fits(&target, &real, cost, consent);
            let without = Limits {
                guard: None,
                ..limits
            };
            let more = self::target(&asked, device, images, without);
            if let (Error::NothingFits { hint, .. }, Some(more)) = (&mut error, more)
                && cost.is_some_and(|cost| more.fits(cost))
            {
                let flag = guard_flag(device);
                *hint = format!(
                    "other programs hold so much that the memory guard leaves too little; `{flag} off` \
                     switches it off; {hint}"
                );
            }
            Err(error)
        }
    }
}

/// The ladder of a proposed run.
pub fn ladder(config: &RunConfig, device: Device, images: Images, limits: Limits) -> Ladder {
    Ladder::new(target(config, device, images, limits), Means::of(device))
}

/// The predicted cost of a run, not yet corrected by any measurement; `None` if there is no
/// prediction.
pub fn forecast(config: &RunConfig, device: Device, images: Images) -> Option<Forecast> {
    let target = target(config, device, images, Limits::default())?;
    target.predict(config).ok().flatten()
}

/// The memory of a step of `config`, as [`explain::step_to_json`] tells it; `None` if it is not predicted.
pub(crate) fn memory_of_step(config: &RunConfig, device: Device, images: Images) -> Option<Value> {
    let target = target(config, device, images, Limits::default())?;
    explain::step_to_json(config, &target).ok()
}

/// What the checkpoint policy of `config` costs, if a faster one is predicted.
pub(crate) fn policy_cost(
    config: &RunConfig,
    device: Device,
    images: Images,
) -> Option<PolicyCost> {
    let target = target(config, device, images, Limits::default())?;
    let predict = |config: &RunConfig| target.predict(config).ok().flatten();
    let now = predict(config)?;
    let off = predict(&config.clone().without_checkpointing())?;
    let more_bytes = off.total_bytes.checked_sub(now.total_bytes)?;
    let share = 1.0 - off.step_seconds / now.step_seconds;
    // Now the run itself holds what it takes.
    let fits = device::free_bytes(device).is_some_and(|free| more_bytes <= free / 2);
    (share > 0.0).then_some(PolicyCost {
        share,
        more_bytes,
        fits,
    })
}

/// A forecast in the form of the ledger of runs. On a CPU a process holds more than its tensors, which
/// is not predicted; speed is predicted unless the figure belongs to another CPU.
pub fn in_ledger(forecast: &Forecast, device: Device) -> Predicted {
    let processor = device::processor(device);
    let speed_is_known = Speed::is_known(&processor);
    Predicted {
        allocated_bytes: Some(forecast.allocated_bytes),
        reserved_bytes: forecast.reserved_bytes,
        total_bytes: processor.is_gpu().then_some(forecast.total_bytes),
        images_per_second: speed_is_known.then_some(forecast.images_per_second),
    }
}

/// The configuration with its batch limited to the number of images.
fn widest(config: &RunConfig, images: Images) -> RunConfig {
    let images = u32::try_from(images.training.max(1)).unwrap_or(u32::MAX);
    RunConfig {
        batch: config.batch.min(images),
        ..config.clone()
    }
}

/// The device as the advisor sees it; `None` if the kernels that the configuration uses there have
/// not been measured.
fn target(config: &RunConfig, device: Device, images: Images, limits: Limits) -> Option<Target> {
    let processor = device::processor(device);
    Machine::of(&processor, config).ok()?;
    let free = device::free_bytes(device).map(Bytes);
    let target = Target::new(processor, None)
        .with_images(images.training, images.validation)
        .shared_by(images.ranks);
    // The context exists already, and is not part of the free memory.
    let context = target.context();
    let target = if processor.is_gpu() {
        target.with_free(Some(free?.checked_add(context)?))
    } else {
        target.with_free(free)
    };
    let room = room_under_guard(limits, device).and_then(|room| room.checked_add(context));
    let limit = limits.tensors.map(less_a_margin);
    let limit = limit.and_then(|limit| limit.checked_add(context));
    let rank = limits.rank.and_then(|rank| rank.checked_add(context));
    let bounds = [limit, target.budget(), room, rank];
    Some(match bounds.into_iter().flatten().min() {
        Some(budget) => target.with_budget(budget),
        None => target,
    })
}

/// Bytes that can be taken before the guard steps in.
fn room_under_guard(limits: Limits, device: Device) -> Option<Bytes> {
    let guard = limits.guard?;
    let threshold = if device.is_cuda() {
        guard.gpu
    } else {
        guard.ram
    };
    let (total, free) = (device::total_bytes(device)?, device::free_bytes(device)?);
    let room = threshold
        .of(total)?
        .saturating_sub(total.saturating_sub(free));
    Some(less_a_margin(Bytes(room)))
}

/// Subtracts a margin; predictions have been too low by half of it.
fn less_a_margin(bytes: Bytes) -> Bytes {
    Bytes(bytes.0 - bytes.0 / LEFT_OF_LIMIT)
}

fn guard_flag(device: Device) -> &'static str {
    if device.is_cuda() {
        "--guard-gpu"
    } else {
        "--guard-ram"
    }
}

/// The permitted changes that this program can make.
fn freedom(consent: Consent) -> Freedom {
    let is_free = consent != Consent::Strict;
    let has = compose::means();
    Freedom {
        split_concat: is_free,
        amp: is_free && has.amp,
        accumulation: is_free,
        batch: is_free,
        ..has
    }
}

fn without_prediction(asked: RunConfig, is_auto: bool) -> Result<Proposal> {
    let mut notes = Vec::new();
    let mut config = asked;
    if is_auto {
        config.grad_checkpoint_policy = Some(CheckpointPolicy::Selective);
        notes.push(
            "checkpointing: `auto` is `selective` here, where memory is not predicted: it takes \
             half of the activations for almost no time"
                .to_owned(),
        );
    }
    checkpointing::refuse_unknown(&config)?;
    Ok(Proposal {
        config,
        changes: Vec::new(),
        notes,
    })
}

fn nothing_fits(
    target: &Target,
    asked: &RunConfig,
    cost: Option<&Forecast>,
    consent: Consent,
) -> Error {
    let budget = target.budget().unwrap_or_default();
    let predicted = cost.map_or_else(
        || "more than can be counted".to_owned(),
        |cost| Bytes(cost.total_bytes).to_string(),
    );
    let message =
        format!("this run is predicted to take {predicted}, but only {budget} may be used");
    let nearest = match consent {
        Consent::Strict => target.nearest(asked, Freedom::ALL).ok().flatten(),
        _ => None,
    };
    let hint = match nearest {
        Some(fit) => format!(
            "without `--strict` it would run with `{}`; `--force` runs it unchanged",
            advisor::flags(asked, &fit.config)
        ),
        None => "no other recipe fits either: reduce `--width` or `--img-size`; `--force` runs it \
                 unchanged"
            .to_owned(),
    };
    Error::NothingFits { message, hint }
}

impl Proposal {
    fn as_asked(config: RunConfig, target: &Target, cost: Option<&Forecast>) -> Self {
        let mut notes = Vec::new();
        if let (Some(cost), Some(budget)) = (cost, target.budget())
            && !target.fits(cost)
        {
            notes.push(format!(
                "memory: predicted to take {}, but only {budget} may be used; run anyway \
                 (`--force`)",
                Bytes(cost.total_bytes)
            ));
        }
        Self {
            config,
            changes: Vec::new(),
            notes,
        }
    }

    fn of(target: &Target, asked: &RunConfig, cost: Option<&Forecast>, fit: Fit) -> Self {
        // A policy yet to be chosen has no cost, so the comparison is with `off`.
        let before = cost.unwrap_or(&fit.prediction);
        let changes = changes(target, asked, before, &fit).unwrap_or_default();
        let mut notes: Vec<_> = changes
            .iter()
            .map(|change| {
                let Change {
                    what,
                    from,
                    to,
                    why,
                } = change;
                format!("advisor: {what} {from} -> {to}: {why}")
            })
            .collect();
        if changes.is_empty()
            && let Ok(Some(faster)) = target.fastest_of(asked, Freedom::POLICY)
        {
            let gain = fit.prediction.step_seconds / faster.prediction.step_seconds - 1.0;
            if gain > WORTH_A_WORD {
                notes.push(format!(
                    "advisor: `{}` is predicted {:.0} % faster, and fits (`--auto` takes it)",
                    advisor::flags(asked, &faster.config),
                    100.0 * gain
                ));
            }
        }
        Self {
            config: fit.config,
            changes,
            notes,
        }
    }
}
