//! What all ranks make of their statuses.

use super::{NUM_WORDS, Status, What};
use crate::error::{Error, Result};

/// What all ranks do after they said how a step went. It is the same on every rank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Add up the gradients and finish the step.
    GoOn {
        /// Then stop, because a rank wants to.
        interrupt: bool,
    },
    /// Undo the step, take one rung for this failure, and try again. Who wants to stop is asked again after the retry.
    Undo {
        /// The first rank with this failure.
        rank: usize,
        /// The worst failure.
        what: What,
        /// The largest number of bytes that any rank with this failure reported.
        missing_bytes: Option<u64>,
    },
    /// Undo the step if [`What::can_be_undone`], and end the run.
    Leave {
        /// The first rank with this failure.
        rank: usize,
        /// The worst failure.
        what: What,
    },
    /// End the run: the ranks no longer train the same.
    Disagree(Error),
}

/// What all ranks do, from the statuses of all of them in any order.
///
/// # Errors
/// If they are not one status of each rank.
pub fn merge(statuses: &[Status]) -> Result<Verdict> {
    let mut statuses = statuses.to_vec();
    statuses.sort_by_key(|it| (it.shard.rank(), it.shard.size()));
    let size = statuses.len();
    let mut ranks = statuses.iter().map(|it| it.shard).enumerate();
    let is_whole = ranks.all(|(rank, it)| (it.rank(), it.size()) == (rank, size));
    // Of several, `max_by_key` takes the last, which is the first rank here.
    let worst = statuses.iter().rev();
    let worst = worst.max_by_key(|it| (it.what, it.missing_bytes));
    let (true, [first, ..], Some(worst)) = (is_whole, &statuses[..], worst) else {
        return Err(Error::Statuses {
            ranks: statuses.iter().map(|it| it.shard.rank()).collect(),
        });
    };
    // The ranks whose status differs from that of rank 0.
    let differ = |by: fn(&Status) -> u64| -> Vec<usize> {
        let differ = statuses.iter().filter(|it| by(it) != by(first));
        differ.map(|it| it.shard.rank()).collect()
    };
    let (steps, recipes) = (differ(|it| it.step), differ(|it| it.recipe));
    if !steps.is_empty() {
        return Ok(Verdict::Disagree(Error::Steps { ranks: steps }));
    }
    if !recipes.is_empty() {
        return Ok(Verdict::Disagree(Error::Recipes { ranks: recipes }));
    }
    let (rank, what) = (worst.shard.rank(), worst.what);
    Ok(match what {
        What::Fine => Verdict::GoOn {
            interrupt: statuses.iter().any(|it| it.interrupt),
        },
        What::DataError | What::Broken => Verdict::Leave { rank, what },
        _ => Verdict::Undo {
            rank,
            what,
            missing_bytes: worst.missing_bytes,
        },
    })
}

/// As [`merge`], of the words that all ranks gathered.
///
/// # Errors
/// As [`merge`], and if a status cannot be read.
pub fn merge_gathered(words: &[i64]) -> Result<Verdict> {
    let (records, rest) = words.as_chunks::<NUM_WORDS>();
    if !rest.is_empty() {
        return Err(Error::record("it has the wrong length"));
    }
    let statuses: Vec<Status> = records.iter().map(Status::decode).collect::<Result<_>>()?;
    merge(&statuses)
}
