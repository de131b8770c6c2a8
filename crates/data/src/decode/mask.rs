//! Reads masks: which labels they may hold, and which class each label means.

use std::path::Path;

use super::Decoded;
use super::labels::{LabelKind, Labels, labels};
use crate::DataError;

/// Number of values shown in an error.
const MAX_NAMED: usize = 8;
/// Smooth edges are at most one of this many pixels.
const SMOOTH_SHARE: usize = 4;

/// The mask at `path` as classes `[H, W]`, upright. It is a PNG, TIFF, BMP, GIF or lossless WebP
/// file.
///
/// With `classes` 0 or 1 the mask is binary. It holds two values, of which the higher is the
/// foreground, or smooth edges between black and white, which are split at half of white, like
/// `convert("L") > 127`. If it has one value, 0 is background, and 1, 255 and white are foreground.
/// If its palette is gray, the gray levels count, or else the indices. With more classes each value
/// is the index of a class, 0 to `classes - 1`. Colour channels must be equal; alpha is dropped,
/// unless nothing else differs between pixels.
///
/// # Errors
/// [`DataError::MaskValues`], [`DataError::MaskColours`], or as [`labels`](super::labels()).
pub fn mask(path: &Path, classes: usize) -> Result<Decoded, DataError> {
    let mut labels = labels(path)?;
    if labels.kind == LabelKind::Colour {
        return Err(coloured(path, &labels.values, classes));
    }
    let pixels = if classes <= 1 {
        by_brightness(&mut labels);
        binary(&labels)
    } else {
        indexed(&labels.values, classes)
    };
    Ok(Decoded {
        pixels: pixels.ok_or_else(|| refused(path, labels.values, classes))?,
        height: labels.height,
        width: labels.width,
        origin: labels.origin,
        transparent: false,
        non_finite: 0,
    })
}

fn indexed(values: &[u32], classes: usize) -> Option<Vec<u8>> {
    let class = |&value: &u32| {
        u8::try_from(value)
            .ok()
            .filter(|&value| usize::from(value) < classes)
    };
    values.iter().map(class).collect()
}

/// Replaces indices by gray levels if every used colour is gray, because some programs put white
/// first, or store gray levels in the order in which they occur.
fn by_brightness(labels: &mut Labels) {
    let LabelKind::Palette(palette) = &labels.kind else {
        return;
    };
    let level = |index: &u32| match palette.get(*index as usize) {
        Some(&[r, g, b, _]) if r == g && g == b => Some(u32::from(r)),
        _ => None,
    };
    if let Some(levels) = labels.values.iter().map(level).collect() {
        labels.values = levels;
        labels.kind = LabelKind::Gray;
        labels.highest = u8::MAX.into();
    }
}

fn binary(labels: &Labels) -> Option<Vec<u8>> {
    let (values, white) = (&labels.values, labels.highest);
    let low = values.iter().copied().min()?;
    let high = values.iter().copied().max()?;
    let split = |is_lit: &dyn Fn(u32) -> bool| {
        let classes = values.iter().map(|&value| u8::from(is_lit(value)));
        Some(classes.collect())
    };
    if low == high {
        let is_known = low == 0 || low == 1 || low == u32::from(u8::MAX) || low == white;
        return is_known.then(|| vec![u8::from(low > 0); values.len()]);
    }
    if values.iter().all(|&value| value == low || value == high) {
        return split(&|value| value == high);
    }
    let is_smooth = matches!(labels.kind, LabelKind::Gray | LabelKind::Alpha)
        && (low, high) == (0, white)
        && has_smooth_edges(labels);
    // Half of white, at 8 bits.
    is_smooth
        .then(|| split(&|value| u64::from(value) * 255 / u64::from(white) > 127))
        .flatten()
}

/// Whether the values between black and white are edges that were smoothed: they are few, and most
/// of them lie on a slope, with a darker and a brighter neighbour. In a map of labels, or around an
/// object that has a border of its own, most have neighbours of the same value.
fn has_smooth_edges(labels: &Labels) -> bool {
    let (height, width) = (labels.height, labels.width);
    let (mut between, mut on_slope) = (0_usize, 0_usize);
    for (at, &value) in labels.values.iter().enumerate() {
        if value == 0 || value == labels.highest {
            continue;
        }
        let (y, x) = (at / width, at % width);
        let rows = y.saturating_sub(1)..(y + 2).min(height);
        let columns = x.saturating_sub(1)..(x + 2).min(width);
        let near = || {
            rows.clone()
                .flat_map(|y| &labels.values[y * width..][columns.clone()])
        };
        between += 1;
        on_slope += usize::from(near().any(|&it| it < value) && near().any(|&it| it > value));
    }
    between * SMOOTH_SHARE <= labels.values.len() && on_slope * 2 > between
}

fn refused(path: &Path, mut values: Vec<u32>, classes: usize) -> DataError {
    values.sort_unstable();
    values.dedup();
    DataError::MaskValues {
        mask: path.to_owned(),
        found: values.iter().copied().take(MAX_NAMED).collect(),
        distinct: values.len(),
        max: values.last().copied().unwrap_or(0),
        classes,
    }
}

fn coloured(path: &Path, colours: &[u32], classes: usize) -> DataError {
    let mut found: Vec<[u8; 3]> = Vec::new();
    for colour in colours {
        let [_, r, g, b] = colour.to_be_bytes();
        if (r != g || g != b) && !found.contains(&[r, g, b]) {
            found.push([r, g, b]);
        }
        if found.len() == MAX_NAMED {
            break;
        }
    }
    DataError::MaskColours {
        mask: path.to_owned(),
        found,
        classes,
    }
}
