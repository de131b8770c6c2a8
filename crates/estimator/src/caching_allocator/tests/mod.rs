//! Tests of the rules one by one, with figures worked out by hand; the invariants
//! are at the end, and random sequences are in `random.rs`.

mod model;
mod random;

use super::*;

const KIB: u64 = Bytes::KIB;
const MIB: u64 = Bytes::MIB;

fn fixed(cap_bytes: Option<u64>) -> CachingAllocator {
    CachingAllocator::new(Segments::Fixed, cap_bytes)
}

/// Allocated and reserved bytes.
fn figures(allocator: &CachingAllocator) -> (u64, u64) {
    (allocator.allocated_bytes(), allocator.reserved_bytes())
}

#[test]
fn one_tensor() {
    for (bytes, allocated, reserved) in [
        (0, 0, 0),
        (1, 512, 2 * MIB),
        (512, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        // The rounded size exceeds 1 MiB, so it comes from the large pool.
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        // The size is rounded up to 10 MiB, so it is no longer below 10 MiB.
        (10 * MIB - 511, 10 * MIB, 10 * MIB),
        // 2 MiB minus 512 bytes are left, which is worth a block.
        (10 * MIB + 1, 10 * MIB + 512, 12 * MIB),
        // 1 MiB is left, which is not worth a block: the tensor gets all of it.
        (11 * MIB, 12 * MIB, 12 * MIB),
        (11 * MIB - 512, 11 * MIB - 512, 12 * MIB),
        (12 * MIB, 12 * MIB, 12 * MIB),
        (12 * MIB + 1, 12 * MIB + 512, 14 * MIB),
    ] {
        let mut allocator = fixed(None);
        let id = allocator.allocate(bytes).unwrap();
        assert_eq!(figures(&allocator), (allocated, reserved), "{bytes} bytes");
        allocator.free(id);
        assert_eq!(figures(&allocator), (0, reserved), "{bytes} bytes");
        allocator.empty_cache();
        assert_eq!(figures(&allocator), (0, 0), "{bytes} bytes");
        let peaks = (
            allocator.peak_allocated_bytes(),
            allocator.peak_reserved_bytes(),
        );
        assert_eq!(peaks, (allocated, reserved), "{bytes} bytes");
    }
}

#[test]
fn small_tensors_share_a_segment_to_the_last_block() {
    let mut allocator = fixed(None);
    // These fill 2 MiB with blocks of 512 bytes.
    for _ in 0..4096 {
        allocator.allocate(4).unwrap();
    }
    assert_eq!(figures(&allocator), (2 * MIB, 2 * MIB));
    allocator.allocate(4).unwrap();
    assert_eq!(figures(&allocator), (2 * MIB + 512, 4 * MIB));
}

#[test]
fn middle_sizes_share_a_segment_of_20_mib() {
    let mut allocator = fixed(None);
    for (mebibytes, allocated, reserved) in [
        (9, 9, 20),
        (9, 18, 20),
        // 2 MiB were left.
        (3, 21, 40),
        // The best fit is the rest of the first segment, although 17 MiB are free
        // in the second.
        (2, 23, 40),
    ] {
        allocator.allocate(mebibytes * MIB).unwrap();
        assert_eq!(figures(&allocator), (allocated * MIB, reserved * MIB));
    }
}

#[test]
fn pools_do_not_mix() {
    let mut allocator = fixed(None);
    let large = allocator.allocate(20 * MIB).unwrap();
    allocator.free(large);
    allocator.allocate(512).unwrap();
    assert_eq!(figures(&allocator), (512, 22 * MIB));
    // Free memory in the small pool cannot serve a large tensor.
    allocator.allocate(19 * MIB).unwrap();
    // 1 MiB behind it is not worth a block.
    assert_eq!(figures(&allocator), (20 * MIB + 512, 22 * MIB));
}

#[test]
fn the_smallest_fit_is_taken_and_then_the_lowest_address() {
    let mut allocator = fixed(None);
    let mut ids: Vec<_> = [30, 12, 12, 16]
        .map(|mebibytes| allocator.allocate(mebibytes * MIB).unwrap())
        .into();
    // The order makes sure that neither the first nor the last block freed is the right one.
    for place in [0, 2, 1, 3] {
        allocator.free(std::mem::take(&mut ids[place]));
    }
    let segment_of =
        |allocator: &CachingAllocator, id: &BlockId| allocator.blocks[id.0.unwrap()].segment;
    for expected in [1, 2, 3, 0] {
        let id = allocator.allocate(12 * MIB - 512).unwrap();
        assert_eq!(segment_of(&allocator, &id), expected);
    }
    assert_eq!(allocator.reserved_bytes(), 70 * MIB);
}

#[test]
fn there_is_no_limit_to_how_much_larger_a_reused_block_is() {
    // Only `max_split_size_mb` sets such a limit.
    let mut allocator = fixed(None);
    let huge = allocator.allocate(4096 * MIB).unwrap();
    allocator.free(huge);
    allocator.allocate(MIB + 512).unwrap();
    assert_eq!(figures(&allocator), (MIB + 512, 4096 * MIB));
}

#[test]
fn free_neighbours_merge() {
    // Three blocks fill a segment. In whatever order they are freed, one block of
    // 20 MiB remains, and a tensor of that size needs no other segment.
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let mut allocator = fixed(None);
        let mut ids = [6, 6, 8].map(|mebibytes| allocator.allocate(mebibytes * MIB).unwrap());
        assert_eq!(figures(&allocator), (20 * MIB, 20 * MIB));
        for place in order {
            allocator.free(std::mem::take(&mut ids[place]));
        }
        assert_eq!(allocator.large_pool.0.len(), 1);
        allocator.allocate(20 * MIB).unwrap();
        assert_eq!(figures(&allocator), (20 * MIB, 20 * MIB));
    }
}

#[test]
fn neighbouring_segments_do_not_merge() {
    let mut allocator = fixed(None);
    let ids = [10, 10].map(|mebibytes| allocator.allocate(mebibytes * MIB).unwrap());
    for id in ids {
        allocator.free(id);
    }
    allocator.allocate(20 * MIB).unwrap();
    assert_eq!(figures(&allocator), (20 * MIB, 40 * MIB));
}

#[test]
fn fragmentation_reserves_more_than_it_allocates() {
    // The tensors grow: each is just too large for the block that was freed.
    let mut allocator = fixed(None);
    for mebibytes in [10, 12, 14, 16] {
        let id = allocator.allocate(mebibytes * MIB).unwrap();
        allocator.free(id);
    }
    assert_eq!(allocator.peak_allocated_bytes(), 16 * MIB);
    assert_eq!(allocator.peak_reserved_bytes(), 52 * MIB);
}

#[test]
fn a_full_device_gives_up_its_cache_before_it_fails() {
    let mut allocator = fixed(Some(64 * MIB));
    let kept = allocator.allocate(4 * MIB).unwrap(); // a segment of 20 MiB
    let freed = allocator.allocate(30 * MIB).unwrap();
    let small = allocator.allocate(KIB).unwrap();
    allocator.free(freed);
    allocator.free(small);
    assert_eq!(figures(&allocator), (4 * MIB, 52 * MIB));
    // 12 MiB are left and 32 MiB are in the cache of both pools: all of it is released.
    let big = allocator.allocate(44 * MIB).unwrap();
    assert_eq!(figures(&allocator), (48 * MIB, 64 * MIB));
    // The rest of the first segment belongs to a split block and stays reserved.
    let error = allocator.allocate(17 * MIB).unwrap_err();
    assert_eq!(
        error,
        OutOfMemory {
            requested_bytes: 17 * MIB,
            segment_bytes: 18 * MIB,
            free_bytes: 0,
            allocated_bytes: 48 * MIB,
            reserved_bytes: 64 * MIB,
        }
    );
    // It still serves requests that fit.
    allocator.allocate(16 * MIB).unwrap();
    assert_eq!(figures(&allocator), (64 * MIB, 64 * MIB));
    allocator.free(kept);
    allocator.free(big);
    allocator.empty_cache();
    // 16 MiB of the 20 MiB are held.
    assert_eq!(figures(&allocator), (16 * MIB, 20 * MIB));
}

#[test]
fn a_failure_empties_the_cache_too() {
    let mut allocator = fixed(Some(40 * MIB));
    let id = allocator.allocate(30 * MIB).unwrap();
    allocator.free(id);
    let error = allocator.allocate(50 * MIB - 1).unwrap_err();
    assert_eq!((error.free_bytes, error.reserved_bytes), (40 * MIB, 0));
    assert_eq!(figures(&allocator), (0, 0));
    assert_eq!(
        error.to_string(),
        "out of memory: 50.0 MiB requested, which takes a segment of 50.0 MiB, \
         but 40.0 MiB are free (0 B allocated, 0 B reserved)"
    );
}

#[test]
fn a_segment_may_fill_the_cap_but_not_pass_it() {
    assert!(fixed(Some(20 * MIB)).allocate(2 * MIB).is_ok());
    assert!(fixed(Some(20 * MIB - 1)).allocate(2 * MIB).is_err());
    assert!(fixed(Some(0)).allocate(1).is_err());
    assert!(fixed(Some(0)).allocate(0).is_ok());
}

#[test]
fn absurd_requests_are_errors() {
    for cap in [None, Some(u64::MAX), Some(MIB)] {
        let mut allocator = fixed(cap);
        for bytes in [u64::MAX, u64::MAX - 511, 1 << 63, 1 << 60] {
            let error = allocator.allocate(bytes).unwrap_err();
            assert_eq!(error.requested_bytes, bytes);
        }
    }
    // The largest request that PyTorch considers takes everything.
    let mut allocator = fixed(None);
    let all = allocator.allocate((1 << 60) - 1).unwrap();
    assert_eq!(figures(&allocator), (1 << 60, 1 << 60));
    assert!(allocator.allocate(1).is_err());
    allocator.free(all);
    assert!(allocator.allocate(1).is_ok());
}

#[test]
fn peaks_last_until_they_are_reset() {
    let mut allocator = fixed(None);
    let id = allocator.allocate(14 * MIB).unwrap();
    allocator.free(id);
    allocator.empty_cache();
    allocator.reset_peaks();
    assert_eq!(allocator.peak_allocated_bytes(), 0);
    assert_eq!(allocator.peak_reserved_bytes(), 0);
    allocator.allocate(1).unwrap();
    assert_eq!(allocator.peak_allocated_bytes(), 512);
    assert_eq!(allocator.peak_reserved_bytes(), 2 * MIB);
}

#[test]
fn ids_of_nothing_free_nothing() {
    let mut allocator = fixed(None);
    allocator.allocate(1).unwrap();
    allocator.free(BlockId::default());
    allocator.free(BlockId(Some(1))); // the free rest of the segment
    allocator.free(BlockId(Some(99)));
    assert_eq!(figures(&allocator), (512, 2 * MIB));
    check_structure(&allocator);
}

/// An expandable segment takes pages of 20 MiB, and only its end grows.
#[test]
fn an_expandable_segment_grows_at_its_end() {
    let mut allocator = CachingAllocator::new(Segments::Expandable, Some(100 * MIB));
    let first = allocator.allocate(15 * MIB).unwrap();
    assert_eq!(figures(&allocator), (15 * MIB, 20 * MIB));
    // 5 MiB of the first page, and 10 of another.
    let second = allocator.allocate(15 * MIB).unwrap();
    assert_eq!(figures(&allocator), (30 * MIB, 40 * MIB));
    allocator.free(first);
    let third = allocator.allocate(16 * MIB).unwrap();
    assert_eq!(figures(&allocator), (31 * MIB, 60 * MIB));
    // The block before the second tensor is split finely.
    let fourth = allocator.allocate(15 * MIB - 512).unwrap();
    assert_eq!(figures(&allocator), (46 * MIB - 512, 60 * MIB));
    allocator.free(second);
    allocator.free(fourth);
    // Of the 30 MiB before the third tensor one whole page is free.
    allocator.empty_cache();
    assert_eq!(figures(&allocator), (16 * MIB, 40 * MIB));
    // 60 MiB are left under the cap, and 14 MiB of the last page.
    let fifth = allocator.allocate(25 * MIB).unwrap();
    assert_eq!(figures(&allocator), (41 * MIB, 60 * MIB));
    assert!(allocator.allocate(41 * MIB).is_err());
    for tensor in [third, fifth] {
        allocator.free(tensor);
    }
    allocator.empty_cache();
    assert_eq!(figures(&allocator), (0, 0));
}

/// Asserts that blocks tile their segment, that free neighbours are merged, and that
/// the pools list exactly the free blocks, in order.
fn check_structure(allocator: &CachingAllocator) {
    let mut num_free = 0;
    for (index, block) in allocator.blocks.iter().enumerate() {
        if allocator.vacant.contains(&index) {
            continue;
        }
        assert!(block.size > 0 && block.size % 512 == 0);
        if block.prev.is_none() {
            assert_eq!(block.offset, 0);
        }
        if let Some(next) = block.next {
            let after = &allocator.blocks[next];
            assert_eq!(after.prev, Some(index));
            assert_eq!(after.segment, block.segment);
            assert_eq!(after.offset, block.offset + block.size);
            let is_merged = block.is_mapped == after.is_mapped;
            assert!(block.is_allocated || after.is_allocated || !is_merged);
        }
        let pool = match (block.is_mapped, block.is_small) {
            (false, _) => &allocator.unmapped,
            (true, true) => &allocator.small_pool,
            (true, false) => &allocator.large_pool,
        };
        assert_eq!(pool.0.contains(&block.as_free(index)), !block.is_allocated);
        num_free += usize::from(!block.is_allocated);
    }
    let pools = [
        &allocator.small_pool,
        &allocator.large_pool,
        &allocator.unmapped,
    ];
    assert!(pools.iter().all(|pool| pool.0.is_sorted()));
    let num_listed: usize = pools.iter().map(|pool| pool.0.len()).sum();
    assert_eq!(num_listed, num_free);
}
