//! Blocks of memory and the pools of free blocks. The order in this module decides
//! which block a tensor gets; it does not decide when to cut or merge a block.

/// A part of a segment; `prev` and `next` are its neighbours' indices in `blocks`.
#[derive(Clone, Copy, Debug)]
pub(super) struct CachedBlock {
    pub(super) size: u64,
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) prev: Option<usize>,
    pub(super) next: Option<usize>,
    pub(super) is_small: bool,
    pub(super) is_allocated: bool,
    /// Whether memory is behind the addresses; always so in a fixed segment.
    pub(super) is_mapped: bool,
}

impl CachedBlock {
    pub(super) fn is_split(&self) -> bool {
        self.prev.is_some() || self.next.is_some()
    }

    pub(super) fn as_free(&self, index: usize) -> FreeBlock {
        FreeBlock {
            size: self.size,
            segment: self.segment,
            offset: self.offset,
            index,
        }
    }
}

/// An entry of a pool, in the order of `BlockComparatorSize`: by size, then by
/// address, which is the segment and the offset in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FreeBlock {
    pub(super) size: u64,
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) index: usize,
}

/// The free blocks of a pool, as a sorted vector: a training step leaves a few tens
/// of them, so moving the tail costs less than walking a tree.
#[derive(Debug, Default)]
pub(super) struct FreeBlocks(pub(super) Vec<FreeBlock>);

impl FreeBlocks {
    /// The place of the smallest block that holds `size` bytes.
    pub(super) fn first_of(&self, size: u64) -> usize {
        self.0.partition_point(|free| free.size < size)
    }

    pub(super) fn insert(&mut self, block: FreeBlock) {
        let at = self.0.partition_point(|free| *free < block);
        self.0.insert(at, block);
    }

    pub(super) fn remove(&mut self, block: &FreeBlock) {
        if let Ok(at) = self.0.binary_search(block) {
            self.0.remove(at);
        }
    }
}
