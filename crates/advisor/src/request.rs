//! What is asked of the advisor.

use config::ImageSize;

/// What a recipe is chosen for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Goal {
    /// The guide's batch, as fast as fits.
    #[default]
    Balance,
    /// The guide's batch in the least memory, at most a third slower than the fastest.
    Memory,
    /// The most images per second: the batch may grow, and nothing is recomputed if that pays.
    Speed,
}

/// A question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// What for.
    pub goal: Goal,
    /// The largest batch that fits, instead of the guide's.
    pub max_batch: bool,
    /// Images for each optimizer step, by accumulation where they do not fit at once.
    pub target_batch: Option<u32>,
    /// Instead of the guide's image size.
    pub img_size: Option<ImageSize>,
    /// Instead of the guide's network.
    pub width: Option<u32>,
    /// Instead of one class.
    pub classes: Option<u32>,
}
