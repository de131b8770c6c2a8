//! The order of the rungs, and proof that the ladder ends.

use advisor::{Freedom, Target};
use config::{Bytes, CheckpointPolicy, ImageSize, Precision, RunConfig};
use machine::{Cpu, Processor};
use proptest::prelude::*;

use super::{Failure, Ladder, Means, Rung, StepRecipe};
use crate::guard::MemoryPlace;

const MEANS: Means = Means {
    is_cuda: false,
    has_bf16: true,
    amp: Some(Precision::Bf16),
    freedom: Freedom::ALL,
};
const OUT_OF_MEMORY: Failure = Failure::OutOfMemory {
    shortfall_bytes: Some(1),
};

fn target() -> Target {
    Target::new(Processor::Cpu(Cpu::avx512(2)), Some(Bytes(Bytes::GIB)))
}

fn recipe(precision: Precision) -> StepRecipe {
    let config = RunConfig {
        width: 8,
        img_size: ImageSize::new(64, 64),
        batch: 8,
        use_amp: precision != Precision::Fp32,
        ..RunConfig::default()
    };
    StepRecipe {
        micro_batch: config.batch,
        config,
        precision,
    }
}

/// All rungs for one persistent failure, from this recipe down.
fn descend(ladder: &mut Ladder, failure: Failure, mut recipe: StepRecipe) -> Vec<Rung> {
    const MANY: usize = 1000;
    let mut rungs = Vec::new();
    while let Some(rung) = ladder.next(&failure, &recipe) {
        recipe = rung.recipe.clone();
        rungs.push(rung);
        assert!(rungs.len() < MANY, "no end");
    }
    rungs
}

#[test]
fn memory_is_saved_without_a_change_of_bits_first() {
    for target in [Some(target()), None] {
        let is_predicted = target.is_some();
        let mut ladder = Ladder::new(target.clone(), MEANS);
        let rungs = descend(&mut ladder, OUT_OF_MEMORY, recipe(Precision::Fp32));
        // First, one unchanged retry.
        assert_eq!(rungs[0].recipe, recipe(Precision::Fp32));
        let first_inexact = rungs.iter().position(|rung| !rung.is_bit_exact).unwrap();
        assert!(first_inexact > 2, "{rungs:#?}");
        assert!(rungs[first_inexact..].iter().all(|rung| {
            // Another policy may follow, with split concatenation kept.
            !rung.is_bit_exact || rung.recipe.config.split_concat
        }));
        let last = &rungs.last().unwrap().recipe;
        assert_eq!(last.micro_batch, 1);
        assert_eq!(last.config.batch, 8, "the effective batch stays");
        assert_eq!(last.config.use_amp, is_predicted);
        if let Some(target) = target {
            let cost = |rung: &Rung| {
                target
                    .predict(&rung.recipe.as_predicted())
                    .unwrap()
                    .unwrap()
            };
            for pair in rungs.windows(2) {
                assert!(
                    cost(&pair[1]).total_bytes < cost(&pair[0]).total_bytes,
                    "{pair:#?}"
                );
            }
        }
    }
}

#[test]
fn a_program_without_the_techniques_takes_fewer_images_at_a_time() {
    let none = Freedom {
        policy: false,
        split_concat: false,
        amp: false,
        accumulation: false,
        batch: false,
    };
    let means = Means {
        amp: None,
        freedom: none,
        ..MEANS
    };
    let mut ladder = Ladder::new(Some(target()), means);
    let rungs = descend(&mut ladder, OUT_OF_MEMORY, recipe(Precision::Fp32));
    let sizes: Vec<_> = rungs.iter().map(|rung| rung.recipe.micro_batch).collect();
    assert_eq!(sizes, [8, 4, 2, 1]);
}

#[test]
fn overflow_lowers_the_scale_and_then_leaves_fp16() {
    let mut ladder = Ladder::new(None, MEANS);
    let failure = Failure::Overflow {
        scale: Some(4096.0),
    };
    let rungs = descend(&mut ladder, failure, recipe(Precision::Fp16));
    let words: Vec<_> = rungs.iter().map(|rung| rung.to.as_str()).collect();
    assert_eq!(words, ["scale 1024", "AMP bf16", "AMP off"]);
    assert_eq!(rungs[0].scale, Some(1024.0));
    // The device lacks bf16, and the scale is already low.
    let without = Means {
        has_bf16: false,
        ..MEANS
    };
    let mut ladder = Ladder::new(None, without);
    let failure = Failure::Overflow { scale: Some(2.0) };
    let rungs = descend(&mut ladder, failure, recipe(Precision::Fp16));
    assert_eq!(rungs.len(), 1);
    assert_eq!(rungs[0].recipe.precision, Precision::Fp32);
}

#[test]
fn a_loss_that_is_no_number_leaves_amp() {
    let mut ladder = Ladder::new(None, MEANS);
    let rungs = descend(&mut ladder, Failure::NonFiniteLoss, recipe(Precision::Bf16));
    assert_eq!(rungs.len(), 1);
    assert!(!rungs[0].recipe.config.use_amp);
    let fp32 = recipe(Precision::Fp32);
    assert_eq!(ladder.next(&Failure::NonFiniteLoss, &fp32), None);
}

#[test]
fn checkpointing_changes_its_form_and_then_goes() {
    let mut ladder = Ladder::new(Some(target()), MEANS);
    let mut block = recipe(Precision::Fp32);
    block.config.use_grad_checkpoint = true;
    let rungs = descend(&mut ladder, Failure::Checkpointing, block.clone());
    let words: Vec<_> = rungs.iter().map(|rung| rung.to.as_str()).collect();
    assert_eq!(words, ["use_reentrant true", "checkpointing off"]);
    assert!(rungs.iter().all(|rung| rung.is_bit_exact));
    // If the step does not fit without checkpointing, no rung is left.
    let small = target().with_budget(Bytes(1 << 20));
    let mut ladder = Ladder::new(Some(small), MEANS);
    assert_eq!(descend(&mut ladder, Failure::Checkpointing, block).len(), 1);
}

#[test]
fn a_machine_that_fills_up_is_given_what_this_run_has() {
    let pressure = |excess_bytes| Failure::MemoryPressure {
        place: MemoryPlace::Ram,
        excess_bytes,
    };
    let mut ladder = Ladder::new(Some(target()), MEANS);
    let start = recipe(Precision::Fp32);
    let taken = target().predict(&start.as_predicted()).unwrap().unwrap();
    let rungs = descend(&mut ladder, pressure(taken.total_bytes / 4), start.clone());
    assert_eq!(rungs[0].to, "step retried");
    let next = target()
        .predict(&rungs[1].recipe.as_predicted())
        .unwrap()
        .unwrap();
    assert!(next.total_bytes <= taken.total_bytes * 3 / 4, "{rungs:#?}");
    assert!(rungs[1].is_bit_exact);
    // Other programs may free memory soon, so one retry is made. After that, the ladder does not ask
    // for what this run cannot free: more than it takes in total, or memory other than its GPU's.
    let num_rungs = |failure, means| {
        let mut ladder = Ladder::new(Some(target()), means);
        let num = descend(&mut ladder, failure, start.clone()).len();
        ladder.step_done();
        assert_eq!(ladder.next(&failure, &start), None);
        num
    };
    assert_eq!(num_rungs(pressure(taken.total_bytes + 1), MEANS), 1);
    let on_gpu = Means {
        is_cuda: true,
        ..MEANS
    };
    assert_eq!(num_rungs(pressure(1), on_gpu), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn there_is_an_end(failures in prop::collection::vec(0..5_u8, 1..80), half in any::<bool>()) {
        let mut ladder = Ladder::new(Some(target()), MEANS);
        let mut recipe = recipe(if half { Precision::Fp16 } else { Precision::Fp32 });
        recipe.config.grad_checkpoint_policy = Some(CheckpointPolicy::Block);
        let mut num_rungs = 0;
        for failure in failures {
            let failure = match failure {
                0 => OUT_OF_MEMORY,
                1 => Failure::Overflow {
                    scale: Some(65_536.0),
                },
                2 => Failure::NonFiniteLoss,
                3 => Failure::MemoryPressure {
                    place: MemoryPlace::Ram,
                    excess_bytes: 1000,
                },
                _ => Failure::Checkpointing,
            };
            if let Some(rung) = ladder.next(&failure, &recipe) {
                recipe = rung.recipe;
                num_rungs += 1;
                let batch = recipe.config.batch;
                prop_assert!(recipe.micro_batch >= 1 && batch.is_multiple_of(recipe.micro_batch));
            }
        }
        prop_assert!(num_rungs < 80);
    }
}

/// On a GPU the allocator's cache makes the recipe that failed look as if it fitted.
#[test]
fn under_pressure_on_a_gpu_each_rung_takes_less() {
    let gpu = Processor::gpu_named("RTX 3060", Bytes(12 * Bytes::GIB), Some((8, 6)));
    for free_mib in [200, 400, 800, 1600] {
        let target = Target::new(gpu, Some(Bytes(free_mib << 20)));
        let means = Means {
            is_cuda: true,
            amp: Some(Precision::Fp16),
            ..MEANS
        };
        let mut ladder = Ladder::new(Some(target.clone()), means);
        let failure = Failure::MemoryPressure {
            place: MemoryPlace::Gpu,
            excess_bytes: 7 << 20,
        };
        let mut first = recipe(Precision::Fp16);
        first.config.width = 32;
        first.config.img_size = ImageSize::new(128, 128);
        let rungs = descend(&mut ladder, failure, first);
        assert!(rungs.len() > 2, "{rungs:#?}");
        let held = |rung: &Rung| {
            let forecast = target
                .predict(&rung.recipe.as_predicted())
                .unwrap()
                .unwrap();
            forecast.allocated_bytes
        };
        // The first is the retry.
        for pair in rungs.windows(2).skip(1) {
            assert!(held(&pair[1]) < held(&pair[0]), "{pair:#?}");
        }
    }
}
