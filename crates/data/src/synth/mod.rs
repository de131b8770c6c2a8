//! Comic pages with speech balloons, drawn from a seed: training data from the guide's
//! domain, without a download.
//!
//! A page has panels with frames and gutters, backgrounds, figures, and white things that
//! are not balloons (captions, clothes, bursts, gutters), so that brightness alone does not
//! identify a balloon. The mask is 1 inside the outline of each balloon, including text and
//! tail. A page is drawn in units of its shorter side, so that a seed gives the same picture
//! at any resolution with the same aspect ratio.

mod balloon;
mod canvas;
mod dataset;
mod figure;
mod panel;
#[cfg(test)]
mod tests;

use rand::RngExt as _;

pub use dataset::{Counts, write_dataset};

use super::random::{RandomUse, stream};
use super::{DataError, decode};
use canvas::Canvas;

/// Shortest side of a page, in pixels.
pub const MIN_SIDE: u32 = 16;

/// A drawn page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// RGB, `[H, W, 3]`, antialiased.
    pub image: Vec<u8>,
    /// 1 inside balloons, 0 elsewhere, `[H, W]`.
    pub mask: Vec<u8>,
}

/// The seed of the validation pages for training pages of `seed`, so that no page is drawn twice.
pub fn val_seed(seed: u64) -> u64 {
    seed ^ 0x5641_4C00_0000_0000
}

/// The seed of the test pages for training pages of `seed`.
pub fn test_seed(seed: u64) -> u64 {
    seed ^ 0x5445_5354_0000_0000
}

/// Page `index` of `seed` at `height` x `width` pixels, at least [`MIN_SIDE`] each.
///
/// # Panics
/// If a side is outside the range that [`SynthSource::new`](super::SynthSource::new) checks.
pub fn page(seed: u64, index: u64, height: u32, width: u32) -> Page {
    let mut rng = stream(RandomUse::Page, seed, index, 0);
    let mut canvas = Canvas::new(height, width);
    let (across, down) = canvas.size();
    let style = panel::Style::draw(&mut rng);
    canvas.clear(style.gutter);
    let panels = panel::layout(&mut rng, across, down);
    for panel in &panels {
        panel::paint(&mut canvas, &mut rng, panel, &style);
    }
    let mut placed = Vec::new();
    for (i, panel) in panels.iter().enumerate() {
        let wanted = [1, 1, 1, 2, 2, 0][rng.random_range(0..6)];
        // A page without balloons would teach the network nothing.
        let wanted = if i + 1 == panels.len() && placed.is_empty() {
            1
        } else {
            wanted
        };
        for _ in 0..wanted {
            balloon::place(&mut canvas, &mut rng, panel, &style, &mut placed);
        }
    }
    let (image, mask) = canvas.into_bytes();
    Page { image, mask }
}

/// Whether pages of this size can be drawn.
pub(super) fn check_size(height: u32, width: u32) -> Result<(), DataError> {
    let (low, high) = (height.min(width), height.max(width));
    let why = if low < MIN_SIDE {
        "each side of a page must have at least 16 pixels"
    } else if high > decode::MAX_SIDE {
        "each side of a page may have at most 16384 pixels"
    } else {
        return Ok(());
    };
    Err(DataError::Size {
        height: height as usize,
        width: width as usize,
        why,
    })
}
