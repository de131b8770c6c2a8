//! A simulation of the CUDA caching allocator: for a sequence of tensors it gives
//! the allocated and reserved bytes, exactly, without a GPU.
//!
//! It follows `c10/cuda/CUDACachingAllocator.cpp` and `c10/core/AllocatorConfig.h`
//! of PyTorch 2.11, on one device and one stream, with either kind of [`Segments`].
//! It leaves out features that are off by default: `max_split_size_mb`,
//! `roundup_power2_divisions`, garbage collection, private pools of CUDA graphs, and
//! blocks that wait for another stream. Memory outside the allocator, above all the
//! CUDA context, is not included either: subtract it from the cap.

mod blocks;
mod expandable;
mod sizes;

use blocks::{CachedBlock, FreeBlocks};
use config::Bytes;
use machine::Segments;

/// `one_exa_bytes`: a request of this size is refused outright. As it also bounds
/// the cap, every sum in this module fits 64 bits.
const EXBIBYTE: u64 = 1 << 60;

/// A simulated `CUDACachingAllocator`.
///
/// *Allocated* bytes count the blocks that tensors hold. Blocks are larger than the
/// tensors: they are rounded up to 512 bytes, and in the large pool up to 1 MiB
/// behind a tensor in a fixed segment is not split off. *Reserved* bytes count the
/// segments, or their pages, taken from the device.
///
/// Among free blocks of the same size PyTorch takes the lowest address. The address
/// that the driver gives a segment is unknown here: later segments are assumed to
/// have higher addresses, even after others were released.
///
/// ```
/// use config::Bytes;
/// use estimator::CachingAllocator;
/// use machine::Segments;
///
/// let mut allocator = CachingAllocator::new(Segments::Fixed, Some(64 * Bytes::MIB));
/// let weights = allocator.allocate(3 * Bytes::MIB)?;
/// assert_eq!(allocator.allocated_bytes(), 3 * Bytes::MIB);
/// assert_eq!(allocator.reserved_bytes(), 20 * Bytes::MIB);
/// allocator.free(weights);
/// assert_eq!(allocator.reserved_bytes(), 20 * Bytes::MIB);
/// # Ok::<(), estimator::OutOfMemory>(())
/// ```
#[derive(Debug)]
pub struct CachingAllocator {
    segments: Segments,
    cap_bytes: u64,
    allocated: Meter,
    reserved: Meter,
    blocks: Vec<CachedBlock>,
    /// Indices in `blocks` that can be reused.
    vacant: Vec<usize>,
    small_pool: FreeBlocks,
    large_pool: FreeBlocks,
    /// Of expandable segments: address space without memory.
    unmapped: FreeBlocks,
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
    pub fn new(segments: Segments, cap_bytes: Option<u64>) -> Self {
        Self {
            segments,
            cap_bytes: cap_bytes.unwrap_or(EXBIBYTE).min(EXBIBYTE),
            allocated: Meter::default(),
            reserved: Meter::default(),
            blocks: Vec::new(),
            vacant: Vec::new(),
            small_pool: FreeBlocks::default(),
            large_pool: FreeBlocks::default(),
            unmapped: FreeBlocks::default(),
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
        let index = match self.take_best_fit(size, is_small) {
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
        self.merge(index, block);
    }

    /// Returns entirely free segments, or pages of them, to the device, as
    /// `torch.cuda.empty_cache` does.
    #[doc(alias = "release_cached_blocks")]
    pub fn empty_cache(&mut self) {
        if self.segments == Segments::Expandable {
            self.unmap_free_pages();
            return;
        }
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

    /// The free block that PyTorch takes for `size` bytes, out of its pool.
    fn take_best_fit(&mut self, size: u64, is_small: bool) -> Option<usize> {
        let mut at = self.pool(is_small).first_of(size);
        if self.segments == Segments::Expandable {
            at = self.most_bounded(at, is_small);
        }
        let pool = self.pool(is_small);
        (at < pool.0.len()).then(|| pool.0.remove(at).index)
    }

    /// Reserves memory for a block of `size` bytes and returns a block that holds it,
    /// which is not yet in a pool.
    fn reserve(&mut self, bytes: u64, size: u64, is_small: bool) -> Result<usize, OutOfMemory> {
        let segment_bytes = sizes::segment_bytes(size);
        if let Some(index) = self.take_from_device(size, segment_bytes, is_small) {
            return Ok(index);
        }
        // PyTorch first calls `release_available_cached_blocks`, which does nothing
        // without `max_split_size_mb`.
        self.empty_cache();
        self.take_from_device(size, segment_bytes, is_small)
            .ok_or_else(|| self.out_of_memory(bytes, segment_bytes))
    }

    /// `alloc_block`: `None` if the cap does not allow it.
    fn take_from_device(&mut self, size: u64, segment_bytes: u64, is_small: bool) -> Option<usize> {
        if segment_bytes > self.cap_bytes - self.reserved.now {
            return None;
        }
        if self.segments == Segments::Expandable {
            return self.expand(size, is_small);
        }
        self.reserved.add(segment_bytes);
        Some(self.place_segment(segment_bytes, is_small, true))
    }

    /// A new segment of one free block, which is in no pool.
    fn place_segment(&mut self, size: u64, is_small: bool, is_mapped: bool) -> usize {
        let segment = self.num_segments_ever;
        self.num_segments_ever += 1;
        self.place(CachedBlock {
            size,
            segment,
            offset: 0,
            prev: None,
            next: None,
            is_small,
            is_allocated: false,
            is_mapped,
        })
    }

    /// Cuts a block down to `size` bytes and frees the rest, if the rest is worth a
    /// block.
    fn split(&mut self, index: usize, size: u64) {
        let block = self.blocks[index];
        let rest_bytes = block.size - size;
        let splits_finely = block.is_small || self.segments == Segments::Expandable;
        if !sizes::is_worth_a_block(rest_bytes, splits_finely) {
            return;
        }
        let rest_index = self.cut(index, size);
        let rest = self.blocks[rest_index].as_free(rest_index);
        self.pool_of(rest_index).insert(rest);
    }

    /// Cuts a block in two; the part behind `size` bytes is in no pool.
    fn cut(&mut self, index: usize, size: u64) -> usize {
        let block = self.blocks[index];
        let rest_index = self.place(CachedBlock {
            size: block.size - size,
            offset: block.offset + size,
            prev: Some(index),
            ..block
        });
        if let Some(next) = block.next {
            self.blocks[next].prev = Some(rest_index);
        }
        self.blocks[index].size = size;
        self.blocks[index].next = Some(rest_index);
        rest_index
    }

    /// Merges a block that is in no pool with its free neighbours and puts it into the
    /// pool.
    fn merge(&mut self, index: usize, mut block: CachedBlock) {
        if let Some(before) = self.take_free(block.prev, block.is_mapped) {
            block.offset = before.offset;
            block.size += before.size;
            block.prev = before.prev;
            if let Some(prev) = block.prev {
                self.blocks[prev].next = Some(index);
            }
        }
        if let Some(after) = self.take_free(block.next, block.is_mapped) {
            block.size += after.size;
            block.next = after.next;
            if let Some(next) = block.next {
                self.blocks[next].prev = Some(index);
            }
        }
        self.blocks[index] = block;
        self.pool_of(index).insert(block.as_free(index));
    }

    /// Removes a free neighbour that is mapped, or unmapped, likewise, from its pool
    /// and from `blocks`.
    fn take_free(&mut self, index: Option<usize>, is_mapped: bool) -> Option<CachedBlock> {
        let index = index?;
        let block = self.blocks[index];
        if block.is_allocated || block.is_mapped != is_mapped {
            return None;
        }
        self.pool_of(index).remove(&block.as_free(index));
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

    /// The pool that a free block belongs to.
    fn pool_of(&mut self, index: usize) -> &mut FreeBlocks {
        let block = self.blocks[index];
        if block.is_mapped {
            self.pool(block.is_small)
        } else {
            &mut self.unmapped
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
