//! Regions described column by column: where each column changes between outside and inside.

use std::ops::Range;

use super::canvas::Canvas;

/// A part of an image. `odd` is 1 for the first pixel after an odd number of changes.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) left: i64,
    pub(super) width: i64,
    top: i64,
    height: i64,
    odd: Vec<u8>,
}

impl Columns {
    /// A part in which everything is outside, cut at the edge of the image.
    pub(super) fn new(columns: Range<i64>, rows: Range<i64>, canvas: &Canvas) -> Self {
        let (left, top) = (columns.start.max(0), rows.start.max(0));
        let width = (columns.end.min(canvas.width) - left).max(0);
        let height = (rows.end.min(canvas.height) - top).max(0);
        Self {
            left,
            width,
            top,
            height,
            odd: vec![0; (width * height) as usize],
        }
    }

    /// Changes the side at the upper edge of a pixel. The column must be one of the part.
    pub(super) fn toggle(&mut self, column: i64, row: i64) {
        let row = row.max(self.top) - self.top;
        if row < self.height {
            self.odd[(row * self.width + column - self.left) as usize] ^= 1;
        }
    }

    /// Paints what is inside.
    pub(super) fn paint(&self, canvas: &mut Canvas) {
        if self.odd.is_empty() {
            return;
        }
        let mut inside = vec![0; self.width as usize];
        let mut start = (self.top * canvas.width + self.left) as usize;
        for row in self.odd.chunks_exact(self.width as usize) {
            let pixels = &mut canvas.pixels[start..start + row.len()];
            for ((inside, odd), pixel) in inside.iter_mut().zip(row).zip(pixels) {
                *inside ^= odd;
                // Without a branch, so that many pixels are painted at once.
                let keep = u8::wrapping_sub(*inside, 1);
                let is_lost = *inside & u8::from(*pixel != 0 && *pixel != canvas.value);
                canvas.covered += usize::from(is_lost);
                *pixel = (*pixel & keep) | (canvas.value & !keep);
            }
            start += canvas.width as usize;
        }
    }
}
