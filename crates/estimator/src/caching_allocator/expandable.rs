//! Expandable segments: one range of addresses for each pool, into which pages are
//! mapped when they are needed. Only the last block of a segment grows, so memory is
//! seldom lost between blocks.
//!
//! PyTorch limits the range to 1 1/8 of the device's memory; here it is unlimited.

use super::{CachedBlock, CachingAllocator, EXBIBYTE, sizes};

impl CachingAllocator {
    /// Of the free blocks of a pool from `at` on, the one to take: a block that could
    /// grow counts with what it can grow to, so a larger block that cannot is better.
    pub(super) fn most_bounded(&self, mut at: usize, is_small: bool) -> usize {
        let pool = if is_small {
            &self.small_pool
        } else {
            &self.large_pool
        };
        let size = |at: usize| {
            let block = &self.blocks[pool.0[at].index];
            let next = block.next.map(|next| &self.blocks[next]);
            block.size
                + next
                    .filter(|next| !next.is_mapped)
                    .map_or(0, |next| next.size)
        };
        while at + 1 < pool.0.len() && size(at + 1) < size(at) {
            at += 1;
        }
        at
    }

    /// `try_allocate_expandable_block`: maps pages until a block holds `size` bytes.
    /// Pages that were mapped before the cap was reached stay in the pool.
    pub(super) fn expand(&mut self, size: u64, is_small: bool) -> Option<usize> {
        let mut index = self.room_for(size, is_small);
        if !self.blocks[index].is_mapped {
            self.map(index, size.min(self.blocks[index].size))?;
        }
        while self.blocks[index].size < size {
            let missing = size - self.blocks[index].size;
            let next = self.blocks[index].next?;
            self.map(next, missing.min(self.blocks[next].size))?;
            index = next;
        }
        let block = self.blocks[index];
        self.pool(is_small).remove(&block.as_free(index));
        Some(index)
    }

    /// The first run of unmapped and free blocks with this much room.
    fn room_for(&mut self, size: u64, is_small: bool) -> usize {
        let mut unmapped = self.unmapped.0.clone();
        unmapped.retain(|it| self.blocks[it.index].is_small == is_small);
        unmapped.sort_by_key(|it| (it.segment, it.offset));
        for free in unmapped {
            let before = self.blocks[free.index].prev;
            let start = before.filter(|&it| !self.blocks[it].is_allocated);
            let start = start.unwrap_or(free.index);
            let blocks = std::iter::successors(Some(start), |&it| self.blocks[it].next);
            let available = blocks.take_while(|&it| !self.blocks[it].is_allocated);
            if available.map(|it| self.blocks[it].size).sum::<u64>() >= size {
                return start;
            }
        }
        let index = self.place_segment(2 * EXBIBYTE, is_small, false);
        self.unmapped.insert(self.blocks[index].as_free(index));
        index
    }

    /// `map_block`: puts memory behind the first `size` bytes of an unmapped block, in
    /// whole pages, and merges it with its free neighbours.
    fn map(&mut self, index: usize, size: u64) -> Option<()> {
        let block = self.blocks[index];
        let mapped_bytes = size.next_multiple_of(sizes::page_bytes(block.is_small));
        if mapped_bytes > self.cap_bytes - self.reserved.now {
            return None;
        }
        self.unmapped.remove(&block.as_free(index));
        if mapped_bytes < block.size {
            let rest = self.cut(index, mapped_bytes);
            self.unmapped.insert(self.blocks[rest].as_free(rest));
        }
        self.reserved.add(mapped_bytes);
        self.merge(
            index,
            CachedBlock {
                is_mapped: true,
                ..self.blocks[index]
            },
        );
        Some(())
    }

    /// `release_blocks`: returns the pages that are entirely inside a free block.
    pub(super) fn unmap_free_pages(&mut self) {
        for is_small in [false, true] {
            let page = sizes::page_bytes(is_small);
            for free in self.pool(is_small).0.clone() {
                let begin = free.offset.next_multiple_of(page);
                let end = (free.offset + free.size) / page * page;
                if begin >= end {
                    continue;
                }
                self.pool(is_small).remove(&free);
                let mut index = free.index;
                if begin > free.offset {
                    index = self.cut(index, begin - free.offset);
                    let before = self.blocks[free.index].as_free(free.index);
                    self.pool(is_small).insert(before);
                }
                if end < free.offset + free.size {
                    let after = self.cut(index, end - begin);
                    let after = self.blocks[after].as_free(after);
                    self.pool(is_small).insert(after);
                }
                self.reserved.subtract(end - begin);
                self.merge(
                    index,
                    CachedBlock {
                        is_mapped: false,
                        ..self.blocks[index]
                    },
                );
            }
        }
    }
}
