//! Decides what a run is, before anything of it exists: its settings, its data and its plan.

use std::path::{Path, PathBuf};

use config::{Bytes, CudaGraph, Reduction, RunConfig};
use tch::Device;

use super::guarded::say_temperature;
use super::plan::RunPlan;
use super::rank::Shared;
use super::resume::{self, Exact, Start};
use super::settings::{By, Setting, Settings};
use super::{FitArgs, absolute};
use crate::command::{console, scale};
use crate::error::Result;
use crate::run::chosen::{Chosen, Open, choose};
use crate::run::outputs::{RunDir, count};
use crate::run::proposal::Limits;
use crate::run::run_data::{Pages, RunData};
use crate::run::snapshot::DataId;
use crate::run::understood::{Asked, Understood};
use crate::usage::UsageError;
use data::DEFAULT_CACHE_BYTES;
use engine::guard::Guard;
use engine::{checkpointing, compose, device};
use locale::Language;
use ranks::Launch;

/// A run that is decided, before anything of it exists.
pub(super) struct Decided {
    pub(super) start: Start,
    pub(super) plan: RunPlan,
    pub(super) guard: Guard,
    pub(super) dataset: String,
    pub(super) data_id: DataId,
    /// The requested configuration, for a resumed run.
    pub(super) asked: String,
    pub(super) folder: Option<PathBuf>,
    pub(super) settings: Vec<Setting>,
    /// Whether several ranks normalise their batches together.
    pub(super) is_together: bool,
}

/// Decides for a process of its own, or for all of `ranks`.
pub(super) fn decide(
    args: &FitArgs,
    is_open: bool,
    device: Device,
    ranks: Option<Shared<'_>>,
) -> Result<Decided> {
    let launch = ranks.map(|it| it.launch);
    let mut resolved = args.keys.resolve()?;
    refuse_what_is_not_there(&resolved.config)?;
    args.plan.limit_gpu(device)?;
    refuse_names(args)?;
    let start = resume::start(args)?;
    let (mut folder, mut scaled) = (args.data.clone(), None);
    let mut before = resolved.config.clone();
    let (mut config, pages) = if let Start::Exact(exact) = &start {
        folder = data_of(exact, folder)?;
        before = exact.config(&resolved)?;
        (before.clone(), exact.pages())
    } else {
        refuse_places(args, matches!(start, Start::Again))?;
        let (pages, line) =
            scale::to_machine(&mut resolved, device, folder.is_none(), args.full_size);
        scaled = line;
        (resolved.config, pages)
    };
    if args.share_cores && config.deterministic {
        return Err(UsageError::SharedCores.into());
    }
    let arithmetic = device::processor(device).arithmetic();
    let note = config.precision_note(arithmetic).map(str::to_owned);
    // What the masks and the device add is not what the user asked for.
    let requested = config.to_toml();
    let kernels = checkpointing::exact_where_ours_fail(&mut config, device);
    let goes_on = matches!(start, Start::Exact(_));
    let asked = Asked::of(&config, |key| {
        goes_on || resolved.origins.given_by_user(key)
    });
    let mut settings = Settings::of(&before, &resolved.origins, goes_on);
    settings.differ(&config, By::Machine);
    let is_forced = args.plan.force || goes_on;
    let open = Some(Open {
        origins: &resolved.origins,
        device,
        warm: match &start {
            Start::Warm(file) => Some(file.network()?),
            _ => None,
        },
    });
    let open = open.filter(|_| is_open && !goes_on);
    let understood = understand(folder.as_deref(), &mut config, asked, is_forced, open)?;
    let (understood, chosen) = understood.unzip();
    settings.differ(&config, By::Data);
    settings.chosen(&chosen.unwrap_or_default());
    let shared = launch.and_then(|launch| share(&mut config, launch, goes_on));
    settings.differ(&config, By::Machine);

    say_what_runs(&config, device, [scaled, note, kernels, shared]);
    let cache_bytes = DEFAULT_CACHE_BYTES / launch.map_or(1, |it| it.local_size.max(1) as u64);
    let data = read_data(folder.as_deref(), understood, &config, pages, cache_bytes)?;

    let dataset = args.dataset.clone().unwrap_or_else(|| data.name.clone());
    let data_id = DataId::of(&data, &dataset, folder.as_deref().map(absolute));
    let (is_resumed, asked) = match &start {
        Start::Exact(exact) => (true, exact.state().asked.clone()),
        _ => (false, requested),
    };
    let guard = args.guard.guard();
    let precision = config.precision_on(arithmetic);
    device::require_precision(device, precision)?;
    let held = ranks.map_or(0, |it| it.held(&config, device));
    let limit = args.plan.memory_limit();
    let limits = Limits {
        tensors: limit.map(|it| Bytes(it.saturating_sub(held))),
        guard: Some(guard),
        rank: ranks.map(|it| Bytes(it.least.saturating_sub(held))),
        ranks: launch.map_or(1, |it| it.shard.size()),
    };
    let plan = args
        .plan
        .decide(config, device, precision, data, limits, is_resumed)?;
    let is_together = is_together(args, &start, &plan.config, device, launch)?;
    settings.differ(&plan.config, By::Advisor);
    settings.changed(&plan.changes);
    Ok(Decided {
        start,
        plan,
        guard,
        dataset,
        data_id,
        asked,
        folder,
        settings: settings.into_rows(),
        is_together,
    })
}

/// The folder that a resumed run trains on: that of the user, or the one before.
fn data_of(exact: &Exact, folder: Option<PathBuf>) -> Result<Option<PathBuf>> {
    let Some(before) = exact.data_folder().filter(|_| folder.is_none()) else {
        return Ok(folder);
    };
    if before.exists() {
        Ok(Some(before))
    } else {
        Err(UsageError::DataMoved { folder: before }.into())
    }
}

/// Whether several ranks normalise their batches together, as the user wants now or wanted when the run began.
fn is_together(
    args: &FitArgs,
    start: &Start,
    config: &RunConfig,
    device: Device,
    launch: Option<&Launch>,
) -> Result<bool> {
    let was_together = matches!(start, Start::Exact(exact) if exact.state().record.is_together);
    if !args.ranks.sync_batch_norm && !was_together {
        return Ok(false);
    }
    if launch.is_none() {
        console::note("batch norm: one process normalises its own batches");
        return Ok(true);
    }
    if !checkpointing::training_mode(config, device)?.can_be_shared() {
        return Err(UsageError::NotTogether.into());
    }
    if args.ranks.reduce == Reduction::Overlap {
        console::note(
            "ranks: gradients travel after backward, since batch norm needs the others meanwhile",
        );
    }
    Ok(true)
}

/// Reads the folder's files, if a folder is given. Channels and classes that the user leaves open follow from them, and
/// with `open` all other settings.
fn understand(
    folder: Option<&Path>,
    config: &mut RunConfig,
    asked: Asked,
    is_forced: bool,
    open: Option<Open<'_>>,
) -> Result<Option<(Understood, Vec<Chosen>)>> {
    let Some(folder) = folder else {
        return Ok(None);
    };
    let mut understood = Understood::read(folder, config, asked, None, count("reading"))?;
    config.in_channels = understood.in_channels();
    config.classes = understood.num_classes();
    config.ignore = understood.ignored();
    if let Some(class) = understood.only_class().filter(|_| !is_forced) {
        let folder = folder.to_owned();
        return Err(UsageError::NothingToLearn { folder, class }.into());
    }
    let Some(open) = open else {
        understood.look(config)?;
        return Ok(Some((understood, Vec::new())));
    };
    let chosen = choose(&mut understood, config, &open)?;
    for it in &chosen {
        console::note(&format!("chosen: {it}"));
    }
    Ok(Some((understood, chosen)))
}

fn read_data(
    folder: Option<&Path>,
    understood: Option<Understood>,
    config: &RunConfig,
    pages: Pages,
    cache_bytes: u64,
) -> Result<RunData> {
    let data = match (folder, understood) {
        (Some(folder), Some(read)) => RunData::of_folder(folder, read, config, cache_bytes)?,
        _ => RunData::built_in(config, pages)?,
    };
    data.notes.iter().for_each(|line| console::note(line));
    data.warnings.iter().for_each(|line| console::warn(line));
    Ok(data)
}

/// The data as another rank has decided on it: its settings are all there.
pub(super) fn data_as_decided(
    folder: Option<&Path>,
    config: &RunConfig,
    pages: Pages,
    cache_bytes: u64,
) -> Result<RunData> {
    let mut config = config.clone();
    let asked = Asked::of(&config, |_key| true);
    let understood = understand(folder, &mut config, asked, true, None)?;
    let understood = understood.map(|(understood, _)| understood);
    read_data(folder, understood, &config, pages, cache_bytes)
}

/// Gives each rank a part of every step. Returns what the user should know.
fn share(config: &mut RunConfig, launch: &Launch, goes_on: bool) -> Option<String> {
    let ranks = u32::try_from(launch.shard.size()).unwrap_or(u32::MAX);
    let (batches, batch) = (config.accumulation.max(1), config.batch);
    if batches >= ranks {
        return (batches % ranks > 0).then(|| {
            format!(
                "ranks: a step has {batches} batches for {ranks} ranks, so some wait for others; `--accumulation {}` \
                 does not",
                batches.next_multiple_of(ranks)
            )
        });
    }
    if goes_on {
        return Some(format!(
            "ranks: {} of {ranks} train on nothing, because a step of this run has fewer micro-batches ({batches}); its \
             effective batch stays as it was",
            ranks - batches
        ));
    }
    config.accumulation = ranks;
    Some(format!(
        "ranks: each step has {ranks} batches of {batch}, one for each rank: the effective batch is {}",
        config.effective_batch()
    ))
}

/// Prints the banner and the device.
fn say_what_runs(config: &RunConfig, device: Device, notes: [Option<String>; 4]) {
    console::print(&config.banner(Language::spoken()));
    notes
        .into_iter()
        .flatten()
        .for_each(|line| console::note(&line));
    if config.cuda_graph != CudaGraph::Off && !device.is_cuda() {
        console::note("CUDA graph: off, since the device is a CPU");
    }
    console::note(&format!(
        "device: {} ({})",
        device::name(device),
        device::kind(device)
    ));
    say_temperature(device);
}

/// Refuses whatever this build, or this version, lacks.
fn refuse_what_is_not_there(config: &RunConfig) -> Result<()> {
    Ok(compose::require_features(config)?)
}

/// Refuses invalid names.
fn refuse_names(args: &FitArgs) -> Result<()> {
    for (flag, name) in [("--run-name", &args.run_name), ("--dataset", &args.dataset)] {
        let Some(name) = name else { continue };
        // Exactly one component, and not `.` or `..`.
        if Path::new(name).file_name() != Some(name.as_ref()) {
            let found = name.clone();
            return Err(UsageError::NotAName { flag, found }.into());
        }
    }
    Ok(())
}

/// Refuses, early, folders that would otherwise be refused only after the data is read.
fn refuse_places(args: &FitArgs, may_restart: bool) -> Result<()> {
    let refuse = if may_restart {
        RunDir::refuse_worth_keeping
    } else {
        RunDir::refuse_taken
    };
    match (&args.run_dir, &args.run_name) {
        (Some(path), _) => refuse(path),
        (None, Some(name)) => refuse(&Path::new("runs").join(name)),
        (None, None) => Ok(()),
    }
}
