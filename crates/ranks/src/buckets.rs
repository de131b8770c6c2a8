//! In how many bytes at a time gradients travel.

const MIB: u64 = 1 << 20;
/// Enough for the speed of the network, and little next to the gradients of a large one.
const MOST: u64 = 25 * MIB;
/// How many buckets there should be at least, so that the first can travel early.
const LEAST_NUM: u64 = 6;

/// The sizes of the buckets in which all gradients of a network travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buckets {
    /// Bytes of a bucket at most.
    pub most: u64,
    /// Bytes of the last bucket at most. It has the gradients that backward computes last, so nothing hides its journey.
    pub last: u64,
}

impl Buckets {
    /// Those of gradients of `bytes` in all.
    pub fn of(bytes: u64) -> Self {
        Self {
            most: (bytes / LEAST_NUM).clamp(MIB, MOST),
            last: MIB,
        }
    }

    /// How many there are.
    pub const fn num(self, bytes: u64) -> u64 {
        1 + bytes.saturating_sub(self.last).div_ceil(self.most)
    }
}
