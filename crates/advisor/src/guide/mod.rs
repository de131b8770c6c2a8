//! The guide's figures, kept as it states them: its table, its worked examples, its claims. Its
//! presets are in `config`.
//!
//! The figures are not ours, and are known to be too low at width 64: [`check`] puts predictions
//! beside them.

mod check;
mod claims;
mod json;
mod text;

use config::{ConfigError, ImageSize, Overrides, RunConfig, resolve};
use serde::Serialize;

pub use check::{Check, Measurements, Part, Verdict, check};
pub use claims::{CLAIMS, Claim, ClaimCheck, ClaimVerdict, Quantity};
pub use json::to_json;
pub use text::to_text;

/// A recipe of the guide: size, batch and the three switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Recipe {
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

/// A row of the guide's table of memory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The guide's name of the row.
    pub name: &'static str,
    /// The recipe.
    pub recipe: Recipe,
    /// Memory that the guide states, in its GB.
    pub stated_gb: f64,
    /// Smallest card that the guide recommends for it, in its GB.
    pub card_gb: u32,
}

/// A worked example: a card, a problem, an answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Example {
    /// The card, in the guide's GB.
    pub card_gb: u32,
    /// The answer.
    pub recipe: Recipe,
    /// Whether it is the answer that the guide recommends for that card.
    pub recommended: bool,
}

const SQUARE: ImageSize = ImageSize::new(512, 512);
const WIDE: ImageSize = ImageSize::new(384, 512);

const NONE: Recipe = Recipe {
    img_size: SQUARE,
    batch: 8,
    use_amp: false,
    use_grad_checkpoint: false,
    use_channels_last: false,
};
const AMP: Recipe = Recipe {
    use_amp: true,
    ..NONE
};
const AMP_CL: Recipe = Recipe {
    use_channels_last: true,
    ..AMP
};
const ALL: Recipe = Recipe {
    use_grad_checkpoint: true,
    ..AMP_CL
};
const CHECKPOINT: Recipe = Recipe {
    use_grad_checkpoint: true,
    ..NONE
};
/// The work of the preset `max-memory`.
const SMALL: Recipe = Recipe {
    img_size: WIDE,
    batch: 16,
    ..NONE
};

/// The recipe of the preset `speed`.
pub const SPEED: Recipe = Recipe {
    use_channels_last: true,
    ..NONE
};

const fn row(name: &'static str, recipe: Recipe, stated_gb: f64, card_gb: u32) -> Row {
    Row {
        name,
        recipe,
        stated_gb,
        card_gb,
    }
}

/// The guide's table, in its order.
pub const TABLE: [Row; 7] = [
    row("baseline", NONE, 2.8, 6),
    row("AMP", AMP, 1.5, 4),
    row("AMP + channels-last", AMP_CL, 1.4, 4),
    row("all three", ALL, 1.0, 2),
    row("AMP", Recipe { batch: 12, ..AMP }, 2.3, 6),
    row("all three", Recipe { batch: 16, ..ALL }, 2.0, 6),
    row(
        "all three",
        Recipe {
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
        recipe: Recipe {
            batch: 12,
            ..AMP_CL
        },
        recommended: true,
    },
    Example {
        card_gb: 12,
        recipe: Recipe { batch: 16, ..ALL },
        recommended: false,
    },
    Example {
        card_gb: 8,
        recipe: Recipe {
            batch: 10,
            img_size: WIDE,
            ..ALL
        },
        recommended: true,
    },
];

impl Recipe {
    /// The switches and the work of a configuration.
    pub const fn of(config: &RunConfig) -> Self {
        Self {
            img_size: config.img_size,
            batch: config.batch,
            use_amp: config.use_amp,
            use_grad_checkpoint: config.use_grad_checkpoint,
            use_channels_last: config.use_channels_last,
        }
    }

    /// As the guide would run it, at a width: it checkpoints double convolutions.
    ///
    /// # Errors
    /// For a width out of its range.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_agree_with_the_presets() {
        let best = resolve(Some("best-balance"), None, Overrides::default());
        let best = best.unwrap().config;
        let recipe = EXAMPLES[0].recipe;
        assert_eq!((recipe.img_size, recipe.batch), (best.img_size, best.batch));
        let speed = resolve(Some("speed"), None, Overrides::default());
        let speed = speed.unwrap().config;
        assert_eq!((SPEED.img_size, SPEED.batch), (speed.img_size, speed.batch));
        assert!(!SPEED.use_amp && !speed.use_amp && !speed.use_grad_checkpoint);
    }
}
