//! The types of keys that have named choices.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::error::ConfigError;

/// Defines an enum of named choices with `as_str`, `Display`, `FromStr`, `ALL`.
macro_rules! choices {
    ($(#[$meta:meta])* $name:ident, $what:literal, $list:literal {
        $($(#[$doc:meta])* $variant:ident = $text:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every choice, in the order in which help texts list them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name in TOML and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = ConfigError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|choice| choice.as_str() == text)
                    .ok_or_else(|| {
                        ConfigError::not_a_choice($what, $list, text, [$($text,)+].into_iter())
                    })
            }
        }
    };
}

choices! {
    /// The half precision type of autocast.
    AmpDtype, "precision", "`auto`, `fp16` or `bf16`" {
        /// Chosen for the device when the run starts.
        Auto = "auto",
        /// IEEE half precision, with a gradient scaler.
        Fp16 = "fp16",
        /// bfloat16; needs no gradient scaler.
        Bf16 = "bf16",
    }
}

choices! {
    /// What gradient checkpointing recomputes.
    CheckpointPolicy, "checkpoint policy", "`off`, `selective`, `block`, `stage`, `mixed` or `auto`" {
        /// Nothing: every activation is saved.
        Off = "off",
        /// Convolution outputs are kept; batch norm, `ReLU`, pooling and concat are recomputed.
        Selective = "selective",
        /// Each double convolution, as in the guide's script.
        Block = "block",
        /// Each stage, with its pooling or its transposed convolution and concat.
        Stage = "stage",
        /// What a plan says, stage by stage; without a plan, the built-in one, which has the
        /// smallest peak for an acceptable cost in time.
        Mixed = "mixed",
        /// The cheapest segments whose predicted peak fits the memory.
        Auto = "auto",
    }
}

choices! {
    /// What a stage (a double convolution with the operations that lead to it) keeps from its
    /// forward for its backward. Anything else is rebuilt when backward needs it.
    Keep, "part of a plan", "`everything`, `convs`, `last-conv` or `nothing`" {
        /// Input, convolution outputs and activations: nothing is rebuilt.
        Everything = "everything",
        /// Both convolution outputs. Batch norm and `ReLU` run again, and so do pooling, transposed
        /// convolution and concatenation before the next convolution; no 3x3 convolution runs
        /// again.
        Convs = "convs",
        /// The second convolution's output, which is as large as the stage's output. The first
        /// convolution runs again.
        LastConv = "last-conv",
        /// Nothing. Both convolutions run again, from tensors that earlier stages keep.
        Nothing = "nothing",
    }
}

choices! {
    /// `on` or `off`.
    Switch, "switch", "`on` or `off`" {
        /// On.
        On = "on",
        /// Off.
        Off = "off",
    }
}

impl Switch {
    /// Whether it is on.
    pub const fn is_on(self) -> bool {
        matches!(self, Self::On)
    }
}

impl From<Switch> for bool {
    fn from(switch: Switch) -> Self {
        switch.is_on()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_round_trip() {
        for policy in CheckpointPolicy::ALL {
            assert_eq!(
                policy.to_string().parse::<CheckpointPolicy>().unwrap(),
                *policy
            );
        }
        assert!("on".parse::<Switch>().unwrap().is_on());
        assert!("true".parse::<Switch>().is_err());
    }
}
