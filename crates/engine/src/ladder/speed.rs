//! Rungs for techniques that cost time and are not needed.

use config::{CheckpointPolicy, RunConfig};

use super::{Ladder, Rung, StepRecipe};

impl Ladder {
    /// Keeps all activations, if they are predicted to fit or memory is not predicted.
    pub(crate) fn without_checkpointing(&self, recipe: &StepRecipe) -> Option<Rung> {
        let policy = recipe.config.checkpoint_policy();
        if policy == CheckpointPolicy::Off {
            return None;
        }
        let off = StepRecipe {
            config: recipe.config.clone().without_checkpointing(),
            ..recipe.clone()
        };
        self.may_fit(&off)
            .then(|| Rung::to(off, "checkpointing", policy.as_str(), "off", true))
    }

    /// Drops channels-last. Kernels sum in a different order in the other memory format.
    pub(crate) fn without_channels_last(&self, recipe: &StepRecipe) -> Option<Rung> {
        if !recipe.config.use_channels_last {
            return None;
        }
        let first = StepRecipe {
            config: RunConfig {
                use_channels_last: false,
                ..recipe.config.clone()
            },
            ..recipe.clone()
        };
        self.may_fit(&first)
            .then(|| Rung::to(first, "channels-last", "on", "off", false))
    }

    fn may_fit(&self, recipe: &StepRecipe) -> bool {
        self.target.as_ref().is_none_or(|target| {
            let cost = target.predict(&recipe.as_predicted()).ok().flatten();
            cost.is_none_or(|cost| target.fits(&cost))
        })
    }
}
