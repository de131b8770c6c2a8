//! The guide's examples, table, presets and claims beside predictions.

use config::{Bytes, Overrides, RunConfig, resolve};
use estimator::EstimateError;
use serde::Serialize;

use super::{CLAIMS, Claim, ClaimCheck, EXAMPLES, Quantity, Recipe, TABLE};
use crate::measured::Results;
use crate::recommend::{AdviceError, GB};
use crate::target::{Prediction, Target};

/// The presets, in the guide's order.
const PRESETS: [&str; 3] = ["best-balance", "max-memory", "speed"];

/// How far a figure may be off and still hold: for what the guide may have counted otherwise.
const TOLERANCE: f64 = 0.1;

/// Widths among which those are looked for at which the baseline holds.
const WIDTHS: std::ops::RangeInclusive<u32> = 1..=256;

/// Which part of the guide a recipe is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// A worked example.
    Example,
    /// A row of the table.
    Table,
    /// A preset.
    Preset,
}

/// What becomes of a stated memory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Within a tenth.
    Holds,
    /// Predicted over stated.
    TooLow(f64),
    /// Stated over predicted.
    TooHigh(f64),
}

/// A recipe of the guide beside a prediction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Where it is from.
    pub part: Part,
    /// Its name there.
    pub name: String,
    /// The recipe.
    pub recipe: Recipe,
    /// Memory that the guide states, in its GB.
    pub stated_gb: Option<f64>,
    /// Predicted tensor bytes.
    pub allocated_bytes: u64,
    /// What the allocator is predicted to hold, with as much as it likes.
    pub reserved_bytes: Option<u64>,
    /// With the context.
    pub total_bytes: u64,
    /// Of the stated memory, against tensor bytes, which are the least of the three.
    pub verdict: Option<Verdict>,
    /// The card that the guide recommends, in its GB.
    pub card_gb: Option<u32>,
    /// Whether it fits such a card.
    pub fits_its_card: Option<bool>,
    /// Whether it fits the device of the check.
    pub fits_here: bool,
    /// Measured tensor bytes, where a row of the file is of this work.
    pub measured_bytes: Option<u64>,
}

/// Measured rows, and what to call them.
#[derive(Clone, Copy, Debug)]
pub struct Measurements<'a> {
    /// The file, as it was named.
    pub name: &'a str,
    /// What it holds.
    pub results: &'a Results,
}

/// The whole guide, checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Channels of the first level.
    pub width: u32,
    /// The least and the largest width at which the table's first row holds.
    pub baseline_holds_at: Option<(u32, u32)>,
    /// Recipes, by the parts of the guide.
    pub rows: Vec<Row>,
    /// Claims.
    pub claims: Vec<ClaimCheck>,
}

/// Puts predictions for a device beside the guide, and measurements where there are some.
///
/// # Errors
/// [`AdviceError`] for a width out of range, and for sizes past 64 bits.
pub fn check(
    target: &Target,
    width: u32,
    measured: Option<&Results>,
) -> Result<Check, AdviceError> {
    let checker = Checker {
        target,
        without_limit: target.with_free(None),
        width,
        measured,
    };
    let mut rows = Vec::new();
    for example in EXAMPLES {
        let name = if example.recommended {
            ""
        } else {
            ", the most"
        };
        rows.push(checker.row(
            Part::Example,
            format!("{} GB card{name}", example.card_gb),
            example.recipe,
            None,
            Some(example.card_gb),
        )?);
    }
    for row in TABLE {
        let (stated, card) = (Some(row.stated_gb), Some(row.card_gb));
        rows.push(checker.row(Part::Table, row.name.to_owned(), row.recipe, stated, card)?);
    }
    for preset in PRESETS {
        let config = resolve(Some(preset), None, Overrides::default())?.config;
        let recipe = Recipe::of(&config);
        rows.push(checker.row(Part::Preset, preset.to_owned(), recipe, None, None)?);
    }
    let claims = CLAIMS.iter().map(|claim| checker.claim(claim));
    Ok(Check {
        width,
        baseline_holds_at: checker.baseline_holds_at()?,
        rows,
        claims: claims.collect::<Result<_, _>>()?,
    })
}

struct Checker<'a> {
    target: &'a Target,
    /// What a recipe takes where nothing hinders it.
    without_limit: Target,
    width: u32,
    measured: Option<&'a Results>,
}

impl Checker<'_> {
    fn row(
        &self,
        part: Part,
        name: String,
        recipe: Recipe,
        stated_gb: Option<f64>,
        card_gb: Option<u32>,
    ) -> Result<Row, AdviceError> {
        let config = recipe.config(self.width)?;
        let prediction = self.predict(&config)?;
        let fits = |target: &Target| Ok::<_, AdviceError>(target.fit_as_it_is(&config)?.is_some());
        let its_card = |gb: u32| self.target.with_free(Some(Bytes(u64::from(gb) * GB)));
        Ok(Row {
            part,
            name,
            recipe,
            stated_gb,
            allocated_bytes: prediction.allocated_bytes,
            reserved_bytes: prediction.reserved_bytes,
            total_bytes: prediction.total_bytes,
            verdict: stated_gb.map(|gb| Verdict::of(gb, prediction.allocated_bytes)),
            card_gb,
            fits_its_card: card_gb.map(|gb| fits(&its_card(gb))).transpose()?,
            fits_here: fits(self.target)?,
            measured_bytes: self.measured_bytes(&config),
        })
    }

    fn predict(&self, config: &RunConfig) -> Result<Prediction, EstimateError> {
        let prediction = self.without_limit.predict(config)?;
        prediction.ok_or(EstimateError::Schedule)
    }

    /// What the guide's figures are of.
    fn baseline_holds_at(&self) -> Result<Option<(u32, u32)>, AdviceError> {
        let mut found = None;
        let row = &TABLE[0];
        for width in WIDTHS {
            let prediction = self.predict(&row.recipe.config(width)?)?;
            match Verdict::of(row.stated_gb, prediction.allocated_bytes) {
                Verdict::Holds => found = Some((found.map_or(width, |(least, _)| least), width)),
                // Memory grows with the width.
                Verdict::TooLow(_) => break,
                Verdict::TooHigh(_) => {}
            }
        }
        Ok(found)
    }

    fn claim(&self, claim: &Claim) -> Result<ClaimCheck, AdviceError> {
        // Where the memory format has a part that is not predicted, the other switches' alone.
        let against = if claim.is_predicted() {
            claim.against
        } else {
            Recipe {
                use_channels_last: claim.of.use_channels_last,
                ..claim.against
            }
        };
        let (mut predicted_percent, mut predicted_total_percent) = (None, None);
        if claim.is_predicted() || claim.has_other_switches() {
            let of = self.predict(&claim.of.config(self.width)?)?;
            let against = self.predict(&against.config(self.width)?)?;
            let percent = |figure: fn(&Prediction) -> f64| {
                Some(claim.percent_of(figure(&of), figure(&against)))
            };
            if claim.quantity == Quantity::Memory {
                predicted_percent = percent(|it| it.allocated_bytes as f64);
                predicted_total_percent = percent(|it| it.total_bytes as f64);
            } else {
                predicted_percent = percent(|it| it.images_per_second);
            }
        }
        let measured = |recipe: &Recipe| {
            let config = recipe.config(self.width).ok()?;
            match claim.quantity {
                Quantity::Memory => self.measured_bytes(&config).map(|bytes| bytes as f64),
                Quantity::Speed | Quantity::Time => self.measured_speed(&config),
            }
        };
        let measured = measured(&claim.of).zip(measured(&claim.against));
        Ok(ClaimCheck {
            claim: *claim,
            predicted_percent,
            predicted_total_percent,
            verdict: claim.verdict(predicted_percent),
            measured_percent: measured.map(|(of, against)| claim.percent_of(of, against)),
        })
    }

    fn measured_bytes(&self, config: &RunConfig) -> Option<u64> {
        let mut rows = self.measured?.good().filter(|row| row.is_of(config));
        rows.find_map(|row| row.peak_allocated_bytes)
    }

    fn measured_speed(&self, config: &RunConfig) -> Option<f64> {
        let mut rows = self.measured?.good().filter(|row| row.is_of(config));
        let ms = rows.find_map(|row| row.step_ms_median)?;
        Some(f64::from(config.batch) * 1e3 / ms)
    }
}

impl Verdict {
    /// The guide's GB are taken as GiB, as tools of GPUs print them: the larger of the two.
    fn of(stated_gb: f64, bytes: u64) -> Self {
        let ratio = Bytes(bytes).as_gib() / stated_gb;
        if ratio > 1.0 + TOLERANCE {
            Self::TooLow(ratio)
        } else if ratio < 1.0 - TOLERANCE {
            Self::TooHigh(1.0 / ratio)
        } else {
            Self::Holds
        }
    }
}

#[cfg(test)]
mod tests {
    use machine::Device;

    use super::*;

    fn of(width: u32) -> Check {
        let card = Target::typical_card().unwrap();
        let device = Device::Given {
            memory: card.memory,
            card: Some(card),
        };
        check(&Target::of(&device), width, None).unwrap()
    }

    /// The guide's 2.8 GB are those of a network a quarter as wide.
    #[test]
    fn the_baselines_verdict_is_of_the_width() {
        let baseline = |width| {
            let rows = of(width).rows;
            rows.into_iter().find(|row| row.name == "baseline").unwrap()
        };
        assert_eq!(baseline(16).verdict, Some(Verdict::Holds));
        let wide = baseline(64);
        let Some(Verdict::TooLow(times)) = wide.verdict else {
            panic!("{wide:?}");
        };
        assert!((4.0..5.0).contains(&times), "{times}");
        assert_eq!((wide.fits_here, wide.fits_its_card), (false, Some(false)));
        assert!(baseline(16).fits_here);
    }

    #[test]
    fn every_part_of_the_guide_is_there() {
        let check = of(64);
        let count = |part| check.rows.iter().filter(|row| row.part == part).count();
        let counts = [Part::Example, Part::Table, Part::Preset].map(count);
        assert_eq!(counts, [EXAMPLES.len(), TABLE.len(), PRESETS.len()]);
        assert_eq!(check.claims.len(), CLAIMS.len());
    }
}
