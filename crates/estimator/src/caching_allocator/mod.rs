//! A simulation of the CUDA caching allocator: for a sequence of tensors it gives
//! the allocated and reserved bytes, exactly, without a GPU.
//!
//! It follows `c10/cuda/CUDACachingAllocator.cpp` and `c10/core/AllocatorConfig.h`
//! of PyTorch 2.11 with default settings, on one device and one stream. It leaves
//! out features that a training step with default settings never uses: expandable
//! segments, `max_split_size_mb`, `roundup_power2_divisions`, garbage
//! collection, private pools of CUDA graphs, and blocks that wait for another
//! stream. Memory outside the allocator, above all the CUDA context, is not
//! included either: subtract it from the cap.

mod blocks;
mod sizes;

use blocks::{CachedBlock, FreeBlocks};
use config::Bytes;

/// `one_exa_bytes`: a request of this size is refused outright. As it also bounds
/// the cap, every sum in this module fits 64 bits.
const EXBIBYTE: u64 = 1 << 60;

/// A simulated `CUDACachingAllocator`.
///
/// *Allocated* bytes count the blocks that tensors hold. Blocks are larger than the
/// tensors: they are rounded up to 512 bytes, and in the large pool up to 1 MiB
/// behind a tensor is not split off. *Reserved* bytes count the segments taken from
/// the device.
///
/// Among free blocks of the same size PyTorch takes the lowest address. The address
/// that the driver gives a segment is unknown here: later segments are assumed to
/// have higher addresses, even after others were released.
///
/// ```
/// use config::Bytes;
/// use estimator::CachingAllocator;
///
/// let mut allocator = CachingAllocator::new(Some(64 * Bytes::MIB));
/// let weights = allocator.allocate(3 * Bytes::MIB)?;
/// assert_eq!(allocator.allocated_bytes(), 3 * Bytes::MIB);
/// assert_eq!(allocator.reserved_bytes(), 20 * Bytes::MIB);
/// allocator.free(weights);
/// assert_eq!(allocator.reserved_bytes(), 20 * Bytes::MIB);
/// # Ok::<(), estimator::OutOfMemory>(())
/// ```
#[derive(Debug)]
pub struct CachingAllocator {
    cap_bytes: u64,
    allocated: Meter,
    reserved: Meter,
    blocks: Vec<CachedBlock>,
    /// Indices in `blocks` that can be reused.
    vacant: Vec<usize>,
    small_pool: FreeBlocks,
    large_pool: FreeBlocks,
    num_segments_ever: u64,
}

/// A block that a tensor holds; pass it to [`CachingAllocator::free`].
///
/// It is neither `Copy` nor `Clone`, so that no block is freed twice. The default is
/// the block of an empty tensor, and freeing it does nothing: `std::mem::take` can
/// therefore move an id out of a table.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BlockId(Option<usize>);

/// A request that does not fit under the cap, even after the cache was emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "out of memory: {} requested, which takes a segment of {}, but {} are free \
     ({} allocated, {} reserved)",
    Bytes(*.requested_bytes),
    Bytes(*.segment_bytes),
    Bytes(*.free_bytes),
    Bytes(*.allocated_bytes),
    Bytes(*.reserved_bytes)
)]
#[non_exhaustive]
pub struct OutOfMemory {
    /// Bytes of the tensor.
    pub requested_bytes: u64,
    /// Bytes of the segment that would hold it, which is the figure in PyTorch's
    /// message. From 1 EiB on, which PyTorch refuses outright, the tensor's bytes.
    pub segment_bytes: u64,
    /// Bytes under the cap that no segment holds.
    pub free_bytes: u64,
    /// Bytes that tensors hold.
    pub allocated_bytes: u64,
    /// Bytes of the segments, after the cache was emptied.
    pub reserved_bytes: u64,
}

impl CachingAllocator {
    /// An allocator that has reserved nothing.
    ///
    /// `cap_bytes` is the most that all segments together may take, as limited by
    /// the memory of a device or by `set_per_process_memory_fraction`; `None` means
    /// 1 EiB, which also replaces any larger cap.
    pub fn new(cap_bytes: Option<u64>) -> Self {
        Self {
            cap_bytes: cap_bytes.unwrap_or(EXBIBYTE).min(EXBIBYTE),
            allocated: Meter::default(),
            reserved: Meter::default(),
            blocks: Vec::new(),
            vacant: Vec::new(),
            small_pool: FreeBlocks::default(),
            large_pool: FreeBlocks::default(),
            num_segments_ever: 0,
        }
    }

    /// Gives a tensor of `bytes` the smallest free block that holds it, or a
    /// block of a new segment. A tensor of zero bytes needs no block.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] if a new segment does not fit under the cap. As in PyTorch, the
    /// cache has been emptied by then (except for a request of 1 EiB or more, which is
    /// refused outright), and the allocator stays usable.
    pub fn allocate(&mut self, bytes: u64) -> Result<BlockId, OutOfMemory> {
        if bytes == 0 {
            return Ok(BlockId(None));
        }
        if bytes >= EXBIBYTE {
            return Err(self.out_of_memory(bytes, bytes));
        }
        let size = sizes::block_bytes(bytes);
        let is_small = sizes::is_small(size);
        let index = match self.pool(is_small).take_best_fit(size) {
            Some(index) => index,
            None => self.reserve(bytes, size, is_small)?,
        };
        self.split(index, size);
        let block = &mut self.blocks[index];
        block.is_allocated = true;
        self.allocated.add(block.size);
        Ok(BlockId(Some(index)))
    }

    /// Returns a block to its pool and merges it with free neighbours. The segment
    /// stays reserved.
    ///
    /// `id` must come from this allocator: an id from another allocator frees the
    /// block with the same number here, if there is one.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the id is consumed, so that no block is freed twice"
    )]
    pub fn free(&mut self, id: BlockId) {
        let Some(index) = id.0 else { return };
        let Some(mut block) = self.blocks.get(index).copied() else {
            return;
        };
        if !block.is_allocated {
            return;
        }
        self.allocated.subtract(block.size);
        block.is_allocated = false;
        if let Some(before) = self.take_free(block.prev) {
            block.offset = before.offset;
            block.size += before.size;
            block.prev = before.prev;
            if let Some(prev) = block.prev {
                self.blocks[prev].next = Some(index);
            }
        }
        if let Some(after) = self.take_free(block.next) {
            block.size += after.size;
            block.next = after.next;
            if let Some(next) = block.next {
                self.blocks[next].prev = Some(index);
            }
        }
        self.blocks[index] = block;
        self.pool(block.is_small).insert(block.as_free(index));
    }

    /// Returns entirely free segments to the device, as
    /// `torch.cuda.empty_cache` does.
    #[doc(alias = "release_cached_blocks")]
    pub fn empty_cache(&mut self) {
        let Self {
            blocks,
            vacant,
            reserved,
            small_pool,
            large_pool,
            ..
        } = self;
        for pool in [small_pool, large_pool] {
            pool.0.retain(|free| {
                let is_split = blocks[free.index].is_split();
                if !is_split {
                    reserved.subtract(free.size);
                    vacant.push(free.index);
                }
                is_split
            });
        }
    }

    /// Bytes of the blocks that tensors hold now, like `torch.cuda.memory_allocated`.
    pub fn allocated_bytes(&self) -> u64 {
        self.allocated.now
    }

    /// Bytes of all segments now, like `torch.cuda.memory_reserved`.
    pub fn reserved_bytes(&self) -> u64 {
        self.reserved.now
    }

    /// The most bytes allocated since the last reset, like
    /// `torch.cuda.max_memory_allocated`.
    pub fn peak_allocated_bytes(&self) -> u64 {
        self.allocated.peak
    }

    /// The most bytes reserved since the last reset, like
    /// `torch.cuda.max_memory_reserved`.
    pub fn peak_reserved_bytes(&self) -> u64 {
        self.reserved.peak
    }

    /// Sets both peaks to the current figures, like
    /// `torch.cuda.reset_peak_memory_stats`.
    pub fn reset_peaks(&mut self) {
        self.allocated.peak = self.allocated.now;
        self.reserved.peak = self.reserved.now;
    }

    /// Reserves a new segment for a block of `size` bytes and returns the block that
    /// fills it, which is not yet in a pool.
    fn reserve(&mut self, bytes: u64, size: u64, is_small: bool) -> Result<usize, OutOfMemory> {
        let segment_bytes = sizes::segment_bytes(size);
        if segment_bytes > self.cap_bytes - self.reserved.now {
            // PyTorch first calls `release_available_cached_blocks`, which does
            // nothing without `max_split_size_mb`.
            self.empty_cache();
            if segment_bytes > self.cap_bytes - self.reserved.now {
                return Err(self.out_of_memory(bytes, segment_bytes));
            }
        }
        self.reserved.add(segment_bytes);
        let segment = self.num_segments_ever;
        self.num_segments_ever += 1;
        Ok(self.place(CachedBlock {
            size: segment_bytes,
            segment,
            offset: 0,
            prev: None,
            next: None,
            is_small,
            is_allocated: false,
        }))
    }

    /// Cuts a block down to `size` bytes and frees the rest, if the rest is worth a
    /// block.
    fn split(&mut self, index: usize, size: u64) {
        let block = self.blocks[index];
        let rest_bytes = block.size - size;
        if !sizes::is_worth_a_block(rest_bytes, block.is_small) {
            return;
        }
        let rest = CachedBlock {
            size: rest_bytes,
            offset: block.offset + size,
            prev: Some(index),
            ..block
        };
        let rest_index = self.place(rest);
        if let Some(next) = block.next {
            self.blocks[next].prev = Some(rest_index);
        }
        self.blocks[index].size = size;
        self.blocks[index].next = Some(rest_index);
        self.pool(block.is_small).insert(rest.as_free(rest_index));
    }

    /// Removes a free neighbour from its pool and from `blocks`.
    fn take_free(&mut self, index: Option<usize>) -> Option<CachedBlock> {
        let index = index?;
        let block = self.blocks[index];
        if block.is_allocated {
            return None;
        }
        self.pool(block.is_small).remove(&block.as_free(index));
        self.vacant.push(index);
        Some(block)
    }

    fn place(&mut self, block: CachedBlock) -> usize {
        if let Some(index) = self.vacant.pop() {
            self.blocks[index] = block;
            return index;
        }
        self.blocks.push(block);
        self.blocks.len() - 1
    }

    fn pool(&mut self, is_small: bool) -> &mut FreeBlocks {
        if is_small {
            &mut self.small_pool
        } else {
            &mut self.large_pool
        }
    }

    fn out_of_memory(&self, requested_bytes: u64, segment_bytes: u64) -> OutOfMemory {
        OutOfMemory {
            requested_bytes,
            segment_bytes,
            free_bytes: self.cap_bytes - self.reserved.now,
            allocated_bytes: self.allocated.now,
            reserved_bytes: self.reserved.now,
        }
    }
}

/// The current value of a figure and its peak.
#[derive(Debug, Default)]
struct Meter {
    now: u64,
    peak: u64,
}

impl Meter {
    fn add(&mut self, bytes: u64) {
        self.now += bytes;
        self.peak = self.peak.max(self.now);
    }

    fn subtract(&mut self, bytes: u64) {
        self.now -= bytes;
    }
}

#[cfg(test)]
mod tests;
