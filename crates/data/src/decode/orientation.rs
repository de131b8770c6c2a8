//! Turns samples as EXIF says that they were taken.

use image::metadata::Orientation;

/// The orientation in a block of EXIF data; upright if it has none.
pub(super) fn of_exif(block: Option<&[u8]>) -> Orientation {
    let block = block.unwrap_or_default();
    let block = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    Orientation::from_exif_chunk(block).unwrap_or(Orientation::NoTransforms)
}

/// (height, width) of an image of (`height`, `width`) once it is turned.
pub(super) fn size((height, width): (usize, usize), how: Orientation) -> (usize, usize) {
    match how {
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => (height, width),
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (width, height),
    }
}

/// `samples` `[height, width, channels]` turned. Rotations are clockwise.
pub(crate) fn turned<T: Copy>(
    samples: Vec<T>,
    (height, width, channels): (usize, usize, usize),
    how: Orientation,
) -> Vec<T> {
    if how == Orientation::NoTransforms {
        return samples;
    }
    let (bottom, right) = (height.saturating_sub(1), width.saturating_sub(1));
    let source = |y: usize, x: usize| match how {
        Orientation::NoTransforms => (y, x),
        Orientation::FlipHorizontal => (y, right - x),
        Orientation::Rotate180 => (bottom - y, right - x),
        Orientation::FlipVertical => (bottom - y, x),
        Orientation::Rotate90FlipH => (x, y),
        Orientation::Rotate90 => (bottom - x, y),
        Orientation::Rotate270FlipH => (bottom - x, right - y),
        Orientation::Rotate270 => (x, right - y),
    };
    let (rows, columns) = size((height, width), how);
    let mut turned = Vec::with_capacity(samples.len());
    for at in 0..rows * columns {
        let (row, column) = source(at / columns, at % columns);
        turned.extend_from_slice(&samples[(row * width + column) * channels..][..channels]);
    }
    turned
}
