//! The size of a training image, with the height first, as the guide writes it.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::error::ConfigError;

/// Height and width of the images that enter the network, in pixels.
///
/// Written `[height, width]` in TOML and JSON, and `HxW` on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImageSize {
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

impl ImageSize {
    /// Four poolings halve each side four times, so both sides must be multiples of this.
    pub const MULTIPLE: u32 = 16;
    /// The longest side accepted.
    pub const MAX_SIDE: u32 = 65_536;

    /// A size from a height and a width, without validation.
    pub const fn new(height: u32, width: u32) -> Self {
        Self { height, width }
    }

    /// Pixels of one image.
    pub const fn pixels(self) -> u64 {
        // The product of two `u32` always fits a `u64`; `From` is not const.
        (self.height as u64) * (self.width as u64)
    }

    /// Whether both sides are multiples of 16 from 16 to [`Self::MAX_SIDE`].
    pub const fn is_valid(self) -> bool {
        side_is_valid(self.height) && side_is_valid(self.width)
    }

    /// The nearest valid sizes, the smaller one first; both are equal if only one is near.
    pub fn nearest_valid(self) -> (Self, Self) {
        let down = |side: u32| (side / Self::MULTIPLE * Self::MULTIPLE).max(Self::MULTIPLE);
        let up = |side: u32| side.div_ceil(Self::MULTIPLE).saturating_mul(Self::MULTIPLE);
        let clamp = |side: u32| side.clamp(Self::MULTIPLE, Self::MAX_SIDE);
        (
            Self::new(clamp(down(self.height)), clamp(down(self.width))),
            Self::new(clamp(up(self.height)), clamp(up(self.width))),
        )
    }
}

const fn side_is_valid(side: u32) -> bool {
    side >= ImageSize::MULTIPLE
        && side <= ImageSize::MAX_SIDE
        && side.is_multiple_of(ImageSize::MULTIPLE)
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.height, self.width)
    }
}

impl FromStr for ImageSize {
    type Err = ConfigError;

    /// Reads `HxW`. [`resolve`](crate::resolve), which knows where the value came from, checks
    /// that the sides are multiples of 16.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ConfigError::not_a_value("image size", "`HxW`, such as `384x512`", text);
        let (height, width) = text.split_once(['x', 'X', '\u{d7}']).ok_or_else(error)?;
        let side = |text: &str| {
            // `u32::from_str` would accept `+16`.
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits
                .then(|| text.parse().ok())
                .flatten()
                .ok_or_else(error)
        };
        Ok(Self::new(side(height)?, side(width)?))
    }
}

impl Serialize for ImageSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.height, self.width].serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_the_two_nearest_sizes() {
        let (below, above) = ImageSize::new(500, 512).nearest_valid();
        assert_eq!(
            (below.to_string(), above.to_string()),
            ("496x512".into(), "512x512".into())
        );
        let (below, above) = ImageSize::new(0, u32::MAX).nearest_valid();
        assert!(below.is_valid() && above.is_valid());
    }

    #[test]
    fn refuses_what_is_not_a_size() {
        for text in [
            "",
            "512",
            "x",
            "512x",
            "x512",
            "512x512x3",
            "+16x16",
            "16.0x16",
            "1e3x16",
            "-16x16",
        ] {
            assert!(text.parse::<ImageSize>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_displayed_is_read_back(height: u32, width: u32) {
            let size = ImageSize::new(height, width);
            prop_assert_eq!(size.to_string().parse::<ImageSize>().unwrap(), size);
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            if let Ok(size) = text.parse::<ImageSize>() {
                let again = size.to_string().parse::<ImageSize>().unwrap();
                prop_assert_eq!(size, again);
            }
        }

        #[test]
        fn the_nearest_sizes_are_valid(height: u32, width: u32) {
            let (below, above) = ImageSize::new(height, width).nearest_valid();
            prop_assert!(below.is_valid() && above.is_valid());
        }
    }
}
