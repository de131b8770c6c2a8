//! Turns the guide's recommendation for a size of memory into the fastest recipe that fits.

use config::guide::{EXAMPLES, Setup, TABLE};
use config::{Bytes, CheckpointPolicy, ConfigError, Overrides, RunConfig, resolve};
use estimator::{EstimateError, Forecast};
use machine::Device;

use crate::changes::{Change, changes};
use crate::fit::{Fit, Freedom};
use crate::ranks::Together;
use crate::request::{Goal, Request};
use crate::search::{Search, Searched};
use crate::target::Target;

/// The guide's recommendation, and its cost on this device.
#[derive(Clone, Debug, PartialEq)]
pub struct StartingPoint {
    /// The configuration, with the requested values applied.
    pub config: RunConfig,
    /// The part of the guide that it comes from, as a noun phrase.
    pub from: String,
    /// Its predicted cost.
    pub prediction: Forecast,
    /// Whether it fits.
    pub fits: bool,
}

/// A recommended recipe and the reasons for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// The starting point.
    pub guide: StartingPoint,
    /// The recipe that fits; `None` if nothing fits.
    pub recommended: Option<Fit>,
    /// The changes from the guide's recipe to the recommended one.
    pub changes: Vec<Change>,
    /// Reasons for caution, in sentences.
    pub warnings: Vec<String>,
    /// Other recipes that fit, for a person to weigh: at most three.
    pub alternatives: Vec<Alternative>,
    /// How many recipes were searched.
    pub searched: Searched,
    /// The GPUs of which each runs such a recipe, if the advice is for several.
    pub together: Option<Together>,
}

/// An alternative recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Alternative {
    /// The recipe, which fits.
    pub fit: Fit,
    /// When to take it, as a fragment.
    pub when: &'static str,
}

/// Why no advice could be given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdviceError {
    /// A value is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A size overflows.
    #[error(transparent)]
    Estimate(#[from] EstimateError),
    /// A name of no card, or of several.
    #[error("`--gpu {name}` matches no card, or several")]
    Card {
        /// The name as it was given.
        name: String,
        /// Names that are alike.
        near: Vec<&'static str>,
    },
    /// Several GPUs where there is none.
    #[error("`--gpus` is for GPUs, and this is a CPU")]
    GpusOfCpu,
    /// Machines that are not full.
    #[error("{gpus} GPUs do not fill machines of {per_machine}")]
    Uneven {
        /// The number of all GPUs.
        gpus: u32,
        /// The number in each machine.
        per_machine: u32,
    },
    /// A batch that cannot be divided.
    #[error("`--target-batch {batch}` is not a multiple of {gpus} GPUs")]
    Batch {
        /// Images per optimizer step.
        batch: u32,
        /// The number of all GPUs.
        gpus: u32,
    },
    /// Two links for one purpose.
    #[error("`--link` takes one link inside a machine and one between machines")]
    Links,
    /// Both the CPU and a card.
    #[error("`{flag}` is for the CPU, but `--vram` or `--gpu` names a card")]
    CpuAndCard {
        /// The flag that asks for the CPU.
        flag: &'static str,
    },
}

impl AdviceError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.hint(),
            Self::Estimate(EstimateError::Unknown(_)) => Some(
                "`--vram 8GiB` or `--gpu NAME` predicts for a card; `train memory` measures here"
                    .to_owned(),
            ),
            Self::Estimate(_) => None,
            Self::Card { near, .. } if near.is_empty() => {
                Some("`--vram 8GiB` takes any card by its memory".to_owned())
            }
            Self::Card { near, .. } => Some(format!("similar names: {}", near.join(", "))),
            Self::GpusOfCpu => Some("`--gpu NAME` or `--vram 8GiB` predicts for a card".to_owned()),
            Self::Uneven { .. } => {
                Some("`--per-machine` says how many GPUs each machine has".to_owned())
            }
            Self::Batch { batch, gpus } => {
                let next = batch.next_multiple_of(*gpus);
                Some(format!("the next one is {next}"))
            }
            Self::Links => Some("`--link pcie4,10GbE` names both".to_owned()),
            Self::CpuAndCard { .. } => Some("leave out one of them".to_owned()),
        }
    }
}

/// The guide speaks of cards in GB, and a card sold as 8 GB has somewhat less
/// than 8 GiB free: 10^9 bytes each makes the class that the guide means.
pub(crate) const GB: u64 = 1_000_000_000;

/// The largest batch that a configuration may have.
const MOST_IMAGES: u32 = 65_536;

/// The time that `--goal memory` may take, relative to the fastest recipe. The guide says that its
/// checkpointing costs 20 to 50 %.
const MEMORY_MAY_TAKE: f64 = 1.35;

/// A batch is raised only for a gain of at least this share in images per second.
const WORTH_A_LARGER_BATCH: f64 = 0.02;

/// Proposes a recipe.
///
/// # Errors
/// Fails with [`AdviceError`] if a value is out of range or a size overflows 64 bits.
pub fn advise(device: &Device, target: &Target, request: &Request) -> Result<Advice, AdviceError> {
    let (guide, note) = start(device, target, request)?;
    let mut search = Search::on(target);
    let Recipes {
        recommended,
        others: alternatives,
    } = Recipes::find(&mut search, &guide, request)?;
    let searched = search.searched();
    let mut warnings = warnings(target, request, recommended.as_ref());
    warnings.extend(note);
    let largest = target.largest_batch(&guide.config);
    if u64::from(guide.config.batch) > largest {
        warnings.push(format!(
            "batches above {largest} have tensors of 2^31 numbers, which are not measured on a GPU: none is recommended"
        ));
    }
    if target.is_cuda() && !target.is_compared() {
        warnings.push(
            "no prediction for this GPU has been compared with a measurement yet: `train fit` says \
             what it took"
                .to_owned(),
        );
    }
    let changed = match &recommended {
        Some(fit) => changes(target, &guide.config, &guide.prediction, fit)?,
        None => Vec::new(),
    };
    Ok(Advice {
        guide,
        recommended,
        changes: changed,
        warnings,
        alternatives,
        searched,
        together: None,
    })
}

/// The guide's recommendation; without AMP, and with a word about it, where that is not predicted.
fn start(
    device: &Device,
    target: &Target,
    request: &Request,
) -> Result<(StartingPoint, Option<String>), AdviceError> {
    let (preset, recipe, from) = choose(device.memory());
    let flags = Overrides {
        img_size: request.img_size.or(recipe.map(|recipe| recipe.img_size)),
        width: request.width,
        in_channels: request.in_channels,
        classes: request.classes,
        exact_kernels: request.exact_kernels.then_some(true),
        batch: request.target_batch.or(recipe.map(|recipe| recipe.batch)),
        use_amp: recipe.map(|recipe| recipe.use_amp),
        use_grad_checkpoint: recipe.map(|recipe| recipe.use_grad_checkpoint),
        use_channels_last: recipe.map(|recipe| recipe.use_channels_last),
        ..Overrides::default()
    };
    let mut config = resolve(Some(preset), None, flags)?.config;
    let mut prediction = target.predict(&config);
    let mut note = None;
    if config.use_amp
        && let Err(EstimateError::Unknown(why)) = &prediction
    {
        note = Some(format!(
            "AMP is off here: {why}; `train memory --amp auto` measures what it takes"
        ));
        config.use_amp = false;
        prediction = target.predict(&config);
    }
    let prediction = prediction?.ok_or(EstimateError::PolicyAuto)?;
    let start = StartingPoint {
        fits: target.fits(&prediction),
        config,
        from,
        prediction,
    };
    Ok((start, note))
}

/// Chooses the preset to start from, the recipe if it differs from the preset, and a name for their source.
fn choose(memory: Option<Bytes>) -> (&'static str, Option<Setup>, String) {
    let Some(memory) = memory else {
        let from = "the guide's first preset; it gives none for the CPU".to_owned();
        return ("best-balance", None, from);
    };
    let example = EXAMPLES
        .iter()
        .find(|example| example.recommended && memory.0 >= u64::from(example.card_gb) * GB);
    if let Some(example) = example {
        let from = format!("the guide's example for a card of {} GB", example.card_gb);
        let preset = if example.recipe.use_grad_checkpoint {
            "max-memory"
        } else {
            "best-balance"
        };
        return (preset, Some(example.recipe), from);
    }
    // Cards smaller than the examples get the row for the smallest card, since the rows for 4 and 6
    // GB need more memory than the example for 8 GB does.
    let row = &TABLE[3];
    let from = if memory.0 >= u64::from(row.card_gb) * GB {
        format!(
            "the row of the guide's table for {} GB or more",
            row.card_gb
        )
    } else {
        format!(
            "the guide's smallest row, meant for {} GB or more",
            row.card_gb
        )
    };
    ("max-memory", Some(row.recipe), from)
}

/// The recommended recipe, and the others that a person would weigh against it.
struct Recipes {
    recommended: Option<Fit>,
    others: Vec<Alternative>,
}

/// The largest number of alternatives that are shown.
const MOST_OTHERS: usize = 3;

/// A recipe that differs by less than this share in both memory and time is not worth weighing.
const WORTH_WEIGHING: f64 = 0.05;

impl Recipes {
    fn find(
        search: &mut Search<'_>,
        guide: &StartingPoint,
        request: &Request,
    ) -> Result<Self, EstimateError> {
        // The policy is chosen afresh.
        let config = guide.config.clone().without_checkpointing();
        // Programs in PyTorch concatenate as a whole.
        let may_split = !request.exact_kernels;
        let freedom = Freedom {
            split_concat: may_split,
            ..Freedom::ALL
        };
        let Some(balance) = search.fastest_of(&config, freedom)? else {
            return Ok(Self {
                recommended: None,
                others: Vec::new(),
            });
        };
        let is_asked = request.target_batch.is_some();
        let speed = fastest_batch(search, balance.clone(), is_asked)?;
        let split = RunConfig {
            split_concat: may_split,
            ..balance.config.clone()
        };
        let memory = search.smallest_within(&split, MEMORY_MAY_TAKE)?;
        let memory = memory.unwrap_or_else(|| balance.clone());
        let recommended = match request.goal {
            _ if request.max_batch => {
                let smallest = RunConfig {
                    split_concat: may_split,
                    use_amp: config.use_amp || search.target().predicts_half(&config),
                    ..config.clone()
                };
                search.largest_batch(&smallest, MOST_IMAGES, freedom)?
            }
            Goal::Balance => Some(balance.clone()),
            Goal::Memory => Some(memory.clone()),
            Goal::Speed => Some(speed.clone()),
        };
        let selective = config.clone().with_policy(CheckpointPolicy::Selective);
        let largest = match search.target().budget() {
            Some(_) => search.largest_batch(&selective, MOST_IMAGES, Freedom::NONE)?,
            // Any batch would fit.
            None => None,
        };
        let largest = largest.filter(|it| u64::from(it.config.batch) > config.effective_batch());
        let others = [
            (Some(balance), "the guide's batch, as fast as fits"),
            (
                search.nearest(&selective, Freedom::ACCUMULATION)?,
                "most of the saving for almost no time",
            ),
            (Some(speed), "the most images per second"),
            (
                Some(memory),
                "the guide's batch in the least memory, at most a third slower",
            ),
            (largest, "the largest batch at almost full speed"),
        ];
        let mut found = Self {
            recommended,
            others: Vec::new(),
        };
        // A step of another size is not what was asked for.
        let step = config.effective_batch();
        let is_fine = |fit: &Fit| !is_asked || fit.config.effective_batch() == step;
        for (fit, when) in others {
            found.weigh(fit.filter(is_fine), when);
        }
        Ok(found)
    }

    /// Adds a recipe if it differs from the ones already listed.
    fn weigh(&mut self, fit: Option<Fit>, when: &'static str) {
        let Some(fit) = fit.filter(|_| self.others.len() < MOST_OTHERS) else {
            return;
        };
        let others = self.others.iter().map(|other| &other.fit);
        if self
            .recommended
            .iter()
            .chain(others)
            .all(|it| differs(it, &fit))
        {
            self.others.push(Alternative { fit, when });
        }
    }
}

/// Whether a person would notice which of two recipes is run.
fn differs(one: &Fit, other: &Fit) -> bool {
    let far = |one: f64, other: f64| (one / other - 1.0).abs() > WORTH_WEIGHING;
    let (a, b) = (&one.prediction, &other.prediction);
    one.config.effective_batch() != other.config.effective_batch()
        || far(a.total_bytes as f64, b.total_bytes as f64)
        || far(a.images_per_second, b.images_per_second)
}

/// Doubles the batch as long as doing so raises the images per second, and leaves a step its images if it `keeps` them.
fn fastest_batch(search: &mut Search<'_>, fit: Fit, keeps: bool) -> Result<Fit, EstimateError> {
    let mut best = fit;
    while let Some(batch) = best
        .config
        .batch
        .checked_mul(2)
        .filter(|b| *b <= MOST_IMAGES)
    {
        let config = RunConfig {
            batch,
            accumulation: best.config.accumulation.div_ceil(2),
            ..best.config.clone()
        };
        if keeps && config.effective_batch() != best.config.effective_batch() {
            break;
        }
        let Some(next) = search.fastest_of(&config, Freedom::POLICY)? else {
            break;
        };
        let gain = next.prediction.images_per_second / best.prediction.images_per_second;
        if gain < 1.0 + WORTH_A_LARGER_BATCH {
            break;
        }
        best = next;
    }
    Ok(best)
}

/// What batch norm makes of several micro-batches.
pub(crate) fn statistics(config: &RunConfig) -> Option<String> {
    (config.accumulation > 1).then(|| {
        format!(
            "batch norm takes its statistics from {} images at a time, not from {}",
            config.batch,
            config.effective_batch()
        )
    })
}

fn warnings(target: &Target, request: &Request, fit: Option<&Fit>) -> Vec<String> {
    let mut all = Vec::new();
    let Some(fit) = fit else {
        let width = request.width.unwrap_or(64);
        all.push(format!(
            "not even one image fits at width {width}: a smaller `--width` or `--img-size` is left"
        ));
        return all;
    };
    all.extend(statistics(&fit.config));
    if target.budget().is_none() {
        all.push("this system does not report how much memory is free".to_owned());
    }
    all
}
