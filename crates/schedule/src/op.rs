//! The words of a schedule: the tensors of a step and the operations on them.
//!
//! Stages are numbered in the order in which they run: the downs, the bottleneck, the ups. The
//! head is no stage: it has one pointwise convolution and nothing to decide.

use std::fmt;

/// Which convolution of a double convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Nth {
    First,
    Second,
}

/// Which half of a concatenation `[up, skip]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Half {
    Up,
    Skip,
}

/// A tensor of the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// The images; they belong to the caller.
    Image,
    /// What a stage's first convolution reads: pooled, or concatenated. Stage 0 reads the images.
    Input(usize),
    /// A transposed convolution's output, `C` channels.
    Up(usize),
    /// A convolution's output.
    Conv(usize, Nth),
    /// ReLU of batch norm of it.
    Act(usize, Nth),
    /// The network's output; it belongs to the caller.
    Logits,
    /// Gradient of [`Value::Input`].
    GradInput(usize),
    /// Gradient of [`Value::Up`].
    GradUp(usize),
    /// Gradient of [`Value::Conv`].
    GradConv(usize, Nth),
    /// Gradient of [`Value::Act`].
    GradAct(usize, Nth),
    /// Gradient of the logits; there when backward begins.
    GradLogits,
}

/// With which statistics batch norm runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Statistics {
    /// Of this batch, taken now: once a step, and the running ones advance.
    Batch,
    /// Those that the forward took.
    Saved,
}

/// One operation. What it reads must be there, what it writes must not (unless said); nothing is
/// freed but by [`Op::Free`] and where an operation is said to take its operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `Conv` from the stage's input, or from the activation of its first convolution.
    Conv(usize, Nth),
    /// Convolution over one half of a concatenation that is never made: `Up` makes
    /// `Conv(_, First)` with the bias, `Skip` adds to it.
    ConvHalf(usize, Half),
    /// `Act` from `Conv`; in place it takes it.
    Norm {
        /// Stage.
        stage: usize,
        /// Convolution before it.
        nth: Nth,
        /// With which statistics.
        statistics: Statistics,
        /// In the bytes of `Conv`.
        in_place: bool,
    },
    /// `Input` of a stage: 2x2 max pooling of the activation of the stage before it, rebuilt part
    /// by part from the convolution where it is not there.
    Pool(usize),
    /// `Up` of a stage: transposed convolution of the activation of the stage before it.
    Up(usize),
    /// `Input` of a stage, both halves, from `Up` and from the skip: an activation where it is
    /// there, else rebuilt part by part from the convolution.
    Concat(usize),
    /// `Input` of a stage with its skip half alone.
    ConcatSkip(usize),
    /// The other half of it, from `Up`.
    ConcatUp(usize),
    /// `Logits` from the activation of the last stage.
    Head,

    /// Gradients of the head's weight and bias, from the activation of the last stage.
    HeadWeight,
    /// `GradAct` of the last stage, in the shape of its second convolution.
    HeadInput,
    /// `GradConv` from `GradAct`, which it takes (in its bytes where the target can), and from
    /// `Conv`; gradients of batch norm. ReLU's mask comes from `Act` where it is there, else part by
    /// part from `Conv`; [`Op::PoolBackward`] has applied it already where it came before.
    NormBackward {
        /// Stage.
        stage: usize,
        /// Convolution before it.
        nth: Nth,
        /// Whether the gradient has passed ReLU.
        masked: bool,
    },
    /// Gradients of a convolution's weight and bias, from its input and `GradConv`.
    ConvWeight(usize, Nth),
    /// Gradient of a convolution's input.
    ConvInput(usize, Nth),
    /// Gradients of the weight (and, for `Up`, the bias) over one half.
    ConvWeightHalf(usize, Half),
    /// `GradUp`, or `GradAct` of the skip.
    ConvInputHalf(usize, Half),
    /// Adds to `GradAct` of the stage before, part by part, what pooling passes back, and has the
    /// sum pass ReLU: it has the activation in hand.
    PoolBackward(usize),
    /// `GradUp`: a copy of that half of `GradInput`.
    TakeUp(usize),
    /// `GradAct` of the skip: a copy of the other half.
    TakeSkip(usize),
    /// Gradients of the transposed convolution's weight and bias.
    UpWeight(usize),
    /// `GradAct` of the stage before.
    UpInput(usize),
    /// Frees a tensor.
    Free(Value),
}

impl Op {
    /// The stage that it belongs to; `None` of the head and of what frees.
    pub const fn stage(self) -> Option<usize> {
        match self {
            Self::Conv(stage, _)
            | Self::ConvHalf(stage, _)
            | Self::Norm { stage, .. }
            | Self::Pool(stage)
            | Self::Up(stage)
            | Self::Concat(stage)
            | Self::ConcatSkip(stage)
            | Self::ConcatUp(stage)
            | Self::NormBackward { stage, .. }
            | Self::ConvWeight(stage, _)
            | Self::ConvInput(stage, _)
            | Self::ConvWeightHalf(stage, _)
            | Self::ConvInputHalf(stage, _)
            | Self::PoolBackward(stage)
            | Self::TakeUp(stage)
            | Self::TakeSkip(stage)
            | Self::UpWeight(stage)
            | Self::UpInput(stage) => Some(stage),
            Self::Head | Self::HeadWeight | Self::HeadInput | Self::Free(_) => None,
        }
    }
}

impl fmt::Display for Op {
    /// In words, for a person: what is made or passed back, and where. Stages count from 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conv = |nth: Nth| match nth {
            Nth::First => "first conv",
            Nth::Second => "second conv",
        };
        match *self {
            Self::Conv(s, n) => write!(f, "{} of stage {}", conv(n), s + 1),
            Self::ConvHalf(s, Half::Up) => write!(f, "first conv of stage {}, up half", s + 1),
            Self::ConvHalf(s, Half::Skip) => write!(f, "first conv of stage {}, skip half", s + 1),
            Self::Norm { stage, nth, .. } => {
                write!(
                    f,
                    "norm and ReLU after the {} of stage {}",
                    conv(nth),
                    stage + 1
                )
            }
            Self::Pool(s) => write!(f, "pooling before stage {}", s + 1),
            Self::Up(s) => write!(f, "transposed conv of stage {}", s + 1),
            Self::Concat(s) | Self::ConcatSkip(s) | Self::ConcatUp(s) => {
                write!(f, "concatenation of stage {}", s + 1)
            }
            Self::Head => f.write_str("head"),
            Self::HeadWeight => f.write_str("gradient of the head's weight"),
            Self::HeadInput => f.write_str("gradient of the head's input"),
            Self::NormBackward { stage, nth, .. } => {
                write!(
                    f,
                    "gradient of norm and ReLU after the {} of stage {}",
                    conv(nth),
                    stage + 1
                )
            }
            Self::ConvWeight(s, n) => {
                write!(f, "gradient of the {}'s weight, stage {}", conv(n), s + 1)
            }
            Self::ConvInput(s, n) => {
                write!(f, "gradient of the {}'s input, stage {}", conv(n), s + 1)
            }
            Self::ConvWeightHalf(s, _) => {
                write!(
                    f,
                    "gradient of half of the first conv's weight, stage {}",
                    s + 1
                )
            }
            Self::ConvInputHalf(s, _) => {
                write!(
                    f,
                    "gradient of half of the first conv's input, stage {}",
                    s + 1
                )
            }
            Self::PoolBackward(s) => write!(f, "gradient of the pooling before stage {}", s + 1),
            Self::TakeUp(s) | Self::TakeSkip(s) => {
                write!(f, "gradient of the concatenation of stage {}", s + 1)
            }
            Self::UpWeight(s) => {
                write!(
                    f,
                    "gradient of the transposed conv's weight, stage {}",
                    s + 1
                )
            }
            Self::UpInput(s) => {
                write!(
                    f,
                    "gradient of the transposed conv's input, stage {}",
                    s + 1
                )
            }
            Self::Free(value) => write!(f, "free {value:?}"),
        }
    }
}
