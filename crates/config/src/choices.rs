//! The types of keys and flags that have named choices.

/// Defines an enum of named choices with `as_str`, `ALL`, `Display`, `FromStr` and serde's traits.
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

            #[allow(dead_code, reason = "only keys with such a value show it")]
            pub(crate) const LIST: &str = $list;

            /// The name in TOML and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::error::ConfigError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|choice| choice.as_str() == text)
                    .ok_or_else(|| {
                        let choices = [$($text,)+].into_iter();
                        crate::error::ConfigError::not_a_choice($what, Self::LIST, text, choices)
                    })
            }
        }
    };
}

pub(crate) use choices;

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

impl CheckpointPolicy {
    /// The policies under which a step can run: all but `auto`, which stands for one of them.
    pub const NAMED: &[Self] = match Self::ALL {
        [named @ .., Self::Auto] => named,
        _ => panic!("`auto` is listed last"),
    };

    /// Whether it has no plan: autograd runs its step, as a whole or in segments (`off` only where our own kernels do not).
    pub const fn runs_autograd(self) -> bool {
        matches!(self, Self::Off | Self::Block | Self::Stage)
    }

    /// Whether the policy has a reentrant and a non-reentrant form.
    pub const fn has_segments(self) -> bool {
        matches!(self, Self::Block | Self::Stage)
    }

    /// The policy to try if this one runs out of memory and no prediction is available.
    pub const fn next_smaller(self) -> Option<Self> {
        match self {
            Self::Off | Self::Block | Self::Stage => Some(Self::Selective),
            Self::Selective => Some(Self::Mixed),
            Self::Mixed | Self::Auto => None,
        }
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

choices! {
    /// Whether a run records its steps as CUDA graphs.
    CudaGraph, "choice", "`off`, `auto` or `on`" {
        /// Each kernel is launched by itself.
        Off = "off",
        /// Steps are recorded if the GPU waits for the host otherwise, as measured on one of the first.
        Auto = "auto",
        /// Steps are recorded.
        On = "on",
    }
}

choices! {
    /// How gradients are summed over ranks.
    #[derive(Default)]
    Reduction, "reduction", "`auto`, `after`, `overlap` or `ordered`" {
        /// [`Self::After`] or [`Self::Overlap`], which differ in nothing but speed: the faster one in the first steps.
        #[default]
        Auto = "auto",
        /// After backward, in whatever order is fastest. All ranks get the same bits. With two ranks of one micro-batch each,
        /// they are those of one process that accumulates.
        After = "after",
        /// As [`Self::After`], with the same bits, but the gradients of the last layers travel while backward computes those
        /// of others.
        Overlap = "overlap",
        /// After backward, micro-batch by micro-batch in their order: the bits of one process that accumulates, for any number
        /// of ranks. Each rank holds the gradients of all its micro-batches, and sends more.
        Ordered = "ordered",
    }
}

choices! {
    /// Whose operations carry tensors between ranks.
    #[derive(Default)]
    Backend, "backend", "`auto`, `nccl` or `gloo`" {
        /// NCCL between GPUs, Gloo between CPUs.
        #[default]
        Auto = "auto",
        /// NCCL.
        Nccl = "nccl",
        /// Gloo; tensors of a GPU are copied to the machine's memory and back.
        Gloo = "gloo",
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
