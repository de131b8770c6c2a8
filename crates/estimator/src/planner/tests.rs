//! Compares the searches with an exhaustive one over every plan.

use config::{ImageSize, Network, Precision};
use proptest::prelude::*;
use schedule::{Plan, Recompute};

use super::{KEEPS, Planned, Planner};
use crate::step::{Batch, Cpu, TrainingStep};
use crate::time::Speed;

const CPU: Cpu = Cpu::avx512(2);

fn step(
    depth: u32,
    width: u32,
    batch: u32,
    precision: Precision,
    split_concat: bool,
) -> TrainingStep {
    let mut network = Network::new(width, 1);
    network.depth = depth;
    TrainingStep {
        network,
        size: ImageSize::new(64, 96),
        batch,
        precision,
        recompute: Recompute::Off,
        split_concat,
        accumulation: 1,
        ignores: false,
    }
}

fn planner(step: &TrainingStep) -> Planner {
    Planner::new(step, CPU, Batch::Kept, Speed::of_cpu(2, step.precision)).unwrap()
}

fn every_plan(step: &TrainingStep) -> impl Iterator<Item = Plan> {
    let num_stages = step.network.num_stages();
    let split = step.split_concat;
    (0..1_u64 << (2 * num_stages)).map(move |code| {
        let keeps = (0..num_stages).map(|s| KEEPS[super::candidates::choice(code, s)]);
        Plan::new(keeps.collect()).with_split_concat(split)
    })
}

#[test]
fn the_fastest_of_every_plan() {
    for (depth, split, precision, width) in [
        (1, false, Precision::Fp32, 16),
        (2, false, Precision::Bf16, 8),
        (2, true, Precision::Fp32, 24),
        (3, false, Precision::Bf16, 16),
    ] {
        let step = step(depth, width, 3, precision, split);
        let mut planner = planner(&step);
        let all: Vec<Planned> = every_plan(&step)
            .map(|plan| planner.cost(plan).unwrap())
            .collect();
        let least = all.iter().map(|p| p.peak_bytes).min().unwrap();
        let most = all.iter().map(|p| p.peak_bytes).max().unwrap();
        for share in [0, 1, 2, 5, 10, 25, 50, 75, 100] {
            let budget = least + (most - least) / 100 * share;
            let exhaustive = all
                .iter()
                .filter(|planned| planned.peak_bytes <= budget)
                .map(|planned| planned.seconds)
                .min_by(f64::total_cmp);
            let found = planner.fastest_within(budget).unwrap().unwrap();
            assert!(found.peak_bytes <= budget);
            assert_eq!(Some(found.seconds), exhaustive, "depth {depth}, {share} %");
        }
        assert_eq!(planner.fastest_within(least - 1).unwrap(), None);
        assert_eq!(planner.smallest().unwrap().peak_bytes, least);
        let fastest = all.iter().map(|p| p.seconds).fold(f64::INFINITY, f64::min);
        for slower in [1.0, 1.05, 1.2, 1.5] {
            let exhaustive = all.iter().filter(|p| p.seconds <= fastest * slower);
            let exhaustive = exhaustive.map(|p| p.peak_bytes).min();
            let found = planner.smallest_within(slower).unwrap();
            assert_eq!(Some(found.peak_bytes), exhaustive, "{slower}");
        }
        assert!(planner.is_exact());
    }
}

#[test]
fn a_search_in_less_finds_what_a_new_one_does() {
    let step = step(3, 16, 3, Precision::Bf16, true);
    let mut falling = planner(&step);
    let mut budget = u64::MAX;
    let mut num_found = 0;
    loop {
        let found = falling.fastest_within(budget).unwrap();
        assert_eq!(found, planner(&step).fastest_within(budget).unwrap());
        assert_eq!(found, falling.fastest_within(budget).unwrap());
        let Some(found) = found else { break };
        num_found += 1;
        budget = found.peak_bytes - found.peak_bytes / 64;
    }
    assert!(num_found > 5, "{num_found}");
    // A budget that rises starts a new search.
    let all = falling.fastest_within(u64::MAX).unwrap();
    assert_eq!(all, planner(&step).fastest_within(u64::MAX).unwrap());
}

#[test]
fn the_front_has_no_better_plan_beside_it() {
    let step = step(2, 16, 2, Precision::Bf16, false);
    let mut planner = planner(&step);
    let front = planner.front(0.0).unwrap();
    for pair in front.windows(2) {
        assert!(pair[0].peak_bytes > pair[1].peak_bytes && pair[0].seconds < pair[1].seconds);
    }
    for plan in every_plan(&step) {
        let other = planner.cost(plan).unwrap();
        let is_met = front
            .iter()
            .any(|p| p.peak_bytes <= other.peak_bytes && p.seconds <= other.seconds);
        assert!(is_met, "{other:?}");
    }
    assert!(planner.front(0.1).unwrap().len() < front.len());
}

#[test]
fn five_levels_at_the_guides_size() {
    let mut step = step(4, 64, 8, Precision::Bf16, false);
    step.size = ImageSize::new(512, 512);
    let mut planner = planner(&step);
    let mixed = planner.cost(Plan::mixed(&step.network, false)).unwrap();
    let found = planner.fastest_within(mixed.peak_bytes).unwrap().unwrap();
    assert!(found.seconds <= mixed.seconds);
    assert!(planner.is_exact());
}

fn any_step() -> impl Strategy<Value = (TrainingStep, u64)> {
    let precisions = prop_oneof![Just(Precision::Fp32), Just(Precision::Bf16)];
    let step = (
        1_u32..5,
        1_u32..40,
        1_u32..9,
        precisions,
        any::<bool>(),
        1_u32..4,
    )
        .prop_map(
            |(depth, width, batch, precision, split, accumulation)| TrainingStep {
                accumulation,
                ..step(depth, width, batch, precision, split)
            },
        );
    (step, any::<u64>())
}

proptest! {
    #[test]
    fn a_plan_costs_what_its_step_holds((step, code) in any_step(), kept in any::<bool>()) {
        let batch = if kept { Batch::Kept } else { Batch::HandedOver };
        let speed = Speed::of_cpu(2, step.precision);
        let mut planner = Planner::new(&step, CPU, batch, speed).unwrap();
        let plan = planner.stages.plan(code).clone();
        let walked = TrainingStep { recompute: Recompute::Plan(plan.clone()), ..step };
        let peak = walked.peak(CPU, batch).unwrap();
        prop_assert_eq!(planner.cost(plan).unwrap().peak_bytes, peak.bytes);
    }

    #[test]
    fn bounds_are_bounds((step, code) in any_step()) {
        let mut planner = planner(&step);
        let plan = planner.stages.plan(code).clone();
        let found = planner.cost(plan).unwrap();
        let (seconds, bytes) = planner.bounds.sum(code);
        prop_assert!(seconds <= found.seconds * (1.0 + 1e-9));
        prop_assert!(bytes <= i64::try_from(found.peak_bytes).unwrap());
    }
}
