//! Blocks of memory, and the pools of those that are free. Which block a tensor
//! gets is decided by the order in here; when to cut or merge one is not.

/// A part of a segment; its neighbours there by their places in `blocks`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) size: u64,
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) prev: Option<usize>,
    pub(super) next: Option<usize>,
    pub(super) is_small: bool,
    pub(super) is_allocated: bool,
}

impl Block {
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
/// address, which is the segment and the place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FreeBlock {
    pub(super) size: u64,
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) index: usize,
}

/// The free blocks of a pool. A sorted vector: a training step leaves some tens
/// of them, where moving the tail costs less than walking a tree.
#[derive(Debug, Default)]
pub(super) struct FreeBlocks(pub(super) Vec<FreeBlock>);

impl FreeBlocks {
    pub(super) fn take_best_fit(&mut self, size: u64) -> Option<usize> {
        let at = self.0.partition_point(|free| free.size < size);
        (at < self.0.len()).then(|| self.0.remove(at).index)
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
