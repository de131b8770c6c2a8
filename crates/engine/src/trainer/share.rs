//! What one step trains on: the batches of all ranks, of which this rank has a part.

use std::ops::Range;

use data::Batch;
use ranks::{Epoch, Shard};

use crate::batch::{MicroBatch, micro_batches, parts};
use crate::team::Places;

/// This rank's part of a step.
#[derive(Debug)]
pub(super) struct StepShare<'a> {
    /// The batches of this rank.
    pub(super) batches: &'a [Batch],
    /// The images of each batch of the step, of all ranks.
    pub(super) lens: Vec<usize>,
    /// Which of them this rank has.
    pub(super) mine: Range<usize>,
}

impl<'a> StepShare<'a> {
    /// A step of a process of its own.
    pub(super) fn whole(batches: &'a [Batch]) -> Self {
        Self {
            batches,
            lens: batches.iter().map(|batch| batch.len).collect(),
            mine: 0..batches.len(),
        }
    }

    /// The part of `shard` in the step on the batches `group` of `epoch`, which has `batches`.
    pub(super) fn of(
        batches: &'a [Batch],
        shard: Shard,
        epoch: Epoch,
        group: &Range<usize>,
    ) -> Self {
        let lens = group.clone().map(|it| epoch.images(&(it..it + 1)));
        Self {
            batches,
            lens: lens.collect(),
            mine: shard.part(group.len()),
        }
    }

    /// The images of all ranks.
    pub(super) fn images(&self) -> usize {
        self.lens.iter().sum()
    }

    /// This rank's micro-batches of at most `most` images.
    pub(super) fn micro_batches(
        &self,
        most: u32,
    ) -> impl Iterator<Item = MicroBatch<'a>> + use<'a> {
        micro_batches(self.batches, most, self.images())
    }

    /// The micro-batches of at most `most` images, and the batches, of all ranks.
    pub(super) fn places(&self, shard: Shard, most: u32) -> Places {
        let all_ranks = (0..shard.size()).filter_map(|rank| Shard::new(rank, shard.size()).ok());
        let images = |lens: &[usize]| -> Vec<usize> {
            let parts = lens.iter().flat_map(|&len| parts(len, most as usize));
            parts.map(|part| part.len()).collect()
        };
        Places {
            images: all_ranks
                .map(|rank| images(&self.lens[rank.part(self.lens.len())]))
                .collect(),
            batches: self.lens.len(),
            mine: self.mine.clone(),
        }
    }

    /// By what to multiply the loss of each batch of this rank, so that it is the mean over its images.
    pub(super) fn scales(&self) -> Vec<f64> {
        let images = self.images() as f64;
        let mine = self.lens[self.mine.clone()].iter();
        mine.map(|&len| images / len.max(1) as f64).collect()
    }
}
