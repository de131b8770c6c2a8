//! Walks the directories of a TIFF, one for each page, without reading what they describe. The
//! crate `tiff` allocates memory for values before it reads them, and refuses to interpret some
//! colours whose samples it can read.

use super::Refusal;

const SUBFILE_TYPE: u64 = 254;
const WIDTH: u64 = 256;
const HEIGHT: u64 = 257;
const PHOTOMETRIC: u64 = 262;
const STRIP_OFFSETS: u64 = 273;
const ORIENTATION: u64 = 274;
const STRIP_SIZES: u64 = 279;
const TILE_OFFSETS: u64 = 324;
const TILE_SIZES: u64 = 325;
/// An entry that says that 0 is black: the type of a number of 16 bits, and then how many there are
/// and the number itself, both 1.
const SHORT: u64 = 3;
const BLACK_IS_ZERO: u64 = 1;

/// What the directories say.
#[derive(Debug)]
pub(super) struct Pages {
    /// Number of pages of full size.
    pub(super) count: usize,
    /// Whether the first page is a reduced version of another image.
    pub(super) starts_reduced: bool,
    /// What the colours of the first page mean.
    pub(super) photometric: Option<u64>,
    /// Width of the first page, or 0.
    pub(super) width: u64,
    /// Height of the first page, or 0.
    pub(super) height: u64,
    /// How the first page is turned, as in EXIF data.
    pub(super) orientation: Option<u64>,
}

/// Numbers in the byte order of the file.
struct Numbers<'a> {
    bytes: &'a mut [u8],
    is_little: bool,
}

impl Numbers<'_> {
    fn place(&mut self, at: u64, size: u64) -> Result<&mut [u8], Refusal> {
        let end = at
            .checked_add(size)
            .filter(|&end| end <= self.bytes.len() as u64);
        let range = usize::try_from(at)
            .ok()
            .zip(end.and_then(|end| usize::try_from(end).ok()));
        range
            .and_then(|(at, end)| self.bytes.get_mut(at..end))
            .ok_or_else(|| Refusal::corrupt("it ends before its last value"))
    }

    fn get(&mut self, at: u64, size: u64) -> Result<u64, Refusal> {
        let is_little = self.is_little;
        let digits = self.place(at, size)?.iter();
        let join = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        Ok(if is_little {
            digits.rev().fold(0, join)
        } else {
            digits.fold(0, join)
        })
    }

    fn set(&mut self, at: u64, size: u64, number: u64) -> Result<(), Refusal> {
        let is_little = self.is_little;
        let digits = self.place(at, size)?.iter_mut();
        let write = |(place, digit): (&mut u8, u8)| *place = digit;
        let little = number.to_le_bytes();
        if is_little {
            digits.zip(little).for_each(write);
        } else {
            digits.rev().zip(little).for_each(write);
        }
        Ok(())
    }
}

/// An entry of a directory: `count` values of `value_bytes` each.
#[derive(Clone, Copy)]
struct Entry {
    at: u64,
    tag: u64,
    values_at: u64,
    value_bytes: u64,
    count: u64,
}

/// Counts the pages in `bytes` and checks that all values, strips and tiles lie in the file.
/// Declares the first page to be gray, so that the crate `tiff` gives its samples unchanged.
pub(super) fn walk(bytes: &mut [u8]) -> Result<Pages, Refusal> {
    let is_little = bytes[0] == b'I';
    // What directories and places of chunks may take: those that overlap could take any time.
    let mut left = bytes.len() as u64;
    let mut file = Numbers { bytes, is_little };
    let is_big = file.get(2, 2)? == 43;
    // Bytes of the number of entries, and of an offset.
    let (count_bytes, word) = if is_big { (8, 8) } else { (2, 4) };
    let mut next = file.get(if is_big { 8 } else { 4 }, word)?;
    let mut pages = Pages {
        count: 0,
        starts_reduced: false,
        photometric: None,
        width: 0,
        height: 0,
        orientation: None,
    };
    let mut is_first = true;
    while next != 0 {
        let entries = file.get(next, count_bytes)?;
        let size = entries.saturating_mul(4 + 2 * word);
        spend(&mut left, size.saturating_add(count_bytes))?;
        let first = next + count_bytes;
        let mut is_reduced = false;
        let (mut offsets, mut sizes) = (None, None);
        for index in 0..entries {
            let entry = entry(&mut file, first + index * (4 + 2 * word), word)?;
            match entry.tag {
                SUBFILE_TYPE => is_reduced = value(&mut file, &entry, 0)? & 1 == 1,
                STRIP_OFFSETS | TILE_OFFSETS => offsets = Some(entry),
                STRIP_SIZES | TILE_SIZES => sizes = Some(entry),
                WIDTH if is_first => pages.width = value(&mut file, &entry, 0)?,
                HEIGHT if is_first => pages.height = value(&mut file, &entry, 0)?,
                ORIENTATION if is_first => {
                    pages.orientation = Some(value(&mut file, &entry, 0)?);
                }
                PHOTOMETRIC if is_first => {
                    pages.photometric = Some(value(&mut file, &entry, 0)?);
                    file.set(entry.at + 2, 2, SHORT)?;
                    file.set(entry.at + 4, word, 1)?;
                    file.set(entry.at + 4 + word, 2, BLACK_IS_ZERO)?;
                }
                _ => {}
            }
        }
        if let (Some(offsets), Some(sizes)) = (offsets, sizes) {
            spend(&mut left, offsets.count)?;
            check_chunks(&mut file, &offsets, &sizes)?;
        }
        pages.starts_reduced |= is_first && is_reduced;
        pages.count += usize::from(!is_reduced);
        is_first = false;
        next = file.get(first + size, word)?;
    }
    Ok(pages)
}

fn spend(left: &mut u64, size: u64) -> Result<(), Refusal> {
    let rest = left.checked_sub(size);
    *left = rest.ok_or_else(|| Refusal::corrupt("its directories overlap"))?;
    Ok(())
}

/// The entry at `at`, whose values all lie in the file.
fn entry(file: &mut Numbers<'_>, at: u64, word: u64) -> Result<Entry, Refusal> {
    let value_bytes = match file.get(at + 2, 2)? {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16 | 17 | 18 => 8,
        // The decoder skips an entry of a type that it does not know.
        _ => 0,
    };
    let count = file.get(at + 4, word)?;
    let size = count.saturating_mul(value_bytes);
    let inline = at + 4 + word;
    let values_at = if size > word {
        file.get(inline, word)?
    } else {
        inline
    };
    file.place(values_at, size)?;
    Ok(Entry {
        at,
        tag: file.get(at, 2)?,
        values_at,
        value_bytes,
        count,
    })
}

fn value(file: &mut Numbers<'_>, entry: &Entry, index: u64) -> Result<u64, Refusal> {
    file.get(
        entry.values_at + index * entry.value_bytes,
        entry.value_bytes,
    )
}

/// Checks that all strips or tiles of a page lie in the file. Those of a sparse file that are
/// missing have no bytes.
fn check_chunks(file: &mut Numbers<'_>, offsets: &Entry, sizes: &Entry) -> Result<(), Refusal> {
    let end = file.bytes.len() as u64;
    for index in 0..offsets.count.min(sizes.count) {
        let (at, size) = (value(file, offsets, index)?, value(file, sizes, index)?);
        if size == 0 || at.saturating_add(size) > end {
            return Err(Refusal::corrupt("it lacks a part of its pixels"));
        }
    }
    Ok(())
}
