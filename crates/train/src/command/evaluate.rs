//! `train evaluate`: the scores of saved weights.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use config::cli::{Evaluate, KeyFlags};
use config::{Precision, RunConfig};

use super::console;
use super::flags::DeviceFlag;
use crate::error::{Error, Result};
use crate::run::outputs::count;
use crate::run::run_data;
use crate::run::understood::{Asked, Understood};
use crate::run::weights::WeightsFile;
use crate::usage::UsageError;
use data::windows::Choice;
use data::{DEFAULT_CACHE_BYTES, Loader, Reading};
use engine::batch::Upload;
use engine::evaluation::Evaluator;
use engine::interrupt::Interrupt;
use engine::metrics::Scores;
use engine::model::{Kernels, UNet};
use engine::team::Team;
use engine::{checkpointing, compose, device};

/// Images of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Split {
    Train,
    Val,
    Test,
}

impl Split {
    const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

#[derive(Debug, Args)]
#[command(mut_arg("crop", |arg| arg.help("Score images in windows of `--img-size` at their own resolution, instead of \
    whole images scaled to it: on or off; without it, as in training")))]
pub(super) struct EvaluateArgs {
    /// Weights as `fit` or PyTorch wrote them. Those of `fit` hold the size, the precision and what values
    /// mean; for others, a `config.toml` next to them counts
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Folder of images and masks
    #[arg(long, visible_alias = "root", value_name = "DIR")]
    data: PathBuf,
    /// Which of its images
    #[arg(long, value_enum, default_value = "val")]
    split: Split,
    #[command(flatten)]
    pub(super) keys: KeyFlags<Evaluate>,
    #[command(flatten)]
    device: DeviceFlag,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: EvaluateArgs) -> Result<()> {
    let weights = WeightsFile::open(&args.weights)?;
    let loaded = Loaded::new(&weights, &args.weights, args.keys, args.device)?;
    let config = &loaded.config;
    let understood = Understood::read(
        &args.data,
        config,
        Asked::all(config),
        loaded.reading.as_ref(),
        count("reading"),
    )?;
    understood
        .notes()
        .iter()
        .for_each(|line| console::note(line));
    for line in understood.warnings() {
        console::warn(&line);
    }
    let Understood {
        dataset,
        survey,
        reading,
        ..
    } = understood;
    let (pairs, part) = match args.split {
        Split::Train => (dataset.train, &survey.train),
        Split::Val => (dataset.val, &survey.val),
        Split::Test => (dataset.test, &survey.test),
    };
    if pairs.is_empty() {
        return Err(UsageError::NoImagesToScore {
            data: args.data,
            split: args.split.name(),
        }
        .into());
    }
    let windows = (part, Choice::Covering);
    let source = run_data::samples_of(pairs, &reading, config, windows, DEFAULT_CACHE_BYTES)?;
    let loader = Loader::new(source, run_data::validation_loader(config))?;
    let interrupt = Interrupt::listen();
    let mut at_a_time = usize::MAX;
    let scored =
        loaded
            .evaluator()
            .evaluate(&loader, &mut at_a_time, &mut Team::alone(), &interrupt)?;
    let (scores, _) = scored.ok_or(engine::Error::Interrupted { step: 0 })?;
    if at_a_time < usize::MAX {
        console::note(&format!(
            "out of memory: scored {at_a_time} {} at a time",
            if config.crop { "windows" } else { "images" }
        ));
    }
    if args.json {
        let text = serde_json::to_string_pretty(&scores)
            .map_err(|e| Error::io("write", "stdout", e.into()))?;
        console::print(&text);
    } else {
        console::print(&describe(&scores, loaded.precision, config));
    }
    Ok(())
}

/// A model with weights, and how to run it.
pub(super) struct Loaded {
    model: UNet,
    pub(super) config: RunConfig,
    upload: Upload,
    precision: Precision,
    kernels: Kernels,
    /// How the files of its training were read.
    pub(super) reading: Option<Reading>,
    /// The best threshold in its validation.
    pub(super) threshold: Option<f64>,
}

impl Loaded {
    /// Takes the network from the file, and the rest from its contract, or else from the `config.toml`
    /// next to it, unless `--config`, `--preset` or a flag says otherwise.
    pub(super) fn new(
        weights: &WeightsFile,
        path: &Path,
        mut flags: KeyFlags<Evaluate>,
        device: DeviceFlag,
    ) -> Result<Self> {
        let contract = weights.contract()?;
        if flags.config.is_none() && flags.overrides.preset.is_none() {
            let settings = if let Some(contract) = &contract {
                contract.fill(&mut flags.overrides);
                "as in training, kept in the weights".to_owned()
            } else {
                flags.config = config_of(path);
                flags.config.as_ref().map_or_else(
                    || {
                        "the defaults, since the folder of the weights has no `config.toml`"
                            .to_owned()
                    },
                    |file| file.display().to_string(),
                )
            };
            console::note(&format!("settings: {settings}"));
        }
        let network = weights.network()?;
        flags.overrides.width.get_or_insert(network.width);
        flags.overrides.classes.get_or_insert(network.classes);
        // Weights say it, and no flag does.
        flags.overrides.in_channels = Some(network.in_channels);
        let config = flags.resolve()?.config;
        // Checkpointing is irrelevant without a backward pass.
        let config = RunConfig {
            use_grad_checkpoint: false,
            ..config
        };
        compose::require_features(&config)?;
        let device = device.resolve()?;
        let arithmetic = device::processor(device).arithmetic();
        let note = config.precision_note(arithmetic);
        note.into_iter().for_each(console::note);
        let precision = config.precision_on(arithmetic);
        device::require_precision(device, precision)?;
        let model = UNet::new(
            config.network(),
            device,
            config.seed,
            config.use_channels_last,
        )?;
        weights.load_into(&model)?;
        Ok(Self {
            precision,
            model,
            upload: Upload::of(&config, device),
            kernels: checkpointing::kernels(&config, device),
            config,
            threshold: contract.as_ref().and_then(|it| it.threshold),
            reading: contract.and_then(|it| it.reading),
        })
    }

    /// An evaluator of the model.
    pub(super) const fn evaluator(&self) -> Evaluator<'_> {
        Evaluator {
            model: &self.model,
            upload: self.upload,
            precision: self.precision,
            kernels: self.kernels,
        }
    }
}

/// The `config.toml` of the run that wrote these weights: next to them, or above `last/`.
fn config_of(weights: &Path) -> Option<PathBuf> {
    let folder = weights.parent()?;
    let above = folder
        .file_name()
        .is_some_and(|n| n == "last")
        .then(|| folder.parent())
        .flatten();
    [Some(folder), above]
        .into_iter()
        .flatten()
        .map(|f| f.join("config.toml"))
        .find(|f| f.is_file())
}

fn describe(scores: &Scores, precision: Precision, config: &RunConfig) -> String {
    let mut lines = vec![format!(
        "{} {} {} {}, {}: IoU {:.4}, Dice {:.4}",
        scores.num_images,
        if scores.num_images == 1 {
            "image"
        } else {
            "images"
        },
        if config.crop { "in windows of" } else { "at" },
        config.img_size,
        precision.as_str(),
        scores.iou,
        scores.dice
    )];
    lines.extend(scores.best_threshold.map(|best| {
        format!(
            "best threshold {:.2}: IoU {:.4} (at 0.50: {:.4})",
            best.threshold, best.iou, scores.iou
        )
    }));
    lines.extend(scores.uncounted());
    if scores.per_class.len() > 1 {
        lines.extend(scores.per_class.iter().map(ToString::to_string));
    }
    lines.join("\n")
}
