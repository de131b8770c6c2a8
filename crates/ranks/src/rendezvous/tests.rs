//! Starts in a store that other starts used before.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A store in memory.
#[derive(Default)]
struct Memory(BTreeMap<String, String>);

impl Keys for Memory {
    type Error = Error;

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        self.0.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn get(&mut self, key: &str) -> Result<Option<String>> {
        Ok(self.0.get(key).cloned())
    }
}

fn rank(rank: usize, size: usize, nonce: u64) -> Rendezvous {
    Rendezvous::new(Shard::new(rank, size).unwrap(), nonce)
}

/// Polls these ranks in turn until each has a round.
fn meet(keys: &mut Memory, ranks: &mut [Rendezvous]) -> Vec<String> {
    let mut rounds: Vec<Option<String>> = vec![None; ranks.len()];
    for _ in 0..20 {
        for (rank, round) in ranks.iter_mut().zip(&mut rounds) {
            if round.is_none() {
                *round = rank.poll(keys).unwrap();
            }
        }
    }
    rounds.into_iter().flatten().collect()
}

proptest! {
    /// Earlier starts stop anywhere; the next one meets all the same, under its own name.
    #[test]
    fn every_start_meets_in_a_store_of_dead_processes(
        starts in proptest::collection::vec((1_usize..6, proptest::collection::vec(0_usize..6, 0..30)), 0..5),
        size in 1_usize..6,
    ) {
        let mut keys = Memory::default();
        for (start, (size, order)) in starts.into_iter().enumerate() {
            let nonce = |rank| (start * 100 + rank) as u64;
            let mut ranks: Vec<_> = (0..size).map(|it| rank(it, size, nonce(it))).collect();
            for it in order.into_iter().filter(|it| *it < size) {
                ranks[it].poll(&mut keys).unwrap();
            }
        }
        // The last rank comes first.
        let mut ranks: Vec<_> = (0..size).rev().map(|it| rank(it, size, 9000 + it as u64)).collect();
        let rounds = meet(&mut keys, &mut ranks);
        let name = format!("{:016x}", 9000);
        prop_assert_eq!(rounds, vec![round(&name); size]);
    }
}

#[test]
fn late_ranks_are_waited_for() {
    let mut keys = Memory::default();
    let mut ranks = [rank(0, 3, 1), rank(1, 3, 2)];
    assert!(meet(&mut keys, &mut ranks).is_empty());
    assert_eq!(ranks[0].missing(), [2]);
    let [host, guest] = ranks;
    let rounds = meet(&mut keys, &mut [rank(2, 3, 3), host, guest]);
    assert_eq!(rounds.len(), 3);
}

#[test]
fn all_learn_who_is_missing() {
    let mut keys = Memory::default();
    // A dead process of rank 3 had said hello.
    keys.set("hello/3", "00000000000000ff").unwrap();
    let [host, mut guest, lonely] = {
        let mut ranks = [rank(0, 4, 1), rank(1, 4, 2), rank(2, 4, 3)];
        assert!(meet(&mut keys, &mut ranks[..2]).is_empty());
        ranks
    };
    let expected = Error::Absent { ranks: vec![2, 3] };
    assert_eq!(host.give_up(&mut keys), Ok(expected.clone()));
    assert_eq!(guest.poll(&mut keys), Err(expected));
    assert_eq!(guest.give_up(&mut keys), Ok(Error::NotAll));
    // Rank 2 came too late, and got no answer.
    assert_eq!(
        lonely.give_up(&mut keys),
        Ok(Error::Absent { ranks: vec![0] })
    );
}

#[test]
fn a_rank_that_dies_after_its_ack_can_be_replaced() {
    let mut keys = Memory::default();
    let mut ranks = [rank(0, 3, 1), rank(1, 3, 2)];
    meet(&mut keys, &mut ranks);
    let [host, _dead] = ranks;
    let rounds = meet(&mut keys, &mut [host, rank(1, 3, 4), rank(2, 3, 3)]);
    assert_eq!(rounds.len(), 3);
}

#[test]
fn an_earlier_rank_0_leaves_and_its_guest_follows_the_new_one() {
    let mut keys = Memory::default();
    let mut ranks = [rank(0, 3, 1), rank(1, 3, 2)];
    meet(&mut keys, &mut ranks);
    let [mut old, guest] = ranks;
    // The guest is of the new start: it has said hello to a rank 0 that was about to be killed.
    keys.set("welcome/0000000000000002", "0000000000000009")
        .unwrap();
    let mut new = rank(0, 3, 9);
    assert_eq!(new.poll(&mut keys), Ok(None));
    assert_eq!(old.poll(&mut keys), Err(Error::Twice { rank: 0 }));
    let rounds = meet(&mut keys, &mut [new, guest, rank(2, 3, 3)]);
    assert_eq!(rounds, vec![round("0000000000000009"); 3]);
}

#[test]
fn two_processes_of_one_rank_are_refused() {
    let mut keys = Memory::default();
    let (mut host, mut first, mut second) = (rank(0, 2, 1), rank(1, 2, 2), rank(1, 2, 3));
    for guest in [&mut first, &mut second] {
        assert_eq!(guest.poll(&mut keys), Ok(None));
        keys.set(&welcome(&guest.nonce), "0000000000000001")
            .unwrap();
        assert_eq!(guest.poll(&mut keys), Ok(None));
    }
    assert!(host.poll(&mut keys).unwrap().is_some());
    assert_eq!(first.poll(&mut keys), Err(Error::Twice { rank: 1 }));
    assert!(second.poll(&mut keys).unwrap().is_some());
}

#[test]
fn a_rank_of_another_size_is_named_by_all() {
    let mut keys = Memory::default();
    let (mut host, mut guest) = (rank(0, 2, 1), rank(1, 3, 2));
    let mut refused = Vec::new();
    for _ in 0..4 {
        refused.extend(host.poll(&mut keys).err());
        refused.extend(guest.poll(&mut keys).err());
    }
    let expected = Error::Sizes {
        rank: 1,
        found: "3".to_owned(),
        size: 2,
    };
    assert!(
        refused.len() >= 2 && refused.iter().all(|it| *it == expected),
        "{refused:?}"
    );
}
