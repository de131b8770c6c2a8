//! `train fit`: a whole run, from flags to `summary.json`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use advisor::ledger::{LargestBatch, Predicted};
use clap::Args;
use config::cli::{Exit, Fit, KeyFlags, program};
use config::{Bytes, Precision, RunConfig};
use estimator::Forecast;
use figures::numbers::duration;
use machine::load::Moment;
use tch::Device;

use super::console;
use super::flags::{DeviceFlag, minutes};
use crate::error::Result;
use crate::lab::fault;
use crate::run::outputs::live::Shown;
use crate::run::outputs::{RunDir, prepare_models_dir};
use crate::run::proposal::{self, Images};
use crate::run::run_data::RunData;
use crate::run::snapshot::{DataId, Record};
use data::{Source, baseline};
use engine::device;
use engine::interrupt::Interrupt;
use engine::team::{Peers, Team};
use engine::trainer::Trainer;
use locale::Language;
use ranks::Launch;

mod answers;
mod before;
mod cores;
mod decide;
mod guarded;
mod keeper;
mod nproc;
mod others;
mod plan;
mod rank;
mod recorder;
mod remember;
mod report;
mod resume;
mod settings;
mod story;

use decide::decide;
use guarded::GuardFlags;
use keeper::Keeper;
use plan::{PlanFlags, RunPlan};
use rank::{RankFlags, Shared};
use recorder::Recorder;
use resume::Start;
use story::{Places, Story};

/// What a run tells, besides its files and its progress.
#[derive(Debug, Args)]
struct OutputFlags {
    /// Print what happens to stdout as JSON, a line each, for notebooks and schedulers: events, epochs, and progress
    /// about once a second; everything else goes to stderr
    #[arg(long)]
    json_lines: bool,
    /// Show plain progress instead of a dashboard, which a terminal of at least 60x16 gets
    #[arg(long)]
    no_tui: bool,
    /// Also write an event file for TensorBoard into the run's folder: scalars, precision and recall, settings, samples
    #[arg(long)]
    tensorboard: bool,
}

#[derive(Debug, Args)]
pub(super) struct FitArgs {
    #[command(flatten)]
    pub(super) keys: KeyFlags<Fit>,
    /// Folder with `train/` and `val/` (and `test/`), each with `images/` and `masks/`, or a folder with
    /// only `images/` and `masks/`; without it, built-in comic pages
    #[arg(long, visible_alias = "root", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Name of the data in file names
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Exactly this folder for the results: new or empty, or with `--resume auto` the folder of the run
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Put the results in `runs/NAME`
    #[arg(long, value_name = "NAME", conflicts_with = "run_dir")]
    run_name: Option<String>,
    /// Put a copy of the best weights here, as `DATASET-unet-NN.safetensors`
    #[arg(long, value_name = "DIR")]
    models_dir: Option<PathBuf>,
    /// Continue a run where it stopped, or start a new one from the weights in a FILE
    #[arg(long, value_name = "auto|DIR|FILE", long_help = resume::help())]
    resume: Option<PathBuf>,
    /// Also save a resumable snapshot every N minutes; 0 saves at epoch ends only
    #[arg(long, value_name = "N", default_value = "10", value_parser = |text: &str| minutes(text, 0.0))]
    snapshot_minutes: Duration,
    #[command(flatten)]
    outputs: OutputFlags,
    /// Print what would be trained, and how, and stop
    #[arg(long)]
    dry_run: bool,
    /// Do not scale a preset down on a machine without a GPU
    #[arg(long)]
    full_size: bool,
    #[command(flatten)]
    plan: PlanFlags,
    #[command(flatten)]
    guard: GuardFlags,
    #[command(flatten)]
    device: DeviceFlag,
    /// On the CPU, use fewer threads while other programs use its cores: then a step keeps more of its speed, and its results
    /// are equal within rounding, not bit for bit
    #[arg(long)]
    share_cores: bool,
    #[command(flatten)]
    ranks: RankFlags,
}

/// `snug train`: `fit`, which sets what was left open by the data and the device.
#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    /// Folder of images and masks; without it, built-in comic pages
    #[arg(value_name = "DIR", conflicts_with = "data")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    pub(super) fit: FitArgs,
}

pub(super) fn run_choosing(mut args: TrainArgs) -> Result<ExitCode> {
    args.fit.data = args.folder.take().or(args.fit.data);
    let keys = &args.fit.keys;
    let is_open = keys.are_open();
    if is_open && keys.overrides.use_grad_checkpoint.is_none() {
        args.fit.plan.let_advisor_choose();
    }
    train_on(&args.fit, is_open)
}

pub(super) fn run(args: &FitArgs) -> Result<ExitCode> {
    train_on(args, false)
}

fn train_on(args: &FitArgs, is_open: bool) -> Result<ExitCode> {
    if let Some(code) = nproc::start(args)? {
        return Ok(code);
    }
    torch_ext::init()?;
    let launch = rank::launch()?;
    fault::read_environment(launch.as_ref().map_or(0, |it| it.shard.rank()))?;
    if args.outputs.json_lines {
        console::keep_stdout_for_programs();
    }
    let Some(launch) = launch else {
        let device = args.device.resolve()?;
        rank::advise(None, device);
        train(args, is_open, device, Team::alone(), None)?;
        return Ok(Exit::Done.into());
    };
    let mut peers = None;
    match train_as_rank(args, is_open, &launch, &mut peers) {
        Ok(()) => Ok(Exit::Done.into()),
        Err(error) => rank::end(error, &launch, peers.as_deref()),
    }
}

/// Trains as one of several ranks; `joined` are the others, as soon as they are there.
fn train_as_rank(
    args: &FitArgs,
    is_open: bool,
    launch: &Launch,
    joined: &mut Option<Rc<Peers>>,
) -> Result<()> {
    let is_first = launch.shard.rank() == 0;
    if !is_first {
        rank::leave_snapshots_to_first();
    }
    // One rank of each machine says why it cannot reach rank 0.
    if launch.local_rank > 0 {
        console::say_errors_only();
    }
    let device = args.device.resolve_for(Some(launch))?;
    if is_first {
        rank::advise(Some(launch), device);
    }
    rank::settle(launch, device);
    let peers = joined.insert(Rc::new(rank::join(launch, device, &args.ranks)?));
    if !is_first {
        console::say_errors_only();
    }
    let team = Team::many(Rc::clone(peers), args.ranks.reduce);
    let least = team.least(rank::room(launch, device))?;
    if !is_first {
        return others::follow(args, device, peers, team);
    }
    console::note(&format!(
        "ranks: {}, started by {}",
        launch.shard.size(),
        launch.launcher
    ));
    train(args, is_open, device, team, Some((peers, least)))
}

/// Trains, as a process of its own or as rank 0 of `ranks`, of which each has so many bytes at least.
fn train(
    args: &FitArgs,
    is_open: bool,
    device: Device,
    team: Team,
    ranks: Option<(&Peers, u64)>,
) -> Result<()> {
    let begun = Moment::now();
    let shared = ranks.map(|(peers, least)| Shared {
        launch: peers.launch(),
        least,
        reduce: args.ranks.reduce,
    });
    let peers = ranks.map(|(peers, _)| peers);
    let decided = decide(args, is_open, device, shared)?;
    let RunPlan {
        precision, data, ..
    } = decided.plan;
    let images = data.images(team.shard().size());
    let mut again = args.ranks.words(peers.map(Peers::launch));
    again.extend(args.share_cores.then(|| "--share-cores".to_owned()));
    if matches!(decided.start, Start::Warm(_)) {
        console::note("weights: warm start from `--resume`");
    }
    if args.dry_run {
        let held = shared.map_or(0, |it| it.held(&decided.plan.config, device));
        say_what_it_takes(&decided.plan.config, device, (images, held), &again);
        return others::dismiss(peers);
    }
    let has_ladder = decided.plan.ladder.is_some();
    let mut trainer = Trainer::new(decided.plan.config, device, precision)?
        .with_guard(decided.guard)
        .with_team(team);
    if let Some(ladder) = decided.plan.ladder {
        trainer = trainer.with_ladder(ladder);
    }
    let (start, data_id) = (decided.start, decided.data_id);
    let Some(mut before) = begin(&start, &mut trainer, precision, &data_id, &data)? else {
        console::note(&resume::why_finished(&trainer));
        return others::dismiss(peers);
    };
    let folder = decided.folder.as_deref();
    before.is_together |= decided.is_together;
    let how = (has_ladder, decided.is_together);
    others::begin(&mut trainer, how, folder, &data_id, peers)?;
    warn_about_speed(&trainer.config, device, decided.folder.is_some());
    // Other ranks on this machine would count as other programs.
    say_what_others_take(
        begun.filter(|_| peers.is_none() && !args.share_cores),
        device,
    );
    warn_about_batch(images.training, &trainer.config);

    let models_dir = models_dir(args, &mut before)?;
    let run_dir = open_run_dir(args, &start, &trainer, &decided.dataset)?;
    let keeper = Keeper::new(
        run_dir.path(),
        data_id,
        decided.asked,
        args.snapshot_minutes,
    )
    .listening();
    console::note(&format!("results: {}", run_dir.path().display()));
    let interrupt = Interrupt::listen_and(dashboard::leave);
    let batch = trainer.config.batch;
    let largest_batch = LargestBatch::of(batch, images.training, images.validation);
    let held = shared.map_or(0, |it| it.held(&trainer.config, device));
    let predicted = predicted(&trainer.config, device, images, held);
    let expected = (predicted, largest_batch);
    let changes = &decided.plan.changes;
    let dataset = decided.dataset.as_str();
    let places = Places {
        data: decided.folder,
        device: args.device.given(),
        ranks: again,
    };
    let story = Story::new(decided.settings, (&data, images), places, dataset);
    let mut recorder = Recorder::new(run_dir, keeper, before, &trainer, expected, changes, story)?;
    recorder.obey(&interrupt);
    if device == Device::Cpu && args.share_cores {
        recorder.share_cores();
    }
    recorder.begin_tensorboard(&trainer, args.outputs.tensorboard)?;
    if dashboard::is_wanted(args.outputs.no_tui || args.outputs.json_lines) {
        let shown = Shown {
            title: decided.dataset.clone(),
            language: Language::spoken(),
            predicted_bytes: predicted.reserved_bytes.or(predicted.allocated_bytes),
            limit_bytes: args.plan.memory_limit(),
            num_images: images.training,
            val: Arc::clone(data.val.source()),
        };
        recorder.begin_live(&trainer, shown);
    }
    let outcome = before::look(&mut trainer, &data, &mut recorder, &interrupt).and_then(|()| {
        device::reset_peak(device);
        trainer.fit(&data.train, &data.val, &mut recorder, &interrupt)
    });
    others::part(peers, &outcome);
    let models = models_dir.as_deref().map(|dir| (dir, dataset));
    let report = recorder.finish(&trainer, outcome, &data, models)?;
    console::print(&report);
    if data.built_in {
        console::print(&trivial_answers(data.val.source().as_ref())?);
    }
    Ok(())
}

/// For `--dry-run`: what the run is predicted to take.
fn say_what_it_takes(
    config: &RunConfig,
    device: Device,
    (images, held): (Images, u64),
    again: &[String],
) {
    let forecast = proposal::forecast(config, device, images);
    if let Some(forecast) = &forecast {
        say_forecast(forecast, held);
    }
    let speed = forecast.and_then(|it| proposal::in_ledger(&it, device).images_per_second);
    if let Some(speed) = speed.filter(|&it| it > 0.0) {
        let epoch = images.training as f64 / (speed * f64::from(images.ranks));
        console::note(&format!(
            "time: about {} per epoch and {} in all predicted, not counting validation",
            duration(Duration::from_secs_f64(epoch)),
            duration(Duration::from_secs_f64(
                epoch * config.epochs_of(images.training as u64)
            ))
        ));
    }
    let words = program::words();
    let words = words.iter().map(String::as_str);
    console::note("nothing was trained (`--dry-run`)");
    // The parent of ranks took its own flag away.
    let nproc = again.chunks(2).find(|it| it[0] == "--nproc");
    let nproc = nproc.into_iter().flatten().map(String::as_str);
    let line = program::line(words.filter(|it| *it != "--dry-run").chain(nproc));
    console::print(&format!("next:\n  {line}"));
}

/// Brings the trainer to where the run starts, with the record so far; `None` if it is finished.
fn begin(
    start: &Start,
    trainer: &mut Trainer,
    precision: Precision,
    data_id: &DataId,
    data: &RunData,
) -> Result<Option<Record>> {
    match start {
        Start::New | Start::Again => {}
        Start::Warm(file) => {
            file.load_into(&trainer.learner.model)?;
        }
        Start::Exact(exact) => {
            exact.refuse_others(precision, data_id, data.train.num_batches())?;
            exact.restore(trainer)?;
            let record = exact.state().record.clone();
            return Ok(Some(record).filter(|_| !exact.is_finished(trainer)));
        }
    }
    Ok(Some(Record::default()))
}

/// The folder for copies of weights, now or earlier in the run, which must take a file.
fn models_dir(args: &FitArgs, before: &mut Record) -> Result<Option<PathBuf>> {
    let given = args.models_dir.as_deref().map(absolute);
    before.models_dir = given.or(before.models_dir.take());
    let models_dir = args.models_dir.clone();
    let models_dir = models_dir.or_else(|| before.models_dir.as_ref().map(PathBuf::from));
    models_dir.as_deref().map(prepare_models_dir).transpose()?;
    Ok(models_dir)
}

fn warn_about_batch(samples: usize, config: &RunConfig) {
    let what = if config.crop { "windows" } else { "images" };
    let batch = config.batch;
    if samples < batch as usize {
        console::note(&format!(
            "batch: only {samples} {what} to train on, so each step sees {samples}, not {batch}"
        ));
    }
}

/// Says what a step takes besides what is `held`.
fn say_forecast(forecast: &Forecast, held: u64) {
    let at_most = if forecast.is_bound { "at most " } else { "" };
    console::note(&format!(
        "memory: {at_most}{} of tensors predicted at the peak, at: {}",
        Bytes(forecast.allocated_bytes.saturating_add(held)),
        forecast.peak().at
    ));
}

/// The folder of a resumed run, or a new one.
fn open_run_dir(args: &FitArgs, start: &Start, trainer: &Trainer, dataset: &str) -> Result<RunDir> {
    let create = match start {
        Start::Exact(exact) => return exact.open(trainer, recorder::BEST, recorder::LAST),
        Start::Again => RunDir::create_or_restart,
        _ => RunDir::create,
    };
    match (&args.run_dir, &args.run_name) {
        (Some(path), _) => create(path),
        (None, Some(name)) => create(&Path::new("runs").join(name)),
        (None, None) => RunDir::create_numbered(Path::new("runs"), dataset),
    }
}

/// An absolute path, for a snapshot that is read from another working folder. A path that is not UTF-8
/// must be given again then.
fn absolute(path: &Path) -> String {
    let real = path.canonicalize().or_else(|_| std::path::absolute(path));
    real.unwrap_or_else(|_| path.to_owned())
        .to_string_lossy()
        .into_owned()
}

fn warn_about_speed(config: &RunConfig, device: Device, own_data: bool) {
    /// The cost of one step on a CPU above which the user is warned, in FLOPs: a minute at 100 GFLOP/s.
    const SLOW_STEP: f64 = 6e12;
    let network = config.network();
    let Ok(flops) = estimator::Flops::per_image(&network, config.img_size) else {
        return;
    };
    let step = flops.training as f64 * config.effective_batch() as f64;
    if device == Device::Cpu && step > SLOW_STEP {
        console::warn(&format!(
            "without a GPU a step of {:.0} TFLOP takes minutes; `--width 16 --img-size 256x256 \
             --batch 4` is a start",
            step / 1e12
        ));
    }
    if own_data && config.lr < 5e-4 && config.epochs <= 20 {
        console::note("hint: in a short run on little data `--lr 1e-3` gets much further");
    }
}

/// Says what a step is predicted to take, and returns it as the ledger keeps it, with what is `held` besides.
fn predicted(config: &RunConfig, device: Device, images: Images, held: u64) -> Predicted {
    let forecast = proposal::forecast(config, device, images);
    if let Some(forecast) = &forecast {
        say_forecast(forecast, held);
    }
    let in_ledger = forecast.map(|forecast| proposal::in_ledger(&forecast, device));
    let predicted = in_ledger.unwrap_or_default();
    let more = |bytes: Option<u64>| bytes.map(|it| it.saturating_add(held));
    Predicted {
        allocated_bytes: more(predicted.allocated_bytes),
        reserved_bytes: more(predicted.reserved_bytes),
        total_bytes: more(predicted.total_bytes),
        ..predicted
    }
}

/// Says if other programs use the cores so much that a step on the CPU would be faster with fewer threads.
fn say_what_others_take(begun: Option<Moment>, device: Device) {
    let others = begun.and_then(|it| it.others_since());
    let Some(others) = others.filter(|it| it.are_many() && device == Device::Cpu) else {
        return;
    };
    let all = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    let advice = if others.threads_beside(all) < all {
        ", and a step loses more than its share: `--share-cores` keeps more of it"
    } else {
        ""
    };
    console::note(&format!(
        "cores: other programs use {:.1} of {}{advice}",
        others.used, others.cores
    ));
}

fn trivial_answers(val: &dyn Source) -> Result<String> {
    let trivial = baseline::of_source(val)?;
    Ok(format!(
        "for comparison, answers without a network: all foreground {:.2}, best brightness threshold \
         {:.2}",
        trivial.all_foreground, trivial.brightness
    ))
}
