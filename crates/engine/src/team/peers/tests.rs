//! Ranks as threads of this process, with a store that outlives them or that rank 0 serves.

use std::net::TcpListener;
use std::sync::Barrier;

use ranks::{Address, Error as Missing};
use tch::Tensor;

use super::*;

/// For what should succeed.
const AMPLE: Duration = Duration::from_secs(60);
pub(in crate::team) const PATIENCE: Patience = Patience {
    join: AMPLE,
    control: AMPLE,
    data: AMPLE,
};

fn launch(rank: usize, size: usize, port: u16, is_store_served: bool) -> Launch {
    Launch {
        launcher: Launcher::Hand,
        shard: Shard::new(rank, size).unwrap(),
        local_rank: rank,
        local_size: size,
        store: Address {
            host: "127.0.0.1".to_owned(),
            port,
        },
        is_store_served,
        attempt: 0,
    }
}

/// Runs `body` as the first `present` of `size` ranks, with the store of somebody else.
pub(in crate::team) fn each<T: Send>(
    served: &Store,
    present: usize,
    size: usize,
    patience: Patience,
    body: impl Fn(Result<Peers>) -> T + Sync,
) -> Vec<T> {
    let port = served.port().unwrap();
    let run = |rank| {
        body(Peers::join(
            launch(rank, size, port, true),
            Device::Cpu,
            (Backend::Auto, patience),
            &|_missing| (),
        ))
    };
    let run = &run;
    thread::scope(|scope| {
        let ranks: Vec<_> = (0..present)
            .map(|rank| scope.spawn(move || run(rank)))
            .collect();
        ranks.into_iter().map(|it| it.join().unwrap()).collect()
    })
}

pub(in crate::team) fn store() -> Store {
    Store::serve("127.0.0.1", 0, AMPLE).unwrap()
}

fn sum(group: &Group, value: i64) -> i64 {
    let mut sum = Tensor::from_slice(&[value]);
    group.all_reduce_sum(&mut sum).unwrap().wait(None).unwrap();
    sum.int64_value(&[0])
}

fn reason(rank: usize, is_peer_lost: bool, error: &str) -> Reason {
    Reason {
        rank,
        attempt: 0,
        is_peer_lost,
        error: error.to_owned(),
        hint: None,
        exit_code: 1,
        unix_ms: 0,
    }
}

#[test]
fn ranks_join_agree_and_part() {
    let results = each(&store(), 2, 2, PATIENCE, |peers| {
        let peers = peers.unwrap();
        let rank = i64::try_from(peers.shard().rank()).unwrap();
        let control = sum(peers.control(), 1 + rank);
        let data = sum(&peers.data().group(), 10 + rank);
        assert!(peers.part(AMPLE));
        (control, data)
    });
    assert_eq!(results, [(3, 21); 2]);
}

#[test]
fn rank_0_serves_the_store_until_all_have_parted() {
    // A port that was free a moment ago.
    let port = store().port().unwrap();
    let run = move |rank| {
        let peers = Peers::join(
            launch(rank, 3, port, false),
            Device::Cpu,
            (Backend::Auto, PATIENCE),
            &|_missing| (),
        )
        .unwrap();
        (sum(peers.control(), 1), peers.part(AMPLE))
    };
    let others = [1, 2].map(|rank| thread::spawn(move || run(rank)));
    assert_eq!(run(0), (3, true));
    assert_eq!(others.map(|it| it.join().unwrap()), [(3, true); 2]);
}

#[test]
fn a_rank_that_never_comes_is_named_by_all() {
    let patience = Patience {
        join: Duration::from_secs(1),
        ..PATIENCE
    };
    let errors = each(&store(), 2, 3, patience, |peers| {
        peers.map(drop).unwrap_err()
    });
    for error in errors {
        assert!(
            matches!(&error, Error::Ranks(Missing::Absent { ranks }) if ranks == &[2]),
            "{error}"
        );
    }
}

#[test]
fn a_reason_is_read_by_the_others_and_ends_what_they_wait_for() {
    let results = each(&store(), 3, 3, PATIENCE, |peers| {
        let peers = peers.unwrap();
        let rank = peers.shard().rank();
        if rank == 1 {
            peers
                .leave_reason(&reason(1, false, "the disk is full"))
                .unwrap();
            return None;
        }
        let mut one = Tensor::from_slice(&[1_i64]);
        let lost = peers.control().all_reduce_sum(&mut one);
        let lost = Error::from(lost.and_then(|it| it.wait(None)).unwrap_err());
        assert!(lost.is_peer_lost(), "{lost}");
        let first = peers.first_reason().unwrap();
        let error = Error::PeerFailed {
            reason: Box::new(first),
        };
        peers
            .leave_reason(&reason(rank, true, &error.to_string()))
            .unwrap();
        Some(error.to_string())
    });
    let said = Some("rank 1 ended the run: the disk is full".to_owned());
    assert_eq!(results, [said.clone(), None, said]);
}

#[test]
fn keys_of_an_earlier_start_do_no_harm() {
    let store = store();
    let port = store.port().unwrap();
    // A rank 1 that died in its rendezvous, and a start that ended with a reason.
    store.set("hello/1", b"00000000deadbeef").unwrap();
    let both = Barrier::new(2);
    let prefixes: Vec<_> = (0..2)
        .map(|start| {
            let prefixes = each(&store, 2, 2, PATIENCE, |peers| {
                let peers = peers.unwrap();
                assert_eq!(sum(peers.control(), 1), 2);
                both.wait();
                if start == 0 {
                    let rank = peers.shard().rank();
                    peers.leave_reason(&reason(rank, false, "stale")).unwrap();
                } else {
                    assert_eq!(peers.first_reason(), None);
                }
                both.wait();
                let lead = String::from_utf8(store.get("lead", AMPLE).unwrap()).unwrap();
                both.wait();
                lead
            });
            assert_eq!(prefixes[0], prefixes[1]);
            prefixes[0].clone()
        })
        .collect();
    assert_ne!(prefixes[0], prefixes[1]);
    // A process that is too late finds nobody.
    let patience = Patience {
        join: Duration::from_secs(1),
        ..PATIENCE
    };
    let late = Peers::join(
        launch(1, 2, port, true),
        Device::Cpu,
        (Backend::Auto, patience),
        &|_missing| (),
    );
    let late = late.map(drop).unwrap_err();
    assert!(
        matches!(&late, Error::Ranks(Missing::Absent { ranks }) if ranks == &[0]),
        "{late}"
    );
}

#[test]
fn what_stands_between_a_rank_and_its_store_is_named() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let closing = TcpListener::bind("127.0.0.1:0").unwrap();
    let [mute_port, closing_port] = [&mute, &closing].map(|it| it.local_addr().unwrap().port());
    thread::spawn(move || closing.incoming().for_each(drop));
    let patience = Patience {
        join: Duration::from_secs(1),
        ..PATIENCE
    };
    for (host, port, wanted) in [
        (
            "nowhere.invalid",
            29_500,
            "`nowhere.invalid` does not resolve",
        ),
        ("127.0.0.1", 1, "nothing listens at 127.0.0.1:1"),
        ("127.0.0.1", mute_port, "is not the store of rank 0"),
        ("127.0.0.1", closing_port, "is not the store of rank 0"),
    ] {
        let launch = Launch {
            store: Address {
                host: host.to_owned(),
                port,
            },
            ..launch(1, 2, port, false)
        };
        let begun = Instant::now();
        let how = (Backend::Auto, patience);
        let lost = Peers::join(launch, Device::Cpu, how, &|_waiting| ());
        let lost = lost.map(drop).unwrap_err().to_string();
        assert!(
            lost.contains("rank 0 cannot be reached") && lost.contains(wanted),
            "{lost}"
        );
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{host}:{port} {:?}",
            begun.elapsed()
        );
    }
}
