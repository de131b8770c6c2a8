//! Flags whose text differs from the text of one key: they set two keys at once, or they write a
//! value differently.
//!
//! They implement `FromStr`, so that a command-line parser can use them without this module
//! depending on the parser.

use std::fmt;
use std::str::FromStr;

use crate::choices::{AmpDtype, CheckpointPolicy, Keep};
use crate::error::ConfigError;
use crate::overrides::Overrides;

/// The value of `--amp`: off, or on with a data type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmpFlag {
    /// `--amp off`.
    Off,
    /// `--amp auto|fp16|bf16`.
    On(AmpDtype),
}

impl AmpFlag {
    /// Sets `use_amp`, and `amp_dtype` when AMP is on.
    pub const fn apply(self, overrides: &mut Overrides) {
        match self {
            Self::Off => overrides.use_amp = Some(false),
            Self::On(dtype) => {
                overrides.use_amp = Some(true);
                overrides.amp_dtype = Some(dtype);
            }
        }
    }
}

impl fmt::Display for AmpFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Off => "off",
            Self::On(dtype) => dtype.as_str(),
        })
    }
}

impl FromStr for AmpFlag {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            _ => text.parse().map(Self::On).map_err(|_unnamed: ConfigError| {
                ConfigError::not_a_choice(
                    "precision",
                    "`off`, `auto`, `fp16` or `bf16`",
                    text,
                    ["off", "auto", "fp16", "bf16"].into_iter(),
                )
            }),
        }
    }
}

/// The value of `--grad-checkpoint`: a policy, which may be `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointFlag(pub CheckpointPolicy);

impl CheckpointFlag {
    /// Sets `use_grad_checkpoint` and `grad_checkpoint_policy` so that they agree.
    pub fn apply(self, overrides: &mut Overrides) {
        overrides.use_grad_checkpoint = Some(self.0 != CheckpointPolicy::Off);
        overrides.grad_checkpoint_policy = Some(self.0);
    }
}

impl fmt::Display for CheckpointFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for CheckpointFlag {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// The value of `--grad-checkpoint-plan`: what each stage keeps, separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanFlag(pub Vec<Keep>);

impl FromStr for PlanFlag {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let stages = text.split(',').map(|stage| stage.trim().parse());
        stages.collect::<Result<_, _>>().map(Self)
    }
}

impl From<PlanFlag> for Vec<Keep> {
    fn from(plan: PlanFlag) -> Self {
        plan.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_round_trip() {
        for text in ["off", "auto", "fp16", "bf16"] {
            assert_eq!(text.parse::<AmpFlag>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_near_miss_is_named() {
        let error = "selectiv".parse::<CheckpointFlag>().unwrap_err();
        assert_eq!(error.hint().as_deref(), Some("did you mean `selective`?"));
        let error = "FP16".parse::<AmpFlag>().unwrap_err();
        assert_eq!(error.hint().as_deref(), Some("did you mean `fp16`?"));
    }
}
