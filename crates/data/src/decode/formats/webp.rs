//! WebP, lossless and lossy.

use std::io::{BufRead, Cursor, Seek};

use image_webp::{DecodingError, WebPDecoder};

use super::{Refusal, Stored, check_size};
use crate::decode::orientation;
use crate::decode::raster::{Alpha, Raster, Samples};

impl From<DecodingError> for Refusal {
    fn from(error: DecodingError) -> Self {
        match error {
            DecodingError::UnsupportedFeature(what) => Self::Unsupported(what),
            error => Self::Corrupt(error.to_string()),
        }
    }
}

/// The longest chunk of EXIF data that is read: the decoder allocates what a file claims.
const MAX_EXIF_BYTES: usize = 1 << 24;

pub(super) fn size(file: impl BufRead + Seek) -> Result<Stored, Refusal> {
    let mut decoder = WebPDecoder::new(file)?;
    decoder.set_memory_limit(MAX_EXIF_BYTES);
    let exif = decoder.exif_metadata()?;
    Ok((decoder.dimensions(), orientation::of_exif(exif.as_deref())))
}

pub(super) fn read(bytes: &[u8]) -> Result<Raster, Refusal> {
    // The second word is the number of bytes after it.
    if let Some(&[_, size]) = bytes.as_chunks::<4>().0.first_chunk()
        && u32::from_le_bytes(size) as usize > bytes.len() - 8
    {
        return Err(Refusal::corrupt("it ends before its last chunk"));
    }
    let mut decoder = WebPDecoder::new(Cursor::new(bytes))?;
    decoder.set_memory_limit(MAX_EXIF_BYTES);
    let (width, height) = decoder.dimensions();
    let (alpha, channels) = if decoder.has_alpha() {
        (Alpha::Straight, 4)
    } else {
        (Alpha::None, 3)
    };
    let mut samples = vec![0; check_size(width, height, channels)?];
    decoder.read_image(&mut samples)?;
    let mut raster = Raster::plain(Samples::U8(samples), channels, (height, width));
    raster.alpha = alpha;
    raster.lossy = decoder.is_lossy();
    raster.origin.pages = decoder.num_frames().max(1) as usize;
    raster.origin.orientation = orientation::of_exif(decoder.exif_metadata()?.as_deref());
    Ok(raster)
}
