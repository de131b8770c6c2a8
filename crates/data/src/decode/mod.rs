//! Decodes files: any of the formats to its samples ([`raster`](raster())), images to bytes
//! ([`image`](image())), masks to what they store ([`labels`](labels())), headers to a size ([`size`]).

mod formats;
mod input;
mod labels;
mod orientation;
mod raster;
#[cfg(test)]
pub(crate) mod tests;

use std::fs::{self, File};
use std::io::BufReader;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

pub use ::image::metadata::Orientation;
pub use input::{ImageRule, Range, ValueRange, image, value_range};
pub use labels::{LabelKind, Labels, labels};
pub(crate) use orientation::turned;
pub use raster::{Alpha, Form, Origin, Raster, Samples, raster};

use super::DataError;
use super::loader::reading;
use formats::Refusal;

/// Endings of the formats, for those who list files. Readers go by the content alone.
pub const ENDINGS: [&str; 10] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "tif", "tiff", "bmp", "webp", "gif",
];
/// Longest accepted side of an image, in pixels. A file of a few bytes may claim any size,
/// and memory is allocated before its pixels are read.
pub const MAX_SIDE: u32 = 16_384;
/// The most channels of an image.
pub const MAX_CHANNELS: usize = 16;
/// Largest memory that one decoded file may take: 1 GiB.
pub(crate) const MAX_DECODED_BYTES: u64 = 1 << 30;
/// Largest file that is read: 2 GiB.
const MAX_FILE_BYTES: u64 = 2 << 30;

/// A decoded image, upright.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// `[H, W, C]`.
    pub pixels: Vec<u8>,
    /// H in pixels.
    pub height: usize,
    /// W in pixels.
    pub width: usize,
    /// Where the pixels come from.
    pub origin: Origin,
}

/// (height, width) in pixels of the image at `path` as [`raster`](raster()) gives it, upright. Only
/// headers are looked at, so that a file may have a size and still be damaged.
///
/// # Errors
/// [`DataError::Read`], [`DataError::UnknownFormat`], [`DataError::Corrupt`],
/// [`DataError::Unsupported`] or [`DataError::TooLarge`].
pub fn size(path: &Path) -> Result<(usize, usize), DataError> {
    sizes(path).map(|[_, upright]| upright)
}

/// The size as stored, and the upright one.
pub(crate) fn sizes(path: &Path) -> Result<[(usize, usize); 2], DataError> {
    guarded(path, || formats::sizes(BufReader::new(File::open(path)?)))
}

/// Decoders are known to panic on damaged files, which must not end a worker.
fn guarded<T>(path: &Path, decode: impl FnOnce() -> Result<T, Refusal>) -> Result<T, DataError> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_panic| Err(Refusal::corrupt("its decoder panicked")))
        .map_err(|refusal| refusal.of(path))
}

fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let failed = |source| DataError::Read {
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).map_err(failed)?.len() > MAX_FILE_BYTES {
        return Err(DataError::Unsupported {
            path: path.to_owned(),
            what: "it is a file of more than 2 GiB".to_owned(),
        });
    }
    reading(|| fs::read(path)).map_err(failed)
}
