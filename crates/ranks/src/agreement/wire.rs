//! A status as eight numbers, which is what ranks gather:
//!
//! | word | holds |
//! |---|---|
//! | 0 | `SNUG` in the upper half, the version of this layout in the lower one |
//! | 1 | number of ranks, rank |
//! | 2 | step |
//! | 3 | how the step went |
//! | 4 | bytes that are missing, or −1 |
//! | 5 | 1 to stop after the step, else 0 |
//! | 6 | fingerprint of the recipe |
//! | 7 | fingerprint of the words before, so that a damaged status is refused |

use super::{Status, What};
use crate::error::{Error, Result};
use crate::shard::Shard;

/// Words of a status.
pub const NUM_WORDS: usize = 8;

const MARK: u64 = 0x534e_5547 << 32;
const VERSION: u64 = 1;
const UNKNOWN: u64 = u64::MAX;

/// A number that equal texts have in common, and others by a chance of about 2^-64: FNV-1a, the same on every machine.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Status {
    /// The status as words to gather.
    pub fn encode(&self) -> [i64; NUM_WORDS] {
        let mut words = [
            MARK | VERSION,
            (self.shard.size() as u64) << 32 | self.shard.rank() as u64,
            self.step,
            self.what as u64,
            self.missing_bytes.unwrap_or(UNKNOWN),
            u64::from(self.interrupt),
            self.recipe,
            0,
        ];
        words[NUM_WORDS - 1] = checksum(&words);
        words.map(u64::cast_signed)
    }

    /// The status that [`Self::encode`] made.
    ///
    /// # Errors
    /// If another version made it, or it was damaged.
    pub fn decode(words: &[i64; NUM_WORDS]) -> Result<Self> {
        let words = words.map(i64::cast_unsigned);
        let [
            mark,
            ranks,
            step,
            what,
            missing_bytes,
            interrupt,
            recipe,
            sum,
        ] = words;
        if mark != MARK | VERSION {
            return Err(Error::record("another version of Snug wrote it"));
        }
        if sum != checksum(&words) {
            return Err(Error::record("its checksum is wrong"));
        }
        let number = |it: u64| usize::try_from(it).unwrap_or(usize::MAX);
        let shard = Shard::new(number(ranks & 0xffff_ffff), number(ranks >> 32)).ok();
        let what = What::ALL.get(number(what)).copied();
        let (Some(shard), Some(what), 0 | 1) = (shard, what, interrupt) else {
            return Err(Error::record("its numbers are out of range"));
        };
        Ok(Self {
            shard,
            step,
            what,
            missing_bytes: (missing_bytes != UNKNOWN).then_some(missing_bytes),
            interrupt: interrupt == 1,
            recipe,
        })
    }
}

fn checksum(words: &[u64; NUM_WORDS]) -> u64 {
    let words = words[..NUM_WORDS - 1].iter();
    fingerprint(&words.flat_map(|it| it.to_le_bytes()).collect::<Vec<_>>())
}
