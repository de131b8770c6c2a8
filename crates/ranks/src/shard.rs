//! Which rank trains on what: slices of one list of micro-batches that all ranks share.
//!
//! A *group* is the micro-batches of one step. Each rank takes a slice of it, in order, so that groups, their order and
//! the position in an epoch do not depend on the number of ranks: a run can resume with another number.

use std::ops::Range;

use crate::error::{Error, Result};

/// A rank, and the number of all ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    rank: usize,
    size: usize,
}

impl Shard {
    /// A process of its own.
    pub const ALONE: Self = Self { rank: 0, size: 1 };

    /// Rank `rank` of `size`.
    ///
    /// # Errors
    /// If there is no such rank.
    pub fn new(rank: usize, size: usize) -> Result<Self> {
        if rank < size {
            Ok(Self { rank, size })
        } else {
            Err(Error::RankTooLarge {
                name: "rank",
                rank,
                size,
            })
        }
    }

    /// The rank, from 0.
    pub const fn rank(self) -> usize {
        self.rank
    }

    /// The number of ranks, at least 1.
    pub const fn size(self) -> usize {
        self.size
    }

    /// The part of a list of `len` that this rank takes: of the micro-batches of a group, or of the batches of a
    /// validation. The parts of all ranks, in the order of ranks, are the list. A part is empty if the list is short.
    pub const fn part(self, len: usize) -> Range<usize> {
        // As `rank * len / size`, which could overflow.
        let (each, rest) = (len / self.size, len % self.size);
        let start = self.rank * each + self.rank * rest / self.size;
        let next = self.rank + 1;
        start..next * each + next * rest / self.size
    }

    /// The micro-batches of `epoch` that this rank takes from the position `from` on, which counts those of all ranks.
    pub fn micro_batches(self, epoch: Epoch, from: usize) -> impl Iterator<Item = usize> {
        let groups = epoch.groups(from);
        groups.flat_map(move |group| {
            let part = self.part(group.len());
            group.start + part.start..group.start + part.end
        })
    }
}

/// The micro-batches of one epoch, of all ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// The samples that the epoch uses. If an uneven last batch is dropped, its samples are not among them.
    pub samples: usize,
    /// Samples in a micro-batch, at least 1. The last micro-batch has what is left.
    pub batch: usize,
    /// Micro-batches in a group, at least 1. The last group has what is left.
    pub accumulation: usize,
}

impl Epoch {
    /// The number of micro-batches.
    pub fn num_micro_batches(self) -> usize {
        self.samples.div_ceil(self.batch.max(1))
    }

    /// The groups from the position `from` on: the indices of their micro-batches. After a step, the position is the
    /// end of its group.
    pub fn groups(self, from: usize) -> impl Iterator<Item = Range<usize>> {
        let (num, most) = (self.num_micro_batches(), self.accumulation.max(1));
        (from..num)
            .step_by(most)
            .map(move |start| start..num.min(start.saturating_add(most)))
    }

    /// Images in micro-batches.
    pub fn images(self, micro_batches: &Range<usize>) -> usize {
        let before = |nth: usize| self.samples.min(nth.saturating_mul(self.batch.max(1)));
        before(micro_batches.end).saturating_sub(before(micro_batches.start))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn epoch() -> impl Strategy<Value = Epoch> {
        (0_usize..200, 1_usize..9, 1_usize..20).prop_map(|(samples, batch, accumulation)| Epoch {
            samples,
            batch,
            accumulation,
        })
    }

    /// What `size` ranks train on in the step of `group`, in the order of ranks.
    fn step(group: &Range<usize>, size: usize) -> Vec<usize> {
        let ranks = (0..size).map(|rank| Shard::new(rank, size).unwrap());
        let parts = ranks.map(|it| it.part(group.len()));
        parts
            .flat_map(|it| group.start + it.start..group.start + it.end)
            .collect()
    }

    proptest! {
        #[test]
        fn each_sample_once_in_the_same_order_for_any_number_of_ranks(
            epoch in epoch(), size in 1_usize..40,
        ) {
            let all: Vec<usize> = epoch.groups(0).flat_map(|it| step(&it, size)).collect();
            prop_assert_eq!(&all, &(0..epoch.num_micro_batches()).collect::<Vec<_>>());
            let samples: usize = all.iter().map(|it| epoch.images(&(*it..it + 1))).sum();
            prop_assert_eq!(samples, epoch.samples);
            // What each rank reads on its own is its part of the steps.
            let mut mine: Vec<usize> = (0..size)
                .flat_map(|it| Shard::new(it, size).unwrap().micro_batches(epoch, 0))
                .collect();
            mine.sort_unstable();
            prop_assert_eq!(mine, all);
        }

        #[test]
        fn parts_differ_by_one_at_most(len in 0_usize..500, size in 1_usize..40) {
            for rank in 0..size {
                let part = Shard::new(rank, size).unwrap().part(len);
                prop_assert_eq!(part.start, rank * len / size);
                prop_assert!(part.len() == len / size || part.len() == len.div_ceil(size));
            }
        }

        #[test]
        fn another_number_of_ranks_goes_on_where_the_first_stopped(
            epoch in epoch(), first in 1_usize..10, second in 1_usize..10, steps in 0_usize..20,
        ) {
            let before: Vec<Range<usize>> = epoch.groups(0).take(steps).collect();
            let position = before.last().map_or(0, |it| it.end);
            let mut seen: Vec<usize> = before.iter().flat_map(|it| step(it, first)).collect();
            seen.extend(epoch.groups(position).flat_map(|it| step(&it, second)));
            prop_assert_eq!(seen, (0..epoch.num_micro_batches()).collect::<Vec<_>>());
            let groups: Vec<_> = before.into_iter().chain(epoch.groups(position)).collect();
            prop_assert_eq!(groups, epoch.groups(0).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_uneven_last_step_leaves_ranks_without_images() {
        let epoch = Epoch {
            samples: 13,
            batch: 4,
            accumulation: 3,
        };
        let groups: Vec<_> = epoch.groups(0).collect();
        assert_eq!(groups, [0..3, 3..4]);
        assert_eq!(epoch.images(&groups[1]), 1);
        let parts: Vec<_> = (0..3)
            .map(|rank| Shard::new(rank, 3).unwrap().part(1))
            .collect();
        assert_eq!(parts, [0..0, 0..0, 0..1]);
    }

    #[test]
    fn a_rank_beyond_the_last_is_refused() {
        assert!(Shard::new(2, 2).is_err());
        assert!(Shard::new(0, 0).is_err());
    }
}
