//! BMP. The decoder of `image` gives colours, so a palette is replaced by one whose colours are
//! their own indices before it sees the file.

use std::io::{Cursor, Read};

use image::ImageDecoder as _;
use image::codecs::bmp::BmpDecoder;
use image::metadata::Orientation;

use super::{Refusal, Stored, check_claim, check_size, take};
use crate::decode::raster::{Alpha, Raster, Samples};

/// Bytes that [`parse`] looks at, at most.
const HEADER_BYTES: u64 = 50;

/// What this reader needs from the headers. All numbers are little-endian.
struct Header {
    /// Width and height.
    size: (u32, u32),
    bits: u32,
    is_packed: bool,
    pixels_at: usize,
    palette_at: usize,
    colours: usize,
    /// Bytes of a colour in the palette.
    colour_bytes: usize,
}

pub(super) fn read(bytes: &mut [u8]) -> Result<Raster, Refusal> {
    let header = header(bytes)?;
    let palette = (header.bits <= 8).then(|| take_palette(bytes, &header));
    let palette = palette.transpose()?;
    let decoder = BmpDecoder::new(Cursor::new(&*bytes))?;
    let (width, height) = decoder.dimensions();
    let channels = usize::from(decoder.color_type().channel_count());
    let size = check_size(width, height, channels)?;
    if !header.is_packed {
        let bits = u64::from(width) * u64::from(height) * u64::from(header.bits);
        check_claim(bytes, bits / 8, 1)?;
    }
    let mut samples = vec![0; size];
    decoder.read_image(&mut samples)?;
    if palette.is_some() {
        let indices = samples.iter().step_by(channels).copied().collect();
        let mut raster = Raster::plain(Samples::U8(indices), 1, (height, width));
        raster.highest = Some((1 << header.bits) - 1);
        raster.palette = palette;
        return Ok(raster);
    }
    let mut raster = Raster::plain(Samples::U8(samples), channels, (height, width));
    if channels == 4 {
        raster.alpha = Alpha::Straight;
    }
    Ok(raster)
}

pub(super) fn size(mut file: impl Read) -> Result<Stored, Refusal> {
    let header = header(&take(&mut file, HEADER_BYTES)?)?;
    Ok((header.size, Orientation::NoTransforms))
}

fn header(bytes: &[u8]) -> Result<Header, Refusal> {
    parse(bytes).ok_or_else(|| Refusal::corrupt("it ends within its header"))
}

fn parse(bytes: &[u8]) -> Option<Header> {
    let word = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let header_bytes = long(14)?;
    let is_core = header_bytes == 12;
    let bits = u32::from(word(if is_core { 24 } else { 28 })?);
    let listed = if is_core { 0 } else { long(46)? };
    let colours = if listed == 0 && bits <= 8 {
        1 << bits
    } else {
        listed
    };
    // Rows from top to bottom have a negative height.
    let size = if is_core {
        (word(18)?.into(), word(20)?.into())
    } else {
        (long(18)?, long(22)?.cast_signed().unsigned_abs())
    };
    Some(Header {
        size,
        bits,
        is_packed: !is_core && matches!(long(30)?, 1 | 2),
        pixels_at: usize::try_from(long(10)?).ok()?,
        palette_at: usize::try_from(header_bytes).ok()?.checked_add(14)?,
        colours: usize::try_from(colours).ok()?,
        colour_bytes: if is_core { 3 } else { 4 },
    })
}

fn take_palette(bytes: &mut [u8], header: &Header) -> Result<Vec<[u8; 4]>, Refusal> {
    let misplaced = || Refusal::corrupt("its palette does not fit before its pixels");
    let whole = bytes.get_mut(header.palette_at..header.pixels_at);
    let entries = whole
        .ok_or_else(misplaced)?
        .chunks_exact_mut(header.colour_bytes);
    if header.colours > entries.len() {
        return Err(misplaced());
    }
    let take = |(index, entry): (u8, &mut [u8])| {
        let colour = [entry[2], entry[1], entry[0], u8::MAX];
        entry[..3].fill(index);
        colour
    };
    Ok((0..=u8::MAX)
        .zip(entries.take(header.colours))
        .map(take)
        .collect())
}
