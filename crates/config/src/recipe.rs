//! How a step is run, as opposed to what is trained, and both in words.

use std::fmt;

use crate::choices::{CheckpointPolicy, Keep, choices};
use crate::image_size::ImageSize;
use crate::plan_letters::PlanLetters;
use crate::precision::Precision;
use crate::run::RunConfig;

choices! {
    /// The order in which the numbers of an image lie in memory.
    MemoryFormat, "memory format", "`channels-last` or `channels-first`" {
        /// Pixel by pixel (NHWC).
        ChannelsLast = "channels-last",
        /// Channel by channel (NCHW); libtorch's default.
        ChannelsFirst = "channels-first",
    }
}

impl MemoryFormat {
    /// The format that the switch `use_channels_last` stands for.
    pub const fn of(channels_last: bool) -> Self {
        if channels_last {
            Self::ChannelsLast
        } else {
            Self::ChannelsFirst
        }
    }

    /// Whether it is channels-last.
    pub const fn is_channels_last(self) -> bool {
        matches!(self, Self::ChannelsLast)
    }
}

/// How a step is run. In words: `bf16, channels-last, selective + split`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recipe {
    /// Number format of convolutions.
    pub precision: Precision,
    /// Memory format of images, weights and activations.
    pub memory_format: MemoryFormat,
    /// What backward recomputes.
    pub checkpointing: Checkpointing,
    /// Forward passes per optimizer step.
    pub accumulation: u32,
}

/// What backward recomputes. In words: `off`, `selective + split`, `mixed NNNNNNLNC`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checkpointing {
    /// The policy in force.
    pub policy: CheckpointPolicy,
    /// What each stage keeps under the policy `mixed`; `None` is the built-in plan.
    pub plan: Option<PlanLetters>,
    /// Whether the halves of each concatenation are convolved apart.
    pub split_concat: bool,
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.precision, self.memory_format)?;
        if self.checkpointing.policy != CheckpointPolicy::Off || self.checkpointing.split_concat {
            write!(f, ", {}", self.checkpointing)?;
        }
        if self.accumulation != 1 {
            write!(f, ", accumulation {}", self.accumulation)?;
        }
        Ok(())
    }
}

impl fmt::Display for Checkpointing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.policy.as_str())?;
        if let Some(plan) = &self.plan {
            write!(f, " {plan}")?;
        }
        if self.split_concat {
            f.write_str(" + split")?;
        }
        Ok(())
    }
}

/// What a step works on. In words: `U-Net of width 64, 12 images of 512x512`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Workload {
    /// Channels of the first level.
    pub width: u32,
    /// Images per forward pass.
    pub batch: u32,
    /// Size at which they enter the network.
    pub img_size: ImageSize,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            width,
            batch,
            img_size,
        } = self;
        let images = if *batch == 1 { "image" } else { "images" };
        write!(f, "U-Net of width {width}, {batch} {images} of {img_size}")
    }
}

impl RunConfig {
    /// The memory format of images, weights and activations.
    pub const fn memory_format(&self) -> MemoryFormat {
        MemoryFormat::of(self.use_channels_last)
    }

    /// How a step of this run is run, in a precision that is chosen
    /// ([`Self::precision_on`]).
    pub fn recipe(&self, precision: Precision) -> Recipe {
        Recipe {
            precision,
            memory_format: self.memory_format(),
            checkpointing: self.checkpointing(),
            accumulation: self.accumulation,
        }
    }

    /// What backward recomputes.
    pub fn checkpointing(&self) -> Checkpointing {
        let plan = self.grad_checkpoint_plan.clone();
        Checkpointing {
            policy: self.checkpoint_policy(),
            plan: plan.filter(|_| self.use_grad_checkpoint).map(PlanLetters),
            split_concat: self.split_concat,
        }
    }

    /// What a step of this run works on.
    pub const fn workload(&self) -> Workload {
        Workload {
            width: self.width,
            batch: self.batch,
            img_size: self.img_size,
        }
    }

    /// The same run under another policy, whose plan is the built-in one.
    #[must_use]
    pub fn with_policy(mut self, policy: CheckpointPolicy) -> Self {
        let is_on = policy != CheckpointPolicy::Off;
        self.use_grad_checkpoint = is_on;
        self.grad_checkpoint_policy = is_on.then_some(policy);
        self.grad_checkpoint_plan = None;
        self
    }

    /// The same run under the policy `mixed`, with this plan.
    #[must_use]
    pub fn with_plan(self, stages: Vec<Keep>) -> Self {
        Self {
            grad_checkpoint_plan: Some(stages),
            ..self.with_policy(CheckpointPolicy::Mixed)
        }
    }

    /// The same run with every activation saved.
    #[must_use]
    pub fn without_checkpointing(self) -> Self {
        self.with_policy(CheckpointPolicy::Off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_in_words() {
        let words = |config: RunConfig| config.recipe(Precision::Bf16).to_string();
        let plain = RunConfig::default();
        assert_eq!(words(plain.clone()), "bf16, channels-last");
        let split = RunConfig {
            split_concat: true,
            use_channels_last: false,
            ..plain.clone()
        };
        assert_eq!(words(split.clone()), "bf16, channels-first, off + split");
        assert_eq!(
            words(split.with_policy(CheckpointPolicy::Selective)),
            "bf16, channels-first, selective + split"
        );
        let plan = plain.with_plan(vec![Keep::Nothing, Keep::LastConv, Keep::Convs]);
        let micro = RunConfig {
            accumulation: 4,
            ..plan
        };
        assert_eq!(
            words(micro.clone()),
            "bf16, channels-last, mixed NLC, accumulation 4"
        );
        let off = micro.without_checkpointing();
        assert_eq!(off.checkpointing().to_string(), "off");
    }

    #[test]
    fn a_workload_in_words() {
        let one = RunConfig {
            batch: 1,
            ..RunConfig::default()
        };
        assert_eq!(
            one.workload().to_string(),
            "U-Net of width 64, 1 image of 512x512"
        );
    }
}
