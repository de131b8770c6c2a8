//! TIFF: the samples of its first page.

use std::io::{Cursor, Read};

use image::metadata::Orientation;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::{CompressionMethod, PlanarConfiguration, Tag};
use tiff::{TiffError, TiffUnsupportedError};

use super::tiff_pages::{self, Pages};
use super::{MOST_OF_DEFLATE, MOST_OF_LZW, Refusal, Stored, check_claim, check_size, take, unpack};
use crate::decode::raster::{Alpha, Raster, Samples};
use crate::decode::{MAX_DECODED_BYTES, MAX_FILE_BYTES};

/// The most bytes that one byte of `PackBits` can expand to: 128 from two bytes.
const MOST_OF_PACKBITS: u64 = 64;
/// The most rows that one byte of a fax can hold: a row like the one before it takes one bit.
const MOST_ROWS_OF_FAX: u64 = 8;

type Tiff<'a> = Decoder<Cursor<&'a [u8]>>;

impl From<TiffError> for Refusal {
    fn from(error: TiffError) -> Self {
        match error {
            TiffError::UnsupportedError(TiffUnsupportedError::UnsupportedCompressionMethod(
                method,
            )) => Self::Unsupported(format!("it is compressed by {method:?}")),
            TiffError::UnsupportedError(error) => Self::Unsupported(error.to_string()),
            TiffError::LimitsExceeded => Self::TooLarge,
            error => Self::Corrupt(error.to_string()),
        }
    }
}

/// Reads the whole file: its directories may be anywhere.
pub(super) fn size(mut file: impl Read) -> Result<Stored, Refusal> {
    let pages = tiff_pages::walk(&mut take(&mut file, MAX_FILE_BYTES)?)?;
    let side = |side| u32::try_from(side).unwrap_or(u32::MAX);
    Ok((
        (side(pages.width), side(pages.height)),
        orientation(pages.orientation),
    ))
}

/// The orientation that a tag says; upright if it says none.
fn orientation(tag: Option<u64>) -> Orientation {
    tag.and_then(|tag| Orientation::from_exif(u8::try_from(tag).ok()?))
        .unwrap_or(Orientation::NoTransforms)
}

pub(super) fn read(bytes: &mut [u8]) -> Result<Raster, Refusal> {
    let pages = tiff_pages::walk(bytes)?;
    let bytes = &*bytes;
    let mut limits = Limits::default();
    limits.decoding_buffer_size = MAX_DECODED_BYTES.try_into().unwrap_or(usize::MAX);
    limits.intermediate_buffer_size = bytes.len();
    let mut decoder = Decoder::new(Cursor::new(bytes))?.with_limits(limits);
    let colour = decoder.colortype()?;
    let (bits, channels) = (
        usize::from(colour.bit_depth()),
        usize::from(colour.num_samples()),
    );
    let extra = decoder.find_tag_unsigned_vec::<u16>(Tag::ExtraSamples)?;
    let num_extra = extra.as_ref().map_or(0, Vec::len);
    check_colours(&pages, channels, num_extra)?;
    if tag(&mut decoder, Tag::FillOrder)? == Some(2) {
        let what = "it stores its bits backwards".to_owned();
        return Err(Refusal::Unsupported(what));
    }
    let (width, height) = decoder.dimensions()?;
    check_size(width, height, channels * bits.div_ceil(8))?;
    check_compressed(&mut decoder, bytes, bits * channels)?;
    let (samples, highest) = decoded(&mut decoder, bits, channels)?;
    let mut raster = Raster::plain(samples, channels, (height, width));
    raster.highest = highest;
    raster.origin.pages = pages.count;
    raster.origin.white_is_zero = pages.photometric == Some(0);
    if pages.photometric == Some(3) {
        raster.palette = Some(palette(&mut decoder, bits)?);
    }
    raster.alpha = match (extra.as_deref(), pages.photometric) {
        (Some([1]), _) => Alpha::Premultiplied,
        (Some([2]), _) => Alpha::Straight,
        // A fourth channel of which nothing says what it is: Pillow takes it for alpha as well.
        (None, Some(2)) if channels == 4 => Alpha::Straight,
        _ => Alpha::None,
    };
    raster.origin.orientation = orientation(pages.orientation);
    Ok(raster)
}

fn tag(decoder: &mut Tiff<'_>, tag: Tag) -> Result<Option<u16>, Refusal> {
    Ok(decoder.find_tag_unsigned(tag)?)
}

/// Refuses what would be read as other colours than it has.
fn check_colours(pages: &Pages, channels: usize, num_extra: usize) -> Result<(), Refusal> {
    let what = match pages.photometric {
        _ if pages.starts_reduced => "a preview as its first page, as camera raw has",
        Some(0 | 1 | 4) => return Ok(()),
        Some(2) if channels >= 3 + num_extra => return Ok(()),
        Some(3) if channels == 1 => return Ok(()),
        Some(5) => "CMYK colours",
        Some(6) => "YCbCr colours",
        Some(8..=10) => "L*a*b* colours",
        _ => "colours of an unknown kind",
    };
    Err(Refusal::Unsupported(format!("it has {what}")))
}

/// Refuses a page that claims more pixels than its compression can hold in `bytes`.
fn check_compressed(decoder: &mut Tiff<'_>, bytes: &[u8], bits: usize) -> Result<(), Refusal> {
    let (width, height) = decoder.dimensions()?;
    let row = (u64::from(width) * bits as u64).div_ceil(8);
    let method = tag(decoder, Tag::Compression)?.map(CompressionMethod::from_u16_exhaustive);
    let most_of_one = match method.unwrap_or(CompressionMethod::None) {
        CompressionMethod::None => 1,
        CompressionMethod::PackBits => MOST_OF_PACKBITS,
        CompressionMethod::LZW => MOST_OF_LZW,
        CompressionMethod::Fax4 => MOST_ROWS_OF_FAX * row,
        // The decoder refuses the rest.
        _ => MOST_OF_DEFLATE,
    };
    check_claim(bytes, row * u64::from(height), most_of_one)
}

/// The samples `[H, W, C]`, and the value of white.
fn decoded(
    decoder: &mut Tiff<'_>,
    bits: usize,
    channels: usize,
) -> Result<(Samples, Option<u32>), Refusal> {
    let planar = PlanarConfiguration::Planar.to_u16();
    let is_planar = tag(decoder, Tag::PlanarConfiguration)? == Some(planar);
    let count = decoder.dimensions()?.0 as usize * if is_planar { 1 } else { channels };
    let mut result = DecodingResult::U8(Vec::new());
    decoder.read_image_to_buffer(&mut result)?;
    let (samples, highest) = match result {
        DecodingResult::U8(packed) if bits < 8 => {
            let unpacked = unpack(&packed, (count * bits).div_ceil(8), bits, count);
            (Samples::U8(unpacked), Some((1 << bits) - 1))
        }
        DecodingResult::I8(_) if bits < 8 => {
            let what = format!("it has signed samples of {bits} bits");
            return Err(Refusal::Unsupported(what));
        }
        result => converted(result),
    };
    if is_planar {
        return Ok((interleaved(samples, channels), highest));
    }
    Ok((samples, highest))
}

fn converted(result: DecodingResult) -> (Samples, Option<u32>) {
    #[expect(clippy::cast_possible_truncation, reason = "the nearest f32 is wanted")]
    match result {
        DecodingResult::U8(samples) => (Samples::U8(samples), Some(u8::MAX.into())),
        DecodingResult::U16(samples) => (Samples::U16(samples), Some(u16::MAX.into())),
        DecodingResult::U32(samples) => (Samples::U32(samples), Some(u32::MAX)),
        DecodingResult::U64(samples) => integers(&samples, u32::MAX),
        DecodingResult::I8(samples) => integers(&samples, 0x7F),
        DecodingResult::I16(samples) => integers(&samples, 0x7FFF),
        DecodingResult::I32(samples) => integers(&samples, 0x7FFF_FFFF),
        DecodingResult::I64(samples) => integers(&samples, u32::MAX),
        DecodingResult::F16(samples) => (floats(&samples, Into::into), None),
        DecodingResult::F32(samples) => (Samples::F32(samples), None),
        DecodingResult::F64(samples) => (floats(&samples, |it| it as f32), None),
    }
}

/// Numbers of 32 bits if all fit, else the nearest floats.
fn integers<T: Copy + Into<i128>>(samples: &[T], highest: u32) -> (Samples, Option<u32>) {
    let narrow = |&sample: &T| u32::try_from(sample.into()).ok();
    match samples.iter().map(narrow).collect() {
        Some(narrowed) => (Samples::U32(narrowed), Some(highest)),
        None => (floats(samples, |it| it.into() as f32), None),
    }
}

fn floats<T: Copy>(samples: &[T], to_float: impl Fn(T) -> f32) -> Samples {
    Samples::F32(samples.iter().map(|&sample| to_float(sample)).collect())
}

/// `[C, H, W]` as `[H, W, C]`.
fn interleaved(samples: Samples, channels: usize) -> Samples {
    fn moved<T: Copy>(planes: &[T], channels: usize) -> Vec<T> {
        let pixels = planes.len() / channels;
        let pixel = |at| (0..channels).map(move |channel| planes[channel * pixels + at]);
        (0..pixels).flat_map(pixel).collect()
    }
    match samples {
        Samples::U8(planes) => Samples::U8(moved(&planes, channels)),
        Samples::U16(planes) => Samples::U16(moved(&planes, channels)),
        Samples::U32(planes) => Samples::U32(moved(&planes, channels)),
        Samples::F32(planes) => Samples::F32(moved(&planes, channels)),
    }
}

/// The palette: all reds, then all greens, then all blues, of 16 bits each. Some programs write
/// numbers of 8 bits.
fn palette(decoder: &mut Tiff<'_>, bits: usize) -> Result<Vec<[u8; 4]>, Refusal> {
    let map = decoder
        .find_tag_unsigned_vec::<u16>(Tag::ColorMap)?
        .unwrap_or_default();
    let entries = 1 << bits.min(16);
    if map.len() != 3 * entries {
        return Err(Refusal::corrupt(
            "its palette has another size than its depth",
        ));
    }
    let is_narrow = map.iter().all(|&value| value < 256);
    let level = |at: usize| map[at].to_be_bytes()[usize::from(is_narrow)];
    let colour = |i| {
        [
            level(i),
            level(entries + i),
            level(2 * entries + i),
            u8::MAX,
        ]
    };
    Ok((0..entries).map(colour).collect())
}
