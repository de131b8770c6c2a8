//! The request to the advisor.

use config::ImageSize;

/// The goal that a recipe is chosen for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// The guide's batch, as fast as fits.
    #[default]
    Balance,
    /// The guide's batch in the least memory, at most a third slower than the fastest.
    Memory,
    /// The most images per second: the batch may grow, and recomputation is turned off where that pays.
    Speed,
}

/// A request for a recipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The goal.
    pub goal: Goal,
    /// The largest batch that fits, instead of the guide's.
    pub max_batch: bool,
    /// Images per optimizer step; gradients are accumulated if the images do not fit at once.
    pub target_batch: Option<u32>,
    /// The image size, instead of the guide's.
    pub img_size: Option<ImageSize>,
    /// The width of the network, instead of the guide's.
    pub width: Option<u32>,
    /// The number of channels of the images, instead of three.
    pub in_channels: Option<u32>,
    /// The number of classes, instead of one.
    pub classes: Option<u32>,
    /// Whether the step is to run on libtorch's own operators and on whole concatenations, as a program in PyTorch does.
    pub exact_kernels: bool,
}
