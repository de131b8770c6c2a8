//! What a run costs, from the network as data: parameters, the bytes that do
//! not depend on the batch, and floating-point operations; and, for a sequence
//! of tensors, the bytes that the caching allocator of CUDA would hold.
//!
//! This is the part that exists. Activations, and with them the peak of a
//! training step, are not estimated yet: nothing here says whether a batch fits.
//! No libtorch is needed.
//!
//! ```
//! use config::{ImageSize, Network};
//! use estimator::{Flops, StaticBytes};
//!
//! let network = Network::new(64, 1);
//! assert_eq!(StaticBytes::of(&network)?.parameters.to_string(), "118.4 MiB");
//! let flops = Flops::per_image(&network, ImageSize::new(512, 512))?;
//! assert_eq!(flops.forward / 100_000_000, 3_853); // 385.3 GFLOP
//! # Ok::<(), estimator::EstimateError>(())
//! ```

mod bytes;
mod caching_allocator;
mod flops;
mod size_arg;
mod static_bytes;

pub use bytes::Bytes;
pub use caching_allocator::{BlockId, CachingAllocator, OutOfMemory};
pub use flops::Flops;
pub use size_arg::{SizeArg, SizeError};
pub use static_bytes::{StaticBytes, num_parameters};

/// Why there is no estimate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EstimateError {
    /// A number past 64 bits.
    #[error("the {what} of a network of width {width} do not fit 64 bits")]
    TooLarge {
        /// What was being counted.
        what: &'static str,
        /// Channels of the first level.
        width: u32,
    },
    /// A size that cannot be halved as often as the network does.
    #[error("an image of {size} cannot be halved {depth} times")]
    ImageSize {
        /// The size.
        size: config::ImageSize,
        /// Halvings.
        depth: u32,
    },
}
