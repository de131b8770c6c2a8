//! Compares random sequences with the naive model: figures and layout after each event.

use proptest::prelude::*;

use super::model::Model;
use super::*;

#[derive(Clone, Debug)]
enum Event {
    Allocate(u64),
    /// Frees the n-th live tensor, modulo their number.
    Free(usize),
    EmptyCache,
    ResetPeaks,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    // Sizes near the edges of the rules are more frequent than others.
    let edges = prop::sample::select(vec![512, KIB, MIB, 2 * MIB, 9 * MIB, 10 * MIB, 20 * MIB]);
    let size = prop_oneof![
        2 => 0..8 * KIB,
        2 => 0..MIB,
        3 => 0..24 * MIB,
        2 => (1..32_u64).prop_map(|mebibytes| mebibytes * MIB),
        3 => (edges, 0..1025_u64).prop_map(|(edge, more)| edge - 512 + more),
        1 => any::<u64>(),
    ];
    let event = prop_oneof![
        60 => size.prop_map(Event::Allocate),
        50 => any::<usize>().prop_map(Event::Free),
        1 => Just(Event::EmptyCache),
        1 => Just(Event::ResetPeaks),
    ];
    prop::collection::vec(event, 0..200)
}

fn cap() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        Just(None),
        (0..200 * MIB).prop_map(Some),
        Just(Some(64 * MIB)),
        Just(Some(u64::MAX)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn equals_the_naive_model(
        kind in prop::sample::select(vec![Segments::Fixed, Segments::Expandable]),
        cap in cap(),
        events in events(),
    ) {
        let mut allocator = CachingAllocator::new(kind, cap);
        let mut model = Model::new(kind, cap.unwrap_or(u64::MAX));
        let mut live: Vec<(BlockId, usize)> = Vec::new();
        let (mut peak_allocated, mut peak_reserved) = (0, 0);
        for event in events {
            match event {
                Event::Allocate(bytes) => match allocator.allocate(bytes) {
                    Ok(id) => live.push((id, model.allocate(bytes).unwrap())),
                    Err(error) => {
                        prop_assert_eq!(model.allocate(bytes), None);
                        prop_assert_eq!(error.requested_bytes, bytes);
                        prop_assert_eq!(error.allocated_bytes, allocator.allocated_bytes());
                        // Whole pages can be too many where the request is not.
                        let needed = error.segment_bytes.next_multiple_of(20 * MIB);
                        prop_assert!(needed > error.free_bytes);
                    }
                },
                Event::Free(n) if !live.is_empty() => {
                    let (id, tensor) = live.swap_remove(n % live.len());
                    allocator.free(id);
                    model.free(tensor);
                }
                Event::Free(_) => {}
                Event::EmptyCache => {
                    allocator.empty_cache();
                    model.empty_cache();
                }
                Event::ResetPeaks => {
                    allocator.reset_peaks();
                    (peak_allocated, peak_reserved) = figures(&allocator);
                }
            }
            check_structure(&allocator);
            prop_assert_eq!(layout(&allocator), model.layout());
            let (allocated, reserved) = figures(&allocator);
            prop_assert_eq!((allocated, reserved), model.figures());
            prop_assert!(allocated <= reserved);
            prop_assert!(reserved <= cap.unwrap_or(u64::MAX));
            // An event raises a figure at most once, at its end, so checking after
            // each event misses no peak.
            peak_allocated = peak_allocated.max(allocated);
            peak_reserved = peak_reserved.max(reserved);
            prop_assert_eq!(allocator.peak_allocated_bytes(), peak_allocated);
            prop_assert_eq!(allocator.peak_reserved_bytes(), peak_reserved);
        }
        for (id, _) in live {
            allocator.free(id);
        }
        allocator.empty_cache();
        prop_assert_eq!(figures(&allocator), (0, 0));
        // An expandable segment stays, without memory.
        let num_blocks = allocator.blocks.len() - allocator.vacant.len();
        prop_assert_eq!(num_blocks, allocator.unmapped.0.len());
    }
}

/// The blocks of every segment by address: size, and whether a tensor holds it.
fn layout(allocator: &CachingAllocator) -> Vec<Vec<(u64, bool)>> {
    let mut first: Vec<_> = (0..allocator.blocks.len())
        .filter(|index| !allocator.vacant.contains(index))
        .filter(|&index| allocator.blocks[index].prev.is_none())
        .collect();
    first.sort_by_key(|&index| allocator.blocks[index].segment);
    let blocks_from = |start: usize| {
        std::iter::successors(Some(start), |&index| allocator.blocks[index].next)
            .map(|index| &allocator.blocks[index])
            .filter(|block| block.is_mapped)
            .map(|block| (block.size, block.is_allocated))
            .collect()
    };
    first.into_iter().map(blocks_from).collect()
}
