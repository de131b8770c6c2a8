//! Memory sizes, and how people write them on a command line.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// A number of bytes, displayed in KiB, MiB or GiB (2^10, 2^20, 2^30).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// 2^10 bytes.
    pub const KIB: u64 = 1 << 10;
    /// 2^20 bytes.
    pub const MIB: u64 = 1 << 20;
    /// 2^30 bytes.
    pub const GIB: u64 = 1 << 30;

    /// A size from a number of MiB; the product saturates.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib.saturating_mul(Self::MIB))
    }

    /// The size in GiB.
    pub fn as_gib(self) -> f64 {
        self.0 as f64 / Self::GIB as f64
    }

    /// The size in MiB.
    pub fn as_mib(self) -> f64 {
        self.0 as f64 / Self::MIB as f64
    }

    /// The sum, or `None` if it exceeds 64 bits.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            0..Self::KIB => format!("{} B", self.0),
            Self::KIB..Self::MIB => format!("{:.1} KiB", self.0 as f64 / Self::KIB as f64),
            Self::MIB..Self::GIB => format!("{:.1} MiB", self.as_mib()),
            _ => format!("{:.1} GiB", self.as_gib()),
        };
        f.pad(&text)
    }
}

/// A size with its unit, such as `8GiB`, `1.5GiB` or `500MB`.
///
/// `GB` means 10^9 bytes, as everywhere. Most people who write it mean a card with
/// that many GiB, so [`Self::note`] says how it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeArg {
    /// The size.
    pub bytes: Bytes,
    /// How the size was read, if the unit is easily confused.
    pub note: Option<String>,
}

/// Text that is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SizeError {
    /// The text is not a number with a unit.
    #[error("expected a size such as `8GiB`, found `{found}`")]
    NotASize {
        /// The text.
        found: String,
    },
    /// The text is a number without a unit.
    #[error("`{found}` has no unit, write `{found}GiB` or `{found}MiB`")]
    NoUnit {
        /// The text.
        found: String,
    },
    /// The unit is unknown.
    #[error("unknown unit `{unit}`, expected `GiB`, `MiB`, `KiB`, `TiB`, `GB`, `MB`, `KB` or `TB`")]
    UnknownUnit {
        /// The unit.
        unit: String,
    },
    /// The size is zero or negative.
    #[error("a size of `{found}` is not above zero")]
    NotPositive {
        /// The text.
        found: String,
    },
    /// The size is more than any machine has.
    #[error("a size of `{found}` is more than 1024 TiB")]
    TooLarge {
        /// The text.
        found: String,
    },
}

impl FromStr for SizeArg {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const MAX_BYTES: f64 = (1_u64 << 50) as f64;
        let found = text.trim().to_owned();
        let (number, unit) = split(&found);
        let Ok(number) = number.parse::<f64>() else {
            return Err(SizeError::NotASize { found });
        };
        let (factor, decimal): (u64, bool) = match unit.to_ascii_lowercase().as_str() {
            _ if number == 0.0 || number.is_sign_negative() => {
                return Err(SizeError::NotPositive { found });
            }
            "" => return Err(SizeError::NoUnit { found }),
            "b" => (1, false),
            "kib" => (Bytes::KIB, false),
            "mib" => (Bytes::MIB, false),
            "gib" => (Bytes::GIB, false),
            "tib" => (Bytes::KIB * Bytes::GIB, false),
            "kb" => (1_000, true),
            "mb" => (1_000_000, true),
            "gb" => (1_000_000_000, true),
            "tb" => (1_000_000_000_000, true),
            _ => {
                return Err(SizeError::UnknownUnit {
                    unit: unit.to_owned(),
                });
            }
        };
        let bytes = number * factor as f64;
        if bytes > MAX_BYTES {
            return Err(SizeError::TooLarge { found });
        }
        if bytes < 1.0 {
            return Err(SizeError::NotPositive { found });
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the value is between 1 and 2^50, and a fraction of a byte is dropped"
        )]
        let bytes = Bytes(bytes as u64);
        let note = decimal.then(|| {
            let binary = format!("{}i{}", &unit[..1].to_uppercase(), "B");
            format!(
                "`{found}` is {} bytes, which is {bytes}; if the card is sold by that number, \
                 write `{number}{binary}`",
                bytes.0
            )
        });
        Ok(Self { bytes, note })
    }
}

/// The number, with its exponent, and the unit.
fn split(text: &str) -> (&str, &str) {
    let is_unit = |(at, c): (usize, char)| {
        // The `e` of `1e30` belongs to the number.
        let exponent = matches!(c, 'e' | 'E')
            && text[at + 1..].starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
        !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-') || exponent)
    };
    let at = text
        .char_indices()
        .find(|&place| is_unit(place))
        .map_or(text.len(), |(at, _)| at);
    (text[..at].trim_end(), text[at..].trim_start())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (124_174_084, "118.4 MiB"),
            (8 * Bytes::GIB, "8.0 GiB"),
            (u64::MAX, "17179869184.0 GiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), expected);
        }
        assert_eq!(format!("{:>10}", Bytes(1)), "       1 B");
    }

    fn bytes(text: &str) -> Result<u64, SizeError> {
        text.parse::<SizeArg>().map(|size| size.bytes.0)
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes("8GiB"), Ok(8 << 30));
        assert_eq!(bytes(" 1.5 gib "), Ok(3 << 29));
        assert_eq!(bytes("512MiB"), Ok(512 << 20));
        assert_eq!(bytes("8GB"), Ok(8_000_000_000));
        assert_eq!(bytes("1e3MiB"), Ok(1000 << 20));
        let note = "8GB".parse::<SizeArg>().unwrap().note.unwrap();
        assert_eq!(
            note,
            "`8GB` is 8000000000 bytes, which is 7.5 GiB; if the card is sold by that number, \
             write `8GiB`"
        );
        assert_eq!("8GiB".parse::<SizeArg>().unwrap().note, None);
    }

    #[test]
    fn what_is_no_size() {
        for text in [
            "",
            "abc",
            "GiB",
            "0",
            "0GiB",
            "-1GiB",
            "8",
            "8G",
            "8 bananas",
            "1e30GiB",
            "1e400GiB",
            "nanGiB",
            "infGiB",
            "1e-30GiB",
            "8Gib/s",
            "+-1GiB",
            "1eGiB",
        ] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text: String, number in any::<f64>(), unit in "[kKmMgGtT]?i?[bB]?") {
            let read = |text: &str| text.parse::<SizeArg>().map_or(1, |size| size.bytes.0);
            prop_assert!(read(&text) > 0);
            let sized = format!("{number}{unit}");
            prop_assert!(read(&sized) > 0);
        }
    }
}
