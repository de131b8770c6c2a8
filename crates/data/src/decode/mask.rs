//! Reads masks: which values they may hold, and which class each value means.

use std::path::Path;

use super::png_values::{Values, read as read_png};
use super::{Decoded, read};
use crate::DataError;

/// Number of values shown in an error.
const MAX_NAMED: usize = 8;
/// Out of 255. Antialiased edges have few pixels, so most pixels of a smooth binary mask
/// that are not black are at least this bright.
const BRIGHT: u16 = 224;

/// The mask at `path` as classes `[H, W]`.
///
/// With `classes` 0 or 1 the mask is binary and split at half of white, like
/// `convert("L") > 127`. It may hold 0 and 255 or 0 and 1, or smooth edges between black
/// and white. If it has a palette, the black and white entries count, or else the indices
/// 0 and 1. With more classes each value is the index of a class, 0 to `classes - 1`.
/// Colour channels must be equal; alpha is dropped.
///
/// # Errors
/// [`DataError::MaskNotPng`], [`DataError::MaskValues`],
/// [`DataError::MaskColours`], or as [`image`](super::image).
pub fn mask(path: &Path, classes: usize) -> Result<Decoded, DataError> {
    let bytes = read(path)?;
    // The first bytes of a PNG. A shorter file with the right name is a truncated PNG.
    let signature = *b"\x89PNG\r\n\x1a\n";
    if !bytes.is_empty() && !bytes.starts_with(&signature[..bytes.len().min(8)]) {
        return Err(DataError::MaskNotPng {
            path: path.to_owned(),
        });
    }
    let mut values = read_png(path, &bytes)?;
    flatten(path, &mut values, classes)?;
    let (height, width) = (values.height, values.width);
    let pixels = if classes <= 1 {
        binary(path, values)
    } else {
        indexed(path, &values, classes)
    };
    Ok(Decoded {
        pixels: pixels?,
        height,
        width,
    })
}

/// Reduces the mask to one channel.
fn flatten(path: &Path, values: &mut Values, classes: usize) -> Result<(), DataError> {
    let channels = values.channels;
    if channels >= 3 {
        let mut found: Vec<[u16; 3]> = Vec::new();
        for pixel in values.samples.chunks_exact(channels) {
            let colour = [pixel[0], pixel[1], pixel[2]];
            if colour != [pixel[0]; 3] && !found.contains(&colour) {
                found.push(colour);
                if found.len() == MAX_NAMED {
                    break;
                }
            }
        }
        if !found.is_empty() {
            return Err(DataError::MaskColours {
                mask: path.to_owned(),
                found,
                classes,
            });
        }
    }
    if channels > 1 {
        values.samples = values.samples.iter().step_by(channels).copied().collect();
        values.channels = 1;
    }
    Ok(())
}

fn indexed(path: &Path, values: &Values, classes: usize) -> Result<Vec<u8>, DataError> {
    let class = |&value: &u16| {
        u8::try_from(value)
            .ok()
            .filter(|&value| usize::from(value) < classes)
    };
    let pixels: Option<Vec<u8>> = values.samples.iter().map(class).collect();
    pixels.ok_or_else(|| refused(path, &values.samples, classes))
}

fn binary(path: &Path, mut values: Values) -> Result<Vec<u8>, DataError> {
    if let Some(palette) = values.palette.take() {
        by_brightness(&mut values, &palette);
    }
    if values.samples.iter().all(|&value| value <= 1) {
        return Ok(values
            .samples
            .iter()
            .map(|&value| u8::from(value == 1))
            .collect());
    }
    // Scales low and high bit depths to 255.
    let scale = |value: u16| {
        let scaled = u32::from(value) * 255 / u32::from(values.highest);
        u16::try_from(scaled).unwrap_or(u16::MAX)
    };
    let (mut lit, mut bright) = (0_usize, 0_usize);
    for value in values.samples.iter().map(|&value| scale(value)) {
        lit += usize::from(value > 0);
        bright += usize::from(value >= BRIGHT);
    }
    if bright * 2 < lit {
        return Err(refused(path, &values.samples, 1));
    }
    Ok(values
        .samples
        .iter()
        .map(|&value| u8::from(scale(value) > 127))
        .collect())
}

/// Replaces indices by brightness if every used colour is black or white, because some
/// programs put white first.
fn by_brightness(values: &mut Values, palette: &[[u8; 3]]) {
    let brightness = |index: u16| match palette.get(usize::from(index)) {
        Some([0, 0, 0]) => Some(0),
        Some([255, 255, 255]) => Some(255),
        _ => None,
    };
    let converted: Option<Vec<u16>> = values.samples.iter().map(|&i| brightness(i)).collect();
    if let Some(samples) = converted {
        values.samples = samples;
    }
    values.highest = 255;
}

fn refused(path: &Path, samples: &[u16], classes: usize) -> DataError {
    let mut seen = vec![false; 1 << 16];
    for &value in samples {
        seen[usize::from(value)] = true;
    }
    let distinct: Vec<u16> = (0..=u16::MAX)
        .filter(|&value| seen[usize::from(value)])
        .collect();
    DataError::MaskValues {
        mask: path.to_owned(),
        found: distinct.iter().copied().take(MAX_NAMED).collect(),
        distinct: distinct.len(),
        max: distinct.last().copied().unwrap_or(0),
        classes,
    }
}
