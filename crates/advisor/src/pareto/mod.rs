//! Computes memory against time over every checkpoint plan of a configuration, along with the named
//! policies.

mod svg;
mod text;

use config::{Bytes, CheckpointPolicy, Keep, PlanLetters, RunConfig};
use estimator::EstimateError;
use serde::Serialize;

use crate::fit::with_plan;
use crate::target::Target;

pub use svg::to_svg;
pub use text::{to_csv, to_json, to_text};

/// A way to run the configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The policy, if it has a name of its own. Only plans given as a list for `mixed` have none.
    pub policy: Option<CheckpointPolicy>,
    /// What each stage keeps, if the plan has no other name.
    pub plan: Option<Vec<Keep>>,
    /// The peak of tensor bytes.
    pub allocated_bytes: u64,
    /// The bytes that an allocator without a limit reserves; `None` on a CPU.
    pub reserved_bytes: Option<u64>,
    /// The bytes including the CUDA context.
    pub total_bytes: u64,
    /// The time of a step.
    pub step_seconds: f64,
    /// The speed of a step.
    pub images_per_second: f64,
    /// The time relative to the fastest.
    pub relative_time: f64,
    /// Whether it fits the device, where the allocator gives back cached memory under pressure.
    pub fits: bool,
    /// Whether no other point is both smaller and faster.
    pub on_front: bool,
}

/// The front and the named policies.
#[derive(Clone, Debug, PartialEq)]
pub struct Pareto {
    /// The configuration that is run; its policy varies.
    pub config: RunConfig,
    /// The front, from the fastest to the smallest.
    pub front: Vec<Point>,
    /// The named policies, from the largest to the smallest.
    pub policies: Vec<Point>,
    /// The most tensor bytes that fit, if the device is known.
    pub most_bytes: Option<u64>,
    /// Whether all plans were considered.
    pub is_exact: bool,
}

/// Each plan is smaller than the one before by at least this share. A smaller gain is useless, and
/// on steps so small that most plans take the same time the search would never end.
const STEP: f64 = 0.002;

/// Finds the front of a configuration.
///
/// # Errors
/// Fails as [`Target::predict`] does.
pub fn pareto(target: &Target, config: &RunConfig) -> Result<Pareto, EstimateError> {
    let config = config.clone().without_checkpointing();
    let without_limit = target.with_free(None);
    let point = |config: &RunConfig| -> Result<Point, EstimateError> {
        let prediction = without_limit
            .predict(config)?
            .ok_or(EstimateError::PolicyAuto)?;
        let plan = config.grad_checkpoint_plan.clone();
        Ok(Point {
            policy: plan.is_none().then(|| config.checkpoint_policy()),
            plan,
            allocated_bytes: prediction.allocated_bytes,
            reserved_bytes: prediction.reserved_bytes,
            total_bytes: prediction.total_bytes,
            step_seconds: prediction.step_seconds,
            images_per_second: prediction.images_per_second,
            relative_time: 1.0,
            fits: target.fit_as_it_is(config)?.is_some(),
            on_front: false,
        })
    };
    let mut planner = target.planner(&config)?;
    let mut all = Vec::new();
    for planned in planner.front(STEP)? {
        all.push(point(&with_plan(&config, &planned.plan))?);
    }
    for policy in CheckpointPolicy::NAMED {
        let policy = point(&config.clone().with_policy(*policy))?;
        // The same step may be there as a plan.
        let cost = |it: &Point| (it.allocated_bytes, it.step_seconds.to_bits());
        all.retain(|it| it.policy != policy.policy && cost(it) != cost(&policy));
        all.push(policy);
    }
    let fastest = all.iter().map(|it| it.step_seconds);
    let fastest = fastest.fold(f64::INFINITY, f64::min);
    all.sort_by(|a, b| {
        let key = |it: &Point| (it.step_seconds, it.allocated_bytes);
        key(a)
            .partial_cmp(&key(b))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    let mut least = u64::MAX;
    for it in &mut all {
        it.relative_time = it.step_seconds / fastest;
        it.on_front = it.allocated_bytes < least;
        least = least.min(it.allocated_bytes);
    }
    let mut policies: Vec<Point> = all
        .iter()
        .filter(|it| it.policy.is_some())
        .cloned()
        .collect();
    policies.sort_by_key(|it| std::cmp::Reverse(it.allocated_bytes));
    let Bytes(context) = target.context();
    Ok(Pareto {
        front: all.into_iter().filter(|it| it.on_front).collect(),
        policies,
        most_bytes: target
            .budget()
            .map(|Bytes(bytes)| bytes.saturating_sub(context)),
        is_exact: planner.is_exact(),
        config,
    })
}

impl Point {
    /// The policy's name, or a letter for each stage.
    pub fn name(&self) -> String {
        match (self.policy, &self.plan) {
            (Some(policy), _) => policy.to_string(),
            (None, Some(plan)) => PlanLetters(plan.clone()).to_string(),
            (None, None) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use machine::{Cpu, Processor};

    use super::*;

    #[test]
    fn nothing_beats_the_front() {
        let target = Target::new(Processor::Cpu(Cpu::avx512(2)), Some(Bytes(Bytes::GIB)));
        let config = RunConfig {
            width: 16,
            batch: 2,
            img_size: config::ImageSize::new(128, 192),
            ..RunConfig::default()
        };
        let found = pareto(&target, &config).unwrap();
        let off = Some(CheckpointPolicy::Off);
        assert!(
            found.front.iter().any(|it| it.policy == off),
            "it is a plan here"
        );
        assert!(
            found.is_exact && found.front.len() > 10,
            "{}",
            found.front.len()
        );
        assert!((found.front[0].relative_time - 1.0).abs() < 1e-9);
        for pair in found.front.windows(2) {
            assert!(pair[0].step_seconds <= pair[1].step_seconds);
            assert!(pair[0].allocated_bytes > pair[1].allocated_bytes);
        }
        assert_eq!(found.policies.len(), CheckpointPolicy::NAMED.len());
        for policy in found.policies.iter().filter(|it| !it.on_front) {
            assert!(found.front.iter().any(|it| {
                it.step_seconds <= policy.step_seconds
                    && it.allocated_bytes <= policy.allocated_bytes
            }));
        }
    }
}
