//! Rungs for overflowing gradients, for a non-finite loss, and for checkpointing that fails.

use config::{Precision, RunConfig};

use super::{Ladder, Rung, StepRecipe};

/// The guide's lower scale (its Q2), in place of 2^16.
const LOWER_SCALE: f64 = 1024.0;

impl Ladder {
    /// A precision with a wider range. `scale` is the scaler's scale if gradients overflow.
    pub(super) fn less_range(&mut self, recipe: &StepRecipe, scale: Option<f64>) -> Option<Rung> {
        if !recipe.precision.is_half() {
            return None;
        }
        if let Some(scale) = scale.filter(|scale| *scale > LOWER_SCALE)
            && !self.taken.is_scale_lowered
        {
            self.taken.is_scale_lowered = true;
            let lower = StepRecipe {
                config: RunConfig {
                    init_scale: LOWER_SCALE,
                    ..recipe.config.clone()
                },
                ..recipe.clone()
            };
            let (from, to) = (scale.to_string(), LOWER_SCALE.to_string());
            return Some(Rung {
                scale: Some(LOWER_SCALE),
                ..Rung::to(lower, "scale", &from, &to, false)
            });
        }
        if recipe.precision == Precision::Fp16 && self.means.has_bf16 {
            let bf16 = StepRecipe {
                config: recipe.config.clone().with_precision(Precision::Bf16),
                precision: Precision::Bf16,
                ..recipe.clone()
            };
            return Some(Rung::to(bf16, "AMP", "fp16", "bf16", false));
        }
        let off = StepRecipe {
            config: recipe.config.clone().with_precision(Precision::Fp32),
            precision: Precision::Fp32,
            ..recipe.clone()
        };
        // Activations double in size; if they no longer fit, the memory rungs take over.
        Some(Rung::to(
            off,
            "AMP",
            recipe.precision.as_str(),
            "off",
            false,
        ))
    }

    /// The other form of checkpointing, then no checkpointing.
    pub(super) fn other_checkpointing(&mut self, recipe: &StepRecipe) -> Option<Rung> {
        let policy = recipe.config.checkpoint_policy();
        if policy.has_segments() && !self.taken.is_form_changed {
            self.taken.is_form_changed = true;
            let use_reentrant = !recipe.config.use_reentrant;
            let other = StepRecipe {
                config: RunConfig {
                    use_reentrant,
                    ..recipe.config.clone()
                },
                ..recipe.clone()
            };
            let (from, to) = ((!use_reentrant).to_string(), use_reentrant.to_string());
            return Some(Rung::to(other, "use_reentrant", &from, &to, true));
        }
        self.without_checkpointing(recipe)
    }
}
