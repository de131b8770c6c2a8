//! Readers of the formats: from the bytes of a file to a [`Raster`] as stored, not yet turned, or
//! from its headers to its size alone.

mod bmp;
mod gif;
mod jpeg;
mod png;
mod tiff;
mod tiff_pages;
mod webp;

use std::io::{self, BufRead, Read, Seek};
use std::path::Path;

use image::ImageError;
use image::metadata::Orientation;

use super::raster::Raster;
use super::{MAX_DECODED_BYTES, MAX_SIDE, orientation};
use crate::DataError;

/// The most bytes that one byte of deflate can expand to: 258 from two bits.
const MOST_OF_DEFLATE: u64 = 1032;
/// The most bytes that one byte of LZW can expand to: strings have up to 4096 bytes, and a code for
/// one of more than 512 has at least ten bits.
const MOST_OF_LZW: u64 = 4096;

/// The most bytes at the start of a file that tell its format.
const SIGNATURE_BYTES: usize = 12;

/// A format, by the first bytes of a file.
enum Format {
    Png,
    Jpeg,
    Tiff,
    Bmp,
    WebP,
    Gif,
}

/// (width, height) as stored, and how the pixels are turned to be upright.
type Stored = ((u32, u32), Orientation);

/// Why a file is not read.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Its first bytes are of no known format.
    Unknown,
    /// It is damaged, for this reason.
    Corrupt(String),
    /// It is sound, but has this.
    Unsupported(String),
    /// It exceeds a limit.
    TooLarge,
    /// The system does not give its bytes.
    Read(io::Error),
}

impl Refusal {
    pub(super) fn corrupt(reason: &str) -> Self {
        Self::Corrupt(reason.to_owned())
    }

    /// The error for the file at `path`.
    pub(super) fn of(self, path: &Path) -> DataError {
        let path = path.to_owned();
        match self {
            Self::Unknown => DataError::UnknownFormat { path },
            Self::Corrupt(reason) => DataError::Corrupt { path, reason },
            Self::Unsupported(what) => DataError::Unsupported { path, what },
            Self::TooLarge => DataError::TooLarge {
                path,
                limit: MAX_SIDE,
            },
            Self::Read(source) => DataError::Read { path, source },
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::corrupt("it ends before its last value"),
            _ => Self::Read(error),
        }
    }
}

impl From<ImageError> for Refusal {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Limits(_) => Self::TooLarge,
            ImageError::Unsupported(error) => Self::Unsupported(error.to_string()),
            error => Self::Corrupt(error.to_string()),
        }
    }
}

/// Decodes the file whose content is `bytes`, which some readers alter to see what they need.
pub(super) fn read(bytes: &mut [u8]) -> Result<Raster, Refusal> {
    match format(bytes)? {
        Format::Png => png::read(bytes),
        Format::Jpeg => jpeg::read(bytes),
        Format::Tiff => tiff::read(bytes),
        Format::Bmp => bmp::read(bytes),
        Format::WebP => webp::read(bytes),
        Format::Gif => gif::read(bytes),
    }
}

/// (height, width) as stored and upright.
pub(super) fn sizes(mut file: impl BufRead + Seek) -> Result<[(usize, usize); 2], Refusal> {
    let head: [u8; SIGNATURE_BYTES] = array(&mut file)?;
    file.rewind()?;
    let ((width, height), how) = match format(&head)? {
        Format::Png => png::size(file),
        Format::Jpeg => jpeg::size(file),
        Format::Tiff => tiff::size(file),
        Format::Bmp => bmp::size(file),
        Format::WebP => webp::size(file),
        Format::Gif => gif::size(file),
    }?;
    check_size(width, height, 1)?;
    let stored = (height as usize, width as usize);
    Ok([stored, orientation::size(stored, how)])
}

/// The next `N` bytes.
fn array<const N: usize>(file: &mut impl Read) -> Result<[u8; N], Refusal> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// The next `count` bytes. Memory is allocated only for those that exist.
fn take(file: &mut impl Read, count: u64) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    file.take(count).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn format(bytes: &[u8]) -> Result<Format, Refusal> {
    if bytes.len() < SIGNATURE_BYTES {
        return Err(Refusal::corrupt("it ends within its first bytes"));
    }
    match *bytes {
        [0x89, b'P', b'N', b'G', ..] => Ok(Format::Png),
        [0xFF, 0xD8, ..] => Ok(Format::Jpeg),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Format::Tiff),
        [b'B', b'M', ..] => Ok(Format::Bmp),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Ok(Format::WebP),
        [b'G', b'I', b'F', b'8', ..] => Ok(Format::Gif),
        _ => Err(Refusal::Unknown),
    }
}

/// Refuses a size that is empty or beyond the limits, before memory is allocated for it. Returns
/// the bytes of all pixels.
fn check_size(width: u32, height: u32, bytes_of_pixel: usize) -> Result<usize, Refusal> {
    if width == 0 || height == 0 {
        return Err(Refusal::corrupt("it has no pixels"));
    }
    let bytes = u64::from(width) * u64::from(height) * bytes_of_pixel as u64;
    match usize::try_from(bytes) {
        Ok(size) if width.max(height) <= MAX_SIDE && bytes <= MAX_DECODED_BYTES => Ok(size),
        _ => Err(Refusal::TooLarge),
    }
}

/// Refuses a file that claims more than its bytes can hold, before memory is allocated for it.
fn check_claim(bytes: &[u8], claimed: u64, most_of_one: u64) -> Result<(), Refusal> {
    if claimed > most_of_one.saturating_mul(bytes.len() as u64) {
        return Err(Refusal::corrupt(
            "it has too few bytes for its size in pixels",
        ));
    }
    Ok(())
}

/// The first `count` samples of each row of `row_bytes`. Samples of less than 8 bits are packed,
/// highest bits first.
fn unpack(rows: &[u8], row_bytes: usize, bits: usize, count: usize) -> Vec<u8> {
    let sample = |row: &[u8], i: usize| {
        let at = i * bits;
        let pair = [row[at / 8], row.get(at / 8 + 1).copied().unwrap_or(0)];
        let [high, _] = (u16::from_be_bytes(pair) << (at % 8)).to_be_bytes();
        high >> (8 - bits)
    };
    rows.chunks_exact(row_bytes)
        .flat_map(|row| (0..count).map(move |i| sample(row, i)))
        .collect()
}
