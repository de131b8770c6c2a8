//! PNG: palette indices and low bit depths are not expanded, because a class is a number and not a
//! colour.

use std::io::{Cursor, Read, Seek};

use image::metadata::Orientation;
use png::{ColorType, Decoder, DecodingError, Info, Limits, Transformations};

use super::{MOST_OF_DEFLATE, Refusal, Stored, array, check_claim, check_size, take, unpack};
use crate::decode::orientation;
use crate::decode::raster::{Alpha, Raster, Samples};

impl From<DecodingError> for Refusal {
    fn from(error: DecodingError) -> Self {
        match error {
            DecodingError::LimitsExceeded => Self::TooLarge,
            error => Self::Corrupt(error.to_string()),
        }
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<Raster, Refusal> {
    let limits = Limits {
        bytes: super::MAX_DECODED_BYTES.try_into().unwrap_or(usize::MAX),
    };
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
    decoder.set_transformations(Transformations::IDENTITY);
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info()?;
    let (width, height) = reader.info().size();
    let (colour, depth) = (reader.info().color_type, reader.info().bit_depth);
    let (channels, bits) = (colour.samples(), depth as usize);
    check_size(width, height, channels * bits.div_ceil(8))?;
    let size = reader.output_buffer_size().ok_or(Refusal::TooLarge)?;
    check_claim(bytes, size as u64, MOST_OF_DEFLATE)?;
    let mut buffer = vec![0; size];
    let row_bytes = reader.next_frame(&mut buffer)?.line_size;
    // Reads to the end, so that a truncated or altered last chunk is noticed.
    reader.finish()?;
    let samples = match bits {
        16 => Samples::U16(words(&buffer)),
        8 => Samples::U8(buffer),
        _ => Samples::U8(unpack(&buffer, row_bytes, bits, width as usize * channels)),
    };
    let info = reader.info();
    let mut raster = Raster::plain(samples, channels, (height, width));
    raster.highest = Some((1 << bits) - 1);
    raster.origin.orientation = orientation::of_exif(info.exif_metadata.as_deref());
    raster.origin.pages = info
        .animation_control
        .map_or(1, |it| it.num_frames.max(1) as usize);
    match (colour, info.trns.as_deref()) {
        (ColorType::Indexed, _) => raster.palette = Some(palette(info)),
        (ColorType::GrayscaleAlpha | ColorType::Rgba, _) => raster.alpha = Alpha::Straight,
        (_, Some(key)) => key_to_alpha(&mut raster, key),
        _ => {}
    }
    Ok(raster)
}

/// Reads the chunks that say it, and skips the others. EXIF data may come after the pixels.
pub(super) fn size(mut file: impl Read + Seek) -> Result<Stored, Refusal> {
    let (mut size, mut how) = ((0, 0), Orientation::NoTransforms);
    file.seek_relative(8)?;
    loop {
        let length = u32::from_be_bytes(array(&mut file)?);
        match &array(&mut file)? {
            b"IHDR" => {
                let chunk = take(&mut file, length.into())?;
                let side = |at| Some(u32::from_be_bytes(*chunk.get(at..)?.first_chunk()?));
                size = (side(0).unwrap_or(0), side(4).unwrap_or(0));
            }
            b"eXIf" => how = orientation::of_exif(Some(&take(&mut file, length.into())?)),
            b"IEND" => return Ok((size, how)),
            _ => file.seek_relative(length.into())?,
        }
        // The checksum.
        file.seek_relative(4)?;
    }
}

fn words(bytes: &[u8]) -> Vec<u16> {
    let pairs = bytes.as_chunks::<2>().0.iter();
    pairs.map(|&pair| u16::from_be_bytes(pair)).collect()
}

fn palette(info: &Info<'_>) -> Vec<[u8; 4]> {
    let colours = info.palette.as_deref().unwrap_or_default();
    let opacity = info.trns.as_deref().unwrap_or_default();
    let entries = colours.as_chunks::<3>().0.iter().enumerate();
    entries
        .map(|(i, &[r, g, b])| [r, g, b, opacity.get(i).copied().unwrap_or(u8::MAX)])
        .collect()
}

/// Adds an alpha channel in which pixels of the colour `key` are transparent.
fn key_to_alpha(raster: &mut Raster, key: &[u8]) {
    let channels = raster.channels;
    match &mut raster.samples {
        Samples::U8(samples) => {
            let white = u8::try_from(raster.highest.unwrap_or(0)).unwrap_or(u8::MAX);
            *samples = with_alpha(samples, channels, key, white);
        }
        Samples::U16(samples) => *samples = with_alpha(samples, channels, &words(key), u16::MAX),
        Samples::U32(_) | Samples::F32(_) => return,
    }
    raster.channels += 1;
    raster.alpha = Alpha::Straight;
}

fn with_alpha<T: Copy + Default + PartialEq>(
    samples: &[T],
    channels: usize,
    key: &[T],
    white: T,
) -> Vec<T> {
    let alpha = |pixel: &[T]| if pixel == key { T::default() } else { white };
    let pixels = samples.chunks_exact(channels);
    pixels
        .flat_map(|pixel| pixel.iter().copied().chain([alpha(pixel)]))
        .collect()
}
