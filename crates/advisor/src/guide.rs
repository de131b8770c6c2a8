//! The guide's figures, kept as it states them: its table, its two worked
//! examples. Its presets are in `config`.
//!
//! The figures are not ours, and are known to be too low at width 64; what a
//! simulation found stands beside them where there is one.

use config::ImageSize;
use estimator::Bytes;
use serde::Serialize;

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
    /// Peak of tensor bytes at width 64, where a simulation gives it.
    ///
    /// PyTorch 2.11's memory tracker on fake tensors, optimizer state present:
    /// linear in the batch at 512x512, 355.2 + 1,438.0 N MiB in fp32 and about
    /// 414 + 752.5 N MiB with AMP; with AMP and each double convolution
    /// checkpointed one point, 4,209 MiB at batch 8. Channels-last does not change
    /// what is saved. Without CUDA context, workspaces and rounding.
    pub fn simulated(&self) -> Option<Bytes> {
        let mib = match (self.use_amp, self.use_grad_checkpoint) {
            _ if self.img_size != SQUARE => return None,
            (false, false) => 355.2 + 1_438.0 * f64::from(self.batch),
            (true, false) => 414.0 + 752.5 * f64::from(self.batch),
            (true, true) if self.batch == 8 => 4_209.0,
            (false, true) if self.batch == 8 => 7_539.0,
            (_, true) => return None,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and at most a few million"
        )]
        let mib = mib.round() as u64;
        Some(Bytes::from_mib(mib))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_simulated_points() {
        let mib = |recipe: Recipe| recipe.simulated().map(|bytes| bytes.0 / Bytes::MIB);
        assert_eq!(mib(NONE), Some(11_859));
        assert_eq!(mib(AMP), Some(6_434));
        assert_eq!(mib(AMP_CL), mib(AMP));
        assert_eq!(mib(ALL), Some(4_209));
        assert_eq!(mib(TABLE[4].recipe), Some(9_444));
        assert_eq!(mib(TABLE[5].recipe), None);
        assert_eq!(mib(TABLE[6].recipe), None);
    }

    #[test]
    fn no_row_of_the_guide_holds_at_width_64() {
        for row in TABLE {
            if let Some(bytes) = row.recipe.simulated() {
                assert!(bytes.0 as f64 > row.stated_gb * 1e9, "{}", row.name);
            }
        }
    }

    #[test]
    fn the_examples_agree_with_the_presets() {
        let best = config::resolve(Some("best-balance"), None, config::Overrides::default());
        let best = best.unwrap().config;
        let recipe = EXAMPLES[0].recipe;
        assert_eq!((recipe.img_size, recipe.batch), (best.img_size, best.batch));
        let speed = config::resolve(Some("speed"), None, config::Overrides::default());
        let speed = speed.unwrap().config;
        assert_eq!((SPEED.img_size, SPEED.batch), (speed.img_size, speed.batch));
        assert!(!SPEED.use_amp && !speed.use_amp && !speed.use_grad_checkpoint);
    }
}
