//! A picture of images with their masks laid over them.

use std::path::Path;

use data::Source;

use super::samples::{colour, save_rgb};
use crate::error::Result;

/// Side of an image in the sheet, in pixels.
pub const SIDE: usize = 256;
/// Pixels between two images.
const GAP: usize = 4;
/// Images in a row, and rows.
const COLUMNS: usize = 4;
const ROWS: usize = 3;

/// Draws the first twelve of `samples` of `source`, which must be [`SIDE`] high and wide, to a PNG at
/// `path`, row by row. Returns them.
///
/// # Errors
/// If an image cannot be read, or the file cannot be written.
pub fn write<'a>(source: &dyn Source, samples: &'a [usize], path: &Path) -> Result<&'a [usize]> {
    let drawn = &samples[..samples.len().min(COLUMNS * ROWS)];
    let num = drawn.len();
    let rows = num.div_ceil(COLUMNS).max(1);
    let (height, width) = (
        rows * (SIDE + GAP) - GAP,
        COLUMNS.min(num.max(1)) * (SIDE + GAP) - GAP,
    );
    let mut sheet = vec![128; height * width * 3];
    for (nth, &index) in drawn.iter().enumerate() {
        let sample = source.load(index)?;
        let (top, left) = (nth / COLUMNS * (SIDE + GAP), nth % COLUMNS * (SIDE + GAP));
        let image = sample.rgb();
        let pixels = image.as_chunks::<3>().0.iter().zip(&sample.mask);
        for (at, (pixel, &class)) in pixels.enumerate() {
            let to = ((top + at / SIDE) * width + left + at % SIDE) * 3;
            sheet[to..to + 3].copy_from_slice(&laid_over(*pixel, class));
        }
    }
    save_rgb(path, &sheet, height, width)?;
    Ok(drawn)
}

/// The colour of a class over a pixel, half of each; background shows the pixel alone.
fn laid_over(pixel: [u8; 3], class: u8) -> [u8; 3] {
    if class == 0 {
        return pixel;
    }
    // The first colour is white, which does not show on bright images.
    let over = colour(class.saturating_add(1));
    [0, 1, 2].map(|channel| pixel[channel].midpoint(over[channel]))
}

#[cfg(test)]
mod tests {
    use data::SynthSource;

    use super::*;

    #[test]
    fn masks_show_over_their_images() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sheet.png");
        let side = u32::try_from(SIDE).unwrap();
        let source = SynthSource::new(1, 5, side, side).unwrap();
        assert_eq!(write(&source, &[4, 1, 0, 2, 3], &path).unwrap().len(), 5);
        let drawn = data::decode::image(&path, &data::decode::ImageRule::default()).unwrap();
        assert_eq!(
            (drawn.height, drawn.width),
            (2 * SIDE + GAP, 4 * SIDE + 3 * GAP)
        );
        let sample = source.load(1).unwrap();
        let at = sample.mask.iter().position(|&class| class == 1).unwrap();
        let to = ((at / SIDE) * drawn.width + SIDE + GAP + at % SIDE) * 3;
        let expected = sample.image[at * 3].midpoint(colour(2)[0]);
        assert_eq!(drawn.pixels[to], expected);
    }
}
