//! The cost of a run, computed from the network as data: parameters, floating-point operations, the
//! peak memory of a training step ([`TrainingStep::peak`]), and, for a sequence of tensors, the
//! memory that the CUDA caching allocator would hold for them ([`CachingAllocator`]).
//!
//! Peaks describe libtorch 2.11. On a CPU with AVX512 and channels-last, the memory that libraries
//! allocate inside an operation was measured; with AVX2 or channels-first it is bounded from above
//! ([`Cpu`]). On an NVIDIA GPU ([`Cuda`]) it is derived from the sources, and cuDNN's part is an
//! upper figure. The crate does not need libtorch.
//!
//! ```
//! use config::{ImageSize, Network, Precision};
//! use estimator::{Batch, Cpu, Flops, StaticBytes, TrainingStep};
//! use schedule::Recompute;
//!
//! let network = Network::new(64, 1);
//! assert_eq!(StaticBytes::of(&network)?.parameters.to_string(), "118.4 MiB");
//! let flops = Flops::per_image(&network, ImageSize::new(512, 512))?;
//! assert_eq!(flops.forward / 100_000_000, 3_853); // 385.3 GFLOP
//!
//! let step = TrainingStep {
//!     network,
//!     size: ImageSize::new(512, 512),
//!     batch: 8,
//!     precision: Precision::Fp32,
//!     recompute: Recompute::Off,
//!     split_concat: false,
//!     accumulation: 1,
//!     ignores: false,
//! };
//! let peak = step.peak(Cpu::avx512(2), Batch::Kept)?;
//! // The guide says 2.8 GB.
//! assert_eq!(peak.bytes >> 20, 9_909);
//!
//! let gpu = estimator::Cuda::new((9, 0));
//! let peak = step.peak(gpu, Batch::Kept)?;
//! // Allocated bytes; with segments and context they give the memory that the GPU needs free.
//! assert_eq!(peak.bytes >> 20, 10_429);
//! assert!(peak.total_bytes(gpu) > peak.bytes);
//! # Ok::<(), estimator::EstimateError>(())
//! ```

mod caching_allocator;
mod flops;
mod forecast;
mod planner;
mod static_bytes;
mod step;
mod time;

pub use caching_allocator::{BlockId, CachingAllocator, OutOfMemory};
pub use flops::Flops;
pub use forecast::{Forecast, Steps, Unknown};
pub use planner::{Planned, Planner};
pub use static_bytes::{StaticBytes, num_parameters};
pub use step::{
    At, Batch, Breakdown, Cpu, Cuda, EvaluationStep, Isa, Machine, Moment, Peak, Purpose, Resident,
    StepMemory, TrainingStep, Workspace,
};
pub use time::{Exchange, Link, LinkError, Ranks, Ring, Speed};

/// Why no estimate could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EstimateError {
    /// A figure exceeds 64 bits.
    #[error("the {what} of a network of width {width} do not fit 64 bits")]
    TooLarge {
        /// What was being counted.
        what: &'static str,
        /// Channels of the first level.
        width: u32,
    },
    /// The step does not fit the device.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
    /// The half-precision kernels for this instruction set were not examined.
    #[error("the memory of half-precision kernels on this instruction set is unknown")]
    Kernels,
    /// The kernels of the run have not been measured.
    #[error("memory is not predicted here: {0}")]
    Unknown(#[from] Unknown),
    /// The policy is `auto`, which is replaced by a concrete policy before a run.
    #[error("the checkpoint policy `auto` is chosen by `train fit`, for the memory that is free")]
    PolicyAuto,
    /// The plan is for another network.
    #[error("the checkpoint plan is for another network")]
    Schedule,
    /// The image size cannot be halved as often as the network requires.
    #[error("an image of {size} cannot be halved {depth} times")]
    ImageSize {
        /// The size.
        size: config::ImageSize,
        /// How often the network halves it.
        depth: u32,
    },
}
