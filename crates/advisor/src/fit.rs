//! Finds the nearest configuration that fits, and the fastest of the nearest ones.
//!
//! The order is the fallback ladder's: changes that leave every bit unchanged come first
//! (checkpoint policies), then split concatenation, which sums in another order and so rounds
//! differently, then AMP, then smaller micro-batches with the same effective batch, then a smaller
//! batch.

use config::{CheckpointPolicy, RunConfig};
use estimator::{EstimateError, Forecast};
use schedule::{Plan, Recompute};

use crate::search::Search;
use crate::target::Target;

/// A configuration that fits.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// What to run.
    pub config: RunConfig,
    /// Its predicted cost.
    pub prediction: Forecast,
}

/// The changes that the search may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a separate freedom")]
pub struct Freedom {
    /// The checkpoint policy, which leaves every bit unchanged.
    pub policy: bool,
    /// Splitting the concatenation, which sums in another order and so rounds differently.
    pub split_concat: bool,
    /// Turning AMP on.
    pub amp: bool,
    /// Smaller micro-batches; the effective batch stays.
    pub accumulation: bool,
    /// A smaller batch.
    pub batch: bool,
}

impl Freedom {
    /// All changes: for a suggestion, and for a run without `--strict`.
    pub const ALL: Self = Self {
        policy: true,
        split_concat: true,
        amp: true,
        accumulation: true,
        batch: true,
    };
    /// Only smaller micro-batches.
    pub const ACCUMULATION: Self = Self {
        accumulation: true,
        ..Self::NONE
    };
    /// No change to the configuration.
    pub const NONE: Self = Self {
        policy: false,
        ..Self::POLICY
    };
    /// Only the checkpoint policy.
    pub const POLICY: Self = Self {
        policy: true,
        split_concat: false,
        amp: false,
        accumulation: false,
        batch: false,
    };
}

/// A simpler policy is preferred if it costs at most this share of extra time.
const SIMPLER: f64 = 0.01;

impl Target {
    /// Finds the nearest configuration that fits; if the given one fits, it is the nearest.
    ///
    /// # Errors
    /// As [`Target::predict`].
    pub fn nearest(
        &self,
        config: &RunConfig,
        freedom: Freedom,
    ) -> Result<Option<Fit>, EstimateError> {
        Search::on(self).nearest(config, freedom)
    }

    /// Finds the fastest configuration that fits within the first class of changes in which any fits.
    ///
    /// # Errors
    /// As [`Target::predict`].
    pub fn fastest_of(
        &self,
        config: &RunConfig,
        freedom: Freedom,
    ) -> Result<Option<Fit>, EstimateError> {
        Search::on(self).fastest_of(config, freedom)
    }
}

impl Search<'_> {
    /// Finds the fastest checkpoint policy for a configuration whose batch, precision and switches
    /// stay unchanged. Returns `None` if no policy fits.
    fn fastest(
        &mut self,
        config: &RunConfig,
        freedom: Freedom,
    ) -> Result<Option<Fit>, EstimateError> {
        if !freedom.policy {
            return self.fit_as_it_is(config);
        }
        let off = config.clone().with_policy(CheckpointPolicy::Off);
        let off = self.fit_as_it_is(&off)?;
        let planned = self.fastest_plan(config)?;
        let selective = config.clone().with_policy(CheckpointPolicy::Selective);
        let selective = self.fit_as_it_is(&selective)?;
        let all = [off, selective, planned];
        let seconds = |fit: &Fit| fit.prediction.step_seconds;
        let least = all.iter().flatten().map(seconds).min_by(f64::total_cmp);
        // The simplest comes first.
        Ok(least.and_then(|least| {
            all.into_iter()
                .flatten()
                .find(|fit| seconds(fit) <= least * (1.0 + SIMPLER))
        }))
    }

    /// See [`Target::nearest`].
    pub(crate) fn nearest(
        &mut self,
        config: &RunConfig,
        freedom: Freedom,
    ) -> Result<Option<Fit>, EstimateError> {
        if let Some(fit) = self.fit_as_it_is(config)? {
            return Ok(Some(fit));
        }
        self.fastest_of(config, freedom)
    }

    /// See [`Target::fastest_of`].
    pub(crate) fn fastest_of(
        &mut self,
        config: &RunConfig,
        freedom: Freedom,
    ) -> Result<Option<Fit>, EstimateError> {
        if let Some(fit) = self.fastest(config, freedom)? {
            return Ok(Some(fit));
        }
        let mut config = config.clone();
        if freedom.split_concat && !config.split_concat {
            config.split_concat = true;
            if let Some(fit) = self.fastest(&config, freedom)? {
                return Ok(Some(fit));
            }
        }
        if freedom.amp && !config.use_amp && self.target().predicts_half(&config) {
            config.use_amp = true;
            if let Some(fit) = self.fastest(&config, freedom)? {
                return Ok(Some(fit));
            }
        }
        if freedom.accumulation
            && let Some(fit) = self.smaller_micro_batch(&config, freedom)?
        {
            return Ok(Some(fit));
        }
        if freedom.batch {
            config.accumulation = 1;
            return self.largest_batch(&config, config.batch, freedom);
        }
        Ok(None)
    }

    /// Finds the largest micro-batch that divides the effective batch and fits.
    fn smaller_micro_batch(
        &mut self,
        config: &RunConfig,
        freedom: Freedom,
    ) -> Result<Option<Fit>, EstimateError> {
        let effective = config.effective_batch();
        let Some(largest) = self.largest_batch(config, config.batch, freedom)? else {
            return Ok(None);
        };
        let divisor = (1..=u64::from(largest.config.batch))
            .rev()
            .find(|micro| effective.is_multiple_of(*micro));
        let Some((micro, times)) = divisor.and_then(|micro| {
            let times = u32::try_from(effective / micro).ok()?;
            Some((u32::try_from(micro).ok()?, times))
        }) else {
            return Ok(None);
        };
        let config = RunConfig {
            batch: micro,
            accumulation: times,
            ..config.clone()
        };
        self.fastest(&config, freedom)
    }

    /// Finds the largest batch up to `most` that fits under any policy, with its fastest policy.
    pub(crate) fn largest_batch(
        &mut self,
        config: &RunConfig,
        most: u32,
        freedom: Freedom,
    ) -> Result<Option<Fit>, EstimateError> {
        let with = |batch: u32| RunConfig {
            batch,
            ..config.clone()
        };
        if let Some(fit) = self.fastest(&with(most), freedom)? {
            return Ok(Some(fit));
        }
        // `fitting` fits and `too_large` does not: first under one plan, then under the smallest plan.
        let (mut fitting, mut too_large) = (0, most);
        let mut plan = Plan::mixed(&config.network(), config.split_concat);
        let mut found = None;
        let in_plan = |config: RunConfig, plan: &Plan| {
            if freedom.policy {
                with_plan(&config, plan)
            } else {
                config
            }
        };
        loop {
            while too_large - fitting > 1 {
                let middle = fitting + (too_large - fitting) / 2;
                match self.fit_as_it_is(&in_plan(with(middle), &plan))? {
                    Some(fit) => (fitting, found) = (middle, Some(fit)),
                    None => too_large = middle,
                }
            }
            if fitting + 1 >= most || !freedom.policy {
                break;
            }
            let next = with(fitting + 1);
            plan = self.smallest_plan(&next)?;
            match self.fit_as_it_is(&in_plan(next, &plan))? {
                Some(fit) => (fitting, found, too_large) = (fitting + 1, Some(fit), most),
                None => break,
            }
        }
        if found.is_none() {
            return Ok(None);
        }
        Ok(self.fastest(&with(fitting), freedom)?.or(found))
    }
}

/// Returns the configuration with a plan, under the shortest name that the plan has.
pub(crate) fn with_plan(config: &RunConfig, plan: &Plan) -> RunConfig {
    let is_the_plan_of = |named: &RunConfig| match Recompute::of(named) {
        Some(Recompute::Plan(other)) => other.stages == plan.stages,
        _ => false,
    };
    let scheduled = CheckpointPolicy::NAMED.iter();
    let scheduled = scheduled.filter(|policy| !policy.runs_autograd());
    scheduled
        .map(|policy| config.clone().with_policy(*policy))
        .find(is_the_plan_of)
        .unwrap_or_else(|| config.clone().with_plan(plan.stages.clone()))
}
