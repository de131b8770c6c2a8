//! JPEG: gray or RGB, 8 bits, upright only by its EXIF data.

use std::io::{Cursor, Read, Seek};

use image::codecs::jpeg::JpegDecoder;
use image::metadata::Orientation;
use image::{ImageDecoder as _, Limits};

use super::{Refusal, Stored, array, check_claim, check_size, take};
use crate::decode::orientation;
use crate::decode::raster::{Raster, Samples};

/// The most pixels that one byte of a JPEG can hold: an 8x8 block of its finest component takes at
/// least one bit.
const MOST_PIXELS: u64 = 8 * 64;
/// Markers: the start of a scan, and the segment of EXIF data.
const START_OF_SCAN: u8 = 0xDA;
const APP1: u8 = 0xE1;

pub(super) fn read(bytes: &[u8]) -> Result<Raster, Refusal> {
    check_end(bytes)?;
    let mut decoder = JpegDecoder::new(Cursor::new(bytes))?;
    let (width, height) = decoder.dimensions();
    let channels = usize::from(decoder.color_type().channel_count());
    let size = check_size(width, height, channels)?;
    check_claim(bytes, u64::from(width) * u64::from(height), MOST_PIXELS)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(super::MAX_DECODED_BYTES);
    decoder.set_limits(limits)?;
    let exif = decoder.exif_metadata()?;
    let mut samples = vec![0; size];
    decoder.read_image(&mut samples)?;
    let mut raster = Raster::plain(Samples::U8(samples), channels, (height, width));
    raster.lossy = true;
    raster.origin.orientation = orientation::of_exif(exif.as_deref());
    Ok(raster)
}

/// Reads the segments before the first scan. Bytes between segments are skipped.
pub(super) fn size(mut file: impl Read + Seek) -> Result<Stored, Refusal> {
    let (mut size, mut how) = ((0, 0), Orientation::NoTransforms);
    file.seek_relative(2)?;
    loop {
        let marker = match array(&mut file)? {
            [0xFF, START_OF_SCAN] => return Ok((size, how)),
            [0xFF, marker @ 0xC0..=0xFE] => marker,
            _ => {
                file.seek_relative(-1)?;
                continue;
            }
        };
        let length = u16::from_be_bytes(array(&mut file)?).saturating_sub(2);
        match marker {
            // The frame, of any kind: its depth, height and width.
            0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => {
                let frame = take(&mut file, length.into())?;
                if let [_, h1, h0, w1, w0, ..] = frame[..] {
                    let side = |bytes| u16::from_be_bytes(bytes).into();
                    size = (side([w1, w0]), side([h1, h0]));
                }
            }
            APP1 => {
                let segment = take(&mut file, length.into())?;
                if segment.starts_with(b"Exif\0\0") {
                    how = orientation::of_exif(Some(&segment));
                }
            }
            _ => file.seek_relative(length.into())?,
        }
    }
}

/// Checks that a JPEG is complete. The decoder silently paints a missing end gray, so this
/// looks for the end marker. It starts after the header of the first scan, because a
/// thumbnail before it has its own end marker.
fn check_end(bytes: &[u8]) -> Result<(), Refusal> {
    let cut = || Refusal::corrupt("it ends before its end marker");
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
