//! Why a step, a run of steps or an evaluation failed.

use data::DataError;
use torch_ext::BoxError;

use crate::guard::Pressure;
use crate::trainer::Cause;

/// A failure of the engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The data went wrong.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A technique that this binary was built without.
    #[error("this `train` was built without `{feature}`, which the configuration asks for")]
    MissingFeature {
        /// Name of the Cargo feature.
        feature: &'static str,
    },
    /// The checkpoint policy is `auto`, which somebody has to resolve first.
    #[error("the checkpoint policy `auto` is chosen by `train fit`, for the memory that is free")]
    PolicyNotChosen,
    /// The checkpoint plan does not fit the network.
    #[error("`grad_checkpoint_plan`: {0}")]
    Plan(schedule::ScheduleError),
    /// A GPU that does not exist.
    #[error("there is no `cuda:{index}`: this machine shows {num_gpus} GPU(s)")]
    NoSuchGpu {
        /// Its number, from 0.
        index: usize,
        /// How many there are, at least one.
        num_gpus: usize,
    },
    /// CUDA was asked for and cannot be had.
    #[error("CUDA is not available: {reason}")]
    CudaUnavailable {
        /// Why.
        reason: String,
    },
    /// The loss is not finite any more.
    #[error("the loss is not finite after step {step}: {cause}")]
    NonFiniteLoss {
        /// Optimizer steps done.
        step: u64,
        /// Where that comes from.
        cause: Cause,
    },
    /// The GPU or the machine is nearly full.
    #[error("emergency stop: {0}")]
    MemoryPressure(Pressure),
    /// Steps were skipped one after the other, since gradients had infinities in them.
    #[error("gradients overflow step after step, at a scale of {scale}")]
    GradientOverflow {
        /// What the scale has come down to.
        scale: f64,
    },
    /// Ctrl-C or SIGTERM.
    #[error("interrupted at step {step}")]
    Interrupted {
        /// Optimizer steps done.
        step: u64,
    },
    /// A tensor operation failed: memory ran out, or a segment could not be recomputed.
    #[error(transparent)]
    Tensor(#[from] torch_ext::Error),
    /// The gradient scaler refused.
    #[error("gradient scaler: {0}")]
    Scaler(#[source] BoxError),
    /// A state without a gradient scaler's, for a run that has one.
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
}
