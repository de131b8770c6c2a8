//! Times what ranks do together, for `bench/ranks/measure.py`: start it with the variables of a launcher. Rank 0 prints
//! medians in microseconds, as JSON.

use std::error::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use config::{Backend, Reduction};
use engine::team::{Patience, Peers, Report, Team};
use ranks::{Launch, What};
use tch::{Device, Kind, Tensor};
use torch_ext::distributed::{Group, Member, Store};

const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of the tensors that are summed.
const SIZES: [i64; 4] = [64, 1 << 20, 25 << 20, 124 << 20];

#[expect(clippy::print_stdout, reason = "the output")]
fn main() -> Result<(), Box<dyn Error>> {
    let variable = |name: &str| std::env::var(name).ok();
    let launch = Launch::of(&variable)?.ok_or("no launcher has started this")?;
    let (shard, address) = (launch.shard, launch.store.clone());
    let how = (Backend::Gloo, Patience::of(PATIENCE));
    let peers = Rc::new(Peers::join(launch, Device::Cpu, how, &|_missing| ())?);
    let mut team = Team::many(Rc::clone(&peers), Reduction::After);
    let report = Report {
        step: 0,
        what: What::Fine,
        missing_bytes: None,
        interrupt: false,
        recipe: 0,
    };
    let agreement = median(1000, || {
        team.agree(&report)?;
        Ok(())
    })?;
    let store = Store::connect(&address.host, address.port, PATIENCE)?;
    let member = Member {
        prefix: "bench",
        rank: shard.rank(),
        size: shard.size(),
        timeout: PATIENCE,
    };
    let group = Group::gloo(&store, &member, None)?;
    let mut sums = Vec::new();
    for bytes in SIZES {
        let mut tensor = Tensor::zeros([bytes / 4], (Kind::Float, Device::Cpu));
        let times = if bytes < 1 << 20 { 1000 } else { 15 };
        sums.push(median(times, || {
            Ok(group.all_reduce_sum(&mut tensor)?.wait(None)?)
        })?);
    }
    if shard.rank() == 0 {
        println!("{{\"agreement\": {agreement}, \"sums\": {sums:?}}}");
    }
    drop(group);
    peers.part(PATIENCE);
    Ok(())
}

/// The median time of `work` in microseconds, after some that do not count.
fn median(
    times: usize,
    mut work: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let mut took = Vec::new();
    for nth in 0..times + times / 5 {
        let begun = Instant::now();
        work()?;
        if nth >= times / 5 {
            took.push(begun.elapsed());
        }
    }
    took.sort_unstable();
    Ok(took[took.len() / 2].as_secs_f64() * 1e6)
}
