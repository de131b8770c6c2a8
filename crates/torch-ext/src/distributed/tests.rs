//! Ranks as threads of this process, over the loopback and in memory.

use std::sync::Barrier;
use std::time::Duration;

use tch::{Kind, Tensor};

use super::*;

/// For what should succeed.
const AMPLE: Duration = Duration::from_secs(60);
/// For what should fail.
const SHORT: Duration = Duration::from_secs(1);

fn member(prefix: &str, rank: usize, size: usize) -> Member<'_> {
    Member {
        prefix,
        rank,
        size,
        timeout: AMPLE,
    }
}

fn gloo(store: &Store, prefix: &str, rank: usize, size: usize) -> Group {
    Group::gloo(store, &member(prefix, rank, size), Some("lo")).unwrap()
}

/// Runs `body` as `size` ranks with a store each, and returns what they return in the order of ranks.
fn each<T: Send>(size: usize, body: impl Fn(usize, &Store) -> T + Sync) -> Vec<T> {
    let served = Store::serve("127.0.0.1", 0, AMPLE).unwrap();
    let port = served.port().unwrap();
    let run = |rank| body(rank, &Store::connect("127.0.0.1", port, AMPLE).unwrap());
    join(size, run)
}

fn join<T: Send>(size: usize, body: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let body = &body;
    std::thread::scope(|scope| {
        let ranks: Vec<_> = (0..size)
            .map(|rank| scope.spawn(move || body(rank)))
            .collect();
        ranks.into_iter().map(|it| it.join().unwrap()).collect()
    })
}

fn failure(result: Result<impl Sized>) -> Failure {
    match result {
        Err(Error::Distributed(failure)) => failure,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("no failure"),
    }
}

/// Numbers whose sums are inexact in every floating-point type.
fn numbers(rank: usize, kind: Kind) -> Tensor {
    let numbers: Vec<f32> = (0..1003_u16)
        .map(|i| f32::from(i) * 0.37 + rank as f32 * 1.7)
        .collect();
    Tensor::from_slice(&numbers).to_kind(kind)
}

/// The elements as bits, so that they compare without tolerance.
fn bits(tensor: &Tensor) -> Vec<u8> {
    let bytes = tensor.view_dtype(Kind::Uint8);
    Vec::try_from(bytes.flatten(0, -1)).unwrap()
}

#[test]
fn a_store_keeps_bytes_and_counters_for_all_who_connect() {
    let served = Store::serve("127.0.0.1", 0, AMPLE).unwrap();
    let remote = Store::connect("127.0.0.1", served.port().unwrap(), AMPLE).unwrap();
    let local = Store::in_process(AMPLE).unwrap();
    assert_eq!(local.port(), None);
    for (writer, reader) in [(&served, &remote), (&local, &local)] {
        writer.set("key", b"\0bytes\xff").unwrap();
        assert_eq!(reader.get("key", SHORT).unwrap(), b"\0bytes\xff");
        assert_eq!(
            reader.try_get("key").unwrap().as_deref(),
            Some(&b"\0bytes\xff"[..])
        );
        writer.set("empty", b"").unwrap();
        assert_eq!(reader.get("empty", SHORT).unwrap(), b"");
        assert_eq!(reader.try_get("empty").unwrap(), Some(Vec::new()));
        assert_eq!(reader.try_get("other").unwrap(), None);
        assert_eq!(writer.add("count", 2).unwrap(), 2);
        assert_eq!(reader.add("count", -5).unwrap(), -3);
        assert_eq!(reader.get("count", SHORT).unwrap(), b"-3");
        let part = writer.prefix("part").unwrap();
        assert!(!part.check("key").unwrap());
        part.set("key", b"inner").unwrap();
        assert_eq!(reader.get("part/key", SHORT).unwrap(), b"inner");
        assert!(reader.delete("key").unwrap());
        assert!(!writer.check("key").unwrap());
        assert!(!writer.delete("key").unwrap());
        let late = failure(reader.get("key", Duration::from_millis(20)));
        assert!(matches!(late, Failure::TimedOut { .. }), "{late}");
        assert!(matches!(
            writer.set("a\0b", b""),
            Err(Error::InvalidArgument(_))
        ));
    }
}

#[test]
fn a_store_says_why_there_is_none() {
    let served = Store::serve("127.0.0.1", 0, AMPLE).unwrap();
    let port = served.port().unwrap();
    let taken = failure(Store::serve("127.0.0.1", port, SHORT));
    assert!(matches!(taken, Failure::PortTaken { .. }), "{taken}");
    let client = Store::connect("127.0.0.1", port, AMPLE).unwrap();
    drop(served);
    let gone = failure(client.check("key"));
    assert!(matches!(gone, Failure::PeerGone { .. }), "{gone}");
    // Nobody serves this port.
    let absent = failure(Store::connect("127.0.0.1", 1, SHORT));
    let Failure::Unreachable { who, ranks, .. } = &absent else {
        panic!("{absent}")
    };
    assert_eq!(who, "the store at 127.0.0.1:1");
    assert!(ranks.is_empty());
}

#[test]
fn sums_have_the_same_bits_on_all_ranks() {
    let kinds = [Kind::Float, Kind::BFloat16, Kind::Half, Kind::Int64];
    for size in [2, 3] {
        let sums = each(size, |rank, store| {
            let group = gloo(store, "sums", rank, size);
            assert_eq!((group.rank(), group.size()), (rank, size));
            kinds.map(|kind| {
                let mut sum = numbers(rank, kind);
                group.all_reduce_sum(&mut sum).unwrap().wait(None).unwrap();
                sum
            })
        });
        for (i, kind) in kinds.into_iter().enumerate() {
            let expected = (1..size).fold(numbers(0, kind), |sum, rank| sum + numbers(rank, kind));
            for rank in 1..size {
                assert_eq!(bits(&sums[rank][i]), bits(&sums[0][i]), "{kind:?}");
            }
            if size == 2 || kind == Kind::Int64 {
                assert_eq!(bits(&sums[0][i]), bits(&expected), "{kind:?}");
            }
            assert_ne!(bits(&expected), bits(&numbers(0, kind)));
        }
    }
}

#[test]
fn ranks_gather_broadcast_and_meet_in_memory_too() {
    let store = Store::in_process(AMPLE).unwrap();
    let results = join(3, |rank| {
        let group = gloo(&store, "all", rank, 3);
        let mine = Tensor::from_slice(&[rank as f32, 10.0 + rank as f32]).view([1, 2]);
        let gathered = group.all_gather(&mine).unwrap().wait(Some(AMPLE)).unwrap();
        let mut from_last = mine.copy();
        group
            .broadcast(&mut from_last, 2)
            .unwrap()
            .wait(None)
            .unwrap();
        group.barrier().unwrap().wait(None).unwrap();
        assert!(matches!(
            group.broadcast(&mut from_last, 3),
            Err(Error::InvalidArgument(_))
        ));
        // What was refused before it started does not end the group.
        assert_eq!(group.ended(), None);
        (gathered, from_last)
    });
    for (gathered, from_last) in results {
        let expected = Tensor::from_slice(&[0.0_f32, 10.0, 1.0, 11.0, 2.0, 12.0]);
        assert_eq!(gathered, expected);
        assert_eq!(from_last, Tensor::from_slice(&[2.0_f32, 12.0]).view([1, 2]));
    }
}

#[test]
fn only_flat_views_of_other_strides_are_exchanged() {
    let sums = each(2, |rank, store| {
        let group = gloo(store, "strides", rank, 2);
        let rows = numbers(rank, Kind::Float)
            .slice(0, 0, 120, 1)
            .view([2, 3, 4, 5]);
        let mut image = rows.permute([0, 3, 1, 2]);
        assert!(matches!(
            group.all_reduce_sum(&mut image),
            Err(Error::InvalidArgument(_))
        ));
        assert!(flat_view(&image.slice(3, 0, 2, 1)).is_err());
        let mut flat = flat_view(&image).unwrap();
        group.all_reduce_sum(&mut flat).unwrap().wait(None).unwrap();
        image
    });
    let expected = (numbers(0, Kind::Float) + numbers(1, Kind::Float)).slice(0, 0, 120, 1);
    for sum in sums {
        let rows = sum.permute([0, 2, 3, 1]).contiguous();
        assert_eq!(bits(&rows), bits(&expected));
    }
}

#[test]
fn a_rank_that_does_not_come_is_named() {
    let store = Store::in_process(AMPLE).unwrap();
    let reports = join(2, |rank| {
        let place = Member {
            timeout: SHORT,
            ..member("start", rank, 4)
        };
        failure(Group::gloo(&store, &place, Some("lo")))
    });
    for report in reports {
        assert!(
            matches!(&report, Failure::Unreachable { ranks, .. } if ranks == &[2, 3]),
            "{report}"
        );
        assert_eq!(
            report.to_string(),
            "ranks 2, 3 cannot be reached: missing from the group `start` after 1 s"
        );
    }
    // A second group at the same place would read the addresses of the first.
    let again = Group::gloo(&store, &member("start", 0, 4), Some("lo"));
    assert!(matches!(again, Err(Error::InvalidArgument(_))));
    let outside = Group::gloo(&store, &member("outside", 4, 4), Some("lo"));
    assert!(matches!(outside, Err(Error::InvalidArgument(_))));
}

#[test]
fn a_rank_that_hangs_is_waited_for_until_the_timeout() {
    let end = Barrier::new(2);
    each(2, |rank, store| {
        let group = gloo(store, "hang", rank, 2);
        if rank == 0 {
            let mut tensor = numbers(rank, Kind::Float);
            let work = group.all_reduce_sum(&mut tensor).unwrap();
            assert!(!work.is_completed().unwrap());
            let late = failure(work.wait(Some(SHORT)));
            assert!(matches!(late, Failure::TimedOut { .. }), "{late}");
            let dead = failure(group.barrier());
            assert_eq!(
                dead,
                Failure::Dead {
                    reason: late.to_string()
                }
            );
        }
        end.wait();
    });
}

#[test]
fn a_rank_that_leaves_ends_the_group_and_another_group_works() {
    let joined = Barrier::new(3);
    each(3, |rank, store| {
        let group = gloo(store, "first", rank, 3);
        joined.wait();
        if rank == 1 {
            drop(group);
        } else {
            let mut tensor = numbers(rank, Kind::Float);
            let gone = failure(
                group
                    .all_reduce_sum(&mut tensor)
                    .and_then(|it| it.wait(None)),
            );
            assert!(matches!(gone, Failure::PeerGone { .. }), "{gone}");
            assert_eq!(group.ended(), Some(gone.to_string().as_str()));
            let dead = failure(group.all_gather(&tensor));
            assert!(matches!(dead, Failure::Dead { .. }), "{dead}");
        }
        let group = gloo(store, "second", rank, 3);
        let mut one = Tensor::from_slice(&[1_i64]);
        group.all_reduce_sum(&mut one).unwrap().wait(None).unwrap();
        assert_eq!(one, Tensor::from_slice(&[3_i64]));
    });
}

#[test]
fn an_aborted_group_fails_everywhere() {
    let (started, end) = (Barrier::new(2), Barrier::new(2));
    let hopeless = |group: &Group| group.all_reduce_sum(&mut numbers(1, Kind::Float)).unwrap();
    each(2, |rank, store| {
        let [group, own] = ["abort", "own"].map(|it| gloo(store, it, rank, 2));
        if rank == 0 {
            started.wait();
            group.abort().unwrap();
        } else {
            let work = hopeless(&group);
            started.wait();
            let gone = failure(work.wait(None));
            assert!(matches!(gone, Failure::PeerGone { .. }), "{gone}");
            // What this process waits for ends as well, long before the timeout.
            let work = hopeless(&own);
            own.abort().unwrap();
            let dead = failure(work.wait(None));
            assert!(matches!(dead, Failure::Dead { .. }), "{dead}");
        }
        assert!(matches!(failure(group.barrier()), Failure::Dead { .. }));
        end.wait();
    });
}

#[test]
fn nccl_without_a_gpu_is_a_typed_error() {
    if crate::cuda::is_available() {
        eprintln!("skipped: this machine has a CUDA device");
        return;
    }
    let store = Store::in_process(AMPLE).unwrap();
    let error = failure(Group::nccl(&store, &member("nccl", 0, 1), 0));
    assert!(matches!(error, Failure::NoNccl { .. }), "{error}");
}
