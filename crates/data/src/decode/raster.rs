//! The samples of a file, exactly as it stores them: what its readers have in common.

use std::path::Path;

use image::metadata::Orientation;

use super::{formats, guarded, orientation, read};
use crate::DataError;

/// Samples `[H, W, C]` as the file stores them. Depths below 8 bits are unpacked and not scaled.
/// Signed integers, and those of 64 bits, are `U32` if all of a file fit, or else the nearest `f32`,
/// as are floats of 16 and 64 bits.
#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// Up to 8 bits.
    U8(Vec<u8>),
    /// Up to 16 bits.
    U16(Vec<u16>),
    /// Up to 32 bits, or signed and not negative.
    U32(Vec<u32>),
    /// Floats, and integers that fit nothing else.
    F32(Vec<f32>),
}

impl Samples {
    /// The sample at `index` as a label, or the sample itself if it is not a whole number from 0 to
    /// 2^24, up to which `f32` holds every one.
    pub(super) fn label(&self, index: usize) -> Result<u32, f32> {
        match self {
            Self::U8(samples) => Ok(samples[index].into()),
            Self::U16(samples) => Ok(samples[index].into()),
            Self::U32(samples) => Ok(samples[index]),
            Self::F32(samples) => whole(samples[index]).ok_or(samples[index]),
        }
    }
}

fn whole(value: f32) -> Option<u32> {
    let fits = value.fract() == 0.0 && (0.0..=16_777_216.0).contains(&value);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number from 0 to 2^24"
    )]
    fits.then_some(value as u32)
}

/// What the last channel says about opacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpha {
    /// It is a channel like the others.
    None,
    /// It is the opacity of the colour before it.
    Straight,
    /// It is the opacity, and the colour has been multiplied by it.
    Premultiplied,
}

/// A decoded file, upright: EXIF orientation has been applied to its samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Raster {
    /// The samples, `[height, width, channels]`.
    pub samples: Samples,
    /// Samples of a pixel.
    pub channels: usize,
    /// H in pixels.
    pub height: usize,
    /// W in pixels.
    pub width: usize,
    /// Whether the last channel is alpha.
    pub alpha: Alpha,
    /// The value of white (`2^depth - 1`), or none for floats, which have no such value.
    pub highest: Option<u32>,
    /// Colours of the indices, RGBA, if the samples are indices.
    pub palette: Option<Vec<[u8; 4]>>,
    /// Whether the file's compression alters values.
    pub lossy: bool,
    /// Where the samples come from.
    pub origin: Origin,
}

/// Numbers of channels of a file; colours of a palette are RGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Form {
    /// Those that are not alpha.
    pub colours: usize,
    /// All.
    pub stored: usize,
}

impl Form {
    /// Whether it is gray or RGB, seen as an image of `channels`: its alpha is opacity.
    pub fn is_shown_as(self, channels: usize) -> bool {
        matches!((self.colours, channels), (1, 1) | (1 | 3, 3))
    }

    /// Whether one of its channels is alpha.
    pub fn has_alpha(self) -> bool {
        self.stored > self.colours
    }

    /// Whether it can become an image of `channels`.
    pub fn becomes(self, channels: usize) -> bool {
        self.is_shown_as(channels) || self.stored == channels
    }

    /// The channels of the image that it becomes if nothing else is asked for: 3 for gray and RGB.
    pub fn natural(self) -> usize {
        if self.is_shown_as(3) { 3 } else { self.stored }
    }
}

/// What the pixels of a file no longer show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Number of pages or frames, of which only the first is read.
    pub pages: usize,
    /// How the stored pixels were turned to be upright.
    pub orientation: Orientation,
    /// (height, width) as stored, before they were turned.
    pub raw_size: (usize, usize),
    /// Whether viewers show 0 as white, as a TIFF can ask them to. Samples and labels are as
    /// stored: `tifffile` writes masks of two values in this way, and reads them as they were.
    pub white_is_zero: bool,
}

impl Raster {
    /// A raster of `channels` without anything that only some files have.
    pub(super) fn plain(samples: Samples, channels: usize, (height, width): (u32, u32)) -> Self {
        let highest = match samples {
            Samples::U8(_) => Some(u8::MAX.into()),
            Samples::U16(_) => Some(u16::MAX.into()),
            Samples::U32(_) => Some(u32::MAX),
            Samples::F32(_) => None,
        };
        let size = (height as usize, width as usize);
        Self {
            samples,
            channels,
            height: size.0,
            width: size.1,
            alpha: Alpha::None,
            highest,
            palette: None,
            lossy: false,
            origin: Origin {
                pages: 1,
                orientation: Orientation::NoTransforms,
                raw_size: size,
                white_is_zero: false,
            },
        }
    }

    /// Number of channels that are not alpha.
    pub fn colours(&self) -> usize {
        self.channels - usize::from(self.alpha != Alpha::None)
    }

    /// Its channels, as those who use them see them.
    pub fn form(&self) -> Form {
        if self.palette.is_some() {
            return Form {
                colours: 3,
                stored: 3,
            };
        }
        Form {
            colours: self.colours(),
            stored: self.channels,
        }
    }

    /// Number of values that are not finite.
    pub(crate) fn num_non_finite(&self) -> usize {
        match &self.samples {
            Samples::F32(samples) => samples.iter().filter(|it| !it.is_finite()).count(),
            _ => 0,
        }
    }

    /// Whether white shows through.
    pub(crate) fn is_transparent(&self) -> bool {
        let last = self.channels - 1;
        if let Some(palette) = &self.palette {
            let is_clear = |at| {
                let index = self.samples.label(at).unwrap_or(0) as usize;
                palette.get(index).is_some_and(|&[.., it]| it < u8::MAX)
            };
            return (0..self.height * self.width).any(is_clear);
        }
        let is_clear = |at: usize| match (&self.samples, self.highest) {
            (Samples::F32(samples), _) => samples[at] < 1.0,
            (samples, white) => samples.label(at).ok() < white,
        };
        self.alpha != Alpha::None
            && (0..self.height * self.width).any(|pixel| is_clear(pixel * self.channels + last))
    }

    /// Refuses masks that are neither gray nor RGB.
    pub(super) fn check_channels(&self, path: &Path) -> Result<(), DataError> {
        if matches!(self.colours(), 1 | 3) {
            return Ok(());
        }
        Err(DataError::MaskChannels {
            path: path.to_owned(),
            channels: self.channels,
        })
    }

    /// Turns the stored samples upright.
    fn upright(mut self) -> Self {
        let shape = (self.height, self.width, self.channels);
        let how = self.origin.orientation;
        self.samples = match self.samples {
            Samples::U8(samples) => Samples::U8(orientation::turned(samples, shape, how)),
            Samples::U16(samples) => Samples::U16(orientation::turned(samples, shape, how)),
            Samples::U32(samples) => Samples::U32(orientation::turned(samples, shape, how)),
            Samples::F32(samples) => Samples::F32(orientation::turned(samples, shape, how)),
        };
        (self.height, self.width) = orientation::size(self.origin.raw_size, how);
        self
    }

    /// Drops a palette that is the plain ramp from black to white: its indices are gray levels.
    fn without_gray_ramp(mut self) -> Self {
        let highest = self.highest.unwrap_or(0) as usize;
        let is_ramp = |palette: &Vec<[u8; 4]>| {
            let gray = |(index, colour): (usize, &[u8; 4])| {
                let [level, ..] = (index * 255 / highest.max(1)).to_le_bytes();
                *colour == [level, level, level, u8::MAX]
            };
            palette.len() == highest + 1 && palette.iter().enumerate().all(gray)
        };
        self.palette.take_if(|palette| is_ramp(palette));
        self
    }
}

/// Reads the image at `path`, which is a PNG, JPEG, TIFF, BMP, WebP or GIF file by its first bytes;
/// its name does not matter. Of several pages or frames the first is read.
///
/// # Errors
/// [`DataError::Read`], [`DataError::UnknownFormat`], [`DataError::Corrupt`],
/// [`DataError::Unsupported`] or [`DataError::TooLarge`].
pub fn raster(path: &Path) -> Result<Raster, DataError> {
    let mut bytes = read(path)?;
    let raster = guarded(path, || formats::read(&mut bytes))?;
    Ok(raster.without_gray_ramp().upright())
}
