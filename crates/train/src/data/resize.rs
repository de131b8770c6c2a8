//! Images and masks of another size, as Pillow's `resize` makes them, so that
//! figures compare with PyTorch scripts: bilinear with antialiasing for images,
//! nearest for masks. Sizes are (height, width).

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::DataError;

/// `pixels`, RGB `[H, W, 3]` of size `from`, at size `to`: `[H', W', 3]`.
/// Mirrors `Image.resize((w, h), Image.Resampling.BILINEAR)`.
///
/// # Errors
/// [`DataError::Size`] when a side is 0 or `pixels` are not of size `from`.
pub fn image(
    pixels: Vec<u8>,
    from: (usize, usize),
    to: (usize, usize),
) -> Result<Vec<u8>, DataError> {
    if pixels.len() != from.0 * from.1 * 3 || pixels.is_empty() || to.0 == 0 || to.1 == 0 {
        return Err(size_error(to, "no pixels to make it of, or none in it"));
    }
    if from == to {
        return Ok(pixels);
    }
    let side = |side| u32::try_from(side).map_err(|_overflow| size_error(to, "too large"));
    let source = ImageRef::new(side(from.1)?, side(from.0)?, &pixels, PixelType::U8x3)
        .map_err(|_wrong| size_error(from, "not the size of its pixels"))?;
    let mut target = Image::new(side(to.1)?, side(to.0)?, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new()
        .resize(&source, &mut target, &options)
        .map_err(|_wrong| size_error(to, "it cannot be resized to"))?;
    Ok(target.into_vec())
}

/// `pixels`, `[H, W]` of size `from`, at size `to`: `[H', W']`, each the value
/// of the pixel that its centre falls into. Mirrors
/// `Image.resize((w, h), Image.Resampling.NEAREST)`.
pub fn mask(pixels: Vec<u8>, from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
    debug_assert_eq!(pixels.len(), from.0 * from.1);
    if from == to || pixels.is_empty() {
        return pixels;
    }
    let columns = centres(from.1, to.1);
    let mut resized = Vec::with_capacity(to.0 * to.1);
    for row in centres(from.0, to.0) {
        let row = &pixels[row * from.1..][..from.1];
        resized.extend(columns.iter().map(|&column| row[column]));
    }
    resized
}

/// For each of `to` pixels the one of `from` under its centre. The position is
/// summed up step by step as in Pillow's `ImagingScaleAffine`, since a product
/// rounds otherwise where a centre falls on an edge.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to `from`"
)]
fn centres(from: usize, to: usize) -> Vec<usize> {
    let step = from as f64 / to as f64;
    let mut position = step * 0.5;
    (0..to)
        .map(|_| {
            let pixel = (position as usize).min(from - 1);
            position += step;
            pixel
        })
        .collect()
}

fn size_error((height, width): (usize, usize), why: &'static str) -> DataError {
    DataError::Size { height, width, why }
}
