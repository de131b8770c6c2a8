//! The rules about sizes: how much memory a tensor takes, from which pool, and how
//! much is requested from the device for it.

use config::Bytes;

/// `kMinBlockSize`: every size is rounded up to a multiple of this.
const MIN_BLOCK_BYTES: u64 = 512;
/// `kSmallSize`: rounded sizes up to this come from the small pool.
const SMALL_BYTES: u64 = Bytes::MIB;
/// `kSmallBuffer`: the size of a segment of the small pool.
const SMALL_SEGMENT_BYTES: u64 = 2 * Bytes::MIB;
/// `kMinLargeAlloc`: below this, blocks of the large pool share a segment.
const MIN_LARGE_BYTES: u64 = 10 * Bytes::MIB;
/// `large_segment_size`: the size of such a shared segment.
const LARGE_SEGMENT_BYTES: u64 = 20 * Bytes::MIB;
/// `kRoundLarge`: the sizes of other segments are multiples of this.
const ROUND_LARGE_BYTES: u64 = 2 * Bytes::MIB;

/// `round_size`: the smallest block that holds a tensor of less than 1 EiB.
pub(super) fn block_bytes(tensor_bytes: u64) -> u64 {
    tensor_bytes.next_multiple_of(MIN_BLOCK_BYTES)
}

/// `get_pool`: whether a block of this size comes from the small pool.
pub(super) fn is_small(block_bytes: u64) -> bool {
    block_bytes <= SMALL_BYTES
}

/// `get_allocation_size`: the segment that is taken from the device if no free
/// block can hold a block of this size.
pub(super) fn segment_bytes(block_bytes: u64) -> u64 {
    if is_small(block_bytes) {
        SMALL_SEGMENT_BYTES
    } else if block_bytes < MIN_LARGE_BYTES {
        LARGE_SEGMENT_BYTES
    } else {
        block_bytes.next_multiple_of(ROUND_LARGE_BYTES)
    }
}

/// The page of an expandable segment.
pub(super) fn page_bytes(is_small: bool) -> u64 {
    if is_small {
        SMALL_SEGMENT_BYTES
    } else {
        LARGE_SEGMENT_BYTES
    }
}

/// `should_split`: whether this much memory behind a tensor becomes a separate block.
/// Blocks of the small pool and of expandable segments are split finely.
pub(super) fn is_worth_a_block(rest_bytes: u64, splits_finely: bool) -> bool {
    if splits_finely {
        rest_bytes >= MIN_BLOCK_BYTES
    } else {
        rest_bytes > SMALL_BYTES
    }
}
