//! Images as RGB of 8 bits, the network's input.

use std::borrow::Cow;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Decoded;
use super::raster::{Alpha, Raster, Samples, raster};
use crate::DataError;

/// How values that are wider than 8 bits become bytes. The default is what files of 8 bits need:
/// integers keep their higher 8 bits, and floats must lie between 0 and 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageRule {
    /// The values that become black and white, measured over the whole set with [`value_range`].
    pub range: Option<Range>,
}

/// Values that become the bytes 0 and 255. Those between are spread linearly and rounded to the
/// nearest byte, halves up; those outside become the nearer end.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// The value of black. Values that are not finite become black as well.
    pub low: f32,
    /// The value of white.
    pub high: f32,
}

impl Range {
    /// What floats without a range are in.
    const UNIT: Self = Self {
        low: 0.0,
        high: 1.0,
    };

    fn byte(self, value: f64) -> u8 {
        let (low, high) = (f64::from(self.low), f64::from(self.high));
        // A range of one value makes this NaN, which is cast to 0.
        let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 255, or NaN"
        )]
        let byte = (share * 255.0).round() as u8;
        if value.is_finite() { byte } else { 0 }
    }
}

/// The values of one file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ValueRange {
    /// The lowest finite value.
    pub low: f32,
    /// The highest finite value.
    pub high: f32,
    /// The value of white as stored, or none for floats.
    pub highest: Option<u32>,
}

/// The image at `path`, any file that [`raster`](super::raster()) reads, as RGB `[H, W, 3]`.
///
/// A single channel is repeated. Values wider than 8 bits become bytes by `rule`. What is
/// transparent shows white, as if the image were pasted on white in Pillow. The result says where
/// either happened.
///
/// # Errors
/// [`DataError::Channels`], [`DataError::NoRange`], or as [`raster`](super::raster()).
pub fn image(path: &Path, rule: &ImageRule) -> Result<Decoded, DataError> {
    let raster = raster(path)?;
    raster.check_channels(path)?;
    if let (None, Samples::F32(samples)) = (rule.range, &raster.samples) {
        check_unit(path, samples)?;
    }
    let (pixels, transparent) = match &raster.palette {
        Some(palette) => on_white(coloured(&raster, palette).into(), 4, Alpha::Straight),
        None => on_white(shown(&raster, rule), raster.channels, raster.alpha),
    };
    let non_finite = match &raster.samples {
        Samples::F32(samples) => samples.iter().filter(|value| !value.is_finite()).count(),
        _ => 0,
    };
    Ok(Decoded {
        pixels,
        height: raster.height,
        width: raster.width,
        origin: raster.origin,
        transparent,
        non_finite,
    })
}

impl ValueRange {
    /// The range of two files together, both of integers or both of floats.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
            highest: self.highest.max(other.highest),
        }
    }
}

/// The range of the colours in a file, to be united over a set into an [`ImageRule`]. Files of up to
/// 8 bits need none, and a file without a finite value has none.
pub fn value_range(raster: &Raster) -> Option<ValueRange> {
    let ends = match &raster.samples {
        _ if raster.palette.is_some() => None,
        Samples::U8(_) => None,
        Samples::U16(samples) => ends(raster, samples, f32::from),
        Samples::U32(samples) => ends(raster, samples, |value| value as f32),
        Samples::F32(samples) => ends(raster, samples, |value| value),
    };
    ends.map(|(low, high)| ValueRange {
        low,
        high,
        highest: raster.highest,
    })
}

/// The lowest and the highest finite colour.
fn ends<T: Copy>(raster: &Raster, samples: &[T], float: impl Fn(T) -> f32) -> Option<(f32, f32)> {
    let pixels = samples.chunks_exact(raster.channels);
    let colours = pixels.flat_map(|pixel| &pixel[..raster.colours()]);
    let finite = colours
        .map(|&value| float(value))
        .filter(|it| it.is_finite());
    finite.fold(None, |ends, value| {
        let (low, high) = ends.unwrap_or((value, value));
        Some((value.min(low), value.max(high)))
    })
}

/// Refuses floats outside 0 to 1: no range says which of them is white.
fn check_unit(path: &Path, samples: &[f32]) -> Result<(), DataError> {
    let mut outside = samples.iter().filter(|it| it.is_finite());
    match outside.find(|it| !(0.0..=1.0).contains(*it)) {
        None => Ok(()),
        Some(&found) => Err(DataError::NoRange {
            path: path.to_owned(),
            found,
        }),
    }
}

/// The colours of the indices, RGBA. An index without a colour is black.
fn coloured(raster: &Raster, palette: &[[u8; 4]]) -> Vec<u8> {
    let colour = |at| {
        let index = raster.samples.label(at).unwrap_or(u32::MAX);
        let colour = palette.get(index as usize).copied();
        colour.unwrap_or([0, 0, 0, u8::MAX])
    };
    (0..raster.height * raster.width).flat_map(colour).collect()
}

/// All channels as bytes, 0 black.
fn shown<'a>(raster: &'a Raster, rule: &ImageRule) -> Cow<'a, [u8]> {
    let mut bytes = bytes(raster, rule);
    if raster.origin.white_is_zero {
        for pixel in bytes.to_mut().chunks_exact_mut(raster.channels) {
            for colour in &mut pixel[..raster.colours()] {
                *colour = u8::MAX - *colour;
            }
        }
    }
    bytes
}

/// All channels as bytes.
fn bytes<'a>(raster: &'a Raster, rule: &ImageRule) -> Cow<'a, [u8]> {
    let highest = raster.highest.unwrap_or(0);
    let wide = |value: u32| match rule.range {
        Some(range) => range.byte(value.into()),
        None => stored(value, highest),
    };
    match &raster.samples {
        Samples::U8(samples) if highest == u32::from(u8::MAX) => Cow::Borrowed(samples),
        Samples::U8(samples) => samples
            .iter()
            .map(|&it| stored(it.into(), highest))
            .collect(),
        Samples::U16(samples) => {
            let alpha = |value: u16| stored(value.into(), highest);
            each(raster, samples, |value| wide(value.into()), alpha)
        }
        Samples::U32(samples) => each(raster, samples, wide, |value| stored(value, highest)),
        Samples::F32(samples) => {
            let range = rule.range.unwrap_or(Range::UNIT);
            let colour = |value: f32| range.byte(value.into());
            each(raster, samples, colour, |value| {
                Range::UNIT.byte(value.into())
            })
        }
    }
}

/// Makes bytes of colours by `colour` and of alpha by `alpha`.
fn each<T: Copy>(
    raster: &Raster,
    samples: &[T],
    colour: impl Fn(T) -> u8,
    alpha: impl Fn(T) -> u8,
) -> Cow<'static, [u8]> {
    let colours = raster.colours();
    let mut bytes = Vec::with_capacity(samples.len());
    for pixel in samples.chunks_exact(raster.channels) {
        bytes.extend(pixel[..colours].iter().map(|&value| colour(value)));
        bytes.extend(pixel[colours..].iter().map(|&value| alpha(value)));
    }
    bytes.into()
}

/// A stored integer as a byte: fewer than 8 bits are spread, and of more the higher 8 are kept.
fn stored(value: u32, highest: u32) -> u8 {
    let bits = u32::BITS - highest.leading_zeros();
    let byte = if bits > 8 {
        value >> (bits - 8)
    } else {
        value * 255 / highest.max(1)
    };
    u8::try_from(byte).unwrap_or(u8::MAX)
}

/// RGB over white, and whether any pixel is not opaque.
fn on_white(bytes: Cow<'_, [u8]>, channels: usize, alpha: Alpha) -> (Vec<u8>, bool) {
    if channels == 3 {
        return (bytes.into_owned(), false);
    }
    let mut pixels = Vec::with_capacity(bytes.len() / channels * 3);
    let mut transparent = false;
    for pixel in bytes.chunks_exact(channels) {
        let opacity = if alpha == Alpha::None {
            u8::MAX
        } else {
            pixel[channels - 1]
        };
        transparent |= opacity < u8::MAX;
        for channel in 0..3 {
            let colour = pixel[if channels < 3 { 0 } else { channel }];
            pixels.push(over_white(colour, opacity, alpha));
        }
    }
    (pixels, transparent)
}

/// `colour` over white, rounded to the nearest byte.
fn over_white(colour: u8, opacity: u8, alpha: Alpha) -> u8 {
    let rest = u8::MAX - opacity;
    if alpha == Alpha::Premultiplied {
        return colour.saturating_add(rest);
    }
    let sum = u32::from(colour) * u32::from(opacity) + 255 * u32::from(rest);
    u8::try_from((sum + 127) / 255).unwrap_or(u8::MAX)
}
