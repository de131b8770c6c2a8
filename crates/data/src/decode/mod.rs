//! Decodes files: images to RGB, masks to class indices.

mod mask;
mod png_values;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{DynamicImage, ImageDecoder as _, ImageError, ImageFormat, ImageReader, Limits};

pub use mask::mask;

use super::DataError;

/// Longest accepted side of an image, in pixels. A file of a few bytes may claim any size,
/// and memory is allocated before its pixels are read.
pub const MAX_SIDE: u32 = 16_384;
/// Largest memory that one decoded file may take: 1 GiB.
const MAX_DECODED_BYTES: u64 = 1 << 30;
/// The most bytes that one byte of deflate can expand to: 258 from two bits.
const MAX_PNG_BYTES_OF_ONE: u64 = 1032;
/// The most pixels that one byte of a JPEG can hold: an 8x8 block of its finest component takes at
/// least one bit.
const MAX_JPEG_PIXELS_OF_ONE: u64 = 8 * 64;

/// A decoded image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// RGB `[H, W, 3]` of an image, classes `[H, W]` of a mask.
    pub pixels: Vec<u8>,
    /// H in pixels.
    pub height: usize,
    /// W in pixels.
    pub width: usize,
}

/// The image at `path` as RGB. It is a PNG or a JPEG, which its first bytes tell apart.
/// The result equals Pillow's `convert("RGB")`: gray is repeated, alpha is dropped, the
/// higher 8 of 16 bits are kept, and EXIF rotation is ignored. 16-bit gray differs: Pillow
/// turns everything above 255 white, which destroys the picture, so here the higher 8 bits
/// are kept as well.
///
/// # Errors
/// [`DataError::Read`], [`DataError::Corrupt`] or [`DataError::TooLarge`].
pub fn image(path: &Path) -> Result<Decoded, DataError> {
    let bytes = read(path)?;
    let mut reader = ImageReader::new(Cursor::new(&bytes))
        .with_guessed_format()
        .map_err(|source| DataError::Read {
            path: path.to_owned(),
            source,
        })?;
    let is_png = match reader.format() {
        Some(ImageFormat::Png) => {
            check_png_end(path, &bytes)?;
            true
        }
        Some(ImageFormat::Jpeg) => {
            check_jpeg_end(path, &bytes)?;
            false
        }
        _ => {
            return Err(corrupt(path, &"it is neither a PNG nor a JPEG file"));
        }
    };
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits.clone());
    let failed = |error| match error {
        ImageError::Limits(_) => too_large(path),
        error => corrupt(path, &error),
    };
    let mut decoder = reader.into_decoder().map_err(failed)?;
    limits.reserve(decoder.total_bytes()).map_err(failed)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    let (claimed, most_of_one) = if is_png {
        let bits = u64::from(decoder.original_color_type().bits_per_pixel());
        (pixels * bits / 8, MAX_PNG_BYTES_OF_ONE)
    } else {
        (pixels, MAX_JPEG_PIXELS_OF_ONE)
    };
    check_claim(path, &bytes, claimed, most_of_one)?;
    decoder.set_limits(limits).map_err(failed)?;
    // The JPEG decoder is known to panic on a damaged file, which must not end a worker.
    let decode = AssertUnwindSafe(|| DynamicImage::from_decoder(decoder));
    let decoded = catch_unwind(decode).map_err(|_panic| corrupt(path, &"its decoder panicked"))?;
    let image = decoded.map_err(failed)?;
    let (height, width) = (image.height() as usize, image.width() as usize);
    Ok(Decoded {
        pixels: rgb(image),
        height,
        width,
    })
}

fn rgb(image: DynamicImage) -> Vec<u8> {
    let high = |value: u16| value.to_be_bytes()[0];
    match image {
        DynamicImage::ImageLuma16(gray) => gray.pixels().flat_map(|p| [high(p.0[0]); 3]).collect(),
        DynamicImage::ImageLumaA16(gray) => gray.pixels().flat_map(|p| [high(p.0[0]); 3]).collect(),
        DynamicImage::ImageRgb16(rgb) => rgb.into_raw().into_iter().map(high).collect(),
        DynamicImage::ImageRgba16(rgba) => rgba
            .pixels()
            .flat_map(|p| [high(p.0[0]), high(p.0[1]), high(p.0[2])])
            .collect(),
        image => image.into_rgb8().into_raw(),
    }
}

/// Refuses a file that claims more pixels than its bytes can hold, before memory is allocated for
/// them.
fn check_claim(path: &Path, bytes: &[u8], claimed: u64, most_of_one: u64) -> Result<(), DataError> {
    if claimed > most_of_one * bytes.len() as u64 {
        return Err(corrupt(
            path,
            &"it has too few bytes for its size in pixels",
        ));
    }
    Ok(())
}

/// Checks that a PNG is complete. The decoder accepts a file once it has all pixels, but a
/// file that ends there was truncated, and other parts of it may be lost.
fn check_png_end(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    // The last chunk is empty, so its name and checksum are always the same.
    let end = b"IEND\xAE\x42\x60\x82";
    if bytes.windows(end.len()).rev().any(|window| window == end) {
        Ok(())
    } else {
        Err(corrupt(path, &"it ends before its last chunk"))
    }
}

/// Checks that a JPEG is complete. The decoder silently paints a missing end gray, so this
/// looks for the end marker. It starts after the header of the first scan, because a
/// thumbnail before it has its own end marker.
fn check_jpeg_end(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    const START_OF_SCAN: u8 = 0xDA;
    let cut = || corrupt(path, &"it ends before its end marker");
    let mut at = 2;
    loop {
        match bytes.get(at..at + 4) {
            // Any number of fill bytes may precede a marker.
            Some([0xFF, 0xFF, ..]) => at += 1,
            Some([0xFF, START_OF_SCAN, ..]) => break,
            Some([0xFF, _, high, low]) => {
                at += 2 + usize::from(u16::from_be_bytes([*high, *low]));
            }
            // The decoder judges anything else between two segments.
            Some(_) => break,
            None => return Err(cut()),
        }
    }
    let ended = bytes[at..].windows(2).any(|pair| pair == [0xFF, 0xD9]);
    if ended { Ok(()) } else { Err(cut()) }
}

fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    fs::read(path).map_err(|source| DataError::Read {
        path: path.to_owned(),
        source,
    })
}

fn corrupt(path: &Path, reason: &dyn ToString) -> DataError {
    DataError::Corrupt {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

fn too_large(path: &Path) -> DataError {
    DataError::TooLarge {
        path: path.to_owned(),
        limit: MAX_SIDE,
    }
}
