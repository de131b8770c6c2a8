//! From the guide's recommendation for a size of memory to what fits, and runs fastest.

use config::guide::{EXAMPLES, Setup, TABLE};
use config::{Bytes, ConfigError, Overrides, RunConfig, resolve};
use estimator::EstimateError;
use machine::Device;

use crate::changes::{Change, changes};
use crate::fit::{Fit, Freedom, with_policy};
use crate::request::{Goal, Request};
use crate::search::{Search, Searched};
use crate::target::{Prediction, Target};

/// The guide's recommendation, and what it costs here.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// The configuration, with what was asked for.
    pub config: RunConfig,
    /// Which part of the guide it is from, as a noun.
    pub from: String,
    /// What it will cost.
    pub prediction: Prediction,
    /// Whether that fits.
    pub fits: bool,
}

/// A recipe, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    /// Where it starts.
    pub guide: Start,
    /// What fits; `None` where nothing does.
    pub recommended: Option<Fit>,
    /// From the one to the other.
    pub changes: Vec<Change>,
    /// What speaks against it, in sentences.
    pub warnings: Vec<String>,
    /// Other recipes that fit.
    pub alternatives: Vec<Alternative>,
    /// Among how many recipes it was found.
    pub searched: Searched,
}

/// Another recipe.
#[derive(Clone, Debug, PartialEq)]
pub struct Alternative {
    /// What fits.
    pub fit: Fit,
    /// When to take it, as a fragment.
    pub when: &'static str,
}

/// Why there is no advice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdviceError {
    /// A value out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Past what can be counted.
    #[error(transparent)]
    Estimate(#[from] EstimateError),
}

impl AdviceError {
    /// How to mend it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Config(error) => error.hint(),
            Self::Estimate(_) => None,
        }
    }
}

/// The guide speaks of cards in GB, and a card sold as 8 GB has somewhat less
/// than 8 GiB free: 10^9 bytes each makes the class that the guide means.
pub(crate) const GB: u64 = 1_000_000_000;

/// The largest batch that a configuration may have.
const MOST_IMAGES: u32 = 65_536;

/// Of the time of the fastest recipe: what `--goal memory` may take. The guide's checkpointing is
/// said to cost 20 to 50 %.
const MEMORY_MAY_TAKE: f64 = 1.35;

/// A batch is not raised for less than this share of images per second.
const WORTH_A_LARGER_BATCH: f64 = 0.02;

/// Proposes a recipe.
///
/// # Errors
/// [`AdviceError`] for values out of range, and for sizes past 64 bits.
pub fn advise(device: &Device, target: &Target, request: &Request) -> Result<Advice, AdviceError> {
    let guide = start(device, target, request)?;
    let mut search = Search::on(target);
    let recipes = Recipes::find(&mut search, &guide)?;
    let searched = search.searched();
    let recommended = recipes.of(request).cloned();
    let mut warnings = warnings(target, request, recommended.as_ref());
    if target.is_cuda() && !target.is_compared() {
        warnings.push(
            "no prediction for this GPU has been compared with a measurement yet: `train fit` says \
             what it took"
                .to_owned(),
        );
    }
    let (mut changed, mut alternatives) = (Vec::new(), Vec::new());
    if let Some(fit) = &recommended {
        changed = changes(target, &guide.config, &guide.prediction, fit)?;
        alternatives = recipes.others(fit);
    }
    Ok(Advice {
        guide,
        recommended,
        changes: changed,
        warnings,
        alternatives,
        searched,
    })
}

fn start(device: &Device, target: &Target, request: &Request) -> Result<Start, AdviceError> {
    let (preset, recipe, from) = choose(device.memory());
    let flags = Overrides {
        img_size: request.img_size.or(recipe.map(|recipe| recipe.img_size)),
        width: request.width,
        classes: request.classes,
        batch: request.target_batch.or(recipe.map(|recipe| recipe.batch)),
        use_amp: recipe.map(|recipe| recipe.use_amp),
        use_grad_checkpoint: recipe.map(|recipe| recipe.use_grad_checkpoint),
        use_channels_last: recipe.map(|recipe| recipe.use_channels_last),
        ..Overrides::default()
    };
    let config = resolve(Some(preset), None, flags)?.config;
    let prediction = target.predict(&config)?.ok_or(EstimateError::Schedule)?;
    Ok(Start {
        fits: target.fits(&prediction),
        config,
        from,
        prediction,
    })
}

/// The preset to start from, the recipe where it differs, and its source.
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
    // Below the examples the row for the smallest card: the rows for 4 and 6 GB
    // ask for more than the example for 8 GB does.
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

/// A recipe for each purpose; all are none where nothing fits.
struct Recipes {
    balance: Option<Fit>,
    memory: Option<Fit>,
    speed: Option<Fit>,
    largest: Option<Fit>,
}

impl Recipes {
    fn find(search: &mut Search<'_>, guide: &Start) -> Result<Self, EstimateError> {
        // Policies are chosen anew.
        let config = with_policy(&guide.config, config::CheckpointPolicy::Off);
        let smallest = RunConfig {
            split_concat: true,
            use_amp: config.use_amp || search.target().has_half(),
            ..config.clone()
        };
        let balance = search.fastest_of(&config, Freedom::ALL)?;
        let (mut memory, mut speed) = (None, None);
        if let Some(fit) = &balance {
            let config = RunConfig {
                split_concat: true,
                ..fit.config.clone()
            };
            memory = search.smallest_within(&config, MEMORY_MAY_TAKE)?;
            speed = Some(fastest_batch(search, fit.clone())?);
        }
        Ok(Self {
            memory: memory.or_else(|| balance.clone()),
            speed,
            balance,
            largest: search.largest_batch(&smallest, MOST_IMAGES, Freedom::ALL)?,
        })
    }

    fn of(&self, request: &Request) -> Option<&Fit> {
        match request.goal {
            _ if request.max_batch => self.largest.as_ref(),
            Goal::Balance => self.balance.as_ref(),
            Goal::Memory => self.memory.as_ref(),
            Goal::Speed => self.speed.as_ref(),
        }
    }

    /// All but what is recommended, each once.
    fn others(self, recommended: &Fit) -> Vec<Alternative> {
        let mut all: Vec<Alternative> = Vec::new();
        for (fit, when) in [
            (self.balance, "the guide's batch, as fast as fits"),
            (
                self.memory,
                "the guide's batch in less memory, at most a third slower",
            ),
            (self.speed, "the most images per second"),
            (self.largest, "the largest batch that fits"),
        ] {
            if let Some(fit) = fit
                && fit.config != recommended.config
                && all.iter().all(|other| other.fit.config != fit.config)
            {
                all.push(Alternative { fit, when });
            }
        }
        all
    }
}

/// Doubles the batch as long as that makes more images per second.
fn fastest_batch(search: &mut Search<'_>, fit: Fit) -> Result<Fit, EstimateError> {
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

fn warnings(target: &Target, request: &Request, fit: Option<&Fit>) -> Vec<String> {
    let mut all = Vec::new();
    let Some(fit) = fit else {
        let width = request.width.unwrap_or(64);
        all.push(format!(
            "not even one image fits at width {width}: a smaller `--width` or `--img-size` is left"
        ));
        return all;
    };
    if fit.config.accumulation > 1 {
        all.push(format!(
            "batch norm takes its statistics from {} images at a time, not from {}",
            fit.config.batch,
            fit.config.effective_batch()
        ));
    }
    if target.budget().is_none() {
        all.push("this system does not say how much memory is free".to_owned());
    }
    all
}
