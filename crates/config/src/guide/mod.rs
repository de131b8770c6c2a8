//! The guide's figures, exactly as the guide states them: its table, its worked examples and its
//! claims. The guide's presets are this crate's presets ([`crate::presets`]).
//!
//! The figures are not ours, and they are known to be too low at width 64. This module also judges
//! them, in the same way for predictions and measurements: [`Claim::judge`] and [`Stated::of`].

mod claims;

use serde::Serialize;

pub use claims::{CLAIMS, Claim, Quantity, Verdict};

use crate::error::ConfigError;
use crate::image_size::ImageSize;
use crate::overrides::Overrides;
use crate::resolve::resolve;
use crate::run::RunConfig;

/// A setup of the guide: size, batch and the three switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Setup {
    /// Size of the images.
    pub img_size: ImageSize,
    /// Images per step.
    pub batch: u32,
    /// Mixed precision.
    pub use_amp: bool,
    /// Gradient checkpointing of each double convolution.
    pub use_grad_checkpoint: bool,
    /// Channels-last memory format.
    pub use_channels_last: bool,
}

/// A row of the guide's memory table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TableRow {
    /// The guide's name for the row.
    pub name: &'static str,
    /// The setup.
    pub recipe: Setup,
    /// Memory that the guide states, in the guide's GB.
    pub stated_gb: f64,
    /// Smallest card that the guide recommends for it, in the guide's GB.
    pub card_gb: u32,
}

/// A worked example: a card and the setup that the guide gives for it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Example {
    /// The card, in the guide's GB.
    pub card_gb: u32,
    /// The setup that the guide gives.
    pub recipe: Setup,
    /// Whether the guide recommends this setup for that card.
    pub recommended: bool,
}

/// The verdict on a stated memory figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stated {
    /// It is within 10 % of the true figure.
    Holds,
    /// The true figure is larger, by this factor.
    TooLow(f64),
    /// The true figure is smaller, by this factor.
    TooHigh(f64),
}

/// How far off a stated memory figure may be and still hold: the guide may have counted
/// differently.
const TOLERANCE: f64 = 0.1;

const SQUARE: ImageSize = ImageSize::new(512, 512);
const WIDE: ImageSize = ImageSize::new(384, 512);

/// The guide's baseline: all switches off.
pub const BASELINE: Setup = Setup {
    img_size: SQUARE,
    batch: 8,
    use_amp: false,
    use_grad_checkpoint: false,
    use_channels_last: false,
};
const AMP: Setup = Setup {
    use_amp: true,
    ..BASELINE
};
const AMP_CL: Setup = Setup {
    use_channels_last: true,
    ..AMP
};
const ALL: Setup = Setup {
    use_grad_checkpoint: true,
    ..AMP_CL
};
const CHECKPOINT: Setup = Setup {
    use_grad_checkpoint: true,
    ..BASELINE
};
/// The image size and batch of the preset `max-memory`.
const SMALL: Setup = Setup {
    img_size: WIDE,
    batch: 16,
    ..BASELINE
};

/// The setup of the preset `speed`.
pub const SPEED: Setup = Setup {
    use_channels_last: true,
    ..BASELINE
};

const fn row(name: &'static str, recipe: Setup, stated_gb: f64, card_gb: u32) -> TableRow {
    TableRow {
        name,
        recipe,
        stated_gb,
        card_gb,
    }
}

/// The guide's table, in the guide's order.
pub const TABLE: [TableRow; 7] = [
    row("baseline", BASELINE, 2.8, 6),
    row("AMP", AMP, 1.5, 4),
    row("AMP + channels-last", AMP_CL, 1.4, 4),
    row("all three", ALL, 1.0, 2),
    row("AMP", Setup { batch: 12, ..AMP }, 2.3, 6),
    row("all three", Setup { batch: 16, ..ALL }, 2.0, 6),
    row(
        "all three",
        Setup {
            batch: 16,
            img_size: WIDE,
            ..ALL
        },
        1.5,
        4,
    ),
];

/// The guide's worked examples.
pub const EXAMPLES: [Example; 3] = [
    Example {
        card_gb: 12,
        recipe: Setup {
            batch: 12,
            ..AMP_CL
        },
        recommended: true,
    },
    Example {
        card_gb: 12,
        recipe: Setup { batch: 16, ..ALL },
        recommended: false,
    },
    Example {
        card_gb: 8,
        recipe: Setup {
            batch: 10,
            img_size: WIDE,
            ..ALL
        },
        recommended: true,
    },
];

impl Setup {
    /// The switches, the image size and the batch of a configuration.
    pub const fn of(config: &RunConfig) -> Self {
        Self {
            img_size: config.img_size,
            batch: config.batch,
            use_amp: config.use_amp,
            use_grad_checkpoint: config.use_grad_checkpoint,
            use_channels_last: config.use_channels_last,
        }
    }

    /// The configuration that the guide would run at this width; it checkpoints double
    /// convolutions.
    ///
    /// # Errors
    /// If the width is out of range.
    pub fn config(&self, width: u32) -> Result<RunConfig, ConfigError> {
        let flags = Overrides {
            img_size: Some(self.img_size),
            batch: Some(self.batch),
            width: Some(width),
            use_amp: Some(self.use_amp),
            use_grad_checkpoint: Some(self.use_grad_checkpoint),
            use_channels_last: Some(self.use_channels_last),
            ..Overrides::default()
        };
        Ok(resolve(None, None, flags)?.config)
    }
}

impl Stated {
    /// The verdict on `stated`, given the true figure in the same unit.
    pub fn of(stated: f64, truth: f64) -> Self {
        let ratio = truth / stated;
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
    use super::*;

    #[test]
    fn the_examples_agree_with_the_presets() {
        let preset = |name| {
            let resolved = resolve(Some(name), None, Overrides::default());
            resolved.unwrap().config
        };
        let (best, recipe) = (preset("best-balance"), EXAMPLES[0].recipe);
        assert_eq!((recipe.img_size, recipe.batch), (best.img_size, best.batch));
        let speed = preset("speed");
        assert_eq!((SPEED.img_size, SPEED.batch), (speed.img_size, speed.batch));
        assert!(!SPEED.use_amp && !speed.use_amp && !speed.use_grad_checkpoint);
    }

    #[test]
    fn a_stated_memory_holds_within_a_tenth() {
        assert_eq!(Stated::of(2.0, 2.1), Stated::Holds);
        assert_eq!(Stated::of(2.0, 4.0), Stated::TooLow(2.0));
        assert_eq!(Stated::of(2.0, 1.0), Stated::TooHigh(2.0));
    }
}
