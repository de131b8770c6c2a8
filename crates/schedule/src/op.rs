//! The vocabulary of a schedule: the tensors of a step and the operations on them.
//!
//! Stages are numbered in the order in which they run: the downs, the bottleneck, the ups. The
//! head is not a stage: it has one pointwise convolution, so there is nothing to decide.

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
    /// The input of a stage's first convolution: pooled or concatenated. Stage 0 reads the images.
    Input(usize),
    /// A transposed convolution's output, `C` channels.
    Up(usize),
    /// A convolution's output.
    Conv(usize, Nth),
    /// The convolution's output after batch norm and ReLU.
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
    /// Gradient of the logits; it exists when backward begins.
    GradLogits,
}

/// The statistics that batch norm uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Statistics {
    /// The statistics of this batch, computed now; this happens once per step and updates the
    /// running statistics.
    Batch,
    /// The statistics that the forward computed.
    Saved,
}

/// One operation. The tensors that it reads must be alive, and those that it writes must not be,
/// unless stated otherwise. Tensors are freed only by [`Op::Free`] and by operations that are said
/// to take their operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Makes `Conv` from the stage's input, or from the activation of its first convolution.
    Conv(usize, Nth),
    /// Convolution over one half of a concatenation that is never made: `Up` makes
    /// `Conv(_, First)` with the bias, `Skip` adds to it.
    ConvHalf(usize, Half),
    /// Computes the statistics of this batch from `Conv` and updates the running statistics, without making `Act`:
    /// pooling and concatenation apply batch norm and ReLU themselves.
    Moments(usize, Nth),
    /// Makes `Act` from `Conv`; in place, it takes `Conv`.
    Norm {
        /// Stage.
        stage: usize,
        /// The convolution before it.
        nth: Nth,
        /// The statistics that it uses.
        statistics: Statistics,
        /// Whether it runs in the bytes of `Conv`.
        in_place: bool,
    },
    /// Makes `Input` of a stage: 2x2 max pooling of the previous stage's activation, which is
    /// rebuilt part by part from the convolution if it is not alive.
    Pool(usize),
    /// Makes `Up` of a stage: transposed convolution of the previous stage's activation.
    Up(usize),
    /// Makes both halves of a stage's `Input`, from `Up` and from the skip. The skip is an
    /// activation if that is alive; otherwise it is rebuilt part by part from the convolution.
    Concat(usize),
    /// Makes `Input` of a stage with only its skip half filled.
    ConcatSkip(usize),
    /// Fills the other half of `Input`, from `Up`.
    ConcatUp(usize),
    /// Makes `Logits` from the activation of the last stage.
    Head,

    /// Computes the gradients of the head's weight and bias, from the activation of the last stage.
    HeadWeight,
    /// Makes `GradAct` of the last stage, in the shape of its second convolution.
    HeadInput,
    /// Makes `GradConv` from `Conv` and from `GradAct`, which it takes (and whose bytes it uses if
    /// the target can), and computes the gradients of batch norm. ReLU's mask comes from `Act` if
    /// that is alive, otherwise part by part from `Conv`; an earlier [`Op::PoolBackward`] has
    /// already applied it.
    NormBackward {
        /// Stage.
        stage: usize,
        /// The convolution before it.
        nth: Nth,
        /// Whether ReLU's mask has already been applied to the gradient.
        masked: bool,
    },
    /// Computes the gradients of a convolution's weight and bias, from its input and `GradConv`.
    ConvWeight(usize, Nth),
    /// Computes the gradient of a convolution's input.
    ConvInput(usize, Nth),
    /// Computes the gradients of the weight (and, for `Up`, the bias) over one half.
    ConvWeightHalf(usize, Half),
    /// Makes `GradUp`, or `GradAct` of the skip.
    ConvInputHalf(usize, Half),
    /// Adds pooling's gradient to `GradAct` of the previous stage, part by part, and applies ReLU's
    /// mask to the sum, because it has the activation at hand.
    PoolBackward(usize),
    /// Makes `GradUp`, a copy of that half of `GradInput`.
    TakeUp(usize),
    /// Makes `GradAct` of the skip, a copy of the other half.
    TakeSkip(usize),
    /// Computes the gradients of the transposed convolution's weight and bias.
    UpWeight(usize),
    /// Makes `GradAct` of the previous stage.
    UpInput(usize),
    /// Frees a tensor.
    Free(Value),
}

impl Op {
    /// The stage that it belongs to; `None` for the head and for frees.
    pub const fn stage(self) -> Option<usize> {
        match self {
            Self::Conv(stage, _)
            | Self::ConvHalf(stage, _)
            | Self::Moments(stage, _)
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
    /// A description for people: which tensor or gradient is computed, and where. Stages count from
    /// 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conv = |nth: Nth| match nth {
            Nth::First => "first conv",
            Nth::Second => "second conv",
        };
        match *self {
            Self::Conv(s, n) => write!(f, "{} of stage {}", conv(n), s + 1),
            Self::ConvHalf(s, Half::Up) => write!(f, "first conv of stage {}, up half", s + 1),
            Self::ConvHalf(s, Half::Skip) => write!(f, "first conv of stage {}, skip half", s + 1),
            Self::Moments(s, n) => write!(f, "statistics of the {} of stage {}", conv(n), s + 1),
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
