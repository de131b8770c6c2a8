//! The mask under construction.

/// A mask, `[H, W]`, and the value that is painted next.
#[derive(Debug)]
pub(super) struct Canvas {
    pub(super) height: i64,
    pub(super) width: i64,
    pub(super) value: u8,
    pub(super) pixels: Vec<u8>,
    /// Pixels that lost another value than that of the background.
    pub(super) covered: usize,
}

impl Canvas {
    pub(super) fn new((height, width): (usize, usize)) -> Self {
        Self {
            height: height as i64,
            width: width as i64,
            value: 0,
            pixels: vec![0; height * width],
            covered: 0,
        }
    }

    /// Paints the columns `from` to `to`, both included, of a row.
    pub(super) fn span(&mut self, row: i64, from: i64, to: i64) {
        let (from, to) = (from.max(0), to.min(self.width - 1));
        if (0..self.height).contains(&row) && from <= to {
            let start = row * self.width;
            let pixels = &mut self.pixels[(start + from) as usize..=(start + to) as usize];
            let is_lost = |&&pixel: &&u8| pixel != 0 && pixel != self.value;
            self.covered += pixels.iter().filter(is_lost).count();
            pixels.fill(self.value);
        }
    }
}
