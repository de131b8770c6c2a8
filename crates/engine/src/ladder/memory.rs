//! Rungs for a step that runs out of memory.

use advisor::{Fit, Freedom, Target};
use config::{Bytes, RunConfig};

use super::{Ladder, Rung, StepRecipe};
use crate::guard::MemoryPlace;

/// A recipe must be predicted to take at least 1/50 less memory than the one that failed.
const LESS: u64 = 50;

/// How many budgets are tried, in equal steps down.
const BUDGETS: u64 = 16;

/// Classes of changes, ordered so that each leaves as much as possible unchanged.
const CLASSES: [Freedom; 3] = {
    let policy = Freedom::POLICY;
    let split = Freedom {
        split_concat: true,
        ..policy
    };
    [policy, split, Freedom { amp: true, ..split }]
};

impl Ladder {
    pub(super) fn less_memory(
        &mut self,
        recipe: &StepRecipe,
        shortfall_bytes: Option<u64>,
    ) -> Option<Rung> {
        if !self.taken.is_retry_spent {
            self.taken.is_retry_spent = true;
            return Some(Self::once_more(recipe));
        }
        self.smaller(recipe, shortfall_bytes)
    }

    /// Rungs for memory that other programs use as well; `None` if this run cannot free that much.
    pub(super) fn relieve(
        &mut self,
        recipe: &StepRecipe,
        place: MemoryPlace,
        excess_bytes: u64,
    ) -> Option<Rung> {
        if !self.taken.is_patience_spent {
            self.taken.is_patience_spent = true;
            return Some(Self::once_more(recipe));
        }
        // On a GPU, a step takes the same amount of the machine's memory with every recipe.
        let is_elsewhere = place == MemoryPlace::Ram && self.means.is_cuda;
        let taken = self.predicted_bytes(recipe);
        if is_elsewhere || taken.is_some_and(|taken| taken < excess_bytes) {
            return None;
        }
        self.smaller(recipe, Some(excess_bytes))
    }

    fn once_more(recipe: &StepRecipe) -> Rung {
        Rung::to(recipe.clone(), "step", "failed", "retried", true)
    }

    fn smaller(&self, recipe: &StepRecipe, shortfall_bytes: Option<u64>) -> Option<Rung> {
        let smaller = match &self.target {
            Some(_) => self.predicted_smaller(recipe, shortfall_bytes.unwrap_or(0)),
            None => self.next_smaller(recipe),
        };
        smaller.or_else(|| Self::smaller_micro_batch(recipe))
    }

    /// A rung from the first class of changes with a recipe that is predicted to save enough memory.
    ///
    /// A budget also limits what the allocator may cache, so the recipe that just failed can be
    /// predicted to fit. Only a recipe whose tensors take less is a rung, and the budget falls until
    /// there is one.
    fn predicted_smaller(&self, recipe: &StepRecipe, shortfall: u64) -> Option<Rung> {
        let target = self.target.as_ref()?;
        let taken = self.predicted_bytes(recipe)?;
        let first = taken
            .saturating_sub(shortfall)
            .saturating_sub(taken / LESS)
            .min(target.budget().map_or(u64::MAX, |budget| budget.0));
        let mut budgets = (0..BUDGETS).map(|nth| first - first / BUDGETS * nth);
        let within =
            |budget| self.smaller_within(&target.clone().with_budget(Bytes(budget)), recipe);
        budgets.find_map(within)
    }

    fn smaller_within(&self, target: &Target, recipe: &StepRecipe) -> Option<Rung> {
        let now = recipe.as_predicted();
        let held = target.predict(&now).ok().flatten()?.allocated_bytes;
        for class in CLASSES {
            let freedom = Freedom {
                policy: class.policy && self.means.freedom.policy,
                split_concat: class.split_concat && self.means.freedom.split_concat,
                amp: class.amp && self.means.freedom.amp && self.means.amp.is_some(),
                accumulation: false,
                batch: false,
            };
            if let Ok(Some(Fit { config, prediction })) = target.fastest_of(&now, freedom)
                && prediction.allocated_bytes < held
            {
                return Some(self.rung_to(recipe, &config));
            }
        }
        None
    }

    /// Without a prediction: the policies from most to least memory.
    fn next_smaller(&self, recipe: &StepRecipe) -> Option<Rung> {
        let config = &recipe.config;
        let smaller = (config.checkpoint_policy().next_smaller())
            .filter(|_| self.means.freedom.policy)
            .map(|policy| RunConfig {
                use_reentrant: false,
                ..config.clone().with_policy(policy)
            });
        let split = || {
            (self.means.freedom.split_concat && !config.split_concat).then(|| RunConfig {
                split_concat: true,
                ..config.clone()
            })
        };
        smaller
            .or_else(split)
            .map(|config| self.rung_to(recipe, &config))
    }

    /// The rung to the advisor's choice, whose batch is the micro-batch.
    fn rung_to(&self, recipe: &StepRecipe, chosen: &RunConfig) -> Rung {
        let config = RunConfig {
            batch: recipe.config.batch,
            accumulation: recipe.config.accumulation,
            ..chosen.clone()
        };
        let turns_amp_on = config.use_amp && !recipe.config.use_amp;
        let splits = config.split_concat && !recipe.config.split_concat;
        let is_bit_exact = !turns_amp_on && !splits;
        let (from, to) = (in_words(&recipe.config), in_words(&config));
        let next = StepRecipe {
            precision: self
                .means
                .amp
                .filter(|_| turns_amp_on)
                .unwrap_or(recipe.precision),
            config,
            ..recipe.clone()
        };
        Rung::to(next, "checkpointing", &from, &to, is_bit_exact)
    }

    /// Half as many images at a time, or the next smaller number that divides the batch: otherwise the
    /// loss would be a mean over micro-batches of unequal size.
    fn smaller_micro_batch(recipe: &StepRecipe) -> Option<Rung> {
        let batch = recipe.config.batch;
        let half = recipe.micro_batch.min(batch) / 2;
        let micro_batch = (1..=half)
            .rev()
            .find(|micro| batch.is_multiple_of(*micro))?;
        let next = StepRecipe {
            micro_batch,
            ..recipe.clone()
        };
        let (from, to) = (recipe.micro_batch.to_string(), micro_batch.to_string());
        Some(Rung::to(next, "images at a time", &from, &to, false))
    }
}

fn in_words(config: &RunConfig) -> String {
    let amp = if config.use_amp { ", AMP" } else { "" };
    format!("{}{amp}", config.checkpointing())
}
