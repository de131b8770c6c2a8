//! What the caching allocator of CUDA makes of a sequence of tensors: allocated
//! and reserved bytes, exactly, without a GPU.
//!
//! Follows `c10/cuda/CUDACachingAllocator.cpp` and `c10/core/AllocatorConfig.h`
//! of PyTorch 2.11 with default settings, on one device and one stream. Left
//! out is what a training step with default settings never uses: expandable
//! segments, `max_split_size_mb`, `roundup_power2_divisions`, garbage
//! collection, private pools of CUDA graphs, and blocks that wait for another
//! stream. Memory held beside the allocator, the CUDA context first of all, is
//! no part of it either: take it off the cap.

mod blocks;
mod sizes;

use blocks::{Block, FreeBlocks};
use config::Bytes;

/// `one_exa_bytes`: a request of so much is refused unseen. As a bound on the
/// cap too, it keeps every sum in here within 64 bits.
const EXBIBYTE: u64 = 1 << 60;

/// A simulated `CUDACachingAllocator`.
///
/// *Allocated* bytes are those of the blocks that tensors hold, which are larger
/// than the tensors: rounded up to 512 bytes, and in the large pool with up to
/// 1 MiB behind them that is not worth a block. *Reserved* bytes are those of
/// the segments taken from the device.
///
/// Among free blocks of the same size PyTorch takes the lowest address. Where
/// the driver puts a segment is not known here: later ones are taken to lie
/// higher, also after others were released.
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
    blocks: Vec<Block>,
    /// Places in `blocks` to use again.
    vacant: Vec<usize>,
    small_pool: FreeBlocks,
    large_pool: FreeBlocks,
    num_segments_ever: u64,
}

/// A block that a tensor holds, to be given to [`CachingAllocator::free`].
///
/// Neither `Copy` nor `Clone`, so that none is freed twice. The default is the
/// block of an empty tensor, which frees to nothing: `std::mem::take` moves an
/// id out of a table.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BlockId(Option<usize>);

/// A request that does not fit under the cap, not even with the cache emptied.
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
    /// Bytes of the segment that would hold it, the figure of PyTorch's own
    /// message. The tensor's from 1 EiB on, which PyTorch refuses outright.
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
    /// `cap_bytes`: what all segments together may take, as the memory of a
    /// device or `set_per_process_memory_fraction` limits it; `None` for no
    /// limit short of 1 EiB, to which larger caps are cut.
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
    /// block of a fresh segment. Zero bytes need no block.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] when a fresh segment does not fit under the cap. As in
    /// PyTorch the cache has been emptied by then (unless the request is of 1 EiB
    /// or more, which is refused unseen), and the allocator stays usable.
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

    /// Returns a block to its pool, merged with free neighbours. The segment
    /// stays reserved.
    ///
    /// `id` must come from this allocator: another one's frees the block of the
    /// same number here, if there is one.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the id is used up, so that no block is freed twice"
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

    /// Gives wholly free segments back to the device, as
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

    /// Bytes of the blocks that tensors hold now, as `torch.cuda.memory_allocated`.
    pub fn allocated_bytes(&self) -> u64 {
        self.allocated.now
    }

    /// Bytes of all segments now, as `torch.cuda.memory_reserved`.
    pub fn reserved_bytes(&self) -> u64 {
        self.reserved.now
    }

    /// The most bytes allocated since the last reset, as
    /// `torch.cuda.max_memory_allocated`.
    pub fn peak_allocated_bytes(&self) -> u64 {
        self.allocated.peak
    }

    /// The most bytes reserved since the last reset, as
    /// `torch.cuda.max_memory_reserved`.
    pub fn peak_reserved_bytes(&self) -> u64 {
        self.reserved.peak
    }

    /// Sets both peaks to the present figures, as
    /// `torch.cuda.reset_peak_memory_stats`.
    pub fn reset_peaks(&mut self) {
        self.allocated.peak = self.allocated.now;
        self.reserved.peak = self.reserved.now;
    }

    /// A fresh segment for a block of `size` bytes: the block that fills it, not
    /// yet in a pool.
    fn reserve(&mut self, bytes: u64, size: u64, is_small: bool) -> Result<usize, OutOfMemory> {
        let segment_bytes = sizes::segment_bytes(size);
        if segment_bytes > self.cap_bytes - self.reserved.now {
            // The step before this one, `release_available_cached_blocks`, does
            // nothing without `max_split_size_mb`.
            self.empty_cache();
            if segment_bytes > self.cap_bytes - self.reserved.now {
                return Err(self.out_of_memory(bytes, segment_bytes));
            }
        }
        self.reserved.add(segment_bytes);
        let segment = self.num_segments_ever;
        self.num_segments_ever += 1;
        Ok(self.place(Block {
            size: segment_bytes,
            segment,
            offset: 0,
            prev: None,
            next: None,
            is_small,
            is_allocated: false,
        }))
    }

    /// Cuts a block down to `size` bytes and frees the rest, where that is worth a
    /// block.
    fn split(&mut self, index: usize, size: u64) {
        let block = self.blocks[index];
        let rest_bytes = block.size - size;
        if !sizes::is_worth_a_block(rest_bytes, block.is_small) {
            return;
        }
        let rest = Block {
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

    /// Takes a free neighbour out of its pool and out of `blocks`.
    fn take_free(&mut self, index: Option<usize>) -> Option<Block> {
        let index = index?;
        let block = self.blocks[index];
        if block.is_allocated {
            return None;
        }
        self.pool(block.is_small).remove(&block.as_free(index));
        self.vacant.push(index);
        Some(block)
    }

    fn place(&mut self, block: Block) -> usize {
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

/// A figure and its peak.
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
