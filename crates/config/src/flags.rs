//! Flags whose text differs from the text of one key: they set two keys at once, or they write a
//! value differently.
//!
//! They implement `FromStr`, so that a command-line parser can use them without this module
//! depending on the parser.

use std::fmt;
use std::str::FromStr;

use crate::choices::{AmpDtype, CheckpointPolicy, Keep};
use crate::error::ConfigError;
use crate::network::Network;
use crate::overrides::Overrides;
use crate::plan_letters::PlanLetters;

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

/// The value of `--grad-checkpoint`: a policy, which may be `off`, or the letters of a plan, which
/// stand for `mixed` with that plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointFlag {
    /// A policy by its name.
    Policy(CheckpointPolicy),
    /// What each stage keeps.
    Plan([Keep; NUM_STAGES]),
}

/// Stages of the network, each with a letter in a plan.
const NUM_STAGES: usize = Network::new(1, 1).num_stages();

impl CheckpointFlag {
    /// Reads the flag for a command that does not choose a policy itself. `auto` is read, so that the command can say
    /// why it refuses it, but not offered.
    ///
    /// # Errors
    /// [`ConfigError`] for other text.
    pub fn without_auto(text: &str) -> Result<Self, ConfigError> {
        Self::read(
            text,
            "`off`, `selective`, `block`, `stage`, `mixed` or nine letters such as `NNNNNNLNC` \
             (E everything, C convs, L last-conv, N nothing)",
            CheckpointPolicy::NAMED,
        )
    }

    fn read(
        text: &str,
        accepts: &'static str,
        offered: &[CheckpointPolicy],
    ) -> Result<Self, ConfigError> {
        let letters = PlanLetters::of_letters(text);
        match letters.and_then(|plan| plan.0.try_into().ok()) {
            Some(stages) => Ok(Self::Plan(stages)),
            None => text
                .parse()
                .map(Self::Policy)
                .map_err(|_unnamed: ConfigError| {
                    let names = offered.iter().map(|it| it.as_str());
                    ConfigError::not_a_choice("checkpoint policy", accepts, text, names)
                }),
        }
    }

    /// Sets `use_grad_checkpoint`, `grad_checkpoint_policy` and, for a plan, `grad_checkpoint_plan`
    /// so that they agree.
    pub fn apply(self, overrides: &mut Overrides) {
        let policy = match self {
            Self::Policy(policy) => policy,
            Self::Plan(stages) => {
                overrides.grad_checkpoint_plan = Some(stages.to_vec());
                CheckpointPolicy::Mixed
            }
        };
        overrides.use_grad_checkpoint = Some(policy != CheckpointPolicy::Off);
        overrides.grad_checkpoint_policy = Some(policy);
    }
}

impl fmt::Display for CheckpointFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(policy) => policy.fmt(f),
            Self::Plan(stages) => PlanLetters(stages.to_vec()).fmt(f),
        }
    }
}

impl FromStr for CheckpointFlag {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::read(
            text,
            "`off`, `selective`, `block`, `stage`, `mixed`, `auto` or nine letters such as `NNNNNNLNC` \
             (E everything, C convs, L last-conv, N nothing)",
            CheckpointPolicy::ALL,
        )
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
        for text in ["off", "mixed", "NNNNNNLNC"] {
            let flag: CheckpointFlag = text.parse().unwrap();
            assert_eq!(flag.to_string(), text);
        }
        // A plan has a letter for each of the network's nine stages.
        let error = "NNN".parse::<CheckpointFlag>().unwrap_err().to_string();
        assert!(
            error.contains("nine letters such as `NNNNNNLNC` (E"),
            "{error}"
        );
    }

    #[test]
    fn a_near_miss_is_named() {
        let error = "selectiv".parse::<CheckpointFlag>().unwrap_err();
        assert_eq!(error.hint().as_deref(), Some("did you mean `selective`?"));
        let error = "FP16".parse::<AmpFlag>().unwrap_err();
        assert_eq!(error.hint().as_deref(), Some("did you mean `fp16`?"));
    }
}
