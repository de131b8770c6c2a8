//! Sizes of memory.

use std::fmt;

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

    /// A size in MiB; saturates.
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

    /// The sum, or `None` past 64 bits.
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

#[cfg(test)]
mod tests {
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
}
