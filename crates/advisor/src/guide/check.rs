//! Compares the guide's examples, table, presets and claims with predictions.

use bench::results::Results;
use config::guide::{CLAIMS, Claim, EXAMPLES, Quantity, Setup, Stated, TABLE, Verdict};
use config::{Bytes, Overrides, RunConfig, presets, resolve};
use estimator::{EstimateError, Forecast};
use serde::Serialize;

use crate::recommend::{AdviceError, GB};
use crate::target::Target;

/// The widths that are searched for those at which the baseline holds.
const WIDTHS: std::ops::RangeInclusive<u32> = 1..=256;

/// The part of the guide that a recipe comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuidePart {
    /// A worked example.
    Example,
    /// A row of the table.
    Table,
    /// A preset.
    Preset,
}

/// A recipe of the guide, with its prediction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GuideRow {
    /// The part of the guide that it comes from.
    pub part: GuidePart,
    /// Its name there.
    pub name: String,
    /// The recipe.
    pub recipe: Setup,
    /// The memory that the guide states, in the guide's GB.
    pub stated_gb: Option<f64>,
    /// Predicted tensor bytes.
    pub allocated_bytes: u64,
    /// The predicted reserved bytes of an allocator without a limit.
    pub reserved_bytes: Option<u64>,
    /// The predicted bytes including the CUDA context.
    pub total_bytes: u64,
    /// The verdict on the stated memory, judged against tensor bytes, the smallest of the three figures.
    pub verdict: Option<Stated>,
    /// The memory of the card that the guide recommends, in the guide's GB.
    pub card_gb: Option<u32>,
    /// Whether it fits such a card.
    pub fits_its_card: Option<bool>,
    /// Whether it fits the device of the check.
    pub fits_here: bool,
    /// Measured tensor bytes, if the file has a row for this workload.
    pub measured_bytes: Option<u64>,
}

/// A claim, with its prediction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ClaimCheck {
    /// What the guide says.
    pub claim: Claim,
    /// The predicted change in percent, as the claim counts it; for memory, the change of tensor
    /// bytes. If the model of time does not cover the claim, this is the effect of the other switches
    /// alone, or `None` if no other switch differs.
    pub predicted_percent: Option<f64>,
    /// For memory, the predicted change of what the process holds on the card. It includes what the
    /// allocator holds besides tensors; cuDNN's share of that is an upper bound.
    pub predicted_total_percent: Option<f64>,
    /// Whether the prediction is in the claim's range.
    pub verdict: Verdict,
    /// The measured change, if both setups were measured.
    pub measured_percent: Option<f64>,
}

/// Measured rows, and the name of their file.
#[derive(Clone, Copy, Debug)]
pub struct Measurements<'a> {
    /// The file, under the name that the user gave.
    pub name: &'a str,
    /// The results in the file.
    pub results: &'a Results,
}

/// The whole guide, checked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GuideCheck {
    /// Channels of the first level.
    pub width: u32,
    /// The smallest and the largest width at which the table's first row holds.
    pub baseline_holds_at: Option<(u32, u32)>,
    /// The recipes, part by part of the guide.
    pub rows: Vec<GuideRow>,
    /// The claims.
    pub claims: Vec<ClaimCheck>,
}

/// Compares the guide with predictions for a device, and with measurements if there are any.
///
/// # Errors
/// Fails with [`AdviceError`] if the width is out of range or a size overflows 64 bits.
pub fn check(
    target: &Target,
    width: u32,
    measured: Option<&Results>,
) -> Result<GuideCheck, AdviceError> {
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
            GuidePart::Example,
            format!("{} GB card{name}", example.card_gb),
            example.recipe,
            None,
            Some(example.card_gb),
        )?);
    }
    for row in TABLE {
        let (stated, card) = (Some(row.stated_gb), Some(row.card_gb));
        rows.push(checker.row(
            GuidePart::Table,
            row.name.to_owned(),
            row.recipe,
            stated,
            card,
        )?);
    }
    for preset in presets() {
        let config = resolve(Some(preset), None, Overrides::default())?.config;
        let recipe = Setup::of(&config);
        rows.push(checker.row(GuidePart::Preset, preset.to_owned(), recipe, None, None)?);
    }
    let claims = CLAIMS.iter().map(|claim| checker.claim(claim));
    Ok(GuideCheck {
        width,
        baseline_holds_at: checker.baseline_holds_at()?,
        rows,
        claims: claims.collect::<Result<_, _>>()?,
    })
}

struct Checker<'a> {
    target: &'a Target,
    /// The target without a memory limit, for what a recipe takes unhindered.
    without_limit: Target,
    width: u32,
    measured: Option<&'a Results>,
}

impl Checker<'_> {
    fn row(
        &self,
        part: GuidePart,
        name: String,
        recipe: Setup,
        stated_gb: Option<f64>,
        card_gb: Option<u32>,
    ) -> Result<GuideRow, AdviceError> {
        let config = recipe.config(self.width)?;
        let prediction = self.predict(&config)?;
        let fits = |target: &Target| Ok::<_, AdviceError>(target.fit_as_it_is(&config)?.is_some());
        let its_card = |gb: u32| self.target.with_free(Some(Bytes(u64::from(gb) * GB)));
        Ok(GuideRow {
            part,
            name,
            recipe,
            stated_gb,
            allocated_bytes: prediction.allocated_bytes,
            reserved_bytes: prediction.reserved_bytes,
            total_bytes: prediction.total_bytes,
            verdict: stated_gb.map(|gb| stated(gb, prediction.allocated_bytes)),
            card_gb,
            fits_its_card: card_gb.map(|gb| fits(&its_card(gb))).transpose()?,
            fits_here: fits(self.target)?,
            measured_bytes: self.measured_bytes(&config),
        })
    }

    fn predict(&self, config: &RunConfig) -> Result<Forecast, EstimateError> {
        let prediction = self.without_limit.predict(config)?;
        prediction.ok_or(EstimateError::PolicyAuto)
    }

    /// The widths that the guide's figures describe.
    fn baseline_holds_at(&self) -> Result<Option<(u32, u32)>, AdviceError> {
        let mut found = None;
        let row = &TABLE[0];
        for width in WIDTHS {
            let prediction = self.predict(&row.recipe.config(width)?)?;
            match stated(row.stated_gb, prediction.allocated_bytes) {
                Stated::Holds => found = Some((found.map_or(width, |(least, _)| least), width)),
                // Memory grows with the width.
                Stated::TooLow(_) => break,
                Stated::TooHigh(_) => {}
            }
        }
        Ok(found)
    }

    fn claim(&self, claim: &Claim) -> Result<ClaimCheck, AdviceError> {
        // If the effect of the memory format is not predicted, only the other switches count.
        let against = if is_predicted(claim) {
            claim.against
        } else {
            Setup {
                use_channels_last: claim.of.use_channels_last,
                ..claim.against
            }
        };
        let (mut predicted_percent, mut predicted_total_percent) = (None, None);
        if is_predicted(claim) || has_other_switches(claim) {
            let of = self.predict(&claim.of.config(self.width)?)?;
            let against = self.predict(&against.config(self.width)?)?;
            let percent = |figure: fn(&Forecast) -> f64| {
                Some(claim.percent_of(figure(&of), figure(&against)))
            };
            if claim.quantity == Quantity::Memory {
                predicted_percent = percent(|it| it.allocated_bytes as f64);
                predicted_total_percent = percent(|it| it.total_bytes as f64);
            } else {
                predicted_percent = percent(|it| it.images_per_second);
            }
        }
        let measured = |recipe: &Setup| {
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
            verdict: claim.judge(predicted_percent.filter(|_| is_predicted(claim))),
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

/// The guide's GB are read as GiB, the larger of the two units, since GPU tools print GiB.
fn stated(gb: f64, bytes: u64) -> Stated {
    Stated::of(gb, Bytes(bytes).as_gib())
}

/// Whether a prediction covers the claim: the model of time knows one memory format only.
fn is_predicted(claim: &Claim) -> bool {
    claim.quantity == Quantity::Memory
        || claim.of.use_channels_last == claim.against.use_channels_last
}

/// Whether the setups differ in more than the memory format.
fn has_other_switches(claim: &Claim) -> bool {
    (claim.of.use_amp, claim.of.use_grad_checkpoint)
        != (claim.against.use_amp, claim.against.use_grad_checkpoint)
}

#[cfg(test)]
mod tests {
    use machine::Device;

    use super::*;

    fn of(width: u32) -> GuideCheck {
        let card = machine::Hardware::typical().unwrap();
        let device = Device::Given {
            memory: card.memory,
            card: Some(card),
        };
        check(&Target::of(&device), width, None).unwrap()
    }

    /// The guide's 2.8 GB match a network a quarter as wide.
    #[test]
    fn the_baselines_verdict_is_of_the_width() {
        let baseline = |width| {
            let rows = of(width).rows;
            rows.into_iter().find(|row| row.name == "baseline").unwrap()
        };
        assert_eq!(baseline(16).verdict, Some(Stated::Holds));
        let wide = baseline(64);
        let Some(Stated::TooLow(times)) = wide.verdict else {
            panic!("{wide:?}");
        };
        assert!((4.0..5.0).contains(&times), "{times}");
        assert_eq!((wide.fits_here, wide.fits_its_card), (false, Some(false)));
        assert!(baseline(16).fits_here);
    }

    #[test]
    fn what_a_memory_format_does_to_speed_is_not_predicted() {
        let claims = of(64).claims;
        let speed = |about| {
            let of =
                |it: &&ClaimCheck| (it.claim.about, it.claim.quantity) == (about, Quantity::Speed);
            *claims.iter().find(of).unwrap()
        };
        let formats = speed("channels-last");
        assert_eq!(
            (formats.verdict, formats.predicted_percent),
            (Verdict::NotPredicted, None)
        );
        assert_eq!(speed("all three").verdict, Verdict::NotPredicted);
        assert!(speed("all three").predicted_percent.is_some());
        assert_ne!(speed("AMP").verdict, Verdict::NotPredicted);
    }

    #[test]
    fn every_part_of_the_guide_is_there() {
        let check = of(64);
        let count = |part| check.rows.iter().filter(|row| row.part == part).count();
        let counts = [GuidePart::Example, GuidePart::Table, GuidePart::Preset].map(count);
        assert_eq!(counts, [EXAMPLES.len(), TABLE.len(), presets().len()]);
        assert_eq!(check.claims.len(), CLAIMS.len());
    }
}
