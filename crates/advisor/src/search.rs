//! One search for recipes on a device, over the plans of many configurations. A search caches its
//! results, since the classes of changes meet the same configurations again and again.

use config::RunConfig;
use estimator::{EstimateError, Forecast, Planned, Planner};
use schedule::Plan;

use crate::fit::{Fit, with_plan};
use crate::target::Target;

/// How often the search retries with a smaller budget if the allocator cannot place the tensors of a plan.
const MOST_TRIES: usize = 8;
/// Each retry lowers the budget by one part in this many.
const LESS: u64 = 32;

/// How much a search has looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Searched {
    /// The number of steps whose plans were searched. Steps differ in batch, accumulation,
    /// precision or form of the concatenation.
    pub steps: usize,
    /// The number of recipes (one per step and checkpoint plan) that were decided: either walked or
    /// ruled out by a bound. For a step whose search was cut short, only walked recipes count.
    pub recipes: u64,
    /// The number of these that were walked operation by operation.
    pub walked: u64,
    /// The number of recipes that were predicted in full, including the allocator, validation and time.
    pub predicted: usize,
}

/// What the search knows about a device so far.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    target: &'a Target,
    predictions: Known<Option<Forecast>>,
    planners: Known<Planner>,
    fastest: Known<Option<Fit>>,
    smallest: Known<Plan>,
}

/// Values by configuration; there are a few dozen.
#[derive(Debug)]
struct Known<T>(Vec<(RunConfig, T)>);

impl<T> Known<T> {
    fn get(&self, config: &RunConfig) -> Option<&T> {
        let (_, value) = self.0.iter().find(|(of, _)| of == config)?;
        Some(value)
    }

    fn keep(&mut self, config: &RunConfig, value: T) {
        self.0.push((config.clone(), value));
    }
}

impl<'a> Search<'a> {
    /// Begins a search.
    pub(crate) const fn on(target: &'a Target) -> Self {
        Self {
            target,
            predictions: Known(Vec::new()),
            planners: Known(Vec::new()),
            fastest: Known(Vec::new()),
            smallest: Known(Vec::new()),
        }
    }

    pub(crate) const fn target(&self) -> &'a Target {
        self.target
    }

    /// How much the search has looked at so far.
    pub(crate) fn searched(&self) -> Searched {
        let mut searched = Searched {
            steps: self.planners.0.len(),
            predicted: self.predictions.0.len(),
            ..Searched::default()
        };
        for (_, planner) in &self.planners.0 {
            let walked = planner.num_walks() as u64;
            searched.walked += walked;
            searched.recipes += if planner.is_exact() {
                planner.num_plans()
            } else {
                walked
            };
        }
        searched
    }

    /// See [`Target::fit_as_it_is`]; `None` as well for a batch above [`Target::largest_batch`].
    pub(crate) fn fit_as_it_is(
        &mut self,
        config: &RunConfig,
    ) -> Result<Option<Fit>, EstimateError> {
        if u64::from(config.batch) > self.target.largest_batch(config) {
            return Ok(None);
        }
        let prediction = self.predict(config)?;
        Ok(prediction.and_then(|prediction| self.target.fit_of(config, &prediction)))
    }

    fn predict(&mut self, config: &RunConfig) -> Result<Option<Forecast>, EstimateError> {
        if let Some(prediction) = self.predictions.get(config) {
            return Ok(*prediction);
        }
        let prediction = if_known(self.target.predict(config).transpose())?;
        self.predictions.keep(config, prediction);
        Ok(prediction)
    }

    /// Finds the smallest plan that takes at most `slower` times as long as the fastest.
    pub(crate) fn smallest_within(
        &mut self,
        config: &RunConfig,
        slower: f64,
    ) -> Result<Option<Fit>, EstimateError> {
        let Some(planner) = self.planner(config)? else {
            return Ok(None);
        };
        let chosen = planner.smallest_within(slower)?;
        self.fit_as_it_is(&with_plan(config, &chosen.plan))
    }

    /// Finds the fastest of all plans that fit; the policy of `config` is ignored.
    pub(crate) fn fastest_plan(
        &mut self,
        config: &RunConfig,
    ) -> Result<Option<Fit>, EstimateError> {
        let off = config.clone().without_checkpointing();
        if let Some(fit) = self.fastest.get(&off) {
            return Ok(fit.clone());
        }
        let fit = self.find_fastest_plan(&off)?;
        self.fastest.keep(&off, fit.clone());
        Ok(fit)
    }

    fn find_fastest_plan(&mut self, config: &RunConfig) -> Result<Option<Fit>, EstimateError> {
        let context = self.target.context();
        let budget = self.target.budget().map_or(u64::MAX, |budget| budget.0);
        let mut of_tensors = budget.saturating_sub(context.0);
        for _try in 0..MOST_TRIES {
            let Some(planner) = self.planner(config)? else {
                return Ok(None);
            };
            let Some(Planned { plan, .. }) = planner.fastest_within(of_tensors)? else {
                return Ok(None);
            };
            let fit = self.fit_as_it_is(&with_plan(config, &plan))?;
            if fit.is_some() {
                return Ok(fit);
            }
            of_tensors -= of_tensors / LESS;
        }
        Ok(None)
    }

    /// Finds the plan with the lowest peak, whether it fits or not; the policy of `config` is ignored.
    pub(crate) fn smallest_plan(&mut self, config: &RunConfig) -> Result<Plan, EstimateError> {
        let off = config.clone().without_checkpointing();
        if let Some(plan) = self.smallest.get(&off) {
            return Ok(plan.clone());
        }
        let plan = match self.planner(&off)? {
            Some(planner) => planner.smallest()?.plan,
            None => Plan::mixed(&config.network(), config.split_concat),
        };
        self.smallest.keep(&off, plan.clone());
        Ok(plan)
    }

    fn planner(&mut self, config: &RunConfig) -> Result<Option<&mut Planner>, EstimateError> {
        let off = config.clone().without_checkpointing();
        if self.planners.get(&off).is_none() {
            let Some(planner) = if_known(Some(self.target.planner(&off)))? else {
                return Ok(None);
            };
            self.planners.keep(&off, planner);
        }
        let mut known = self.planners.0.iter_mut();
        Ok(known.find(|(of, _)| *of == off).map(|(_, planner)| planner))
    }
}

impl Target {
    /// Returns the configuration unchanged, if it fits.
    ///
    /// # Errors
    /// Fails as [`Target::predict`] does.
    pub fn fit_as_it_is(&self, config: &RunConfig) -> Result<Option<Fit>, EstimateError> {
        let prediction = self.predict(config)?;
        Ok(prediction.and_then(|prediction| self.fit_of(config, &prediction)))
    }

    /// The largest batch that is recommended. On a GPU its tensors, of which the concatenation of the first level is
    /// the largest, have fewer than 2^31 numbers: above that, libtorch and cuDNN split the batch or take kernels with
    /// wider indices, which have not been measured.
    pub(crate) fn largest_batch(&self, config: &RunConfig) -> u64 {
        const NUMBERS: u64 = 1 << 31;
        if !self.is_cuda() {
            return u64::MAX;
        }
        let pixels = u64::from(config.img_size.height) * u64::from(config.img_size.width);
        let image = pixels.saturating_mul(2 * u64::from(config.width));
        (NUMBERS - 1) / image.max(1)
    }

    fn fit_of(&self, config: &RunConfig, prediction: &Forecast) -> Option<Fit> {
        self.fits(prediction).then(|| Fit {
            config: config.clone(),
            prediction: *prediction,
        })
    }
}

/// The search never returns a recipe whose memory is not predicted, or whose policy is not resolved yet.
fn if_known<T>(found: Option<Result<T, EstimateError>>) -> Result<Option<T>, EstimateError> {
    match found.transpose() {
        Err(EstimateError::Unknown(_) | EstimateError::PolicyAuto) => Ok(None),
        found => found,
    }
}
