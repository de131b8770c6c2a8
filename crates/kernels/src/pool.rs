//! 2x2 max pooling together with batch norm and ReLU.

use crate::element::{Affine, Element, normalised, passed, relu};

/// The pixels of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Pixels of a row of an image, an even number.
    pub width: usize,
}

impl Grid {
    /// Elements of a row of an image; `None` if there are no windows.
    #[inline(always)]
    fn row(self, channels: usize) -> Option<usize> {
        let row = self.width * channels;
        (row > 0 && self.width.is_multiple_of(2)).then_some(row)
    }
}

/// Whether a later value takes the place of the largest so far: as in libtorch, what is not a number does.
#[inline(always)]
fn wins(later: f32, largest: f32) -> bool {
    later > largest || later.is_nan()
}

/// The four pixels of a window, in the order in which libtorch looks at them.
macro_rules! window {
    ($above:ident.$split:ident, $below:ident, $channels:ident) => {{
        let ((a, b), (c, d)) = ($above.$split($channels), $below.$split($channels));
        (a, b, c, d)
    }};
}

#[inline(always)]
pub(crate) fn activate_pooled<T: Element>(x: &[T], affine: Affine<'_>, grid: Grid, y: &mut [T]) {
    let channels = affine.scale.len();
    let Some(row) = grid.row(channels) else {
        return;
    };
    let pooled_rows = y.chunks_exact_mut(row / 2);
    for (x, y) in x.chunks_exact(2 * row).zip(pooled_rows) {
        let (above, below) = x.split_at(row);
        let pairs = above
            .chunks_exact(2 * channels)
            .zip(below.chunks_exact(2 * channels));
        for ((above, below), y) in pairs.zip(y.chunks_exact_mut(channels)) {
            let (a, b, c, d) = window!(above.split_at, below, channels);
            let pixels = a.iter().zip(b).zip(c.iter().zip(d));
            for ((y, ((a, b), (c, d))), (scale, shift)) in
                y.iter_mut().zip(pixels).zip(affine.iter())
            {
                let [first, rest @ ..] =
                    [a, b, c, d].map(|x| normalised::<T>(x.widen(), scale, shift));
                let mut largest = first;
                for z in rest {
                    largest = if wins(z, largest) { z } else { largest };
                }
                *y = T::narrow(relu(largest));
            }
        }
    }
}

#[inline(always)]
pub(crate) fn unpool<T: Element>(
    dy: &mut [T],
    x: &[T],
    affine: Affine<'_>,
    grid: Grid,
    pooled: &[T],
) {
    let channels = affine.scale.len();
    let Some(row) = grid.row(channels) else {
        return;
    };
    let rows = dy.chunks_exact_mut(2 * row).zip(x.chunks_exact(2 * row));
    for ((dy, x), pooled) in rows.zip(pooled.chunks_exact(row / 2)) {
        let (above, below) = x.split_at(row);
        let (dabove, dbelow) = dy.split_at_mut(row);
        let pairs = above
            .chunks_exact(2 * channels)
            .zip(below.chunks_exact(2 * channels));
        let gradients = dabove
            .chunks_exact_mut(2 * channels)
            .zip(dbelow.chunks_exact_mut(2 * channels));
        for (((above, below), (dabove, dbelow)), pooled) in
            pairs.zip(gradients).zip(pooled.chunks_exact(channels))
        {
            let (a, b, c, d) = window!(above.split_at, below, channels);
            let (da, db, dc, dd) = window!(dabove.split_at_mut, dbelow, channels);
            let pixels = a.iter().zip(b).zip(c.iter().zip(d));
            let gradients = da.iter_mut().zip(db).zip(dc.iter_mut().zip(dd));
            for (((((a, b), (c, d)), ((da, db), (dc, dd))), pooled), (scale, shift)) in
                pixels.zip(gradients).zip(pooled).zip(affine.iter())
            {
                let z = [a, b, c, d].map(|x| normalised::<T>(x.widen(), scale, shift));
                let is_largest = largest(z);
                let pooled = pooled.widen();
                for (i, dy) in [da, db, dc, dd].into_iter().enumerate() {
                    let sum = dy.widen() + if is_largest[i] { pooled } else { 0.0 };
                    *dy = T::narrow(passed(sum, z[i]));
                }
            }
        }
    }
}

/// Which of four values pooling takes.
#[inline(always)]
fn largest(z: [f32; 4]) -> [bool; 4] {
    let mut largest = z[0];
    let mut is_largest = [true, false, false, false];
    for i in 1..4 {
        let is_larger = wins(z[i], largest);
        largest = if is_larger { z[i] } else { largest };
        for earlier in is_largest.iter_mut().take(i) {
            *earlier &= !is_larger;
        }
        is_largest[i] = is_larger;
    }
    is_largest
}
