//! `train fit`: a whole run, from flags to `summary.json`.

use std::path::{Path, PathBuf};

use advisor::ledger::LargestBatch;
use clap::Args;
use config::{Language, RunConfig};
use tch::Device;

use super::flags::{ConfigFlags, DeviceFlag, TrainingFlags, resolved};
use super::{console, scale};
use crate::data::{DEFAULT_CACHE_BYTES, Source, baseline};
use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::outputs::{RunDir, prepare_models_dir};
use crate::precision::{self, CpuSupport};
use crate::run_data::RunData;
use crate::trainer::Trainer;
use crate::weights::WeightsFile;
use crate::{compose, device, prediction};

mod plan;
mod recorder;
mod remember;

use plan::{Plan, PlanFlags};
use recorder::Recorder;

#[derive(Debug, Args)]
pub(super) struct FitArgs {
    #[command(flatten)]
    config: ConfigFlags,
    #[command(flatten)]
    training: TrainingFlags,
    /// Folder with `train/` and `val/` (and `test/`), each with `images/` and `masks/`; or with
    /// `images/` and `masks/` alone. Without it: built-in comic pages.
    #[arg(long, visible_alias = "root", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Name of the data in the names of files.
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Exactly this folder for the results: absent or empty.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// `runs/NAME` for the results.
    #[arg(long, value_name = "NAME", conflicts_with = "run_dir")]
    run_name: Option<String>,
    /// Put a copy of the best weights here, as `DATASET-unet-NN.safetensors`.
    #[arg(long, value_name = "DIR")]
    models_dir: Option<PathBuf>,
    /// Start from the weights of this safetensors file.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Do not scale a preset to a machine without a GPU.
    #[arg(long)]
    full_size: bool,
    #[command(flatten)]
    plan: PlanFlags,
    #[command(flatten)]
    device: DeviceFlag,
}

pub(super) fn run(args: &FitArgs) -> Result<()> {
    let mut resolved = resolved(&args.config, &args.training)?;
    refuse_what_is_not_there(&resolved.config)?;
    let device = args.device.device.resolve()?;
    args.plan.refuse_what_is_not_there(device)?;
    let (pages, scaled) =
        scale::to_machine(&mut resolved, device, args.data.is_none(), args.full_size);
    let config = resolved.config;
    let choice = precision::choose(&config, device, CpuSupport::detect());
    refuse_places(args)?;
    let warm_start = args.resume.as_deref().map(WeightsFile::open).transpose()?;

    let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
        .iter()
        .find_map(|v| std::env::var(v).ok());
    console::print(&config.banner(Language::from_locale(locale.as_deref())));
    [scaled, choice.note]
        .into_iter()
        .flatten()
        .for_each(|line| console::note(&line));
    console::note(&format!(
        "device: {} ({})",
        device::name(device),
        device::kind(device)
    ));

    let data = match &args.data {
        Some(folder) => RunData::of_folder(folder, &config, DEFAULT_CACHE_BYTES)?,
        None => RunData::built_in(&config, pages)?,
    };
    data.notes.iter().for_each(|line| console::note(line));

    let Plan {
        config,
        precision,
        data,
        changes,
        ladder,
    } = args.plan.decide(config, device, choice.precision, data)?;
    let mut trainer = Trainer::new(config, device, precision)?;
    if let Some(ladder) = ladder {
        trainer = trainer.with_ladder(ladder);
    }
    if let Some(file) = warm_start {
        file.load_into(&trainer.model)?;
        console::note("weights: warm start from `--resume`");
    }
    warn_about_speed(&trainer.config, device, args.data.is_some());
    let (images, batch) = (data.train.source().len(), trainer.config.batch as usize);
    if images < batch {
        console::note(&format!(
            "batch: only {images} images to train on, so each step sees {images}, not {batch}"
        ));
    }

    let dataset = args.dataset.clone().unwrap_or_else(|| data.name.clone());
    args.models_dir
        .as_deref()
        .map(prepare_models_dir)
        .transpose()?;
    let run_dir = match (&args.run_dir, &args.run_name) {
        (Some(path), _) => RunDir::create(path)?,
        (None, Some(name)) => RunDir::create(&Path::new("runs").join(name))?,
        (None, None) => RunDir::create_numbered(Path::new("runs"), &dataset)?,
    };
    console::note(&format!("results: {}", run_dir.path().display()));
    let interrupt = Interrupt::listen();
    let num_val = data.val.source().len();
    let largest_batch = LargestBatch::of(trainer.config.batch, images, num_val);
    let predicted = prediction::run_peak(&trainer.config, device, precision, images, num_val);
    if let Some(peak) = predicted {
        console::note(&format!(
            "memory: {} of tensors predicted at the peak, at: {}",
            estimator::Bytes(peak.bytes),
            peak.at
        ));
    }
    let peak_bytes = predicted.map(|peak| peak.bytes);
    let mut recorder = Recorder::new(run_dir, &trainer, peak_bytes, largest_batch, &changes)?;
    device::reset_peak(device);
    let outcome = trainer.fit(&data.train, &data.val, &mut recorder, &interrupt);
    let models = args
        .models_dir
        .as_deref()
        .map(|dir| (dir, dataset.as_str()));
    let report = recorder.finish(&trainer, outcome, data.val.source().as_ref(), models)?;
    console::print(&report);
    if data.built_in {
        console::print(&trivial_answers(data.val.source().as_ref())?);
    }
    Ok(())
}

/// Refuses what this build, or this version, does not have.
fn refuse_what_is_not_there(config: &RunConfig) -> Result<()> {
    match compose::missing_feature(config) {
        Some(feature) => Err(Error::MissingFeature { feature }),
        None => Ok(()),
    }
}

/// Refuses folders and names that would be refused only once the data is read.
fn refuse_places(args: &FitArgs) -> Result<()> {
    for (flag, name) in [("--run-name", &args.run_name), ("--dataset", &args.dataset)] {
        let Some(name) = name else { continue };
        // Exactly one component, and not `.` or `..`.
        if Path::new(name).file_name() != Some(name.as_ref()) {
            return Err(Error::Usage {
                message: format!("`{flag}` must be a name, found `{name}`"),
                hint: "`--run-dir DIR` takes a path".to_owned(),
            });
        }
    }
    if args
        .resume
        .as_deref()
        .is_some_and(|file| file == Path::new("auto") && !file.exists())
    {
        return Err(Error::Usage {
            message: "`--resume auto` is not there yet".to_owned(),
            hint: "`--resume FILE` starts from saved weights".to_owned(),
        });
    }
    match (&args.run_dir, &args.run_name) {
        (Some(path), _) => RunDir::refuse_taken(path),
        (None, Some(name)) => RunDir::refuse_taken(&Path::new("runs").join(name)),
        (None, None) => Ok(()),
    }
}

fn warn_about_speed(config: &RunConfig, device: Device, own_data: bool) {
    /// What one step may cost on a CPU before a person should be told, in FLOPs: more than a
    /// minute at 100 GFLOP/s.
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

fn trivial_answers(val: &dyn Source) -> Result<String> {
    let trivial = baseline::of_source(val)?;
    Ok(format!(
        "for comparison, answers without a network: all foreground {:.2}, all background {:.2}, \
         best brightness threshold {:.2}",
        trivial.all_foreground, trivial.all_background, trivial.brightness
    ))
}
