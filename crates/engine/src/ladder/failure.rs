//! The ways in which a step can fail.

use std::fmt;

use config::Bytes;
use ranks::What;

use crate::error::Error;
use crate::guard::MemoryPlace;
use crate::trainer::Cause;

/// A failure that the ladder has rungs for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Failure {
    /// The device, or a limit on it, ran out of memory.
    OutOfMemory {
        /// Bytes requested beyond those that were free, if the allocator reported them.
        shortfall_bytes: Option<u64>,
    },
    /// Consecutive updates were skipped because gradients were not finite.
    Overflow {
        /// The scale that is left, if a scaler is active.
        scale: Option<f64>,
    },
    /// The forward pass produced a non-finite loss from finite weights.
    NonFiniteLoss,
    /// The GPU or the machine is nearly full.
    MemoryPressure {
        /// Which of the two.
        place: MemoryPlace,
        /// Bytes in use beyond the allowed ones.
        excess_bytes: u64,
    },
    /// A segment could not be recomputed.
    Checkpointing,
    /// A step could not be recorded as a CUDA graph.
    Graph,
    /// Nothing failed, but a technique costs time and is not needed.
    Slow {
        /// The time saved without it, as a share of a step's time.
        gain: f64,
    },
}

impl Error {
    /// The failure that a change of recipe may repair; `None` for every other error.
    pub fn failure(&self) -> Option<Failure> {
        Some(match self {
            Self::Tensor(error) if error.is_out_of_memory() => Failure::OutOfMemory {
                shortfall_bytes: shortfall(error),
            },
            Self::Tensor(torch_ext::Error::RecomputeMismatch(_) | torch_ext::Error::Segment(_)) => {
                Failure::Checkpointing
            }
            // No recipe can repair non-finite weights.
            Self::NonFiniteLoss { cause, .. } if *cause != Cause::Weights => Failure::NonFiniteLoss,
            Self::MemoryPressure(pressure) => Failure::MemoryPressure {
                place: pressure.place,
                excess_bytes: pressure.excess_bytes(),
            },
            Self::Graph(_) => Failure::Graph,
            Self::GradientOverflow { scale } => Failure::Overflow { scale: *scale },
            _ => return None,
        })
    }
}

fn shortfall(error: &torch_ext::Error) -> Option<u64> {
    let torch_ext::Error::OutOfMemory {
        requested_bytes,
        free_bytes,
        ..
    } = error
    else {
        return None;
    };
    requested_bytes.map(|requested| requested.saturating_sub(free_bytes.unwrap_or(0)))
}

impl Failure {
    /// What a rank says of it to the others, and the bytes that are missing.
    pub(crate) fn for_ranks(self) -> (What, Option<u64>) {
        match self {
            Self::OutOfMemory { shortfall_bytes } => (What::OutOfMemory, shortfall_bytes),
            Self::MemoryPressure {
                place,
                excess_bytes,
            } => {
                let what = match place {
                    MemoryPlace::Gpu => What::DeviceGuard,
                    MemoryPlace::Ram => What::HostGuard,
                };
                (what, Some(excess_bytes))
            }
            Self::Overflow { .. } => (What::Overflow, None),
            Self::NonFiniteLoss => (What::NonFiniteLoss, None),
            Self::Checkpointing => (What::Recompute, None),
            Self::Graph => (What::Graph, None),
            // It is chosen before a step, never in one.
            Self::Slow { .. } => (What::Fine, None),
        }
    }

    /// The failure of a step of several ranks of which one said `what`; `scale` is the scaler's.
    pub(crate) fn of_ranks(
        what: What,
        missing_bytes: Option<u64>,
        scale: Option<f64>,
    ) -> Option<Self> {
        let pressure = |place| Self::MemoryPressure {
            place,
            excess_bytes: missing_bytes.unwrap_or(0),
        };
        Some(match what {
            What::OutOfMemory => Self::OutOfMemory {
                shortfall_bytes: missing_bytes,
            },
            What::DeviceGuard => pressure(MemoryPlace::Gpu),
            What::HostGuard => pressure(MemoryPlace::Ram),
            What::Overflow => Self::Overflow { scale },
            What::NonFiniteLoss => Self::NonFiniteLoss,
            What::Recompute => Self::Checkpointing,
            What::Graph => Self::Graph,
            What::Fine | What::DataError | What::Broken => return None,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfMemory { .. } => f.write_str("out of memory"),
            Self::Overflow { scale: Some(scale) } => write!(
                f,
                "gradients overflow step after step, at a scale of {scale}"
            ),
            Self::Overflow { scale: None } => {
                f.write_str("gradients are not finite, step after step")
            }
            Self::NonFiniteLoss => f.write_str("the loss is not finite"),
            Self::MemoryPressure {
                place,
                excess_bytes,
            } => write!(
                f,
                "the memory of {place} is nearly full, {} more than the guard allows",
                Bytes(*excess_bytes)
            ),
            Self::Slow { gain } => {
                write!(f, "{:.0} % of a step's time is not needed", 100.0 * gain)
            }
            Self::Graph => f.write_str("a step cannot be recorded as a CUDA graph"),
            Self::Checkpointing => f.write_str("a checkpointed segment cannot be recomputed"),
        }
    }
}
