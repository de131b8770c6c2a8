//! Why a step, a run of steps or an evaluation failed.

use data::DataError;
use torch_ext::BoxError;
use torch_ext::distributed::Failure as Lost;

use crate::guard::Pressure;
use crate::ladder::Failure;
use crate::trainer::Cause;

/// An error of the engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data could not be loaded.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The configuration needs a technique missing from this binary.
    #[error("this program was built without `{feature}`, which the configuration asks for")]
    MissingFeature {
        /// Name of the Cargo feature.
        feature: &'static str,
    },
    /// The checkpoint policy is `auto`, which has to be resolved first.
    #[error("the checkpoint policy `auto` is chosen by `train fit`, for the memory that is free")]
    PolicyNotChosen,
    /// The checkpoint plan does not fit the network.
    #[error("`grad_checkpoint_plan`: {0}")]
    Plan(schedule::ScheduleError),
    /// The requested GPU does not exist.
    #[error("there is no `cuda:{index}`: this machine shows {num_gpus} GPU(s)")]
    NoSuchGpu {
        /// Its index, from 0.
        index: usize,
        /// The number of GPUs, at least one.
        num_gpus: usize,
    },
    /// CUDA was requested but is not available.
    #[error("CUDA is not available: {reason}")]
    CudaUnavailable {
        /// Why it is not available.
        reason: String,
    },
    /// The GPU has no arithmetic for a precision.
    #[error("{name} computes no {precision}: it needs a compute capability of {major}.0 or newer", major = machine::BF16_FROM)]
    NoSuchPrecision {
        /// The GPU.
        name: String,
        /// The precision.
        precision: config::Precision,
    },
    /// The loss is no longer finite.
    #[error("the loss is not finite after step {step}: {cause}")]
    NonFiniteLoss {
        /// Optimizer steps done.
        step: u64,
        /// What made the loss non-finite.
        cause: Cause,
    },
    /// The GPU or the machine is nearly full.
    #[error("emergency stop: {0}")]
    MemoryPressure(Pressure),
    /// Consecutive updates were skipped because gradients were not finite.
    #[error("{}", Failure::Overflow { scale: *scale })]
    GradientOverflow {
        /// The scale that is left, if a scaler is active.
        scale: Option<f64>,
    },
    /// Ctrl-C or SIGTERM arrived.
    #[error("interrupted at step {step}")]
    Interrupted {
        /// Optimizer steps done.
        step: u64,
    },
    /// A step could not be recorded as a CUDA graph.
    #[error("a step cannot be recorded as a CUDA graph (`--cuda-graph off` does without): {0}")]
    Graph(#[source] Box<Self>),
    /// A tensor operation failed: memory ran out, or a segment could not be recomputed.
    #[error(transparent)]
    Tensor(#[from] torch_ext::Error),
    /// Several processes cannot start or go on together.
    #[error(transparent)]
    Ranks(#[from] ranks::Error),
    /// Another rank failed in a step, and no rung repairs that. It knows more.
    #[error("rank {rank} {}", describe(*what))]
    OtherRank {
        /// The rank.
        rank: usize,
        /// How it failed.
        what: ranks::What,
    },
    /// What rank 0 tells the others cannot be written or read.
    #[error("what rank 0 says cannot be read: {0}")]
    Told(#[source] BoxError),
    /// Another process of this run failed, and this one cannot go on alone.
    #[error("{}", reason.said())]
    PeerFailed {
        /// What it left.
        reason: Box<ranks::Reason>,
    },
    /// The gradient scaler refused.
    #[error("gradient scaler: {0}")]
    Scaler(#[source] BoxError),
    /// The state lacks a gradient scaler's, but the run has a scaler.
    #[error("gradient scaler: its state is missing")]
    ScalerStateMissing,
}

/// Result of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::Tensor(error.into())
    }
}

impl Error {
    /// Whether memory ran out, on the device or under a limit on it.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Tensor(error) if error.is_out_of_memory())
    }

    /// What rank 0 says is not what it should be.
    pub fn told(error: impl Into<BoxError>) -> Self {
        Self::Told(error.into())
    }

    /// Whether this process only lost another one, which knows the reason.
    pub const fn is_peer_lost(&self) -> bool {
        match self {
            Self::PeerFailed { .. } | Self::OtherRank { .. } => true,
            Self::Tensor(torch_ext::Error::Distributed(failure)) => matches!(
                failure,
                Lost::PeerGone { .. } | Lost::TimedOut { .. } | Lost::Dead { .. }
            ),
            _ => false,
        }
    }
}

/// How a rank failed, after its name.
const fn describe(what: ranks::What) -> &'static str {
    use ranks::What;
    match what {
        What::Overflow => "has gradients that are not finite, step after step",
        What::NonFiniteLoss => "has a loss that is not finite",
        What::Graph => "cannot record its step as a CUDA graph",
        What::Recompute => "cannot recompute a segment",
        What::HostGuard => "is on a machine whose memory is nearly full",
        What::DeviceGuard => "has a GPU whose memory is nearly full",
        What::OutOfMemory => "ran out of memory",
        What::Fine | What::DataError | What::Broken => "failed",
    }
}
