//! Reads the values of a PNG exactly as stored: palette indices and low bit depths are not
//! expanded, because a class is a number and not a colour.

use std::io::Cursor;
use std::path::Path;

use png::{BitDepth, ColorType, Decoder, DecodingError, Limits, Transformations};

use super::{MAX_DECODED_BYTES, MAX_PNG_BYTES_OF_ONE, MAX_SIDE, check_claim, corrupt, too_large};
use crate::DataError;

/// Samples of a PNG, `[H, W, C]`, each 0 to `highest`.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) samples: Vec<u16>,
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// The value of white: `2^depth - 1`.
    pub(super) highest: u16,
    /// Colours of the indices, if the samples are indices.
    pub(super) palette: Option<Vec<[u8; 3]>>,
}

/// Decodes `bytes`, the content of `path`.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Values, DataError> {
    let failed = |error: DecodingError| match error {
        DecodingError::LimitsExceeded => too_large(path),
        error => corrupt(path, &error),
    };
    let limit = usize::try_from(MAX_DECODED_BYTES).unwrap_or(usize::MAX);
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), Limits { bytes: limit });
    decoder.set_transformations(Transformations::IDENTITY);
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info().map_err(failed)?;
    let (width, height) = reader.info().size();
    let size = reader.output_buffer_size().filter(|&size| size <= limit);
    let Some(size) = size.filter(|_| width <= MAX_SIDE && height <= MAX_SIDE) else {
        return Err(too_large(path));
    };
    check_claim(path, bytes, size as u64, MAX_PNG_BYTES_OF_ONE)?;
    let mut buffer = vec![0; size];
    let frame = reader.next_frame(&mut buffer).map_err(failed)?;
    // Reads to the end, so that a truncated or altered last chunk is noticed.
    reader.finish().map_err(failed)?;
    let (colour, depth) = (frame.color_type, frame.bit_depth);
    let (height, width) = (height as usize, width as usize);
    let channels = colour.samples();
    let palette = (colour == ColorType::Indexed).then(|| {
        let entries = reader.info().palette.as_deref().unwrap_or_default();
        entries.as_chunks::<3>().0.to_vec()
    });
    let rows = buffer.chunks_exact(frame.line_size.max(1));
    let samples = rows
        .flat_map(|row| unpack(row, depth, width * channels))
        .collect();
    let highest = u16::try_from((1_u32 << depth as u32) - 1).unwrap_or(u16::MAX);
    Ok(Values {
        samples,
        channels,
        height,
        width,
        highest,
        palette,
    })
}

/// The first `count` samples of a row. Samples of less than 8 bits are packed, highest bits
/// first.
fn unpack(row: &[u8], depth: BitDepth, count: usize) -> Vec<u16> {
    let bits = depth as usize;
    match depth {
        BitDepth::Sixteen => row
            .as_chunks::<2>()
            .0
            .iter()
            .map(|&bytes| u16::from_be_bytes(bytes))
            .collect(),
        BitDepth::Eight => row.iter().map(|&byte| u16::from(byte)).collect(),
        _ => (0..count)
            .map(|i| {
                let byte = row[i * bits / 8];
                let shift = 8 - bits - (i * bits) % 8;
                u16::from((byte >> shift) & ((1 << bits) - 1))
            })
            .collect(),
    }
}
