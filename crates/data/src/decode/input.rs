//! Images as bytes, the network's input.

use std::borrow::Cow;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::raster::{Alpha, Raster, Samples, raster};
use super::{Decoded, MAX_CHANNELS};
use crate::DataError;

/// How images become bytes. The default is RGB of files with 8 bits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Wire")]
pub struct ImageRule {
    /// Channels of the result. For 3, a single channel is repeated.
    pub channels: usize,
    /// The values that become black and white, measured over the whole set with [`value_range`]: of all
    /// channels, or of each. Without them integers keep their higher 8 bits, and floats must lie between 0
    /// and 1.
    pub ranges: Vec<Range>,
}

impl Default for ImageRule {
    fn default() -> Self {
        Self {
            channels: 3,
            ranges: Vec::new(),
        }
    }
}

/// An [`ImageRule`] in a file. Earlier files have no `channels`, and one `range` for all of them.
#[derive(Deserialize)]
struct Wire {
    channels: Option<usize>,
    range: Option<Range>,
    #[serde(default)]
    ranges: Vec<Range>,
}

impl From<Wire> for ImageRule {
    fn from(wire: Wire) -> Self {
        let mut ranges = wire.ranges;
        ranges.extend(wire.range);
        Self {
            channels: wire.channels.unwrap_or(3),
            ranges,
        }
    }
}

impl ImageRule {
    /// The range of a channel, if it has one.
    fn range(&self, channel: usize) -> Option<Range> {
        let of_all = self.ranges.first().filter(|_| self.ranges.len() == 1);
        of_all.or_else(|| self.ranges.get(channel)).copied()
    }

    /// Whether a file can hold it: the number of channels and of ranges is possible, and ranges are finite.
    pub fn is_sound(&self) -> bool {
        let num_ranges = self.ranges.len();
        (1..=MAX_CHANNELS).contains(&self.channels)
            && (num_ranges <= 1 || num_ranges == self.channels)
            && self
                .ranges
                .iter()
                .all(|it| it.low.is_finite() && it.high.is_finite())
    }
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

    fn union(self, other: Self) -> Self {
        Self {
            low: self.low.min(other.low),
            high: self.high.max(other.high),
        }
    }

    fn of_both(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(one.union(other)),
            (one, other) => one.or(other),
        }
    }

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

/// The values of one file, or of several.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueRange {
    /// The lowest and the highest finite value of each colour, if it has one.
    pub colours: Vec<Option<Range>>,
    /// Those of alpha, if there is one.
    pub alpha: Option<Range>,
    /// The value of white as stored, or none for floats.
    pub highest: Option<u32>,
}

/// The image at `path`, any file that [`raster`](super::raster()) reads, as bytes `[H, W, C]` with the
/// channels of `rule`.
///
/// As RGB, a single channel is repeated. What is transparent in an image of gray or RGB shows white, as if
/// it were pasted on white in Pillow; the alpha of other images is a channel like the others. Values wider
/// than 8 bits become bytes by `rule`.
///
/// # Errors
/// [`DataError::OtherChannels`], [`DataError::NoRange`], or as [`raster`](super::raster()).
pub fn image(path: &Path, rule: &ImageRule) -> Result<Decoded, DataError> {
    let mut raster = raster(path)?;
    let (form, colours) = (raster.form(), raster.colours());
    if !form.becomes(rule.channels) {
        return Err(DataError::OtherChannels {
            path: path.to_owned(),
            channels: form.colours,
            expected: rule.channels,
        });
    }
    if !form.is_shown_as(rule.channels) {
        raster.alpha = Alpha::None;
    }
    if rule.ranges.is_empty() {
        check_unit(path, &raster)?;
    }
    let pixels = match &raster.palette {
        Some(palette) => on_white(coloured(&raster, palette).into(), 4, 3, Alpha::Straight),
        None => on_white(
            shown(&raster, rule, colours),
            raster.channels,
            rule.channels,
            raster.alpha,
        ),
    };
    Ok(Decoded {
        pixels,
        height: raster.height,
        width: raster.width,
        origin: raster.origin,
    })
}

impl ValueRange {
    /// The range of two files together, both of integers or both of floats.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        let len = self.colours.len().max(other.colours.len());
        self.colours.resize(len, None);
        for (mine, other) in self.colours.iter_mut().zip(other.colours) {
            *mine = Range::of_both(*mine, other);
        }
        self.alpha = Range::of_both(self.alpha, other.alpha);
        self.highest = self.highest.max(other.highest);
        self
    }

    /// The range of all colours together.
    pub fn of_all(&self) -> Option<Range> {
        self.colours.iter().copied().flatten().reduce(Range::union)
    }

    /// The range of each of `channels`, of which the last can be alpha.
    pub fn of_each(&self, channels: usize) -> Vec<Option<Range>> {
        let mut ranges = self.colours.clone();
        ranges.resize(channels, None);
        if let Some(last) = ranges.last_mut() {
            *last = Range::of_both(*last, self.alpha);
        }
        ranges
    }

    /// The values that the type of these is meant to span: up to white, or from 0 to 1.
    pub fn nominal(&self) -> Range {
        self.highest.map_or(Range::UNIT, |white| Range {
            low: 0.0,
            high: white as f32,
        })
    }

    /// Whether `range` uses that span.
    pub fn is_nominal(&self, range: Range) -> bool {
        match self.highest {
            Some(white) => range.high > white as f32 / 2.0,
            None => range.low >= 0.0 && range.high <= 1.0,
        }
    }
}

/// The range of the values in a file, to be united over a set into an [`ImageRule`]. Files of up to
/// 8 bits need none, and a file without a finite value has none.
pub fn value_range(raster: &Raster) -> Option<ValueRange> {
    let mut channels = match &raster.samples {
        _ if raster.palette.is_some() => return None,
        Samples::U8(_) => return None,
        Samples::U16(samples) => ends(raster, samples, f32::from),
        Samples::U32(samples) => ends(raster, samples, |value| value as f32),
        Samples::F32(samples) => ends(raster, samples, |value| value),
    };
    let alpha = channels.split_off(raster.colours()).pop().flatten();
    let is_known = alpha.is_some() || channels.iter().any(Option::is_some);
    is_known.then_some(ValueRange {
        colours: channels,
        alpha,
        highest: raster.highest,
    })
}

/// The lowest and the highest finite value of each channel.
fn ends<T: Copy>(raster: &Raster, samples: &[T], float: impl Fn(T) -> f32) -> Vec<Option<Range>> {
    let mut found = vec![None; raster.channels];
    for pixel in samples.chunks_exact(raster.channels) {
        for (range, &value) in found.iter_mut().zip(pixel) {
            let value = float(value);
            if value.is_finite() {
                let (low, high) = (value, value);
                *range = Range::of_both(*range, Some(Range { low, high }));
            }
        }
    }
    found
}

/// Refuses floats outside 0 to 1: no range says which of them is white. Alpha has no range.
fn check_unit(path: &Path, raster: &Raster) -> Result<(), DataError> {
    let Samples::F32(samples) = &raster.samples else {
        return Ok(());
    };
    let pixels = samples.chunks_exact(raster.channels);
    let colours = pixels.flat_map(|pixel| &pixel[..raster.colours()]);
    let mut finite = colours.filter(|it| it.is_finite());
    match finite.find(|it| !(0.0..=1.0).contains(*it)) {
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

/// All channels as bytes, 0 black in the first `colours` of them.
fn shown<'a>(raster: &'a Raster, rule: &ImageRule, colours: usize) -> Cow<'a, [u8]> {
    let mut bytes = bytes(raster, rule);
    if raster.origin.white_is_zero {
        for pixel in bytes.to_mut().chunks_exact_mut(raster.channels) {
            for colour in &mut pixel[..colours] {
                *colour = u8::MAX - *colour;
            }
        }
    }
    bytes
}

/// All channels as bytes.
fn bytes<'a>(raster: &'a Raster, rule: &ImageRule) -> Cow<'a, [u8]> {
    let highest = raster.highest.unwrap_or(0);
    let wide = |value: u32, range: Option<Range>| match range {
        Some(range) => range.byte(value.into()),
        None => stored(value, highest),
    };
    match &raster.samples {
        Samples::U8(samples) if highest == u32::from(u8::MAX) => Cow::Borrowed(samples),
        Samples::U8(samples) => samples
            .iter()
            .map(|&it| stored(it.into(), highest))
            .collect(),
        Samples::U16(samples) => each(raster, rule, samples, |value, range| {
            wide(value.into(), range)
        }),
        Samples::U32(samples) => each(raster, rule, samples, wide),
        Samples::F32(samples) => each(raster, rule, samples, |value, range| {
            range.unwrap_or(Range::UNIT).byte(value.into())
        }),
    }
}

/// Makes bytes of values and the range of their channel. The alpha of what is shown has no range.
fn each<T: Copy>(
    raster: &Raster,
    rule: &ImageRule,
    samples: &[T],
    byte: impl Fn(T, Option<Range>) -> u8,
) -> Cow<'static, [u8]> {
    let ranges: Vec<_> = (0..raster.channels)
        .map(|channel| rule.range(channel).filter(|_| channel < raster.colours()))
        .collect();
    let mut bytes = Vec::with_capacity(samples.len());
    for pixel in samples.chunks_exact(raster.channels) {
        let values = pixel.iter().zip(&ranges);
        bytes.extend(values.map(|(&value, &range)| byte(value, range)));
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

/// `channels` of `bytes` as `wanted` ones, over white where there is alpha.
fn on_white(bytes: Cow<'_, [u8]>, channels: usize, wanted: usize, alpha: Alpha) -> Vec<u8> {
    if channels == wanted {
        return bytes.into_owned();
    }
    let colours = channels - usize::from(alpha != Alpha::None);
    let mut pixels = Vec::with_capacity(bytes.len() / channels * wanted);
    for pixel in bytes.chunks_exact(channels) {
        let opacity = pixel.get(colours).copied().unwrap_or(u8::MAX);
        for channel in 0..wanted {
            let colour = pixel[channel.min(colours - 1)];
            pixels.push(over_white(colour, opacity, alpha));
        }
    }
    pixels
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
