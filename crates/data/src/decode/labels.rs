//! What a mask file says about each pixel, before anyone decides which class it means.

use std::collections::BTreeSet;
use std::path::Path;

use super::raster::{Alpha, Origin, Raster, Samples, raster};
use crate::DataError;

/// The labels of one file, upright.
#[derive(Debug, Clone, PartialEq)]
pub struct Labels {
    /// One label for each pixel, `[H, W]`: what it is depends on `kind`.
    pub values: Vec<u32>,
    /// H in pixels.
    pub height: usize,
    /// W in pixels.
    pub width: usize,
    /// Where the labels come from.
    pub kind: LabelKind,
    /// The value of white for gray and alpha (255 for floats), and of the last index that a palette
    /// of this depth can have.
    pub highest: u32,
    /// Whether the file's compression alters values.
    pub lossy: bool,
    /// The only opacity of a file with alpha that has only one colour as well: which of them is the
    /// mask depends on the other files.
    pub opacity: Option<u32>,
    /// Where the pixels come from.
    pub origin: Origin,
}

/// What labels are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelKind {
    /// Gray levels as stored, or those of a palette whose colours are all gray: some programs put white
    /// first, or store gray levels in the order in which they occur.
    Gray,
    /// Indices into these colours, RGBA.
    Palette(Vec<[u8; 4]>),
    /// Colours, as `0xRRGGBB`. Of wider values the higher 8 bits are kept, unless all are below 256.
    Colour,
    /// Opacity as stored: the file has only one colour, but not one opacity.
    Alpha,
}

/// The labels of the mask at `path`: any file that [`raster`](super::raster()) reads. Alpha is
/// dropped, except where nothing but alpha differs between pixels.
///
/// # Errors
/// [`DataError::MaskFractions`], [`DataError::MaskChannels`], or as [`raster`](super::raster()).
pub fn labels(path: &Path) -> Result<Labels, DataError> {
    let mut raster = raster(path)?;
    raster.check_channels(path)?;
    if let Some(found) = fraction(&raster.samples) {
        let mask = path.to_owned();
        return Err(DataError::MaskFractions { mask, found });
    }
    let mut highest = raster.highest.unwrap_or(u8::MAX.into());
    let (values, kind, opacity) = match raster.palette.take() {
        Some(palette) => {
            let (values, kind, opacity) = indexed(&raster, palette);
            if !matches!(kind, LabelKind::Palette(_)) {
                highest = u8::MAX.into();
            }
            (values, kind, opacity)
        }
        None => direct(&raster, highest),
    };
    Ok(Labels {
        values,
        height: raster.height,
        width: raster.width,
        kind,
        highest,
        lossy: raster.lossy,
        opacity,
        origin: raster.origin,
    })
}

/// A sample that is no label, if there is one.
fn fraction(samples: &Samples) -> Option<f32> {
    match samples {
        Samples::F32(floats) => (0..floats.len()).find_map(|index| samples.label(index).err()),
        _ => None,
    }
}

fn indexed(raster: &Raster, palette: Vec<[u8; 4]>) -> (Vec<u32>, LabelKind, Option<u32>) {
    let indices = || (0..raster.height * raster.width).map(|at| label(raster, at));
    let colour = |index: u32| palette.get(index as usize).copied().unwrap_or_default();
    let rgb = |index| colour(index).first_chunk::<3>().copied();
    let opacity = |index| u32::from(colour(index)[3]);
    let has_alpha = palette.iter().any(|&[.., opacity]| opacity < u8::MAX);
    let only = if has_alpha && is_flat(indices().map(rgb)) {
        if !is_flat(indices().map(opacity)) {
            return (indices().map(opacity).collect(), LabelKind::Alpha, None);
        }
        indices().next().map(opacity)
    } else {
        None
    };
    if palette.iter().all(|[r, g, b, _]| r == g && g == b) {
        let used: BTreeSet<u32> = indices().collect();
        let level = |index| u32::from(colour(index)[0]);
        // A palette that does not tell the indices apart means nothing.
        if used
            .iter()
            .map(|&index| level(index))
            .collect::<BTreeSet<_>>()
            .len()
            == used.len()
        {
            return (indices().map(level).collect(), LabelKind::Gray, only);
        }
    }
    (indices().collect(), LabelKind::Palette(palette), only)
}

fn direct(raster: &Raster, highest: u32) -> (Vec<u32>, LabelKind, Option<u32>) {
    let (channels, colours) = (raster.channels, raster.colours());
    let channel = |channel: usize| {
        (0..raster.height * raster.width).map(move |at| label(raster, at * channels + channel))
    };
    let has_alpha = raster.alpha != Alpha::None;
    let only = if has_alpha && (0..colours).all(|it| is_flat(channel(it))) {
        if !is_flat(channel(colours)) {
            return (channel(colours).collect(), LabelKind::Alpha, None);
        }
        channel(colours).next()
    } else {
        None
    };
    if (1..colours).all(|it| channel(it).eq(channel(0))) {
        return (channel(0).collect(), LabelKind::Gray, only);
    }
    let is_wide = (0..colours).any(|it| channel(it).any(|value| value > u8::MAX.into()));
    let bits = u32::BITS - highest.leading_zeros();
    let shift = if is_wide { bits.saturating_sub(8) } else { 0 };
    let pack = |((r, g), b)| (r >> shift) << 16 | (g >> shift) << 8 | b >> shift;
    let packed = channel(0).zip(channel(1)).zip(channel(2)).map(pack);
    (packed.collect(), LabelKind::Colour, only)
}

fn label(raster: &Raster, index: usize) -> u32 {
    // `fraction` has refused everything else.
    raster.samples.label(index).unwrap_or(0)
}

fn is_flat<T: PartialEq>(mut items: impl Iterator<Item = T>) -> bool {
    let first = items.next();
    items.all(|item| Some(item) == first)
}
