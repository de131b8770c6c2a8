//! Statuses survive the wire, and every rank reaches the same verdict.

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::error::Error;

const SEVEN: u64 = 7;

/// A status of rank `rank` of `size` at step 7, which does not stop.
fn status(rank: usize, size: usize, what: What) -> Status {
    Status {
        shard: Shard::new(rank, size).unwrap(),
        step: SEVEN,
        what,
        missing_bytes: None,
        interrupt: false,
        recipe: 0,
    }
}

/// Statuses of all ranks in order, seldom at different steps or with different recipes.
fn statuses() -> impl Strategy<Value = Vec<Status>> {
    let odd = || prop_oneof![20 => Just(0_u64), 1 => Just(1_u64)];
    let what = prop_oneof![2 => Just(What::Fine), 1 => select(&What::ALL[..])];
    let missing = proptest::option::of(0..4_u64);
    let one = (odd(), odd(), what, missing, any::<bool>());
    proptest::collection::vec(one, 1..9).prop_map(|all| {
        let size = all.len();
        let all = all.into_iter().enumerate();
        let all = all.map(
            |(rank, (step, recipe, what, missing_bytes, interrupt))| Status {
                step: SEVEN + step,
                missing_bytes,
                interrupt,
                recipe,
                ..status(rank, size, what)
            },
        );
        all.collect()
    })
}

fn words(statuses: &[Status]) -> Vec<i64> {
    statuses.iter().flat_map(Status::encode).collect()
}

proptest! {
    #[test]
    fn the_order_of_statuses_does_not_matter(
        (all, shuffled) in statuses().prop_flat_map(|it| (Just(it.clone()), Just(it).prop_shuffle())),
    ) {
        let verdict = merge(&all).unwrap();
        prop_assert_eq!(&merge_gathered(&words(&shuffled)).unwrap(), &verdict);
        // The table of the module's documentation.
        let worst = all.iter().map(|it| (it.what, it.missing_bytes)).max().unwrap();
        let first = all.iter().position(|it| (it.what, it.missing_bytes) == worst).unwrap();
        let agree = all.iter().all(|it| (it.step, it.recipe) == (all[0].step, all[0].recipe));
        match verdict {
            Verdict::Disagree(_) => prop_assert!(!agree),
            Verdict::Leave { rank, what } => {
                prop_assert!(agree && matches!(what, What::DataError | What::Broken));
                prop_assert_eq!((rank, what), (first, worst.0));
            }
            Verdict::Undo { rank, what, missing_bytes } => {
                prop_assert!(agree && what != What::Fine && what < What::DataError);
                prop_assert_eq!((rank, (what, missing_bytes)), (first, worst));
            }
            Verdict::GoOn { interrupt } => {
                prop_assert!(agree && worst.0 == What::Fine);
                prop_assert_eq!(interrupt, all.iter().any(|it| it.interrupt));
            }
        }
    }

    #[test]
    fn a_damaged_status_is_refused(all in statuses(), nth in any::<Index>(), bit in 0..64_u32) {
        let mut damaged = words(&all);
        let nth = nth.index(damaged.len());
        damaged[nth] ^= 1_i64 << bit;
        let refused = matches!(merge_gathered(&damaged), Err(Error::Record { .. }));
        prop_assert!(refused);
    }

    #[test]
    fn other_words_are_refused(words in proptest::collection::vec(any::<i64>(), 0..40)) {
        prop_assert!(merge_gathered(&words).is_err());
    }

    /// Words with a right checksum, as another program could send them.
    #[test]
    fn a_status_is_read_back_or_out_of_range(
        mut words in any::<[i64; NUM_WORDS]>(), what in 0..12_i64, interrupt in 0..3_i64, size in 1..5_i64, rank in 0..5_i64,
    ) {
        words[0] = status(0, 1, What::Fine).encode()[0];
        (words[1], words[3], words[5]) = (size << 32 | rank, what, interrupt);
        let bytes: Vec<u8> = words[..NUM_WORDS - 1].iter().flat_map(|it| it.to_le_bytes()).collect();
        words[NUM_WORDS - 1] = fingerprint(&bytes).cast_signed();
        let read = Status::decode(&words);
        prop_assert_eq!(read.is_ok(), what < 10 && interrupt < 2 && rank < size);
        if let Ok(read) = read {
            prop_assert_eq!(read.encode(), words);
        }
    }

    #[test]
    fn a_missing_or_doubled_status_is_refused(all in statuses(), nth in any::<Index>()) {
        let nth = nth.index(all.len());
        let (mut fewer, mut more) = (all.clone(), all.clone());
        fewer.remove(nth);
        more.push(all[nth]);
        for wrong in [fewer, more] {
            prop_assert!(merge(&wrong).is_err(), "{:?}", wrong);
        }
    }
}

#[test]
fn the_largest_shortfall_is_planned_for() {
    let mut all: Vec<_> = (0..4).map(|it| status(it, 4, What::OutOfMemory)).collect();
    (all[0].what, all[0].missing_bytes) = (What::DeviceGuard, Some(1 << 40));
    (all[1].missing_bytes, all[3].missing_bytes) = (Some(5), Some(9));
    let expected = Verdict::Undo {
        rank: 3,
        what: What::OutOfMemory,
        missing_bytes: Some(9),
    };
    assert_eq!(merge(&all), Ok(expected));
}

#[test]
fn disagreement_names_the_ranks() {
    let mut all: Vec<_> = (0..4).map(|it| status(it, 4, What::Broken)).collect();
    (all[1].recipe, all[3].recipe) = (1, 2);
    let ranks = vec![1, 3];
    assert_eq!(merge(&all), Ok(Verdict::Disagree(Error::Recipes { ranks })));
    all[2].step += 1;
    let ranks = vec![2];
    assert_eq!(merge(&all), Ok(Verdict::Disagree(Error::Steps { ranks })));
}

#[test]
fn the_layout_is_fixed() {
    let mut status = status(1, 2, What::OutOfMemory);
    status.interrupt = true;
    status.recipe = fingerprint(b"recipe");
    let mut words = status.encode();
    assert_eq!(
        format!("{words:x?}"),
        "[534e554700000001, 200000001, 7, 7, ffffffffffffffff, 1, 69e752ffdb3f740f, 94c11d154e397125]"
    );
    words[0] += 1;
    assert_eq!(
        Status::decode(&words),
        Err(Error::record("another version of Snug wrote it"))
    );
}
