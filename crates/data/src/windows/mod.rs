//! Windows cut from images at their own resolution: where they lie, and which pixels are theirs. Nothing is
//! resized here.

mod source;
#[cfg(test)]
mod tests;

use std::ops::Range;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

pub use source::{Choice, WindowSource};

use super::Sample;
use super::masks::IGNORE;

/// One in this many random windows shows foreground, if its image has any.
const ON_FOREGROUND: u32 = 3;

/// A window of an image. Sizes are (height, width), and all windows of an image have the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Its first row and column in the image; negative where the image is smaller and lies in its middle.
    first: (isize, isize),
    /// Rows and columns of the image that are its own, and no other window's.
    own: (Range<usize>, Range<usize>),
}

/// Number of windows that cover an image of `size` without more overlap than needed: about as many as hold
/// the pixels of the image.
pub const fn num_covering(size: (usize, usize), window: (usize, usize)) -> usize {
    num_along(size.0, window.0, 0) * num_along(size.1, window.1, 0)
}

/// Windows that cover an image of `size` evenly. Neighbours share at least `overlap` rows or columns, and each
/// pixel is the own of that window whose edges are farthest from it, so that every pixel is counted once.
///
/// # Panics
/// If `overlap` is not smaller than `window`.
pub fn covering(
    size: (usize, usize),
    window: (usize, usize),
    overlap: (usize, usize),
) -> Vec<Window> {
    let columns = along(size.1, window.1, overlap.1);
    let row = |(top, rows): (isize, Range<usize>)| {
        columns.iter().map(move |(left, columns)| Window {
            first: (top, *left),
            own: (rows.clone(), columns.clone()),
        })
    };
    let rows = along(size.0, window.0, overlap.0);
    rows.into_iter().flat_map(row).collect()
}

const fn num_along(length: usize, window: usize, overlap: usize) -> usize {
    1 + length.saturating_sub(window).div_ceil(window - overlap)
}

/// The first pixel of each window along a side, and the pixels that are its own.
fn along(length: usize, window: usize, overlap: usize) -> Vec<(isize, Range<usize>)> {
    let num = num_along(length, window, overlap);
    if num == 1 {
        return vec![(centred(length, window), 0..length)];
    }
    let first = |nth: usize| nth * (length - window) / (num - 1);
    // In the middle of what two neighbours share.
    let border = |nth: usize| match nth {
        0 => 0,
        _ if nth == num => length,
        _ => usize::midpoint(first(nth), first(nth - 1) + window),
    };
    let one = |nth| (first(nth).cast_signed(), border(nth)..border(nth + 1));
    (0..num).map(one).collect()
}

/// Where a window begins that has an image of at most its length in its middle.
const fn centred(length: usize, window: usize) -> isize {
    -((window - length) / 2).cast_signed()
}

impl Window {
    /// A window of a sample of `size`, drawn by `random`: one third lie on foreground, as far as the borders of the
    /// image allow, and the others anywhere.
    fn drawn(
        mask: &[u8],
        size: (usize, usize),
        window: (usize, usize),
        random: &mut ChaCha8Rng,
    ) -> Self {
        let is_on_foreground = random.random_ratio(1, ON_FOREGROUND);
        let pixel = is_on_foreground.then(|| foreground(mask, random)).flatten();
        let mut side = |length: usize, window: usize, middle: Option<usize>| {
            if length <= window {
                return centred(length, window);
            }
            let last = length - window;
            let first = middle.map(|at| at.saturating_sub(window / 2).min(last));
            first
                .unwrap_or_else(|| random.random_range(0..=last))
                .cast_signed()
        };
        let top = side(size.0, window.0, pixel.map(|at| at / size.1));
        let left = side(size.1, window.1, pixel.map(|at| at % size.1));
        Self {
            first: (top, left),
            own: (0..size.0, 0..size.1),
        }
    }

    /// The pixels of the window, of an image `[H, W, C]` of `size`. Where the window reaches beyond the image, the
    /// image is reflected at its border.
    pub fn cut(
        &self,
        pixels: &[u8],
        channels: usize,
        size: (usize, usize),
        window: (usize, usize),
    ) -> Vec<u8> {
        debug_assert_eq!(pixels.len(), size.0 * size.1 * channels);
        let columns: Vec<usize> = reflected(self.first.1, window.1, size.1).collect();
        let mut cut = Vec::with_capacity(window.0 * window.1 * channels);
        for row in reflected(self.first.0, window.0, size.0) {
            let row = &pixels[row * size.1 * channels..][..size.1 * channels];
            if size.1 >= window.1 {
                cut.extend_from_slice(&row[columns[0] * channels..][..window.1 * channels]);
                continue;
            }
            for column in &columns {
                cut.extend_from_slice(&row[column * channels..][..channels]);
            }
        }
        cut
    }

    /// The window of a sample of `size`.
    fn of(&self, sample: &Sample, size: (usize, usize), window: (usize, usize)) -> Sample {
        Sample {
            image: self.cut(&sample.image, sample.channels(), size, window),
            mask: self.cut(&sample.mask, 1, size, window),
        }
    }

    /// Ignores the pixels of a mask that are not the window's own.
    fn ignore_others(&self, mask: &mut [u8], width: usize) {
        let is_own = |own: &Range<usize>, first: isize, at: usize| {
            first
                .checked_add_unsigned(at)
                .is_some_and(|at| usize::try_from(at).is_ok_and(|at| own.contains(&at)))
        };
        for (row, pixels) in mask.chunks_exact_mut(width).enumerate() {
            let is_own_row = is_own(&self.own.0, self.first.0, row);
            for (column, pixel) in pixels.iter_mut().enumerate() {
                if !is_own_row || !is_own(&self.own.1, self.first.1, column) {
                    *pixel = IGNORE;
                }
            }
        }
    }

    /// Copies what is the window's own of `answer`, a byte for each of its pixels, to its place in an image that is
    /// `image_width` wide. `width` is the window's.
    pub fn paste(&self, answer: &[u8], width: usize, image: &mut [u8], image_width: usize) {
        let (rows, columns) = &self.own;
        let in_window = |at: usize, first: isize| at.wrapping_add_signed(-first);
        for row in rows.clone() {
            let from = in_window(row, self.first.0) * width;
            let from = from + in_window(columns.start, self.first.1);
            image[row * image_width..][columns.clone()]
                .copy_from_slice(&answer[from..][..columns.len()]);
        }
    }
}

/// The pixels of a side of `length` that `num` places from `first` on show: those inside, and outside their mirror
/// images.
fn reflected(first: isize, num: usize, length: usize) -> impl Iterator<Item = usize> {
    // The pixel at the border is shown once.
    let period = (2 * length).saturating_sub(2).max(1);
    (0..num).map(move |nth| {
        let at = first + nth.cast_signed();
        let at = at.rem_euclid(period.cast_signed()).cast_unsigned();
        at.min(period - at)
    })
}

/// A random pixel of a random class in `mask`, other than the background; `None` if there is only that.
fn foreground(mask: &[u8], random: &mut ChaCha8Rng) -> Option<usize> {
    let mut counts = [0_usize; 256];
    for &class in mask {
        counts[usize::from(class)] += 1;
    }
    let is_there = |&class: &u8| !matches!(class, 0 | IGNORE) && counts[usize::from(class)] > 0;
    let classes: Vec<u8> = (0..=u8::MAX).filter(is_there).collect();
    if classes.is_empty() {
        return None;
    }
    let class = classes[random.random_range(0..classes.len())];
    let nth = random.random_range(0..counts[usize::from(class)]);
    let pixels = mask.iter().enumerate().filter(|(_, at)| **at == class);
    pixels.map(|(index, _)| index).nth(nth)
}
