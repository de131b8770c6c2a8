//! From the checkpoint policy of a run to what its backward rebuilds: the one place that knows what
//! each policy means.

use std::borrow::Cow;

use config::{CheckpointPolicy, Keep, Network, RunConfig};

use crate::compile::Target;
use crate::plan::Plan;

/// What backward rebuilds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recompute {
    /// Nothing.
    Off,
    /// Segments of autograd's graph.
    Segments(Segment),
    /// What a plan does not keep.
    Plan(Plan),
}

/// What one segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A double convolution, as in the guide.
    Block,
    /// A double convolution with the pooling behind it, or with the transposed convolution and the
    /// concatenation before it.
    Stage,
}

impl Recompute {
    /// What the policy in force stands for. `None` for `auto`, until a policy is chosen.
    pub fn of(config: &RunConfig) -> Option<Self> {
        let network = config.network();
        let plan = match (config.checkpoint_policy(), &config.grad_checkpoint_plan) {
            (CheckpointPolicy::Off, _) => return Some(Self::Off),
            (CheckpointPolicy::Block, _) => return Some(Self::Segments(Segment::Block)),
            (CheckpointPolicy::Stage, _) => return Some(Self::Segments(Segment::Stage)),
            (CheckpointPolicy::Selective, _) => Plan::selective(&network),
            (CheckpointPolicy::Mixed, Some(stages)) => Plan::new(stages.clone()),
            (CheckpointPolicy::Mixed, None) => Plan::mixed(&network, config.split_concat),
            (CheckpointPolicy::Auto, _) => return None,
        };
        Some(Self::Plan(plan.with_split_concat(config.split_concat)))
    }

    /// The plan that a step executes, if autograd does not run it: the one that keeps everything, for [`Self::Off`] on a
    /// target that fuses operations of a schedule.
    pub fn plan(
        &self,
        network: &Network,
        split_concat: bool,
        target: Target,
    ) -> Option<Cow<'_, Plan>> {
        match self {
            Self::Off if target.fused => {
                let plan = Plan::uniform(network, Keep::Everything);
                Some(Cow::Owned(plan.with_split_concat(split_concat)))
            }
            Self::Off | Self::Segments(_) => None,
            Self::Plan(plan) => Some(Cow::Borrowed(plan)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_but_auto_has_a_meaning() {
        for policy in CheckpointPolicy::ALL {
            let config = RunConfig::default().with_policy(*policy);
            let is_chosen = *policy != CheckpointPolicy::Auto;
            assert_eq!(Recompute::of(&config).is_some(), is_chosen, "{policy}");
        }
    }
}
